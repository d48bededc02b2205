"""Overview: the rail of phases, the batches with their lag, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.content import Content

from kferry.client.session import Session
from kferry.store.views import BatchView, OperationView
from kferry.ui import bindings, operation_acts
from kferry.ui.cells import Cell, Line, line
from kferry.ui.messages import Frame
from kferry.ui.rows import common, setup, tasks
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.chrome import Plain
from kferry.ui.widgets.keyed_table import KeyedTable, Row


@dataclass(frozen=True, slots=True)
class OverviewSnapshot:
    rail: tuple[Line, ...]
    batch_rows: tuple[Row, ...]
    alarms: tuple[Line, ...]
    batches: tuple[BatchView, ...]
    operations: Mapping[str, OperationView]
    plan_error: Mapping[str, str] | None


class OverviewScreen(KferryScreen):
    NAME = "overview"
    CRUMB = "Overview"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.for_screen("overview")]
    HELP = """
The whole migration on one page. On the rail are its eight phases; ▸ marks the one that is next, and the line above
names the one thing to do now: press n and kferry does it, or takes you to where it is done.
Below are the batches in the order in which they move. Enter opens a batch's migration task.
Alarms say what threatens the data, and what appeared on the source since the plan (▲ holds up a cutover, + doesn't).
Every figure carries its age; what is not known is drawn as –.
"""

    def body(self) -> ComposeResult:
        with Container(id="top"):
            rail = Plain(id="rail", classes="panel")
            rail.border_title = Content("Phases")
            yield rail
            with Vertical(id="alarm-box", classes="panel scrolls") as box:
                box.border_title = Content("Alarms")
                yield Plain(id="alarms")
        yield KeyedTable("Batches", tasks.BATCH_COLUMNS, id="batches", empty="Reading the journal…", sortable=False)

    def collect(self, session: Session, frame: Frame) -> OverviewSnapshot:
        plan = session.plan_view()
        found = [task for task in session.reader.tasks() if task.state != "Deleted"]
        alarms = list(tasks.alarm_lines(found))
        for task in found:
            alarms += tasks.newcomer_lines(task.newcomers, task.name, limit=2)
        alarms += tasks.newcomer_lines(session.reader.newcomers(""), limit=1) if found else []
        if not frame.alive and found:
            alarms.append(line(Cell("▲ ", "warn"), "No engine measures: every figure is as old as it says."))
        return OverviewSnapshot(
            rail=tuple(setup.rail_lines(session.rail(), frame.next_action)),
            batch_rows=tasks.batch_rows(plan.batches, {task.name: task for task in found}, frame.now_ms, frame.alive),
            alarms=tuple(alarms) or (line(Cell("✓ ", "ok"), Cell("no alarm", "dim")),),
            batches=plan.batches,
            operations=operation_acts.open_operations(session.reader),
            plan_error=plan.error,
        )

    def show(self, snapshot: OverviewSnapshot, frame: Frame) -> None:
        self.query_one("#rail", Plain).show(snapshot.rail)
        error = common.error_lines(snapshot.plan_error)
        self.query_one("#alarms", Plain).show([*error, *snapshot.alarms])
        self.query_one("#batches", KeyedTable).set_rows(
            snapshot.batch_rows,
            empty="There are no batches yet. A plan groups topics and consumer groups into batches; the line at the"
            " top says what comes before it (press n).",
        )

    @on(KeyedTable.Chosen, "#batches")
    async def _open_batch(self, event: KeyedTable.Chosen) -> None:
        from kferry.ui.screens.task import TaskScreen

        batch = next((item for item in self.snapshot.batches if item.name == event.key), None)
        if batch is None:
            return
        if batch.task:
            await self.app.open_detail(TaskScreen(batch.task))
        else:
            await self.app.go_to("plan", batch.name)

    def operation_under_cursor(self) -> OperationView | None:
        key = self.query_one("#batches", KeyedTable).cursor_key
        return self.snapshot.operations.get(key) if self.snapshot and key else None

    def batch_under_cursor(self) -> str | None:
        return self.query_one("#batches", KeyedTable).cursor_key

    def args_for(self, action_id: str) -> Mapping[str, Any] | None:
        return operation_acts.args_for(action_id, self.operation_under_cursor())
