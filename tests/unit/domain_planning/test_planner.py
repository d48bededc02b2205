"""The planner: what moves together, what stays behind, and that order of input never matters."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kferry.domain.model import GroupKind, GroupMember, Scan, TopicPartition, TransactionalId
from kferry.domain.planning import PlanningRules, explain, is_batch_name, plan_batches
from kferry.domain.planning.rules import leave_out
from support.scans import group, lab_scan, scan, topic

SYSTEMS = ("shop", "iot", "hr", "log_x", "Ünï")
TOPICS = st.sampled_from(
    [f"{system}.{name}" for system in SYSTEMS[:4] for name in ("a", "b", "c-x")]
    + ["orders", "orders-dlq", "__private", "x.internal", "__consumer_offsets", ".hidden", "app-state-changelog"]
)


@st.composite
def scans(draw: st.DrawFn) -> Scan:
    names = draw(st.lists(TOPICS, unique=True, max_size=14))
    pool = st.lists(st.sampled_from([*names, "gone"]), unique=True, max_size=4)
    groups = draw(
        st.dictionaries(st.sampled_from(["app", "g1", "g 2", "[/]", "connect-x", "console-consumer-7"]), pool)
    )
    ids = draw(st.none() | st.dictionaries(st.sampled_from(["t1", "t2"]), pool))
    return scan(
        [topic(name, mean_record_bytes=draw(st.none() | st.just(10.0))) for name in names],
        [group(group_id, read) for group_id, read in groups.items()],
        transactional_ids=None
        if ids is None
        else [TransactionalId(name, frozenset(written)) for name, written in ids.items()],
    )


@given(scans())
@pytest.mark.thorough
@settings(max_examples=300, deadline=None)
def test_every_topic_is_in_one_batch_or_left_out(found: Scan) -> None:
    plan = plan_batches(found)
    placed = [name for batch in plan.batches for name in batch.topics]
    assert len(placed) == len(set(placed))
    behind = {key for key in plan.left_out if not key.startswith("group ")}
    assert {one.name for one in found.topics} == set(placed) | behind
    assert not set(placed) & behind
    assert all(plan.left_out.values())


@given(scans())
@pytest.mark.thorough
@settings(max_examples=300, deadline=None)
def test_every_group_is_in_one_batch_or_left_out(found: Scan) -> None:
    plan = plan_batches(found)
    placed = [name for batch in plan.batches for name in batch.groups]
    assert len(placed) == len(set(placed))
    behind = {key.removeprefix("group ") for key in plan.left_out if key.startswith("group ")}
    assert {one.group_id for one in found.groups} == set(placed) | behind
    assert not set(placed) & behind


@given(scans())
@pytest.mark.thorough
@settings(max_examples=300, deadline=None)
def test_what_is_bound_together_is_never_split(found: Scan) -> None:
    plan = plan_batches(found)
    home = {name: batch.name for batch in plan.batches for name in batch.topics}
    groups_home = {name: batch.name for batch in plan.batches for name in batch.groups}
    for one in found.groups:
        if one.group_id in groups_home:
            assert {home[name] for name in one.topics if name in home} == {groups_home[one.group_id]}
    for written in found.transactional_ids or ():
        assert len({home[name] for name in written.topics if name in home}) <= 1


@given(scans(), st.randoms(use_true_random=False))
@pytest.mark.thorough
@settings(max_examples=200, deadline=None)
def test_order_of_input_does_not_matter(found: Scan, dice: random.Random) -> None:
    def shuffled(items: tuple) -> tuple:  # type: ignore[type-arg]
        return tuple(dice.sample(items, len(items)))

    mixed = replace(
        found,
        topics=shuffled(found.topics),
        groups=tuple(replace(one, committed=shuffled(one.committed)) for one in shuffled(found.groups)),
        transactional_ids=None if found.transactional_ids is None else shuffled(found.transactional_ids),
    )
    assert plan_batches(mixed) == plan_batches(found)


@given(scans())
@pytest.mark.thorough
@settings(max_examples=200, deadline=None)
def test_names_are_valid_and_unique_and_risks_ascend_behind_the_canary(found: Scan) -> None:
    plan = plan_batches(found)
    names = [batch.name for batch in plan.batches]
    assert len(set(names)) == len(names)
    assert all(is_batch_name(name) for name in names)
    risks = [batch.risk for batch in plan.batches if not batch.canary]
    assert risks == sorted(risks)
    assert all(not batch.canary for batch in plan.batches[1:])
    assert all(batch.topics and batch.why for batch in plan.batches)


def test_the_lab_falls_into_its_three_systems() -> None:
    plan = plan_batches(lab_scan())
    assert {batch.name: batch.topics for batch in plan.batches} == {
        "hr": ("hr.audit", "hr.employees"),
        "iot": ("iot.device-heartbeats", "iot.telemetry"),
        "shop": ("shop.orders", "shop.payments"),
    }
    shop = plan.batch("shop")
    assert shop is not None
    assert shop.groups == ("billing", "fraud-check")
    assert "Group fraud-check reads shop.orders and shop.payments, so they move together." in shop.why
    hr = plan.batch("hr")
    assert hr is not None
    assert "hr.audit has no consumer group; it moves with the rest of hr." in hr.why
    assert set(plan.left_out) == {"__consumer_offsets", "__transaction_state"}
    assert explain(plan, lab_scan()) == []


def test_unread_topics_make_one_batch_per_system_where_there_is_no_single_home() -> None:
    found = scan(
        [topic("a.1"), topic("a.2"), topic("b.1"), topic("b.2"), topic("b.3")],
        [group("g1", ["b.1"]), group("g2", ["b.2"])],
    )
    plan = plan_batches(found)
    assert sorted(batch.topics for batch in plan.batches) == [("a.1", "a.2"), ("b.1",), ("b.2",), ("b.3",)]


def test_a_transactional_id_binds_topics() -> None:
    found = scan([topic("a.x"), topic("b.y")], transactional_ids=[TransactionalId("tx", frozenset({"a.x", "b.y"}))])
    plan = plan_batches(found)
    assert [batch.topics for batch in plan.batches] == [("a.x", "b.y")]
    assert plan.batches[0].why[0] == "Transactional id tx writes a.x and b.y, so they move together."


def test_an_assignment_binds_topics_before_anything_is_committed() -> None:
    member = GroupMember("m", "c", "h", assignment=(TopicPartition("a.x", 0), TopicPartition("b.y", 0)))
    found = scan([topic("a.x"), topic("b.y")], [replace(group("g"), members=(member,))])
    assert [batch.topics for batch in plan_batches(found).batches] == [("a.x", "b.y")]


def test_internals_stay_behind_with_a_reason() -> None:
    compacted = {"cleanup.policy": "compact"}
    found = scan(
        [
            topic("__consumer_offsets", is_internal=True),
            topic("__amazon_msk_canary"),
            topic("mm2-offset-syncs.dc2.internal"),
            topic("dc2.checkpoints.internal"),
            topic("heartbeats"),
            topic("kferry-k3f9x2-shop-1-offsets"),
            topic("connect-offsets", effective=compacted),
            topic("my-connect-cluster-status", effective=compacted),
            topic("counts-store-changelog"),
            topic("secret.internal"),
            topic(".hidden"),
            topic("customer-status", effective=compacted),
            topic("connect-offsets-of-my-own"),
            topic("device-heartbeats"),
            topic("other-changelog"),
        ],
        [group("counts", ["customer-status"], kind=GroupKind.STREAMS)],
    )
    plan = plan_batches(found)
    moving = {name for batch in plan.batches for name in batch.topics}
    assert moving == {"customer-status", "connect-offsets-of-my-own", "device-heartbeats", "other-changelog"}
    assert "MirrorMaker never copies" in plan.left_out["secret.internal"]
    assert "counts" in plan.left_out["counts-store-changelog"]


def test_groups_without_anything_to_move_stay_behind_with_a_reason() -> None:
    found = scan(
        [topic("a.x"), topic("__consumer_offsets", is_internal=True)],
        [
            group("empty", kind=GroupKind.SIMPLE),
            group("lost", ["deleted-topic"]),
            group("audit", ["__consumer_offsets"]),
            group("console-consumer-4711", ["a.x"]),
            group("denied", error="not authorized"),
            group("real", ["a.x", "deleted-topic"]),
        ],
    )
    plan = plan_batches(found)
    assert [batch.groups for batch in plan.batches] == [("real",)]
    assert plan.left_out["group lost"] == "all topics it read are gone from the source"
    assert plan.left_out["group audit"] == "all topics it reads stay behind"
    assert "not authorized" in plan.left_out["group denied"]
    assert {"group empty", "group console-consumer-4711"} <= set(plan.left_out)


def test_rules_of_the_operator() -> None:
    found = scan([topic("a.x"), topic("a.y")], [group("g", ["a.x"])])
    plan = plan_batches(found, PlanningRules(leave_out=(leave_out("a.x"),)))
    assert [batch.topics for batch in plan.batches] == [("a.y",)]
    assert plan.left_out["group g"] == "all topics it reads stay behind"
    apart = plan_batches(found, PlanningRules(unread_join_their_system=False))
    assert sorted(batch.topics for batch in apart.batches) == [("a.x",), ("a.y",)]
