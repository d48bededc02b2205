"""`kferry engine`: whether the engine lives; start, stop and restart it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

from kferry.cli import state
from kferry.cli.groups import group

if TYPE_CHECKING:
    from kferry.store.views import EngineView

app = group("The engine: one process per migration, the only one that acts.", no_args_is_help=True)


@app.command()
def status(context: typer.Context) -> None:
    """Say whether the engine lives. Exits 5 where it does not."""
    from kferry.client.exit_codes import ExitCode

    current = state.of(context)
    view = current.session().engine()
    _emit(current, view)
    if not view.alive:
        raise typer.Exit(ExitCode.NOT_READY)


@app.command()
def start(context: typer.Context) -> None:
    """Start the engine; it goes on when the terminal closes. Nothing happens where it runs already."""
    current = state.of(context)
    _emit(current, current.session().ensure_engine())


@app.command()
def stop(context: typer.Context) -> None:
    """Stop the engine. Workers go on copying; nothing is watched until it is started again."""
    from kferry.client import diagnostics

    current = state.of(context)
    session = current.session()
    was_alive = session.engine().alive
    session.stop_engine()
    diagnostics.say("The engine is stopped." if was_alive else "The engine was not running.")


@app.command()
def restart(context: typer.Context) -> None:
    """Stop and start the engine, so that it sees this shell's environment."""
    current = state.of(context)
    _emit(current, current.session().restart_engine())


def _emit(current: state.State, view: EngineView) -> None:
    from kferry.cli import output
    from kferry.client import formats

    now_ms = int(time.time() * 1000)
    lines = (
        ("engine", "running" if view.alive else "not running"),
        ("process", str(view.pid) if view.alive and view.pid else formats.DASH),
        ("started", formats.moment(view.started_at_ms) if view.alive else formats.DASH),
        ("heartbeat", formats.age(view.heartbeat_at_ms, now_ms)),
        ("version", view.kferry_version or formats.UNKNOWN),
        ("journal schema", view.schema_revision or formats.DASH),
        ("log", view.log),
    )
    output.emit(current, view, text="\n".join(f"{name:<15} {value}" for name, value in lines))
