"""`kferry access`: ACLs, client quotas and SCRAM users of the source on the target, and proof of what they allow."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kferry.cli import options, state
from kferry.cli.groups import group
from kferry.client.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

app = group("Bring ACLs, client quotas and SCRAM users to the target; nothing is ever removed.", no_args_is_help=True)


class What(StrEnum):
    acls = "acls"
    quotas = "quotas"
    scram_users = "scram_users"


class Shown(StrEnum):
    create = "create"
    drift = "drift"
    present = "present"
    skipped = "skipped"


class Form(StrEnum):
    commands = "commands"
    csv = "csv"
    json = "json"
    starter = "starter"


Kinds = Annotated[list[What] | None, typer.Option("--what", help="Only this kind; may be given again.")]


@app.command()
def plan(
    context: typer.Context,
    what: Kinds = None,
    only: Annotated[list[Shown] | None, typer.Option("--only", help="Only these; may be given again.")] = None,
    last: Annotated[bool, typer.Option("--last", help="Show the last comparison; ask nothing.")] = False,
    fail_on_drift: Annotated[
        bool, typer.Option("--fail-on-drift", help="Exit 6 where the target has something else than the source.")
    ] = False,
) -> None:
    """Compare both clusters: what is to be created, what is there, what has drifted, what stays behind and why."""
    from kferry.cli import output
    from kferry.cli.operate import Wish, operate
    from kferry.client import access, diagnostics

    current = state.of(context)
    if not last:
        operate(current, Wish("plan_access"))
    view = access.required_plan(current.session())
    kinds, actions = _words(what), _words(only)
    items = [
        item
        for item in view.items
        if (not kinds or item["what"] in kinds) and (not actions or item["action"] in actions)
    ]
    data = {
        "made_at_ms": view.made_at_ms,
        "scope": view.scope,
        "counts": view.counts,
        "warnings": view.warnings,
        "items": items,
    }
    output.emit(
        current,
        data,
        headers=("WHAT", "ACTION", "WHO", "ON", "TARGET HAS", "SOURCE HAS", "AS", "WHY"),
        rows=[_row(item) for item in items],
        empty="There is nothing to compare.",
    )
    for words in view.warnings:
        diagnostics.say(f"! {words}")
    diagnostics.say(", ".join(f"{view.total(action)} {action}" for action in access.ACTIONS) + ".")
    if fail_on_drift and view.total("drift"):
        raise typer.Exit(ExitCode.DRIFT)


@app.command()
def apply(
    context: typer.Context,
    what: Kinds = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Create what is missing: shows it first, asks, and writes each change into the change ledger with its undo."""
    from kferry.cli.operate import Wish, operate, show_plan

    current = state.of(context)
    args = {"what": _words(what)} if what else {}
    if dry_run:
        operate(current, Wish("apply_access", args, dry_run=True))
        return
    session = current.working_session()
    found = session.ask("apply_access", args, dry_run=True, timeout_seconds=_COMPARE_SECONDS).result
    show_plan(current, found, is_dry_run=False)
    if not any(change.get("action") == "create" for change in found.get("changes", [])):
        from kferry.client import diagnostics

        diagnostics.say("Nothing is missing on the target.")
        return
    options.confirm_typed("Create these on the target cluster", "target", yes=yes)
    operate(current, Wish("apply_access", args, no_wait=no_wait, expects=str(found.get("hash") or "") or None))


_COMPARE_SECONDS = 180.0


@app.command()
def probe(
    context: typer.Context,
    cluster: Annotated[str, typer.Argument(metavar="source|target", help="Which cluster.")],
    principal: Annotated[str, typer.Argument(metavar="PRINCIPAL", help="As the brokers log it: User:billing.")],
    last: Annotated[bool, typer.Option("--last", help="Show the last probe; ask nothing.")] = False,
) -> None:
    """Prove what a principal may do, with its login of access.yml; without one, compute it from the ACLs.

    Exits 5 where a right is missing that the source's ACLs give it.
    """
    from kferry.cli import output
    from kferry.cli.operate import Wish, operate
    from kferry.client import access, diagnostics
    from kferry.domain.errors import ErrorKind, KferryError

    current = state.of(context)
    if not last:
        operate(current, Wish("probe_principal", {"cluster": cluster, "principal": principal}))
    found = access.last_probe(current.session().reader, cluster, principal)
    if found is None:
        raise KferryError(
            f"{principal} was not probed on the {cluster} yet.",
            next_step=f"Leave out --last: kferry access probe {cluster} {principal}",
            kind=ErrorKind.NOT_READY,
        )
    rows = found[1]
    output.emit(
        current,
        rows,
        headers=("RESOURCE", "NAME", "OPERATION", "ALLOWED", "EXPECTED", "PROVEN", "WORDS"),
        rows=[
            (
                row["resource"],
                row["name"],
                row["operation"],
                _yes(row["allowed"]),
                _yes(row["expected"]),
                _yes(row["is_proven"]),
                row["words"],
            )
            for row in rows
        ],
        empty="Nothing was asked.",
    )
    missing = [row for row in rows if row["is_missing"]]
    if not all(row["is_proven"] for row in rows):
        diagnostics.say("What is not proven is computed from ACLs or cannot be asked without doing it.")
    if missing:
        diagnostics.say(f"{len(missing)} rights are missing that the ACLs of the source give.")
        raise typer.Exit(ExitCode.NOT_READY)


@app.command()
def export(
    context: typer.Context,
    form: Annotated[
        Form,
        typer.Option("--form", help="commands for the target's owner; csv or json: all of it; starter: an access.yml."),
    ] = Form.commands,
) -> None:
    """Write the last comparison for others, to stdout."""
    import csv
    import io

    from kferry.cli import output
    from kferry.client import access
    from kferry.client.sanitize import clean

    session = state.of(context).session()
    if form is Form.commands:
        lines = access.commands(session)
        output.write("\n".join(clean(line) for line in lines) or "# Nothing is missing on the target.")
    elif form is Form.starter:
        output.write(access.starter(session).rstrip("\n"))
    elif form is Form.json:
        output.write(_json(access.required_plan(session)))
    else:
        columns, rows = access.table(session)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_unformula(clean(cell)) for cell in row] for row in rows)
        output.write(text.getvalue().rstrip("\n"))


def _json(view: object) -> str:
    import json

    from kferry.cli import output

    return json.dumps(output.plain(view), indent=2, ensure_ascii=True)


def _unformula(text: str) -> str:
    """A cell that a spreadsheet takes for a formula is made text."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _row(item: Mapping[str, Any]) -> Sequence[str]:
    keys = ("what", "action", "subject", "name", "before", "after", "was", "reason")
    return [str(item.get(key) or "") for key in keys]


def _words(chosen: Sequence[StrEnum] | None) -> list[str]:
    return [one.value for one in chosen or ()]


def _yes(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "no"
