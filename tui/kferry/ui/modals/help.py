"""Help for where you stand: what the screen shows, and every key that works on it, from the registry."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from kferry.client import actions
from kferry.ui.cells import Cell, Line, line
from kferry.ui.modals.base import Dialog
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.chrome import Plain, Scroll


def help_lines(screen: KferryScreen, read_only: bool) -> list[Line]:
    lines: list[Line] = [line(" ".join(screen.HELP.split()))]
    own = actions.for_screen(screen.NAME, with_global=False)
    rest = [action for action in actions.for_screen(screen.NAME) if action.scope == actions.GLOBAL]
    for title, group in ((f"On {screen.CRUMB}", own), ("Everywhere", rest)):
        if not group:
            continue
        lines += [line(""), line(Cell(title, "title"))]
        for action in group:
            keys = " ".join(actions.key_label(key) for key in action.keys) or "palette"
            dead = read_only and action.changes
            lines.append(
                line(
                    Cell(f"{keys:<9} ", "dim" if dead else "key"),
                    Cell(f"{action.title:<22} ", "dim" if dead else ""),
                    Cell(action.help + (" (read-only session)" if dead else ""), "dim"),
                )
            )
    lines += [
        line(""),
        line(Cell("Signs", "title")),
        line("  ✓ done  ● running  ◐ at work  ▲ needs you  ✗ failed  ○ to do  ? unknown  – not measured"),
    ]
    return lines


class HelpDialog(Dialog[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,question_mark,f1,enter", "leave", "Close", show=False)]

    def __init__(self, screen: KferryScreen) -> None:
        super().__init__()
        self._about = screen

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(f"Help: {self._about.CRUMB}")
            dialog.border_subtitle = Content("j k: scroll · esc: close")
            with Scroll(classes="scrolls", can_focus=False):
                yield Plain(id="help-text")

    def on_mount(self) -> None:
        app = self._about.app
        self.query_one("#help-text", Plain).show(help_lines(self._about, app.session.read_only))
