"""Fleet: the machines, whether each can be a worker and why not, and what runs on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content

from kferry.client import actions, play
from kferry.client import fleet as fleets
from kferry.client.fleet import Fleet, Machine
from kferry.client.session import Session
from kferry.ui import bindings, wishes
from kferry.ui.messages import Frame
from kferry.ui.modals.ask import ChoiceDialog
from kferry.ui.modals.look import LookDialog
from kferry.ui.rows import fleet
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.chrome import Plain, Scroll
from kferry.ui.widgets.keyed_table import KeyedTable, Row


@dataclass(frozen=True, slots=True)
class FleetSnapshot:
    """`progress` is the running check, machine by machine; empty where none runs."""

    fleet: Fleet
    progress: Mapping[str, play.HostPlay]
    rows: tuple[Row, ...]


class FleetScreen(KferryScreen):
    NAME = "fleet"
    CRUMB = "Fleet"
    CSS_PATH = "fleet.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.for_screen("fleet")]
    HELP = """
The machines of inventory/hosts.yml. t measures each of them, and from each every broker of both clusters; it changes
nothing there. ● usable: workers may be put there. ✗ left out: it answers but can't carry workers, the reasons stand
below. ✗ silent: it could not be reached. ? unknown: not checked, or not enough could be measured; unknown is not a yes.
Enter opens the task whose workers run there. Figures of machines are as old as the check; those of workers are live.
D takes everything of this migration off a machine.
"""

    def body(self) -> ComposeResult:
        yield Plain(id="fleet-head")
        yield KeyedTable("Machines", fleet.MACHINE_COLUMNS, id="machines", empty="Reading the journal…")
        with Scroll(id="machine-box", classes="panel scrolls") as box:
            box.border_title = Content("Machine")
            yield Plain(id="machine")

    def collect(self, session: Session, frame: Frame) -> FleetSnapshot:
        found = fleets.read(session)
        progress: dict[str, play.HostPlay] = {}
        if found.is_checking and found.check is not None and found.check.run_ids:
            run = session.reader.run(found.check.run_ids[-1])
            if run is not None:
                hosts = play.hosts_of(session.reader.run_steps(run.run_id), run)
                progress = {host.host: host for host in hosts}
        return FleetSnapshot(found, progress, fleet.rows(found, frame.now_ms, progress))

    def show(self, snapshot: FleetSnapshot, frame: Frame) -> None:
        self.query_one("#fleet-head", Plain).show(
            fleet.head_lines(snapshot.fleet, frame.now_ms, snapshot.progress, frame.alive)
        )
        self.query_one("#machines", KeyedTable).set_rows(snapshot.rows, empty=fleet.EMPTY)
        self._show_machine()

    @on(KeyedTable.Moved)
    def _moved(self) -> None:
        self._show_machine()
        self.query_one("#machine-box", Scroll).scroll_home(animate=False)

    def _show_machine(self) -> None:
        machine = self.machine_under_cursor()
        if machine is None or self.frame is None:
            self.query_one("#machine", Plain).show([])
        else:
            self.query_one("#machine", Plain).show(self._lines_of(machine, self.frame))

    def _lines_of(self, machine: Machine, frame: Frame) -> list[Any]:
        at_work = self.snapshot.progress.get(machine.name)
        return fleet.detail_lines(machine, self.snapshot.fleet, frame.now_ms, frame.alive, at_work)

    def machine_under_cursor(self) -> Machine | None:
        key = self.query_one("#machines", KeyedTable).cursor_key
        found: Machine | None = self.snapshot.fleet.machine(key) if self.snapshot and key else None
        return found

    @on(KeyedTable.Chosen)
    async def _open(self) -> None:
        machine = self.machine_under_cursor()
        if machine is None or self.frame is None:
            return
        tasks = sorted({worker.task for worker in machine.workers})
        if not tasks:
            await self.app.push_dialog(LookDialog(machine.name, self._lines_of(machine, self.frame)))
        elif len(tasks) == 1:
            await self._open_task(tasks[0])
        else:
            choices = [
                (task, task, ", ".join(worker.name for worker in machine.workers if worker.task == task))
                for task in tasks
            ]
            dialog = ChoiceDialog(f"Tasks on {machine.name}", (), choices)
            await self.app.push_dialog(dialog, self._chosen)

    def _chosen(self, task: str | None) -> None:
        if task is not None:
            self.app.run_worker(self._open_task(task))

    async def _open_task(self, task: str) -> None:
        from kferry.ui.screens.task import TaskScreen

        await self.app.open_detail(TaskScreen(task))

    def args_for(self, action_id: str) -> Mapping[str, Any] | None:
        return {} if action_id in ("fleet_check", "diagnose") else None

    async def do_teardown(self) -> None:
        machine = self.machine_under_cursor()
        if machine is None:
            self.say("Put the cursor on a machine first.")
            return
        action = actions.BY_ID["teardown"]
        choices = (
            ("no", "remove everything", "workers, versions, secrets, logs, the accounts of tasks"),
            ("yes", "keep the logs", "everything else goes"),
        )

        def chosen(keep: str | None) -> None:
            if keep is not None:
                args = {"host": machine.name, "keep_logs": keep == "yes"}
                wishes.ask(self.app, action, args, subject=machine.name)

        await self.app.push_dialog(ChoiceDialog(f"Remove this migration from {machine.name}", (), choices), chosen)
