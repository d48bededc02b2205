"""Runs: the plays that the engine has run, and the one under the cursor host by host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from kferry.client import play
from kferry.client.session import Session
from kferry.store.views import RunView
from kferry.ui import bindings
from kferry.ui.cells import Cell, Line, line
from kferry.ui.messages import Frame
from kferry.ui.rows import plays, work
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.follow import FollowScroll
from kferry.ui.widgets.keyed_table import KeyedTable, Row

# Of the log so much is shown beside the list; the play's own screen has more.
_GLANCE_LOG_LINES = 5


@dataclass(frozen=True, slots=True)
class RunsSnapshot:
    """`glance` tells about the play `run_id`, the one that was under the cursor when it was read."""

    rows: tuple[Row, ...]
    run_id: str | None
    glance: tuple[Line, ...]


class RunsScreen(KferryScreen):
    NAME = "runs"
    CRUMB = "Runs"
    CSS_PATH = "runs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.for_screen("runs")]
    HELP = """
The Ansible plays that the engine has run, newest first: machines and connectors change by plays only. Below stands the
play under the cursor, host by host, with the message of what failed, what comes next and the end of its log; enter
shows it in full, live while it runs. “changed” counts what the play altered: 0 on a second run. A lost play is one
whose process went away with the engine; the engine looks again at what is true and goes on.
"""

    def __init__(self) -> None:
        super().__init__()
        self._wanted: str | None = None  # the run under the cursor; read by the poller's thread

    def body(self) -> ComposeResult:
        yield KeyedTable("Runs", work.RUN_COLUMNS, id="runs", empty="Reading the journal…")
        yield FollowScroll("Play", id="glance-box")

    def collect(self, session: Session, frame: Frame) -> RunsSnapshot:
        reader = session.reader
        subjects = {row["id"]: row["subject"] for row in reader.rows("select id, subject from operation")}
        runs = reader.runs(limit=200)
        chosen = next((run for run in runs if run.run_id == self._wanted), runs[0] if runs else None)
        return RunsSnapshot(
            work.run_rows(runs, subjects, frame.now_ms),
            chosen.run_id if chosen else None,
            tuple(self._glance(session, chosen, frame.now_ms)) if chosen else (),
        )

    @staticmethod
    def _glance(session: Session, run: RunView, now_ms: int) -> list[Line]:
        operation = session.reader.operation(run.operation_id) if run.operation_id else None
        hosts = play.hosts_of(session.reader.run_steps(run.run_id), run)
        texts, _ = play.log_tail(run.log)
        return plays.glance_lines(hosts, play.next_words(run, operation), texts[-_GLANCE_LOG_LINES:], now_ms)

    def show(self, snapshot: RunsSnapshot, frame: Frame) -> None:
        table = self.query_one("#runs", KeyedTable)
        table.set_rows(snapshot.rows, empty="No play has run yet. Creating a migration task runs the first ones.")
        box = self.query_one("#glance-box", FollowScroll)
        box.display = bool(snapshot.rows)
        if table.cursor_key in (None, snapshot.run_id):
            box.show(snapshot.glance, follow=False)

    @on(KeyedTable.Moved, "#runs")
    def _moved(self, event: KeyedTable.Moved) -> None:
        if event.key == self._wanted:
            return
        self._wanted = event.key
        if self.snapshot is not None and self.snapshot.run_id != event.key:
            box = self.query_one("#glance-box", FollowScroll)
            box.restart()
            box.show([line(Cell("reading…", "dim"))], follow=False)
            self.app.poller.wake()

    @on(KeyedTable.Chosen, "#runs")
    async def _open(self, event: KeyedTable.Chosen) -> None:
        from kferry.ui.screens.run import RunScreen

        await self.app.open_detail(RunScreen(event.key))

    def select(self, subject: str) -> None:
        """The newest play about that subject."""
        table = self.query_one("#runs", KeyedTable)
        for row in table.shown:
            if row.cells[-1].text.startswith(f"{subject} "):
                table.select(row.key)
                return
