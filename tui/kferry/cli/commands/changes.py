"""`kferry changes`: what was changed in clusters and hosts, and undoing it."""

from __future__ import annotations

from typing import Annotated

import typer

from kferry.cli import options, state
from kferry.cli.groups import group

app = group("Every change made to a cluster or host, with its undo.", invoke_without_command=True)


@app.callback()
def changes(
    context: typer.Context,
    status: Annotated[str | None, typer.Option(metavar="applied|undone|kept", help="Only those.")] = None,
) -> None:
    if context.invoked_subcommand is not None:
        return
    from kferry.cli import output
    from kferry.client import formats

    current = state.of(context)
    found = current.session().reader.changes(status=status)
    output.emit(
        current,
        found,
        headers=("ID", "AT", "WHERE", "WHAT", "NAME", "KEY", "BEFORE", "AFTER", "STATUS", "UNDO", "WHY"),
        rows=[
            (
                change.change_id,
                formats.moment(change.at_ms),
                change.scope,
                change.resource,
                change.name,
                change.key,
                formats.DASH if change.before is None else change.before,
                formats.DASH if change.after is None else change.after,
                change.status,
                "yes" if change.can_undo else "no",
                change.reason,
            )
            for change in found
        ],
        empty="Nothing was changed yet.",
    )


@app.command()
def undo(
    context: typer.Context,
    change_id: Annotated[int, typer.Argument(metavar="ID", help="The change's number.")],
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Put back what was there before a change."""
    from kferry.cli.operate import Wish, operate

    operate(state.of(context), Wish("undo_change", {"change_id": change_id}, dry_run=dry_run, no_wait=no_wait))
