"""`kferry preflight`: look for what would go wrong, report it, let kferry fix what it can, waive what is acceptable."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kferry.cli import options, state
from kferry.cli.groups import DefaultGroup, group

if TYPE_CHECKING:
    from kferry.client.session import Session

_DAY_MS = 86_400_000

app = group(
    "Look for everything that would go wrong, before anything is changed.",
    cls=DefaultGroup,
    invoke_without_command=True,
)

Why = Annotated[str, typer.Option(help="The reason of the waiver; it is kept, and stands in the certificate.")]
Days = Annotated[int, typer.Option(min=1, max=365, help="How long the waiver holds.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Findings, as the list shows them.")]


@app.callback()
def _preflight(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        run(context)


@app.command()
def run(
    context: typer.Context,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the report there; - is stdout. Its name tells the format."),
    ] = None,
    report_format: Annotated[
        str | None, typer.Option("--format", metavar="table|json|md|junit", help="The format of the report.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Show the findings of the last run; don't run it.")] = False,
    waive_ids: Annotated[list[str] | None, typer.Option("--waive", metavar="ID", hidden=True)] = None,
    unwaive_ids: Annotated[list[str] | None, typer.Option("--unwaive", metavar="ID", hidden=True)] = None,
    why: Annotated[str, typer.Option(hidden=True)] = "",
    days: Annotated[int, typer.Option(min=1, max=365, hidden=True)] = 14,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Run every check (what `kferry preflight` does). Exits 5 while a finding stops, 3 where a cluster is away."""
    from kferry.cli.operate import Wish, operate
    from kferry.client import preflight_report

    current = state.of(context)
    wanted = _wanted_format(report, report_format)
    if waive_ids or unwaive_ids:  # the older way to write `preflight waive` and `preflight unwaive`
        if waive_ids:
            waive(context, waive_ids, why=why, days=days, dry_run=dry_run)
        if unwaive_ids:
            unwaive(context, unwaive_ids, dry_run=dry_run)
    elif not show and operate(current, Wish("preflight", dry_run=dry_run, no_wait=no_wait)) is None:
        return
    made = preflight_report.build(current.session(), int(time.time() * 1000))
    if wanted is not None:
        _write(preflight_report.render(made, wanted), report)
    if wanted is None or (report is not None and str(report) != "-"):
        _emit(current, made)
    if made.exit_code:
        raise typer.Exit(made.exit_code)


@app.command()
def fix(
    context: typer.Context,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Findings; without any, all that stop and that kferry can close."),
    ] = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Let kferry close findings: shows each change first, asks, and keeps each in the change ledger with its undo."""
    from kferry.cli.operate import Wish, operate, show_plan

    current = state.of(context)
    args = {"findings": list(ids or ())}
    if dry_run:
        operate(current, Wish("fix_findings", args, dry_run=True))
        return
    session = current.working_session()
    plan = session.ask("fix_findings", args, dry_run=True, timeout_seconds=120).result
    show_plan(current, plan, is_dry_run=False)
    if not any(change.get("action") != "present" for change in plan.get("changes", ())):
        return
    options.confirm_typed("Make these changes", "fix", yes=yes)
    operate(current, Wish("fix_findings", args, no_wait=no_wait, expects=str(plan.get("hash") or "") or None))


@app.command()
def waive(context: typer.Context, ids: Ids, why: Why = "", days: Days = 14, dry_run: options.DryRun = False) -> None:
    """Go on despite these findings. Who, why and until when is kept, and stands in the certificate."""
    from kferry.domain.errors import ErrorKind, KferryError

    if not why.strip():
        raise KferryError("A waiver needs a reason: --why 'TEXT'.", kind=ErrorKind.USAGE)
    until_ms = int(time.time() * 1000) + days * _DAY_MS
    session = state.of(context).working_session(dry_run=dry_run)
    for finding_id in ids:
        _one(session, "waive", {"finding_id": finding_id, "why": why, "until_ms": until_ms}, dry_run)


@app.command()
def unwaive(context: typer.Context, ids: Ids, dry_run: options.DryRun = False) -> None:
    """Take waivers back: these findings stop the migration again."""
    session = state.of(context).working_session(dry_run=dry_run)
    for finding_id in ids:
        _one(session, "unwaive", {"finding_id": finding_id}, dry_run)


@app.command("checks")
def list_checks(
    context: typer.Context,
    check_id: Annotated[str | None, typer.Argument(metavar="[CHECK]", help="Only this one, with all of it.")] = None,
) -> None:
    """Show every check: what it looks at, why it matters, what it can say, and how its findings are closed."""
    from kferry.cli import output
    from kferry.client.preflight_checks import as_data, as_text

    found = as_data(check_id)
    output.emit(
        state.of(context),
        found,
        headers=("CHECK", "FAMILY", "SEVERITIES", "LOOKS AT"),
        rows=[(one["check"], one["family"], ", ".join(one["severities"]), one["title"]) for one in found],
        text=as_text(found[0]) if check_id is not None else None,
    )


def _one(session: Session, kind: str, args: dict[str, object], dry_run: bool) -> None:
    from kferry.client import diagnostics

    session.ask(kind, args, dry_run=dry_run)
    verb = "would be " if dry_run else ""
    diagnostics.say(f"{args['finding_id']}: {verb}{'waived' if kind == 'waive' else 'no longer waived'}.")


def _wanted_format(report: Path | None, report_format: str | None) -> str | None:
    """The format of the report, if one is asked for; checked before anything runs."""
    from kferry.client import preflight_report

    if report is None and report_format is None:
        return None
    if report is None or str(report) == "-":
        return preflight_report.format_of(Path("-.txt"), report_format)
    return preflight_report.format_of(report, report_format)


def _write(text: str, report: Path | None) -> None:
    from kferry.cli import output
    from kferry.client import diagnostics
    from kferry.store.atomic_write import write_text

    if report is None or str(report) == "-":
        output.write(text.rstrip("\n"))
        return
    write_text(report.absolute(), text, mode=0o600)
    diagnostics.say(f"The report is in {report}.")


def _emit(current: state.State, made: Any) -> None:
    from kferry.cli import output
    from kferry.client.preflight_report import as_table, finding_data, ways

    output.emit(
        current,
        [{**output.plain(finding_data(one)), "ways": ways(one)} for one in made.findings],
        text=as_table(made).rstrip("\n"),
    )
