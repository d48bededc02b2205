"""The graph: components, their edges, and the bridges where they could be cut."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kferry.domain.applications import ApplicationClass, ApplicationRule
from kferry.domain.model import GroupKind, GroupMember, Scan, TransactionalId
from kferry.domain.planning import NodeKind, PlanningRules, bridges, component_of, components, plan_batches, violations
from kferry.domain.planning.rules import BatchPattern, BusinessSystem, Cut, LeaveOut, Together
from support.scans import group, lab_scan, scan, topic


def glued(*sinks: str, **fields: object) -> Scan:
    """Three systems that would move on their own, but for sinks that read all of them."""
    names = [f"{system}.{name}" for system in ("shop", "iot", "hr") for name in ("a", "b")]
    return scan(
        [topic(name) for name in names],
        [
            *(group(f"{system}-app", [f"{system}.a", f"{system}.b"]) for system in ("shop", "iot", "hr")),
            *(group(sink, names, **fields) for sink in sinks),
        ],
    )


def test_components_of_the_lab() -> None:
    found = components(lab_scan())
    assert [one.topics for one in found] == [
        ("hr.audit",),
        ("hr.employees",),
        ("iot.device-heartbeats", "iot.telemetry"),
        ("shop.orders", "shop.payments"),
    ]
    shop = found[-1]
    assert shop.groups == ("billing", "fraud-check")
    assert [(edge.topic, edge.node.name, edge.reason) for edge in shop.edges] == [
        ("shop.orders", "billing", "reads it"),
        ("shop.orders", "fraud-check", "reads it"),
        ("shop.payments", "fraud-check", "reads it"),
    ]


@pytest.mark.parametrize("name", ["shop.orders", "billing", "fraud-check"])
def test_a_component_is_found_by_any_of_its_names(name: str) -> None:
    found = component_of(lab_scan(), name)
    assert found is not None
    assert found.topics == ("shop.orders", "shop.payments")
    assert component_of(lab_scan(), "nobody") is None


def test_a_sink_that_reads_everything_is_a_bridge_and_can_be_cut() -> None:
    found = glued("archive")
    assert len(components(found)) == 1
    (bridge,) = bridges(found)
    assert (bridge.node.kind, bridge.node.name, bridge.with_others) == (NodeKind.GROUP, "archive", ())
    assert bridge.parts == (("hr.a", "hr.b"), ("iot.a", "iot.b"), ("shop.a", "shop.b"))
    assert "3 parts could move at different times" in bridge.consequence
    assert "both clusters" in bridge.consequence
    cut = PlanningRules(cuts=(Cut("archive", "a copy for the auditors"),))
    assert bridges(found, cut) == ()
    plan = plan_batches(found, cut)
    assert sorted(batch.topics for batch in plan.batches) == [
        ("hr.a", "hr.b"),
        ("iot.a", "iot.b"),
        ("shop.a", "shop.b"),
    ]
    assert "cut by the operator (a copy for the auditors)" in plan.left_out["group archive"]
    assert violations(plan, found, cut) == []


def test_a_cut_group_may_move_with_the_batch_of_one_topic() -> None:
    found = glued("archive")
    rules = PlanningRules(cuts=(Cut("archive", stays_with="iot.a"),))
    plan = plan_batches(found, rules)
    (home,) = [batch for batch in plan.batches if "archive" in batch.groups]
    assert home.topics == ("iot.a", "iot.b")
    assert "Group archive was cut by the operator and moves with iot.a." in home.why
    assert "group archive" not in plan.left_out
    assert violations(plan, found, rules) == []


def test_two_sinks_must_both_be_cut() -> None:
    found = glued("archive", "monitor")
    assert {one.node.name: one.with_others for one in bridges(found)} == {
        "archive": ("monitor",),
        "monitor": ("archive",),
    }
    one_cut = PlanningRules(cuts=(Cut("archive"),))
    assert len(components(found, one_cut)) == 1
    assert [one.node.name for one in bridges(found, one_cut)] == ["monitor"]


def test_a_group_within_one_system_is_no_bridge() -> None:
    assert bridges(lab_scan()) == ()


def test_what_only_the_sink_reads_is_no_part_of_its_own() -> None:
    found = glued("archive")
    with_tail = replace(found, topics=(*found.topics, topic("shop.unread")))
    sink = group("archive", [one.name for one in with_tail.topics])
    with_tail = replace(with_tail, groups=(*(one for one in found.groups if one.group_id != "archive"), sink))
    (bridge,) = bridges(with_tail)
    assert bridge.parts[0] == ("shop.a", "shop.b", "shop.unread")
    alone = scan([topic("a.x"), topic("b.y")], [group("only", ["a.x", "b.y"])])
    assert bridges(alone) == ()


def test_a_transaction_is_never_a_bridge() -> None:
    found = scan(
        [topic("a.x"), topic("b.y")],
        [group("ga", ["a.x"]), group("gb", ["b.y"])],
        transactional_ids=[TransactionalId("tx", frozenset({"a.x", "b.y"}))],
    )
    assert len(components(found)) == 1
    assert bridges(found) == ()


def test_connectors_on_the_same_machines_move_together_until_cut() -> None:
    def sink(name: str, topics: list[str], host: str) -> object:
        member = GroupMember("m", "connector-consumer-x-0", host)
        return replace(group(name, topics, kind=GroupKind.CONNECT), members=(member,))

    found = scan(
        [topic("a.x"), topic("b.y"), topic("c.z")],
        [
            sink("connect-a", ["a.x"], "/10.0.0.7"),
            sink("connect-b", ["b.y"], "/10.0.0.7"),
            sink("connect-c", ["c.z"], "/10.0.0.8"),
        ],  # type: ignore[list-item]
    )
    assert [one.topics for one in components(found)] == [("a.x", "b.y"), ("c.z",)]
    name = "connect cluster on 10.0.0.7"
    assert [one.node.name for one in bridges(found)] == [name]
    assert "on the target" in bridges(found)[0].consequence
    for cut in (name, "connect-a"):
        assert len(components(found, PlanningRules(cuts=(Cut(cut, stays_with="a.x"),)))) == 3
    local = scan(
        [topic("a.x"), topic("b.y")],
        [sink("connect-a", ["a.x"], "/127.0.0.1"), sink("connect-b", ["b.y"], "/127.0.0.1")],  # type: ignore[list-item]
    )
    assert len(components(local)) == 2


def test_an_application_ties_what_it_reads_to_what_it_writes() -> None:
    found = scan([topic("in.x"), topic("out.y")], [group("fraud", ["in.x"])])
    assert len(components(found)) == 2
    rules = PlanningRules(
        applications=(
            ApplicationRule("fraud", ApplicationClass.READ_PROCESS_WRITE, groups=("fraud",), writes=("out.*",)),
        )
    )
    (one,) = components(found, rules)
    assert one.topics == ("in.x", "out.y")
    (batch,) = plan_batches(found, rules).batches
    assert any("Application fraud reads and writes" in words for words in batch.why)
    assert any(words.startswith("fraud (read-process-write): It writes what it read") for words in batch.warnings)


def test_rules_keep_together_and_take_in() -> None:
    found = scan([topic("a.x"), topic("b.y"), topic("c.z"), topic("c.q")], [group("ga", ["a.x"]), group("gb", ["b.y"])])
    rules = PlanningRules(
        together=(Together("ledger", ("a.*",), ("gb",), "one business transaction"),),
        patterns=(BatchPattern("see", topics=("c.*",), exclude=("c.q",)),),
        unread_join_their_system=False,
    )
    plan = plan_batches(found, rules)
    assert sorted(batch.topics for batch in plan.batches) == [("a.x", "b.y"), ("c.q",), ("c.z",)]
    assert plan.batch("see").topics == ("c.z",)  # type: ignore[union-attr]
    why = [words for batch in plan.batches for words in batch.why]
    assert "Rule ledger keeps together a.x and b.y, so they move together (one business transaction)." in why


def test_systems_of_the_operator_take_in_what_nobody_reads() -> None:
    found = scan([topic("orders"), topic("invoices"), topic("zoo")], [group("g", ["orders"])])
    rules = PlanningRules(systems=(BusinessSystem("sales", ("orders", "invoices")),))
    plan = plan_batches(found, rules)
    assert plan.batch("sales").topics == ("invoices", "orders")  # type: ignore[union-attr]
    assert plan.batch("zoo") is not None


def test_left_out_by_rule_with_its_reason() -> None:
    found = scan([topic("tmp.x"), topic("a")], [group("g", ["tmp.x"]), group("probe-1", ["a"])])
    rules = PlanningRules(leave_out=(LeaveOut(("tmp.*",), ("probe-*",), "made by tests"),))
    plan = plan_batches(found, rules)
    assert plan.left_out["tmp.x"] == "left out by the operator's rules: made by tests"
    assert plan.left_out["group probe-1"] == "left out by the operator's rules: made by tests"
    assert plan.left_out["group g"] == "all topics it reads stay behind"
    against = plan_batches(found)
    assert ("tmp.x", "tmp.x is in batch tmp, but rules.yml leaves it out.") in violations(against, found, rules)
