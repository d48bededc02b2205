"""The Fleet screen: every state it can be in, what its keys do, and pictures of each."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from textual.widgets import Input

from kferry.client.sanitize import clean
from kferry.domain.runbook import OperationKind, OperationStatus
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.ui.app import KferryApp
from kferry.ui.modals.ask import ChoiceDialog
from kferry.ui.modals.confirm import ConfirmDialog
from kferry.ui.modals.look import LookDialog
from kferry.ui.widgets.keyed_table import KeyedTable
from support import seeded_fleet
from support.seeded import HOUR, NOW_MS, SECOND
from support.ui_app import answering_engine, engine_lock, screen_text, text_of, until

from .conftest import HOSTILE
from .test_pictures import settled

Make = Callable[..., KferryApp]
LOCAL = "kferry_workers:\n  hosts:\n    local-1: {ansible_connection: local}\n"
CHECK = OperationKind.FLEET_CHECK


@pytest.fixture(scope="session")
def _fleet_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seeded_fleet.fleet(tmp_path_factory.mktemp("fleet") / "m").root


@pytest.fixture
def layout(_fleet_template: Path, tmp_path: Path) -> Layout:
    """Five machines, checked; shop runs on two of them."""
    root = tmp_path / "m"
    shutil.copytree(_fleet_template, root)
    return Layout(root)


@pytest.fixture
def journal(layout: Layout) -> Journal:
    return Journal(layout.journal)


def say_hosts(layout: Layout, text: str) -> None:
    (layout.inventory / "hosts.yml").write_text(text)


# Every state of the screen: how it comes about, and what it must say.


def checked(layout: Layout, journal: Journal) -> str:
    say_hosts(layout, seeded_fleet.HOSTS_YML)
    seeded_fleet.put_check(journal, seeded_fleet.hosts())
    return "2 usable, 1 left out, 1 silent, 2 unknown   checked 4 min ago"


def never(layout: Layout, journal: Journal) -> str:
    seeded_fleet.put_check(journal, [], at_ms=None)  # type: ignore[arg-type]
    return "never checked   t checks them all"


def old(layout: Layout, journal: Journal) -> str:
    seeded_fleet.put_check(journal, seeded_fleet.hosts(), at_ms=NOW_MS - 26 * HOUR)
    return "▲ checked 1 d 2 h ago: old"


def checking(layout: Layout, journal: Journal) -> str:
    seeded_fleet.put_operation(journal, CHECK, "op-2", OperationStatus.RUNNING, at_ms=NOW_MS - 9 * SECOND)
    seeded_fleet.put_play(journal, "run-check", "op-2", "measure", events=seeded_fleet.check_events())
    return "1 of 3 have answered"


def failed(layout: Layout, journal: Journal) -> str:
    told = {
        "title": "The play preflight.yml could not be started.",
        "cause": "inventory/hosts.yml names no machine of group kferry_workers.",
        "next_step": "Mend it, then press t.",
        "log": "",
        "kind": "failed",
    }
    seeded_fleet.put_operation(journal, CHECK, "op-2", OperationStatus.FAILED, error=told)
    return "preflight.yml could not be started"


def broken(layout: Layout, journal: Journal) -> str:
    say_hosts(layout, "kferry_workers:\n  hosts:\n    w[1:9]:\n")
    return "cannot be the name of a"


def local_only(layout: Layout, journal: Journal) -> str:
    say_hosts(layout, LOCAL)
    seeded_fleet.put_check(journal, [])
    with journal.transaction() as session:
        session.execute(text("delete from task where name='shop'"))
    return "Only this machine so far"


def empty(layout: Layout, journal: Journal) -> str:
    say_hosts(layout, "kferry_workers:\n  hosts: {}\n")
    with journal.transaction() as session:
        session.execute(text("delete from task"))
    return "No machines yet."


STATES = (checked, never, old, checking, failed, broken, local_only, empty)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
async def test_every_state_says_what_it_is(
    size: tuple[int, int], layout: Layout, journal: Journal, make_app: Make, svg: Any
) -> None:
    app = make_app(layout)
    wrong = []
    with engine_lock(layout):
        async with app.run_test(size=size) as pilot:
            for state in STATES:
                words = state(layout, journal)
                await app.drawn("fleet")
                await until(pilot, lambda words=words: words in screen_text(app))
                assert not app.errors
                if sys.version_info[:2] == (3, 11):  # other versions draw some glyphs apart
                    name = f"fleet-{state.__name__}-{size[0]}x{size[1]}"
                    if await settled(pilot, app) != svg(name=name):
                        wrong.append(name)
    assert not wrong, f"look different: {wrong}; if it is meant, run pytest --snapshot-update"


async def test_a_machine_tells_reasons_brokers_workers_and_ages(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with engine_lock(layout):
        async with app.run_test(size=(120, 40)) as pilot:
            await app.drawn("fleet", "w3")
            await until(pilot, lambda: "Only 0.4 GB of disk are free" in screen_text(app))
            words = text_of(app.screen.query_one("#machine"))
            assert "✗ source old-2:9093  tls  The certificate of old-2:9093 ended" in words
            assert words.index("old-2:9093  tls") < words.index("old-1:9093"), "brokers in trouble come first"
            assert "Java none" in words
            await pilot.press("G")
            await until(pilot, lambda: "shop-2" in text_of(app.screen.query_one("#machine")))
            words = text_of(app.screen.query_one("#machine"))
            assert "shop-2  ? unknown" in words
            assert "CPU unknown" in words and "heap unknown of 512.0 MiB" in words
            assert "▲ Its clock is 1.4 s ahead" in words
            app.screen.query_one("#machines", KeyedTable).select("w1")
            await until(pilot, lambda: "CPU 41.0 %" in text_of(app.screen.query_one("#machine")))
            assert "heap 310.0 MiB of 512.0 MiB  2 s ago" in text_of(app.screen.query_one("#machine"))


async def test_silent_machines_stand_first(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("fleet")
        await until(pilot, lambda: "w5" in screen_text(app))
        shown = app.screen.query_one("#machines", KeyedTable).shown
        assert [row.key for row in shown][:3] == ["w4", "w3", "w5"]
        # figures of workers are no longer watched where no engine runs
        app.screen.query_one("#machines", KeyedTable).select("w1")
        await until(pilot, lambda: "2 s ago, stale" in screen_text(app))


def _accepts(kind: str, args: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
    plan = {"title": "T", "steps": ["Remove everything"], "changes": [], "words": ["The logs stay."], "hash": "h"}
    return ("done", "", plan) if args.get("dry_run") else ("accepted", "", {})


async def test_t_checks_without_a_question(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with answering_engine(layout, _accepts) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("fleet")
            await pilot.press("t")
            await until(pilot, lambda: seen)
            assert seen == [("fleet_check", {})]
            await until(pilot, lambda: "the engine has begun" in screen_text(app))
            await pilot.press("d")
            await until(pilot, lambda: len(seen) == 2)
            assert seen[1] == ("diagnose", {})


async def test_enter_opens_the_task_or_the_machine_in_full(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("fleet", "w1")
        await until(pilot, lambda: app.screen.query_one("#machines", KeyedTable).cursor_key == "w1")
        await pilot.press("enter")
        await until(pilot, lambda: "Overview › Migration tasks › shop" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.front.NAME == "fleet")
        app.screen.query_one("#machines", KeyedTable).select("w4")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, LookDialog))
        await pilot.press("escape")
        app.front.query_one("#machines", KeyedTable).select("local-1")
        await until(pilot, lambda: app.screen is app.front)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("down", "enter")
        await until(pilot, lambda: "Migration tasks › iot" in screen_text(app))


async def test_teardown_asks_about_logs_shows_the_plan_and_wants_the_name(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with answering_engine(layout, _accepts) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("fleet", "w4")
            await until(pilot, lambda: app.screen.query_one("#machines", KeyedTable).cursor_key == "w4")
            await pilot.press("D")
            await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
            await pilot.press("j", "enter")
            await until(pilot, lambda: "The logs stay." in screen_text(app))
            await until(pilot, lambda: app.screen.query_one("#typed", Input).has_focus)
            await pilot.press(*"w3", "enter")
            assert isinstance(app.screen, ConfirmDialog)
            assert len(seen) == 1
            await pilot.press("backspace", "4", "enter")
            await until(pilot, lambda: len(seen) == 2)
            assert seen[1] == ("teardown_host", {"host": "w4", "keep_logs": True})


async def test_hostile_words_of_machines_stand_literally(tmp_path: Path, make_app: Make) -> None:
    layout = seeded_fleet.fleet(tmp_path / "h", hostile=HOSTILE)
    app = make_app(layout)
    shown = clean(HOSTILE)[:18]
    with engine_lock(layout):
        async with app.run_test(size=(140, 40)) as pilot:
            await app.drawn("fleet", "w3")
            await until(pilot, lambda: shown in screen_text(app))
            for x in range(6, 130, 7):
                await pilot.click(offset=(x, 20))
            assert not {"\x1b", "\u202e", "\x07"} & set(screen_text(app))
            await app.drawn("runs")
            app.screen.query_one("#runs", KeyedTable).select("run-scale")
            await until(pilot, lambda: shown in screen_text(app))
            await pilot.press("enter")
            await until(pilot, lambda: app.front.NAME == "run" and shown in screen_text(app))
            for x in range(6, 130, 7):
                await pilot.click(offset=(x, 22))
            for _ in range(3):
                assert not {"\x1b", "\u202e", "\x07"} & set(screen_text(app))
                await pilot.press("l")
            assert app.is_running
            assert app.return_code is None
