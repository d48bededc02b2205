"""Pictures of the Plan and Graph screens in each of their states, at 80x24 and 120x36, with the clock stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kferry.domain.runbook import OperationKind, OperationStatus
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.plan_file import OPERATOR, load_plan, write_plan
from kferry.ui.app import KferryApp
from kferry.ui.plan_edit import move, pin
from kferry.ui.screens.plan import PlanScreen
from support import planned, seeded, seeded_fleet
from support.ui_app import engine_lock, screen_text, until

from .test_pictures import picture_while_read, settled

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="pictures are compared on Python 3.11 only: versions draw some glyphs apart"
)


def _whole(root: Path) -> Layout:
    return planned.layout_of(root)


def _torn(root: Path) -> Layout:
    layout = planned.layout_of(root)
    plan = pin("web")(move(["topic\0shop.payments"], "iot")(load_plan(layout)))
    write_plan(layout, plan, written_by=OPERATOR)
    return layout


def _stale(root: Path) -> Layout:
    layout = planned.layout_of(root)
    _scan(layout, scan_id="scan-9", taken_at_ms=seeded.NOW_MS - seeded.MINUTE)
    return layout


def _denied(root: Path) -> Layout:
    layout = planned.layout_of(root)
    _scan(layout, denied=("shop.orders", "shop.payments"))
    return layout


def _scan(layout: Layout, **what: Any) -> None:
    journal = Journal(layout.journal)
    planned.put_scan(journal, **what)
    journal.close()


def _broken(root: Path) -> Layout:
    layout = planned.layout_of(root)
    layout.plan.write_text(layout.plan.read_text().replace("batches:", "batchs:"))
    return layout


def _no_plan(root: Path) -> Layout:
    layout = planned.layout_of(root)
    layout.plan.unlink()
    return layout


def _glued(root: Path) -> Layout:
    return planned.layout_of(root, archive=True)


def _making(root: Path) -> Layout:
    layout = _no_plan(root)
    journal = Journal(layout.journal)
    seeded_fleet.put_operation(journal, OperationKind.PLAN, "plan-1", OperationStatus.RUNNING)
    journal.close()
    return layout


def _unmade(root: Path) -> Layout:
    """The plan could not be made anew; the old one is there."""
    layout = planned.layout_of(root)
    seeded.write_long_ago(layout.plan)
    journal = Journal(layout.journal)
    error = {
        "title": "The plan could not be made.",
        "cause": "rules.yml puts shop.orders into two batches.",
        "next_step": "Mend rules.yml, then press p.",
        "kind": "usage",
    }
    seeded_fleet.put_operation(journal, OperationKind.PLAN, "plan-1", OperationStatus.FAILED, error=error)
    journal.close()
    return layout


# Name: how it comes about, the screen with its subject, keys, and what is there when it is drawn.
STATES: dict[str, tuple[Callable[[Path], Layout], str, str, tuple[str, ...], str]] = {
    "board": (_whole, "plan", "iot", (), "Why iot is one batch"),
    "card": (_whole, "plan", "topic\0shop\0shop.payments", (), "fraud-check (shop)"),
    "under-way": (_whole, "plan", "hr", (), "not edited here any more"),
    "marked": (_whole, "plan", "topic\0shop\0shop.orders", ("space", "space"), "2 marked"),
    "why": (_whole, "plan", "iot", ("enter",), "producers wait about"),
    "move": (_whole, "plan", "topic\0shop\0shop.orders", ("m",), "Move shop.orders to"),
    "torn": (_torn, "plan", "topic\0iot\0shop.payments", (), "torn apart"),
    "stale": (_stale, "plan", "shop", (), "older than the scan"),
    "denied": (_denied, "plan", "topic\0shop\0shop.orders", (), "grant Describe"),
    "broken": (_broken, "plan", "", (), "batchs"),
    "no-plan": (_no_plan, "plan", "", (), "There is no plan yet."),
    "making": (_making, "plan", "", (), "The plan is being made"),
    "unmade": (_unmade, "plan", "iot", (), "Mend rules.yml"),
    "no-scan": (seeded.bare, "plan", "", (), "no scan to make it from"),
    "graph": (_glued, "graph", "shop.orders", ("b",), "read from both clusters"),
    "cut": (_glued, "graph", "shop.orders", ("b", "X"), "with no batch"),
}


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
@pytest.mark.parametrize("state", STATES)
async def test_every_state_is_designed(
    state: str, size: tuple[int, int], root: Path, make_app: Callable[..., KferryApp], svg: Any
) -> None:
    make, screen, subject, keys, shows = STATES[state]
    layout = make(root)
    with engine_lock(layout):
        app = make_app(layout)
        async with app.run_test(size=size) as pilot:
            await app.drawn(screen, subject)
            for key in keys:
                await pilot.press(key)
            await until(pilot, lambda: shows in " ".join(screen_text(app).split()))
            assert await settled(pilot, app) == svg(name=f"{state}-{size[0]}x{size[1]}")


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
async def test_a_plan_that_is_still_read(
    size: tuple[int, int], root: Path, make_app: Callable[..., KferryApp], svg: Any
) -> None:
    layout = planned.layout_of(root)
    app = make_app(layout)
    found = await picture_while_read(app, layout, PlanScreen, lambda: app.go_to("plan"), "Reading plan.yml…", size)
    assert found == svg(name=f"loading-{size[0]}x{size[1]}")
