"""Plan: the batches as a board in their order, why they are so, and editing them with what that breaks in view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Input

from kferry.client import actions
from kferry.client.session import Session
from kferry.ui import bindings, plan_making, wishes
from kferry.ui.messages import Frame
from kferry.ui.plan_facts import LEFT_OUT, PlanFacts, facts_reader, of_key
from kferry.ui.plan_making import Making
from kferry.ui.rows import plan as rows
from kferry.ui.rows import plan_why
from kferry.ui.screens.plan_editing import PlanEditing
from kferry.ui.widgets.board import Board
from kferry.ui.widgets.board_model import BoardColumn
from kferry.ui.widgets.chrome import FilterLine, Plain, Scroll

if TYPE_CHECKING:
    from kferry.ui.widgets.keyed_table import KeyedTable


@dataclass(frozen=True, slots=True, eq=False)
class PlanSnapshot:
    facts: PlanFacts
    making: Making
    columns: tuple[BoardColumn, ...]


class PlanScreen(PlanEditing):
    NAME = "plan"
    CRUMB = "Plan"
    CSS_PATH = "plan.tcss"
    AUTO_FOCUS = "Board"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.for_screen("plan")]
    HELP = """
What moves together, in which order, and why. Each column is a batch, the first one moves first; t is a topic, g a
consumer group. h l go from batch to batch, j k along its cards; in a narrow terminal each batch is one line that l
opens.
Topics that one consumer group reads, or one transactional producer writes, belong to one batch. What an edit tears
apart is said at once, in red, on the batches and above the board; u takes the edit back. enter shows below why
something is where it is, in full. / keeps the cards with a text, or kind:group, size>10GiB, torn=yes, risk>5,
phase:planned; space on a batch then marks just those.
The plan is the file plan.yml and may be edited there too. A batch that is already under way is changed on its
migration task (o, then e), not here. c creates the migration task of a batch.
"""

    def __init__(self) -> None:
        super().__init__()
        self._drawn: PlanSnapshot | None = None
        self._columns: dict[str, tuple[object, BoardColumn]] = {}

    def body(self) -> ComposeResult:
        yield Plain(id="notice")
        yield Board("Plan", rows.FIELDS, filter_fields=rows.FILTER_FIELDS, id="board", empty="Reading plan.yml…")
        with Scroll(id="why-box", classes="panel scrolls") as box:
            box.border_title = Content("Why")
            yield Plain(id="why")

    def collect(self, session: Session, frame: Frame) -> PlanSnapshot:
        facts = facts_reader(session).read(session)
        making = plan_making.read(session, frame)
        if self._drawn is None or self._drawn.facts is not facts or self._drawn.making != making:
            self._drawn = PlanSnapshot(facts, making, rows.board_columns(facts, self._columns))
        return self._drawn

    def show(self, snapshot: PlanSnapshot, frame: Frame) -> None:
        notice = rows.notice_lines(snapshot.facts, snapshot.making)
        self.query_one("#notice", Plain).display = bool(notice)
        self.query_one("#notice", Plain).show(notice)
        self.board.set_columns(
            snapshot.columns,
            title="Plan, edited by hand" if snapshot.facts.by_hand else "Plan",
            empty=rows.empty_words(snapshot.facts, snapshot.making),
        )
        self._show_why()

    @on(Board.Moved)
    def _show_why(self) -> None:
        if self.snapshot is not None:
            self.query_one("#why", Plain).show(plan_why.detail_lines(self.facts, self.batch_key, self.card_key))

    def select(self, subject: str) -> None:
        """A batch by its name; a card by kind, batch and name, with NUL between them."""
        if subject.count("\0") == 2:
            kind, batch, name = subject.split("\0")
            self.board.select(batch, f"{kind}\0{name}" if kind in ("topic", "group") else None)
        else:
            self.board.select(subject)

    def args_for(self, action_id: str) -> Mapping[str, Any] | None:
        batch = self.batch_under_cursor()
        return {"batch": batch} if action_id == "start_cutover" and batch else None

    # ---- keys -------------------------------------------------------------------------------------------------------

    @property
    def _is_reading(self) -> bool:
        return self.query_one("#why-box").has_class("-big")

    def _move(self, action_id: str) -> None:
        board = self.board
        if self._is_reading or not board.has_focus:
            super()._move(action_id)
            return
        {
            "down": lambda: board.step(0, 1),
            "up": lambda: board.step(0, -1),
            "top": lambda: board.jump(False),
            "bottom": lambda: board.jump(True),
            "page_down": lambda: board.page(1),
            "page_up": lambda: board.page(-1),
        }[action_id]()

    def sideways(self, by: int) -> None:
        if not self._is_reading:
            self.board.step(by, 0)

    @on(Board.Chosen)
    def do_open(self) -> None:
        """Why, in full: the pane below grows and scrolls; again, and it is small."""
        box = self.query_one("#why-box", Scroll)
        box.toggle_class("-big")
        box.scroll_home(animate=False)
        (box if self._is_reading else self.board).focus()

    def do_back(self) -> None:
        """Esc: a filter that is typed, the reading of why, an error, a filter, marks, then the screen itself."""
        typing = self.query_one(FilterLine).has_class("-open")
        if typing or (self.app.errors and not self._is_reading):
            super().do_back()
        elif self._is_reading:
            self.do_open()
        elif self.board.filter_text:
            self.board.set_filter("")
        elif self.board.model.marked:
            self.board.clear_marks()
        else:
            super().do_back()

    def do_filter(self) -> None:
        if self._is_reading:
            self.do_open()
        self._filtered = cast("KeyedTable", self.board)  # it takes the same calls: filter_text, set_filter, focus
        entry = self.query_one("#filter-input", Input)
        self.query_one(FilterLine).add_class("-open")
        entry.value = self.board.filter_text
        entry.focus()

    def do_copy(self) -> None:
        text = self.board.cursor_text if self.batch_key != LEFT_OUT or self.card_key else ""
        if text:
            self.app.copy_to_clipboard(text)
            self.say(f"Copied: {text}")

    def do_sort(self) -> None:
        self.say("The order means something here: J and K move a batch.")

    def do_mark_in_plan(self) -> None:
        if self.batch_key is None:
            self.say("There is nothing to mark yet.")
        self.board.toggle_mark()

    def do_next_violation(self) -> None:
        """To the first batch after this one, in its order, that something is torn from; round and round."""
        columns = self.board.model.shown
        at = self.board.model.at
        order = [*columns[at + 1 :], *columns[: at + 1]] if columns else []
        torn = next((column.key for column in order if self.facts.violations_of(column.key)), None)
        if torn is not None:
            self.board.select(torn)
        elif self.facts.violations:
            self.say(f"No batch here, but: {self.facts.violations[0].words}")
        else:
            self.say("Nothing is torn apart." if self.facts.index is not None else "Unknown: there is no scan.")

    async def do_show_graph(self) -> None:
        from kferry.ui.screens.graph import GraphScreen

        shown, card = self.shown_batch, self.card_key
        if self.facts.index is None:
            self.say("There is no scan to draw a graph of: 3, then S.")
        elif card is not None or shown is not None:
            about = of_key(card)[1] if card is not None else shown.topics[0] if shown is not None else ""
            await self.app.open_detail(GraphScreen(about))

    async def do_open_task_of_batch(self) -> None:
        from kferry.ui.screens.task import TaskScreen

        shown = self.shown_batch
        if shown is not None and shown.task:
            await self.app.open_detail(TaskScreen(shown.task))
        else:
            self.say("No migration task yet: c creates it.")

    def do_plan(self) -> None:
        plan = actions.BY_ID["plan"]
        if self.snapshot is not None and self.facts.by_hand:
            words = "plan.yml was edited by hand. Making the plan anew overwrites these edits."
            wishes.ask(self.app, wishes.dangerous(plan), {"overwrite": True}, subject="plan.yml", words=(words,))
        else:
            wishes.ask(self.app, plan, {"overwrite": False})
