"""Choosing the columns of a table, and their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from kferry.client.sanitize import clean
from kferry.ui.cells import Cell
from kferry.ui.modals.base import Dialog
from kferry.ui.widgets.keyed_table import Column, KeyedTable, Row


class ColumnsDialog(Dialog[tuple[str, ...] | None]):
    """Returns the names that are shown, in their order; () stands for those that kferry shows by itself."""

    DEFAULT_CSS = "ColumnsDialog KeyedTable { height: 22; max-height: 80%; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,x", "show_or_hide", "Show or hide", show=False),
        Binding("K,shift+up", "shift(-1)", "Earlier", show=False),
        Binding("J,shift+down", "shift(1)", "Later", show=False),
        Binding("r", "usual", "As usual", show=False),
        Binding("enter", "accept", "Use them", show=False),
    ]
    AUTO_FOCUS = "KeyedTable"

    def __init__(self, title: str, known: Sequence[tuple[str, str, str]], shown: Sequence[str]) -> None:
        """`known`: name, title and what it means; the first one always stays."""
        super().__init__()
        self._title = title
        self._words = {name: (words, help_) for name, words, help_ in known}
        self._first = known[0][0]
        self._order = [*shown, *(name for name, _, _ in known if name not in shown)]
        self._shown = set(shown)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(clean(self._title))
            dialog.border_subtitle = Content("space: show or hide · J K: move · r: as usual · enter: use them")
            columns = (Column("", 3), Column("column", 12), Column("what it is", 20, flex=1))
            yield KeyedTable("Columns", columns, sortable=False)

    def on_mount(self) -> None:
        self._draw()

    def _draw(self) -> None:
        rows = []
        for name in self._order:
            words, help_ = self._words[name]
            is_shown = name in self._shown
            rows.append(Row(name, (Cell("[×]" if is_shown else "[ ]"), Cell(words, "strong"), Cell(help_, "dim"))))
        self.query_one(KeyedTable).set_rows(rows)

    def action_scroll_part(self, how: str) -> None:
        table = self.query_one(KeyedTable)
        if how in ("home", "end"):
            table.action_jump(int(how == "end"))
        else:
            table.action_move({"down": 1, "up": -1, "page_down": 8, "page_up": -8}[how])

    def action_show_or_hide(self) -> None:
        name = self.query_one(KeyedTable).cursor_key
        if name is not None and name != self._first:  # without its name a row is nothing
            self._shown ^= {name}
            self._draw()

    def action_shift(self, by: int) -> None:
        name = self.query_one(KeyedTable).cursor_key
        if name is None or name == self._first:
            return
        at = self._order.index(name)
        to = max(1, min(len(self._order) - 1, at + by))
        self._order.insert(to, self._order.pop(at))
        self._draw()

    def action_usual(self) -> None:
        self.dismiss(())

    def action_accept(self) -> None:
        self.dismiss(tuple(name for name in self._order if name in self._shown))
