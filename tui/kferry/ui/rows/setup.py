"""The rail and clusters as rows and lines."""

from __future__ import annotations

from collections.abc import Sequence

from kferry.store.views import PhaseView
from kferry.ui.cells import Cell, Line, line
from kferry.ui.rows import common


def rail_lines(phases: Sequence[PhaseView], next_action: tuple[str, str, str]) -> list[Line]:
    """One line for each phase: symbol, name, state in words; the phase of the next action is marked."""
    marked = phase_of(phases, next_action)
    lines = []
    for phase in phases:
        is_next = phase.name == marked
        name_tone = "title" if is_next else "" if phase.state in ("done", "active", "attention") else "dim"
        lines.append(
            line(
                Cell("▸ " if is_next else "  ", "title"),
                common.symbol(phase.state),
                Cell(f" {phase.name:<10} ", name_tone),
                Cell(phase.words, "dim" if phase.state in ("done", "todo") else ""),
            )
        )
    return lines


def phase_of(phases: Sequence[PhaseView], next_action: tuple[str, str, str]) -> str | None:
    """The phase the next action belongs to: it names the same action and sentence, else the first that is not done."""
    for phase in phases:
        if phase.next_action == next_action[0] and phase.next_words == next_action[1]:
            return phase.name
    return next((phase.name for phase in phases if phase.state == "attention"), None) or next(
        (phase.name for phase in phases if phase.state not in ("done",)), None
    )
