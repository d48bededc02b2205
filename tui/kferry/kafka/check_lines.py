"""The lines of a connection test: what was looked at, how it stands, in words, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

Line = tuple[str, str, str, float | None]  # what; "ok", "warn", "failed", "unknown" or "skipped"; words; seconds
OnLines = Callable[[Iterable[Line]], None]

OK, WARN, FAILED, UNKNOWN, SKIPPED = "ok", "warn", "failed", "unknown", "skipped"


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self._started, 4)


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 day, 2 days."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def sentence(cause: str, next_step: str = "") -> str:
    """A cause with what to do about it."""
    cause = cause.strip()
    ended = cause if not cause or cause.endswith((".", "!", "?")) else f"{cause}."
    return f"{ended} {next_step}".strip()
