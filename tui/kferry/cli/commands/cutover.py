"""`kferry cutover`: switch a batch by the runbook of its applications; or go back."""

from __future__ import annotations

from typing import Annotated

import typer

from kferry.cli import options, state
from kferry.cli.groups import DefaultGroup, group

app = group("Switch a batch, by the runbook that its applications need.", cls=DefaultGroup, no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Nothing beside the group; it is added by name."""


@app.command()
def start(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="The batch of plan.yml.")],
    yes: options.Yes = False,
    run_hooks: Annotated[bool, typer.Option("--run-hooks", help="Run the owners' hooks without asking.")] = False,
    uncommitted: Annotated[
        str | None,
        typer.Option(metavar="earliest|end", help="Where groups start in partitions they never committed."),
    ] = None,
    runbook: Annotated[
        str,
        typer.Option(
            metavar="auto|consumers-first|stop-drain-switch",
            help="How it is switched; auto: by the class of its applications.",
        ),
    ] = "auto",
    rebuild_state: Annotated[
        bool, typer.Option("--rebuild-state", help="Streams applications make their state anew on the target.")
    ] = False,
    timeout: options.Timeout = None,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Switch a batch (what `kferry cutover BATCH` does). Exits 5 where it stops and needs you."""
    from kferry.cli import output
    from kferry.cli.operate import Wish, operate
    from kferry.domain.errors import ErrorKind, KferryError

    if uncommitted not in (None, "earliest", "end"):
        raise KferryError(f"--uncommitted is earliest or end, not {uncommitted!r}.", kind=ErrorKind.USAGE)
    if runbook not in ("auto", "consumers-first", "stop-drain-switch"):
        raise KferryError(
            f"--runbook is auto, consumers-first or stop-drain-switch, not {runbook!r}.", kind=ErrorKind.USAGE
        )
    current = state.of(context)
    if not dry_run:
        options.confirm_typed(f"Switch the batch {batch!r} to the target", batch, yes=yes)
    wish = Wish(
        "cutover",
        {"batch": batch, "run_hooks": run_hooks, "runbook": runbook, "rebuild_state": rebuild_state},
        dry_run=dry_run,
        no_wait=no_wait,
        run_hooks=run_hooks,
        uncommitted=uncommitted,
        timeout_seconds=timeout,
    )
    if operate(current, wish) is None:
        return
    session = current.session()
    path = session.layout.reports / f"{batch}.md"
    output.emit(current, session.reader.certificate(batch), text=f"certificate: {path}")


@app.command()
def abort(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="The batch whose switch goes back.")],
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Go back as far as the way back reaches; shows what that is first."""
    from kferry.cli.commands.watch import abort_operation
    from kferry.domain.errors import ErrorKind, KferryError

    current = state.of(context)
    found = current.session().reader.operations(subject=batch, kind="cutover", limit=1)
    if not found or found[0].status in ("done", "failed", "aborted"):
        raise KferryError(f"No cutover of {batch!r} is going on.", kind=ErrorKind.USAGE)
    abort_operation(current, found[0].operation_id, yes=yes, dry_run=dry_run, no_wait=no_wait)
