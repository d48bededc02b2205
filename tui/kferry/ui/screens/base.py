"""What all screens have in common: the frame around the body, the keys, the filter, and how a snapshot arrives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from kferry.client import actions
from kferry.client.sanitize import clean
from kferry.client.session import Session
from kferry.ui.messages import Frame
from kferry.ui.modals.ask import ChoiceDialog
from kferry.ui.widgets.chrome import ErrorBar, FilterLine, Head, KeyBar, NextBar
from kferry.ui.widgets.keyed_table import KeyedTable
from kferry.ui.widgets.sections import Sections

if TYPE_CHECKING:
    from kferry.ui.app import KferryApp

_MOVES = frozenset({"down", "up", "top", "bottom", "page_down", "page_up"})
_OF_OPERATIONS = frozenset({"retry", "abort", "run_hook"})


class KferryScreen(Screen[None]):
    """A screen of the app. Subclasses say `NAME`, `CRUMB`, `HELP`, `body`, `collect` (in the poller's thread: no
    widgets there) and `show` (on the loop)."""

    NAME: ClassVar[str] = ""
    CRUMB: ClassVar[str] = ""
    HELP: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = []
    AUTO_FOCUS = "KeyedTable"

    if TYPE_CHECKING:

        @property
        def app(self) -> KferryApp: ...  # type: ignore[override]

    def __init__(self) -> None:
        super().__init__()
        self.frame: Frame | None = None
        self.snapshot: Any = None
        self._is_ready = False  # all widgets are composed; a snapshot may come before that
        self._pending: tuple[Any, Frame] | None = None
        self._ways_back: list[tuple[str, Callable[[], Any]]] = []  # of jumps: what was looked for, and the way back

    # ---- for subclasses -------------------------------------------------------------------------------------------

    def body(self) -> ComposeResult:
        yield from ()

    def collect(self, session: Session, frame: Frame) -> Any:
        """Everything the screen shows, as a frozen value. Runs in a thread."""
        return None

    def show(self, snapshot: Any, frame: Frame) -> None:
        """Put a snapshot into the widgets."""

    def args_for(self, action_id: str) -> Mapping[str, Any] | None:
        """The arguments of a wish for what is under the cursor; None where nothing fits."""
        return None

    def batch_under_cursor(self) -> str | None:
        """The batch that is meant here, if one is."""
        return None

    def select(self, subject: str) -> None:
        """Put the cursor on what an action is about."""
        table = self.main_table()
        if table is not None:
            table.select(subject)

    @property
    def crumbs(self) -> tuple[str, ...]:
        own = ("Overview", self.CRUMB) if self.NAME != "overview" else ("Overview",)
        return (*own, *(label for label, _ in self._ways_back))

    # ---- jumps ----------------------------------------------------------------------------------------------------

    def jumped_here(self, label: str, back: Callable[[], Any]) -> None:
        """A jump has led here: `label` stands in the breadcrumbs, and esc goes `back`."""
        self._ways_back.append((clean(label), back))
        if self._is_ready:
            self._show_frame()

    def _forget_jumps(self) -> None:
        self._ways_back.clear()

    # ---- frame ----------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield Head()
        yield NextBar()
        with Vertical(id="body"):
            yield from self.body()
        yield ErrorBar()
        yield FilterLine()
        yield KeyBar(self.NAME, self.app.session.read_only)

    def on_mount(self) -> None:
        self._is_ready = True
        self._show_frame()
        self.show_errors()
        if self._pending is not None:
            self.receive(*self._pending)

    def on_screen_resume(self) -> None:
        self.app.poller.watch(self)
        self.show_errors()

    def receive(self, snapshot: Any, frame: Frame) -> None:
        """A snapshot has been read for this screen."""
        if not self._is_ready:
            self._pending = (snapshot, frame)
            return
        if len(self.query("#head-left, #head-right")) < 2:
            return  # the screen is being taken down: its parts are gone already
        self.snapshot, self.frame = snapshot, frame
        with self.app.batch_update():
            self._show_frame()
            self.show(snapshot, frame)
            self._show_keys()

    def _show_frame(self) -> None:
        self.query_one(Head).show(self.app.migration_name, self.crumbs, self.frame, self.app.session.read_only)
        self.query_one(NextBar).show_next(self.frame)

    @on(KeyedTable.Moved)
    def _show_keys(self) -> None:
        for bar in self.query(KeyBar):  # there is none while the screen is taken down
            bar.show_keys(self._is_idle)

    def _is_idle(self, action_id: str) -> bool:
        """Whether an action waits for an operation, and there is none that it fits."""
        return action_id in _OF_OPERATIONS and self.args_for(action_id) is None

    def show_errors(self) -> None:
        if self._is_ready:
            for bar in self.query(ErrorBar):  # there is none while the screen is taken down
                bar.show_errors(self.app.errors)

    def say(self, words: str) -> None:
        if self._is_ready:
            for bar in self.query(KeyBar):
                bar.say(words)

    # ---- keys -----------------------------------------------------------------------------------------------------

    def main_table(self) -> KeyedTable | None:
        """The table that keys move in: the focused one, else the first that is shown."""
        if isinstance(self.focused, KeyedTable):
            return self.focused
        return next((table for table in self.query(KeyedTable) if table.display and table.is_on_screen), None)

    async def action_act(self, action_id: str) -> None:
        """Carry out an action of the registry; every key of every screen ends here."""
        action = actions.BY_ID[action_id]
        self.query_one(KeyBar).hush()
        if action_id.startswith("goto_"):
            self._forget_jumps()
        if action_id in _MOVES:
            self._move(action_id)
        elif action_id in ("left", "right"):
            self.sideways(-1 if action_id == "left" else 1)
        elif (own := getattr(self, f"do_{action_id}", None)) is not None:
            if self.app.may(action):
                await self.app.call_own(own)
        else:
            await self.app.perform(action)

    def _move(self, action_id: str) -> None:
        widget: Widget | None = self.focused if self.focused is not None else self.main_table()
        if isinstance(widget, KeyedTable):
            moves = {
                "down": lambda: widget.action_move(1),
                "up": lambda: widget.action_move(-1),
                "top": lambda: widget.action_jump(0),
                "bottom": lambda: widget.action_jump(1),
                "page_down": lambda: widget.action_page(1),
                "page_up": lambda: widget.action_page(-1),
            }
            moves[action_id]()
        elif widget is not None:
            scrolls = {
                "down": widget.scroll_down,
                "up": widget.scroll_up,
                "top": widget.scroll_home,
                "bottom": widget.scroll_end,
                "page_down": widget.scroll_page_down,
                "page_up": widget.scroll_page_up,
            }
            scrolls[action_id](animate=False)

    def sideways(self, by: int) -> None:
        """To the section beside this one, else to the pane beside it."""
        sections = self.query(Sections)
        if sections:
            sections.first().step(by)
        elif by > 0:
            self.focus_next()
        else:
            self.focus_previous()

    def do_open(self) -> None:
        table = self.main_table()
        if table is not None and table.cursor_key is not None:
            table.action_choose()
        else:
            self.say("Nothing to open here.")

    def do_sort(self) -> None:
        table = self.main_table()
        self.say(table.sort_next() if table is not None else "Nothing to sort here.")

    def do_sort_reverse(self) -> None:
        table = self.main_table()
        self.say(table.sort_reverse() if table is not None else "Nothing to sort here.")

    async def do_sort_choose(self) -> None:
        """Choose the column to sort by; the one that is sorted by is turned round."""
        table = self.main_table()
        if table is None or not table.sort_names:
            self.say("Nothing to sort here.")
            return
        now = table.sorting

        def chosen(name: str | None) -> None:
            if name is not None and table is not None:
                again = now is not None and now.name == name and not now.descending
                self.say(table.sort_by(name, again))

        directions = {True: "sorted by it, descending", False: "sorted by it, ascending; again turns it round"}
        choices = [
            (name, table.title_of(name), directions[now.descending] if now is not None and now.name == name else "")
            for name in table.sort_names
        ]
        await self.app.push_dialog(ChoiceDialog("Sort by", (), choices), chosen)

    def do_copy(self) -> None:
        table = self.main_table()
        if table is not None and table.cursor_text:
            self.app.copy_to_clipboard(table.cursor_text)
            self.say(f"Copied: {table.cursor_text}")
        else:
            self.say("Nothing to copy here.")

    def do_refresh(self) -> None:
        self.app.poller.wake()
        self.say("Reading again…")

    # ---- filter ---------------------------------------------------------------------------------------------------

    def do_filter(self) -> None:
        table = self.main_table()
        if table is None:
            self.say("Nothing to filter here.")
            return
        self._filtered = table
        entry = self.query_one("#filter-input", Input)
        self.query_one(FilterLine).add_class("-open")
        entry.value = table.filter_text
        entry.focus()

    @on(Input.Changed, "#filter-input")
    def _filter_typed(self, event: Input.Changed) -> None:
        if self.query_one(FilterLine).has_class("-open"):
            self._filtered.set_filter(event.value)

    @on(Input.Submitted, "#filter-input")
    def _filter_kept(self) -> None:
        self._close_filter()

    def _close_filter(self) -> None:
        self.query_one(FilterLine).remove_class("-open")
        self._filtered.focus()

    def do_back(self) -> None:
        """Esc: an open filter line, then a filter, then an error that was read, then the screen itself."""
        table = self.main_table()
        if self.query_one(FilterLine).has_class("-open"):
            self._close_filter()
            self._filtered.set_filter("")
        elif self.app.errors:
            self.app.dismiss_error()
        elif self._ways_back:
            self.app.run_worker(self._go_the_way_back())
        elif table is not None and table.filter_text:
            table.set_filter("")
        else:
            self.app.go_back()

    async def _go_the_way_back(self) -> None:
        _, back = self._ways_back.pop()
        self._show_frame()
        await self.app.call_own(back)
