"""Plays, the cutover and the journal as rows and lines."""

from __future__ import annotations

import json
from collections.abc import Sequence

from kferry.client import formats
from kferry.store.views import (
    ChangeView,
    EventView,
    IntentView,
    OperationView,
    RunStepView,
    RunView,
    StepView,
)
from kferry.ui.cells import Cell, Line, line
from kferry.ui.rows import common
from kferry.ui.widgets.keyed_table import Column, Row

RUN_COLUMNS = (
    Column("started", 8),
    Column("playbook", 12, flex=1),
    Column("status", 12),
    Column("took", 11),
    Column("changed", 7, right=True),
    Column("failed", 6, right=True),
    Column("for", 12, flex=2),
)
STEP_COLUMNS = (Column("", 16), Column("step", 30, flex=3), Column("who", 8), Column("took", 12))
EVENT_COLUMNS = (
    Column("no.", 6, right=True),
    Column("time", 9),
    Column("event", 20, flex=1),
    Column("about", 12, flex=1),
    Column("what", 16, flex=4),
)
CHANGE_COLUMNS = (
    Column("no.", 4, right=True),
    Column("status", 9),
    Column("where", 6),
    Column("thing", 12, flex=1),
    Column("name", 13, flex=2),
    Column("key", 10, flex=1, from_width=100),
    Column("was → is", 14, flex=2),
    Column("undo", 6),
)
INTENT_COLUMNS = (
    Column("time", 8),
    Column("status", 10),
    Column("wish", 14),
    Column("who", 14, flex=1, from_width=100),
    Column("what", 14, flex=2),
    Column("answer", 16, flex=3),
)


def took(started_ms: int | None, finished_ms: int | None, now_ms: int) -> Cell:
    if started_ms is None:
        return Cell("")
    seconds = ((finished_ms if finished_ms is not None else now_ms) - started_ms) / 1000
    words = formats.duration(float(int(seconds))).replace(".0 s", " s")
    return Cell(words if finished_ms is not None else f"{words} …", "dim" if finished_ms is not None else "busy")


def run_rows(runs: Sequence[RunView], subjects: dict[str, str], now_ms: int) -> tuple[Row, ...]:
    """`subjects` says for each operation what it is about."""
    rows = []
    for run in runs:
        about = subjects.get(run.operation_id or "", "")
        failed = run.failed_count
        rows.append(
            Row(
                run.run_id,
                (
                    Cell(formats.clock(run.started_at_ms), "dim"),
                    Cell(run.playbook, "strong"),
                    common.state(run.status),
                    took(run.started_at_ms, run.finished_at_ms, now_ms),
                    common.figure(formats.records(run.changed_count)),
                    Cell(formats.records(failed), "bad" if failed else "dim"),
                    Cell(f"{about} · {run.step}" if about else run.step, "dim"),
                ),
                f"{run.run_id} {run.playbook} {run.status} {about} {run.step}",
            )
        )
    return tuple(rows)


def run_tree(steps: Sequence[RunStepView]) -> list[Line]:
    """The play as a tree: play, role, step, host; each failure with its message."""
    lines: list[Line] = []
    play = role = title = None
    for item in steps:
        if item.kind == "play" or (item.play and item.play != play):
            play, role, title = item.play, None, None
            lines.append(line(Cell(f"▾ {item.play or 'play'}", "title")))
            if item.kind == "play":
                continue
        if item.role and item.role != role:
            role, title = item.role, None
            lines.append(line("  ", Cell(item.role, "dim")))
        if item.step and item.step != title:
            title = item.step
            lines.append(line("    ", item.step))
        if item.kind in ("ok", "changed", "failed", "skipped", "unreachable", "retry"):
            lines += _outcome(item)
        elif item.kind == "stats":
            lines.append(line(Cell("  = ", "dim"), Cell(item.host, "dim"), f" {item.message}"))
    return lines


def _outcome(item: RunStepView) -> list[Line]:
    is_bad = item.kind in ("failed", "unreachable")
    texts = item.message.splitlines()
    first = texts[0] if texts and not is_bad else ""
    lines = [line("      ", common.state(item.kind), Cell(f"  {item.host}  ", "dim"), Cell(first, "dim"))]
    if is_bad:
        lines += [line("        ", Cell(text, "bad")) for text in texts]
    if item.diff:
        lines += [
            line("        ", Cell(text, "ok" if text.startswith("+") else "warn" if text.startswith("-") else "dim"))
            for text in item.diff.splitlines()[:40]
        ]
    return lines


_WHO = {"act": "kferry", "gate": "measured", "owner": "owners", "decide": "you"}


def step_rows(operation: OperationView, now_ms: int) -> tuple[Row, ...]:
    """The steps of an operation; the point of no return is a mark on its step."""
    rows = []
    for number, step in enumerate(operation.steps, 1):
        pending = step.status == "pending"
        title = f"{number:>2} {step.title}" + ("  ◆ no way back after this" if step.irreversible else "")
        tone = "dim" if pending or step.status in ("done", "skipped") else "strong"
        rows.append(
            Row(
                step.name,
                (
                    common.state(step.status),
                    Cell(title, tone),
                    Cell(_WHO.get(step.kind, step.kind), "dim"),
                    took(step.started_at_ms, step.finished_at_ms, now_ms),
                ),
            )
        )
    return tuple(rows)


def step_lines(step: StepView) -> list[Line]:
    """One step in full: its gate, what was measured, what went wrong, the way back."""
    lines = [line(Cell(step.title, "title"))]
    if step.gate:
        lines.append(line(Cell("must hold  ", "dim"), step.gate))
    if step.way_back:
        lines.append(line(Cell("way back   ", "dim"), step.way_back))
    if step.attempt > 1:
        lines.append(line(Cell("attempt    ", "dim"), str(step.attempt)))
    lines += common.error_lines(step.error)
    if step.evidence:
        lines.append(line(Cell("measured", "dim")))
        lines += common.evidence_lines(step.evidence)
    elif step.status not in ("pending", "skipped"):
        lines.append(line(Cell("nothing measured yet", "dim")))
    return lines


def current_step(operation: OperationView) -> StepView | None:
    over = ("done", "skipped", "undone")
    return next((step for step in operation.steps if step.status not in over), None)


def has_passed_no_return(operation: OperationView) -> bool | None:
    """Whether the irreversible step has begun; None for an operation without one."""
    step = next((step for step in operation.steps if step.irreversible), None)
    return None if step is None else step.status not in ("pending", "skipped", "undone")


def way_back(operation: OperationView) -> list[str]:
    """What an abort would do now, in order: the way back of each step begun, the last one first."""
    begun = [step for step in operation.steps if step.status not in ("pending", "skipped", "undone")]
    return [step.way_back for step in reversed(begun) if step.way_back]


def payload_text(payload: object) -> str:
    if isinstance(payload, dict) and set(payload) == {"words"}:
        return str(payload["words"])
    return json.dumps(payload, ensure_ascii=False, default=str) if payload else ""


def event_rows(events: Sequence[EventView]) -> tuple[Row, ...]:
    """Newest first."""
    return tuple(
        Row(
            str(event.seq),
            (
                Cell(str(event.seq), "dim"),
                Cell(formats.clock(event.at_ms), "dim"),
                Cell(event.kind.replace("_", " "), "strong"),
                Cell(event.subject),
                Cell(payload_text(event.payload), "dim"),
            ),
        )
        for event in reversed(events)
    )


def change_rows(changes: Sequence[ChangeView]) -> tuple[Row, ...]:
    """Newest first."""
    return tuple(
        Row(
            str(change.change_id),
            (
                Cell(str(change.change_id), "dim"),
                common.state(change.status),
                Cell(change.scope, "dim"),
                Cell(change.resource.replace("_", " ")),
                Cell(change.name, "strong"),
                Cell(change.key),
                Cell(f"{_was(change.before)} → {_was(change.after)}", "dim"),
                Cell("u undo", "key") if change.can_undo else Cell("–", "dim"),
            ),
            f"{change.status} {change.scope} {change.resource} {change.name} {change.key} {change.reason}",
        )
        for change in reversed(changes)
    )


def _was(value: str | None) -> str:
    return "nothing" if value is None else value


def intent_rows(intents: Sequence[IntentView]) -> tuple[Row, ...]:
    return tuple(
        Row(
            intent.intent_id,
            (
                Cell(formats.clock(intent.created_at_ms), "dim"),
                common.state(intent.status),
                Cell(intent.kind.replace("_", " "), "strong"),
                Cell(intent.who, "dim"),
                Cell(payload_text(dict(intent.args)), "dim"),
                Cell(intent.reason or (f"operation {intent.operation_id}" if intent.operation_id else "")),
            ),
        )
        for intent in intents
    )
