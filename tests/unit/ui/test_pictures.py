"""SVG pictures of every screen at 80x24 and 120x36, with the clock stopped: a change of looks is seen in review."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from kferry.store.paths import Layout
from kferry.ui.app import KferryApp
from kferry.ui.screens.base import KferryScreen
from support.ui_app import engine_lock, held_back, screen_text, until

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="pictures are compared on Python 3.11 only: versions draw some glyphs apart"
)

SCREENS = {
    "overview": ("", "replicating"),
    "clusters": ("", "old-1:9092"),
    "inventory": ("", "shop.orders"),
    "preflight": ("", "Records of shop.orders"),
    "plan": ("", "3 shop"),
    "tasks": ("", "Running"),
    "task": ("shop", "copied offsets advance"),
    "runs": ("", "workers.yml"),
    "run": ("run-shop-workers", "port 18085"),
    "cutover": ("iot", "is data safe?"),
    "journal": ("", "operation started"),
}


def picture(app: KferryApp) -> str:
    """The screen as SVG; the ids that differ from process to process are made constant, and so are folders."""
    svg = app.export_screenshot(title="kferry")
    svg = re.sub(r"terminal-\d+", "terminal-0", svg)
    return svg.replace(str(app.session.root), "/migration")


async def settled(pilot: Pilot[None], app: KferryApp) -> str:
    """The picture once it no longer changes: what one message draws may be followed by another, and what a key asks to
    be read comes later.
    """
    for entry in app.screen.query(Input):
        entry.cursor_blink = False  # it stays visible
    await _unchanged(pilot, app, 3)
    for _ in range(2):  # the first may have been under way before
        await _read_anew(pilot, app)
    return await _unchanged(pilot, app, 2)


async def picture_while_read(
    app: KferryApp,
    layout: Layout,
    screen: type[KferryScreen],
    open_it: Callable[[], Awaitable[object]],
    words: str,
    size: tuple[int, int],
) -> str:
    """The picture of a screen that says `words` because it is still read; afterwards it is read to its end."""
    with engine_lock(layout), held_back(screen) as go_on:
        async with app.run_test(size=size) as pilot:
            await open_it()
            await until(pilot, lambda: words in screen_text(app))
            found = await settled(pilot, app)
            go_on.set()
            await until(pilot, lambda: app.front.snapshot)
    return found


async def _unchanged(pilot: Pilot[None], app: KferryApp, times: int) -> str:
    last, same = picture(app), 0
    for _ in range(100):
        await pilot.pause(0.1)
        now = picture(app)
        same = same + 1 if now == last else 0
        last = now
        if same == times:
            break
    return last


async def _read_anew(pilot: Pilot[None], app: KferryApp) -> None:
    """Have the front screen read its snapshot again; nothing is read under a dialog, or while a test holds it back."""
    front = app.front
    before = front.frame
    if app.screen is not front or before is None:
        return
    app.poller.wake()
    for _ in range(40):
        await pilot.pause(0.05)
        if front.frame is not before:
            return


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
async def test_screens(
    size: tuple[int, int],
    layout: Layout,
    make_app: Callable[..., KferryApp],
    engine_alive: None,
    svg: Any,
) -> None:
    app = make_app(layout)
    wrong = []
    async with app.run_test(size=size) as pilot:
        for name, (subject, shows) in SCREENS.items():
            await app.drawn(name, subject)
            await until(pilot, lambda shows=shows: shows in screen_text(app))
            if await settled(pilot, app) != svg(name=f"{name}-{size[0]}x{size[1]}"):
                wrong.append(name)
    assert not wrong, f"look different: {wrong}; if it is meant, run pytest --snapshot-update"
