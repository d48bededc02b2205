"""Small questions: a line of text, or one of several choices."""

from __future__ import annotations

from collections.abc import Sequence
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


class TextDialog(Dialog[str | None]):
    """Asks for one line of text; returns it, or None. An empty line is not an answer."""

    def __init__(self, title: str, lines: Sequence[Line], placeholder: str, value: str = "") -> None:
        super().__init__()
        self._title = title
        self._lines = tuple(lines)
        self._placeholder = placeholder
        self._value = value

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(clean(self._title))
            dialog.border_subtitle = Content("enter: go on · esc: leave it")
            yield Plain(id="words", classes="scrolls")
            yield Input(placeholder=self._placeholder, value=self._value)

    def on_mount(self) -> None:
        self.query_one("#words", Plain).show(self._lines)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())


class ChoiceDialog(Dialog[str | None]):
    """Asks for one of several; returns its key, or None."""

    DEFAULT_CSS = "ChoiceDialog KeyedTable { height: auto; min-height: 5; max-height: 14; margin-top: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,l,right", "choose", "Choose", show=False)]
    AUTO_FOCUS = "KeyedTable"

    def __init__(self, title: str, lines: Sequence[Line], choices: Sequence[tuple[str, str, str]]) -> None:
        super().__init__()
        self._title = title
        self._lines = tuple(lines)
        self._rows = tuple(Row(key, (Cell(name, "strong"), Cell(words, "dim"))) for key, name, words in choices)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(clean(self._title))
            dialog.border_subtitle = Content("enter: choose · esc: leave it")
            yield Plain(id="words")
            table = KeyedTable("Choices", (Column("", 16, flex=1), Column("", 20, flex=3)), sortable=False)
            table.styles.height = min(14, len(self._rows) + 3)
            yield table

    def on_mount(self) -> None:
        self.query_one("#words", Plain).show(self._lines or (line(""),))
        self.query_one(KeyedTable).set_rows(self._rows)

    def action_scroll_part(self, how: str) -> None:
        table = self.query_one(KeyedTable)
        if how in ("home", "end"):
            table.action_jump(int(how == "end"))
        else:
            table.action_move({"down": 1, "up": -1, "page_down": 8, "page_up": -8}[how])

    def action_choose(self) -> None:
        self.query_one(KeyedTable).action_choose()

    @on(KeyedTable.Chosen)
    def _chosen(self, event: KeyedTable.Chosen) -> None:
        self.dismiss(event.key)
