"""What is done to a task's workers by keys: the dialogs, the plans they show, and what is sent."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kferry.store.paths import Layout
from kferry.ui.app import KferryApp
from kferry.ui.modals.ask import ChoiceDialog, TextDialog
from kferry.ui.modals.confirm import ConfirmDialog
from kferry.ui.task_acts import parse_scale
from support import seeded_fleet
from support.ui_app import answering_engine, engine_lock, screen_text, until

Make = Callable[..., KferryApp]


@pytest.fixture(scope="session")
def _workers_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seeded_fleet.fleet(tmp_path_factory.mktemp("workers") / "m").root


@pytest.fixture
def layout(_workers_template: Path, tmp_path: Path) -> Layout:
    root = tmp_path / "m"
    shutil.copytree(_workers_template, root)
    return Layout(root)


def _plans(kind: str, args: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
    change = {
        "scope": "target", "resource": "worker", "name": "shop-3", "key": "", "before": None, "after": "w5[/]",
        "action": "create",
    }  # fmt: skip
    plan = {"title": "T", "steps": ["Choose machines"], "changes": [change], "words": [], "hash": "h1"}
    return ("done", "", plan) if args.get("dry_run") else ("accepted", "", {})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("4", {"workers": 4}),
        ("-a", {"remove": ["a"]}),
        ("-b -a", {"remove": ["a", "b"]}),
        (" 1 ", {"workers": 1}),
    ],
)
def test_scale_words(text: str, wanted: dict[str, Any]) -> None:
    assert parse_scale(text, ["a", "b", "c"]) == wanted


@pytest.mark.parametrize("text", ["", "0", "3", "x", "a", "- a", "-d", "-a -b -c", "3 -a", "-1.5", "²"])
def test_scale_words_that_are_refused(text: str) -> None:
    assert isinstance(parse_scale(text, ["a", "b", "c"]), str)


async def test_scale_shows_workers_then_the_plan_then_sends(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with answering_engine(layout, _plans) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("tasks", "shop")
            await pilot.press("w")
            await until(pilot, lambda: isinstance(app.screen, TextDialog) and "on w2" in screen_text(app))
            assert "CPU 41.0 %" in screen_text(app)
            assert "There are 2 now." in screen_text(app)
            await pilot.press("3", "enter")
            await until(pilot, lambda: "w5[/]" in screen_text(app))
            assert seen == [("scale_task", {"task": "shop", "workers": 3, "dry_run": True})]
            await pilot.press("enter")
            await until(pilot, lambda: len(seen) == 2)
            assert seen[1] == ("scale_task", {"task": "shop", "workers": 3})


async def test_a_new_task_is_asked_with_how_many_workers_it_begins(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with answering_engine(layout, _plans) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("plan", "shop")
            await pilot.press("c")
            await until(pilot, lambda: isinstance(app.screen, TextDialog) and "the plan reckons" in screen_text(app))
            await pilot.press("x", "enter")
            await until(pilot, lambda: "Write a number, 1 or more." in screen_text(app))
            await pilot.press("2", "enter")
            await until(pilot, lambda: "w5[/]" in screen_text(app))
            assert seen == [("create_task", {"batch": "shop", "workers": 2, "dry_run": True})]


async def test_a_worker_that_is_not_there_is_asked_for_again(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with answering_engine(layout, _plans) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("task", "shop")
            await pilot.press("w")
            await until(pilot, lambda: isinstance(app.screen, TextDialog))
            await pilot.press(*"-shop-9", "enter")
            await until(pilot, lambda: "There is no worker shop-9; there are shop-1, shop-2." in screen_text(app))
            await until(pilot, lambda: isinstance(app.screen, TextDialog) and "-shop-9" in screen_text(app))
            await pilot.press(*"-shop-2", "enter")  # what was typed is selected
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
            await until(pilot, lambda: seen)
            assert seen[0] == ("scale_task", {"task": "shop", "remove": ["shop-2"], "dry_run": True})


async def test_upgrade_asks_which_way(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with answering_engine(layout, _plans) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("task", "shop")
            await pilot.press("U")
            await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
            assert "The workers run Kafka 3.9.2, unknown." in screen_text(app)
            await pilot.press("j", "enter")
            await until(pilot, lambda: seen)
            assert seen[0] == ("upgrade_task", {"task": "shop", "rollback": True, "dry_run": True})


@pytest.mark.parametrize(("key", "kind"), [("R", "restart_task"), ("K", "rotate_task")])
async def test_restart_and_rotate_show_their_plan_first(layout: Layout, make_app: Make, key: str, kind: str) -> None:
    app = make_app(layout)
    with answering_engine(layout, _plans) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("tasks", "shop")
            await pilot.press(key)
            await until(pilot, lambda: "Choose machines" in screen_text(app))
            await pilot.press("y")
            await until(pilot, lambda: len(seen) == 2)
            assert seen == [(kind, {"task": "shop", "dry_run": True}), (kind, {"task": "shop"})]


async def test_rights_are_granted_on_the_cluster_in_focus_after_its_name_was_typed(
    layout: Layout, make_app: Make
) -> None:
    app = make_app(layout)
    with answering_engine(layout, _plans) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("clusters")
            await pilot.press("l", "A")
            await until(pilot, lambda: "Choose machines" in screen_text(app))
            assert seen[0] == ("apply_acls", {"cluster": "target", "dry_run": True})
            await pilot.press(*"source", "enter")
            assert isinstance(app.screen, ConfirmDialog)
            assert len(seen) == 1


async def test_the_task_shows_its_workers_with_their_figures(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with engine_lock(layout):
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("task", "shop")
            await pilot.press("l")
            await until(pilot, lambda: "CPU 41.0 %" in screen_text(app))
            assert "heap 310.0 MiB of 512.0 MiB" in screen_text(app)
            assert "CPU unknown" in screen_text(app)
