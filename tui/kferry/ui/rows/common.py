"""States, ages and unknowns as cells: a symbol and a word each, so that no meaning hangs on colour."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kferry.client import formats
from kferry.ui.cells import Cell, Line, line

# A figure older than this is marked as stale, in milliseconds. The engine measures about every five seconds.
STALE_AFTER_MS = 20_000

_STATES: dict[str, tuple[str, str]] = {
    # migration tasks
    "Creating": ("◐", "busy"),
    "Running": ("●", "ok"),
    "Modifying": ("◐", "busy"),
    "Service Exception": ("✗", "bad"),
    "Paused": ("‖", "warn"),
    "Deleting": ("◌", "busy"),
    "Deleted": ("·", "dim"),
    # steps and operations
    "pending": ("○", "dim"),
    "running": ("◐", "busy"),
    "acted": ("◑", "busy"),
    "waiting": ("◔", "busy"),
    "needs operator": ("▲", "warn"),
    "aborting": ("↶", "warn"),
    "aborted": ("↶", "warn"),
    "done": ("✓", "ok"),
    "failed": ("✗", "bad"),
    "skipped": ("–", "dim"),
    "undone": ("↶", "warn"),
    # batches
    "planned": ("○", "dim"),
    "replicating": ("◐", "busy"),
    "switching": ("⇄", "warn"),
    "switched": ("✓", "ok"),
    "rolled back": ("↶", "warn"),
    "finished": ("✓", "ok"),
    # findings
    "block": ("✗", "bad"),
    "warn": ("▲", "warn"),
    "unknown": ("?", "warn"),
    "info": ("i", "dim"),
    "waived": ("~", "dim"),
    # phases of the rail
    "todo": ("○", "dim"),
    "active": ("◐", "busy"),
    "attention": ("▲", "warn"),
    # plays
    "successful": ("✓", "ok"),
    "lost": ("?", "bad"),
    "canceled": ("↶", "warn"),
    "ok": ("✓", "ok"),
    "changed": ("±", "busy"),
    "unreachable": ("✗", "bad"),
    "retry": ("↻", "warn"),
    # Connect
    "RUNNING": ("●", "ok"),
    "STOPPED": ("■", "warn"),
    "PAUSED": ("‖", "warn"),
    "FAILED": ("✗", "bad"),
    "UNASSIGNED": ("◌", "warn"),
    "RESTARTING": ("◐", "busy"),
    # groups
    "Stable": ("●", "ok"),
    "Empty": ("○", "dim"),
    "Dead": ("·", "dim"),
    # intents and changes
    "accepted": ("◐", "busy"),
    "refused": ("✗", "warn"),
    "applied": ("●", ""),
    "kept": ("✓", "dim"),
}


def symbol(state: str) -> Cell:
    mark, tone = _STATES.get(state, ("?", "warn"))
    return Cell(mark, tone)


def state(word: str | None, shown: str | None = None) -> Cell:
    """A state as symbol and word; None is "unknown"."""
    word = word or "unknown"
    mark, tone = _STATES.get(word, ("?", "warn"))
    return Cell(f"{mark} {shown or word}", tone)


def age(at_ms: int | None, now_ms: int, alive: bool = True) -> Cell:
    """How old a figure is; said to be stale where it is, or where no engine measures any more."""
    if at_ms is None:
        return Cell("never measured", "warn")
    words = formats.age(at_ms, now_ms)
    return Cell(f"{words}, stale", "warn") if is_stale(at_ms, now_ms, alive) else Cell(words, "dim")


def is_stale(at_ms: int | None, now_ms: int, alive: bool = True) -> bool:
    return at_ms is None or not alive or now_ms - at_ms > STALE_AFTER_MS


def figure(text: str, stale: bool = False) -> Cell:
    """A measured figure: unknown and stale ones are dimmed (their age says so in words)."""
    return Cell(text, "dim" if stale or text in (formats.DASH, formats.UNKNOWN) else "")


def error_lines(error: Mapping[str, str] | None) -> list[Line]:
    """An error as title, cause, next step and log, one below the other."""
    if not error:
        return []
    lines = [line(Cell("✗ ", "bad"), Cell(error.get("title", "Unknown error."), "bad"))]
    if error.get("cause"):
        lines.append(line(Cell("  why   ", "dim"), error["cause"]))
    if error.get("next_step"):
        lines.append(line(Cell("  next  ", "dim"), Cell(error["next_step"], "strong")))
    if error.get("log"):
        lines.append(line(Cell("  log   ", "dim"), error["log"]))
    return lines


def value_text(value: Any) -> str:
    """A JSON value as one short line of text."""
    if value is None:
        return formats.UNKNOWN
    if isinstance(value, bool):
        return formats.yes_no(value)
    if isinstance(value, int):
        return formats.records(value)
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
        return ", ".join(str(item) for item in value) or "none"
    return json.dumps(value, ensure_ascii=False, default=str)


def evidence_lines(evidence: Mapping[str, Any], indent: str = "  ") -> list[Line]:
    """What was measured, one line for each thing; bare sentences stand for themselves."""
    lines = []
    for key, value in evidence.items():
        if key in ("words", "evidence", "summary") and isinstance(value, str):
            lines.append(line(indent, value))
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            lines.append(line(indent, Cell(f"{key.replace('_', ' ')}: ", "dim"), f"{len(value)}"))
            lines += [line(indent + "  ", value_text(item)) for item in value[:12]]
            if len(value) > 12:
                lines.append(line(indent + "  ", Cell(f"… {len(value) - 12} more", "dim")))
        else:
            lines.append(line(indent, Cell(f"{key.replace('_', ' ')}: ", "dim"), value_text(value)))
    return lines


def facts(pairs: list[tuple[str, Cell | str]], width: int = 14) -> list[Line]:
    """Name and value below each other."""
    return [line(Cell(f"{name:<{width}}", "dim"), value) for name, value in pairs]
