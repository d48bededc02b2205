"""Looking at one thing in full: lines that scroll."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from kferry.client.sanitize import clean
from kferry.ui.cells import Line
from kferry.ui.modals.base import Dialog
from kferry.ui.widgets.chrome import Plain, Scroll


class LookDialog(Dialog[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,enter", "leave", "Close", show=False)]

    def __init__(self, title: str, lines: Sequence[Line]) -> None:
        super().__init__()
        self._title = title
        self._lines = tuple(lines)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(clean(self._title))
            dialog.border_subtitle = Content("j k: scroll · esc: close")
            with Scroll(classes="scrolls", can_focus=False):
                yield Plain(id="look-text")

    def on_mount(self) -> None:
        self.query_one("#look-text", Plain).show(self._lines)
