"""Plan: the batches as a board in their order, why they are so, and editing them with what that breaks in view."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Input

from kferry.client import actions
from kferry.client.session import Session
from kferry.domain.planning import is_batch_name
from kferry.store.views import BatchView
from kferry.ui import bindings, plan_acts, plan_edit, plan_making, wishes
from kferry.ui.messages import Frame
from kferry.ui.modals.pick import NEW, PickDialog, hint
from kferry.ui.plan_facts import LEFT_OUT, PlanFacts, facts_reader, of_key
from kferry.ui.plan_making import Making
from kferry.ui.rows import plan as rows
from kferry.ui.rows import plan_why
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.board import Board
from kferry.ui.widgets.board_model import BoardColumn
from kferry.ui.widgets.chrome import FilterLine, Plain, Scroll

if TYPE_CHECKING:
    from kferry.ui.widgets.keyed_table import KeyedTable

AT_END = "\0end"
_BATCH_NAMES = "Small letters, digits and hyphens; it becomes part of names in both clusters."


@dataclass(frozen=True, slots=True, eq=False)
class PlanSnapshot:
    facts: PlanFacts
    making: Making
    columns: tuple[BoardColumn, ...]


class PlanScreen(KferryScreen):
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

    # ---- what is under the cursor -----------------------------------------------------------------------------------

    @property
    def board(self) -> Board:
        return self.query_one(Board)

    @property
    def facts(self) -> PlanFacts:
        snapshot: PlanSnapshot | None = self.snapshot
        return snapshot.facts if snapshot is not None else PlanFacts(self.app.session.plan_view())

    @property
    def batch_key(self) -> str | None:
        """The key of the column under the cursor: a batch or what is left out."""
        column = self.board.model.column
        return column.key if column is not None else None

    @property
    def card_key(self) -> str | None:
        card = self.board.model.cursor_card
        return card.key if card is not None else None

    def batch_under_cursor(self) -> str | None:
        return self.batch_key if self.batch_key != LEFT_OUT else None

    @property
    def shown_batch(self) -> BatchView | None:
        name = self.batch_under_cursor()
        return self.facts.shown(name) if name is not None else None

    @property
    def meant_cards(self) -> frozenset[str]:
        """The marked cards, else the one under the cursor."""
        if self.board.model.marked:
            return frozenset(self.board.model.marked)
        return frozenset({self.card_key}) if self.card_key is not None else frozenset()

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

    # ---- edits ------------------------------------------------------------------------------------------------------

    def _may_edit(self, names: Collection[str]) -> bool:
        """Whether these batches are still the plan's; says what to do instead where not."""
        for name in names:
            shown = self.facts.shown(name)
            if shown is not None and not rows.is_open(shown.phase):
                self.say(f"{name} is {shown.phase}: change its migration task instead (o, then e).")
                return False
        return True

    def _open_batch(self) -> BatchView | None:
        """The batch under the cursor, if there is one and it may be edited; says why not."""
        shown = self.shown_batch
        if shown is None:
            self.say("Put the cursor on a batch first.")
            return None
        return shown if self._may_edit((shown.name,)) else None

    def _homes(self, cards: Collection[str]) -> set[str]:
        return {self.facts.homes[card] for card in cards if card in self.facts.homes}

    def _choices(self, without: Collection[str]) -> list[tuple[str, str, str]]:
        return [
            (one.name, one.name, f"{one.position + 1}: {len(one.topics)} topics, {len(one.groups)} groups")
            for one in self.facts.view.batches
            if one.name not in without and rows.is_open(one.phase)
        ]

    async def do_move_in_plan(self) -> None:
        cards = self.meant_cards
        if not cards:
            await self._choose_place()
            return
        homes = self._homes(cards)
        if not self._may_edit(homes):
            return
        has_topic = any(of_key(card)[0] == "topic" for card in cards)
        choices = self._choices(homes if len(homes) == 1 else ())
        if not choices and not has_topic:
            self.say("There is no other batch that is still only planned.")
            return

        def new_words(name: str) -> str:
            return "makes a new batch" if is_batch_name(name) and self.facts.shown(name) is None else ""

        def chosen(to: str | None) -> None:
            if to is not None:
                name = to.removeprefix(NEW)
                where = f"the new batch {name}" if to.startswith(NEW) else name
                self._edit(plan_edit.move(cards, name), f"{plan_acts.named(cards)} moved to {where}.")

        lines = hint(f"Type a part of a batch's name, or a new one. {_BATCH_NAMES}") if has_topic else ()
        await self.app.push_dialog(
            PickDialog(f"Move {plan_acts.named(cards)} to", lines, choices, new_words if has_topic else None), chosen
        )

    async def _choose_place(self) -> None:
        shown = self._open_batch()
        if shown is None:
            return
        choices = [
            (one.name, f"before {one.name}", f"number {one.position + 1}")
            for one in self.facts.view.batches
            if one.name != shown.name
        ]
        choices.append((AT_END, "at the end", "moves last"))

        def chosen(before: str | None) -> None:
            if before is not None:
                to = None if before == AT_END else before
                self._edit(plan_edit.place(shown.name, to), f"{shown.name} has another place.")

        await self.app.push_dialog(PickDialog(f"Place of {shown.name}", (), choices), chosen)

    async def do_split_batch(self) -> None:
        cards = self.meant_cards
        homes = self._homes(cards)
        if not cards or len(homes) != 1:
            self.say(
                "Mark cards of one batch with space, then S takes them into a new one."
                if not homes
                else "The marked cards are of several batches; m moves them into one."
            )
            return
        batch = next(iter(homes))
        if not self._may_edit(homes):
            return
        what = plan_acts.named(cards)

        def named(name: str | None) -> None:
            if name is not None:
                index = self.facts.index
                edit = plan_edit.split(batch, cards, name, index.scan if index is not None else None)
                self._edit(edit, f"{what} split off from {batch} into {name}.")

        await plan_acts.ask_name(self.app, f"Split {what} off from {batch} into", f"{batch[:24]}-late", named)

    async def do_merge_batch(self) -> None:
        shown = self._open_batch()
        if shown is None:
            return
        choices = self._choices((shown.name,))
        if not choices:
            self.say("There is no other batch that is still only planned.")
            return

        def chosen(into: str | None) -> None:
            if into is not None:
                self._edit(plan_edit.merge(shown.name, into), f"{shown.name} is now part of {into}.")

        lines = hint("The other one keeps its name and its place in the order.")
        await self.app.push_dialog(PickDialog(f"Put {shown.name} into", lines, choices), chosen)

    def do_pin_batch(self) -> None:
        shown = self._open_batch()
        if shown is not None:
            batch = self.facts.batch(shown.name)
            done = "released" if batch is not None and batch.pinned else "pinned: planning anew leaves it as it is"
            self._edit(plan_edit.pin(shown.name), f"{shown.name} is {done}.")

    def do_earlier_in_plan(self) -> None:
        self._shift(-1)

    def do_later_in_plan(self) -> None:
        self._shift(1)

    def _shift(self, by: int) -> None:
        shown = self._open_batch()
        if shown is not None:
            words = "earlier" if by < 0 else "later"
            if 0 <= shown.position + by < len(self.facts.view.batches):
                self._edit(plan_edit.shift(shown.name, by), f"{shown.name} moves {words}.")
            else:
                self.say(f"{shown.name} cannot move {words}.")

    async def do_create_task(self) -> None:
        await plan_acts.ask_create(self.app, self.facts, self.batch_under_cursor())

    def do_drop_from_plan(self) -> None:
        cards = frozenset(card for card in self.meant_cards if card in self.facts.homes)
        if not cards:
            self.say("Put the cursor on a topic or group of a batch to leave it behind.")
        elif self._may_edit(self._homes(cards)):
            self._edit(plan_edit.drop(cards), f"{plan_acts.named(cards)} left out of the plan.")

    def do_undo_plan_edit(self) -> None:
        plan_acts.undo(self.app, self.facts)

    def _edit(self, edit: plan_edit.Edit, words: str) -> None:
        plan_acts.edit(self.app, self.facts, edit, words, self.board.clear_marks)
