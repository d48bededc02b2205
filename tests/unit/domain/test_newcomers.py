"""What appears on the source after the plan: where it belongs, what may join by itself, what blocks a cutover."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.domain.model import Batch, Plan
from kferry.domain.newcomers import (
    Copying,
    How,
    Look,
    Newcomer,
    NewcomerKind,
    SeenGroup,
    find_newcomers,
    is_settled,
    late_groups,
    sentence,
)
from kferry.domain.planning.rules import BatchPattern, Cut, Limits, PlanningRules, leave_out

PLAN = Plan(
    "s1",
    (Batch("shop", ("shop.orders", "shop.payments"), ("billing",)), Batch("iot", ("iot.telemetry",), ("agg",))),
    {"legacy.x": "left out by the operator", "group idle": "has neither committed offsets nor assigned partitions"},
)
SHOP = Copying(
    "shop",
    "shop",
    frozenset({"shop.orders", "shop.payments"}),
    frozenset({"billing"}),
    {"shop.orders": 12, "shop.payments": 6},
)
NOW = {"shop.orders": 12, "shop.payments": 6, "iot.telemetry": 24, "legacy.x": 1}
PATTERN = PlanningRules(patterns=(BatchPattern("shop", ("shop.*",), ("shop-*",), limits=Limits(2, 1, 8)),))


def reads(*topics: str, active: bool | None = False, error: str | None = None) -> SeenGroup:
    return SeenGroup(frozenset(topics), active, error)


def found(
    topics: dict[str, int] | None = None,
    groups: dict[str, SeenGroup] | None = None,
    rules: PlanningRules | None = None,
    **more: Any,
) -> list[Newcomer]:
    look = Look({**NOW, **(topics or {})}, groups or {})
    return list(find_newcomers(look, more.get("plan", PLAN), more.get("copying", [SHOP]), rules or PlanningRules()))


def test_what_is_as_planned_is_no_news() -> None:
    assert found(groups={"billing": reads("shop.orders"), "agg": reads("iot.telemetry")}) == []


def test_a_topic_that_matches_a_pattern_joins_and_until_then_holds_up_the_cutover() -> None:
    (item,) = found({"shop.returns": 3}, rules=PATTERN)
    assert (item.kind, item.name, item.batch, item.how) == (NewcomerKind.TOPIC, "shop.returns", "shop", How.PATTERN)
    assert item.joins and item.blocks and item.partitions == 3
    assert sentence(item, "shop").endswith("It joins by itself.")


def test_limits_are_counted_with_what_joined_before_in_the_order_of_names() -> None:
    new = {"shop.a": 3, "shop.b": 3, "shop.c": 1}
    assert [(item.name, item.joins) for item in found(new, rules=PATTERN)] == [
        ("shop.a", True),
        ("shop.b", True),
        ("shop.c", False),
    ]
    assert "the limit of 2 topics" in found(new, rules=PATTERN)[2].why
    (big,) = found({"shop.big": 9}, rules=PATTERN)
    assert not big.joins and big.blocks and "the limit of 8 partitions" in big.why
    joined = Copying("shop", "shop", SHOP.topics | {"shop.a", "shop.b"}, SHOP.groups, {"shop.a": 3, "shop.b": 3})
    later = found(new, rules=PATTERN, copying=[joined])
    assert [(item.name, item.joins) for item in later] == [("shop.c", False)]


def test_without_a_pattern_the_planners_rules_say_where_it_belongs_and_nothing_joins() -> None:
    (named,) = found({"shop.returns": 3})
    assert (named.batch, named.how, named.joins, named.blocks) == ("shop", How.PLANNER, False, False)
    (read,) = found({"returns": 3}, {"billing": reads("shop.orders", "returns")})
    assert (read.batch, read.how, read.blocks) == ("shop", How.PLANNER, True), "its group would miss it on the target"
    assert "kferry task update shop --add-topic returns" in sentence(read, "shop")
    torn_by = {"billing": reads("shop.orders", "both"), "agg": reads("iot.telemetry", "both")}
    (torn,) = found({"both": 3}, torn_by)
    assert (torn.batch, torn.blocks) == ("shop", True) and "iot" in torn.why and "merge or cut" in torn.why
    (torn,) = found({"both": 3}, torn_by, copying=[])
    assert (torn.batch, torn.how, torn.blocks) == ("", How.NOWHERE, False), "nothing is copied yet"
    (lone,) = found({"unheard-of": 3})
    assert (lone.batch, lone.how, lone.blocks) == ("", How.NOWHERE, False)


@pytest.mark.parametrize("name", ["legacy.x", "__consumer_offsets", "kferry-abc123-shop-1-status", "heartbeats"])
def test_what_was_left_out_and_machinery_are_no_newcomers(name: str) -> None:
    everything = PlanningRules(patterns=(BatchPattern("shop", ("*",)),))
    assert found({name: 1}) == []
    assert name not in [item.name for item in found({name: 1}, rules=everything)]


def test_a_topic_left_out_by_a_rule_is_settled_and_one_that_mirrormaker_never_copies_can_not_join() -> None:
    assert found({"shop.tmp": 1}, rules=PlanningRules(leave_out=(leave_out("shop.tmp"),))) == []
    (item,) = found({"shop.x.internal": 1}, rules=PATTERN)
    assert not item.joins and item.blocks and "MirrorMaker never copies" in item.why


def test_state_of_a_streams_application_comes_along_only_where_a_pattern_asks_for_it() -> None:
    state = {"billing-totals-changelog": 6}
    assert found(state, {"billing": reads("shop.orders")}) == []
    asked = PlanningRules(patterns=(BatchPattern("shop", ("billing-*-changelog",)),))
    assert [item.joins for item in found(state, {"billing": reads("shop.orders")}, asked)] == [True]


def test_a_topic_that_a_group_of_another_batch_reads_does_not_join_by_itself() -> None:
    (item,) = found({"shop.returns": 1}, {"agg": reads("shop.returns", "iot.telemetry")}, PATTERN)
    assert not item.joins and "batch iot" in item.why


def test_a_late_group_blocks_the_batch_it_reads_by_its_name() -> None:
    (item,) = found(groups={"auditor": reads("shop.orders")})
    assert (item.kind, item.batch, item.joins, item.blocks) == (NewcomerKind.GROUP, "shop", False, True)
    assert "auditor" in sentence(item, "shop") and "--add-group auditor" in sentence(item, "shop")
    both = found(groups={"auditor": reads("shop.orders", "iot.telemetry")})
    assert [(one.batch, one.blocks) for one in both] == [("iot", False), ("shop", True)], "iot has no task yet"
    assert [one.name for one in late_groups(Look(NOW, {"auditor": reads("shop.orders")}), PLAN, SHOP, PATTERN)] == [
        "auditor"
    ]


def test_a_group_of_another_batch_blocks_only_while_it_is_at_work_here() -> None:
    both = ("shop.orders", "iot.telemetry")
    assert [one.blocks for one in found(groups={"agg": reads(*both, active=False)})] == [False]
    assert [one.blocks for one in found(groups={"agg": reads(*both, active=True)})] == [True]
    assert [one.blocks for one in found(groups={"agg": reads(*both, active=None)})] == [True], "unknown is not idle"


def test_a_group_that_was_left_out_for_it_read_nothing_is_late_once_it_reads() -> None:
    (item,) = found(groups={"idle": reads("shop.orders")})
    assert item.blocks


@pytest.mark.parametrize(
    "rules",
    [
        PlanningRules(cuts=(Cut("archive", "sees everything"),)),
        PlanningRules(leave_out=(leave_out(),)),
    ],
)
def test_what_the_operator_settled_does_not_block(rules: PlanningRules) -> None:
    plan = (
        Plan("s1", PLAN.batches, {**PLAN.left_out, "group archive": "left out by the operator"})
        if not rules.cuts
        else PLAN
    )
    assert found(groups={"archive": reads("shop.orders", "iot.telemetry")}, rules=rules, plan=plan) == []


def test_a_console_consumer_counts_only_while_somebody_sits_before_it() -> None:
    assert found(groups={"console-consumer-7": reads("shop.orders")}) == []
    assert found(groups={"console-consumer-7": reads("shop.orders", active=True)})[0].blocks


def test_a_group_joins_with_the_new_topic_that_it_reads() -> None:
    items = found({"shop.returns": 1}, {"shop-returns": reads("shop.orders", "shop.returns")}, PATTERN)
    assert [(item.kind.value, item.name, item.joins) for item in items] == [
        ("group", "shop-returns", True),
        ("topic", "shop.returns", True),
    ]


def test_a_group_that_reads_more_than_its_batch_does_not_join() -> None:
    items = found(groups={"shop-bi": reads("shop.orders", "iot.telemetry")}, rules=PATTERN)
    mine = next(item for item in items if item.batch == "shop")
    assert not mine.joins and mine.blocks and "it also reads topics of iot" in mine.why
    items = found(groups={"shop-a": reads("shop.orders"), "shop-b": reads("shop.orders")}, rules=PATTERN)
    assert [(item.name, item.joins) for item in items] == [("shop-a", True), ("shop-b", False)]


def test_changed_partition_counts_and_vanished_topics_block() -> None:
    look = {**NOW, "shop.orders": 14}
    del look["shop.payments"]
    items = find_newcomers(Look(look), PLAN, [SHOP], PlanningRules())
    assert [(item.kind.value, item.name, item.joins, item.blocks) for item in items] == [
        ("gone", "shop.payments", False, True),
        ("partitions", "shop.orders", False, True),
    ]
    assert "14 partitions now, 12 when its copy began" in items[1].why
    grown = find_newcomers(Look({**NOW, "shop.orders": 14}), PLAN, [SHOP], PATTERN)
    assert [item.joins for item in grown] == [True], "2 more partitions are within the limit of 8"
    grown = find_newcomers(Look({**NOW, "shop.orders": 24}), PLAN, [SHOP], PATTERN)
    assert [item.joins for item in grown] == [False]
    fewer = find_newcomers(Look({**NOW, "shop.orders": 3}), PLAN, [SHOP], PATTERN)
    assert [(item.joins, item.blocks) for item in fewer] == [(False, True)]


def test_newcomers_are_let_in_together() -> None:
    assert not is_settled([], 0, 30_000)
    assert not is_settled([100_000], 100_000, 30_000)
    assert is_settled([100_000], 130_000, 30_000)
    assert not is_settled([0, 100_000], 120_000, 30_000), "one more came a moment ago"
    assert is_settled([0, 149_000], 150_000, 30_000), "but nobody waits for ever"


_names = st.sampled_from([f"{system}.{one}" for system in ("shop", "iot", "crm") for one in "abcdef"])
_looks = st.builds(
    Look,
    st.dictionaries(_names, st.integers(1, 20), max_size=12).map(lambda new: {**NOW, **new}),
    st.dictionaries(
        st.sampled_from(["shop-a", "shop-b", "iot-a", "bi", "billing"]),
        st.builds(SeenGroup, st.frozensets(_names | st.sampled_from(sorted(NOW)), max_size=4), st.booleans()),
    ),
)
_limit = st.none() | st.integers(0, 4)
_rules = st.builds(
    lambda topics, partitions, groups: PlanningRules(
        patterns=(BatchPattern("shop", ("shop.*",), ("shop-*",), limits=Limits(topics, groups, partitions)),)
    ),
    _limit,
    st.none() | st.integers(0, 30),
    _limit,
)


@given(_looks, _rules)
def test_limits_hold_and_nothing_joins_or_is_lost_in_silence(look: Look, rules: PlanningRules) -> None:
    items = find_newcomers(look, PLAN, [SHOP], rules)
    limits = rules.patterns[0].limits
    joins = [item for item in items if item.joins]
    topics = [item for item in joins if item.kind is NewcomerKind.TOPIC]
    assert limits.topics is None or len(topics) <= limits.topics
    assert limits.partitions is None or sum(item.partitions or 0 for item in topics) <= limits.partitions
    assert limits.groups is None or sum(item.kind is NewcomerKind.GROUP for item in joins) <= limits.groups
    assert all(item.batch == "shop" and item.blocks for item in topics), "only a pattern lets anything in"
    # whatever reads a copied topic without being of the task is named as blocking
    for group_id, group in look.groups.items():
        if group_id != "billing" and group.topics & SHOP.topics:
            assert any(item.name == group_id and item.batch == "shop" and item.blocks for item in items)
    # a group that joins reads nothing that is not copied afterwards
    copied = SHOP.topics | {item.name for item in topics}
    known = {item.name for item in items} | set(NOW)
    for item in joins:
        if item.kind is NewcomerKind.GROUP:
            assert {name for name in item.reads if name in known} <= copied
    assert len({item.key for item in items}) == len(items)


@given(_looks, _rules)
def test_joining_once_is_enough(look: Look, rules: PlanningRules) -> None:
    """After everything that joins has joined, the next look lets in nothing new."""
    joins = [item for item in find_newcomers(look, PLAN, [SHOP], rules) if item.joins]
    topics = {item.name for item in joins if item.kind is NewcomerKind.TOPIC}
    groups = {item.name for item in joins if item.kind is NewcomerKind.GROUP}
    anchored = {**SHOP.anchored, **{name: look.partitions[name] for name in topics}}
    after = Copying("shop", "shop", SHOP.topics | topics, SHOP.groups | groups, anchored)
    assert [item for item in find_newcomers(look, PLAN, [after], rules) if item.joins] == []
