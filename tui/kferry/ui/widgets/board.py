"""A board of columns with cards: side by side where there is room, else one line for each column that opens.

Only what is in view is drawn, so 200 columns with 10,000 cards move like three with ten. Text is never markup.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.events import Click
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from kferry.client import filters
from kferry.client.sanitize import clean
from kferry.ui.cells import TONES, Cell, Line
from kferry.ui.widgets.board_model import HEAD, BoardColumn, BoardModel, Card, Field
from kferry.ui.widgets.board_text import aligned, fit, tone_css, window

# The least and the greatest width of a column, and the width from which columns stand side by side, in cells.
COLUMN_WIDTH = 27
COLUMN_WIDTH_MOST = 44
SIDE_BY_SIDE_FROM = 96


class Board(Widget, can_focus=True, inherit_bindings=False):
    """Columns with cards, a cursor that goes between them, marked cards and a filter."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"board--cursor", "board--line"} | {
        f"board--{tone}" for tone in TONES if tone
    }

    DEFAULT_CSS = f"""
    Board {{
        height: 1fr; border: round $border-blurred; border-title-color: $text-muted;
        border-subtitle-color: $text-muted; background: $background;
        &:focus {{ border: round $border; border-title-color: $text-primary; }}
        & > .board--cursor {{ background: $surface-lighten-1; text-style: bold; }}
        & > .board--line {{ color: $border-blurred; }}
        {tone_css()}
    }}
    """

    class Moved(Message):
        """The cursor is on another card or column."""

    class Chosen(Message):
        """A double click on what is under the cursor."""

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        *,
        empty: str = "",
        filter_fields: Sequence[filters.Field] = (),
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._filter_fields = tuple(filter_fields)
        self.filter_text = ""
        self.filter_error = ""
        self._title = title
        self._fields = tuple(fields)
        self.empty = empty
        self.model = BoardModel()
        self._first = 0  # the first column in view, or the first line in one-line form
        self._tops: dict[str, int] = {}  # the first card in view of each column
        self._styles_of: dict[str, Style] = {}
        self._wanted: tuple[str, str | None] | None = None
        self._last_told: tuple[str | None, str | None] = (None, None)
        self.painted_lines = 0  # how many lines were ever drawn; tests and benchmarks read it
        self.border_title = Content(title)

    # ---- data -----------------------------------------------------------------------------------------------------

    @property
    def side_by_side(self) -> bool:
        return self.size.width >= SIDE_BY_SIDE_FROM

    @property
    def cursor_text(self) -> str:
        """The name under the cursor, as it is shown."""
        card, column = self.model.cursor_card, self.model.column
        return clean(card.name.text if card is not None else column.key if column is not None else "")

    def set_columns(
        self, columns: Sequence[BoardColumn], *, title: str | None = None, empty: str | None = None
    ) -> None:
        """Show these columns; the cursor stays on its card, and marks on theirs."""
        if title is not None:
            self._title = title
        if empty is not None and empty != self.empty:
            self.empty = empty
            self.refresh()
        if self.model.set_columns(columns):
            if self._wanted is not None and columns:
                wanted, self._wanted = self._wanted, None
                self.select(*wanted)
            self._drawn_anew()
        self._say_count()

    def set_filter(self, text: str) -> None:
        """Keep the cards that fulfil it (client/filters.py). What cannot be understood is said in the border."""
        if text == self.filter_text:
            return
        self.filter_text = text
        try:
            wanted = filters.parse(text, self._filter_fields)
            self.filter_error = ""
        except filters.FilterError as error:
            wanted = self.model.filter  # the last one that was understood still holds
            self.filter_error = str(error)
        if self.model.set_filter(wanted):
            self._drawn_anew()
        self._say_count()

    def select(self, key: str, card_key: str | None = None) -> bool:
        """Put the cursor on a column, or on a card of it; as soon as there are columns."""
        if not self.model.all_columns:
            self._wanted = (key, card_key)
            return False
        found = self.model.put(key, card_key)
        self.model.opened = self.model.card != HEAD
        self._drawn_anew()
        return found

    def toggle_mark(self) -> None:
        self.model.toggle_mark()
        self._drawn_anew()

    def clear_marks(self) -> None:
        self.model.marked = set()
        self._drawn_anew()

    def _drawn_anew(self) -> None:
        self._keep_in_view()
        self.refresh()
        self._say_count()
        self._tell()

    def _say_count(self) -> None:
        """Title, count, marks and filter in the border. Content, not str: they may hold text of clusters."""
        shown = sum(column.counted for column in self.model.shown)
        total = sum(column.counted for column in self.model.all_columns)
        count = f"{shown} of {total}" if self.filter_text else str(total)
        title = f"{self._title} · {count}" if total else self._title
        said = [f"{len(self.model.marked)} marked"] if self.model.marked else []
        said += [f"/{clean(self.filter_text)}"] if self.filter_text else []
        subtitle = f"{' · '.join(said)}  (esc clears)" if said else ""
        if self.filter_error:
            subtitle = clean(self.filter_error)
        columns = len(self.model.shown)
        if not subtitle and self.side_by_side and columns > self._columns_in_view:
            subtitle = f"{self._first + 1}–{min(columns, self._first + self._columns_in_view)} of {columns}"
        now = (clean(title), subtitle)
        if now != (str(self.border_title), str(self.border_subtitle)):  # setting them paints everything anew
            self.border_title, self.border_subtitle = Content(now[0]), Content(now[1])

    # ---- cursor ---------------------------------------------------------------------------------------------------

    def step(self, across: int, down: int) -> None:
        """One or more to the side, or up and down."""
        before = self.model.where
        self.model.step(across, down, side_by_side=self.side_by_side)
        self._after_move(before)

    def jump(self, to_end: bool) -> None:
        before = self.model.where
        self.model.jump(to_end, side_by_side=self.side_by_side)
        self._after_move(before)

    def page(self, by: int) -> None:
        self.step(0, by * max(1, self._cards_in_view - 1))

    def _after_move(self, before: tuple[int, int, bool]) -> None:
        now = self.model.where
        if now == before:
            return
        scrolled = self._keep_in_view()
        if scrolled or not self.side_by_side:
            self.refresh()
        else:
            self._refresh_spot(*before[:2])
            self._refresh_spot(*now[:2])
        if scrolled:
            self._say_count()
        self._tell()

    def _tell(self) -> None:
        column, card = self.model.column, self.model.cursor_card
        now = (column.key if column else None, card.key if card else None)
        if now != self._last_told:
            self._last_told = now
            self.post_message(self.Moved())

    # ---- geometry -------------------------------------------------------------------------------------------------

    @property
    def _columns_in_view(self) -> int:
        return max(1, (self.size.width + 1) // (COLUMN_WIDTH + 1))

    @property
    def _column_width(self) -> int:
        count = min(self._columns_in_view, max(1, len(self.model.shown)))
        return max(10, min(COLUMN_WIDTH_MOST, (self.size.width - count + 1) // count))

    def _width_of(self, at: int) -> int:
        """The width of a column; what does not divide goes to the last one in view."""
        rest = self.size.width + 1 - self._columns_in_view * (self._column_width + 1)
        is_last = at - self._first == self._columns_in_view - 1
        return self._column_width + (rest if is_last and self._column_width < COLUMN_WIDTH_MOST else 0)

    @property
    def _cards_in_view(self) -> int:
        return max(1, self.size.height - (self.model.head_height + 1 if self.side_by_side else 1))

    def _keep_in_view(self) -> bool:
        """Scroll so that the cursor is seen; whether that moved anything."""
        column, size = self.model.column, self._cards_in_view
        if column is None:
            return False
        before = (self._first, self._tops.get(column.key, 0))
        if self.side_by_side:
            in_view = self._columns_in_view
            most = max(0, len(self.model.shown) - in_view)
            self._first = window(self.model.at, min(self._first, most), in_view)
            top = min(before[1], max(0, len(column.cards) - size))
            self._tops[column.key] = 0 if self.model.card == HEAD else window(self.model.card, top, size)
        else:
            most = max(0, self.model.line_count - size)
            self._first = window(self.model.cursor_line, min(self._first, most), size)
        return before != (self._first, self._tops.get(column.key, 0))

    def on_resize(self) -> None:
        self._first = 0
        self.model.opened = self.model.card != HEAD
        self._drawn_anew()

    def _refresh_spot(self, at: int, card: int) -> None:
        """Paint one card or head again."""
        x = (at - self._first) * (self._column_width + 1)
        height = self.model.head_height
        if card == HEAD:
            self.refresh(Region(x, 0, self._width_of(at), height))
        elif 0 <= at < len(self.model.shown):
            y = height + 1 + card - self._tops.get(self.model.shown[at].key, 0)
            self.refresh(Region(x, y, self._width_of(at), 1))

    def notify_style_update(self) -> None:
        self._styles_of.clear()
        super().notify_style_update()

    def watch_has_focus(self, _has_focus: bool) -> None:
        super().watch_has_focus(_has_focus)
        self.refresh()

    # ---- drawing --------------------------------------------------------------------------------------------------

    def _tone(self, tone: str) -> Style:
        if tone not in self._styles_of:
            base = self.rich_style
            own = self.get_component_rich_style(f"board--{tone}", partial=True) if tone else Style()
            self._styles_of[tone] = base + own
        return self._styles_of[tone]

    def _ground(self, is_cursor: bool) -> Style | None:
        return self.get_component_rich_style("board--cursor", partial=True) if is_cursor and self.has_focus else None

    def _segments(self, cells: Iterable[Cell], width: int, ground: Style | None = None) -> list[Segment]:
        """Cells cut to a width and filled up to it."""
        found, room = [], width
        for cell in cells:
            text = fit(clean(cell.text), room)
            if text:
                found.append(Segment(text, self._on(cell.tone, ground)))
            room -= cell_len(text)
        if room > 0:
            found.append(Segment(" " * room, self._on("", ground)))
        return found

    def _on(self, tone: str, ground: Style | None) -> Style:
        return self._tone(tone) if ground is None else self._tone(tone) + ground

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if not self.model.shown:
            return Strip(self._segments(self._empty_cells(y, width), width))
        self.painted_lines += 1
        if not self.side_by_side:
            return Strip(self._line(y, width))
        segments: list[Segment] = []
        last = min(len(self.model.shown), self._first + self._columns_in_view)
        for at in range(self._first, last):
            if at > self._first:
                segments.append(Segment("│", self._tone("line")))
            segments += self._column_line(at, y, self._width_of(at))
        return Strip(segments).adjust_cell_length(width, self._tone(""))

    def _empty_cells(self, y: int, width: int) -> Line:
        if self.filter_text and self.model.all_columns:
            words = ["Nothing matches the filter.", "Press esc to clear it."]
        else:
            paragraphs = self.empty.split("\n")
            words = [part for text in paragraphs for part in textwrap.wrap(text, max(10, width - 4)) or [""]]
        return (Cell("  " + words[y - 1] if 1 <= y <= len(words) else "", "dim"),)

    def _column_line(self, at: int, y: int, width: int) -> list[Segment]:
        column, height = self.model.shown[at], self.model.head_height
        if y < height:
            is_cursor = at == self.model.at and self.model.card == HEAD
            bar = Cell("▌" if is_cursor else " ", "title")
            cells = column.head[y] if y < len(column.head) else ()
            return self._segments((bar, *cells), width, self._ground(is_cursor))
        top = self._tops.get(column.key, 0)
        if y > height:
            return self._card_line(at, top + y - height - 1, width)
        shown, count = self._cards_in_view, len(column.cards)
        of = f" {top + 1}–{min(top + shown, count)} of {count}" if count > shown else ""
        words = f"─ {column.rule}{of} "
        return self._segments((Cell(words + "─" * max(0, width - cell_len(words)), "line"),), width)

    def _card_line(self, at: int, number: int, width: int, indent: str = "") -> list[Segment]:
        cards = self.model.shown[at].cards
        if number >= len(cards):
            return self._segments((), width)
        card: Card = cards[number]
        is_cursor = at == self.model.at and number == self.model.card
        is_marked = card.key in self.model.marked
        right = f" {clean(card.right.text)}" if card.right.text else ""
        name_width = max(1, width - 3 - len(indent) - cell_len(card.mark.text) - cell_len(right))
        cells = (
            Cell("▌" if is_cursor else " ", "title"),
            Cell("*" if is_marked else " ", "key"),
            Cell(indent),
            card.mark,
            Cell(" "),
            Cell(aligned(clean(card.name.text), name_width, False), "key" if is_marked else card.name.tone),
            Cell(right, card.right.tone),
        )
        return self._segments(cells, width, self._ground(is_cursor))

    # ---- one line for each column ---------------------------------------------------------------------------------

    def _widths(self, width: int) -> list[int]:
        room = width - 2 - sum(one.width + 1 for one in self._fields)
        flex = sum(one.flex for one in self._fields)
        return [one.width + (room * one.flex // flex if flex and room > 0 else 0) for one in self._fields]

    def _line(self, y: int, width: int) -> list[Segment]:
        widths = self._widths(width)
        if y == 0:
            titles = zip(self._fields, widths, strict=True)
            cells = [Cell(f"{aligned(field.title, size, field.right)} ", "dim") for field, size in titles]
            return self._segments((Cell("  "), *cells), width)
        spot = self.model.spot(self._first + y - 1)
        if spot is None:
            return self._segments((), width)
        at, card = spot
        if card != HEAD:
            return self._card_line(at, card, width, "  ")
        column = self.model.shown[at]
        is_cursor = at == self.model.at and self.model.card == HEAD
        fields = [
            Cell(f"{aligned(clean(cell.text), size, field.right)} ", cell.tone)
            for cell, field, size in zip(column.fields, self._fields, widths, strict=False)
        ]
        marked = self.model.marked and any(one.key in self.model.marked for one in column.cards)
        bar = (Cell("▌" if is_cursor else " ", "title"), Cell("*" if marked else " ", "key"))
        return self._segments((*bar, *fields), width, self._ground(is_cursor))

    # ---- mouse ----------------------------------------------------------------------------------------------------

    def on_click(self, event: Click) -> None:
        offset = event.get_content_offset(self)
        spot = self._spot_at(offset.x, offset.y) if offset is not None and self.model.shown else None
        if spot is None:
            return
        before = self.model.where
        self.model.opened = self.model.opened and spot[0] == self.model.at
        self.model.at, self.model.card = spot
        self._after_move(before)
        if event.chain == 2:
            self.post_message(self.Chosen())

    def _spot_at(self, x: int, y: int) -> tuple[int, int] | None:
        if not self.side_by_side:
            return self.model.spot(self._first + y - 1) if y else None
        at, height = self._first + x // (self._column_width + 1), self.model.head_height
        if at >= len(self.model.shown):
            return None
        column = self.model.shown[at]
        number = y - height - 1 + self._tops.get(column.key, 0)
        return (at, HEAD if y <= height else min(number, len(column.cards) - 1))
