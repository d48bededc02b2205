"""What changes something asks first: the plan of the dry run in view, the name typed where it is dangerous."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from textual.widgets import Input

from kferry.store.paths import Layout
from kferry.store.views import IntentView
from kferry.ui.app import KferryApp
from kferry.ui.modals.ask import TextDialog
from kferry.ui.modals.cluster_form import ClusterForm
from kferry.ui.modals.confirm import ConfirmDialog
from kferry.ui.wishes import outcome_words
from support.ui_app import answering_engine, screen_text, text_of, until

Make = Callable[..., KferryApp]

PLAN = {
    "title": "Delete",
    "steps": ["Stop the connectors", "Close the task"],
    "changes": [
        {
            "scope": "target",
            "resource": "topic",
            "name": "[/]mm2",
            "key": "",
            "before": "1 partition",
            "after": None,
            "action": "delete",
        }
    ],
    "words": ["The copied data stays."],
    "hash": "h1",
}


def _yes(kind: str, args: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
    return ("done", "", PLAN) if args.get("dry_run") else ("accepted", "", {})


async def test_delete_shows_the_plan_and_wants_the_name(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with answering_engine(layout, _yes) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("tasks", "shop")
            await pilot.press("D")
            await until(pilot, lambda: "The copied data stays." in screen_text(app))
            words = text_of(app.screen.query_one("#plan"))
            assert "Stop the connectors" in words
            assert "− delete" in words and "[/]mm2" in words and "1 partition → nothing" in words
            await until(pilot, lambda: app.screen.query_one("#typed", Input).has_focus)
            await pilot.press(*"hr", "enter")
            assert isinstance(app.screen, ConfirmDialog)
            assert seen == [("delete_task", {"task": "shop", "dry_run": True})]
            await pilot.press("backspace", "backspace", *"shop", "enter")
            await until(pilot, lambda: len(seen) == 2)
            assert seen[1] == ("delete_task", {"task": "shop"})
            await until(pilot, lambda: "the engine has begun" in screen_text(app))


async def test_esc_sends_nothing(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with answering_engine(layout, _yes) as seen:
        async with app.run_test(size=(80, 24)) as pilot:
            await app.drawn("tasks", "shop")
            await pilot.press("p")
            await until(pilot, lambda: "The copied data stays." in screen_text(app))
            await pilot.press("escape")
            await until(pilot, lambda: app.front is app.screen)
            await pilot.press("r")
            await until(pilot, lambda: app.front.snapshot is not None)
            assert seen == [("pause_task", {"task": "shop", "dry_run": True})]


async def test_refused_dry_run_cannot_be_confirmed(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with answering_engine(layout, lambda kind, args: ("refused", "iot is being switched", {})) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("tasks", "iot")
            await pilot.press("p")
            await until(pilot, lambda: "iot is being switched" in screen_text(app))
            await pilot.press("enter", "y")
            assert isinstance(app.screen, ConfirmDialog)
            assert len(seen) == 1


async def test_waive_keeps_the_reason(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with answering_engine(layout, lambda kind, args: ("done", "", {})) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("preflight", "retention_race:iot.telemetry")
            await until(pilot, lambda: "overtaken by retention" in screen_text(app))
            await pilot.press("w")
            await until(pilot, lambda: isinstance(app.screen, TextDialog))
            await pilot.press(*"agreed", "enter")
            await until(pilot, lambda: seen)
            kind, args = seen[0]
            assert kind == "waive"
            assert args["finding_id"] == "retention_race:iot.telemetry"
            assert args["why"] == "agreed"


async def test_owner_step_offers_the_hook(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with answering_engine(layout, lambda kind, args: ("done", "", {})) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("cutover", "iot")
            await until(pilot, lambda: "o runs their hook" in screen_text(app))
            await pilot.press("o")
            await until(pilot, lambda: "start_consumers" in screen_text(app))
            await pilot.press("enter")
            await until(pilot, lambda: seen)
            assert seen[0] == (
                "answer",
                {"operation_id": "op-cutover-iot", "step": "release_consumers", "answer": {"run_hook": True}},
            )


async def test_abort_names_the_way_back_and_wants_the_name(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with answering_engine(layout, _yes) as seen:
        async with app.run_test(size=(120, 40)) as pilot:
            await app.drawn("cutover", "iot")
            await pilot.press("B")
            await until(pilot, lambda: "owners start the consumers on the source again" in screen_text(app))
            await until(pilot, lambda: app.screen.query_one("#typed", Input).has_focus)
            await pilot.press(*"iot", "enter")
            await until(pilot, lambda: len(seen) == 2)
            assert seen[1] == ("abort", {"operation_id": "op-cutover-iot"})


def test_a_wish_that_has_failed_already_is_not_called_done() -> None:
    intent = IntentView("i", "plan_access", {}, "me", 0, 0, "failed", "There is no plan yet.", "op", {})
    assert outcome_words(intent) == "✗ plan access: There is no plan yet."
    assert outcome_words(replace(intent, status="done")) == "✓ plan access: done."
    assert outcome_words(replace(intent, reason="")).endswith("did not say why.")


async def test_what_is_said_is_not_cut_off_beside_the_keys(layout: Layout, make_app: Make, engine_alive: None) -> None:
    words = "These are some more words than fit beside the keys, but not more than 78."
    app = make_app(layout)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.drawn("clusters")
        for _ in range(2):  # again, where the other keys have made room already
            app.front.say(words)
            await until(pilot, lambda: words in screen_text(app))
        await pilot.press("s")
        await until(pilot, lambda: "Nothing to sort here." in screen_text(app) and "q quit" in screen_text(app))


async def test_enter_on_a_cluster_describes_it(layout: Layout, make_app: Make, engine_alive: None) -> None:
    app = make_app(layout)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.drawn("clusters")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ClusterForm))


async def test_a_refused_plan_leaves_nothing_to_type(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with answering_engine(layout, lambda kind, args: ("refused", "There is no plan yet.", {})):
        async with app.run_test(size=(80, 24)) as pilot:
            await app.drawn("clusters")
            await pilot.press("A")
            await until(pilot, lambda: "There is no plan yet." in screen_text(app))
            assert "to confirm" not in screen_text(app)
            await pilot.press("escape")
            await until(pilot, lambda: app.screen is app.front)
