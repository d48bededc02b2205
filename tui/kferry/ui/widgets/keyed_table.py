"""A table of keyed rows that draws only the lines in view and repaints only those that changed.

Rows come from a source by number and are made when they are drawn, so a table of 50,000 rows costs as much to open,
scroll and refresh as one of 50. Filtering and sorting of many rows goes on between keys. Column widths are fixed by the
columns and the width of the terminal, never measured from the text. Text is never markup.
"""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.events import Click
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from kferry.client import filters
from kferry.client.sanitize import clean
from kferry.ui.cells import TONES, Cell
from kferry.ui.widgets.table_rows import (
    Column,
    PlainSource,
    Row,
    ShownRows,
    Sorting,
    Source,
    arranged,
    at_once,
    sort_key,
)

__all__ = ["Column", "KeyedTable", "Row", "sort_key"]

# Up to this many rows are filtered and sorted in one go: a few milliseconds.
AT_ONCE_ROWS = 1500


class KeyedTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows with a cursor, a filter and an order."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"keyed-table--head", "keyed-table--cursor"} | {
        f"keyed-table--{tone}" for tone in TONES if tone
    }

    DEFAULT_CSS = """
    KeyedTable {
        height: 1fr; border: round $border-blurred; border-title-color: $text-muted;
        border-subtitle-color: $text-muted; background: $background; padding: 0;
        scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; overflow-x: hidden;
        &:focus { border: round $border; border-title-color: $text-primary; }
        &.-wrong { border-subtitle-color: $text-error; }
        & > .keyed-table--head { color: $text-muted; text-style: bold; }
        & > .keyed-table--cursor { background: $surface-lighten-1; text-style: bold; }
        & > .keyed-table--ok { color: $text-success; }
        & > .keyed-table--warn { color: $text-warning; }
        & > .keyed-table--bad { color: $text-error; text-style: bold; }
        & > .keyed-table--busy { color: $text-primary; }
        & > .keyed-table--dim { color: $text-muted; }
        & > .keyed-table--strong { text-style: bold; }
        & > .keyed-table--key { color: $text-accent; text-style: bold; }
        & > .keyed-table--title { color: $text-primary; text-style: bold; }
    }
    """

    class Told(Message):
        """Something about one row of a table."""

        def __init__(self, table: KeyedTable, key: str) -> None:
            super().__init__()
            self.table = table
            self.key = key

        @property
        def control(self) -> KeyedTable:
            return self.table

    class Chosen(Told):
        """Enter on a row."""

    class Moved(Told):
        """The cursor is on another row."""

    class Rearranged(Told):
        """The filter or the order was changed."""

    def __init__(
        self,
        title: str,
        columns: Sequence[Column],
        *,
        empty: str = "",
        id: str | None = None,
        markers: bool = True,
        sortable: bool = True,
    ) -> None:
        super().__init__(id=id)
        self._title = title
        self.columns = tuple(columns)
        self.empty = empty
        self.markers = markers
        self.sortable = sortable
        self.cursor = 0
        self.filter_text = ""
        self.filter_error = ""
        self.sorting: Sorting | None = None
        self._filter = filters.Filter()
        self._source: Source = PlainSource((), self.columns)
        self.shown = ShownRows(self._source, None)
        self._more = False  # rows are still being read
        self._to_top = False  # the order was changed: the cursor goes to the first row
        self._arranging: asyncio.Task[None] | None = None
        self._drawn: dict[int, Row] = {}  # by position: what stands on the screen
        self._wanted: str | None = None
        self._said_in_border = (title, "")
        self._widths: list[tuple[int, Column, int]] = []
        self._left_out = 0
        self._styles_of: dict[str, Style] = {}
        self._last_told: str | None = None
        self.painted_lines = 0  # how many body lines were ever drawn; tests and benchmarks read it
        self.border_title = Content(title)

    # ---- data -----------------------------------------------------------------------------------------------------

    @property
    def total(self) -> int:
        """How many rows there are, shown or not."""
        return len(self._source)

    @property
    def all_rows(self) -> Sequence[Row]:
        """Every row, shown or not; each is made when it is asked for."""
        return ShownRows(self._source, None)

    @property
    def cursor_key(self) -> str | None:
        return self.shown.key(self.cursor) if self.cursor < len(self.shown) else None

    def set_rows(self, rows: Sequence[Row], empty: str | None = None) -> None:
        """Show these rows; lines that look as before are not painted again."""
        new = tuple(rows)
        same = isinstance(self._source, PlainSource) and new == self._source.rows
        self.set_source(PlainSource(new, self.columns) if not same else self._source, empty, changed=not same)

    def set_source(self, source: Source, empty: str | None = None, *, changed: bool = True, more: bool = False) -> None:
        """Show the rows of this source. `changed` False: they are those of the last time; `more`: some are to come."""
        if empty is not None and empty != self.empty:
            self.empty = empty
            if not len(source):
                self.refresh()
        if changed or more != self._more:
            self._source, self._more = source, more
            self._arrange()

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Other columns for the same rows; the source must know them."""
        if tuple(columns) != self.columns:
            self.columns = tuple(columns)
            if self.sorting is not None and self.sorting.name not in [column.called for column in self.columns]:
                self.sorting = None
            self._measure()
            self._say_count()
            self.refresh()

    def set_filter(self, text: str) -> None:
        """Keep the rows that fulfil it (client/filters.py). What cannot be understood is said in the border."""
        if text == self.filter_text:
            return
        self.filter_text = text
        wanted, self.filter_error = filters.parse_as_typed(text, self._source.fields)
        if wanted != self._filter:
            self._filter = wanted
            self._arrange()
        else:
            self._say_count()
        self.post_message(self.Rearranged(self, ""))

    @property
    def cursor_text(self) -> str:
        """The name in the row under the cursor, as it is shown."""
        if self.cursor >= len(self.shown):
            return ""
        cells = self.shown[self.cursor].cells
        return clean(next((cell.text for cell in cells if cell.tone in ("strong", "title")), cells[0].text))

    # ---- order ----------------------------------------------------------------------------------------------------

    @property
    def sort_names(self) -> list[str]:
        """What can be sorted by."""
        return [column.called for column in self.columns if column.title] if self.sortable else []

    def sort_next(self) -> str:
        """Sort by the next column, after the last one by none; returns what is said of it."""
        names = self.sort_names
        at = names.index(self.sorting.name) + 1 if self.sorting is not None and self.sorting.name in names else 0
        return self.sort_by(names[at] if at < len(names) else None)

    def sort_by(self, name: str | None, descending: bool = False) -> str:
        """Sort by a column, or by none; returns what is said of it."""
        if not self.sortable:
            return "The order means something here; it isn't sorted."
        self.sorting = None if name is None else Sorting(name, descending)
        self._to_top = True  # who sorts wants to see what comes first
        self._arrange()
        self.refresh()
        self.post_message(self.Rearranged(self, ""))
        if name is None:
            return "In their own order."
        return f"Sorted by {self.title_of(name)}{', descending' if descending else ''}."

    def sort_reverse(self) -> str:
        """The other way round; what isn't sorted yet is sorted by its first column."""
        if self.sorting is None:
            return self.sort_by(next(iter(self.sort_names), None), descending=True)
        return self.sort_by(self.sorting.name, not self.sorting.descending)

    def title_of(self, name: str) -> str:
        return next((column.title for column in self.columns if column.called == name), name)

    def _arrange(self) -> None:
        """Filter and sort anew: at once where that is quick, else between the keys of the operator."""
        if self._arranging is not None:
            self._arranging.cancel()
            self._arranging = None
        work = arranged(self._source, self._filter, self.sorting)
        source = self._source
        if (not self._filter and self.sorting is None) or len(source) <= AT_ONCE_ROWS or not self.is_attached:
            self._show(ShownRows(source, at_once(work)))
            return

        async def between_keys() -> None:
            try:
                while True:
                    next(work)
                    await asyncio.sleep(0)
            except StopIteration as over:
                self._arranging = None
                self._show(ShownRows(source, over.value))

        self._arranging = asyncio.create_task(between_keys())
        self._say_count()

    @property
    def is_arranging(self) -> bool:
        """Whether many rows are still being filtered or sorted."""
        return self._arranging is not None

    def on_unmount(self) -> None:
        if self._arranging is not None:
            self._arranging.cancel()

    def _show(self, shown: ShownRows) -> None:
        before, old_cursor, key = len(self.shown), self.cursor, self.cursor_key
        self.shown = shown
        at = 0 if self._to_top else self._find(key) if key is not None else None
        self.cursor = at if at is not None else max(0, min(self.cursor, len(shown) - 1))
        self._say_count()
        if before != len(shown):
            self._measure()
        if not before or not len(shown):
            self.refresh()
        else:
            top = int(self.scroll_offset.y)
            for position in range(top, top + self._body_height):
                row = shown[position] if position < len(shown) else None
                moved = old_cursor != self.cursor and position in (old_cursor, self.cursor)
                if moved or self._drawn.get(position) != row:
                    self._refresh_row(position)
        if at is not None and at != old_cursor and (before != len(shown) or self.sorting is not None):
            self._keep_in_view()
        if self._to_top:
            self._to_top = False
            self._keep_in_view()
        if self._wanted is not None and self.total:
            wanted_key = self._wanted
            if self.select(wanted_key) or not self._more:
                self._wanted = None
        self._tell()

    def _find(self, key: str) -> int | None:
        """The position of a row. Mostly it is where it was, and rows that are added come after it."""
        if self.cursor < len(self.shown) and self.shown.key(self.cursor) == key:
            return self.cursor
        for number in range(len(self._source)):
            if self._source.key(number) == key:
                return self.shown.position(number)
        return None

    def _say_count(self) -> None:
        """Title, count, filter and its errors in the border. Content, not str: they may hold text of clusters."""
        shown, total = len(self.shown), int(getattr(self._source, "counted", self.total))
        more = "+" if self._more else ""
        title = f"{self._title} · {total:,}{more}" if total else self._title
        notes = []
        if self.filter_text:
            title = f"{self._title} · {shown:,} of {total:,}{more}"
            notes.append(f"/{clean(self.filter_text)}  (esc clears)")
        if self.filter_error:
            notes = [f"✗ {clean(self.filter_error)}"]
        elif self.is_arranging:
            notes.append("looking…")
        elif self._left_out:
            notes.append(f"{self._left_out} columns don't fit")
        said = (title, " · ".join(notes))
        if said != self._said_in_border:  # setting them paints the whole table anew
            self._said_in_border = said
            self.set_class(bool(self.filter_error), "-wrong")
            self.border_title = Content(clean(title))
            self.border_subtitle = Content(said[1])

    def retitle(self, title: str) -> None:
        if title != self._title:
            self._title = title
            self._say_count()

    # ---- geometry -------------------------------------------------------------------------------------------------

    @property
    def _body_height(self) -> int:
        return max(1, self.scrollable_content_region.height - 1)

    def _measure(self) -> None:
        # room for the scroll bar is always kept, so that columns don't move when it comes
        width = max(10, self.scrollable_content_region.width - (0 if self.show_vertical_scrollbar else 1))
        own_width = self.outer_size.width + 2  # as if it filled the terminal, also where a pane stands beside it
        wanted = [(at, column) for at, column in enumerate(self.columns) if column.from_width <= own_width]
        room = width - (2 if self.markers else 0)
        picked: list[tuple[int, Column]] = []
        for at, column in wanted:
            if room >= column.width + 1 or not picked:
                room -= column.width + 1
                picked.append((at, column))
        self._left_out = len(wanted) - len(picked)
        flex = sum(column.flex for _, column in picked)
        sizes = []
        for at, column in picked:
            extra = room * column.flex // flex if flex and room > 0 else 0
            sizes.append((at, column, column.width + extra))
        self._widths = sizes
        # the head is drawn in the first line of the viewport, so the body scrolls one line further than its rows
        self.virtual_size = Size(width, len(self.shown) + 1)

    def on_resize(self) -> None:
        self._measure()
        self._say_count()
        self.refresh()
        self.call_after_refresh(self._keep_in_view)

    def notify_style_update(self) -> None:
        self._styles_of.clear()
        super().notify_style_update()

    def _refresh_row(self, at: int) -> None:
        y = at - int(self.scroll_offset.y) + 1
        region = self.scrollable_content_region
        if 1 <= y < region.height:
            self.refresh(Region(0, y, region.width, 1))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self._drawn.clear()
            self.refresh()

    # ---- drawing --------------------------------------------------------------------------------------------------

    def _tone(self, tone: str) -> Style:
        if tone not in self._styles_of:
            base = self.rich_style
            self._styles_of[tone] = (
                base if not tone else self.get_component_rich_style(f"keyed-table--{tone}", partial=True)
            )
        return self._styles_of[tone]

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if not self._widths:
            self._measure()
        if y == 0 and (len(self.shown) or not self.empty):
            return self._head(width)
        if not len(self.shown):
            return self._empty_line(y, width)
        at = y - 1 + int(self.scroll_offset.y)
        if at >= len(self.shown):
            self._drawn.pop(at, None)
            return Strip.blank(width, self.rich_style)
        self.painted_lines += 1
        row = self._drawn[at] = self.shown[at]
        return self._body(row, at == self.cursor and self.markers, width)

    def _head(self, width: int) -> Strip:
        style = self.rich_style + self._tone("head")
        pieces = ["  "] if self.markers else []
        for _, column, size in self._widths:
            title = column.title
            if self.sorting is not None and self.sorting.name == column.called:
                title = _fit(title, max(0, min(cell_len(title), size - 1)), False)
                title += "↓" if self.sorting.descending else "↑"
            pieces.append(_fit(title, size, column.right) + " ")
        return Strip([Segment("".join(pieces), style)]).adjust_cell_length(width, style)

    def _body(self, row: Row, is_cursor: bool, width: int) -> Strip:
        base = self.rich_style
        ground = self._tone("cursor") if is_cursor and self.has_focus else Style()
        segments = [Segment("▌ " if is_cursor else "  ", base + ground + self._tone("title"))] if self.markers else []
        for at, column, size in self._widths:
            cell = row.cells[at] if at < len(row.cells) else Cell("")
            style = base + (self._tone(cell.tone) if cell.tone else Style()) + ground
            segments.append(Segment(_fit(cell.text, size, column.right), style))
            segments.append(Segment(" ", base + ground))
        return Strip(segments).adjust_cell_length(width, base + ground)

    def _empty_line(self, y: int, width: int) -> Strip:
        if self.filter_text and self.total:
            words = ["Nothing matches the filter.", "Press esc to clear it."]
        else:
            words = [piece for text in self.empty.split("\n") for piece in _wrap(text, max(10, width - 4))]
        style = self.rich_style + self._tone("dim")
        text = "  " + words[y - 1] if 1 <= y <= len(words) else ""
        return Strip([Segment(text, style)]).adjust_cell_length(width, style)

    # ---- cursor ---------------------------------------------------------------------------------------------------

    def move_to(self, at: int) -> None:
        at = max(0, min(at, len(self.shown) - 1))
        if not len(self.shown) or at == self.cursor:
            return
        old, self.cursor = self.cursor, at
        self._refresh_row(old)
        self._refresh_row(at)
        self._keep_in_view()
        self._tell()

    def select(self, key: str) -> bool:
        """Put the cursor on the row of that key; False where it is not shown."""
        position = self._find(key)
        if position is not None:
            self._wanted = None
            self.move_to(position)
            return True
        self._wanted = key if not self.total or self._more or self.is_arranging else None  # as soon as it is there
        return False

    def _keep_in_view(self) -> None:
        top, height = int(self.scroll_offset.y), self._body_height
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, immediate=True)

    def _tell(self) -> None:
        key = self.cursor_key
        if key != self._last_told:
            self._last_told = key
            if key is not None:
                self.post_message(self.Moved(self, key))

    def action_move(self, by: int) -> None:
        self.move_to(self.cursor + by)

    def action_page(self, by: int) -> None:
        self.move_to(self.cursor + by * max(1, self._body_height - 1))

    def action_jump(self, end: int) -> None:
        self.move_to(len(self.shown) - 1 if end else 0)

    def action_choose(self) -> None:
        if self.cursor_key is not None:
            self.post_message(self.Chosen(self, self.cursor_key))

    def on_focus(self) -> None:
        self._refresh_row(self.cursor)

    def on_blur(self) -> None:
        self._refresh_row(self.cursor)

    def on_click(self, event: Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y < 1:
            self._sort_at(offset.x)
            return
        at = offset.y - 1 + int(self.scroll_offset.y)
        if at < len(self.shown):
            self.move_to(at)
            if event.chain == 2:
                self.action_choose()

    def _sort_at(self, x: int) -> None:
        """A click on a title sorts by it, and a second one the other way round."""
        begin = 2 if self.markers else 0
        for _, column, size in self._widths:
            if begin <= x < begin + size and column.called in self.sort_names:
                again = self.sorting is not None and self.sorting.name == column.called
                self.sort_by(column.called, again and self.sorting is not None and not self.sorting.descending)
            begin += size + 1


def _fit(text: str, width: int, right: bool) -> str:
    """`text` in exactly `width` cells. A cut is shown by an ellipsis; numbers are right-aligned and cut never hides
    that there was more."""
    text = clean(text)
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, max(0, width - 1)) + "…" if width else ""
    pad = " " * (width - length)
    return pad + text if right else text + pad


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width) or [""]
