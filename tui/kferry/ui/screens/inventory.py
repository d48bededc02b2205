"""Inventory: the topics and consumer groups of the source, as last scanned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content

from kferry.client import scan_progress, screen_memory
from kferry.client.filters import quote
from kferry.client.inventory import GROUP_FACTS, TOPIC_FACTS, Fact
from kferry.client.session import Session
from kferry.domain.errors import KferryError
from kferry.domain.model import Group, Topic
from kferry.domain.planning.scope import group_key
from kferry.domain.scan_diff import ScanDiff
from kferry.ui import bindings, leaving_out
from kferry.ui.cells import Cell, Line, line
from kferry.ui.inventory_reading import InventoryReading, Seen
from kferry.ui.messages import Failed, Frame
from kferry.ui.modals.columns import ColumnsDialog
from kferry.ui.modals.look import LookDialog
from kferry.ui.rows import differences, inventory, survey
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.chrome import Plain, Scroll
from kferry.ui.widgets.keyed_table import Column, KeyedTable, Row
from kferry.ui.widgets.sections import Sections

# The sections by place.
TOPICS, GROUPS, CHANGES = "topics", "groups", "changes"
_PLACES = (TOPICS, GROUPS, CHANGES)


@dataclass(frozen=True, slots=True)
class InventorySnapshot:
    seen: Seen
    summary: tuple[Line, ...]
    differences: tuple[Row, ...] | None
    running_id: str | None
    was_cut_off: bool = False  # there is a scan that can be gone on with


class InventoryScreen(KferryScreen):
    NAME = "inventory"
    CRUMB = "Inventory"
    CSS_PATH = "inventory.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.for_screen("inventory")]
    HELP = """
What the last scan found on the source. ← and → (or h and l) go between topics, groups and what changed since the scan
before; / filters: any text of a row, !text hides it, and comparisons such as lag>1e6, size>=10GiB, idle>7d,
kind:connect, unused=yes or failed=yes; several must all hold, and "quotes" keep blanks together. s sorts by the next
column, > by a chosen one, < turns the order round; a click on a title does the same. c chooses the columns, i shows or
hides the details, enter shows them in full. t goes from a topic to its groups or from a group to its topics, f to its
findings, b to its batch; esc goes back. d leaves out what is under the cursor, D all that is unused and shown.
≤ before a number of records: compaction and transactions leave holes, so it is an upper bound. ~ before a size: it
comes from the mean size of sampled records. A group's lag is its distance from the ends of the scan, not of now.
"""

    def __init__(self) -> None:
        super().__init__()
        self._reading = InventoryReading()  # the poller's thread alone uses it
        self._diff_at_ms: int | None = None
        self._diff_rows: tuple[Row, ...] | None = None
        self._prefers_partial = False
        self._drawn: tuple[object, int] | None = None
        self._sources: dict[str, inventory.FactSource] = {}
        self._sought: str | None = None  # a name to put the cursor on, once it is known which kind it is
        self._detail_of: tuple[str, str | None, int] | None = None

    # ---- what is shown --------------------------------------------------------------------------------------------

    def body(self) -> ComposeResult:
        yield Plain(id="summary")
        empty = "Reading the journal…"
        with Container(id="split"):
            yield Sections(
                ("Topics", KeyedTable("Topics", self._columns(TOPICS), id=TOPICS, empty=empty)),
                ("Groups", KeyedTable("Groups", self._columns(GROUPS), id=GROUPS, empty=empty)),
                ("Changes", KeyedTable("Changes", differences.COLUMNS, id=CHANGES, empty=empty)),
            )
            with Scroll(id="detail-box", classes="panel scrolls") as box:
                box.border_title = Content("Details")
                yield Plain(id="detail")

    def _columns(self, place: str) -> tuple[Column, ...]:
        names = [fact.name for fact in (TOPIC_FACTS if place == TOPICS else GROUP_FACTS)]
        chosen = screen_memory.columns(self.app.session.layout, place, names)
        return inventory.columns(TOPIC_FACTS, chosen) if place == TOPICS else inventory.columns(GROUP_FACTS, chosen)

    def collect(self, session: Session, frame: Frame) -> InventorySnapshot:
        seen = self._reading.read(session, prefer_partial=self._prefers_partial)
        if seen.more:
            self.app.poller.wake()  # read on at once; keys and drawing come in between
        operations = session.reader.operations(kind="scan", limit=1)
        operation = operations[0] if operations else None
        running = survey.is_running(operation)
        lines: list[Line] = []
        if running:
            since_ms = operation.created_at_ms if operation is not None else 0
            lines.append(survey.running_line(scan_progress.newest(session, since_ms=since_ms)))
        elif operation is not None and operation.status in ("failed", "aborted"):
            lines += survey.failed_lines(operation)
        has_partial = _has_partial(session)
        if seen.found is None:
            if not running and not seen.more:
                lines.append(line(Cell("Never scanned. Press S to scan both clusters.", "warn")))
        else:
            if seen.is_partial or has_partial:
                lines.append(survey.partial_line(seen.found, running, seen.is_partial))
            lines.append(survey.age_line(seen.found, seen.at_ms, frame.now_ms, more=seen.more))
            lines += survey.lack_lines(seen.found)
        running_id = operation.operation_id if running and operation is not None else None
        return InventorySnapshot(seen, tuple(lines), self._changes(session), running_id, has_partial and not running)

    def _changes(self, session: Session) -> tuple[Row, ...] | None:
        """The rows of the newest comparison; None where there is none."""
        stamps = session.reader.rows("select at_ms from document where kind='scan_diff' and subject='source'")
        at_ms = stamps[0]["at_ms"] if stamps else None
        if at_ms != self._diff_at_ms:
            from kferry.store import codec

            self._diff_at_ms, self._diff_rows = at_ms, None
            bodies = session.reader.rows("select body from document where kind='scan_diff' and subject='source'")
            if bodies and bodies[0]["body"] not in ("", "null"):
                self._diff_rows = differences.rows(codec.load(ScanDiff, bodies[0]["body"]))
        return self._diff_rows

    def show(self, snapshot: InventorySnapshot, frame: Frame) -> None:
        self.query_one("#summary", Plain).show(snapshot.summary)
        seen = snapshot.seen
        stamp = (seen.found, seen.version)
        changed = stamp != self._drawn
        self._drawn = stamp
        topics, groups = self.query_one("#topics", KeyedTable), self.query_one("#groups", KeyedTable)
        if seen.found is None:
            why = self._why_empty(snapshot)
            for table in (topics, groups):
                table.set_rows((), why)
        else:
            if changed or not self._sources:
                self._sources = {
                    TOPICS: inventory.topic_source(seen.found, topics.columns),
                    GROUPS: inventory.group_source(seen.found, groups.columns),
                }
            wait = "Reading the journal…" if seen.more else None
            none = "This part of the scan has found none so far." if seen.is_partial else None
            topics.set_source(
                self._sources[TOPICS], wait or none or "The source has no topics.", changed=changed, more=seen.more
            )
            groups.set_source(
                self._sources[GROUPS],
                wait or none or "No consumer group has ever committed on the source.",
                changed=changed,
                more=seen.more,
            )
        self.query_one("#changes", KeyedTable).set_rows(
            snapshot.differences or (),
            "Only one scan is kept so far: after the next one, what appeared, vanished or was recreated stands here."
            if snapshot.differences is None
            else "Nothing has changed between the last two scans.",
        )
        self._seek()
        self._show_detail()

    @staticmethod
    def _why_empty(snapshot: InventorySnapshot) -> str:
        if snapshot.seen.more:
            return "Reading the journal…"
        if snapshot.running_id is not None:
            return "The first scan runs; what it finds is shown here as it comes."
        return "Not scanned yet: nothing is known of the source. Press S to scan both clusters."

    # ---- the row under the cursor -----------------------------------------------------------------------------------

    @property
    def place(self) -> str:
        """Which section is open."""
        return _PLACES[self.query_one(Sections).at]

    @property
    def table(self) -> KeyedTable:
        return self.query_one(f"#{self.place}", KeyedTable)

    def _under_cursor(self) -> Topic | Group | None:
        table, source = self.table, self._sources.get(self.place)
        if source is None or not len(table.shown) or self.snapshot is None or self.snapshot.seen.found is None:
            return None
        item: Topic | Group = source.items[table.shown.number(table.cursor)]
        return item

    @on(KeyedTable.Moved)
    @on(Sections.Opened)
    def _show_detail(self) -> None:
        if not self.query_one("#detail-box").display or self.snapshot is None:
            return
        seen: Seen = self.snapshot.seen
        stamp = (self.place, self.table.cursor_key, seen.version)
        if stamp != self._detail_of:
            same_row = self._detail_of is not None and self._detail_of[:2] == stamp[:2]
            self._detail_of = stamp
            self.query_one("#detail", Plain).show(self._details())
            if not same_row:
                self.query_one("#detail-box").scroll_home(animate=False, immediate=True)

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_detail)

    def _details(self) -> list[Line]:
        item = self._under_cursor()
        if item is None or self.snapshot is None:
            if self.place == CHANGES and self.snapshot is not None and self.table.cursor_key is not None:
                return differences.lines(self.table.cursor_key, self.snapshot.differences or ())
            return [line(Cell("Nothing under the cursor.", "dim"))]
        found = self.snapshot.seen.found
        return inventory.topic_lines(item, found) if isinstance(item, Topic) else inventory.group_lines(item, found)

    @on(KeyedTable.Chosen)
    async def _look(self, event: KeyedTable.Chosen) -> None:
        if self.place == CHANGES and (subject := differences.subject_of(event.key)) is not None:
            back = self._way_back()
            self.jumped_here(subject, back)
            self.select(subject)
            return
        await self.app.push_dialog(LookDialog(event.key, self._details()))

    def do_toggle_detail(self) -> None:
        box = self.query_one("#detail-box")
        box.styles.display = "none" if box.display else "block"
        self._detail_of = None
        self.call_after_refresh(self._show_detail)

    def do_columns(self) -> None:
        place, table = self.place, self.table
        if place == CHANGES:
            self.say("These columns stay as they are.")
            return
        facts: Sequence[Fact[Any]] = TOPIC_FACTS if place == TOPICS else GROUP_FACTS
        known = [(fact.name, fact.title, fact.help) for fact in facts]

        def chosen(names: tuple[str, ...] | None) -> None:
            if names is None:
                return
            columns = inventory.columns(facts, names or None)
            table.set_columns(columns)
            self._drawn = None
            self.app.poller.wake()
            if self.app.session.read_only:
                self.say("Kept until you leave: this session is read-only.")
            else:
                self.run_worker(lambda: self._keep(place, names), thread=True, group="columns")

        shown = [column.called for column in table.columns]
        self.app.run_worker(self.app.push_dialog(ColumnsDialog(f"Columns of {place}", known, shown), chosen))

    def _keep(self, place: str, names: Sequence[str]) -> None:
        try:
            screen_memory.keep_columns(self.app.session.layout, place, names or None)
        except KferryError as error:
            self.app.post_message(Failed(error))

    # ---- jumps ----------------------------------------------------------------------------------------------------

    def select(self, subject: str) -> None:
        """Put the cursor on a topic or a group of that name, whichever there is."""
        self._sought = subject
        self._seek()

    def _seek(self) -> None:
        if self._sought is None or self.snapshot is None or not self.query(Sections):
            return
        seen: Seen = self.snapshot.seen
        if seen.found is None:
            return
        name = self._sought.removeprefix("group ")
        for place, names in (
            (TOPICS, (topic.name for topic in seen.found.topics)),
            (GROUPS, (group.group_id for group in seen.found.groups)),
        ):
            if (self._sought == name or place == GROUPS) and name in names:
                self._sought = None
                self._go(place, name, "")
                return
        if not seen.more:
            self._sought = None
            self.say(f"{name} is neither a topic nor a group of this scan.")

    def _go(self, place: str, key: str | None, filter_text: str) -> None:
        self.query_one(Sections).open(_PLACES.index(place))
        table = self.query_one(f"#{place}", KeyedTable)
        table.set_filter(filter_text)
        if key is not None:
            table.select(key)
        self._show_detail()

    def _way_back(self) -> Any:
        """Where the cursor stands now, as something to come back to."""
        place, key, filter_text = self.place, self.table.cursor_key, self.table.filter_text
        return lambda: self._go(place, key, filter_text)

    def do_jump_related(self) -> None:
        item = self._under_cursor()
        if item is None:
            self.say("Nothing under the cursor.")
            return
        found, back = self.snapshot.seen.found, self._way_back()
        if isinstance(item, Topic):
            names = found.readers_of(item)
            if not names:
                self.say("Not known yet: the groups are still being read." if names is None else "No group reads it.")
                return
            self.jumped_here(f"groups of {item.name}", back)
            self._go(GROUPS, names[0], f"topic={quote(item.name)}")
        else:
            if not item.topics:
                self.say("It reads no topic.")
                return
            self.jumped_here(f"topics of {item.group_id}", back)
            self._go(TOPICS, min(item.topics), f"group={quote(item.group_id)}")

    async def do_jump_findings(self) -> None:
        item = self._under_cursor()
        if item is None:
            self.say("Nothing under the cursor.")
            return
        name = item.name if isinstance(item, Topic) else item.group_id
        count = self.snapshot.seen.found.findings_of(name)
        if not count:
            self.say("Preflight never ran." if count is None else f"Preflight has found nothing about {name}.")
            return
        await self._jump_to("preflight", name, f"findings of {name}")

    async def do_jump_batch(self) -> None:
        item = self._under_cursor()
        if item is None:
            self.say("Nothing under the cursor.")
            return
        kind, name = ("topic", item.name) if isinstance(item, Topic) else ("group", item.group_id)
        batch = self.snapshot.seen.found.batches.get(name if kind == "topic" else group_key(name))
        if batch is None:
            self.say(f"The plan has no batch for {name}.")
            return
        await self._jump_to("plan", "\0".join((kind, batch, name)), f"batch of {name}")

    async def _jump_to(self, screen_name: str, subject: str, label: str) -> None:
        back, app = self._way_back(), self.app

        async def return_here() -> None:
            await app.go_to("inventory")
            back()

        await app.go_to(screen_name)
        screen = app.main_screen(screen_name)
        screen.jumped_here(label, return_here)
        arrive = getattr(screen, "arrive", screen.select)
        screen.call_after_refresh(arrive, subject)

    # ---- acts -----------------------------------------------------------------------------------------------------

    def do_show_partial(self) -> None:
        self._prefers_partial = not self._prefers_partial
        self.say("The scan under way, as far as it is." if self._prefers_partial else "The last whole scan.")
        self.app.poller.wake()

    async def do_leave_out(self) -> None:
        item = self._under_cursor()
        if item is None:
            self.say("Nothing under the cursor.")
        else:
            key = item.name if isinstance(item, Topic) else group_key(item.group_id)
            await leaving_out.ask(self, {key: self.snapshot.seen.found.unused.get(key, "")})

    async def do_leave_out_unused(self) -> None:
        table, source = self.table, self._sources.get(self.place)
        unused: Mapping[str, str] = self.snapshot.seen.found.unused if source is not None and self.snapshot else {}
        shown: dict[str, str] = {}
        for at in range(len(table.shown) if unused else 0):
            assert source is not None  # noqa: S101 -- nothing is unused without one
            item: Topic | Group = source.items[table.shown.number(at)]
            name = item.name if isinstance(item, Topic) else group_key(item.group_id)
            if name in unused:
                shown[name] = unused[name]
        if shown:
            await leaving_out.ask(self, shown)
        else:
            self.say("Nothing that is shown here is unused.")

    def args_for(self, action_id: str) -> Mapping[str, Any] | None:
        if action_id == "scan":
            return {"resume": True} if self.snapshot is not None and self.snapshot.was_cut_off else {}
        if action_id == "resume_scan":
            return {"resume": True}
        if action_id == "cancel_scan" and self.snapshot is not None and self.snapshot.running_id is not None:
            return {"operation_id": self.snapshot.running_id}
        return None


def _has_partial(session: Session) -> bool:
    rows = session.reader.rows(
        "select 1 from document where kind='scan_partial' and subject='source' and length(substr(body, 1, 8)) > 4"
    )
    return bool(rows)
