"""Access: what of the source's ACLs, quotas and SCRAM users the target lacks, applied as it was seen, and probed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from kferry.client import access, actions
from kferry.client.access import AccessView
from kferry.client.session import Session
from kferry.ui import bindings, wishes
from kferry.ui.cells import Line
from kferry.ui.messages import Frame
from kferry.ui.modals.ask import ChoiceDialog
from kferry.ui.modals.look import LookDialog
from kferry.ui.rows import access as access_rows
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.chrome import Plain
from kferry.ui.widgets.follow import FollowScroll
from kferry.ui.widgets.keyed_table import KeyedTable, Row

_KINDS = ("plan_access", "apply_access", "probe_principal")


@dataclass(frozen=True, slots=True)
class AccessSnapshot:
    """`probe` is that of `principal`, the one under the cursor when it was read."""

    view: AccessView | None
    rows: tuple[Row, ...]
    error: Mapping[str, str] | None
    at_work: str | None
    changed_at_ms: int | None
    principal: str | None
    probe: tuple[int, Sequence[Mapping[str, Any]]] | None


class AccessScreen(KferryScreen):
    NAME = "access"
    CRUMB = "Access"
    CSS_PATH = "access.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.for_screen("access")]
    HELP = """
ACLs, client quotas and SCRAM users of the source against those of the target, for what plan.yml moves (or everything:
scope in access.yml). “create” is missing on the target; “present” is there; “drift” is there otherwise, or there
alone: it is shown and never touched; “skipped” stays behind, with the reason. Nothing is ever removed.
p compares again. A shows what would be created, and creates it after a yes; each change is in the change ledger with
its undo. P proves what a principal may do: kferry logs in as it, with its login of access.yml, and asks without
leaving anything behind; without a login it computes the answer from the ACLs, and says that this is no proof. w shows
all warnings. Who becomes whom, and where new passwords come from, stands in access.yml (docs/access.md).
"""

    def __init__(self, subject: str = "") -> None:
        super().__init__()
        self._subject = subject
        self._wanted: str | None = None  # the principal under the cursor; read by the poller's thread
        # the poller's thread alone uses these: a long comparison is read once
        self._read_at_ms: int | None = None
        self._read: tuple[AccessView | None, tuple[Row, ...]] = (None, ())

    def body(self) -> ComposeResult:
        yield Plain(id="summary")
        yield KeyedTable("Access", access_rows.COLUMNS, id="access", empty="Reading the journal…")
        detail = FollowScroll("Detail", id="detail")
        detail.display = False  # until there is a row that it is about
        yield detail

    def collect(self, session: Session, frame: Frame) -> AccessSnapshot:
        reader = session.reader
        found = reader.rows("select at_ms from document where kind='access_plan' and subject=''")
        at_ms = found[0]["at_ms"] if found else None
        if at_ms is not None and at_ms != self._read_at_ms:
            view = access.last_plan(reader)
            self._read = (view, access_rows.rows(view) if view else ())
            self._read_at_ms = at_ms
        newest = max(
            (operation for kind in _KINDS for operation in reader.operations(kind=kind, limit=1)),
            key=lambda operation: operation.created_at_ms,
            default=None,
        )
        running = newest is not None and newest.status in ("running", "aborting")
        error = None
        if newest is not None and newest.status in ("failed", "needs operator"):
            error = newest.error or next((step.error for step in newest.steps if step.error), None)
        principal = self._wanted
        return AccessSnapshot(
            *self._read,
            error,
            newest.title if running and newest is not None and frame.alive else None,
            access.inputs_changed_at_ms(session.layout),
            principal,
            access.last_probe(reader, "target", principal) if principal else None,
        )

    def show(self, snapshot: AccessSnapshot, frame: Frame) -> None:
        lines = access_rows.summary_lines(
            snapshot.view, snapshot.error, snapshot.at_work, frame.now_ms, snapshot.changed_at_ms
        )
        self.query_one("#summary", Plain).show(lines)
        table = self.query_one("#access", KeyedTable)
        table.set_rows(snapshot.rows, access_rows.empty_words(snapshot.view, snapshot.at_work))
        self.query_one("#detail", FollowScroll).display = bool(snapshot.rows)
        if self._subject:
            table.select(self._subject)
            self._subject = ""
        self._show_detail()

    def item_under_cursor(self) -> Mapping[str, Any] | None:
        key = self.query_one("#access", KeyedTable).cursor_key
        snapshot: AccessSnapshot | None = self.snapshot
        if key is None or snapshot is None or snapshot.view is None or int(key) >= len(snapshot.view.items):
            return None
        return snapshot.view.items[int(key)]

    def _detail_lines(self, item: Mapping[str, Any]) -> list[Line]:
        snapshot: AccessSnapshot = self.snapshot
        fits = snapshot.principal == access_rows.principal_of(item)
        now_ms = self.frame.now_ms if self.frame is not None else 0
        return access_rows.item_lines(item, snapshot.probe if fits else None, now_ms)

    def _show_detail(self) -> None:
        item = self.item_under_cursor()
        if item is not None:
            self.query_one("#detail", FollowScroll).show(self._detail_lines(item), follow=False)

    @on(KeyedTable.Moved, "#access")
    def _moved(self) -> None:
        item = self.item_under_cursor()
        principal = access_rows.principal_of(item) if item is not None else None
        if principal != self._wanted:
            self._wanted = principal
            self.app.poller.wake()
        self.query_one("#detail", FollowScroll).restart()
        self._show_detail()

    @on(KeyedTable.Chosen, "#access")
    async def _look(self) -> None:
        item = self.item_under_cursor()
        if item is not None:
            await self.app.push_dialog(LookDialog(str(item["subject"]), self._detail_lines(item)))

    async def do_access_warnings(self) -> None:
        view = self.snapshot.view if self.snapshot is not None else None
        if view is None:
            self.say("Nothing was compared yet.")
            return
        await self.app.push_dialog(LookDialog("Warnings", access_rows.warning_lines(view)))

    async def do_probe_principal(self) -> None:
        item = self.item_under_cursor()
        principal = access_rows.principal_of(item) if item is not None else None
        if item is None or principal is None:
            self.say("Put the cursor on a principal first: everybody cannot log in.")
            return
        action = actions.BY_ID["probe_principal"]
        was = str(item.get("was") or principal)
        was = was if was.partition(":")[2] else principal
        choices = (
            ("target", "on the target", f"as {principal}: before the cutover"),
            ("source", "on the source", f"as {was}"),
        )

        def chosen(cluster: str | None) -> None:
            if cluster is not None:
                name = principal if cluster == "target" else was
                wishes.ask(self.app, action, {"cluster": cluster, "principal": name})

        await self.app.push_dialog(ChoiceDialog(f"Probe {principal}", (), choices), chosen)

    def args_for(self, action_id: str) -> Mapping[str, Any] | None:
        return {} if action_id in ("plan_access", "apply_access") else None
