"""Migration tasks: every one with its derived state, lag and rate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from kferry.client import actions
from kferry.client.session import Session
from kferry.store.views import OperationView, TaskView
from kferry.ui import bindings, operation_acts
from kferry.ui.cells import Cell, Line, line
from kferry.ui.messages import Frame
from kferry.ui.rows import tasks
from kferry.ui.screens.base import KferryScreen
from kferry.ui.task_acts import args_for_task, ask_scale, ask_update, ask_upgrade
from kferry.ui.widgets.chrome import Plain
from kferry.ui.widgets.keyed_table import KeyedTable, Row

if TYPE_CHECKING:
    from kferry.ui.app import KferryApp


@dataclass(frozen=True, slots=True)
class TasksSnapshot:
    tasks: Mapping[str, TaskView]
    rows: tuple[Row, ...]
    alarms: tuple[Line, ...]
    operations: Mapping[str, OperationView]


class TasksScreen(KferryScreen):
    NAME = "tasks"
    CRUMB = "Migration tasks"
    CSS_PATH = "tasks.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.for_screen("tasks")]
    HELP = """
Every batch under way is a migration task: workers of its own, and three connectors that copy. The state comes from
offsets that advance, not from what Connect says: a connector may be RUNNING while nothing moves. Enter opens a task.
p pauses it (its connectors are stopped, nothing is lost), u resumes it, e adds or removes topics and groups, D deletes
what copies and leaves the copied data. w changes its workers, R restarts them one at a time, K brings new secrets, U
changes their Kafka version, d collects diagnostics from their machines.
"""

    def body(self) -> ComposeResult:
        yield KeyedTable("Migration tasks", tasks.TASK_COLUMNS, id="tasks", empty="Reading the journal…")
        yield Plain(id="alarms")

    def collect(self, session: Session, frame: Frame) -> TasksSnapshot:
        found = session.reader.tasks()
        return TasksSnapshot(
            {task.name: task for task in found},
            tasks.task_rows(found, frame.now_ms, frame.alive),
            tuple(tasks.alarm_lines(found)) or (line(Cell("✓ no alarm", "dim")),),
            operation_acts.open_operations(session.reader),
        )

    def show(self, snapshot: TasksSnapshot, frame: Frame) -> None:
        self.query_one("#tasks", KeyedTable).set_rows(
            snapshot.rows,
            empty="No migration task yet. Each batch of the plan gets one: go to the Plan (5) and press c on a batch.",
        )
        self.query_one("#alarms", Plain).show(snapshot.alarms if snapshot.tasks else [])

    @on(KeyedTable.Chosen)
    async def _open(self, event: KeyedTable.Chosen) -> None:
        from kferry.ui.screens.task import TaskScreen

        await self.app.open_detail(TaskScreen(event.key))

    def task_under_cursor(self) -> TaskView | None:
        key = self.query_one("#tasks", KeyedTable).cursor_key
        return self.snapshot.tasks.get(key) if self.snapshot and key else None

    def batch_under_cursor(self) -> str | None:
        task = self.task_under_cursor()
        return task.batch if task else None

    def args_for(self, action_id: str) -> Mapping[str, Any] | None:
        task = self.task_under_cursor()
        if task is None:
            return None
        return args_for_task(action_id, task) or operation_acts.args_for(
            action_id, self.snapshot.operations.get(task.name)
        )

    async def _ask(self, action_id: str, dialog: Callable[[KferryApp, TaskView], Awaitable[None]]) -> None:
        task = self.task_under_cursor()
        if task is None:
            self.say(f"{actions.BY_ID[action_id].title}: no task under the cursor.")
        else:
            await dialog(self.app, task)

    async def do_update_task(self) -> None:
        await self._ask("update_task", ask_update)

    async def do_scale_task(self) -> None:
        await self._ask("scale_task", ask_scale)

    async def do_upgrade_task(self) -> None:
        await self._ask("upgrade_task", ask_upgrade)
