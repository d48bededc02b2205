"""`kferry journal`: what happened, in order, and whether any of it was rewritten."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from kferry.cli import state


def register(app: typer.Typer) -> None:
    app.command("journal")(journal)


def journal(
    context: typer.Context,
    verify: Annotated[bool, typer.Option("--verify", help="Check the hash chain; exits 1 where it is broken.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest events.")] = 100,
    operation: Annotated[str | None, typer.Option(metavar="ID", help="Only those of one operation.")] = None,
) -> None:
    """Print the newest events of the journal, oldest first."""
    from kferry.cli import output
    from kferry.client import diagnostics, formats
    from kferry.domain.errors import KferryError

    current = state.of(context)
    reader = current.session().reader
    if verify:
        from kferry.store.chain import first_broken_link

        rows = reader.chain_rows()
        broken = first_broken_link(rows)
        head = rows[-1]["hash"] if rows else None
        data = {"events": len(rows), "holds": broken is None, "first_broken": broken, "head": head}
        if broken is not None:
            output.emit(current, data, text=f"broken at event {broken}")
            raise KferryError(
                f"The journal's chain is broken at event {broken}.",
                cause="That event was rewritten, or one before it was taken out.",
                next_step=f"Keep {reader.layout.journal} as it is and compare it with {reader.layout.private}/backups.",
            )
        output.emit(current, data, text=f"{len(rows)} events, the chain holds; head {head or 'none'}")
        return
    events = reader.events(limit=limit, operation_id=operation)
    output.emit(
        current,
        events,
        headers=("SEQ", "AT", "EVENT", "ABOUT", "DETAILS"),
        rows=[
            (event.seq, formats.moment(event.at_ms), event.kind, event.subject, json.dumps(event.payload))
            for event in events
        ],
        empty="Nothing has happened yet.",
    )
    if len(events) == limit:
        diagnostics.say(f"The newest {limit} events; more with --limit.")
