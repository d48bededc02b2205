"""Journal: what happened, what was changed and how it is undone, what was wished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from kferry.client import formats
from kferry.client.session import Session
from kferry.domain.errors import ErrorKind, KferryError
from kferry.store import chain
from kferry.store.views import ChangeView, EventView, IntentView
from kferry.ui import bindings
from kferry.ui.cells import Cell, Line, line
from kferry.ui.messages import Failed, Frame, Said
from kferry.ui.modals.look import LookDialog
from kferry.ui.rows import common, work
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.keyed_table import KeyedTable, Row
from kferry.ui.widgets.sections import Sections


@dataclass(frozen=True, slots=True)
class JournalSnapshot:
    events: Mapping[str, EventView]
    changes: Mapping[str, ChangeView]
    intents: Mapping[str, IntentView]
    event_rows: tuple[Row, ...]
    change_rows: tuple[Row, ...]
    intent_rows: tuple[Row, ...]


class JournalScreen(KferryScreen):
    NAME = "journal"
    CRUMB = "Journal"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.for_screen("journal")]
    HELP = """
What happened. ← and → (or h and l) go between three lists. Events are chained by hash, so that nothing can be rewritten
unseen: v checks the chain. Changes are all that kferry changed in a cluster or on a host, with what was there before;
u undoes the one under the cursor, after showing what that does. Wishes are what was asked of the engine, by whom, and
its answer. Enter shows an entry in full.
"""

    def body(self) -> ComposeResult:
        empty = "Reading the journal…"
        yield Sections(
            ("Events", KeyedTable("Events", work.EVENT_COLUMNS, id="events", empty=empty)),
            ("Changes", KeyedTable("Changes", work.CHANGE_COLUMNS, id="changes", empty=empty)),
            ("Wishes", KeyedTable("Wishes", work.INTENT_COLUMNS, id="intents", empty=empty)),
        )

    def collect(self, session: Session, frame: Frame) -> JournalSnapshot:
        reader = session.reader
        events, changes, intents = reader.events(limit=500), reader.changes(), reader.intents(limit=200)
        return JournalSnapshot(
            {str(event.seq): event for event in events},
            {str(change.change_id): change for change in changes},
            {intent.intent_id: intent for intent in intents},
            work.event_rows(events),
            work.change_rows(changes),
            work.intent_rows(intents),
        )

    def show(self, snapshot: JournalSnapshot, frame: Frame) -> None:
        self.query_one("#events", KeyedTable).set_rows(snapshot.event_rows, empty="Nothing has happened yet.")
        self.query_one("#changes", KeyedTable).set_rows(
            snapshot.change_rows, empty="kferry has changed nothing in any cluster or on any host."
        )
        self.query_one("#intents", KeyedTable).set_rows(
            snapshot.intent_rows, empty="Nothing was asked of the engine yet."
        )

    def _change(self) -> ChangeView | None:
        if self.query_one(Sections).current.id != "changes" or self.snapshot is None:
            return None
        key = self.query_one("#changes", KeyedTable).cursor_key
        return self.snapshot.changes.get(key) if key else None

    def args_for(self, action_id: str) -> Mapping[str, Any] | None:
        change = self._change()
        if action_id == "undo_change" and change is not None and change.can_undo:
            return {"change_id": change.change_id}
        return None

    def do_verify_journal(self) -> None:
        app = self.app

        def work_off_loop() -> None:
            broken = chain.first_broken_link(app.session.reader.chain_rows())
            if broken is None:
                app.post_message(Said("✓ The chain holds: no event was rewritten."))
            else:
                error = KferryError(
                    f"The journal's chain is broken at event {broken}.",
                    cause="An event was changed or taken out after it was written.",
                    next_step="Keep the file, and compare it with its copies in .kferry/backups.",
                    kind=ErrorKind.DRIFT,
                )
                app.post_message(Failed(error))

        app.run_worker(work_off_loop, thread=True, group="chain", name="check the chain")

    @on(KeyedTable.Chosen)
    async def _look(self, event: KeyedTable.Chosen) -> None:
        snapshot: JournalSnapshot = self.snapshot
        lines: list[Line] = []
        title = ""
        if event.table.id == "events" and (found := snapshot.events.get(event.key)):
            title = f"Event {found.seq}"
            lines = common.facts(
                [
                    ("time", formats.moment(found.at_ms)),
                    ("event", found.kind),
                    ("about", found.subject or formats.DASH),
                    ("operation", found.operation_id or formats.DASH),
                    ("hash", Cell(found.hash, "dim")),
                ]
            )
            lines += [line(""), *common.evidence_lines(found.payload)]
        elif event.table.id == "changes" and (change := snapshot.changes.get(event.key)):
            title = f"Change {change.change_id}"
            lines = common.facts(
                [
                    ("time", formats.moment(change.at_ms)),
                    ("status", common.state(change.status)),
                    ("what", f"{change.scope} {change.resource} {change.name} {change.key}"),
                    ("was", formats.DASH if change.before is None else change.before),
                    ("is", formats.DASH if change.after is None else change.after),
                    ("why", change.reason),
                    ("undo", "u, on the list" if change.can_undo else "not possible, or not needed any more"),
                ]
            )
        elif event.table.id == "intents" and (intent := snapshot.intents.get(event.key)):
            title = f"Wish {intent.intent_id}"
            lines = common.facts(
                [
                    ("time", formats.moment(intent.created_at_ms)),
                    ("wish", intent.kind),
                    ("who", intent.who),
                    ("status", common.state(intent.status)),
                    ("answer", intent.reason or formats.DASH),
                    ("operation", intent.operation_id or formats.DASH),
                ]
            )
            lines += [line(""), *common.evidence_lines(intent.args)]
        await self.app.push_dialog(LookDialog(title, lines))
