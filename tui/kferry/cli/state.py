"""The global options of one call, and the session they lead to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from kferry.client.session import Session


class Output(StrEnum):
    table = "table"
    json = "json"
    yaml = "yaml"
    commands = "commands"  # only where a command has such a form: kferry acls show


@dataclass(frozen=True, slots=True)
class State:
    """What stands before or after any command."""

    directory: Path | None = None
    output: Output = Output.table
    read_only: bool = False
    no_start: bool = False

    def root(self) -> Path:
        """The migration directory, found as `client.find` says."""
        from kferry.client import find

        return find.migration_directory(self.directory)

    def session(self) -> Session:
        """The session of the migration, with its files and journal checked."""
        from kferry.client.session import Session

        session = Session(self.root(), read_only=self.read_only)
        session.check()
        return session

    def working_session(self, *, dry_run: bool = False) -> Session:
        """As `session`, for a command that asks something of the engine: starts it unless told not to."""
        from kferry.client import diagnostics
        from kferry.domain.errors import ErrorKind, KferryError

        session = self.session()
        if self.read_only and not dry_run:
            raise KferryError(
                "This session is read-only; nothing was sent.",
                next_step="Leave out --read-only to change something, or add --dry-run.",
                kind=ErrorKind.USAGE,
            )
        if not self.no_start and not session.engine().alive:
            diagnostics.say(f"Starting the engine of {session.root}.")
            session.ensure_engine()
        return session


def of(context: typer.Context) -> State:
    """The state of a call; every command gets it from its context."""
    found: Any = context.find_root().obj
    return found if isinstance(found, State) else State()
