"""The Access screen: each state, what its keys ask for, and hostile names as text."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from kferry.client import access
from kferry.domain.runbook import OperationKind, OperationStatus
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.queries import Reader
from kferry.ui.app import KferryApp
from kferry.ui.cells import plain
from kferry.ui.modals.ask import ChoiceDialog
from kferry.ui.modals.confirm import ConfirmDialog
from kferry.ui.modals.look import LookDialog
from kferry.ui.rows import access as access_rows
from kferry.ui.screens.access import AccessScreen
from kferry.ui.widgets.chrome import Plain
from kferry.ui.widgets.keyed_table import KeyedTable
from support import access_docs, seeded_fleet
from support.seeded import NOW_MS, SECOND
from support.ui_app import answering_engine, screen_text, text_of, until

from .conftest import HOSTILE
from .test_pictures import settled

Make = Callable[..., KferryApp]
SIZE = (140, 40)


@pytest.fixture
def journal(layout: Layout) -> Journal:
    return Journal(layout.journal)


@pytest.fixture
def planned(journal: Journal) -> None:
    access_docs.put_plan(journal, access_docs.a_plan(), NOW_MS - 60 * SECOND)


def key_of(subject: str) -> str:
    return str(next(n for n, item in enumerate(access_docs.a_plan().items) if item.subject == subject))


def table_of(app: KferryApp) -> KeyedTable:
    return app.screen.query_one("#access", KeyedTable)


async def test_it_opens_by_key_and_says_that_nothing_was_compared(
    layout: Layout, make_app: Make, engine_alive: None
) -> None:
    app = make_app(layout)
    async with app.run_test(size=SIZE) as pilot:
        await app.drawn("clusters")
        await pilot.press("a")
        await until(pilot, lambda: "Not compared yet. Press p" in screen_text(app))
        await pilot.press("w", "P", "A")
        assert isinstance(app.screen, ConfirmDialog | AccessScreen)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.front.NAME == "clusters")


@pytest.mark.usefixtures("planned")
async def test_the_plan_with_its_traps_and_the_details_of_a_row(
    layout: Layout, make_app: Make, engine_alive: None, journal: Journal
) -> None:
    access_docs.put_probe(journal, "target User:app", NOW_MS - 5 * SECOND)
    app = make_app(layout)
    async with app.run_test(size=SIZE) as pilot:
        await app.drawn("access")
        await settled(pilot, app)
        await until(pilot, lambda: "+ create" in screen_text(app))
        text = screen_text(app)
        assert "compared 1 min ago for plan.yml  5 create  2 drift  1 present  2 skipped" in text
        assert "Super users of the source" in text
        assert [row.cells[0].text for row in table_of(app).shown][:5] == ["+ create"] * 5
        table_of(app).select(key_of("User:app"))
        await until(pilot, lambda: "1 rights are missing" in screen_text(app))
        assert "✗ denied  read topic shop.orders" in screen_text(app)
        await pilot.press("slash", *"drift", "enter")
        await until(pilot, lambda: len(table_of(app).shown) == 2)
        await pilot.press("g")
        await until(pilot, lambda: "on the target alone; the source has no such ACL" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, LookDialog))
        await pilot.press("escape", "w")
        await until(pilot, lambda: isinstance(app.screen, LookDialog) and "Quotas hold per broker" in screen_text(app))


@pytest.mark.usefixtures("planned")
async def test_what_its_keys_ask_the_engine_for(layout: Layout, make_app: Make) -> None:
    plan = {"title": "Bring", "steps": [], "changes": [], "words": ["Nothing is removed."], "hash": "h1"}
    app = make_app(layout)
    with answering_engine(layout, lambda kind, args: ("done", "", plan if args.get("dry_run") else {})) as seen:
        async with app.run_test(size=SIZE) as pilot:
            await app.drawn("access")
            await settled(pilot, app)
            await until(pilot, lambda: table_of(app).shown)
            await pilot.press("p")
            await until(pilot, lambda: ("plan_access", {}) in seen)
            await pilot.press("A")
            await until(pilot, lambda: "Nothing is removed." in screen_text(app))
            await pilot.press("enter")
            await until(pilot, lambda: ("apply_access", {}) in seen)
            table_of(app).select(key_of("User:app"))
            await pilot.press("P")
            await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
            await pilot.press("enter")
            await until(pilot, lambda: ("probe_principal", {"cluster": "target", "principal": "User:app"}) in seen)
    rows = Reader(layout.root).rows("select expects from intent where kind='apply_access' order by rowid")
    assert [row["expects"] for row in rows] == [None, "h1"]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="pictures are compared on Python 3.11 only")
@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
@pytest.mark.usefixtures("planned")
async def test_pictures(
    size: tuple[int, int], layout: Layout, make_app: Make, engine_alive: None, journal: Journal, svg: Any
) -> None:
    access_docs.put_probe(journal, "target User:app", NOW_MS - 5 * SECOND)
    app = make_app(layout)
    async with app.run_test(size=size) as pilot:
        await app.drawn("access")
        await settled(pilot, app)
        await until(pilot, lambda: table_of(app).shown)
        table_of(app).select(key_of("User:app"))
        detail = app.screen.query_one("#detail").query_one(Plain)
        await until(pilot, lambda: "rights are missing" in text_of(detail))  # below the fold of a small terminal
        assert await settled(pilot, app) == svg(name=f"access-{size[0]}x{size[1]}")


@pytest.mark.usefixtures("planned")
async def test_a_read_only_session_changes_nothing(layout: Layout, make_app: Make, engine_alive: None) -> None:
    app = make_app(layout, read_only=True)
    async with app.run_test(size=SIZE) as pilot:
        await app.drawn("access")
        await settled(pilot, app)
        for key in ("p", "A", "P"):
            await pilot.press(key)
            await until(pilot, lambda: "This session is read-only" in screen_text(app))
            await pilot.press("x")
    assert Reader(layout.root).intents() == [] or all(
        intent.kind not in ("plan_access", "apply_access", "probe_principal")
        for intent in Reader(layout.root).intents()
    )


async def test_the_palette_leads_here(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with answering_engine(layout, lambda _kind, _args: ("done", "", {})) as seen:
        async with app.run_test(size=SIZE) as pilot:
            await app.drawn("plan")
            await app.perform_by_id("plan_access")
            await until(pilot, lambda: app.front.NAME == "access" and ("plan_access", {}) in seen)
            await app.go_to("overview")
            await app.perform_by_id("open_access")
            await until(pilot, lambda: app.front.NAME == "access")


async def test_everybody_cannot_be_probed(layout: Layout, make_app: Make, engine_alive: None, journal: Journal) -> None:
    access_docs.put_plan(journal, access_docs.a_plan(), NOW_MS)
    app = make_app(layout)
    async with app.run_test(size=SIZE) as pilot:
        await app.drawn("access")
        await settled(pilot, app)
        await until(pilot, lambda: table_of(app).shown)
        table_of(app).select(key_of("User:*"))
        await pilot.press("P")
        await until(pilot, lambda: "everybody cannot log in" in screen_text(app))


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (OperationStatus.RUNNING, None, "◐ Compare ACLs, quotas and SCRAM users…"),
        (
            OperationStatus.FAILED,
            {"title": "Cannot reach the source.", "cause": "No route.", "next_step": "Look at it.", "kind": "connect"},
            "✗ Cannot reach the source.",
        ),
    ],
    ids=["running", "failed"],
)
@pytest.mark.usefixtures("planned")
async def test_work_under_way_and_failures_stand_above_the_last_plan(
    layout: Layout,
    make_app: Make,
    engine_alive: None,
    journal: Journal,
    status: OperationStatus,
    error: dict[str, str] | None,
    words: str,
) -> None:
    seeded_fleet.put_operation(journal, OperationKind.PLAN_ACCESS, "op-9", status, at_ms=NOW_MS, error=error)
    app = make_app(layout)
    async with app.run_test(size=SIZE) as pilot:
        await app.drawn("access")
        await settled(pilot, app)
        await until(pilot, lambda: words in screen_text(app) and "compared 1 min ago" in screen_text(app))


async def test_hostile_names_are_text(layout: Layout, make_app: Make, engine_alive: None, journal: Journal) -> None:
    access_docs.put_plan(journal, access_docs.a_plan(HOSTILE, HOSTILE), NOW_MS)
    app = make_app(layout)
    async with app.run_test(size=SIZE) as pilot:
        await app.drawn("access")
        await settled(pilot, app)
        await until(pilot, lambda: "[/][@click" in screen_text(app))
        text = screen_text(app)
        assert "\x1b" not in text
        assert "\u202e" not in text
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, LookDialog))


async def test_10_000_rows_open_and_filter(
    layout: Layout, make_app: Make, engine_alive: None, journal: Journal
) -> None:
    body = access_docs.body(access_docs.a_plan(), NOW_MS)
    first = body["items"][0]
    body["items"] = [{**first, "subject": f"User:app-{number}"} for number in range(10_000)]
    journal.put_document("access_plan", "", json.dumps(body))
    app = make_app(layout)
    async with app.run_test(size=SIZE) as pilot:
        await app.drawn("access")
        await settled(pilot, app)
        await until(pilot, lambda: len(table_of(app).shown) == 10_000)
        await pilot.press("slash", *"app-9999", "enter")
        await until(pilot, lambda: len(table_of(app).shown) == 1)


def test_a_probe_that_never_was_says_how(layout: Layout, journal: Journal) -> None:
    access_docs.put_plan(journal, access_docs.a_plan(), NOW_MS)
    view = access.last_plan(Reader(layout.root))
    assert view is not None
    named, everybody = (view.items[int(key_of(subject))] for subject in ("User:app", "User:*"))
    assert "never probed on the target   P proves" in plain(access_rows.item_lines(named, None, NOW_MS))
    assert "probe" not in plain(access_rows.item_lines(everybody, None, NOW_MS))
