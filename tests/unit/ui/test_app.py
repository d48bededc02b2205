"""The TUI on a seeded migration: every screen, every key, help, filter, errors, a dead engine, a read-only session."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kferry.client import actions
from kferry.domain.errors import KferryError
from kferry.store.paths import Layout
from kferry.ui.app import KferryApp
from kferry.ui.messages import Failed, ReadFailed, Said
from kferry.ui.modals.help import HelpDialog
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.chrome import ErrorBar, NextBar
from kferry.ui.widgets.keyed_table import KeyedTable
from support import seeded
from support.ui_app import screen_text, text_of, until

Make = Callable[..., KferryApp]

MAIN = [name for name, _ in actions.SCREENS]
SUBJECTS = {"task": "shop", "run": "run-shop-workers", "graph": "shop.orders"}
SHOWS = {
    "overview": "replicating",
    "clusters": "old-1:9092",
    "inventory": "shop.orders",
    "preflight": "Records of shop.orders",
    "plan": "shop.payments",
    "tasks": "Running",
    "runs": "workers.yml",
    "cutover": "is data safe?",
    "journal": "operation started",
    "task": "copied offsets advance",
    "run": "port 18085 is taken",
    "graph": "fraud-check reads it",
    "fleet": "local-1",
    "access": "Not compared yet",
}


ALL = [*MAIN, *actions.DETAIL_SCREENS]


async def test_every_screen_shows_the_journal(layout: Layout, make_app: Make, engine_alive: None) -> None:
    app = make_app(layout)
    async with app.run_test(size=(120, 36)) as pilot:
        for name in ALL:
            await app.drawn(name, SUBJECTS.get(name, ""))
            await until(pilot, lambda name=name: SHOWS[name] in screen_text(app))
            assert not app.errors


async def test_number_keys_go_to_the_screens(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    async with app.run_test(size=(80, 24)) as pilot:
        for number, name in enumerate(MAIN, start=1):
            await pilot.press(str(number % 10))
            await until(pilot, lambda name=name: name == app.front.NAME)
        assert len(app.screen_stack) == 2


@pytest.mark.slow
async def test_help_says_what_each_screen_is_and_every_key(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    async with app.run_test(size=(120, 36)) as pilot:
        for name in ALL:
            await app.drawn(name, SUBJECTS.get(name, ""))
            await pilot.press("?")
            await until(pilot, lambda: isinstance(app.screen, HelpDialog))
            words = text_of(app.screen.query_one("#help-text"))
            for action in actions.for_screen(name):
                assert action.title in words
                assert action.help in words
            first = app.front.HELP.strip().splitlines()[0]
            assert first and first in words
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(app.screen, HelpDialog))


@pytest.mark.slow
async def test_every_action_is_reached_by_each_of_its_keys(
    layout: Layout, make_app: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(layout)
    done: list[str] = []

    async def note(_screen: object, action_id: str) -> None:
        done.append(action_id)

    async with app.run_test(size=(120, 36)) as pilot:
        monkeypatch.setattr(KferryScreen, "action_act", note)
        for name in ALL:
            await app.drawn(name, SUBJECTS.get(name, ""))
            taken: set[str] = set()
            for action in actions.for_screen(name):  # an own key wins over a global one
                for key in action.keys:
                    if key in taken:
                        continue
                    taken.add(key)
                    done.clear()
                    await pilot.press(key)
                    assert done == [action.id], (name, key)


async def test_next_action_is_named_with_its_key_and_done_by_it(
    layout: Layout, make_app: Make, engine_alive: None
) -> None:
    app = make_app(layout)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("overview")
        bar = text_of(app.screen.query_one(NextBar))
        assert " n " in bar
        assert "connect-s3-sink has no member" in bar
        assert "▸ ▲ Cut over" in text_of(app.screen.query_one("#rail"))
        await pilot.press("n")
        await until(pilot, lambda: app.front.NAME == "cutover" and "Cutover of iot" in screen_text(app))


async def test_keys_of_operations_are_offered_where_one_is_under_way(
    layout: Layout, make_app: Make, engine_alive: None
) -> None:
    app = make_app(layout)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("overview")
        bar = app.screen.query_one("#keys-own")
        await until(pilot, lambda: "Report" in text_of(bar) and "Try again" not in text_of(bar))  # hr is switched
        await pilot.press("down")
        await until(pilot, lambda: "Try again" in text_of(bar) and "Abort" in text_of(bar))  # iot waits for its owners
        await pilot.press("up")
        await until(pilot, lambda: "Try again" not in text_of(bar))


async def test_the_step_that_is_due_is_in_view(layout: Layout, make_app: Make, engine_alive: None) -> None:
    app = make_app(layout)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.drawn("cutover", "iot")
        await until(pilot, lambda: "▌ ▲ needs operator" in screen_text(app))


async def test_dead_engine_is_said_and_figures_are_stale(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("overview")
        await until(pilot, lambda: "engine not running — press E to start it" in screen_text(app))
        await until(pilot, lambda: "2 s ago, stale" in screen_text(app))
        await app.drawn("plan")
        await pilot.press("c")
        await until(pilot, lambda: app.errors)
        assert "Press E" in text_of(app.screen.query_one(ErrorBar))


async def test_filter_in_place_inverse_and_cleared(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("inventory")
        table = app.screen.query_one("#topics", KeyedTable)
        await pilot.press("/", *"shop")
        await until(pilot, lambda: len(table.shown) == 2)
        assert "Topics · 2 of 6" in screen_text(app)
        await pilot.press("enter")
        assert table.has_focus
        await pilot.press("escape")
        await until(pilot, lambda: len(table.shown) == 6)
        await pilot.press("/", *"!shop", "enter")
        await until(pilot, lambda: len(table.shown) == 4)
        assert app.front.NAME == "inventory"
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.front.NAME == "overview")


async def test_drill_in_and_back_with_breadcrumbs(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("tasks")
        await pilot.press("j", "j", "enter")
        await until(pilot, lambda: app.front.NAME == "task")
        await until(pilot, lambda: "Overview › Migration tasks › shop" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.front.NAME == "tasks")
        assert app.screen.query_one("#tasks", KeyedTable).cursor_key == "shop"


async def test_errors_stay_until_they_are_read(layout: Layout, make_app: Make) -> None:
    from kferry.domain.errors import KferryError

    app = make_app(layout)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.drawn("overview")
        app.show_error(KferryError("First [/] thing.", cause="Because.", next_step="Do this."))
        app.show_error(KferryError("Second thing."))
        await app.drawn("journal")
        assert "Second thing." in screen_text(app)
        assert "1 more" in screen_text(app)
        await pilot.press("x")
        await until(pilot, lambda: "First [/] thing." in screen_text(app) and "Do this." in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: not app.errors)
        assert app.front.NAME == "journal"


async def test_read_only_refuses_visibly(layout: Layout, make_app: Make, engine_alive: None) -> None:
    app = make_app(layout, read_only=True)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("tasks")
        assert "read-only" in screen_text(app)
        await pilot.press("D")
        await until(pilot, lambda: app.errors)
        assert "read-only" in app.errors[-1].title
        assert len(app.screen_stack) == 2


async def test_palette_offers_every_action_with_a_home(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("overview")
        await pilot.press(":", *"Inventory")
        await until(pilot, lambda: "Go to Inventory" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.front.NAME == "inventory")


async def test_empty_lists_say_why(tmp_path: object, make_app: Make) -> None:
    layout = seeded.bare(tmp_path / "m")  # type: ignore[operator]
    app = make_app(layout)
    says = {
        "overview": "There are no batches yet",
        "inventory": "Press S to scan",
        "preflight": "Preflight has not run yet",
        "plan": "There is no plan yet",
        "tasks": "No migration task yet",
        "runs": "No play has run yet",
        "cutover": "There are no batches",
        "journal": "Nothing has happened yet",
        "fleet": "Only this machine so far",
    }
    async with app.run_test(size=(120, 36)) as pilot:
        for name, words in says.items():
            await app.drawn(name)
            await until(pilot, lambda words=words: words in screen_text(app))
        assert not app.errors


async def test_q_leaves(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    async with app.run_test() as pilot:
        await app.drawn("overview")
        await pilot.press("q")
        await pilot.pause()
    assert app.return_code == 0


def test_no_widget_is_touched_in_a_thread() -> None:
    """Widgets are touched on the loop only: no `collect` may ask for one."""
    import inspect
    from importlib import import_module

    for name in [*MAIN, *actions.DETAIL_SCREENS, "report"]:
        module = import_module(f"kferry.ui.screens.{name}")
        for _, screen in inspect.getmembers(module, inspect.isclass):
            if screen.__module__ == module.__name__ and hasattr(screen, "collect"):
                assert "query" not in inspect.getsource(screen.collect), name


async def test_what_arrives_while_the_app_closes_is_dropped(
    layout: Layout, make_app: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(layout)
    error = KferryError("The engine has gone.")
    late = [Failed(error), Failed(error, for_plan=True), ReadFailed(error), Said("done")]
    close = app._close_messages

    async def closes_late(wait: bool = True) -> None:
        assert app.closing
        for message in late:
            app.post_message(message)
        await close(wait)

    monkeypatch.setattr(app, "_close_messages", closes_late)
    async with app.run_test(size=(80, 24)):
        assert not app.closing
    assert not app.errors
