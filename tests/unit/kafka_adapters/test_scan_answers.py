"""Answers that a scan reads itself, byte by byte, and what it makes of them."""

from __future__ import annotations

import struct

import pytest
from confluent_kafka import ConsumerGroupState, ConsumerGroupType
from confluent_kafka.admin import ConsumerGroupDescription
from hypothesis import given
from hypothesis import strategies as st

from kferry.domain.errors import KferryError
from kferry.domain.model import (
    ActiveProducer,
    CommittedOffset,
    Group,
    GroupKind,
    GroupState,
    PartitionOffsets,
    Topic,
    TopicPartition,
)
from kferry.kafka import group_listing, groups, log_dirs, producers
from kferry.kafka.producers import KnownTransaction
from kferry.kafka.scan_around import Surroundings, with_size, with_transactions
from kferry.kafka.scan_groups import _passes, streams_by_topics, streams_topics, with_movement
from kferry.kafka.wire import (
    WireError,
    WireReader,
    pack_compact_array,
    pack_compact_string,
    pack_string,
    pack_uvarint,
)

HOSTILE = "a\x1b[31m‮\x00../[/]{{ 1 }}"
TP = TopicPartition(HOSTILE, 3)


def log_dir(error: int, *partitions: tuple[int, int, bool]) -> bytes:
    held = b"".join(struct.pack(">iqq?", number, size, 0, future) for number, size, future in partitions)
    topic = pack_string(HOSTILE) + struct.pack(">i", len(partitions)) + held
    return struct.pack(">h", error) + pack_string("/data") + struct.pack(">i", 1) + topic


def test_sizes_are_those_of_whole_replicas() -> None:
    answer = struct.pack(">ii", 0, 2) + log_dir(0, (3, 500, False)) + log_dir(0, (3, 900, True), (4, 7, False))
    assert log_dirs.parse(WireReader(answer)) == {TP: 500, TopicPartition(HOSTILE, 4): 7}


def test_a_broker_that_tells_no_directory_denies() -> None:
    with pytest.raises(KferryError) as caught:
        log_dirs.parse(WireReader(struct.pack(">ii", 0, 0)))
    assert caught.value.cause == "CLUSTER_AUTHORIZATION_FAILED."


def test_groups_of_all_kinds_are_listed() -> None:
    rows = [
        ("g", "consumer", "Stable", "Classic"),
        (HOSTILE, "share", "Empty", "Share"),
        ("c", "connect", "", "Classic"),
    ]
    packed = [b"".join(map(pack_compact_string, row)) + b"\0" for row in rows]
    answer = struct.pack(">ih", 0, 0) + pack_compact_array(packed) + b"\0"
    plain, share, connect = group_listing.parse(WireReader(answer), 5)
    assert (plain.group_id, plain.kind, plain.group_state) == ("g", None, GroupState.STABLE)
    assert (share.group_id, share.kind, share.has_offsets_to_read) == (HOSTILE, GroupKind.SHARE, False)
    assert connect.protocol == "connect"
    old = struct.pack(">hi", 0, 1) + pack_string("g") + pack_string("consumer")
    assert group_listing.parse(WireReader(old), 0)[0].group_state is GroupState.UNKNOWN
    with pytest.raises(KferryError):
        group_listing.parse(WireReader(struct.pack(">h", 15)), 0)


def producer_row(producer_id: int, last_ms: int, start: int) -> bytes:
    return struct.pack(">qiiqiq", producer_id, 0, 0, last_ms, 0, start) + b"\0"


def test_producers_and_the_partitions_that_would_not_tell() -> None:
    row = (
        struct.pack(">ih", 3, 0) + b"\0" + pack_compact_array([producer_row(9, 77, 5), producer_row(8, -1, -1)]) + b"\0"
    )
    denied = struct.pack(">ih", 4, 29) + b"\0" + pack_compact_array([]) + b"\0"
    topic = pack_compact_string(HOSTILE) + pack_compact_array([row, denied]) + b"\0"
    found: list[ActiveProducer] = []
    errors: dict[TopicPartition, str] = {}
    producers.parse_producers(WireReader(struct.pack(">i", 0) + pack_compact_array([topic]) + b"\0"), found, errors)
    assert found == [ActiveProducer(HOSTILE, 3, 9, 77, 5), ActiveProducer(HOSTILE, 3, 8, None, None)]
    assert errors == {TopicPartition(HOSTILE, 4): "TOPIC_AUTHORIZATION_FAILED"}


def test_transactions_and_where_they_are_open() -> None:
    listed = pack_compact_string("tx") + struct.pack(">q", 9) + pack_compact_string("Ongoing") + b"\0"
    answer = struct.pack(">ih", 0, 0) + pack_compact_array([]) + pack_compact_array([listed]) + b"\0"
    assert producers.parse_listing(WireReader(answer)) == [KnownTransaction("tx", 9, "Ongoing")]
    topic = pack_compact_string(HOSTILE) + pack_compact_array([struct.pack(">i", 3)]) + b"\0"
    state = struct.pack(">h", 0) + pack_compact_string("tx") + pack_compact_string("Ongoing")
    state += struct.pack(">iqqh", 1000, 5, 9, 0) + pack_compact_array([topic]) + b"\0"
    answer = struct.pack(">i", 0) + pack_compact_array([state]) + b"\0"
    assert producers.parse_description(WireReader(answer)) == {"tx": frozenset({TP})}


PARSERS = [
    log_dirs.parse,
    lambda reader: group_listing.parse(reader, 5),
    lambda reader: group_listing.parse(reader, 0),
    lambda reader: producers.parse_producers(reader, [], {}),
    producers.parse_listing,
    producers.parse_description,
]


@pytest.mark.parametrize("parse", PARSERS)
@given(data=st.binary(max_size=80))
def test_bytes_that_are_no_answer_end_in_words(parse: object, data: bytes) -> None:
    try:
        parse(WireReader(data))  # type: ignore[operator]
    except (WireError, KferryError) as error:
        assert str(error)


NOW_MS = 1_000_000_000
OPEN = ActiveProducer("t", 0, 9, NOW_MS - 2_000_000, 5)


@pytest.mark.parametrize(
    ("producer", "known", "hangs"),
    [
        (OPEN, [], True),
        (OPEN, [KnownTransaction("tx", 9, "Ongoing", frozenset({TopicPartition("t", 0)}))], False),
        (OPEN, [KnownTransaction("tx", 9, "Ongoing", frozenset({TopicPartition("t", 1)}))], True),
        (OPEN, [KnownTransaction("tx", 8, "Ongoing", frozenset({TopicPartition("t", 0)}))], True),
        (ActiveProducer("t", 0, 9, NOW_MS - 1000, 5), [], False),  # it may have begun a moment ago
        (ActiveProducer("t", 0, 9, None, 5), [], False),  # its age is not known
        (ActiveProducer("t", 0, 9, NOW_MS - 2_000_000, None), [], False),  # no transaction
    ],
)
def test_a_transaction_hangs_where_no_coordinator_knows_it(
    producer: ActiveProducer, known: list[KnownTransaction], hangs: bool
) -> None:
    found = producers.hanging([producer], known, now_ms=NOW_MS, older_than_ms=1_200_000)
    assert [(item.producer_id, item.start_offset, item.age_seconds) for item in found] == (
        [(9, 5, 2000)] if hangs else []
    )


def topic(*parts: PartitionOffsets, **fields: object) -> Topic:
    return Topic("t", None, 1, parts, **fields)  # type: ignore[arg-type]


def test_a_size_is_known_only_where_each_partition_told_it() -> None:
    two = topic(PartitionOffsets(0, 0, 1), PartitionOffsets(1, 0, 1))
    first, second = TopicPartition("t", 0), TopicPartition("t", 1)
    assert with_size(two, {first: 5, second: 7}).size_bytes == 12
    assert with_size(two, {first: 5}).size_bytes is None
    assert with_size(topic(), {}).size_bytes is None


def test_transactions_are_denied_only_where_the_log_was_read() -> None:
    around = Surroundings(is_log_read=True)
    assert with_transactions([topic()], around)[0].has_transactions is False
    assert with_transactions([topic(error="records: late")], around)[0].has_transactions is None
    assert with_transactions([topic()], Surroundings())[0].has_transactions is None
    open_now = Surroundings(producers=(OPEN,))
    assert with_transactions([topic()], open_now)[0].has_transactions is True


def group(*offsets: int, **fields: object) -> Group:
    commits = tuple(CommittedOffset("t", number, offset) for number, offset in enumerate(offsets))
    return Group("g", GroupState.EMPTY, GroupKind.PLAIN, committed=commits, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "again", "before", "moved"),
    [
        (group(5), group(5), None, None),
        (group(5), group(6), None, 20),
        (group(5), group(5), group(4), 10),
        (group(5), group(6), group(4), 20),
        (group(5), group(5), group(5, last_moved_at_ms=3), 3),
        (group(5), None, group(5, last_moved_at_ms=3), 3),
        (group(error="denied"), None, group(5, last_moved_at_ms=3), 3),
        (group(5), group(5), group(error="denied"), None),
    ],
)
def test_when_a_group_was_seen_to_move(
    now: Group, again: Group | None, before: Group | None, moved: int | None
) -> None:
    found = with_movement(now, again.committed if again else None, before, taken_at_ms=10, again_at_ms=20)
    assert found.last_moved_at_ms == moved
    assert found.committed == (again or now).committed


def test_a_stopped_streams_application_is_known_by_its_topics() -> None:
    internal = streams_topics(["g-store-changelog", "g-changelogs", "g"])
    assert internal == ("g-store-changelog",)
    assert streams_by_topics(group(1), internal).kind is GroupKind.STREAMS
    assert streams_by_topics(group(1), streams_topics(["other-store-changelog", "g-orders"])).kind is GroupKind.PLAIN


@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=30))
def test_each_pass_over_late_records_has_a_partition_once(spots: set[tuple[int, int]]) -> None:
    wanted = sorted((TopicPartition("t", number), at) for number, at in spots)
    passes = _passes(wanted)
    assert sorted((tp, at) for portion in passes for tp, at in portion.items()) == wanted
    assert len(passes) == max((sum(1 for tp, _ in wanted if tp.partition == number) for number in range(4)), default=0)


def test_numbers_of_variable_length() -> None:
    for value in (0, 1, 127, 128, 300, 1 << 40):
        assert WireReader(pack_uvarint(value)).uvarint() == value


@pytest.mark.parametrize(
    ("group_id", "kind", "assignor", "expected"),
    [
        ("g", ConsumerGroupType.CLASSIC, "range", GroupKind.PLAIN),
        ("g", ConsumerGroupType.UNKNOWN, "stream", GroupKind.STREAMS),
        ("g", ConsumerGroupType.CONSUMER, "uniform", GroupKind.CONSUMER),
        ("connect-sink", ConsumerGroupType.CONSUMER, "uniform", GroupKind.CONNECT),
    ],
)
def test_what_kind_of_group_a_description_shows(
    group_id: str, kind: ConsumerGroupType, assignor: str, expected: GroupKind
) -> None:
    described = ConsumerGroupDescription(
        group_id,
        False,
        [],
        assignor,
        ConsumerGroupState.STABLE,
        None,
        type=kind,  # type: ignore[arg-type]
    )
    assert groups._group(described).kind is expected
