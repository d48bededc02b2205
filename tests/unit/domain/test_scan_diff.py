"""What changed between two scans."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from kferry.domain.model import Capability, GroupKind, TransactionalId
from kferry.domain.scan_diff import ConfigChange, compare, summary
from support.scans import group, lab_scan, scan, topic


def test_the_same_scan_twice_has_no_difference() -> None:
    whole = replace(lab_scan(), transactional_ids=())
    diff = compare(whole, whole)
    assert diff.is_empty
    assert summary(diff) == ()
    assert diff.not_compared == ()


def test_what_appeared_and_vanished() -> None:
    before = scan([topic("kept"), topic("gone")], [group("reader", ["kept"]), group("left", ["gone"])])
    after = scan([topic("kept"), topic("new[/]")], [group("reader", ["kept"]), group("late", ["kept"])])
    diff = compare(before, after)
    assert (diff.topics_appeared, diff.topics_vanished) == (("new[/]",), ("gone",))
    assert (diff.groups_appeared, diff.groups_vanished) == (("late",), ("left",))
    assert diff.counts["topics_appeared"] == 1
    assert not diff.is_empty


def test_a_topic_made_anew_is_told_by_its_id() -> None:
    before, after = scan([topic("a", topic_id="one")]), scan([topic("a", topic_id="two")])
    diff = compare(before, after)
    assert diff.topics_recreated == ("a",)
    assert diff.topics_changed[0].words == ("made anew: another topic with the same name",)
    assert (diff.topics_appeared, diff.topics_vanished) == ((), ())


def test_a_topic_made_anew_is_told_by_its_ends_where_there_are_no_ids() -> None:
    before, after = scan([topic("a", end=1000)]), scan([topic("a", end=0)])
    assert compare(before, after).topics_recreated == ("a",)
    assert compare(before, scan([topic("a", end=1001)])).topics_recreated == ()
    # an end that is not known is no proof
    assert compare(before, scan([topic("a", end=None)])).topics_recreated == ()


def test_partitions_configs_and_replication_that_changed() -> None:
    before = scan([topic("a", 2, configs={"retention.ms": "1", "x": "y"}, replication_factor=3)])
    after = scan([topic("a", 4, configs={"retention.ms": "2"}, replication_factor=2)])
    (change,) = compare(before, after).topics_changed
    assert change.configs == (ConfigChange("retention.ms", "1", "2"), ConfigChange("x", "y", None))
    assert change.words == ("2 → 4 partitions", "replication 3 → 2", "retention.ms: 1 → 2", "x: y → not set")


def test_configs_that_could_not_be_read_have_not_changed() -> None:
    before = scan([topic("a", configs={"retention.ms": "1"})])
    after = scan([topic("a", error="configs: TOPIC_AUTHORIZATION_FAILED")])
    diff = compare(before, after)
    assert diff.topics_changed == ()
    assert diff.not_compared == ("configs of 1 topics: one of the scans could not read them",)


def test_groups_that_read_other_topics() -> None:
    before = scan([topic("a"), topic("b")], [group("g", ["a"])])
    after = scan([topic("a"), topic("b")], [group("g", ["b"], kind=GroupKind.STREAMS)])
    (change,) = compare(before, after).groups_changed
    assert change.words == ("reads b too", "no longer reads a", "plain → streams")
    blind = scan([topic("a")], [group("g", [], error="offsets: GROUP_AUTHORIZATION_FAILED")])
    assert compare(before, blind).groups_changed == ()


def test_what_one_scan_could_not_see_has_not_vanished() -> None:
    before = scan([topic("a")], [group("g", ["a"])], transactional_ids=[TransactionalId("t", frozenset({"a"}))])
    denied = scan([topic("a")], transactional_ids=None, capabilities={"groups": Capability.DENIED})
    diff = compare(before, denied)
    assert diff.is_empty
    assert len(diff.not_compared) == 2
    cut_off = replace(scan([]), complete=False)
    assert compare(before, cut_off).topics_vanished == ()
    assert compare(cut_off, before).topics_appeared == ()


def test_another_cluster_is_not_compared() -> None:
    diff = compare(scan([topic("a")], cluster_id="one"), scan([topic("b")], cluster_id="two"))
    assert diff.another_cluster
    assert not diff.is_empty
    assert summary(diff) == ("another cluster",)
    assert diff.topics_appeared == ()


NAMES = st.sets(st.text(min_size=1, max_size=5), max_size=8)


@given(NAMES, NAMES)
def test_appeared_and_vanished_are_each_others_mirror(old: set[str], new: set[str]) -> None:
    before, after = scan([topic(name) for name in old]), scan([topic(name) for name in new])
    there, back = compare(before, after), compare(after, before)
    assert there.topics_appeared == back.topics_vanished
    assert there.topics_vanished == back.topics_appeared
    assert set(there.topics_appeared) == new - old
    assert there.is_empty is (old == new)
