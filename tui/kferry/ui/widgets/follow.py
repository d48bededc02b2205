"""A part that scrolls and stays at its end while lines are added, until the operator scrolls away from it."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.content import Content

from kferry.ui.cells import Line
from kferry.ui.widgets.chrome import Plain, Scroll


class FollowScroll(Scroll, can_focus=True, inherit_bindings=False):
    """Follows its end where `show` says so. Scrolling up stops that, scrolling to the end (G) begins it again."""

    def __init__(self, title: str, *, id: str) -> None:
        super().__init__(id=id, classes="panel scrolls")
        self._title = title
        self._wanted = False  # whether the content is such that its end is what matters
        self.at_end = True  # whether the operator has left it there

    def compose(self) -> ComposeResult:
        yield Plain()

    def on_mount(self) -> None:
        self._say()

    def show(self, lines: Sequence[Line], *, follow: bool) -> None:
        """New lines. `follow`: keep the end in view unless the operator has scrolled away."""
        self._wanted = follow
        self.query_one(Plain).show(lines)
        self._say()
        if follow and self.at_end:
            self.call_after_refresh(self._to_end)

    def restart(self) -> None:
        """Other content: begin anew, at its top, and follow it if it is of that kind."""
        self.at_end = True
        self.scroll_home(animate=False, immediate=True)
        self.at_end = True

    def _to_end(self) -> None:
        if self._wanted and self.at_end:
            self.scroll_end(animate=False, immediate=True)

    def on_show(self) -> None:
        self.call_after_refresh(self._to_end)

    def on_resize(self) -> None:
        self.call_after_refresh(self._to_end)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self.size.height and round(old_value) != round(new_value):
            self.at_end = new_value >= self.max_scroll_y - 1
            self._say()

    def _say(self) -> None:
        words = ""
        if self._wanted:
            words = "follows" if self.at_end else "stands still: G follows again"
        self.border_title = Content(self._title)
        self.border_subtitle = Content(words)
