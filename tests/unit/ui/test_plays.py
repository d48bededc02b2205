"""Plays on the Runs screen and in full: host by host, failures in full, following until the operator scrolls."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kferry.client import play
from kferry.domain.runbook import OperationKind, OperationStatus
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.tables import RunEventRow
from kferry.ui.app import KferryApp
from kferry.ui.widgets.chrome import Plain
from kferry.ui.widgets.follow import FollowScroll
from kferry.ui.widgets.keyed_table import KeyedTable
from support import seeded_fleet
from support.seeded import NOW_MS
from support.ui_app import answering_engine, engine_lock, screen_text, text_of, until

from .test_pictures import settled

Make = Callable[..., KferryApp]
TAIL = [f"ok: [w{at}]" for at in range(1, 40)] + ['fatal: [w5]: FAILED! => {"msg": "No space left on device"}']


@pytest.fixture(scope="session")
def _play_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seeded_fleet.fleet(tmp_path_factory.mktemp("plays") / "m").root


@pytest.fixture
def layout(_play_template: Path, tmp_path: Path) -> Layout:
    root = tmp_path / "m"
    shutil.copytree(_play_template, root)
    return Layout(root)


@pytest.fixture
def journal(layout: Layout) -> Journal:
    return Journal(layout.journal)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
async def test_pictures(
    size: tuple[int, int], layout: Layout, make_app: Make, svg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(play, "log_tail", lambda _path: (TAIL, ""))
    app = make_app(layout)
    wrong = []

    async def look(name: str, words: str) -> None:
        await until(pilot, lambda: words in screen_text(app))
        if sys.version_info[:2] == (3, 11) and await settled(pilot, app) != svg(name=f"{name}-{size[0]}x{size[1]}"):
            wrong.append(name)

    with engine_lock(layout):
        async with app.run_test(size=size) as pilot:
            await app.drawn("runs")
            app.screen.query_one("#runs", KeyedTable).select("run-scale")
            await look("runs-live", "No route to host")
            await app.drawn("run", "run-scale")
            await look("run-hosts", "Make room there")
            await pilot.press("l")
            await look("run-play", "▾ Workers" if size[1] > 30 else "does not answer yet")
            await pilot.press("l")
            await look("run-log", "fatal: [w5]")
    assert not wrong, f"look different: {wrong}; if it is meant, run pytest --snapshot-update"


async def test_failed_hosts_come_first_with_the_whole_message(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    with engine_lock(layout):
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("run", "run-scale")
            table = app.screen.query_one("#hosts", KeyedTable)
            await until(pilot, lambda: len(table.shown) == 4)
            assert [row.key for row in table.shown] == ["w5", "w4", "w2", "w1"]
            words = text_of(app.screen.query_one("#host-box Plain", Plain))
            assert "No space left on device: 412 MB are needed below /opt/kferry, 96 MB are free." in words
            assert "Make room there, then run the step again." in words
            assert "next  then: take workers that left" in text_of(app.screen.query_one("#run-head"))
            table.select("w2")
            await until(pilot, lambda: "◐ now" in text_of(app.screen.query_one("#host-box Plain", Plain)))
            assert "tried 2 times" in text_of(app.screen.query_one("#host-box Plain", Plain))


async def test_a_live_play_is_followed_until_the_operator_scrolls(
    layout: Layout, journal: Journal, make_app: Make
) -> None:
    steps = [("play", "", "", "", "")]
    for at in range(60):
        steps += [("step", "role", f"Step {at}", "", ""), ("ok", "role", f"Step {at}", "w1", "")]
    seeded_fleet.put_play(journal, "run-long", "op-scale", "scale", events=steps)
    app = make_app(layout)
    with engine_lock(layout):
        async with app.run_test(size=(80, 24)) as pilot:
            await app.drawn("run", "run-long")
            await pilot.press("l")
            box = app.screen.query_one("#tree-box", FollowScroll)
            await until(pilot, lambda: box.max_scroll_y > 0 and box.scroll_offset.y == box.max_scroll_y)
            assert "Step 59" in screen_text(app) and "follows" in screen_text(app)
            await pilot.press("k", "k", "k")
            await until(pilot, lambda: not box.at_end)
            at, most = box.scroll_offset.y, box.max_scroll_y
            rows = [("step", ""), ("ok", "w1")]
            journal.add_run_events(
                RunEventRow(
                    run_id="run-long", seq=500 + seq, at_ms=NOW_MS, kind=kind, play="Workers", role="role",
                    step="Step 60", host=host, message="",
                )
                for seq, (kind, host) in enumerate(rows)
            )  # fmt: skip
            await pilot.press("r")
            await until(pilot, lambda: box.max_scroll_y > most)
            assert box.scroll_offset.y == at
            assert "stands still: G follows again" in screen_text(app)
            await pilot.press("G")
            await until(pilot, lambda: "Step 60" in screen_text(app))
            assert box.at_end


async def test_the_log_shows_its_end_and_nothing_of_it_is_obeyed(
    layout: Layout, journal: Journal, make_app: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    lines = [f"line {at}" for at in range(900)]
    lines += ["\x1b[31mred\x1b[0m \x1b]52;c;YQ==\x07 [@click=app.quit]x[/]", "the last line"]
    (folder / "output.log").write_text("\n".join(lines) + "\n")
    seeded_fleet.put_play(
        journal, "run-done", "op-scale", "scale", events=seeded_fleet.scale_events(), status="failed", directory=folder
    )
    app = make_app(layout)
    async with app.run_test(size=(100, 30)) as pilot:
        await app.drawn("run", "run-done")
        await pilot.press("h")
        await until(pilot, lambda: "the last line" in screen_text(app))
        assert "red \\x1b]52;c;YQ==\\x07 [@click=app.quit]x[/]" in screen_text(app)
        assert "line 100\n" not in text_of(app.screen.query_one("#log-box Plain", Plain)) + "\n"
        for x in range(2, 90, 5):
            await pilot.click(offset=(x, 26))
        assert app.is_running and app.return_code is None


async def test_the_list_tells_the_play_under_the_cursor(layout: Layout, make_app: Make) -> None:
    app = make_app(layout)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("runs")
        app.screen.query_one("#runs", KeyedTable).select("run-shop-workers")
        box = app.screen.query_one("#glance-box Plain", Plain)
        await until(pilot, lambda: "port 18085 is taken by process 977" in text_of(box))
        assert "a later play of this operation followed" in text_of(box)
        app.screen.query_one("#runs", KeyedTable).select("run-scale")
        await until(pilot, lambda: "No space left on device" in text_of(box))
        assert "port 18085" not in text_of(box)


async def test_t_runs_the_failed_step_again(layout: Layout, journal: Journal, make_app: Make) -> None:
    told = {"title": "w5: no room.", "cause": "", "next_step": "Make room.", "log": "", "kind": "failed"}
    seeded_fleet.put_operation(
        journal, OperationKind.SCALE_TASK, "op-scale", OperationStatus.NEEDS_OPERATOR, subject="shop", error=told
    )
    app = make_app(layout)
    with answering_engine(layout, lambda kind, args: ("done", "", {})) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("run", "run-scale")
            await until(pilot, lambda: "next  Make room." in screen_text(app))
            await pilot.press("t")
            await until(pilot, lambda: seen)
            assert seen[0] == ("answer", {"operation_id": "op-scale", "step": "scale", "answer": {"retry": True}})
            await pilot.press("d")
            await until(pilot, lambda: len(seen) == 2)
            assert seen[1] == ("diagnose", {"task": "shop"})
