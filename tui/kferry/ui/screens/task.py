"""One migration task: its partitions live, the course of lag and rate, workers, connectors and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Sparkline

from kferry.client import formats
from kferry.client.session import Session
from kferry.store.views import OperationView, SampleView, TaskView
from kferry.ui import bindings, operation_acts
from kferry.ui.cells import Cell, Line, line
from kferry.ui.messages import Frame
from kferry.ui.rows import common, tasks, work
from kferry.ui.runbook_choice import ask_runbook
from kferry.ui.screens.base import KferryScreen
from kferry.ui.task_acts import args_for_task, ask_scale, ask_update, ask_upgrade
from kferry.ui.widgets.chrome import Plain, Scroll
from kferry.ui.widgets.keyed_table import KeyedTable, Row
from kferry.ui.widgets.sections import Sections

# How far back the charts reach, in milliseconds.
CHART_MS = 15 * 60_000


@dataclass(frozen=True, slots=True)
class TaskSnapshot:
    task: TaskView | None
    head: tuple[Line, ...]
    partitions: tuple[Row, ...]
    fleet: tuple[Line, ...]
    events: tuple[Row, ...]
    lags: tuple[float, ...]
    rates: tuple[float, ...]
    lag_words: Line
    rate_words: Line
    operation: OperationView | None = None


def _course(values: list[float | None]) -> tuple[float, ...]:
    return tuple(value for value in values if value is not None)


def _chart_words(name: str, values: tuple[float, ...], unit: str) -> Line:
    if not values:
        return line(Cell(f"{name} ", "strong"), Cell("not measured yet", "dim"))
    low, high = formats.short_count(min(values)), formats.short_count(max(values))
    return line(
        Cell(f"{name} ", "strong"),
        f"{formats.short_count(values[-1])}{unit}",
        Cell(f"  {low}–{high} in 15 min", "dim"),
    )


class TaskScreen(KferryScreen):
    NAME = "task"
    CRUMB = "Migration task"
    CSS_PATH = "task.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.for_screen("task")]
    HELP = """
One migration task. Lag is the number of records between the copied offset, as Connect has committed it, and the end of
the source. ← and → (or h and l) go between partitions, workers and connectors, and events. Partitions with an alarm
come first, then those that are furthest behind; s sorts by another column. The two curves show lag and copy rate of
the last 15 minutes. “Never at this rate” means that the source is written faster than it is copied. w changes the
workers, R restarts them one at a time, K brings new secrets, U changes their Kafka version. What appeared on the source
since the plan stands in the head: + joins by itself or is only told, ▲ holds up the cutover; e takes it in.
"""

    def __init__(self, task: str) -> None:
        super().__init__()
        self.task_name = task

    @property
    def crumbs(self) -> tuple[str, ...]:
        return ("Overview", "Migration tasks", self.task_name)

    def body(self) -> ComposeResult:
        yield Plain(id="task-head")
        with Horizontal(id="charts"):
            with Scroll(classes="chart", can_focus=False):
                yield Plain(id="lag-words")
                yield Sparkline(id="lag-chart")
            with Scroll(classes="chart", can_focus=False):
                yield Plain(id="rate-words")
                yield Sparkline(id="rate-chart")
        fleet = Scroll(Plain(id="fleet"), id="fleet-box", classes="panel scrolls")
        yield Sections(
            (
                "Partitions",
                KeyedTable("Partitions", tasks.PARTITION_COLUMNS, id="partitions", empty="Reading the journal…"),
            ),
            ("Workers and connectors", fleet),
            ("Events", KeyedTable("Events", work.EVENT_COLUMNS, id="events", empty="Nothing has happened yet.")),
        )

    def collect(self, session: Session, frame: Frame) -> TaskSnapshot:
        reader = session.reader
        task = reader.task(self.task_name)
        if task is None:
            gone = (line(Cell(f"There is no migration task {self.task_name}.", "warn")),)
            return TaskSnapshot(None, gone, (), (), (), (), (), (Cell(""),), (Cell(""),))
        samples: list[SampleView] = reader.samples(self.task_name, since_ms=frame.now_ms - CHART_MS)
        stale = common.is_stale(task.measured_at_ms, frame.now_ms, frame.alive)
        lags = _course([sample.lag_records for sample in samples])
        rates = _course([sample.records_per_second for sample in samples])
        return TaskSnapshot(
            task,
            tuple(tasks.task_lines(task, frame.now_ms, frame.alive)),
            tasks.partition_rows(reader.partitions(self.task_name), stale),
            (*tasks.worker_lines(task.workers), line(""), *tasks.connector_lines(task.connectors)),
            work.event_rows(reader.events(subject=self.task_name, limit=200)),
            lags,
            rates,
            _chart_words("lag", lags, " records"),
            _chart_words("copy rate", rates, " records/s"),
            operation_acts.open_operations(reader).get(self.task_name),
        )

    def show(self, snapshot: TaskSnapshot, frame: Frame) -> None:
        self.query_one("#task-head", Plain).show(snapshot.head)
        self.query_one("#partitions", KeyedTable).set_rows(
            snapshot.partitions,
            empty="Nothing is measured yet: the engine reads the partitions once the connectors run.",
        )
        self.query_one("#fleet", Plain).show(snapshot.fleet)
        self.query_one("#events", KeyedTable).set_rows(snapshot.events)
        self.query_one("#lag-words", Plain).show([snapshot.lag_words])
        self.query_one("#rate-words", Plain).show([snapshot.rate_words])
        for chart, values in (("#lag-chart", snapshot.lags), ("#rate-chart", snapshot.rates)):
            widget = self.query_one(chart, Sparkline)
            if widget.data != values:
                widget.data = values

    def args_for(self, action_id: str) -> Mapping[str, Any] | None:
        task: TaskView | None = self.snapshot.task if self.snapshot else None
        if task is None:
            return None
        return args_for_task(action_id, task) or operation_acts.args_for(action_id, self.snapshot.operation)

    def batch_under_cursor(self) -> str | None:
        task: TaskView | None = self.snapshot.task if self.snapshot else None
        return task.batch if task else None

    async def do_choose_runbook(self) -> None:
        if self.snapshot is not None and self.snapshot.task is not None:
            await ask_runbook(self.app, self.snapshot.task.batch)

    async def do_update_task(self) -> None:
        if self.snapshot is not None and self.snapshot.task is not None:
            await ask_update(self.app, self.snapshot.task)

    async def do_scale_task(self) -> None:
        if self.snapshot is not None and self.snapshot.task is not None:
            await ask_scale(self.app, self.snapshot.task)

    async def do_upgrade_task(self) -> None:
        if self.snapshot is not None and self.snapshot.task is not None:
            await ask_upgrade(self.app, self.snapshot.task)
