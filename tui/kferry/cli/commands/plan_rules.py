"""The commands of `kferry plan` that change rules.yml: cuts of bridges, and the classes of applications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kferry.cli import options, state

if TYPE_CHECKING:
    from kferry.domain.planning import PlanningRules

Name = Annotated[str, typer.Argument(metavar="GROUP_OR_APPLICATION")]


def register(app: typer.Typer) -> None:
    """Add the commands to `kferry plan`."""
    app.command("cut")(cut)
    app.command("uncut")(uncut)
    app.command("class")(class_)
    app.command("applications")(applications)


def cut(
    context: typer.Context,
    name: Name,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason; it is kept.")] = "",
    stays_with: Annotated[
        str, typer.Option("--stays-with", metavar="TOPIC", help="The group moves with this topic's batch.")
    ] = "",
    dry_run: options.DryRun = False,
) -> None:
    """Let a group no longer hold its topics together; says first what that means. Plan again afterwards."""
    from kferry.client import diagnostics, rules_edit
    from kferry.domain.planning.rule_edits import with_cut
    from kferry.domain.planning.rules import Cut

    session = state.of(context).session()
    for line in rules_edit.consequence_of_cut(session, name, stays_with):
        diagnostics.say(line)
    _do(context, lambda rules: with_cut(rules, Cut(name, why, stays_with)), f"cut {name}", dry_run)


def uncut(context: typer.Context, name: Name, dry_run: options.DryRun = False) -> None:
    """Let a group that was cut hold its topics together again. Plan again afterwards."""
    from kferry.domain.planning.rule_edits import without_cut

    _do(context, lambda rules: without_cut(rules, name), f"took back the cut of {name}", dry_run)


def class_(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="GROUP", help="A group, or with --transactional-id such an id.")],
    to: Annotated[str, typer.Argument(metavar="CLASS", help="See: kferry plan applications")],
    is_transactional_id: Annotated[
        bool, typer.Option("--transactional-id", help="NAME is a transactional id.")
    ] = False,
    dry_run: options.DryRun = False,
) -> None:
    """Say what class an application is of; it decides how its batch is cut over."""
    from kferry.domain.applications import ApplicationClass
    from kferry.domain.errors import ErrorKind, KferryError
    from kferry.domain.planning.rule_edits import with_class

    wanted = to.strip().lower().replace("_", " ")
    try:
        chosen = next(one for one in ApplicationClass if wanted in (one.value, one.value.replace("-", " ")))
    except StopIteration:
        raise KferryError(
            f"{to!r} is no class of applications.",
            next_step=f"Classes: {', '.join(ApplicationClass)}.",
            kind=ErrorKind.USAGE,
        ) from None
    _do(
        context,
        lambda rules: with_class(rules, name, chosen, is_transactional_id=is_transactional_id),
        f"{name} is {chosen.value}",
        dry_run,
    )


def applications(context: typer.Context) -> None:
    """Show the applications behind groups and producers: their class, what it was guessed from, their cutover."""
    from kferry.cli import output
    from kferry.client import plan_edit, plan_export
    from kferry.domain.applications import applications_of
    from kferry.domain.errors import ErrorKind, KferryError

    current = state.of(context)
    session = current.session()
    scan = session.reader.scan("source")
    if scan is None:
        raise KferryError(
            "The source was not scanned yet.", next_step="Scan it with: kferry scan", kind=ErrorKind.NOT_READY
        )
    found = applications_of(scan, plan_edit.load_rules(session).applications)
    output.emit(
        current,
        [plan_export.application_data(one) for one in found],
        headers=("APPLICATION", "CLASS", "BY", "CUTOVER", "GROUPS", "EVIDENCE"),
        rows=[
            (
                one.name,
                one.class_.value,
                "operator" if one.set_by_operator else "guess",
                one.style.value,
                output.some(one.groups) or "–",
                "; ".join(one.evidence),
            )
            for one in found
        ],
        empty="The last scan saw neither groups nor producers.",
    )


def _do(context: typer.Context, edit: RulesEdit, what: str, dry_run: bool) -> None:
    from kferry.client import diagnostics, rules_edit

    session = state.of(context).session()
    for line in rules_edit.apply(session, edit, what, dry_run=dry_run):
        diagnostics.say(line)


if TYPE_CHECKING:
    from collections.abc import Callable

    RulesEdit = Callable[[PlanningRules], PlanningRules]
