"""Commits with metadata: the bytes that are sent, and what is done where a coordinator moves, loads or is gone."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from confluent_kafka import KafkaError
from hypothesis import given
from hypothesis import strategies as st

from kferry.domain.errors import KferryError
from kferry.domain.model import Broker, ClusterConfig, ClusterKind, CommittedOffset, Role, TopicPartition
from kferry.kafka import commit, coordinators, groups
from kferry.kafka.commit import Answered, write_to_coordinator
from kferry.kafka.connection import Connection
from kferry.kafka.wire import WireError, WireReader, pack_string
from support.fake_coordinators import FIND, FakeCluster, fake_cluster

COMMIT = 8
HOSTILE = "a\x1b[31m‮../[/]{{ 1 }},"
METADATA_TOO_LARGE, LOADING, MOVED, UNKNOWN_MEMBER, REBALANCING, DENIED = 12, 14, 16, 25, 27, 30
ONE = CommittedOffset("t", 0, 7, "mark")
TWO = CommittedOffset("t", 1, 2**40)
FIRST, SECOND = TopicPartition("t", 0), TopicPartition("t", 1)


@dataclass
class Writes:
    """What the fake brokers were sent as commits, and what they answer first: by partition, one after the other."""

    fake: FakeCluster
    newest: int = 9
    seen: list[tuple[int, int, list[tuple[int, int, str]]]] = field(default_factory=list)  # node, version, rows
    errors: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.others = self.fake.answer
        self.fake.answer = self.answer  # type: ignore[method-assign]
        self.fake.versions = {**self.fake.versions, COMMIT: self.newest}

    def answer(self, node: int, request: WireReader) -> bytes:
        data = request.take(request.left_bytes)
        again = WireReader(data)
        api, version, correlation = again.int16(), again.int16(), again.int32()
        if (api, version) == (FIND, 1):
            again.nullable_string()
            name = again.string()
            self.fake.asked.append((node, api, [name]))
            return struct.pack(">i", correlation) + self.find(name)
        if api != COMMIT:
            return self.others(node, WireReader(data))
        again.nullable_string()
        group_id = again.string()
        again.int32(), again.string()
        if version == 7:
            again.nullable_string()
        if version < 5:
            again.int64()
        return struct.pack(">i", correlation) + self.commit(node, version, group_id, again)

    def find(self, name: str) -> bytes:
        port = self.fake.ports[self.fake.coordinator.get(name, 0)]
        error = (self.fake.find_errors.get(name) or [0]).pop(0)
        return struct.pack(">ihhi", 0, error, -1, 0) + pack_string("127.0.0.1") + struct.pack(">i", port)

    def commit(self, node: int, version: int, group_id: str, request: WireReader) -> bytes:
        assert request.array_length() == 1
        topic, rows, codes = request.string(), [], []
        for _ in range(request.array_length()):
            partition, offset = request.int32(), request.int64()
            if version >= 6:
                assert request.int32() == -1
            rows.append((partition, offset, request.string()))
            moved = self.fake.coordinator.get(group_id, 0) != node
            error = MOVED if moved else (self.errors.get(partition) or [0]).pop(0)
            codes.append(struct.pack(">ih", partition, error))
        self.seen.append((node, version, rows))
        head = (b"" if version < 3 else bytes(4)) + struct.pack(">i", 1) + pack_string(topic)
        return head + struct.pack(">i", len(codes)) + b"".join(codes)


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    with fake_cluster(3) as started:
        yield started


@pytest.fixture
def writes(fake: FakeCluster) -> Writes:
    return Writes(fake)


@pytest.fixture
def connection(fake: FakeCluster) -> Connection:
    return Connection(ClusterConfig(Role.TARGET, ClusterKind.APACHE_KAFKA, fake.bootstrap_servers))


def write(connection: Connection, *commits: CommittedOffset, seconds: float = 10) -> Answered:
    deadline = time.monotonic() + seconds
    return write_to_coordinator(connection, "g", commits, doing="write to", deadline=deadline)


def codes(answered: Answered) -> dict[TopicPartition, int | None]:
    return {tp: error.code() if error is not None else None for tp, error in answered.items()}


# ---- bytes ----------------------------------------------------------------------------------------------------------

HEAD = b"\x00\x01g\xff\xff\xff\xff\x00\x00"  # group, no generation, no member
RETENTION = b"\xff" * 8
EPOCH = b"\xff" * 4
TOPIC = b"\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x01"
PLACE = b"\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x07"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (2, HEAD + RETENTION + TOPIC + PLACE + b"\x00\x01m"),
        (3, HEAD + RETENTION + TOPIC + PLACE + b"\x00\x01m"),
        (4, HEAD + RETENTION + TOPIC + PLACE + b"\x00\x01m"),
        (5, HEAD + TOPIC + PLACE + b"\x00\x01m"),
        (6, HEAD + TOPIC + PLACE + EPOCH + b"\x00\x01m"),
        (7, HEAD + b"\xff\xff" + TOPIC + PLACE + EPOCH + b"\x00\x01m"),
    ],
)
def test_requests_are_these_bytes(version: int, expected: bytes) -> None:
    assert commit.pack_request("g", [CommittedOffset("t", 3, 7, "m")], version) == expected


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("", b"\x00\x00"),
        ("mark", b"\x00\x04mark"),
        ("ü", b"\x00\x02\xc3\xbc"),
        (HOSTILE, struct.pack(">h", len(HOSTILE.encode())) + HOSTILE.encode()),
        ("AgAAAY/J1Q==", b"\x00\x0cAgAAAY/J1Q=="),
    ],
    ids=["empty, as Java writes it", "plain", "UTF-8", "hostile", "base64"],
)
def test_metadata_goes_as_it_is(metadata: str, expected: bytes) -> None:
    assert commit.pack_request("g", [CommittedOffset("t", 3, 7, metadata)], 5) == HEAD + TOPIC + PLACE + expected


def test_partitions_go_by_topic() -> None:
    parts = [CommittedOffset("a", 0, 1), CommittedOffset("b", 0, 2), CommittedOffset("a", 1, 3)]
    row = ">iqh"
    assert commit.pack_request("g", parts, 5) == (
        HEAD
        + b"\x00\x00\x00\x02"
        + b"\x00\x01a\x00\x00\x00\x02"
        + struct.pack(row, 0, 1, 0)
        + struct.pack(row, 1, 3, 0)
        + b"\x00\x01b\x00\x00\x00\x01"
        + struct.pack(row, 0, 2, 0)
    )
    assert commit.pack_request("g", [], 5) == HEAD + b"\x00\x00\x00\x00"


@pytest.mark.parametrize(("version", "head"), [(2, b""), (3, b"\x00\x00\x00\x09"), (7, b"\x00\x00\x00\x00")])
def test_answers_are_parsed(version: int, head: bytes) -> None:
    parts = struct.pack(">iihih", 2, 0, 0, 1, UNKNOWN_MEMBER)
    other = struct.pack(">iih", 1, 5, 3)
    hostile = pack_string(HOSTILE)
    answer = head + b"\x00\x00\x00\x02\x00\x01t" + parts + hostile + other
    assert commit.parse(WireReader(answer), version) == {
        FIRST: 0,
        SECOND: UNKNOWN_MEMBER,
        TopicPartition(HOSTILE, 5): 3,
    }
    assert commit.parse(WireReader(head + b"\x00\x00\x00\x00"), version) == {}


def test_the_coordinator_of_one_group() -> None:
    assert coordinators.pack_one("ü") == b"\x00\x02\xc3\xbc\x00"
    place = pack_string("h") + struct.pack(">i", 9)
    assert coordinators.parse_one(WireReader(struct.pack(">ihhi", 0, 0, -1, 4) + place)) == Broker(4, "h", 9)
    nobody = pack_string("") + struct.pack(">i", -1)
    words = struct.pack(">ih", 0, DENIED) + pack_string("in words") + struct.pack(">i", -1)
    assert coordinators.parse_one(WireReader(words + nobody)) == DENIED


@given(st.binary(max_size=100), st.integers(2, 7))
def test_broken_answers_are_named(data: bytes, version: int) -> None:
    with suppress(WireError):
        commit.parse(WireReader(data), version)
    with suppress(WireError):
        coordinators.parse_one(WireReader(data))


# ---- writing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("newest", "spoken"), [(2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (9, 7)])
def test_the_newest_version_that_both_know(fake: FakeCluster, connection: Connection, newest: int, spoken: int) -> None:
    writes = Writes(fake, newest)
    fake.coordinator["g"] = 1
    assert codes(write(connection, ONE, TWO)) == {FIRST: None, SECOND: None}
    assert writes.seen == [(1, spoken, [(0, 7, "mark"), (1, 2**40, "")])]


def test_brokers_that_look_up_one_group_at_a_time(fake: FakeCluster, writes: Writes, connection: Connection) -> None:
    fake.versions = {FIND: 1, COMMIT: 3}
    fake.coordinator["g"] = 2
    fake.find_errors["g"] = [15]
    assert codes(write(connection, ONE)) == {FIRST: None}
    assert writes.seen == [(2, 3, [(0, 7, "mark")])]
    assert codes(write(connection, ONE)) == {FIRST: None}
    assert fake.questions(FIND) == 2


def test_only_what_is_not_yet_is_written_again(writes: Writes, connection: Connection) -> None:
    writes.errors = {0: [LOADING, LOADING], 1: [UNKNOWN_MEMBER]}
    assert codes(write(connection, ONE, TWO)) == {FIRST: None, SECOND: UNKNOWN_MEMBER}
    assert [[row[0] for row in rows] for _node, _version, rows in writes.seen] == [[0, 1], [0], [0]]


def test_not_yet_is_the_answer_at_the_deadline(writes: Writes, connection: Connection) -> None:
    writes.errors = {0: [LOADING] * 99}
    assert codes(write(connection, ONE, TWO, seconds=0.8)) == {FIRST: LOADING, SECOND: None}
    assert len(writes.seen) <= 3


@pytest.mark.parametrize("code", [METADATA_TOO_LARGE, UNKNOWN_MEMBER, REBALANCING, DENIED])
def test_a_refusal_is_final(writes: Writes, connection: Connection, code: int) -> None:
    writes.errors = {0: [code]}
    assert codes(write(connection, ONE)) == {FIRST: code}
    assert len(writes.seen) == 1


def test_a_coordinator_that_has_moved_is_looked_up_again(
    fake: FakeCluster, writes: Writes, connection: Connection
) -> None:
    write(connection, ONE)
    fake.coordinator["g"] = 1
    assert codes(write(connection, ONE)) == {FIRST: None}
    assert [node for node, _version, _rows in writes.seen] == [0, 0, 1]
    assert fake.questions(FIND) == 2


def test_a_remembered_coordinator_that_is_gone_is_looked_up_anew(
    fake: FakeCluster, writes: Writes, connection: Connection
) -> None:
    fake.coordinator["g"] = 1
    write(connection, ONE)
    fake.deaf.add(1)
    fake.coordinator["g"] = 2
    assert codes(write(connection, ONE)) == {FIRST: None}
    assert writes.seen[-1][0] == 2


def test_a_coordinator_that_is_not_told_is_an_error(fake: FakeCluster, connection: Connection) -> None:
    fake.find_errors["g"] = [DENIED]
    with pytest.raises(KferryError) as caught:
        write(connection, ONE)
    assert "GROUP_AUTHORIZATION_FAILED" in caught.value.cause


def test_metadata_that_no_request_can_carry_is_refused(writes: Writes, connection: Connection) -> None:
    huge = CommittedOffset("t", 1, 1, "ü" * 20_000)
    assert codes(write(connection, ONE, huge)) == {FIRST: None, SECOND: METADATA_TOO_LARGE}
    assert writes.seen[0][2] == [(0, 7, "mark")]


@pytest.mark.parametrize("versions", [{FIND: 0, COMMIT: 2}, {FIND: 4, COMMIT: 1}, {}])
def test_older_brokers_are_left_to_the_library(
    fake: FakeCluster, writes: Writes, connection: Connection, versions: dict[int, int]
) -> None:
    fake.versions = versions
    assert write(connection, ONE) == {}
    assert writes.seen == []


@pytest.mark.parametrize("node", [0, 1], ids=["nobody listens", "the coordinator does not"])
def test_what_cannot_be_reached_is_left_to_the_library(
    fake: FakeCluster, connection: Connection, writes: Writes, node: int
) -> None:
    fake.coordinator["g"] = 1
    fake.deaf.add(node)
    assert write(connection, ONE) == {}
    assert writes.seen == []


@pytest.mark.thorough
def test_a_silent_broker_costs_half_of_the_time(fake: FakeCluster, connection: Connection) -> None:
    fake.silent.add(0)
    started = time.monotonic()
    assert write(connection, ONE, seconds=6) == {}
    assert time.monotonic() - started < 5.8


# ---- with the client library ----------------------------------------------------------------------------------------


def test_the_library_writes_what_has_no_metadata_and_what_is_missing(
    fake: FakeCluster, writes: Writes, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[CommittedOffset]] = []

    def library(_connection: Connection, _group: str, commits: list[CommittedOffset], **_rest: object) -> Answered:
        asked.append(commits)
        return {FIRST: KafkaError(UNKNOWN_MEMBER)}

    monkeypatch.setattr(groups, "_written_by_library", library)
    assert groups.write_committed(connection, "g", [], timeout_seconds=10) == {}
    assert groups.write_committed(connection, "g", [ONE, TWO], timeout_seconds=10) == {FIRST: None, SECOND: None}
    assert asked == []
    plain = CommittedOffset("t", 0, 7)
    assert groups.write_committed(connection, "g", [plain, TWO], timeout_seconds=10) == {
        FIRST: "UNKNOWN_MEMBER_ID: Unknown member",
        SECOND: "The cluster did not answer for this partition.",
    }
    fake.deaf.add(0)
    groups.write_committed(connection, "g", [ONE, TWO], timeout_seconds=2)
    assert asked == [[plain, TWO], [ONE, TWO]]
    assert len(writes.seen) == 1


def test_the_library_is_given_no_empty_metadata() -> None:
    assert groups._library_part(TWO).metadata is None
    assert groups._library_part(ONE).metadata == "mark"
