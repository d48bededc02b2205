"""One play, live: host by host with the words of each failure, as a whole, and the end of its log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical

from kferry.client import formats, play
from kferry.client.session import Session
from kferry.store.views import OperationView
from kferry.ui import bindings, operation_acts
from kferry.ui.cells import Cell, Line, line
from kferry.ui.messages import Frame
from kferry.ui.rows import common, plays, work
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.chrome import Plain
from kferry.ui.widgets.follow import FollowScroll
from kferry.ui.widgets.keyed_table import KeyedTable, Row
from kferry.ui.widgets.sections import Sections

# How many hosts are shown at once before the table scrolls, in a low and in a high terminal.
_MOST_HOSTS_LOW, _MOST_HOSTS_HIGH = 4, 10


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    head: tuple[Line, ...]
    hosts: Mapping[str, play.HostPlay]
    rows: tuple[Row, ...]
    tree: tuple[Line, ...]
    log: tuple[Line, ...]
    is_running: bool
    operation: OperationView | None = None


class RunScreen(KferryScreen):
    NAME = "run"
    CRUMB = "Play"
    CSS_PATH = "run.tcss"
    AUTO_FOCUS = "#hosts"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.for_screen("run")]
    HELP = """
One play as it happens. ← and → (or h and l) go between its hosts, the whole play, and the end of its log. Hosts that
failed come first; below stands what the host under the cursor did, its failure in the module's own words. ✓ ok found
things as they should be, ± changed altered something, ▲ went on means that the play itself caught a failure. While the
play runs, the view stays at its end; scroll up and it stands still, G follows again. t runs the failed step again.
"""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id
        self._playbook = run_id

    @property
    def crumbs(self) -> tuple[str, ...]:
        return ("Overview", "Runs", self._playbook)

    def body(self) -> ComposeResult:
        yield Plain(id="run-head")
        yield Sections(
            (
                "Hosts",
                Vertical(
                    KeyedTable("Hosts", plays.HOST_COLUMNS, id="hosts", empty="Reading the journal…"),
                    FollowScroll("Host", id="host-box"),
                    id="hosts-pane",
                ),
            ),
            ("Whole play", FollowScroll("Play", id="tree-box")),
            ("Log", FollowScroll("End of the log", id="log-box")),
        )

    def collect(self, session: Session, frame: Frame) -> RunSnapshot:
        run = session.reader.run(self.run_id)
        if run is None:
            gone = (line(Cell(f"There is no run {self.run_id}.", "warn")),)
            return RunSnapshot(gone, {}, (), (), (), False)
        self._playbook = run.playbook
        operation = session.reader.operation(run.operation_id) if run.operation_id else None
        about = f"{operation.title}: {operation.subject}".rstrip(": ") if operation else formats.DASH
        head = (
            line(
                common.state(run.status),
                Cell(f"  {run.playbook}", "strong"),
                Cell("  took ", "dim"),
                work.took(run.started_at_ms, run.finished_at_ms, frame.now_ms),
                Cell(f"  begun {formats.moment(run.started_at_ms)}", "dim"),
            ),
            line(Cell("for   ", "dim"), about, Cell(f"  step {run.step}" if run.step else "", "dim")),
            line(Cell("next  ", "dim"), Cell(play.next_words(run, operation), "strong")),
            line(Cell("log   ", "dim"), run.log),
        )
        steps = session.reader.run_steps(self.run_id)
        hosts = play.hosts_of(steps, run)
        return RunSnapshot(
            head,
            {host.host: host for host in hosts},
            plays.host_rows(hosts, frame.now_ms),
            tuple(work.run_tree(steps)) or (line(Cell("The play has said nothing yet.", "dim")),),
            tuple(plays.log_lines(*play.log_tail(run.log))),
            run.status == "running",
            operation,
        )

    def show(self, snapshot: RunSnapshot, frame: Frame) -> None:
        self.query_one("#run-head", Plain).show(snapshot.head)
        table = self.query_one("#hosts", KeyedTable)
        most = _MOST_HOSTS_HIGH if self.has_class("-high") else _MOST_HOSTS_LOW
        table.styles.height = min(most, max(2, len(snapshot.rows))) + 3
        table.set_rows(
            snapshot.rows, empty="No host has answered yet." if snapshot.is_running else "No host took part."
        )
        self._show_host()
        self.query_one("#tree-box", FollowScroll).show(snapshot.tree, follow=snapshot.is_running)
        # the end of a log is what matters also when the play is over
        self.query_one("#log-box", FollowScroll).show(snapshot.log, follow=True)

    @on(KeyedTable.Moved, "#hosts")
    def _moved(self) -> None:
        self.query_one("#host-box", FollowScroll).restart()
        self._show_host()

    def _show_host(self) -> None:
        if self.snapshot is None or self.frame is None:
            return
        host = self.snapshot.hosts.get(self.query_one("#hosts", KeyedTable).cursor_key or "")
        box = self.query_one("#host-box", FollowScroll)
        if host is None:
            box.show([], follow=False)
        else:
            box.show(plays.host_lines(host, self.frame.now_ms), follow=host.state == "working")

    @on(KeyedTable.Chosen, "#hosts")
    def _open(self) -> None:
        self.query_one("#host-box", FollowScroll).focus()

    def args_for(self, action_id: str) -> Mapping[str, Any] | None:
        operation: OperationView | None = self.snapshot.operation if self.snapshot else None
        if action_id == "diagnose":
            has_task = operation is not None and operation.kind.endswith("_task")
            return {"task": operation.subject} if operation is not None and has_task else {}
        return operation_acts.args_for(action_id, operation)
