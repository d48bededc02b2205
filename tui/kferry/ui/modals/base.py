"""Dialogs: keys of their own, and the screen below stands still while one is open."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widget import Widget

T = TypeVar("T")

SCROLL_KEYS: tuple[tuple[str, str], ...] = (
    ("j,down", "down"),
    ("k,up", "up"),
    ("g,home", "home"),
    ("G,end", "end"),
    ("ctrl+d,pagedown", "page_down"),
    ("ctrl+u,pageup", "page_up"),
)


class Dialog(ModalScreen[T], Generic[T]):
    """Esc closes it without doing anything; the scroll keys move its `.scrolls` part."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", show=False),
        *(Binding(keys, f"scroll_part('{how}')", how, show=False) for keys, how in SCROLL_KEYS),
    ]
    AUTO_FOCUS = "Input"

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_scroll_part(self, how: str) -> None:
        parts = self.query(".scrolls")
        if parts:
            part: Widget = parts.first()
            {
                "down": part.scroll_down,
                "up": part.scroll_up,
                "home": part.scroll_home,
                "end": part.scroll_end,
                "page_down": part.scroll_page_down,
                "page_up": part.scroll_page_up,
            }[how](animate=False)
