"""Everything that goes to stderr: words for people. stdout carries data only, and is flushed before a word is said."""

from __future__ import annotations

import os
import sys
import traceback

from kferry.client import sanitize
from kferry.domain.errors import KferryError

_quiet = False
_drawn = False  # whether a line stands at the terminal that is to be drawn again


def set_quiet(quiet: bool) -> None:
    """Silence what is merely said; errors and warnings are always written."""
    global _quiet
    _quiet = quiet


def say(text: str = "") -> None:
    """One line of narrative."""
    if not _quiet:
        _write(text)


def draws() -> bool:
    """Whether a line can be drawn again in place."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def draw(text: str) -> None:
    """One line that the next one takes the place of; for terminals only. Anything else that is said wipes it."""
    global _drawn
    if _quiet:
        return
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        columns = 80
    _drawn = True
    _send(f"\r{sanitize.clean(text)[: max(1, columns - 1)]}\x1b[K")


def wipe() -> None:
    """Takes away the line that was drawn, if there is one."""
    global _drawn
    if _drawn:
        _drawn = False
        _send("\r\x1b[K")


def tell(text: str) -> None:
    """One line that belongs to a question, written also where nothing is merely said."""
    _write(text)


def warn(text: str) -> None:
    _write(f"warning: {text}")


def error(problem: KferryError) -> None:
    """An error as sentences: what happened, the cause, the next step, the log."""
    _write(f"error: {problem.title}")
    if problem.cause:
        _write(f"  cause: {problem.cause}")
    if problem.next_step:
        _write(f"  next:  {problem.next_step}")
    if problem.log:
        _write(f"  log:   {problem.log}")
    if is_debugging():
        traceback.print_exception(problem)


def unexpected(problem: BaseException) -> None:
    """A defect of kferry's own, told as a sentence; the traceback only on request."""
    _write(f"error: kferry met a defect of its own: {type(problem).__name__}: {problem}")
    _write("  next:  run the same again with KFERRY_DEBUG=1 and report what it prints")
    if is_debugging():
        traceback.print_exception(problem)


def is_debugging() -> bool:
    return os.environ.get("KFERRY_DEBUG", "") not in ("", "0")


def _write(text: str) -> None:
    wipe()
    _send(sanitize.clean(text, keep_newlines=True) + "\n")


def _send(text: str) -> None:
    try:
        sys.stdout.flush()
        sys.stderr.write(text)
        sys.stderr.flush()
    except (BrokenPipeError, ValueError):
        pass  # nobody reads it any more; the exit code still tells
