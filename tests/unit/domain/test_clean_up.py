"""What nobody uses, and what may only look so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.domain.clean_up import DAY_MS, What, unused
from kferry.domain.model import Capability, Group, GroupState, Scan, Topic, TransactionalId
from support.scans import NOW_MS, group, scan, topic

OLD_MS = NOW_MS - 30 * DAY_MS


def idle(name: str, **fields: object) -> Topic:
    return topic(name, last_timestamp_ms=OLD_MS, records_per_second=0.0, **fields)  # type: ignore[arg-type]


def left(group_id: str, topics: list[str], **fields: object) -> Group:
    return group(group_id, topics, members=0, state=GroupState.EMPTY, **fields)  # type: ignore[arg-type]


def found(made: Scan) -> dict[str, str]:
    return {item.name: item.reason for item in unused(made, now_ms=NOW_MS).found}


def test_a_topic_without_writes_and_readers() -> None:
    assert found(scan([idle("old")])) == {"old": "Its newest record is 30 days old, and no group has committed in it."}


def test_a_topic_that_holds_nothing() -> None:
    empty = {"records_per_second": 0.0, "last_timestamp_ms": None}
    made = scan([topic("never", end=0, **empty), topic("emptied", start=9, end=9, **empty)])  # type: ignore[arg-type]
    assert found(made) == {
        "never": "Nothing was ever written to it, and no group has committed in it.",
        "emptied": "All that was in it was deleted, and no group has committed in it.",
    }


@pytest.mark.parametrize(
    "used",
    [
        scan([topic("written")]),
        scan([idle("read")], [group("reader", ["read"])]),
        scan([topic("young", last_timestamp_ms=NOW_MS - DAY_MS, records_per_second=0.0)]),
        scan([topic("age unknown", last_timestamp_ms=None, records_per_second=0.0)]),
        scan(
            [idle("in a transaction")],
            transactional_ids=[TransactionalId("t", frozenset({"in a transaction"}), "Ongoing")],
        ),
        scan([idle("__internal", is_internal=True)]),
        scan([idle("not seen whole", error="offsets unknown in 1 of 2 partitions")]),
        scan([topic("end unknown", end=None)]),
    ],
    ids=lambda made: made.topics[0].name,
)
def test_what_is_used_or_not_known_stays(used: Scan) -> None:
    assert found(used) == {}


def test_groups_that_nobody_commits_to() -> None:
    made = scan(
        [topic("a")],
        [
            left("never committed", []),
            left("topic gone", ["b"]),
            left("long still", ["a"], last_moved_at_ms=OLD_MS),
            left("long late", ["a"], lag_seconds=30 * 86_400.0),
        ],
    )
    assert found(made) == {
        "never committed": "It has no members and has committed nothing.",
        "topic gone": "It has no members, and every topic it read is gone.",
        "long still": "It has no members, and has not moved for 30 days.",
        "long late": "It has no members, and has not read a record that is 30 days old.",
    }


@pytest.mark.parametrize(
    "living",
    [
        group("members", ["a"]),
        left("moved of late", ["a"], last_moved_at_ms=NOW_MS - DAY_MS),
        left("a little late", ["a"], lag_seconds=60.0),
        left("movement unknown", ["a"]),
        left("cannot be read", [], error="GROUP_AUTHORIZATION_FAILED"),
        replace(left("state unknown", ["b"]), state=GroupState.UNKNOWN),
    ],
    ids=lambda item: item.group_id,
)
def test_groups_that_live_or_may_live_stay(living: Group) -> None:
    assert found(scan([topic("a")], [living])) == {}


def test_a_topic_read_only_by_groups_that_nobody_uses_goes_with_them() -> None:
    made = scan([idle("old")], [left("dead", ["old"], last_moved_at_ms=OLD_MS)])
    assert found(made)["old"].endswith("it was read by dead only, which nobody uses.")
    assert unused(made, now_ms=NOW_MS).names(What.GROUP) == ("dead",)


@pytest.mark.parametrize(
    "blind",
    [
        scan([idle("old")], capabilities={"groups": Capability.DENIED}),
        replace(scan([idle("old")]), complete=False),
        replace(scan([idle("old")]), notes=("The groups that broker 2 coordinates are not known: refused.",)),
        replace(scan([idle("old")]), notes=("Some groups are not known: 2 partitions have no leader.",)),
    ],
)
def test_where_groups_may_be_missing_nothing_is_called_unused(blind: Scan) -> None:
    judged = unused(blind, now_ms=NOW_MS)
    assert judged.found == ()
    assert len(judged.notes) == 1


def test_what_was_not_judged_is_counted() -> None:
    made = scan([topic("blind", end=None)], [left("denied", [], error="denied")])
    assert unused(made, now_ms=NOW_MS).notes == (
        "1 topic that nobody reads was not judged: the scan could not see all of it.",
        "1 group was not judged: the scan could not read all of it.",
    )


# ---- topics of which only some partitions were looked into -----------------------------------------------------------

NOT_DATED = "1 topic that nobody reads was not judged: when all partitions were last written to is not known that far"


def sampled(name: str, **fields: object) -> Topic:
    """Twelve partitions; the records of the eight fullest are 30 days old, the others were not looked into."""
    return idle(name, partitions=12, sampled_partitions=8, **fields)


def test_old_records_in_the_fullest_partitions_say_nothing_of_the_others() -> None:
    judged = unused(scan([sampled("wide")]), now_ms=NOW_MS)
    assert judged.found == ()
    assert judged.notes[0].startswith(NOT_DATED)


def test_where_all_partitions_are_known_to_be_quiet_a_sample_is_enough() -> None:
    made = scan([sampled("wide", quiet_since_ms=NOW_MS - 7 * DAY_MS)])
    assert found(made) == {
        "wide": "None of its partitions holds a record that is younger than 7 days, and no group has committed in it."
    }
    judged = unused(made, now_ms=NOW_MS, idle_after_ms=30 * DAY_MS)  # that far back only some were looked into
    assert judged.found == () and judged.notes[0].startswith(NOT_DATED)


def test_a_scan_that_does_not_say_how_much_it_looked_into_calls_nothing_unused() -> None:
    assert found(scan([idle("kept by an older kferry", sampled_partitions=None)])) == {}


@pytest.mark.parametrize(
    "written",
    [
        sampled("grew between scans", quiet_since_ms=NOW_MS - 7 * DAY_MS, grew_at_ms=NOW_MS - DAY_MS),
        idle("grew, whole", grew_at_ms=NOW_MS - DAY_MS),
        replace(idle("rate unknown"), records_per_second=None),
        idle("emptied by hand", start=9, end=9, effective={"retention.ms": "-1"}),
        idle("emptied by a short retention", start=9, end=9, effective={"retention.ms": "3600000"}),
        idle("emptied by size", start=9, end=9, effective={"retention.bytes": "1000"}),
        idle("emptied, compacted", start=9, end=9, effective={"cleanup.policy": "compact"}),
    ],
    ids=lambda topic: topic.name,
)
def test_what_grew_or_may_have_held_records_of_late_stays(written: Topic) -> None:
    assert found(scan([written])) == {}


AGES = st.none() | st.integers(0, 60).map(lambda days: NOW_MS - days * DAY_MS)


@given(
    partitions=st.integers(1, 12),
    sampled_of=st.none() | st.integers(0, 12),
    last_ms=AGES,
    quiet_ms=AGES,
    grew_ms=AGES,
    rate=st.sampled_from([None, 0.0, 3.0]),
    ends=st.sampled_from([(0, 0), (5, 5), (0, 5)]),
    retention=st.sampled_from(["-1", "1000", "604800000", "99999999999", "?"]),
    days=st.integers(0, 40),
)
def test_nothing_is_unused_unless_it_is_known_of_all_partitions(
    partitions: int,
    sampled_of: int | None,
    last_ms: int | None,
    quiet_ms: int | None,
    grew_ms: int | None,
    rate: float | None,
    ends: tuple[int, int],
    retention: str,
    days: int,
) -> None:
    made = topic(
        "t",
        partitions,
        start=ends[0],
        end=ends[1],
        effective={"retention.ms": retention},
        last_timestamp_ms=last_ms,
        sampled_partitions=sampled_of,
        quiet_since_ms=quiet_ms,
        grew_at_ms=grew_ms,
        records_per_second=rate,
    )
    cutoff_ms = NOW_MS - days * DAY_MS
    judged = unused(scan([made]), now_ms=NOW_MS, idle_after_ms=days * DAY_MS)
    if not judged.found:
        return
    assert not rate
    assert grew_ms is None or grew_ms <= cutoff_ms
    assert last_ms is None or last_ms <= cutoff_ms
    if ends[1] == 0:
        return  # nothing was ever written to it
    assert rate == 0.0
    if ends[0] == ends[1]:
        assert int(retention) >= days * DAY_MS
        return
    is_whole = sampled_of == partitions and last_ms is not None
    is_quiet = quiet_ms is not None and quiet_ms <= cutoff_ms
    assert is_whole or is_quiet
