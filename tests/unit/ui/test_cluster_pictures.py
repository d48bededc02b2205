"""Pictures of the Clusters screen and of its form in each of their states, at 80x24 and 120x36."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kferry.domain.errors import KferryError
from kferry.domain.runbook import OperationKind, OperationStatus
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.ui.app import KferryApp
from kferry.ui.screens.clusters import ClustersScreen
from support import seeded, seeded_fleet
from support.seeded import HOUR, NOW_MS, SECOND
from support.ui_app import engine_lock, screen_text, until

from . import survey_states as states
from .test_cluster_form import drafting_engine, opened
from .test_pictures import picture_while_read, settled
from .test_pictures import pytestmark as pytestmark

Make = Callable[..., KferryApp]
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])

AWAY = KferryError(
    "Cannot reach the source at old-1:9092, old-2:9092.",
    cause="TCP old-1:9092: refused: nothing listens there.",
    next_step="Start its brokers, or mend the servers with e; then press t.",
).as_dict()
FAILED_LINES = [
    ["DNS old-1:9092", "ok", "10.0.0.11.", 0.0021],
    ["TCP old-1:9092", "failed", "Refused: nothing listens there.", 0.0004],
    ["TLS old-1:9092", "skipped", "TCP did not get there.", None],
]
WELL: dict[str, Any] = {
    "reachable": True,
    "kafka_version": "3.9",
    "cluster_id": "Zx9old-QmWkT",
    "broker_count": 3,
    "lines": [
        ["TCP old-1:9092", "ok", "Connected.", 0.0004],
        ["login", "ok", "Logged in with SCRAM-SHA-512.", 0.3],
        ["broker 1 old-1:9092", "ok", "DNS, TCP, TLS, Kafka are well.", 0.0061],
    ],
    "capabilities": {"topics": {"state": "supported", "words": "12 topics seen.", "grant": ""}},
    "error": None,
}
DENIED = {
    "acls": {"state": "denied", "words": "ACLs are not shown.", "grant": "DESCRIBE on the cluster"},
    "log_dirs": {"state": "denied", "words": "Sizes on disk are not shown.", "grant": "DESCRIBE on the cluster"},
    "quotas": {"state": "unknown", "words": "It did not answer in time.", "grant": ""},
}


def _check(layout: Layout, role: str, body: Mapping[str, Any], *, minutes_ago: float = 4) -> None:
    states.put(layout, "cluster_check", role, json.dumps(body), minutes_ago=minutes_ago)


def _described(layout: Layout) -> None:
    pass


def _empty(layout: Layout) -> None:
    layout.clusters.write_text("kferry_clusters: {}\n")


def _broken(layout: Layout) -> None:
    layout.clusters.write_text(layout.clusters.read_text().replace("SASL_SSL", "SASL_TLS"))


def _checking(layout: Layout) -> None:
    """A test runs; what the one before it found is still there."""
    _check(layout, "target", WELL)
    journal = Journal(layout.journal)
    kind, running = OperationKind.CHECK_CLUSTERS, OperationStatus.RUNNING
    seeded_fleet.put_operation(journal, kind, "check-1", running, at_ms=NOW_MS - 3 * SECOND)
    journal.close()


def _reachable(layout: Layout) -> None:
    _check(layout, "source", WELL)
    _check(layout, "target", {**WELL, "lines": [["clock", "unknown", "The cluster tells no time.", 0.0009]]})


def _failed(layout: Layout) -> None:
    _check(layout, "source", {"reachable": False, "lines": FAILED_LINES, "error": AWAY})
    _check(layout, "target", WELL)


def _denied(layout: Layout) -> None:
    _check(layout, "source", {**WELL, "capabilities": {**WELL["capabilities"], **DENIED}})
    _check(layout, "target", WELL)


def _old(layout: Layout) -> None:
    """Both were tested long ago; then the test of the target was of other settings too."""
    _check(layout, "source", WELL, minutes_ago=3 * 24 * 60)
    _check(layout, "target", {"reachable": False, "lines": [], "error": None}, minutes_ago=3 * 60)
    at = (NOW_MS - HOUR) / 1000
    os.utime(layout.clusters, (at, at))


CLUSTERS: dict[str, tuple[Callable[[Layout], None], str]] = {
    "empty": (_empty, "The source is not described yet."),
    "broken": (_broken, "SASL_TLS"),
    "untested": (_described, "not tested"),
    "checking": (_checking, "being tested for 3.0 s"),
    "reachable": (_reachable, "✓ reachable"),
    "failed": (_failed, "✗ not reachable"),
    "denied": (_denied, "acls, log dirs: A shows"),
    "stale": (_old, "? reachable when last tested"),
}


@SIZES
@pytest.mark.parametrize("state", CLUSTERS)
async def test_clusters(state: str, size: tuple[int, int], root: Path, make_app: Make, svg: Any) -> None:
    prepare, says = CLUSTERS[state]
    layout = seeded.bare(root)
    prepare(layout)
    app = make_app(layout)
    with engine_lock(layout):
        async with app.run_test(size=size) as pilot:
            await app.drawn("clusters")
            await until(pilot, lambda: says in " ".join(screen_text(app).split()))
            assert not app.errors
            assert await settled(pilot, app) == svg(name=f"clusters-{state}-{size[0]}x{size[1]}")


@SIZES
async def test_clusters_that_are_still_read(size: tuple[int, int], root: Path, make_app: Make, svg: Any) -> None:
    layout = seeded.bare(root)
    app = make_app(layout)
    found = await picture_while_read(
        app, layout, ClustersScreen, lambda: app.go_to("clusters"), "Reading the journal…", size
    )
    assert found == svg(name=f"clusters-loading-{size[0]}x{size[1]}")


# ---- the form -------------------------------------------------------------------------------------------------------

VAULT = (
    "kferry_clusters:\n  source:\n    kind: apache_kafka\n    bootstrap_servers: a:9092\n"
    "    security_protocol: SASL_PLAINTEXT\n    sasl_mechanism: PLAIN\n    sasl_username: u\n"
    "    sasl_password: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      6231\n"
)
PLAIN = (
    "kferry_clusters:\n  source:\n    kind: apache_kafka\n    bootstrap_servers: old-1:9092,old-2:9092\n"
    "    security_protocol: PLAINTEXT\n"
)
WRONG = (
    "kferry_clusters:\n  source:\n    kind: msk\n    bootstrap_servers: b-1.x.kafka.eu-west-1.amazonaws.com:9098\n"
    "    security_protocol: SASL_SSL\n    sasl_mechanism: SCRAM-SHA-512\n    sasl_username: mover\n"
    "    sasl_password: env:MSK_PASSWORD\n"
)
RUNNING = {"reachable": None, "lines": FAILED_LINES[:1], "error": None}
FAILED = {"reachable": False, "lines": FAILED_LINES, "error": AWAY}

# Name: clusters.yml, what the engine answers and whether it ends, keys, and what is there when it is drawn.
FORM: dict[str, tuple[str, Mapping[str, Any], bool, tuple[str, ...], str]] = {
    "new": ("kferry_clusters: {}\n", RUNNING, True, (), "missing"),
    "kept": (VAULT, RUNNING, True, tuple("jjjjj"), "a !vault value, kept"),
    "typing": (PLAIN, RUNNING, True, ("j", "j", "enter"), "esc as it was"),
    "wrong": (WRONG, RUNNING, True, (*"jjjj", "enter", "ctrl+u", *"hunter2", "enter", "t"), "see the lines marked ✗"),
    "unsaved": (PLAIN, RUNNING, True, ("j", "j", "enter", "x", "enter", "escape"), "changes are not saved"),
    "running": (PLAIN, RUNNING, False, ("t",), "◐ testing…"),
    "failed": (PLAIN, FAILED, True, ("t",), "✗ not reachable"),
    "well": (PLAIN, WELL, True, ("t",), "✓ reachable"),
    "denied": (PLAIN, {**WELL, "capabilities": DENIED}, True, ("t",), "▲ reachable"),
}


@SIZES
@pytest.mark.parametrize("state", FORM)
async def test_form(state: str, size: tuple[int, int], root: Path, make_app: Make, svg: Any) -> None:
    text, body, ends, keys, says = FORM[state]
    layout = seeded.bare(root)
    layout.clusters.write_text(text)
    with drafting_engine(layout, body, ends=ends):
        app = make_app(layout)
        async with app.run_test(size=size) as pilot:
            form = await opened(pilot, app)
            await settled(pilot, app)
            await pilot.press(*keys)
            await until(pilot, lambda: says in " ".join(screen_text(app).split()))
            await until(pilot, lambda: form.is_testing is not ends or "t" not in keys)
            assert await settled(pilot, app) == svg(name=f"form-{state}-{size[0]}x{size[1]}")
            form.dismiss(False)


@SIZES
async def test_form_without_an_engine(size: tuple[int, int], root: Path, make_app: Make, svg: Any) -> None:
    layout = seeded.bare(root)
    layout.clusters.write_text(PLAIN)
    app = make_app(layout)
    async with app.run_test(size=size) as pilot:
        await opened(pilot, app)
        await settled(pilot, app)
        await pilot.press("t")
        await until(pilot, lambda: "is not running" in screen_text(app))
        assert await settled(pilot, app) == svg(name=f"form-no-engine-{size[0]}x{size[1]}")
