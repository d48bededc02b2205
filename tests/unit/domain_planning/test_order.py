"""The order of batches: rules, offline and non-core, core, risk, and the canary in front."""

from __future__ import annotations

from kferry.domain.model import GroupKind, Plan, Scan, TransactionalId
from kferry.domain.planning import PlanningRules, pin, plan_batches, set_canary, violations
from kferry.domain.planning.edits import reorder
from kferry.domain.planning.rules import BusinessSystem
from support.scans import group, lab_scan, scan, topic


def names(plan: Plan) -> list[str]:
    return [batch.name for batch in plan.batches]


def three() -> Scan:
    """Three systems of rising risk: a is idle, b and c are live."""
    return scan(
        [topic("a.x", end=10_000_000, records_per_second=0.0), topic("b.x"), topic("c.x", records_per_second=5000.0)],
        [group("ga", ["a.x"], members=0), group("gb", ["b.x"]), group("gc", ["c.x"])],
    )


def test_offline_first_then_risk_with_a_live_canary_in_front() -> None:
    plan = plan_batches(three())
    assert names(plan) == ["b", "a", "c"]
    canary = plan.batches[0]
    assert canary.canary
    assert any("Proposed as the canary" in words for words in canary.why)
    assert any("nobody was seen to read or write it" in words for words in plan.batches[1].why)


def test_what_is_unknown_is_not_offline() -> None:
    found = scan([topic("a.x", records_per_second=None), topic("b.x", end=100)], [group("gb", ["b.x"], members=0)])
    assert [batch.name for batch in plan_batches(found).batches] == ["b", "a"]


def test_core_systems_come_last_and_are_no_canary() -> None:
    rules = PlanningRules(
        systems=(BusinessSystem("bee", ("b.*",), core=True), BusinessSystem("sea", ("c.*",), tags=("Test",)))
    )
    plan = plan_batches(three(), rules)
    assert names(plan) == ["sea", "a", "bee"]
    assert plan.batches[0].canary
    assert any("bee is a core system" in words for words in plan.batches[2].why)


def test_first_and_last_of_the_operator() -> None:
    rules = PlanningRules(first=("c.*",), last=("a.*",))
    plan = plan_batches(three(), rules)
    assert names(plan) == ["c", "b", "a"]
    assert [batch.canary for batch in plan.batches] == [False, True, False]
    assert violations(plan, three(), rules) == []
    told = violations(reorder(plan, ["a"]), three(), rules)
    assert told == [("a", "Batch a stands before c, against the rule `last: a.*`.")]
    told = violations(reorder(plan, ["b"]), three(), rules)
    assert told == [("b", "Batch b stands before c, against the rule `first: c.*`.")]


def test_an_application_that_asks_for_more_is_no_canary() -> None:
    found = scan(
        [topic("a.x"), topic("b.x", records_per_second=900.0), topic("c.x", records_per_second=990.0)],
        [
            group("connect-a", ["a.x"], kind=GroupKind.CONNECT),
            group("gb", ["b.x"]),
            group("gc", ["c.x"]),
        ],
        transactional_ids=[TransactionalId("gb-1", frozenset({"b.x"}))],
    )
    (canary,) = [batch for batch in plan_batches(found).batches if batch.canary]
    assert canary.topics == ("c.x",)


def test_there_may_be_no_canary() -> None:
    idle = scan([topic("a.x"), topic("b.x", end=None)], [group("gb", ["b.x"])])
    assert not any(batch.canary for batch in plan_batches(idle).batches)


def test_the_canary_of_the_lab_is_its_smallest_live_system() -> None:
    plan = plan_batches(lab_scan())
    assert (plan.batches[0].name, plan.batches[0].canary) == ("hr", True)


def test_no_second_canary_once_something_has_begun_or_is_pinned() -> None:
    plan = plan_batches(three())
    assert not any(batch.canary for batch in plan_batches(three(), before=plan, begun=["a"]).batches)
    chosen = pin(set_canary(plan, "c"), "c")
    again = plan_batches(three(), before=chosen)
    assert [batch.name for batch in again.batches if batch.canary] == ["c"]
    assert names(again)[0] == "c"
