"""Every state of the Inventory and of Preflight says what it is, in words and as a picture, also in small terminals."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kferry.domain import model
from kferry.domain.runbook import OperationKind
from kferry.store.paths import Layout
from kferry.ui.app import KferryApp
from support import seeded
from support.ui_app import engine_lock, screen_text, until

from . import survey_states as states
from .test_pictures import settled

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="pictures are compared on Python 3.11 only: versions draw some glyphs apart"
)

SCAN = OperationKind.SCAN
PREFLIGHT = OperationKind.PREFLIGHT


def _never(layout: Layout) -> None:
    pass


def _loading(layout: Layout) -> None:
    """The first scan runs and has found something."""
    states.running(layout, SCAN)
    states.progress(layout, "topics", 30_000, 100_000, share=0.19, eta_seconds=102.3)
    whole = states.scan()
    part = replace(whole, topics=whole.topics[:2], groups=(), complete=False, notes=("Groups are still to be read.",))
    states.put_scan(layout, part, kind="scan_partial")


def _whole(layout: Layout) -> None:
    states.put_scan(layout)


def _changed(layout: Layout) -> None:
    states.put_scan(layout)
    states.put_diff(layout)


def _stale(layout: Layout) -> None:
    states.put_scan(layout, minutes_ago=3 * 24 * 60)


def _failed(layout: Layout) -> None:
    states.put_scan(layout, minutes_ago=120)
    states.failed(layout, SCAN, "No broker of the source answers.", "old-1:9092: timed out.", "Check the network.")


def _denied(layout: Layout) -> None:
    whole = states.scan()
    capabilities = {**whole.cluster.capabilities, "acls": model.Capability.DENIED, "quotas": model.Capability.DENIED}
    states.put_scan(layout, replace(whole, cluster=replace(whole.cluster, capabilities=capabilities)))


def _empty(layout: Layout) -> None:
    states.put_scan(layout, states.scan(topics=(), groups=()))


INVENTORY: dict[str, tuple[Callable[[Layout], None], str, tuple[str, ...]]] = {
    "never": (_never, "Press S to scan", ()),
    "loading": (_loading, "19 %, about 1 min 42 s left", ()),
    "whole": (_whole, "secret.salaries", ()),
    "details": (_whole, "esc: close", ("enter",)),
    "groups": (_whole, "forgotten", ("l",)),
    "changes": (_changed, "gone.topic", ("h",)),
    "stale": (_stale, "stale (S scans again)", ()),
    "failed": (_failed, "No broker of the source answers.", ()),
    "denied": (_denied, "denied: acls, quotas", ()),
    "empty": (_empty, "The source has no topics.", ()),
}


def _clear(layout: Layout) -> None:
    states.put_findings(layout, [])


def _found(layout: Layout) -> None:
    states.put_findings(layout, states.many_findings())


def _old(layout: Layout) -> None:
    states.put_findings(layout, states.many_findings(), minutes_ago=60)
    states.put_scan(layout, minutes_ago=10)


def _runs(layout: Layout) -> None:
    states.running(layout, PREFLIGHT)


def _broke(layout: Layout) -> None:
    states.put_findings(layout, states.many_findings(), minutes_ago=60)
    states.failed(layout, PREFLIGHT, "The source could not be asked.", "It is down.", "Start it, then press p.")


CHECKS: dict[str, tuple[Callable[[Layout], None], str, tuple[str, ...]]] = {
    "never": (_never, "Preflight has not run yet", ()),
    "runs": (_runs, "preflight runs", ()),
    "found": (_found, "Record size: shop.orders", ("j",)),
    "unfolded": (_found, "topic name  12", ("z", "z")),
    "stale": (_old, "p looks again", ()),
    "failed": (_broke, "The source could not be asked.", ()),
    "empty": (_clear, "Nothing was found", ()),
}


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
@pytest.mark.parametrize("state", INVENTORY)
async def test_inventory(
    state: str, size: tuple[int, int], tmp_path: Path, make_app: Callable[..., KferryApp], svg: Any
) -> None:
    await _see("inventory", INVENTORY[state], size, tmp_path, make_app, svg(name=f"inventory-{state}"))


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
@pytest.mark.parametrize("state", CHECKS)
async def test_preflight(
    state: str, size: tuple[int, int], tmp_path: Path, make_app: Callable[..., KferryApp], svg: Any
) -> None:
    await _see("preflight", CHECKS[state], size, tmp_path, make_app, svg(name=f"preflight-{state}"))


async def _see(
    name: str,
    case: tuple[Callable[[Layout], None], str, tuple[str, ...]],
    size: tuple[int, int],
    tmp_path: Path,
    make_app: Callable[..., KferryApp],
    picture: Any,
) -> None:
    prepare, says, keys = case
    layout = seeded.bare(tmp_path / "m")
    prepare(layout)
    app = make_app(layout)
    with engine_lock(layout):
        async with app.run_test(size=size) as pilot:
            await app.drawn(name)
            if keys:
                await settled(pilot, app)  # a scan is read in pieces
            for key in keys:
                await pilot.press(key)
            await until(pilot, lambda: says in " ".join(screen_text(app).split("\n")))
            assert not app.errors
            assert await settled(pilot, app) == picture


@pytest.mark.parametrize("state", ["loading", "whole", "failed", "denied"])
async def test_a_tiny_terminal_still_shows_rows(state: str, tmp_path: Path, make_app: Callable[..., KferryApp]) -> None:
    layout = seeded.bare(tmp_path / "m")
    INVENTORY[state][0](layout)
    states.put_findings(layout, states.many_findings())
    app = make_app(layout)
    with engine_lock(layout):
        async with app.run_test(size=(70, 18)) as pilot:
            await app.drawn("inventory")
            await until(pilot, lambda: "shop.orders" in screen_text(app))
            await app.drawn("preflight")
            await until(pilot, lambda: "Record size: shop" in screen_text(app))
            assert not app.errors
