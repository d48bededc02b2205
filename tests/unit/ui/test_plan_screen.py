"""The Plan screen: edits by keys with what they break in view, undo, and every state it can be in."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from kferry.client import actions
from kferry.domain.model import Plan
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.plan_file import load_plan
from kferry.ui.app import KferryApp
from kferry.ui.modals.ask import TextDialog
from kferry.ui.modals.pick import PickDialog
from kferry.ui.screens.plan import PlanScreen
from kferry.ui.widgets.board import Board
from support import planned, seeded
from support.ui_app import answering_engine, screen_text, text_of, until

Make = Callable[..., KferryApp]
WIDE = (120, 36)


@pytest.fixture
def planned_layout(tmp_path: Path) -> Layout:
    return planned.layout_of(tmp_path / "m")


def board_of(app: KferryApp) -> Board:
    return app.screen.query_one(Board)


def notice(app: KferryApp) -> str:
    return text_of(app.front.query_one("#notice"))


def why(app: KferryApp) -> str:
    return text_of(app.front.query_one("#why"))


def home(plan: Plan, name: str) -> str | None:
    return next((batch.name for batch in plan.batches if name in (*batch.topics, *batch.groups)), None)


async def pick(pilot: Pilot[None], app: KferryApp, typed: str) -> None:
    await until(pilot, lambda: isinstance(app.screen, PickDialog))
    await pilot.press(*typed, "enter")
    await until(pilot, lambda: not isinstance(app.screen, PickDialog))


async def test_a_topic_moved_out_of_its_group_is_said_in_red_at_once(planned_layout: Layout, make_app: Make) -> None:
    app = make_app(planned_layout)
    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan", "shop")
        await pilot.press("j", "m")
        await pick(pilot, app, "iot")
        await until(pilot, lambda: home(load_plan(planned_layout), "shop.orders") == "iot")
        await until(pilot, lambda: "2 things are torn apart" in notice(app))
        assert board_of(app).cursor_text == "shop.orders"  # the cursor goes with it
        assert "Group billing moves in batch shop, but it also reads shop.orders (batch iot)" in why(app)
        text = screen_text(app)
        assert "✗ Group billing moves in" in text  # on the heads of both batches
        assert "t✗ shop.orders" in text
        assert "g✗ billing" in text
        await pilot.press("u")
        await until(pilot, lambda: home(load_plan(planned_layout), "shop.orders") == "shop")
        await until(pilot, lambda: not app.front.query_one("#notice").display)


async def test_marked_cards_are_split_off_and_merged_back(planned_layout: Layout, make_app: Make) -> None:
    app = make_app(planned_layout)
    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan", "shop")
        await pilot.press("/", *"web.cl", "enter")
        await pilot.press("escape")
        board_of(app).select("shop", "topic\0shop.payments")
        await pilot.press("space", "space")
        assert board_of(app).model.marked == {"topic\0shop.payments", "topic\0shop.returns"}
        await until(pilot, lambda: "2 marked" in screen_text(app))
        await pilot.press("S")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        await pilot.press(*"shop-tx", "enter")
        await until(pilot, lambda: load_plan(planned_layout).batch("shop-tx") is not None)
        plan = load_plan(planned_layout)
        assert plan.batch("shop-tx").topics == ("shop.payments", "shop.returns")  # type: ignore[union-attr]
        assert [batch.name for batch in plan.batches] == ["hr", "iot", "shop", "shop-tx", "web"]
        await until(pilot, lambda: "fraud-check" in notice(app))
        board_of(app).select("shop-tx")
        await pilot.press("M")
        await pick(pilot, app, "shop")
        await until(pilot, lambda: load_plan(planned_layout).batch("shop-tx") is None)
        await until(pilot, lambda: not app.front.query_one("#notice").display)


async def test_batches_are_put_in_order_and_pinned(planned_layout: Layout, make_app: Make) -> None:
    app = make_app(planned_layout)

    def order() -> list[str]:
        return [batch.name for batch in load_plan(planned_layout).batches]

    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan", "shop")
        await pilot.press("K", "J", "J")  # quickly: each is made on what the one before wrote
        await until(pilot, lambda: order() == ["hr", "iot", "web", "shop"])
        await pilot.press("m")
        await pick(pilot, app, "before iot")
        await until(pilot, lambda: order() == ["hr", "shop", "iot", "web"])
        await until(pilot, lambda: "2 shop" in screen_text(app))
        await pilot.press("P")
        await until(pilot, lambda: "2 shop ■pinned" in screen_text(app))
        for _ in range(5):
            await pilot.press("u")
        await until(pilot, lambda: order() == list(planned.BATCHES))
        assert not load_plan(planned_layout).batches[2].pinned
        await until(pilot, lambda: "3 shop " in screen_text(app))
        assert not app.errors


async def test_what_is_left_behind_stands_in_a_pile_of_its_own_and_comes_back(
    planned_layout: Layout, make_app: Make
) -> None:
    app = make_app(planned_layout)
    async with app.run_test(size=(160, 36)) as pilot:
        await app.drawn("plan", "web")
        await pilot.press("j", "d")
        await until(pilot, lambda: load_plan(planned_layout).batch("web") is None)
        await until(pilot, lambda: board_of(app).model.column.key == "\0left out")  # type: ignore[union-attr]
        await until(pilot, lambda: "web.clicks" in why(app) and "stays: left out by the operator" in why(app))
        await pilot.press("m")
        await pick(pilot, app, "web-again")
        await until(pilot, lambda: home(load_plan(planned_layout), "web.clicks") == "web-again")


async def test_a_batch_under_way_is_not_edited_and_says_what_to_do_instead(
    planned_layout: Layout, make_app: Make
) -> None:
    before = planned_layout.plan.read_bytes()
    app = make_app(planned_layout)
    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan", "hr")
        assert "not edited here any more; o opens its migration task" in why(app)
        for keys in (("j", "m"), ("d",), ("S",), ("k", "J"), ("P",), ("M",)):
            await pilot.press(*keys)
            await until(pilot, lambda: "hr is replicating: change its migration task" in screen_text(app))
            app.front.query_one("KeyBar").hush()  # type: ignore[attr-defined]
        # and nothing can be moved into it
        board_of(app).select("web", "topic\0web.clicks")
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, PickDialog))
        text = screen_text(app)
        assert "shop" in text
        assert "1: 2 topics" not in text
        await pilot.press("escape")
        assert planned_layout.plan.read_bytes() == before


async def test_a_plan_that_someone_else_changed_is_not_overwritten(planned_layout: Layout, make_app: Make) -> None:
    app = make_app(planned_layout)
    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan", "shop")
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, PickDialog))
        planned_layout.plan.write_text(planned_layout.plan.read_text().replace("hr.audit", "hr.audits"))
        theirs = planned_layout.plan.read_bytes()
        await pick(pilot, app, "at the end")
        await until(pilot, lambda: app.errors)
        assert "changed by someone else" in app.errors[-1].title
        assert planned_layout.plan.read_bytes() == theirs


async def test_a_read_only_session_edits_nothing(planned_layout: Layout, make_app: Make) -> None:
    before = planned_layout.plan.read_bytes()
    app = make_app(planned_layout, read_only=True)
    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan", "shop")
        for action in actions.for_screen("plan", with_global=False):
            if action.changes and action.intent is None:
                app.errors.clear()
                await pilot.press(action.keys[0])
                await until(pilot, lambda: app.errors)
                assert "read-only" in app.errors[-1].title
        assert planned_layout.plan.read_bytes() == before


async def test_next_violation_goes_round(planned_layout: Layout, make_app: Make) -> None:
    app = make_app(planned_layout)
    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan", "shop")
        await pilot.press("N")
        await until(pilot, lambda: "Nothing is torn apart." in screen_text(app))
        board_of(app).select("shop", "topic\0shop.returns")
        await pilot.press("m")
        await pick(pilot, app, "web")
        await until(pilot, lambda: "torn apart" in notice(app))
        await pilot.press("g", "N")
        await until(pilot, lambda: board_of(app).model.column.key == "shop")  # type: ignore[union-attr]
        await pilot.press("N")
        await until(pilot, lambda: board_of(app).model.column.key == "web")  # type: ignore[union-attr]


async def test_enter_reads_why_in_full_and_esc_comes_back(planned_layout: Layout, make_app: Make) -> None:
    app = make_app(planned_layout)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.drawn("plan", "iot")
        small = app.front.query_one("#why-box").size.height
        await pilot.press("enter")
        await until(pilot, lambda: app.front.query_one("#why-box").size.height > small)
        assert app.front.query_one("#why-box").has_focus
        await pilot.press("j", "escape")
        await until(pilot, lambda: board_of(app).has_focus)
        assert isinstance(app.screen, PlanScreen)


# ---- states -------------------------------------------------------------------------------------------------------


async def test_no_scan_yet(tmp_path: Path, make_app: Make) -> None:
    app = make_app(seeded.bare(tmp_path / "m"))
    async with app.run_test(size=(80, 24)) as pilot:
        await app.drawn("plan")
        await until(pilot, lambda: "There is no plan yet, and no scan to make it from." in screen_text(app))
        assert "Press 3, then S" in screen_text(app)
        for key in "jkhlgGmSMPuJKdNvo":  # nothing is under the cursor: each says so or does nothing
            await pilot.press(key)
        await pilot.press("space", "enter", "escape")
        assert app.screen.query_one(Board).model.shown == ()


async def test_a_scan_and_no_plan(planned_layout: Layout, make_app: Make) -> None:
    planned_layout.plan.unlink()
    app = make_app(planned_layout)
    with answering_engine(planned_layout, lambda kind, args: ("done", "", {})) as seen:
        async with app.run_test(size=(80, 24)) as pilot:
            await app.drawn("plan")
            await until(pilot, lambda: "It is made from the scan once preflight" in screen_text(app))
            await pilot.press("p")
            await until(pilot, lambda: ("plan", {"overwrite": False}) in seen)
            await until(pilot, lambda: "✓ plan: done." in screen_text(app))


async def test_a_plan_that_cannot_be_read_says_where_and_comes_back(planned_layout: Layout, make_app: Make) -> None:
    good = planned_layout.plan.read_text()
    planned_layout.plan.write_text(good.replace("batches:", "batchs:"))
    app = make_app(planned_layout)
    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan")
        await until(pilot, lambda: "plan.yml cannot be read" in screen_text(app))
        assert "batchs" in why(app)
        assert "batches" in why(app)  # the nearest valid key
        planned_layout.plan.write_text(good)
        app.poller.wake()
        await until(pilot, lambda: "3 shop" in screen_text(app))


async def test_a_scan_newer_than_the_plan_is_said(planned_layout: Layout, make_app: Make) -> None:
    journal = Journal(planned_layout.journal)
    planned.put_scan(journal, scan_id="scan-9", taken_at_ms=seeded.NOW_MS)
    journal.close()
    app = make_app(planned_layout)
    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan")
        await until(pilot, lambda: "The plan is older than the scan of 2026-11-20 03:12Z" in notice(app))
        assert "p makes it anew" in notice(app)


async def test_without_a_scan_an_edit_is_made_and_says_that_nothing_is_known(tmp_path: Path, make_app: Make) -> None:
    layout = planned.layout_of(tmp_path / "m", scan=False)
    app = make_app(layout)
    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan", "shop")
        await until(pilot, lambda: "No scan is kept" in notice(app))
        assert "size unknown" in screen_text(app)
        await pilot.press("K")
        await until(pilot, lambda: "unknown without a scan" in screen_text(app))


async def test_topics_that_could_not_be_read_are_marked_and_their_sum_is_unknown(
    planned_layout: Layout, make_app: Make
) -> None:
    journal = Journal(planned_layout.journal)
    planned.put_scan(journal, denied=("shop.orders",))
    journal.close()
    app = make_app(planned_layout)
    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan", "shop")
        await until(pilot, lambda: "not read" in screen_text(app))
        assert "size unknown" in screen_text(app)
        await pilot.press("j")
        await until(pilot, lambda: "grant Describe on the topic" in why(app))


async def test_rules_that_cannot_be_read_are_said(planned_layout: Layout, make_app: Make) -> None:
    planned_layout.rules.write_text("cutz: []\n")
    app = make_app(planned_layout)
    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan")
        await until(pilot, lambda: "rules.yml cannot be read, so no rules hold" in notice(app))


async def test_hostile_names_are_text(tmp_path: Path, make_app: Make) -> None:
    from kferry.client.sanitize import clean

    name = "[/][@click=app.quit]x[b] {{ 1 }} \u202e" + "g" * 200
    layout = planned.layout_of(tmp_path / "m", hostile=name)
    app = make_app(layout)
    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan", f"group\0iot\0{name}")
        shown = clean(name)[:18]
        await until(pilot, lambda: shown in screen_text(app))
        assert clean(name)[:60] in clean(why(app))
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, PickDialog))
        assert shown in screen_text(app)
        await pilot.press("escape", "space", "v")
        await until(pilot, lambda: app.front.NAME == "graph")
        await until(pilot, lambda: shown in screen_text(app))
        assert "\u202e" not in screen_text(app)
        for x in range(3, 100, 8):
            await pilot.click(offset=(x, 6))
        assert app.is_running


# ---- size ---------------------------------------------------------------------------------------------------------


async def test_200_batches_with_10_000_topics_draw_only_what_is_in_view(tmp_path: Path, make_app: Make) -> None:
    from kferry.domain import model
    from kferry.store import plan_file

    layout = planned.layout_of(tmp_path / "m", scan=False)
    batches = [
        model.Batch(f"batch-{at:03}", tuple(f"sys-{at:03}.topic-{n:02}" for n in range(50)), (f"app-{at:03}",))
        for at in range(200)
    ]
    plan_file.write_plan(layout, model.Plan("scan-7", tuple(batches)))
    app = make_app(layout)
    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan")
        board = board_of(app)
        await until(pilot, lambda: len(board.model.shown) == 200)
        await pilot.pause(0.3)
        painted = board.painted_lines
        start = time.perf_counter()
        for _ in range(20):
            await pilot.press("l")
        await pilot.press("G")
        took = time.perf_counter() - start
        assert board.cursor_text == "app-020"
        assert board.painted_lines - painted <= 22 * board.size.height  # a screenful for each step at the most
        assert took < 60  # pilot waits at each key; this only finds what is out of all proportion
        board.select("batch-199", "topic\0sys-199.topic-49")
        await until(pilot, lambda: "sys-199.topic-49" in screen_text(app))


async def test_the_filter_compares_and_says_what_it_does_not_understand(planned_layout: Layout, make_app: Make) -> None:
    app = make_app(planned_layout)
    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan", "shop")
        await pilot.press("/", *"kind:group")
        await until(pilot, lambda: "Plan · 4 of 4" in screen_text(app))
        assert "shop.orders" not in screen_text(app).split("Why")[0]
        await pilot.press(*" size>x")
        await until(pilot, lambda: "no figure" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "Plan · 4 " in screen_text(app) and "shop.orders" in screen_text(app))
        await pilot.press("/", *"clicks", "enter")
        await until(pilot, lambda: "Plan · 1 of 4" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "4 of 4" not in screen_text(app))


async def test_marks_stay_where_an_edit_was_refused(planned_layout: Layout, make_app: Make) -> None:
    app = make_app(planned_layout)
    async with app.run_test(size=WIDE) as pilot:
        await app.drawn("plan", "topic\0iot\0iot.alerts")
        await pilot.press("space", "space", "S")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        await pilot.press(*"iot-late", "enter")
        await until(pilot, lambda: app.errors)
        assert "leaves a batch without topics" in app.errors[-1].title
        assert len(board_of(app).model.marked) == 2
