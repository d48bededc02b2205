"""What nobody uses, and what may only look so."""

from __future__ import annotations

from dataclasses import replace

import pytest

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
    made = scan([topic("never", end=0, records_per_second=0.0), topic("emptied", start=9, end=9, records_per_second=0)])
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
        "1 topics that nobody reads were not judged: the scan could not see all of them.",
        "1 groups were not judged: the scan could not read them.",
    )
