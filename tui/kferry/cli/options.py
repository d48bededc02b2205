"""Options that several commands share, each written once."""

from __future__ import annotations

from typing import Annotated

import typer

DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return at once; the engine works on.")]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask for confirmation.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", help="Stop following after this time (exit 4).")
]


def confirm_typed(what: str, name: str, *, yes: bool) -> None:
    """Let the operator type the name of what is about to be changed; without a terminal --yes is needed."""
    import sys

    from kferry.client import diagnostics
    from kferry.domain.errors import ErrorKind, KferryError

    if yes:
        return
    if not sys.stdin.isatty():
        raise KferryError(f"{what} needs --yes where nobody can be asked.", kind=ErrorKind.USAGE)
    diagnostics.say(f"{what}.")
    if typer.prompt(f"Type {name!r} to go on", err=True).strip() != name:
        raise KferryError("The name does not match; nothing was done.", kind=ErrorKind.USAGE)
