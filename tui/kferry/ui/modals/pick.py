"""Picking one of many by typing a part of its name; a name that is new can be an answer too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input

from kferry.client.sanitize import clean
from kferry.ui.cells import Cell, Line, line
from kferry.ui.modals.base import Dialog
from kferry.ui.widgets.chrome import Plain
from kferry.ui.widgets.keyed_table import Column, KeyedTable, Row

NEW = "\0new "  # stands before a name that was typed and is not there yet


class PickDialog(Dialog[str | None]):
    """Returns the key of a choice, `NEW` and the name typed where that may be made, or None.

    Letters go into the filter, arrows move; `new_words` says of a new name what it would make, or "" where it can't.
    """

    DEFAULT_CSS = """
    PickDialog KeyedTable { margin-top: 1; }
    PickDialog.-low KeyedTable { margin-top: 0; }
    PickDialog.-low Input { margin-top: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,ctrl+n", "scroll_part('down')", show=False, priority=True),
        Binding("up", "scroll_part('up')", show=False, priority=True),
        Binding("pagedown,ctrl+d", "scroll_part('page_down')", show=False, priority=True),
        Binding("pageup,ctrl+u", "scroll_part('page_up')", show=False, priority=True),
    ]

    def __init__(
        self,
        title: str,
        lines: Sequence[Line],
        choices: Sequence[tuple[str, str, str]],
        new_words: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__()
        self._title = title
        self._lines = tuple(lines)
        self._rows = tuple(Row(key, (Cell(name, "strong"), Cell(words, "dim"))) for key, name, words in choices)
        self._new_words = new_words

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(clean(self._title))
            dialog.border_subtitle = Content("type to find · ↑ ↓ · enter: choose · esc: leave it")
            yield Plain(id="words")
            yield Input(placeholder="a part of the name" + (", or a new one" if self._new_words else ""))
            yield KeyedTable("Choices", (Column("", 16, flex=2), Column("", 20, flex=3)), sortable=False)

    def on_mount(self) -> None:
        words = self.query_one("#words", Plain)
        words.show(self._lines)
        words.display = bool(self._lines)
        table = self.query_one(KeyedTable)
        table.can_focus = False
        table.styles.height = max(5, min(12, len(self._rows) + 4))
        self._show("")

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._show(event.value.strip())

    def _show(self, typed: str) -> None:
        rows = [row for row in self._rows if typed.lower() in row.cells[0].text.lower()]
        if typed and self._new_words is not None and all(row.key != typed for row in self._rows):
            words = self._new_words(typed)
            if words:
                rows.append(Row(NEW + typed, (Cell(typed, "title"), Cell(words))))
        self.query_one(KeyedTable).set_rows(rows, empty=self._empty(typed))

    def _empty(self, typed: str) -> str:
        if not self._rows and not typed:
            return "There is nothing to choose yet: type a new name." if self._new_words else "There is nothing."
        return "Nothing is called so" + (", and no batch can be." if self._new_words else ".")

    def action_scroll_part(self, how: str) -> None:
        self.query_one(KeyedTable).action_move({"down": 1, "up": -1, "page_down": 8, "page_up": -8}.get(how, 0))

    @on(Input.Submitted)
    def _submitted(self) -> None:
        key = self.query_one(KeyedTable).cursor_key
        if key is not None:
            self.dismiss(key)

    @on(KeyedTable.Chosen)
    def _chosen(self, event: KeyedTable.Chosen) -> None:
        self.dismiss(event.key)


def hint(text: str) -> tuple[Line, ...]:
    """One dim line above the choices."""
    return (line(Cell(text, "dim")),)
