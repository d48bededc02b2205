"""Several views in one place: a line of titles, one of them shown; h/l and the arrows go from one to the next."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import ContentSwitcher

from kferry.ui.cells import Cell
from kferry.ui.widgets.chrome import Plain


class Sections(Vertical):
    """Children by name and title; their ids are the names."""

    DEFAULT_CSS = """
    Sections { height: 1fr; }
    Sections > Plain { height: 1; padding: 0 1; }
    Sections > ContentSwitcher { height: 1fr; }
    """

    class Opened(Message):
        """Another section is shown."""

    def __init__(self, *sections: tuple[str, Widget], id: str | None = None) -> None:
        super().__init__(id=id)
        self._titles = [title for title, _ in sections]
        self._widgets = [widget for _, widget in sections]
        self.at = 0

    def compose(self) -> ComposeResult:
        yield Plain(classes="section-titles")
        with ContentSwitcher(initial=self._widgets[0].id):
            yield from self._widgets

    def on_mount(self) -> None:
        self._draw()

    @property
    def current(self) -> Widget:
        return self._widgets[self.at]

    def _draw(self) -> None:
        cells: list[Cell] = []
        for at, title in enumerate(self._titles):
            if at:
                cells.append(Cell("  ·  ", "dim"))
            cells.append(Cell(f"▸{title}", "title") if at == self.at else Cell(f" {title}", "dim"))
        cells.append(Cell("    ← → change", "dim"))
        self.query_one(".section-titles", Plain).show([tuple(cells)])

    def step(self, by: int) -> None:
        self.open((self.at + by) % len(self._widgets))

    def open(self, at: int) -> None:
        self.at = at
        self.query_one(ContentSwitcher).current = self.current.id
        self._draw()
        inside = (self.current, *self.current.query("*"))
        target = next((widget for widget in inside if widget.can_focus), None)
        if target is not None:
            target.focus()
        self.post_message(self.Opened())
