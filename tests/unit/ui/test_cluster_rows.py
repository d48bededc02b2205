"""A cluster on the screen in each of its states, each told apart by words and not by colour alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from kferry.domain.drafts import Draft, Gap
from kferry.domain.errors import KferryError
from kferry.domain.model import ClusterKind, Role
from kferry.store.paths import Layout
from kferry.store.views import ClusterView
from kferry.ui.app import KferryApp
from kferry.ui.cells import content, plain
from kferry.ui.modals.cluster_form import ClusterForm
from kferry.ui.rows import clusters
from support.ui_app import screen_text, until

from .test_pictures import pytestmark as only_where_pictures_are_compared
from .test_pictures import settled

NOW = 1_772_000_000_000
TESTED = ClusterView(
    role="source",
    kind="msk",
    bootstrap_servers="b-1:9096,b-2:9096",
    security_protocol="SASL_SSL",
    checked_at_ms=NOW - 60_000,
    reachable=True,
    kafka_version="3.9",
    cluster_id="abc",
    broker_count=3,
    lines=(("TCP b-1:9096", "ok", "Connected.", 0.0042), ("clock", "unknown", "It tells no time.", None)),
    capabilities={"topics": {"state": "supported", "words": "12 topics seen.", "grant": ""}},
)
ACLS_DENIED = {"state": "denied", "words": "Not allowed.", "grant": "DESCRIBE on the cluster"}
DENIED = {"acls": ACLS_DENIED, **TESTED.capabilities}
AWAY = KferryError("Cannot reach it.", cause="TCP: refused.", next_step="Start the broker.").as_dict()


def _text(view: ClusterView, **more: int) -> str:
    return plain(clusters.cluster_lines(view, NOW, **more))


@pytest.mark.parametrize(
    ("view", "more", "words"),
    [
        (replace(TESTED, bootstrap_servers=""), {}, ["not described yet", "Press e"]),
        (replace(TESTED, reachable=None, checked_at_ms=None, lines=()), {}, ["? not tested", "never; press t"]),
        (replace(TESTED, bootstrap_servers="source.example.com:9092"), {}, ["placeholder: e describes yours"]),
        (TESTED, {"testing_since_ms": NOW - 4_000}, ["◐ being tested for 4.0 s"]),
        (TESTED, {}, ["✓ reachable", "Amazon MSK", "1 min", "4 ms", "✓ supported"]),
        (TESTED, {"changed_at_ms": NOW}, ["? reachable when last tested", "before clusters.yml was changed: press t"]),
        (replace(TESTED, checked_at_ms=NOW - 2 * clusters.OLD_TEST_MS), {}, ["old: press t"]),
        (replace(TESTED, reachable=False, error=AWAY), {}, ["✗ not reachable", "refused", "Start the broker."]),
        (
            replace(TESTED, capabilities=DENIED),
            {},
            ["▲ reachable; some rights", "acls: A shows", "grant DESCRIBE on the cluster"],
        ),
        (
            replace(TESTED, lines=(("broker 2 b-2:9096", "failed", "TCP: refused.", 3.0),)),
            {},
            ["▲ reachable, but not all of it", "3.0 s", "broker 2 b-2:9096"],
        ),
    ],
)
def test_each_state_has_words(view: ClusterView, more: dict[str, int], words: list[str]) -> None:
    for one in words:
        assert one in _text(view, **more), _text(view, **more)


def test_hostile_words_of_a_cluster_are_text() -> None:
    bad = "[/][@click=app.quit]x\x1b]52;c;YQ==\x07\u202e"
    view = replace(
        TESTED,
        cluster_id=bad,
        lines=((bad, bad, bad, 0.1),),
        capabilities={bad: {"state": bad, "words": bad, "grant": bad}},
        error={"title": bad, "cause": bad, "next_step": bad},
    )
    drawn = content(clusters.cluster_lines(view, NOW)).plain
    assert "\x1b" not in drawn and "\u202e" not in drawn and "[@click=app.quit]" in drawn


def test_the_form_says_what_is_missing_and_hides_what_may_be_a_secret() -> None:
    draft = Draft(Role.SOURCE, ClusterKind.MSK, "scram", password="hunter2")
    text = plain(clusters.field_lines(draft, "password", None))
    assert "hunter2" not in text and "7 characters that are no reference" in text and "missing" in text
    gaps = [Gap("user", f"gap {number}", stops=number < 2) for number in range(6)]
    shown = plain(clusters.gap_lines(gaps, "help"))
    assert "✗ gap 0" in shown and "▲ gap 2" in shown and "3 more" in shown and "help" in shown
    for kind in ClusterKind:
        for field in ("kind", "way", "bootstrap_servers", "user", "ca", "password", "mechanism", "certificate", "key"):
            assert clusters.field_help(replace(draft, kind=kind, way=""), field), (kind, field)


@only_where_pictures_are_compared
@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
async def test_pictures_of_the_form(
    size: tuple[int, int], layout: Layout, make_app: Callable[..., KferryApp], engine_alive: None, svg: Any
) -> None:
    app = make_app(layout)
    async with app.run_test(size=size) as pilot:
        await _open(pilot, app)
        assert await settled(pilot, app) == svg(name=f"form-{size[0]}x{size[1]}")


async def _open(pilot: Pilot[None], app: KferryApp) -> None:
    await app.drawn("clusters")
    await pilot.press("e")
    await until(pilot, lambda: isinstance(app.screen, ClusterForm))
    await until(pilot, lambda: "There is no file" in screen_text(app))
