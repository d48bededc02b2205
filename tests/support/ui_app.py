"""Helpers for tests of the TUI: an app on a seeded directory, the engine's lock, an engine that only answers."""

from __future__ import annotations

import asyncio
import fcntl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

from textual.pilot import Pilot
from textual.widget import Widget

from kferry.client.session import Session
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.ui.app import KferryApp
from kferry.ui.cells import plain
from kferry.ui.messages import Frame
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.chrome import Plain


@contextmanager
def engine_lock(layout: Layout) -> Iterator[None]:
    """Hold the engine's lock, which is what "the engine lives" means."""
    with layout.lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def answering_engine(
    layout: Layout, answer: Callable[[str, Mapping[str, Any]], tuple[str, str, Mapping[str, Any]]]
) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Answer every wish by `answer(kind, args) -> (status, reason, result)`; yields the wishes as they arrive."""
    import json

    seen: list[tuple[str, dict[str, Any]]] = []
    stop = threading.Event()
    journal = Journal(layout.journal)

    def work() -> None:
        while not stop.wait(0.02):
            for row in journal.waiting_intents():
                args = json.loads(row.args)
                seen.append((row.kind, args))
                status, reason, result = answer(row.kind, args)
                with journal.transaction() as session:
                    journal.answer_intent(session, row.id, status, reason=reason, result=result)

    thread = threading.Thread(target=work, daemon=True)
    with engine_lock(layout):
        thread.start()
        try:
            yield seen
        finally:
            stop.set()
            thread.join(timeout=10)
            journal.close()


@contextmanager
def held_back(screen: type[KferryScreen]) -> Iterator[threading.Event]:
    """Screens of this kind are still read, until the event is set."""
    go_on, collect = threading.Event(), screen.collect

    def waits(self: KferryScreen, session: Session, frame: Frame) -> Any:
        go_on.wait(60)
        return collect(self, session, frame)

    with mock.patch.object(screen, "collect", waits):
        try:
            yield go_on
        finally:
            go_on.set()


async def until(pilot: Pilot[None], holds: Callable[[], object], *, within_seconds: float = 60.0) -> None:
    """Wait until something holds on the screen; fails with what is there otherwise."""
    deadline = asyncio.get_running_loop().time() + within_seconds
    while not holds():
        if asyncio.get_running_loop().time() > deadline:
            app = pilot.app
            assert isinstance(app, KferryApp)
            raise AssertionError(f"did not come true within {within_seconds:g} s; the screen:\n{screen_text(app)}")
        await pilot.pause(0.02)


def screen_text(app: KferryApp) -> str:
    """What stands on the screen, line by line."""
    width, height = app.size
    lines = []
    for y in range(height):
        strips = app.screen._compositor.render_strips()
        lines.append(strips[y].text if y < len(strips) else " " * width)
    return "\n".join(line.rstrip() for line in lines)


def text_of(widget: Widget) -> str:
    """The lines of a Plain."""
    assert isinstance(widget, Plain)
    return plain(widget.lines)
