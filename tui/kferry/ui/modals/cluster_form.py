"""The form for one cluster: kind, way, servers, login and trust; tested as it stands before anything is saved."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input

from kferry.client import cluster_drafts
from kferry.client.cluster_drafts import Opened
from kferry.client.session import Session
from kferry.domain.draft_gaps import gaps
from kferry.domain.drafts import KEPT, Draft, Gap, fields_of, fitted, with_field
from kferry.domain.errors import KferryError
from kferry.domain.sources import KINDS
from kferry.ui.cells import Cell, Line, line
from kferry.ui.modals.ask import ChoiceDialog
from kferry.ui.modals.base import Dialog
from kferry.ui.rows import clusters, common
from kferry.ui.widgets.chrome import Plain, Scroll

if TYPE_CHECKING:
    from kferry.ui.app import KferryApp

_CHOSEN = ("kind", "way", "mechanism")
_LOOK_SECONDS = 0.2
_ABORT_AFTER_SECONDS = 120.0
_PREFIXES = ("env:", "file:", "command:")
_HINT = "⏎ change · t test · s save · esc leave"
_FINAL = ("done", "failed", "aborted")


class ClusterForm(Dialog[bool]):
    """True where something was saved. Keys only: j k move, enter changes a field, t tests, s saves, esc goes back."""

    CSS = """
    ClusterForm .dialog { height: 90%; }
    ClusterForm.-low .dialog { height: 100%; max-height: 100%; padding: 0 1; }
    ClusterForm #fields { height: auto; }
    ClusterForm .dialog #entry { display: none; height: 1; border: none; padding: 0 1; margin: 0; background: $panel; }
    ClusterForm .dialog #entry.-open { display: block; }
    ClusterForm .dialog #entry:focus { border: none; }
    ClusterForm #gaps { height: auto; max-height: 6; margin-top: 1; }
    ClusterForm.-low #gaps { margin-top: 0; }
    ClusterForm #seen-box { height: 1fr; min-height: 3; border-top: solid $border-blurred; overflow-y: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,l,right", "change", "Change", show=False),
        Binding("t", "test", "Test", show=False),
        Binding("s", "save", "Save", show=False),
    ]
    AUTO_FOCUS = ""

    if TYPE_CHECKING:

        @property
        def app(self) -> KferryApp: ...  # type: ignore[override]

    def __init__(self, session: Session, found: Opened) -> None:
        super().__init__()
        self._session = session
        self._found = found
        self.draft = found.draft
        self._cursor = 0
        self._editing = False
        self._problems: tuple[Gap, ...] = ()
        self._stop: threading.Event | None = None  # set to end the test that runs
        self._tested: Draft | None = None  # the draft whose test went well
        self._asked_to_leave = False
        self._asked_to_save = False

    # ---- drawing ----

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(f"The {self.draft.role.value} cluster")
            dialog.border_subtitle = Content(_HINT)
            yield Plain(id="fields")
            yield Input(id="entry")
            yield Plain(id="gaps")
            with Scroll(id="seen-box", classes="scrolls", can_focus=False):
                yield Plain(id="seen")

    def on_mount(self) -> None:
        self._show_seen([line(Cell("Not tested as it stands here. t tests it; nothing is saved by that.", "dim"))])
        self._judge()

    @property
    def field(self) -> str:
        """The field under the cursor."""
        asked = fields_of(self.draft)
        return asked[min(self._cursor, len(asked) - 1)]

    @property
    def is_testing(self) -> bool:
        return self._stop is not None

    def _draw(self) -> None:
        self.query_one("#fields", Plain).show(
            clusters.field_lines(self.draft, self.field, self.field if self._editing else None)
        )
        self.query_one("#gaps", Plain).show(
            clusters.gap_lines(self._problems, clusters.field_help(self.draft, self.field))
        )

    def _judge(self) -> None:
        """Say what is missing: at once what the draft itself tells, a moment later what files tell."""
        self._problems = gaps(self.draft)
        self._draw()
        draft = self.draft

        def look() -> None:
            found = cluster_drafts.problems(self._found, draft)
            self._later(lambda: self._judged(draft, found))

        self.run_worker(look, thread=True, group="judge", exclusive=True)

    def _judged(self, draft: Draft, found: tuple[Gap, ...]) -> None:
        if draft == self.draft and not self._editing:
            self._problems = found
            self._draw()

    def _show_seen(self, lines: list[Line]) -> None:
        self.query_one("#seen", Plain).show(lines)

    def _hint(self, words: str) -> None:
        self.query_one(".dialog").border_subtitle = Content(words)

    def _later(self, work: Callable[[], None]) -> None:
        """Do something on the loop, from a thread; nothing where the form is gone by then."""

        def guarded() -> None:
            if self.is_attached and self.is_mounted:
                work()

        self.app.call_later(guarded)

    # ---- moving and changing ----

    def action_scroll_part(self, how: str) -> None:
        if how not in ("up", "down"):
            super().action_scroll_part(how)
            return
        if self._editing:
            self._keep_typed()
        self._asked_to_leave = self._asked_to_save = False
        self._cursor = max(0, min(len(fields_of(self.draft)) - 1, self._cursor + (1 if how == "down" else -1)))
        self._hint(_HINT)
        self._draw()

    async def action_change(self) -> None:
        if self._editing:
            return
        if self.field in _CHOSEN:
            await self._choose(self.field)
            return
        value = str(getattr(self.draft, self.field))
        entry = self.query_one("#entry", Input)
        entry.value = "" if value == KEPT else value
        entry.add_class("-open")
        entry.focus()
        self._editing = True
        self._mask(entry)
        self._hint("⏎ keep · ↑ ↓ keep and move · esc as it was")
        self._draw()

    async def _choose(self, field: str) -> None:
        kind, way = self.draft.its_kind, self.draft.its_way
        if field == "kind":
            choices = [(one.kind.value, one.title, one.versions or one.hint) for one in KINDS.values()]
        elif field == "way":
            choices = [
                (one.name, one.title, f"{one.protocol} {' '.join(map(str, one.ports))}".strip()) for one in kind.ways
            ]
        else:
            choices = [(name, name, "") for name in way.mechanisms]

        def chosen(key: str | None) -> None:
            if key is not None:
                self._take(with_field(self.draft, field, key))

        await self.app.push_screen(
            ChoiceDialog(f"{field.capitalize()} of the {self.draft.role.value}", (), choices), chosen
        )

    def _take(self, draft: Draft) -> None:
        self.draft = fitted(draft)
        self._cursor = min(self._cursor, len(fields_of(self.draft)) - 1)
        self._asked_to_leave = self._asked_to_save = False
        self._judge()

    @on(Input.Changed, "#entry")
    def _typed(self, event: Input.Changed) -> None:
        if not self._editing:
            return
        self._mask(event.input)
        self._problems = gaps(with_field(self.draft, self.field, event.value))
        self._draw()

    def _mask(self, entry: Input) -> None:
        """A reference may be read over a shoulder; what does not begin as one may be the secret itself."""
        text = entry.value
        begins = any(text.startswith(prefix) or prefix.startswith(text) for prefix in _PREFIXES)
        entry.password = self.field == "password" and not begins

    @on(Input.Submitted, "#entry")
    def _submitted(self) -> None:
        self._keep_typed()

    def _keep_typed(self) -> None:
        value = self.query_one("#entry", Input).value.strip()
        kept = str(getattr(self.draft, self.field)) == KEPT and not value
        field = self.field
        self._close_entry()
        if not kept:
            self._take(with_field(self.draft, field, value))
        else:
            self._judge()

    def _close_entry(self) -> None:
        entry = self.query_one("#entry", Input)
        self._editing = False
        entry.value = ""
        entry.password = False
        entry.remove_class("-open")
        self.set_focus(None)
        self._hint(_HINT)

    def action_leave(self) -> None:
        """Esc: what is being typed, then a test that runs, then the form; changes are not lost by one key."""
        if self._editing:
            self._close_entry()
            self._judge()
        elif self._stop is not None:
            self._stop.set()
            self._hint("the test is being stopped…")
        elif self.draft != self._found.draft and not self._asked_to_leave:
            self._asked_to_leave = True
            self._hint("changes are not saved: s saves them, esc again leaves them")
        else:
            self.dismiss(False)

    def on_unmount(self) -> None:
        if self._stop is not None:
            self._stop.set()

    # ---- testing ----

    def action_test(self) -> None:
        if self._editing or self.is_testing:
            return
        if any(gap.stops for gap in gaps(self.draft)):
            self._hint("something is missing: see the lines marked ✗")
            return
        stop = self._stop = threading.Event()
        draft = self.draft
        self._tested = None
        self._show_seen([line(Cell("◐ asking the engine to test it…", "busy"))])
        self._hint("testing · esc stops it")
        self.run_worker(lambda: self._test(draft, stop), thread=True, group="test")

    def _test(self, draft: Draft, stop: threading.Event) -> None:
        """In a thread: ask, show lines as they come, stop when told to."""
        try:
            if not self._session.engine().alive:
                raise KferryError(
                    "The engine is not running, so nothing was tested.", next_step="Leave with esc, start it with E."
                )
            intent = cluster_drafts.send_test(self._session, self._found, draft)
            body = self._follow(intent.operation_id, stop)
        except KferryError as error:
            found = error
            self._later(lambda: self._test_failed(found))
        else:
            self._later(lambda: self._test_ended(draft, body))

    def _follow(self, operation_id: str, stop: threading.Event) -> Mapping[str, Any]:
        end = time.monotonic() + _ABORT_AFTER_SECONDS
        seen: Mapping[str, Any] = {}
        while True:
            operation = self._session.reader.operation(operation_id)
            body = cluster_drafts.test_body(self._session, operation_id)
            if body is not None and body != seen:
                seen = body
                self._later(lambda body=body: self._show_body(body, running=True))  # type: ignore[misc]
            if operation is not None and operation.status in _FINAL:
                if not seen or seen.get("running"):
                    seen = cluster_drafts.test_body(self._session, operation_id) or seen
                return {**seen, "error": seen.get("error") or operation.error}
            if stop.wait(_LOOK_SECONDS) or time.monotonic() > end:
                self._session.ask("abort", {"operation_id": operation_id})
                return {**seen, "stopped": True}
            if not self._session.engine().alive:
                raise KferryError(
                    "The engine ended in the middle of the test.", next_step="Start it (esc, then E), and test again."
                )

    def _show_body(self, body: Mapping[str, Any], *, running: bool = False) -> None:
        lines: list[Line] = []
        if body.get("error"):
            lines += [*common.error_lines(body["error"]), line("")]
        lines += clusters.check_lines(body.get("lines", ()))
        if body.get("capabilities"):
            lines += [line(""), line(Cell("what can be asked", "title"))]
            lines += clusters.capability_lines(body["capabilities"])
        if running:
            lines.append(line(Cell("◐ testing…", "busy")))
        self._show_seen(lines)

    def _test_ended(self, draft: Draft, body: Mapping[str, Any]) -> None:
        self._stop = None
        self._show_body(body)
        if body.get("stopped"):
            self._hint(f"stopped · {_HINT}")
        elif body.get("reachable"):
            self._tested = draft
            denied = any(found.get("state") == "denied" for found in body.get("capabilities", {}).values())
            verdict = "▲ reachable, without some rights" if denied else "✓ reachable"
            self._hint(f"{verdict} · {_HINT}")
        else:
            self._hint(f"✗ not reachable · {_HINT}")
        self.query_one("#seen-box", Scroll).scroll_home(animate=False)

    def _test_failed(self, error: KferryError) -> None:
        self._stop = None
        self._show_seen(common.error_lines(error.as_dict()))
        self._hint(_HINT)

    # ---- saving ----

    def action_save(self) -> None:
        if self._editing or self.is_testing:
            return
        if any(gap.stops for gap in self._problems):
            self._hint("something is missing: see the lines marked ✗")
            return
        if self._tested != self.draft and not self._asked_to_save:
            self._asked_to_save = True
            self._hint("this is not tested, or the test failed: s again saves it all the same")
            return
        draft = self.draft

        def work() -> None:
            try:
                cluster_drafts.save(self._session, self._found, draft)
            except KferryError as error:
                found = error
                self._later(lambda: self._test_failed(found))
            else:
                self._later(lambda: self.dismiss(True))  # type: ignore[arg-type]

        self.run_worker(work, thread=True, group="save", exclusive=True)
