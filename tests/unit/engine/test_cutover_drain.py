"""What the steps of a cutover do otherwise where everything stops: state left behind, the way back, releases."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kferry.domain.model import Group, GroupKind, GroupState, TaskSpec, TopicPartition
from kferry.domain.newcomers import Look
from kferry.engine.operations import cutover_back, cutover_groups, cutover_producers
from kferry.engine.operations.cutover_groups import ReleaseConsumers
from kferry.engine.operations.cutover_producers import Drained, ReleaseProducers
from kferry.engine.operations.cutover_ready import Ready

SPEC = TaskSpec("shop", "abc123", "shop", 1, ("orders",), ("totals",), (), 2)
LOOK = Look({"orders": 2, "totals-store-changelog": 2, "totals-x-repartition": 2, "other-store-changelog": 1})
DRAIN = {"runbook": "stop-drain-switch"}


def context(args: dict[str, Any], answer: dict[str, Any] | None = None) -> Any:
    steps = {"stop_consumers": SimpleNamespace(evidence={"had_members": []})}
    return SimpleNamespace(
        args=args,
        answer=answer or {},
        notes={},
        journal=None,
        services=SimpleNamespace(ledger=SimpleNamespace(settle=lambda *_: None)),
        operation_id="op",
        operation=SimpleNamespace(step=steps.__getitem__),
        target=SimpleNamespace(offsets=lambda *_: {}),
        task=lambda: SimpleNamespace(spec=SPEC),
    )


def test_state_of_a_streams_application_holds_up_the_switch_unless_it_is_copied_or_made_anew() -> None:
    reasons = Ready()._state_left_behind(context(DRAIN), LOOK)
    assert [reason.split()[1] for reason in reasons] == ["totals-store-changelog", "totals-x-repartition"]
    assert "--add-topic totals-store-changelog" in reasons[0] and "--rebuild-state" in reasons[0]
    assert Ready()._state_left_behind(context({**DRAIN, "rebuild_state": True}), LOOK) == []
    assert Ready()._state_left_behind(context({"runbook": "consumers-first"}), LOOK) == []


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Steps with a target whose records beyond the certificate are told by the test; what was written back."""
    world: dict[str, Any] = {"beyond": 0, "written_back": 0, "phases": []}

    def write_back(_ctx: object) -> dict[str, object]:
        world["written_back"] += 1
        return {"partitions_written_back": {}}

    empty = Group("totals", GroupState.EMPTY, GroupKind.PLAIN)
    for module in (cutover_groups, cutover_producers):
        monkeypatch.setattr(module, "records_beyond_certificate", lambda _ctx: world["beyond"])
    monkeypatch.setattr(cutover_groups, "groups_now", lambda *_: {"totals": empty})
    monkeypatch.setattr(cutover_groups, "commits_to_write", lambda _ctx: {})
    monkeypatch.setattr(cutover_groups, "commits_now", lambda *_: {})
    monkeypatch.setattr(cutover_groups, "bases", lambda *_: {})
    monkeypatch.setattr(cutover_back, "write_progress_back", write_back)
    monkeypatch.setattr(ReleaseConsumers, "ask_owners_to", lambda *_: True)
    monkeypatch.setattr(cutover_producers, "had_writes", lambda _ctx: True)
    monkeypatch.setattr(cutover_producers, "set_phase", lambda *_args, **_more: world["phases"].append("switched"))
    return world


@pytest.mark.parametrize(("beyond", "crossed"), [(0, False), (3, True), (None, True)])
def test_an_application_that_wrote_on_the_target_has_crossed_the_point_of_no_return(
    released: dict[str, Any], beyond: int | None, crossed: bool
) -> None:
    released["beyond"] = beyond
    assert ReleaseConsumers().check(context(DRAIN)).evidence["crossed"] is crossed
    assert "crossed" not in ReleaseConsumers().check(context({})).evidence, "consumers write nothing"


def test_progress_is_taken_back_only_where_nothing_was_written_on_the_target(released: dict[str, Any]) -> None:
    ReleaseConsumers().undo(context(DRAIN))
    assert released["written_back"] == 1
    released["beyond"] = 3
    told = ReleaseConsumers().undo(context(DRAIN))
    assert released["written_back"] == 1 and told["records_only_on_target"] == 3
    ReleaseConsumers().undo(context({}))
    assert released["written_back"] == 2, "with consumers first nothing can have been written"


def test_what_an_application_writes_does_not_say_that_producers_are_back(released: dict[str, Any]) -> None:
    released["beyond"] = 3
    assert not ReleaseProducers().check(context(DRAIN)).holds and released["phases"] == []
    assert ReleaseProducers().check(context(DRAIN, {"confirmed": True})).holds
    assert ReleaseProducers().check(context({})).holds, "with consumers first only producers write"


@pytest.mark.parametrize(("now", "holds"), [({"orders": 2}, True), ({"orders": 3}, False), ({}, False)])
def test_a_partition_that_appears_while_a_batch_switches_is_not_left_behind(
    monkeypatch: pytest.MonkeyPatch, now: dict[str, int], holds: bool
) -> None:
    base = {TopicPartition("orders", number): None for number in range(2)}
    monkeypatch.setattr(cutover_producers, "bases", lambda *_: base)
    ctx = context({})
    ctx.copied = lambda: dict.fromkeys(base, 9)
    ctx.source = SimpleNamespace(
        offsets=lambda tps, which: dict.fromkeys(tps, 0 if which == "start" else 10), partition_counts=lambda: now
    )
    seen = Drained().check(ctx)
    assert seen.holds is holds
    assert ("partition_counts_changed" in seen.evidence) is not holds
