"""Batches, migration tasks and their parts as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kferry.client import formats
from kferry.store.views import (
    BatchView,
    ConnectorView,
    NewcomersView,
    NewcomerView,
    PartitionView,
    TaskView,
    WorkerView,
)
from kferry.ui.cells import Cell, Line, line
from kferry.ui.rows import common
from kferry.ui.widgets.keyed_table import Column, Row

BATCH_COLUMNS = (
    Column("batch", 12, flex=2),
    Column("phase", 14),
    Column("lag", 11, right=True),
    Column("rate", 10, right=True),
    Column("left", 13, flex=1),
    Column("topics", 6, right=True, from_width=100),
    Column("groups", 6, right=True, from_width=100),
    Column("measured", 9, flex=1),
)

TASK_COLUMNS = (
    Column("task", 11, flex=2),
    Column("state", 19),
    Column("lag", 11, right=True),
    Column("rate", 9, right=True),
    Column("bytes", 11, right=True, from_width=100),
    Column("done", 7, right=True, from_width=120),
    Column("left", 10, flex=2),
    Column("measured", 9, flex=1),
)

PARTITION_COLUMNS = (
    Column("topic", 14, flex=3),
    Column("part", 4, right=True),
    Column("lag", 11, right=True),
    Column("copied to", 13, right=True),
    Column("source end", 13, right=True),
    Column("target end", 13, right=True, from_width=100),
    Column("log start", 13, right=True, from_width=120),
    Column("", 13, flex=2),
)


def batch_rows(
    batches: Sequence[BatchView], tasks: Mapping[str, TaskView], now_ms: int, alive: bool
) -> tuple[Row, ...]:
    rows = []
    for batch in batches:
        task = tasks.get(batch.task or batch.name)
        stale = task is None or common.is_stale(task.measured_at_ms, now_ms, alive)
        rows.append(
            Row(
                batch.name,
                (
                    Cell(batch.name, "strong"),
                    common.state(batch.phase),
                    common.figure(formats.records(task.lag_records if task else None), stale),
                    common.figure(formats.record_rate(task.records_per_second if task else None), stale),
                    common.figure(task.eta_text if task else formats.DASH, stale),
                    Cell(str(len(batch.topics)), "dim"),
                    Cell(str(len(batch.groups)), "dim"),
                    common.age(task.measured_at_ms, now_ms, alive) if task else Cell("no task yet", "dim"),
                ),
            )
        )
    return tuple(rows)


def task_rows(tasks: Sequence[TaskView], now_ms: int, alive: bool) -> tuple[Row, ...]:
    return tuple(
        Row(
            task.name,
            (
                Cell(task.name, "strong"),
                common.state(task.state),
                *(
                    common.figure(text, common.is_stale(task.measured_at_ms, now_ms, alive))
                    for text in (
                        formats.records(task.lag_records),
                        formats.record_rate(task.records_per_second),
                        formats.byte_rate(task.bytes_per_second),
                        formats.percent(task.done_ratio),
                        task.eta_text,
                    )
                ),
                common.age(task.measured_at_ms, now_ms, alive),
            ),
        )
        for task in tasks
    )


def alarm_lines(tasks: Sequence[TaskView]) -> list[Line]:
    return [
        line(Cell("▲ ", "warn"), Cell(f"{task.name}: ", "strong"), alarm) for task in tasks for alarm in task.alarms
    ]


def newcomer_lines(found: NewcomersView, subject: str = "", limit: int = 3) -> list[Line]:
    """What appeared on the source: those that hold up a cutover first; what is beyond the limit is counted."""
    ordered = sorted(found.items, key=lambda item: (not item.blocks or item.joins, item.kind, item.name))
    head = [Cell(f"{subject}: ", "strong")] if subject else []
    lines = [line(Cell(*_newcomer_mark(item)), *head, item.words) for item in ordered[:limit]]
    if len(ordered) > limit:
        more = f"and {len(ordered) - limit} more newcomers: kferry task newcomers {subject}".rstrip()
        lines.append(line(Cell("+ ", "dim"), *head, Cell(more, "dim")))
    if found.error:
        lines.append(line(Cell("? ", "warn"), *head, f"The source could not be looked at for newcomers: {found.error}"))
    return lines


def _newcomer_mark(item: NewcomerView) -> tuple[str, str]:
    return ("▲ ", "warn") if item.blocks and not item.joins else ("+ ", "dim")


def task_lines(task: TaskView, now_ms: int, alive: bool) -> list[Line]:
    """The head of one task: what it does, how far it is, what keeps it."""
    stale = common.is_stale(task.measured_at_ms, now_ms, alive)
    moved = task.seconds_since_data_moved
    figures = (
        ("lag", f"{formats.records(task.lag_records)} records" if task.lag_records is not None else formats.DASH),
        ("copy", f"{formats.record_rate(task.records_per_second)}  {formats.byte_rate(task.bytes_per_second)}"),
        ("written", formats.record_rate(task.ingress_records_per_second)),
        ("done", formats.percent(task.done_ratio)),
        ("left", task.eta_text),
    )
    first: list[Cell] = [common.state(task.state), Cell("  "), Cell(task.state_reason, "dim")]
    second: list[Cell] = []
    for name, text in figures:
        second += [Cell(f"{name} ", "dim"), common.figure(text, stale), Cell("   ")]
    third = [Cell("measured ", "dim"), common.age(task.measured_at_ms, now_ms, alive), Cell("   ")]
    third += [
        Cell("data moved ", "dim"),
        Cell(f"{formats.duration(moved)} before" if moved is not None else formats.UNKNOWN, "" if not stale else "dim"),
        Cell("   "),
        Cell("batch ", "dim"),
        common.state(task.phase),
    ]
    lines: list[Line] = [tuple(first), tuple(second), tuple(third)]
    lines += [line(Cell("▲ ", "warn"), alarm) for alarm in task.alarms]
    return lines + newcomer_lines(task.newcomers)


def partition_rows(partitions: Sequence[PartitionView], stale: bool) -> tuple[Row, ...]:
    """Those with an alarm first, then by lag, the greatest first; unknown lag before any number."""

    def order(part: PartitionView) -> tuple[bool, bool, int, str, int]:
        return (not part.alarm, part.lag_records is not None, -(part.lag_records or 0), part.topic, part.partition)

    return tuple(
        Row(
            f"{part.topic}\0{part.partition}",
            (
                Cell(part.topic),
                Cell(str(part.partition), "dim"),
                common.figure(formats.records(part.lag_records), stale),
                *(
                    common.figure(formats.records(value), stale)
                    for value in (
                        part.copied_offset,
                        part.end_offset,
                        part.target_end_offset,
                        part.log_start_offset,
                    )
                ),
                Cell(f"▲ {part.alarm}", "warn")
                if part.alarm
                else Cell("✓ caught up", "ok")
                if part.lag_records == 0
                else Cell(""),
            ),
        )
        for part in sorted(partitions, key=order)
    )


def worker_lines(workers: Sequence[WorkerView]) -> list[Line]:
    if not workers:
        return [line(Cell("No workers yet: creating the task installs them.", "dim"))]
    words = {True: common.state("Running", "answers"), False: common.state("failed", "does not answer")}
    return [
        line(
            Cell(f"{worker.name:<12} ", "strong"),
            words.get(worker.alive, common.state("unknown")) if worker.alive is not None else common.state(None),
            Cell("  on ", "dim"),
            worker.host,
            Cell("  Kafka ", "dim"),
            worker.version or formats.UNKNOWN,
            Cell("  CPU ", "dim"),
            formats.percent(worker.cpu_ratio, formats.UNKNOWN),
            Cell("  heap ", "dim"),
            heap_words(worker.heap_used_bytes, worker.heap_max_bytes, worker.heap_bytes),
            Cell(f"  {worker.rest_url}", "dim"),
        )
        for worker in workers
    ]


def heap_words(used: int | None, most: int | None, given: int) -> str:
    """Used of the most: "310.0 MiB of 512.0 MiB"; of what it was given where the most was not measured."""
    return f"{formats.byte_count(used, formats.UNKNOWN)} of {formats.byte_count(most if most is not None else given)}"


def connector_lines(connectors: Sequence[ConnectorView]) -> list[Line]:
    """Connectors with their tasks; the trace of what failed."""
    if not connectors:
        return [line(Cell("No connector has been seen yet.", "dim"))]
    lines: list[Line] = []
    for connector in connectors:
        failed = [task for task in connector.tasks if task[1] == "FAILED"]
        running = sum(1 for task in connector.tasks if task[1] == "RUNNING")
        lines.append(
            line(
                Cell(f"{connector.role:<12} ", "strong"),
                common.state(connector.state),
                Cell(f"  {running} of {len(connector.tasks)} connector tasks run", "bad" if failed else "dim"),
                Cell(f"  {connector.name}", "dim"),
            )
        )
        for trace in filter(None, (connector.trace, *(task[3] for task in failed))):
            lines += [line(Cell("    " + text, "bad")) for text in trace.splitlines()[:6]]
    return lines
