"""Medians with their spread, ratios against goals, and tables of text."""

from __future__ import annotations

import os
import platform
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from types import FrameType


def say(text: str = "") -> None:
    """One line for the person who waits."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def end_on_signals() -> None:
    """Let SIGTERM end the run as Ctrl-C does: with everything that it has started."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def describe_machine() -> str:
    """What absolute figures hold for: cores, how busy they are with other things, Python, day."""
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return f"{os.cpu_count()} cores, {load} at the start, Python {platform.python_version()}, {day}"


def median(values: Sequence[float]) -> float | None:
    """The middle; None where nothing was measured."""
    return statistics.median(values) if values else None


def spread(values: Sequence[float]) -> float | None:
    """Distance between the quartiles; None below three values, which have none worth telling."""
    if len(values) < 3:
        return None
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    return quartiles[2] - quartiles[0]


def number(value: float | None, digits: int = 1) -> str:
    """A figure as text; what is unknown is a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def summary(values: Sequence[float], digits: int = 1) -> str:
    """Median, distance between the quartiles and every single value."""
    each = " ".join(number(value, digits) for value in values)
    return f"median {number(median(values), digits)}, IQR {number(spread(values), digits)} ({each})"


def ratio_line(what: str, ours: Sequence[float], other: Sequence[float], goal: float) -> str:
    """The ratio of two medians, its goal, and the median of the ratios of each repetition."""
    upper, lower = median(ours), median(other)
    if upper is None or not lower:
        return f"{what}: not measured"
    paired = [one / two for one, two in zip(ours, other, strict=False) if two]
    verdict = "met" if upper / lower <= goal else "NOT met"
    return f"{what}: {upper / lower:.2f} (per repetition {summary(paired, 2)}); goal {goal:g} {verdict}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown, with columns aligned for the terminal."""
    every = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in every
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
