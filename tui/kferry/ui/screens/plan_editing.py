"""What the keys of the Plan screen edit: batches and cards under the cursor, each edit told with what it breaks."""

from __future__ import annotations

from collections.abc import Collection

from kferry.domain.planning import is_batch_name
from kferry.store.views import BatchView
from kferry.ui import plan_acts, plan_edit
from kferry.ui.modals.pick import NEW, PickDialog, hint
from kferry.ui.plan_facts import LEFT_OUT, PlanFacts, of_key
from kferry.ui.rows import plan as rows
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.board import Board

AT_END = "\0end"
_BATCH_NAMES = "Small letters, digits and hyphens; it becomes part of names in both clusters."


class PlanEditing(KferryScreen):
    """The part of the Plan screen that changes plan.yml; the screen itself draws it and moves in it."""

    # ---- what is under the cursor -----------------------------------------------------------------------------------

    @property
    def board(self) -> Board:
        return self.query_one(Board)

    @property
    def facts(self) -> PlanFacts:
        if self.snapshot is None:
            return PlanFacts(self.app.session.plan_view())
        read: PlanFacts = self.snapshot.facts
        return read

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
