"""How the command line reads arguments and ends: global options anywhere, a default command, errors as exit codes."""

from __future__ import annotations

import sqlite3
from typing import Any

import typer
from typer.core import TyperGroup

from kferry.client.exit_codes import ExitCode, of_kind
from kferry.domain.errors import KferryError

# Global options and whether each takes a value. They may stand anywhere on the line.
_GLOBAL_OPTIONS = {
    "-C": True,
    "--dir": True,
    "-o": True,
    "--output": True,
    "--read-only": False,
    "--quiet": False,
    "-q": False,
    "--no-color": False,
    "--no-start": False,
}


def hoist_global_options(args: list[str]) -> list[str]:
    """The same line with the global options in front, where the root command expects them."""
    front: list[str] = []
    rest: list[str] = []
    index = 0
    while index < len(args):
        word = args[index]
        if word == "--":
            rest.extend(args[index:])
            break
        name, equals, _ = word.partition("=")
        if word in _GLOBAL_OPTIONS:
            takes_value = _GLOBAL_OPTIONS[word]
            front.extend(args[index : index + 1 + takes_value])
            index += 1 + takes_value
            continue
        (front if equals and name.startswith("--") and name in _GLOBAL_OPTIONS else rest).append(word)
        index += 1
    return front + rest


class RootGroup(TyperGroup):
    """The root command: hoists global options, and turns every exception into words and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        parsed: list[str] = super().parse_args(ctx, hoist_global_options(args))
        return parsed

    def invoke(self, ctx: Any) -> Any:
        from kferry.client import diagnostics

        try:
            return super().invoke(ctx)
        except KferryError as error:
            diagnostics.error(error)
            raise typer.Exit(of_kind(error.kind)) from None
        except KeyboardInterrupt:
            diagnostics.say("Interrupted.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            raise typer.Exit(ExitCode.FAILED) from None
        except (OSError, sqlite3.Error) as error:
            diagnostics.error(KferryError(f"{type(error).__name__}: {error}."))
            if diagnostics.is_debugging():
                raise
            raise typer.Exit(ExitCode.FAILED) from None
        except Exception as error:
            # typer's own ways to end (exit, usage error) carry an exit code; anything else is a defect
            if hasattr(error, "exit_code") or isinstance(error, typer.Abort):
                raise
            diagnostics.unexpected(error)
            raise typer.Exit(ExitCode.FAILED) from None


class DefaultGroup(TyperGroup):
    """A group whose first command is meant where none is named: `cutover BATCH` is `cutover start BATCH`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = next(iter(self.commands))
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [first, *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


def group(help_text: str, **options: Any) -> typer.Typer:
    """A command group in the house's manner: plain help, no tracebacks with locals."""
    return typer.Typer(help=help_text, rich_markup_mode=None, pretty_exceptions_enable=False, **options)
