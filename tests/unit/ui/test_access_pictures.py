"""Pictures of the Access screen in each of its states, at 80x24 and 120x36, with the clock stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kferry.domain.access import Access
from kferry.domain.access_items import AccessPlan, Side
from kferry.domain.access_mapping import PrincipalMapping
from kferry.domain.access_plan import plan_access
from kferry.domain.runbook import OperationKind, OperationStatus
from kferry.store.journal import Journal
from kferry.ui.app import KferryApp
from kferry.ui.screens.access import AccessScreen
from kferry.ui.widgets.keyed_table import KeyedTable
from support import access_docs, planned, seeded, seeded_fleet
from support.seeded import HOUR, MINUTE, NOW_MS, SECOND
from support.ui_app import engine_lock, screen_text, until

from .test_pictures import picture_while_read, settled
from .test_pictures import pytestmark as pytestmark

Make = Callable[..., KferryApp]
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
AWAY = {
    "title": "Cannot reach the target at automq-1:9092.",
    "cause": "TCP automq-1:9092: refused: nothing listens there.",
    "next_step": "Test the connections (2, then t), then compare again with p.",
    "kind": "connect",
}
NOT_ALLOWED = "kferry's user may not DESCRIBE the cluster"


def _never(journal: Journal) -> None:
    pass


def _first(journal: Journal) -> None:
    kind, running = OperationKind.PLAN_ACCESS, OperationStatus.RUNNING
    seeded_fleet.put_operation(journal, kind, "op-1", running, at_ms=NOW_MS - 2 * SECOND)


def _drift(journal: Journal) -> None:
    access_docs.put_plan(journal, access_docs.a_plan(), NOW_MS - MINUTE)


def _again(journal: Journal) -> None:
    _drift(journal)
    _first(journal)


def _denied(journal: Journal) -> None:
    """The source tells its ACLs and nothing else; the target tells nothing."""
    source = Access(acls=(access_docs.acl("User:app", "read", "shop.orders"),))
    told = Side(source, True, None, 3, {"quotas": NOT_ALLOWED, "scram_users": NOT_ALLOWED})
    untold = Side(Access(), None, None, None, dict.fromkeys(("acls", "quotas", "scram_users"), NOT_ALLOWED))
    access_docs.put_plan(journal, plan_access(told, untold, PrincipalMapping(), access_docs.SHOP), NOW_MS - MINUTE)


def _blind(journal: Journal) -> None:
    """Neither side tells anything: no row, and that is not "nothing to do"."""
    untold = Side(Access(), None, None, None, dict.fromkeys(("acls", "quotas", "scram_users"), NOT_ALLOWED))
    access_docs.put_plan(journal, plan_access(untold, untold, PrincipalMapping(), access_docs.SHOP), NOW_MS - MINUTE)


def _nothing(journal: Journal) -> None:
    access_docs.put_plan(journal, AccessPlan(()), NOW_MS - MINUTE)


def _old(journal: Journal) -> None:
    access_docs.put_plan(journal, access_docs.a_plan(), NOW_MS - 50 * HOUR)


def _other_plan(journal: Journal) -> None:
    """plan.yml is three hours old."""
    access_docs.put_plan(journal, access_docs.a_plan(), NOW_MS - 4 * HOUR)


def _failed(journal: Journal) -> None:
    kind, failed = OperationKind.PLAN_ACCESS, OperationStatus.FAILED
    seeded_fleet.put_operation(journal, kind, "op-1", failed, at_ms=NOW_MS - 2 * SECOND, error=AWAY)


def _failed_again(journal: Journal) -> None:
    _drift(journal)
    _failed(journal)


STATES: dict[str, tuple[Callable[[Journal], None], str]] = {
    "never": (_never, "Not compared yet. Press p"),
    "first": (_first, "compared for the first time"),
    "drift": (_drift, "≠ drift"),
    "again": (_again, "Compare ACLs, quotas and SCRAM users…"),
    "denied": (_denied, "? 5 not known"),
    "blind": (_blind, "No row could be made"),
    "empty": (_nothing, "There is nothing to compare"),
    "stale": (_old, "This is old"),
    "other-plan": (_other_plan, "was changed since"),
    "failed": (_failed, "nothing listens there"),
    "failed-again": (_failed_again, "compared 1 min ago"),
}


@SIZES
@pytest.mark.parametrize("state", STATES)
async def test_every_state_says_what_it_is(
    state: str, size: tuple[int, int], root: Path, make_app: Make, svg: Any
) -> None:
    prepare, says = STATES[state]
    layout = planned.layout_of(root)
    written = (NOW_MS - (3 if state == "other-plan" else 60) * HOUR) / 1000
    os.utime(layout.plan, (written, written))
    journal = Journal(layout.journal)
    prepare(journal)
    journal.close()
    app = make_app(layout)
    with engine_lock(layout):
        async with app.run_test(size=size) as pilot:
            await app.drawn("access")
            await settled(pilot, app)
            table = app.screen.query_one("#access", KeyedTable)
            if table.shown:
                table.action_jump(0)
            await until(pilot, lambda: says in " ".join(screen_text(app).split()))
            assert not app.errors
            assert await settled(pilot, app) == svg(name=f"{state}-{size[0]}x{size[1]}")


@SIZES
async def test_a_journal_that_is_still_read(size: tuple[int, int], root: Path, make_app: Make, svg: Any) -> None:
    layout = seeded.bare(root)
    app = make_app(layout)
    found = await picture_while_read(
        app, layout, AccessScreen, lambda: app.open_detail(AccessScreen()), "Reading the journal…", size
    )
    assert found == svg(name=f"loading-{size[0]}x{size[1]}")
