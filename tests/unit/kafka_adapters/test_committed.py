"""Offsets of many groups in few requests: the bytes, and what is done where a coordinator moves, loads or is gone."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from confluent_kafka import KafkaError
from hypothesis import given
from hypothesis import strategies as st

from kferry.domain.errors import KferryError
from kferry.domain.model import Broker, ClusterConfig, ClusterKind, CommittedOffset, Role, TopicPartition
from kferry.kafka import committed, coordinators, groups
from kferry.kafka.committed import GroupOffsets, Told, ask_coordinators
from kferry.kafka.connection import Connection
from kferry.kafka.wire import WireError, WireReader
from support.fake_coordinators import FETCH, FIND, FakeCluster, Row, fake_cluster, fetched, located, response

HOSTILE = "a\x1b[31m‮../[/]{{ 1 }},"
COMMIT = CommittedOffset("t", 0, 7)
ONE = {"t": [(0, 7, 3, "", 0)]}
LOADING, NOT_THERE, MOVED, DENIED = 14, 15, 16, 30


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    with fake_cluster(3) as started:
        yield started


@pytest.fixture
def connection(fake: FakeCluster) -> Connection:
    return Connection(ClusterConfig(Role.SOURCE, ClusterKind.APACHE_KAFKA, fake.bootstrap_servers))


def ask(connection: Connection, *ids: str, seconds: float = 10) -> Told:
    return ask_coordinators(connection, ids, stable=False, deadline=time.monotonic() + seconds)


def codes(told: Told) -> dict[str, int]:
    return {name: error.code() for name, error in told.errors.items()}


# ---- bytes ----------------------------------------------------------------------------------------------------------


def test_requests_are_these_bytes() -> None:
    assert coordinators.pack_request(["ab", "ü"]) == b"\x00\x03\x03ab\x03\xc3\xbc\x00"
    assert committed.pack_request(["ab", "c"], stable=True) == b"\x03\x03ab\x00\x00\x02c\x00\x00\x01\x00"
    assert committed.pack_request([], stable=False) == b"\x01\x00\x00"


@pytest.mark.parametrize(
    ("topics", "expected"),
    [
        ({}, GroupOffsets()),
        (ONE, GroupOffsets((COMMIT,), (), 1)),
        ({"t": [(0, 0, -1, None, 0)]}, GroupOffsets((CommittedOffset("t", 0, 0),), (), 1)),
        ({"t": [(0, 7, 3, "m\0n", 0)]}, GroupOffsets((CommittedOffset("t", 0, 7, "m"),), (), 1)),
        ({"t": [(0, 7, 3, "\0", 0)]}, GroupOffsets((COMMIT,), (), 1)),
        ({"t": [(0, -1, -1, "", 0), (1, -1001, -1, "", 0)]}, GroupOffsets((), (), 2)),
        (
            {"z": [(1, 2**40, 0, HOSTILE, 0)], HOSTILE: [(3, 1, 0, "", 0)]},
            GroupOffsets((CommittedOffset(HOSTILE, 3, 1), CommittedOffset("z", 1, 2**40, HOSTILE)), (), 2),
        ),
        (
            {"t": [(2, 5, 0, "m", 0), (0, 4, 0, "", 0)]},
            GroupOffsets((CommittedOffset("t", 0, 4), CommittedOffset("t", 2, 5, "m")), (), 2),
        ),
    ],
    ids=[
        "no commits",
        "one",
        "offset zero, no metadata",
        "a zero byte",
        "only a zero byte",
        "no commit in a partition",
        "hostile names",
        "sorted",
    ],
)
def test_offsets_are_parsed(topics: dict[str, list[Row]], expected: GroupOffsets) -> None:
    assert committed.parse(WireReader(response([fetched(HOSTILE, topics)]))) == {HOSTILE: expected}


def test_errors_stay_with_their_group_and_partition() -> None:
    rows: dict[str, list[Row]] = {"t": [(0, 7, 3, "", 0), (1, -1, -1, "", 88)]}
    answer = response([fetched("whole", ONE), fetched("part", rows), fetched("denied", {}, DENIED)])
    found = committed.parse(WireReader(answer))
    assert found["whole"] == GroupOffsets((COMMIT,), (), 1)
    part, denied = found["part"], found["denied"]
    assert isinstance(part, GroupOffsets)
    assert (part.commits, part.count) == ((COMMIT,), 2)
    assert [(tp, error.name()) for tp, error in part.failed] == [(TopicPartition("t", 1), "UNSTABLE_OFFSET_COMMIT")]
    assert isinstance(denied, KafkaError)
    assert denied.name() == "GROUP_AUTHORIZATION_FAILED"


@pytest.mark.parametrize(
    ("version", "head", "epoch"), [(2, b"", b""), (3, bytes(4), b""), (4, bytes(4), b""), (5, bytes(4), bytes(4))]
)
def test_older_brokers_tell_one_group_at_a_time(version: int, head: bytes, epoch: bytes) -> None:
    assert committed.pack_one("ü", version, stable=True) == b"\x00\x02\xc3\xbc\xff\xff\xff\xff"
    rows = [(0, 7, b"\x00\x01m", 0), (1, 8, b"\xff\xff", 0), (2, -1, b"\x00\x00", 0), (3, -1, b"\x00\x00", 29)]
    parts = b"".join(
        struct.pack(">iq", number, offset) + epoch + mark + struct.pack(">h", error)
        for number, offset, mark, error in rows
    )
    topics = struct.pack(">i", 1) + b"\x00\x01t" + struct.pack(">i", len(rows)) + parts
    found = committed.parse_one(WireReader(head + topics + bytes(2)), version)
    assert isinstance(found, GroupOffsets)
    assert found.commits == (CommittedOffset("t", 0, 7, "m"), CommittedOffset("t", 1, 8))
    assert [(tp, error.code()) for tp, error in found.failed] == [(TopicPartition("t", 3), 29)]
    assert found.count == 4
    denied = committed.parse_one(WireReader(head + bytes(4) + struct.pack(">h", DENIED)), version)
    assert isinstance(denied, KafkaError)
    assert denied.code() == DENIED


def test_brokers_since_2_5_tell_one_group_at_a_time() -> None:
    assert committed.pack_one("ab", 7, stable=True) == b"\x03ab\x00\x01\x00"
    assert committed.pack_one("ab", 7, stable=False) == b"\x03ab\x00\x00\x00"
    group = fetched("", ONE).removeprefix(b"\x01")
    assert committed.parse_one(WireReader(bytes(4) + group), 7) == GroupOffsets((COMMIT,), (), 1)
    denied = committed.parse_one(WireReader(bytes(4) + fetched("", {}, DENIED).removeprefix(b"\x01")), 7)
    assert isinstance(denied, KafkaError)
    assert denied.code() == DENIED


def test_coordinators_are_parsed() -> None:
    answer = response([located("a", 1, "h", 9), located(HOSTILE, 1, "h", 9), located("d", -1, "", -1, DENIED)])
    found, errors = coordinators.parse(WireReader(answer))
    assert found == {"a": Broker(1, "h", 9), HOSTILE: Broker(1, "h", 9)}
    assert found["a"] is found[HOSTILE]
    assert errors == {"d": DENIED}


@given(st.binary(max_size=200))
def test_broken_answers_are_named(data: bytes) -> None:
    for parse in (committed.parse, coordinators.parse):
        with suppress(WireError):
            parse(WireReader(data))
    for version in (2, 3, 5, 7):
        with suppress(WireError):
            committed.parse_one(WireReader(data), version)


# ---- asking ---------------------------------------------------------------------------------------------------------


def test_many_groups_take_few_requests_and_coordinators_are_remembered(
    fake: FakeCluster, connection: Connection
) -> None:
    ids = [f"g{number}" for number in range(750)]
    fake.coordinator = {name: number % 3 for number, name in enumerate(ids)}
    fake.offsets = dict.fromkeys(ids[:5], ONE)
    told = ask(connection, *ids)
    assert not told.errors
    assert set(told.offsets) == set(ids)
    assert {name for name, found in told.offsets.items() if found.commits} == set(ids[:5])
    assert (fake.questions(FIND), fake.questions(FETCH)) == (2, 9)
    assert all(fake.coordinator[name] == node for node, api, names in fake.asked if api == FETCH for name in names)
    fake.asked.clear()
    assert ask(connection, *ids).offsets == told.offsets
    assert (fake.questions(FIND), fake.questions(FETCH)) == (0, 9)


def test_a_coordinator_that_has_moved_is_looked_up_again(fake: FakeCluster, connection: Connection) -> None:
    fake.offsets = {"a": ONE, "b": ONE}
    ask(connection, "a", "b")
    fake.coordinator["b"] = 1
    fake.asked.clear()
    told = ask(connection, "a", "b")
    assert not told.errors
    assert told.offsets["b"].commits == (COMMIT,)
    assert fake.asked == [(0, FETCH, ["a", "b"]), (0, FIND, ["b"]), (1, FETCH, ["b"])]


def test_not_yet_is_asked_again(fake: FakeCluster, connection: Connection) -> None:
    fake.offsets = {"a": ONE}
    fake.find_errors["a"] = [NOT_THERE]
    fake.fetch_errors["a"] = [LOADING, LOADING]
    told = ask(connection, "a")
    assert told.offsets["a"].commits == (COMMIT,)
    assert not told.errors
    assert (fake.questions(FIND), fake.questions(FETCH)) == (2, 3)


def test_not_yet_is_the_answer_at_the_deadline(fake: FakeCluster, connection: Connection) -> None:
    fake.fetch_errors["a"] = [LOADING] * 99
    told = ask(connection, "a", "b", seconds=0.8)
    assert codes(told) == {"a": LOADING}
    assert set(told.offsets) == {"b"}
    assert fake.questions(FETCH) <= 3


def test_a_refusal_is_final_and_of_its_group_only(fake: FakeCluster, connection: Connection) -> None:
    fake.find_errors["a"] = [DENIED]
    fake.fetch_errors["b"] = [DENIED]
    told = ask(connection, "a", "b", "c")
    assert codes(told) == {"a": DENIED, "b": DENIED}
    assert set(told.offsets) == {"c"}
    assert len(fake.asked) == 2


def test_a_remembered_coordinator_that_is_gone_is_looked_up_anew(fake: FakeCluster, connection: Connection) -> None:
    fake.coordinator["a"] = 1
    ask(connection, "a", "b")
    fake.deaf.add(1)
    fake.coordinator["a"] = 2
    told = ask(connection, "a", "b")
    assert set(told.offsets) == {"a", "b"}
    assert not connection.coordinators.avoided


def test_a_coordinator_that_cannot_be_reached_is_left_to_the_library(fake: FakeCluster, connection: Connection) -> None:
    fake.coordinator["a"] = 1
    fake.deaf.add(1)
    fake.fetch_errors["c"] = [LOADING]
    told = ask(connection, "a", "b", "c")
    assert set(told.offsets) == {"b"}
    assert told.missing(["a", "b", "c"]) == ["a", "c"]
    fake.asked.clear()
    assert ask(connection, "a", "b").missing(["a", "b"]) == ["a", "b"]
    assert fake.asked == []


@pytest.mark.parametrize("versions", [{FETCH: 8, FIND: 3}, {FETCH: 7, FIND: 4}, {}])
def test_older_brokers_are_left_to_the_library(
    fake: FakeCluster, connection: Connection, versions: dict[int, int]
) -> None:
    fake.versions = versions
    assert ask(connection, "a").missing(["a"]) == ["a"]
    assert fake.questions(FETCH) == 0
    assert connection.coordinators.avoided


def test_nobody_listens(connection: Connection, fake: FakeCluster) -> None:
    fake.deaf.add(0)
    assert ask(connection, "a").missing(["a"]) == ["a"]


@pytest.mark.thorough
def test_a_silent_broker_costs_half_of_the_time(fake: FakeCluster, connection: Connection) -> None:
    fake.silent.add(0)
    started = time.monotonic()
    assert ask(connection, "a", seconds=6).missing(["a"]) == ["a"]
    assert time.monotonic() - started < 5.8


@pytest.mark.parametrize("node", [0, 1], ids=["while looking up", "while asking"])
def test_cancelled_is_left_at_once(fake: FakeCluster, connection: Connection, node: int) -> None:
    fake.coordinator["a"] = 1
    fake.silent.add(node)
    started = time.monotonic()
    connection.cancelled = lambda: time.monotonic() - started > 0.2
    with pytest.raises(KferryError, match="cancelled"):
        ask(connection, "a", seconds=60)
    assert time.monotonic() - started < 25


# ---- with the client library --------------------------------------------------------------------------------------


def test_the_library_is_asked_for_what_is_missing(
    fake: FakeCluster, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"g{number}" for number in range(12)]
    fake.coordinator["g1"] = 1
    fake.deaf.add(1)
    fake.offsets = {"g0": ONE, "g2": {"t": [(0, 7, 3, "", 0), (1, -1, -1, "", 88)]}}
    fake.fetch_errors["g3"] = [DENIED]
    asked = []

    def library(_connection: Connection, missing: list[str], *, answered: bool, **_rest: object) -> Told:
        asked.append((missing, answered))
        return Told({}, {name: KafkaError(KafkaError._TIMED_OUT) for name in missing})

    monkeypatch.setattr(groups, "ask_library", library)
    commits, errors = groups.committed_many(connection, ids, timeout_seconds=10)
    assert asked == [(["g1"], True)]
    assert commits == {name: (COMMIT,) if name in ("g0", "g2") else () for name in ids if name not in ("g1", "g3")}
    assert set(errors) == {"g1", "g2", "g3"}
    assert errors["g1"].startswith("offsets: _TIMED_OUT")
    assert errors["g2"].startswith("offsets: 1 of 2 partitions failed, the first t-1: UNSTABLE_OFFSET_COMMIT: ")
    assert errors["g3"] == "offsets: GROUP_AUTHORIZATION_FAILED: Group authorization failed"

    asked.clear()
    groups.committed_many(connection, ids[:3], timeout_seconds=10)
    assert asked == [(["g0", "g1", "g2"], False)]


def test_metadata_the_library_has_read_is_read_again_exactly(
    fake: FakeCluster, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library reads beyond the end of metadata."""
    fake.offsets = {"a": {"t": [(0, 7, 3, "mark", 0)]}, "b": ONE}
    heard = {"a": CommittedOffset("t", 0, 7, "mark\ufffd%"), "b": COMMIT, "c": CommittedOffset("t", 0, 1, "m%")}
    fake.fetch_errors["c"] = [DENIED]

    def library(*_arguments: object, **_rest: object) -> Told:
        return Told({name: GroupOffsets((commit,), (), 1) for name, commit in heard.items()}, {})

    monkeypatch.setattr(groups, "ask_library", library)
    connection.coordinators.avoid()  # in vain a moment ago: metadata is asked for all the same
    commits, errors = groups.committed_many(connection, ["a", "b", "c"], timeout_seconds=10)
    assert commits == {"a": (CommittedOffset("t", 0, 7, "mark"),), "b": (COMMIT,)}
    assert errors == {"c": "offsets: GROUP_AUTHORIZATION_FAILED: Group authorization failed"}
    assert [ids for _node, api, ids in fake.asked if api == FETCH] == [["a", "c"]]
