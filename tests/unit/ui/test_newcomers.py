"""Newcomers as lines of the Task screen and of Overview, and the choice of a runbook as a wish."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from kferry.domain.cutover_choice import CHOICES as RUNBOOKS
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.views import NewcomersView, NewcomerView
from kferry.ui.app import KferryApp
from kferry.ui.cells import plain
from kferry.ui.rows import tasks
from kferry.ui.runbook_choice import CHOICES, args_of
from kferry.ui.screens.task import TaskScreen
from support.ui_app import answering_engine, screen_text, text_of, until

from .test_rows import NOW, TASK

Make = Callable[..., KferryApp]
HOSTILE = "aud\x1b[2Jitor[/][b]"

JOINS = NewcomerView("topic", "shop.b", "shop", "pattern", True, True, "", "Topic shop.b appeared. It joins by itself.")
LATE = NewcomerView("group", "auditor", "shop", "planner", False, True, "", "Group auditor appeared: it reads orders.")
TOLD = NewcomerView("topic", "shop.c", "shop", "planner", False, False, "", "Topic shop.c appeared.")


def text(found: NewcomersView, **more: object) -> str:
    return plain(tasks.newcomer_lines(found, **more))  # type: ignore[arg-type]


def test_what_holds_up_the_cutover_comes_first_and_has_its_own_sign() -> None:
    lines = text(NewcomersView((JOINS, LATE, TOLD), NOW)).splitlines()
    assert lines[0].startswith("▲ Group auditor")
    assert all(one.startswith("+ ") for one in lines[1:])


def test_many_are_counted_and_the_command_that_lists_them_is_named() -> None:
    many = tuple(replace(TOLD, name=f"shop.{number}") for number in range(9))
    assert text(NewcomersView(many, NOW), subject="shop").splitlines()[-1] == (
        "+ shop: and 6 more newcomers: kferry task newcomers shop"
    )


def test_a_look_that_failed_is_said_and_a_task_shows_all_of_it() -> None:
    found = NewcomersView((LATE,), NOW, error="The source does not answer.")
    assert "? The source could not be looked at" in text(found)
    shown = plain(tasks.task_lines(replace(TASK, newcomers=found), NOW, True))
    assert "▲ Group auditor" in shown and "does not answer" in shown
    assert tasks.newcomer_lines(NewcomersView()) == []


@pytest.mark.parametrize("choice", [key for key, _, _ in CHOICES])
def test_every_choice_of_the_dialog_is_a_runbook_the_engine_knows(choice: str) -> None:
    args = args_of(choice, "shop")
    assert args["batch"] == "shop" and args["runbook"] in RUNBOOKS


def found(layout: Layout) -> None:
    """A late group with a hostile name, as the engine writes it."""
    item = {
        "kind": "group", "name": HOSTILE, "batch": "shop", "how": "planner", "joins": False, "blocks": True,
        "partitions": None, "reads": ["orders"], "why": "", "words": f"Group {HOSTILE} appeared: it reads orders.",
    }  # fmt: skip
    body = {"looked_at_ms": 1, "items": [item], "note": "", "error": None}
    journal = Journal(layout.journal)
    journal.put_document("newcomers", "shop", json.dumps(body))
    journal.close()


async def test_a_late_group_stands_on_overview_and_on_its_task_as_text(
    layout: Layout, engine_alive: None, make_app: Make
) -> None:
    found(layout)
    app = make_app(layout)
    async with app.run_test(size=(160, 48)) as pilot:
        await app.drawn("overview", "shop")
        await until(pilot, lambda: "itor[/][b]" in text_of(app.screen.query_one("#alarms")))
        await app.open_detail(TaskScreen("shop"))
        await until(pilot, lambda: "▲ Group aud" in screen_text(app))
        assert "\x1b[2J" not in screen_text(app)


def _plan(_kind: str, args: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
    words = [f"Runbook {args.get('runbook')}, as you chose."]
    return "done", "", {"title": "Switch", "steps": ["one"], "changes": [], "words": words, "hash": "h"}


async def test_the_runbook_is_chosen_and_its_plan_is_shown_before_anything(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with answering_engine(layout, _plan) as seen:
        async with app.run_test(size=(120, 40)) as pilot:
            await app.drawn("cutover")
            batch = app.screen.batch_under_cursor()
            await app.screen.do_choose_runbook()
            await until(pilot, lambda: "stop, drain, switch" in screen_text(app))
            await pilot.press("j", "j", "enter")
            await until(pilot, lambda: "Runbook stop-drain-switch, as you chose." in screen_text(app))
            assert seen == [("cutover", {"batch": batch, "runbook": "stop-drain-switch", "dry_run": True})]


async def test_the_cutover_shows_the_runbook_it_would_choose_before_it_begins(
    layout: Layout, engine_alive: None, make_app: Make
) -> None:
    body = {
        "variant": "stop-drain-switch",
        "words": ["Runbook stop-drain-switch: totals (streams)."],
        "warnings": ["totals (streams): wipe its state."],
    }
    journal = Journal(layout.journal)
    journal.put_document("runbook", "shop", json.dumps(body))
    journal.close()
    app = make_app(layout)
    async with app.run_test(size=(140, 48)) as pilot:
        await app.drawn("cutover")
        app.screen.select("shop")
        await until(pilot, lambda: "Runbook stop-drain-switch: totals (streams)." in screen_text(app))
        shown = screen_text(app)
        assert "wipe its state" in shown
        assert "◆ ahead: when owners start the applications" in shown
        rows = shown[shown.index("ready to stop") :]
        assert rows.index("Compare both ends") < rows.index("Owners start the applications")
