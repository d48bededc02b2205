"""Preflight: what would go wrong, with evidence, why and fix; fixing what kferry can, waiving what one accepts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content

from kferry.client import actions, formats
from kferry.client.filters import quote
from kferry.client.session import Session
from kferry.domain.errors import KferryError
from kferry.store.views import FindingView, OperationView
from kferry.ui import bindings, wishes
from kferry.ui.cells import Cell, Line, line
from kferry.ui.messages import Failed, Frame, Said
from kferry.ui.modals.ask import TextDialog
from kferry.ui.modals.look import LookDialog
from kferry.ui.rows import common, findings
from kferry.ui.rows.findings import Branch, FindingSource
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.chrome import Plain, Scroll
from kferry.ui.widgets.keyed_table import KeyedTable

# How long a waiver holds, in milliseconds: a week, then the question comes back.
WAIVER_VALID_MS = 7 * 24 * 3_600_000
# Findings older than this may no longer be true, in milliseconds.
OLD_AFTER_MS = 24 * 3_600_000
_EXPORTS = {"preflight.md": "md", "preflight.json": "json", "preflight.xml": "junit"}


@dataclass(frozen=True, slots=True)
class PreflightSnapshot:
    """`version` changes with the findings and their waivers."""

    findings: tuple[FindingView, ...] | None
    version: object
    summary: tuple[Line, ...]
    is_running: bool
    topics_and_groups_known: bool = True


class PreflightScreen(KferryScreen):
    NAME = "preflight"
    CRUMB = "Preflight"
    CSS_PATH = "preflight.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.for_screen("preflight")]
    # titles and evidence are sentences: below each other they are read whole, until there is room for both
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (160, "-broad")]  # noqa: RUF012
    HELP = """
Everything that would go wrong, found before anything is changed. ✗ block stops the migration. ▲ warn and ? unknown
stop it until they are mended, or waived with a reason (w); the reason, who gave it and until when are kept in the
journal. A waiver holds for a week, and for what was found when it was given: one that grew stops again. i info stops
nothing. ← and → (or h and l) and enter fold and unfold a group, z all of them. f shows what kferry would change to
close the finding, or all of the group, under the cursor, and does it once you say so; of access it goes to Access. a
lists what is to be done, the worst first. t goes to the topic or group it is about, b to its batch; esc comes back. e
writes the report. / filters, such as check:record, about=name, fixable=yes. After mending, p looks again.
"""

    def __init__(self) -> None:
        super().__init__()
        self._turned: set[str] = set()
        self._source = FindingSource(())
        self._shown: tuple[object, ...] = ()
        self._read: tuple[object, tuple[FindingView, ...] | None] = (None, None)  # of the poller's thread

    def body(self) -> ComposeResult:
        yield Plain(id="summary")
        with Container(id="split"):
            yield KeyedTable("Findings", findings.FINDING_COLUMNS, id="findings", empty="Reading the journal…")
            with Scroll(id="detail-box", classes="panel scrolls") as box:
                box.border_title = Content("Evidence, why and fix")
                yield Plain(id="detail")

    # ---- what is shown --------------------------------------------------------------------------------------------

    def collect(self, session: Session, frame: Frame) -> PreflightSnapshot:
        stamps = session.reader.rows(
            "select kind, at_ms from document where (kind='findings' and subject='')"
            " or (kind='scan' and subject='source')"
        )
        at_ms = {row["kind"]: row["at_ms"] for row in stamps}
        waivers = tuple(
            tuple(row)
            for row in session.reader.rows("select finding_id, until_ms from waiver where until_ms>?", frame.now_ms)
        )
        version = (at_ms.get("findings"), waivers)
        if self._read[0] != version:
            found = session.reader.findings(frame.now_ms)
            self._read = (version, None if found is None else tuple(found))
        found_now = self._read[1]
        operations = session.reader.operations(kind="preflight", limit=1)
        running = bool(operations) and operations[0].status not in ("done", "failed", "aborted")
        lines = _running_lines(operations[0], running) if operations else []
        if found_now is not None:
            lines.append((*findings.finding_words(found_now), *_age(at_ms, frame.now_ms)))
        elif not running and not lines:
            lines.append(line(Cell("Never run. Press p to look for what would go wrong.", "warn")))
        return PreflightSnapshot(found_now, version, tuple(lines), running)

    def show(self, snapshot: PreflightSnapshot, frame: Frame) -> None:
        self.query_one("#summary", Plain).show(snapshot.summary)
        self._show_findings()
        self._show_detail()

    @property
    def table(self) -> KeyedTable:
        return self.query_one("#findings", KeyedTable)

    @on(KeyedTable.Rearranged)
    def _show_findings(self) -> None:
        """The tree; or, where it is filtered or sorted, the findings without their groups."""
        snapshot: PreflightSnapshot | None = self.snapshot
        if snapshot is None:
            return
        table = self.table
        is_flat = bool(table.filter_text) or table.sorting is not None
        shown = (snapshot.version, is_flat, frozenset(self._turned))
        changed = shown != self._shown
        if changed:
            self._shown = shown
            found = snapshot.findings or ()
            self._source = FindingSource(findings.flat(found) if is_flat else findings.tree(found, self._turned))
        why = "Nothing was found that would go wrong."
        if snapshot.findings is None:
            why = "Preflight has not run yet. It needs a scan (S on Inventory); then press p."
            if snapshot.is_running:
                why = "Preflight runs for the first time; what it finds stands here."
        table.set_source(self._source, why, changed=changed)

    def _under_cursor(self) -> findings.Item | None:
        table = self.table
        if table.shown.source is not self._source or not len(table.shown):
            return None
        return self._source.items[table.shown.number(table.cursor)]

    def _finding(self) -> FindingView | None:
        item = self._under_cursor()
        return item if isinstance(item, FindingView) else None

    @on(KeyedTable.Moved)
    def _show_detail(self) -> None:
        detail = self.query_one("#detail", Plain)
        before = detail.lines
        detail.show(findings.lines(self._under_cursor()))
        if detail.lines[:1] != before[:1]:
            self.query_one("#detail-box").scroll_home(animate=False, immediate=True)

    @on(KeyedTable.Chosen)
    def _to_detail(self) -> None:
        item = self._under_cursor()
        if isinstance(item, Branch):
            self._turn(item.key)
        else:
            self.query_one("#detail-box").focus()

    # ---- folds ----------------------------------------------------------------------------------------------------

    def _turn(self, key: str) -> None:
        self._turned ^= {key}
        self._show_findings()
        self._show_detail()

    def sideways(self, by: int) -> None:
        """→ unfolds, ← folds or goes up to the group; on the details ← goes back to the list."""
        if not self.table.has_focus:
            self.table.focus()
            return
        item = self._under_cursor()
        if isinstance(item, Branch):
            if item.is_open is (by < 0):
                self._turn(item.key)
            elif by < 0 and item.level == 1:
                self.table.select(f"\0{item.group}")
        elif by > 0:
            self.query_one("#detail-box").focus()
        elif item is not None:
            group = findings.group_of(item)
            _ = self.table.select(f"\0{group}\0{item.check}") or self.table.select(f"\0{group}")

    def do_fold_all(self) -> None:
        """Groups only; where they are all folded, every finding."""
        snapshot: PreflightSnapshot | None = self.snapshot
        if snapshot is None or not snapshot.findings:
            return
        self._turned.clear()
        wants_open = not any(isinstance(item, Branch) and item.is_open for item in self._source.items)
        while True:  # branches in branches: until none is left that stands the wrong way
            items = findings.tree(snapshot.findings, self._turned)
            wrong = {item.key for item in items if isinstance(item, Branch) and item.is_open is not wants_open}
            if not wrong:
                break
            self._turned ^= wrong
        self._show_findings()
        self._show_detail()

    # ---- jumps ----------------------------------------------------------------------------------------------------

    def arrive(self, subject: str) -> None:
        """Show what was found about one topic or group, for a jump from elsewhere."""
        self.table.sort_by(None)
        self.table.set_filter(f"about={quote(subject)}")
        self._show_findings()

    async def _jump_to(self, screen_name: str, subject: str) -> None:
        app, table = self.app, self.table
        key, filter_text = table.cursor_key, table.filter_text

        async def return_here() -> None:
            await app.go_to("preflight")
            table.set_filter(filter_text)
            if key is not None:
                table.select(key)

        await app.go_to(screen_name)
        screen = app.main_screen(screen_name)
        screen.jumped_here(subject.rpartition("\0")[2], return_here)
        screen.call_after_refresh(screen.select, subject)

    async def do_jump_subject(self) -> None:
        finding = self._finding()
        if finding is None:
            self.say("Put the cursor on a finding first.")
        elif finding.subject in ("source", "target", ""):
            await self._jump_to("clusters", finding.subject)
        else:
            await self._jump_to("inventory", finding.subject)

    async def do_jump_batch(self) -> None:
        finding = self._finding()
        if finding is None:
            self.say("Put the cursor on a finding first.")
            return
        name = finding.subject
        for batch in self.app.session.plan_view().batches:
            for kind, names in (("topic", batch.topics), ("group", batch.groups)):
                if name in names:
                    await self._jump_to("plan", "\0".join((kind, batch.name, name)))
                    return
        self.say(f"The plan has no batch for {name}.")

    # ---- acts -----------------------------------------------------------------------------------------------------

    def args_for(self, action_id: str) -> Mapping[str, Any] | None:
        finding = self._finding()
        if action_id == "preflight":
            return {}
        if action_id == "unwaive" and finding is not None and finding.waived_by:
            return {"finding_id": finding.finding_id}
        return None

    async def do_fix_finding(self) -> None:
        """Ask for the plan that closes what is under the cursor; the dialog shows it before anything is done."""
        item = self._under_cursor()
        wanted = item.findings if isinstance(item, Branch) else (item,) if item is not None else ()
        fixable = [finding for finding in wanted if finding.fixable and not finding.waived_by]
        if not fixable and any(findings.opens_access(finding) for finding in wanted):
            await self._jump_to("access", "")
            return
        if item is None:
            self.say("Put the cursor on a finding first.")
            return
        if not fixable:
            self.say("kferry cannot fix this by itself: what to do stands beside “fix”.")
            return
        subject = fixable[0].title if len(fixable) == 1 else f"{len(fixable)} findings"
        args = {"findings": [finding.finding_id for finding in fixable]}
        words = tuple(finding.title for finding in fixable[:10])
        wishes.ask(self.app, actions.BY_ID["fix_finding"], args, subject=subject, words=words)

    async def do_show_needed(self) -> None:
        from kferry.client.preflight_report import actions_needed

        snapshot: PreflightSnapshot | None = self.snapshot
        if snapshot is None or snapshot.findings is None:
            self.say("Preflight has not run yet: press p.")
            return
        needed = actions_needed(snapshot.findings)
        title = f"Actions needed: {len(needed)}" if needed else "Actions needed: none"
        await self.app.push_dialog(LookDialog(title, findings.action_lines(needed)))

    def do_export_findings(self) -> None:
        def work() -> None:
            from kferry.client import preflight_report
            from kferry.store.atomic_write import write_text

            session = self.app.session
            try:
                made = preflight_report.build(session, self.app.clock())
                for name, kind in _EXPORTS.items():
                    write_text(session.layout.reports / name, preflight_report.render(made, kind))
            except KferryError as error:
                self.app.post_message(Failed(error))
            else:
                self.app.post_message(Said(f"✓ Written: {session.layout.reports}/preflight.md, .json and .xml (JUnit)"))

        self.app.run_worker(work, thread=True, group="export", name="export findings")

    async def do_waive(self) -> None:
        finding = self._finding()
        if finding is None or finding.waived_by or not finding.stops:
            self.say("Nothing to waive under the cursor.")
            return
        if finding.severity == "block":
            self.say("A blocking finding cannot be waived: mend it, then press p.")
            return

        def told(why: str | None) -> None:
            if why:
                args = {"finding_id": finding.finding_id, "why": why, "until_ms": self.app.clock() + WAIVER_VALID_MS}
                wishes.ask(self.app, wishes.harmless(actions.BY_ID["waive"]), args)

        lines = [*findings.finding_lines(finding), line(""), line("Why may the migration go on despite it?")]
        await self.app.push_dialog(TextDialog("Waive a finding", lines, "the reason; it is kept in the journal"), told)


def _running_lines(operation: OperationView, running: bool) -> list[Line]:
    if running:
        step = next((step for step in operation.steps if step.status in ("running", "acted", "waiting")), None)
        return [line(Cell("◐ preflight runs", "busy"), Cell(f"   {step.title if step else ''}", "dim"))]
    if operation.status != "failed":
        return []
    step = next((step for step in operation.steps if step.error), None)
    return common.error_lines((step.error if step else None) or operation.error)


def _age(at_ms: Mapping[str, int], now_ms: int) -> Line:
    """How old the findings are, and whether they are older than what they speak of."""
    looked = at_ms.get("findings")
    words = f" looked {formats.age(looked, now_ms)}"
    if looked is not None and at_ms.get("scan", 0) > looked:
        return (Cell(f"{words}, before the last scan: p looks again", "warn"),)
    if looked is not None and now_ms - looked > OLD_AFTER_MS:
        return (Cell(f"{words}, stale: p looks again", "warn"),)
    return (Cell(words, "dim"),)
