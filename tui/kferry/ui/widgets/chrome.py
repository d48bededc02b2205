"""What surrounds every screen: head line, next-action line, errors that stay, and the keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static

from kferry.client import actions, formats
from kferry.domain.errors import KferryError
from kferry.ui import bindings
from kferry.ui.cells import Cell, Line, content, line
from kferry.ui.messages import Frame
from kferry.ui.rows import common


class Plain(Static):
    """A Static for lines of cells; the same content again is not painted again."""

    def __init__(self, *, id: str | None = None, classes: str | None = None, focusable: bool = False) -> None:
        super().__init__("", id=id, classes=classes, markup=False)
        self.can_focus = focusable
        self._lines: tuple[Line, ...] | None = None

    @property
    def lines(self) -> tuple[Line, ...]:
        return self._lines or ()

    def show(self, lines: Sequence[Line]) -> None:
        now = tuple(lines)
        if now != self._lines:
            before, self._lines = self._lines, now
            self.update(content(now), layout=before is None or not self._fits_as(before, now))

    def _fits_as(self, before: Sequence[Line], now: Sequence[Line]) -> bool:
        """Whether new lines take the room of those before: then nothing else has to be laid out or painted anew."""
        if len(before) != len(now) or not self.size.width:
            return False
        room = self.size.width
        widths = [tuple(_width(one) for one in pair) for pair in zip(before, now, strict=True)]
        is_auto = self.styles.is_auto_width
        return all(old == new or (not is_auto and old <= room and new <= room) for old, new in widths)


class Scroll(VerticalScroll, can_focus=True, inherit_bindings=False):
    """A part that scrolls; its keys are those of the registry, which the screen carries out."""


class Head(Horizontal):
    """Which migration, where in the app, and whether the engine lives."""

    def __init__(self) -> None:
        super().__init__(id="head")

    def compose(self) -> ComposeResult:
        yield Plain(id="head-left")
        yield Plain(id="head-right")

    def show(self, name: str, crumbs: Sequence[str], frame: Frame | None, read_only: bool) -> None:
        cells = [Cell("kferry", "title"), Cell(f"  {name}  ", "strong")]
        for at, crumb in enumerate(crumbs):
            cells += [Cell(" › " if at else "", "dim"), Cell(crumb, "" if at == len(crumbs) - 1 else "dim")]
        self.query_one("#head-left", Plain).show([tuple(cells)])
        right = [Cell(" read-only ", "warn"), Cell("  ")] if read_only else []
        if frame is None:
            right.append(Cell("reading…", "dim"))
        else:
            right.append(engine_cell(frame, read_only))
            right.append(Cell(f"  {formats.clock(frame.now_ms)[:5]}Z", "dim"))
        self.query_one("#head-right", Plain).show([tuple(right)])


# A heartbeat older than this means that the engine hangs, in milliseconds.
HANGS_AFTER_MS = 30_000


def engine_cell(frame: Frame, read_only: bool) -> Cell:
    engine = frame.engine
    if not engine.alive:
        hint = "" if read_only else f" — press {bindings.first_key('start_engine')} to start it"
        return Cell(f"✗ engine not running{hint}", "bad")
    beat = engine.heartbeat_at_ms
    if beat is not None and frame.now_ms - beat > HANGS_AFTER_MS:
        return Cell(f"▲ engine silent since {formats.duration((frame.now_ms - beat) / 1000)}", "warn")
    return Cell("● engine", "ok")


class NextBar(Plain):
    """The one next action with its key, on every screen."""

    def __init__(self) -> None:
        super().__init__(id="next")

    def show_next(self, frame: Frame | None) -> None:
        if frame is None:
            self.show([line(Cell("reading the journal…", "dim"))])
            return
        action_id, sentence, _ = frame.next_action
        if not action_id:
            self.show([line(Cell("next  ", "dim"), Cell(sentence or "nothing waits for you", "dim"))])
            return
        self.show(
            [
                line(
                    Cell("next  ", "dim"),
                    Cell(f" {bindings.first_key('next')} ", "key"),
                    Cell(f" {sentence}", "strong"),
                )
            ]
        )


class ErrorBar(Plain):
    """Errors until they are read: the newest on top, x or esc puts it away."""

    def __init__(self) -> None:
        super().__init__(id="errors", classes="scrolls")

    def show_errors(self, errors: Sequence[KferryError]) -> None:
        self.set_class(bool(errors), "-open")
        if not errors:
            self.show([])
            return
        newest = errors[-1]
        more = f", {len(errors) - 1} more" if len(errors) > 1 else ""
        self.border_title = Content("Something went wrong")
        self.border_subtitle = Content(f"x or esc: read{more}")
        self.show([row for text_line in common.error_lines(newest.as_dict()) for row in _split(text_line)])


def _split(row: Line) -> list[Line]:
    """A line whose texts hold newlines as several lines, indented alike."""
    last = row[-1]
    texts = last.text.splitlines() or [""]
    head = (*row[:-1], Cell(texts[0], last.tone))
    pad = " " * sum(len(cell.text) for cell in row[:-1])
    return [head, *((Cell(pad), Cell(text, last.tone)) for text in texts[1:])]


class FilterLine(Horizontal):
    """Where a filter is typed, in place."""

    def __init__(self) -> None:
        super().__init__(id="filter")

    def compose(self) -> ComposeResult:
        yield Static("/", id="filter-mark", markup=False)
        yield Input(
            placeholder="text, !text, lag>1e6, kind:connect, idle>7d; enter keeps it, esc clears it", id="filter-input"
        )


# How long a word stays in the place of the keys, in seconds.
SAID_SECONDS = 8.0


class KeyBar(Horizontal):
    """The keys that matter here, whole entries only; those that a read-only session refuses are dimmed."""

    def __init__(self, screen_name: str, read_only: bool) -> None:
        super().__init__(id="keys")
        self._offered = [action for action in actions.for_screen(screen_name, with_global=False) if action.keys]
        self._read_only = read_only
        self._is_idle: Callable[[str], bool] = lambda _action_id: False
        self._said: Timer | None = None

    def compose(self) -> ComposeResult:
        yield Plain(id="keys-own")
        yield Plain(id="keys-always")

    def on_mount(self) -> None:
        self.query_one("#keys-always", Plain).show([_keys(("help", "palette", "quit"))])

    def show_keys(self, is_idle: Callable[[str], bool]) -> None:
        """Show the keys anew, without those for which there is nothing to do now."""
        self._is_idle = is_idle
        if self._said is None:
            self._show_keys()

    def on_resize(self) -> None:
        self.call_after_refresh(self._keys_again)

    def _show_keys(self) -> None:
        own = self.query_one("#keys-own", Plain)
        room = own.size.width
        cells: list[Cell] = []
        offered = [action for action in self._offered if not self._is_idle(action.id)]
        for at, action in enumerate(offered):
            label, title = actions.key_label(action.keys[0]), f" {action.title}   "
            last = at == len(offered) - 1
            if len(label) + len(title.rstrip()) + (0 if last else 2) > room:
                cells.append(Cell("…", "dim"))  # help (?) has them all
                break
            room -= len(label) + len(title)
            cells += [Cell(label, "dim" if self._read_only and action.changes else "key"), Cell(title, "dim")]
        own.show([tuple(cells)])

    def say(self, words: str) -> None:
        """A short word in the place of the keys, until the next key."""
        self.hush(draw=False)
        always = self.query_one("#keys-always", Plain)
        # what is too long for the room of the screen's own keys takes that of the others too
        room = self.content_size.width - _width(always.lines[0]) - always.styles.padding.width
        always.display = cell_len(words) <= room
        self.query_one("#keys-own", Plain).show([line(Cell(words, "busy"))])
        self._said = self.set_timer(SAID_SECONDS, self.hush)

    def hush(self, draw: bool = True) -> None:
        """The keys again."""
        if self._said is not None:
            self._said.stop()
            self._said = None
            self.query_one("#keys-always").display = True
            if draw:
                self.call_after_refresh(self._keys_again)  # once the room for them is what it was

    def _keys_again(self) -> None:
        if self._said is None:  # nothing was said meanwhile
            self._show_keys()


def _width(row: Line) -> int:
    return sum(cell_len(cell.text) for cell in row)


def _keys(ids: Sequence[str]) -> Line:
    cells: list[Cell] = []
    for action_id in ids:
        action = actions.BY_ID[action_id]
        cells += [
            Cell(bindings.first_key(action_id), "key"),
            Cell(f" {action.title.lower()}  ", "dim"),
        ]
    return tuple(cells)
