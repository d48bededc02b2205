"""Names from clusters are data: on every screen they stand literally, and do nothing."""

from __future__ import annotations

from collections.abc import Callable

from kferry.client import actions
from kferry.client.sanitize import clean
from kferry.store.paths import Layout
from kferry.ui.app import KferryApp
from support.ui_app import engine_lock, screen_text, until

from .conftest import HOSTILE

SHOWN_ON = {
    "overview": "",
    "inventory": "l",
    "preflight": "",
    "cutover": "",
    "journal": "l",
}


async def test_hostile_names_stand_literally(hostile_layout: Layout, make_app: Callable[..., KferryApp]) -> None:
    app = make_app(hostile_layout)
    shown = clean(HOSTILE)[:18]
    assert "\x1b" not in clean(HOSTILE)
    with engine_lock(hostile_layout):
        await _look_everywhere(app, shown)


async def _look_everywhere(app: KferryApp, shown: str) -> None:
    async with app.run_test(size=(140, 40)) as pilot:
        for name in [screen for screen, _ in actions.SCREENS]:
            await app.drawn(name)
            for key in SHOWN_ON.get(name, ""):
                await pilot.press(key)
            if name in SHOWN_ON:
                await until(pilot, lambda: shown in screen_text(app))
            text = screen_text(app)
            assert "\x1b" not in text
            assert "\u202e" not in text
        await app.drawn("inventory")
        await pilot.press("/", *"[/]", "enter")
        await until(pilot, lambda: "Groups · 1 of 6" in screen_text(app))
        await pilot.press("enter")  # its details, with the name as the title
        await until(pilot, lambda: len(app.screen_stack) == 3)
        assert shown in screen_text(app)
        # the name says @click=app.quit: clicking all over it must not leave the app
        for x in range(20, 120, 9):
            await pilot.click(offset=(x, 10))
        await pilot.press("escape", "escape", "y")
        for offset in ((5, 7), (12, 7), (20, 7)):
            await pilot.click(offset=offset)
        assert app.is_running
        assert app.return_code is None
