"""Asking before something changes: the plan of the dry run in view, and the name typed where it is dangerous."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input

from kferry.client.actions import Action
from kferry.client.sanitize import clean
from kferry.domain.errors import KferryError
from kferry.ui.cells import Cell, Line, line
from kferry.ui.modals.base import Dialog
from kferry.ui.rows import common
from kferry.ui.widgets.chrome import Plain, Scroll

_MARKS = {
    "create": ("+", "ok"),
    "change": ("±", "warn"),
    "delete": ("−", "bad"),
    "present": ("=", "dim"),
    "drift": ("≠", "warn"),
    "run": ("▸", "busy"),
}


def plan_lines(plan: Mapping[str, Any]) -> list[Line]:
    """A dry run's plan: sentences, steps, and each change with what it was and will be."""
    lines: list[Line] = [line(str(words)) for words in plan.get("words", ())]
    steps = plan.get("steps", ())
    if steps:
        lines += [line(""), line(Cell("steps", "title"))]
        lines += [line(Cell(f"{number:>2} ", "dim"), str(title)) for number, title in enumerate(steps, 1)]
    changes = plan.get("changes", ())
    lines += [line(""), line(Cell(f"changes · {len(changes)}", "title"))]
    lines += [_change_line(change) for change in changes] or [line(Cell("none: everything is as it should be", "dim"))]
    return lines


def _change_line(change: Mapping[str, Any]) -> Line:
    mark, tone = _MARKS.get(str(change.get("action")), ("?", "warn"))
    key = f" {change['key']}" if change.get("key") else ""
    cells = [
        Cell(f"{mark} {change.get('action', '?')!s:<8}", tone),
        Cell(f"{change.get('scope', '')} {change.get('resource', '')} ".replace("_", " "), "dim"),
        Cell(f"{change.get('name', '')}{key}", "strong"),
    ]
    before, after = change.get("before"), change.get("after")
    if before is not None or after is not None:
        was = "nothing" if before is None else before
        cells.append(Cell(f"  {was} → {'nothing' if after is None else after}", "dim"))
    return tuple(cells)


class ConfirmDialog(Dialog[str | None]):
    """Returns the hash of the plan that was confirmed ("" where there is none), or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,y", "confirm", "Do it", show=False),
        Binding("n", "leave", "Leave it", show=False),
    ]

    def __init__(self, action: Action, subject: str, *, words: Sequence[str] = (), waits_for_plan: bool = True) -> None:
        super().__init__()
        self._action = action
        self.subject = clean(subject)
        self._words = tuple(words)
        self._plan: Mapping[str, Any] | None = None if waits_for_plan else {}
        self._refused = False
        self._typed = action.danger == "typed" and bool(self.subject)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            title = f"{self._action.title}: {self.subject}" if self.subject else self._action.title
            dialog.border_title = Content(clean(title))
            with Scroll(classes="scrolls", can_focus=False):
                yield Plain(id="plan")
            if self._typed:
                yield Input(placeholder=f"type {self.subject} to confirm", id="typed", disabled=self._plan is None)

    def on_mount(self) -> None:
        self._draw()

    @property
    def is_ready(self) -> bool:
        """Whether it can be confirmed now."""
        if self._plan is None or self._refused:
            return False
        return not self._typed or self.query_one("#typed", Input).value.strip() == self.subject

    def show_plan(self, plan: Mapping[str, Any]) -> None:
        """The dry run has answered."""
        self._plan = plan
        if self._typed:
            entry = self.query_one("#typed", Input)
            entry.disabled = False
            entry.focus()
        self._draw()

    def refuse(self, error: KferryError) -> None:
        """The dry run was refused: nothing can be confirmed."""
        self._refused = True
        for entry in self.query("#typed"):
            entry.display = False  # nothing is left to be confirmed
        self.query_one("#plan", Plain).show([*self._head(), *common.error_lines(error.as_dict())])
        self._hint("esc: close")

    def _head(self) -> list[Line]:
        lines = [line(Cell(self._action.help, "dim")), line("")]
        return lines + [line(words) for words in self._words]

    def _draw(self) -> None:
        lines = self._head()
        if self._plan is None:
            lines.append(line(Cell("asking the engine what would change…", "busy")))
        elif self._plan:
            lines += plan_lines(self._plan)
        self.query_one("#plan", Plain).show(lines)
        if self._plan is None:
            self._hint("esc: leave it")
        elif self._typed:
            self._hint("type the name, then enter: do it · esc: leave it")
        else:
            self._hint("enter or y: do it · esc or n: leave it")

    def _hint(self, words: str) -> None:
        self.query_one(".dialog").border_subtitle = Content(clean(words))

    def action_confirm(self) -> None:
        if self.is_ready:
            self.dismiss(str((self._plan or {}).get("hash", "")))

    @on(Input.Submitted)
    def _submitted(self) -> None:
        if self.is_ready:
            self.action_confirm()
        else:
            self._hint(f"that is not “{self.subject}”; nothing was done")
