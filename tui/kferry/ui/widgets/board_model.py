"""What a board holds: columns with cards, the cursor among them, marks and the filter. Draws nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from kferry.client.filters import Filter, Value
from kferry.ui.cells import Cell, Line

NOTHING: Mapping[str, Value] = MappingProxyType({})
HEAD = -1  # the cursor is on the head of a column, not on a card


class Card(NamedTuple):
    """One line in a column. `key` names it over refreshes, in whichever column it is; `search` is in small letters,
    `values` are what filters compare."""

    key: str
    mark: Cell
    name: Cell
    right: Cell = Cell("")
    search: str = ""
    values: Mapping[str, Value] = NOTHING


class BoardColumn(NamedTuple):
    """A column: its head in several lines, the same in one line of fields, and its cards. The title counts columns
    that are `counted`."""

    key: str
    head: tuple[Line, ...]
    fields: tuple[Cell, ...]
    cards: tuple[Card, ...]
    rule: str = ""
    search: str = ""
    values: Mapping[str, Value] = NOTHING
    counted: bool = True


class Field(NamedTuple):
    """A field of the one-line form; those with `flex` share the width that is left."""

    title: str
    width: int
    flex: int = 0
    right: bool = False


def kept_by(columns: Sequence[BoardColumn], wanted: Filter) -> tuple[BoardColumn, ...]:
    """Cards that fulfil a filter, in their columns; a card is also what its column is."""
    if not wanted:
        return tuple(columns)
    kept = []
    for column in columns:
        cards = tuple(card for card in column.cards if _is_kept(wanted, column, card))
        if cards or (not column.cards and _is_kept(wanted, column, None)):
            kept.append(column._replace(cards=cards))
    return tuple(kept)


def _is_kept(wanted: Filter, column: BoardColumn, card: Card | None) -> bool:
    def text() -> str:
        return f"{column.search} {card.search}" if card is not None else column.search

    def value(name: str) -> Value:
        if card is not None and name in card.values:
            return card.values[name]
        return column.values.get(name)

    return wanted.keeps(text, value)


class BoardModel:
    """Columns, cursor, marks and filter of one board."""

    def __init__(self) -> None:
        self.all_columns: tuple[BoardColumn, ...] = ()
        self.shown: tuple[BoardColumn, ...] = ()
        self.at = 0
        self.card = HEAD
        self.marked: set[str] = set()
        self.filter = Filter()
        self.opened = False  # in one-line form: the column under the cursor shows its cards

    # ---- what is there --------------------------------------------------------------------------------------------

    @property
    def column(self) -> BoardColumn | None:
        """The column under the cursor."""
        return self.shown[self.at] if self.shown else None

    @property
    def cursor_card(self) -> Card | None:
        """The card under the cursor; None on the head of a column."""
        column = self.column
        return column.cards[self.card] if column is not None and 0 <= self.card < len(column.cards) else None

    @property
    def where(self) -> tuple[int, int, bool]:
        return (self.at, self.card, self.opened)

    @property
    def head_height(self) -> int:
        return max((len(one.head) for one in self.shown), default=1)

    def set_columns(self, columns: Sequence[BoardColumn]) -> bool:
        """Hold these columns; the cursor stays on its card, and marks on theirs. Whether anything is new."""
        new = tuple(columns)
        if new == self.all_columns:
            return False
        if self.marked:
            self.marked &= {card.key for column in new for card in column.cards}
        self.all_columns = new
        self._sift()
        return True

    def set_filter(self, wanted: Filter) -> bool:
        """Show what fulfils it. Whether it is another one than before."""
        if wanted == self.filter:
            return False
        self.filter = wanted
        self._sift()
        return True

    def _sift(self) -> None:
        column, card = self.column, self.cursor_card
        self.shown = kept_by(self.all_columns, self.filter)
        self._to_column(self.at)
        if column is not None:
            self.put(column.key, card.key if card is not None else None)

    # ---- cursor ---------------------------------------------------------------------------------------------------

    def put(self, key: str, card_key: str | None) -> bool:
        """The cursor on a column, or on a card: looked for in its column first, then wherever it has gone."""
        at = next((at for at, column in enumerate(self.shown) if column.key == key), None)
        if card_key is not None:
            order = ([at] if at is not None else []) + list(range(len(self.shown)))
            for place in order:
                cards = self.shown[place].cards
                found = next((number for number, card in enumerate(cards) if card.key == card_key), None)
                if found is not None:
                    self.at, self.card = place, found
                    return True
        if at is None:
            return False
        self.at = at
        self.card = HEAD if card_key is None else min(self.card, len(self.shown[at].cards) - 1)
        return card_key is None

    def step(self, across: int, down: int, *, side_by_side: bool) -> None:
        """To the side, or up and down, as the keys mean it in the form that is shown."""
        if not self.shown:
            return
        last = len(self.shown[self.at].cards) - 1
        if side_by_side and across:
            self._to_column(self.at + across)
        elif side_by_side:
            self.card = max(HEAD, min(self.card + down, last))
        elif across > 0:
            self.opened = True
            self.card = max(self.card, min(0, last))
        elif across < 0:
            self.opened, self.card = self.opened and self.card != HEAD, HEAD
        else:
            self._step_lines(down, last)

    def _step_lines(self, down: int, last: int) -> None:
        """Up and down in the one-line form: through the cards of an open column, else from column to column."""
        if self.card == HEAD and (down < 0 or not self.opened or last < 0):
            before = self.at
            self._to_column(self.at + down)
            self.opened = self.opened and self.at == before
        elif self.card == last and down > 0 and self.at < len(self.shown) - 1:
            self.at, self.card, self.opened = self.at + 1, HEAD, False
        else:
            self.card = max(HEAD, min(self.card + down, last))

    def jump(self, to_end: bool, *, side_by_side: bool) -> None:
        """To the head or the last card of the column; from a head, to the first column or (one-line) the last."""
        if not self.shown:
            return
        last = len(self.shown[self.at].cards) - 1
        if self.card == HEAD and (not to_end or not side_by_side or last < 0):
            self._to_column(len(self.shown) - 1 if to_end else 0)
            self.opened = False
        else:
            self.card = last if to_end else HEAD

    def _to_column(self, at: int) -> None:
        self.at = max(0, min(at, len(self.shown) - 1))
        self.card = min(self.card, len(self.shown[self.at].cards) - 1) if self.shown else HEAD

    # ---- marks ----------------------------------------------------------------------------------------------------

    def toggle_mark(self) -> None:
        """Mark the card under the cursor and go on to the next; on a head, all cards of the column that are shown."""
        column, card = self.column, self.cursor_card
        if column is None:
            return
        if card is not None:
            self.marked ^= {card.key}
            self.card = min(self.card + 1, len(column.cards) - 1)
        else:
            keys = {one.key for one in column.cards}
            self.marked = self.marked - keys if keys <= self.marked else self.marked | keys

    # ---- lines of the one-line form -------------------------------------------------------------------------------

    @property
    def _open_cards(self) -> int:
        return len(self.shown[self.at].cards) if self.opened and self.shown else 0

    @property
    def line_count(self) -> int:
        return len(self.shown) + self._open_cards

    @property
    def cursor_line(self) -> int:
        return self.at + (self.card + 1 if self.card != HEAD and self.opened else 0)

    def spot(self, line: int) -> tuple[int, int] | None:
        """Which column and card stand in a line of the one-line form."""
        open_cards = self._open_cards
        if line <= self.at:
            return (line, HEAD) if self.shown else None
        if line <= self.at + open_cards:
            return (self.at, line - self.at - 1)
        at = line - open_cards
        return (at, HEAD) if at < len(self.shown) else None
