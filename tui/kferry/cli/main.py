"""The command `kferry`: global options, the command groups, and the terminal interface where no command is named."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from kferry.cli.commands import (
    access,
    acls,
    changes,
    clusters,
    cutover,
    demo,
    diagnose,
    engine,
    fleet,
    init,
    inventory,
    journal,
    paths,
    plan,
    preflight,
    report,
    scan,
    sources,
    task,
    verify,
    watch,
)
from kferry.cli.groups import RootGroup
from kferry.cli.state import Output, State
from kferry.client.exit_codes import MEANING

_EPILOG = "Exit codes: " + "; ".join(f"{code.value} {words}" for code, words in MEANING.items()) + "."

app = typer.Typer(
    name="kferry",
    cls=RootGroup,
    help="Move topics and consumer groups from any Kafka into AutoMQ, batch by batch, with proof. "
    "Without a command: the terminal interface.",
    epilog=_EPILOG,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

demo.register(app)
init.register(app)
clusters.register(app)
app.add_typer(scan.app, name="scan")
app.add_typer(sources.app, name="clusters")
app.add_typer(preflight.app, name="preflight")
app.add_typer(inventory.app, name="inventory")
app.add_typer(plan.app, name="plan")
app.add_typer(acls.app, name="acls")
app.add_typer(access.app, name="access")
app.add_typer(fleet.app, name="fleet")
app.add_typer(task.app, name="task")
watch.register(app)
app.add_typer(cutover.app, name="cutover")
cutover.register(app)
verify.register(app)
report.register(app)
diagnose.register(app)
app.add_typer(changes.app, name="changes")
journal.register(app)
app.add_typer(engine.app, name="engine")
paths.register(app)


def _version(asked: bool) -> None:
    if asked:
        from kferry import __version__

        typer.echo(f"kferry {__version__}")
        raise typer.Exit()


@app.callback()
def root(
    context: typer.Context,
    directory: Annotated[
        Path | None,
        typer.Option(
            "-C", "--dir", metavar="DIR", help="The migration directory (else KFERRY_DIR, else upward from here)."
        ),
    ] = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="How data is written to stdout.")] = Output.table,
    read_only: Annotated[bool, typer.Option("--read-only", help="Change nothing, whatever is asked.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only data, warnings and errors.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours (also NO_COLOR).")] = False,
    no_start: Annotated[bool, typer.Option("--no-start", help="Don't start the engine where it is needed.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    from kferry.client import diagnostics

    diagnostics.set_quiet(quiet)
    if no_color:
        os.environ["NO_COLOR"] = "1"
    state = State(directory=directory, output=output, read_only=read_only, no_start=no_start)
    context.obj = state
    if context.invoked_subcommand is None:
        raise typer.Exit(_open(state))


def _open(state: State) -> int:
    """Open the terminal interface on the migration directory."""
    from kferry.domain.errors import ErrorKind, KferryError

    session = state.session()
    session.close()
    if not sys.stdout.isatty() or not sys.stdin.isatty():
        raise KferryError(
            "The terminal interface needs a terminal.",
            next_step="See: kferry --help for the commands that work without one",
            kind=ErrorKind.USAGE,
        )
    from kferry.cli.terminal import open_terminal_interface

    return open_terminal_interface(session.root, read_only=state.read_only)


def run() -> None:
    """The entry point of the console script."""
    app(prog_name="kferry")
