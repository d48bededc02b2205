"""Committed offsets on a real broker: many groups in one request tell what the client library tells of each one."""

from __future__ import annotations

import dataclasses
import struct
import time
from collections.abc import Iterator

import confluent_kafka as ck
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from kferry.domain.model import Broker, ClusterConfig, ClusterKind, CommittedOffset, Role, TopicPartition
from kferry.kafka import causes
from kferry.kafka.admin import ClusterAdmin, NewTopicSpec
from kferry.kafka.broker_link import BrokerLink
from kferry.kafka.committed import Told, ask_coordinators
from kferry.kafka.connection import Connection
from kferry.kafka.direct import DirectSession
from kferry.kafka.groups import ask_library, committed_many, write_committed
from kferry.kafka.wire import pack_string
from support.broker import TestBroker, running_broker
from support.waiting import wait_until

pytestmark = pytest.mark.lab

_JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required user_app=right;"
HOSTILE = "a\x1b[31m/[/]{{ 1 }},ü"
LITTLE, MUCH, NOBODY, OPEN = "little", "much", "nobody", "open"
SEEN, HIDDEN = "seen", "hidden"
MANY = [f"many-{number:03}" for number in range(230)]
COMMITS = {
    LITTLE: [CommittedOffset(SEEN, 0, 0)],
    MUCH: [CommittedOffset(SEEN, number, 2**40 + number, f"mark {HOSTILE}") for number in range(3)]
    + [CommittedOffset(HIDDEN, 0, 5)],
    HOSTILE: [CommittedOffset(SEEN, 1, 9)],
    OPEN: [CommittedOffset(SEEN, 2, 1)],
    **{name: [CommittedOffset(SEEN, 0, int(name[-3:]))] for name in MANY[::10]},
}
ALL = [*COMMITS, NOBODY, *MANY]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestBroker]:
    settings = {
        "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": _JAAS,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    with running_broker(
        tmp_path_factory.mktemp("broker"), extra_listeners={"SASL": "SASL_PLAINTEXT"}, properties=settings
    ) as started:
        yield started


@pytest.fixture(scope="module")
def connection(broker: TestBroker) -> Iterator[Connection]:
    """To a broker with these commits, one of them about to be changed by a transaction."""
    config = ClusterConfig(Role.SOURCE, ClusterKind.APACHE_KAFKA, broker.bootstrap_servers)
    with ClusterAdmin(config) as admin:
        assert admin.create_topics([NewTopicSpec(SEEN, 3), NewTopicSpec(HIDDEN, 1)]) == {SEEN: None, HIDDEN: None}
        for group_id, commits in COMMITS.items():
            wait_until(
                lambda name=group_id, wanted=commits: set(admin.write_committed(name, wanted).values()) == {None},
                60,
                f"commits of {group_id}",
            )
        producer = _changing(broker, OPEN)
        yield admin.connection
        producer.abort_transaction(30)


def _changing(broker: TestBroker, group_id: str) -> ck.Producer:
    """A transaction that has not yet committed a group's offset."""
    at = {"bootstrap.servers": broker.bootstrap_servers, "log_level": 0}
    consumer = ck.Consumer({**at, "group.id": group_id})
    producer = ck.Producer({**at, "transactional.id": "changing"})
    producer.init_transactions(60)
    producer.begin_transaction()
    metadata = consumer.consumer_group_metadata()
    producer.send_offsets_to_transaction([ck.TopicPartition(SEEN, 2, 2)], metadata, 60)
    consumer.close()
    return producer


def _both(connection: Connection, *, stable: bool = False) -> tuple[Told, Told]:
    direct = ask_coordinators(connection, ALL, stable=stable, deadline=time.monotonic() + 60)
    return direct, ask_library(connection, ALL, stable=stable, timeout_seconds=60)


def _words(told: Told, truth: Told | None = None) -> dict[str, object]:
    """Everything that was told, without what only the library says of its own way to ask.

    The library adds to metadata what lies behind it in memory: where the truth is given, that is cut off.
    """
    marks = {
        (name, commit.topic, commit.partition): commit.metadata
        for name, found in (truth.offsets.items() if truth else ())
        for commit in found.commits
    }

    def cut(name: str, commit: CommittedOffset) -> CommittedOffset:
        mark = marks.get((name, commit.topic, commit.partition), commit.metadata)
        return dataclasses.replace(commit, metadata=mark) if mark and commit.metadata.startswith(mark) else commit

    whole = {name: ("whole", error.name()) for name, error in told.errors.items()}
    parts = {
        name: (
            [cut(name, commit) for commit in found.commits],
            [(tp, causes.error_words(error)) for tp, error in found.failed],
            found.count,
        )
        for name, found in told.offsets.items()
    }
    return {**whole, **parts}


@pytest.mark.parametrize("stable", [False, True])
def test_both_ways_tell_the_same(connection: Connection, stable: bool) -> None:
    direct, library = _both(connection, stable=stable)
    assert not direct.missing(ALL)
    assert _words(direct) == _words(library, direct)
    for group_id in {*ALL} - {OPEN}:
        assert direct.offsets[group_id].commits == tuple(sorted(COMMITS.get(group_id, ())))
    open_one = direct.offsets[OPEN]
    assert [error.name() for _tp, error in open_one.failed] == (["UNSTABLE_OFFSET_COMMIT"] if stable else [])
    assert bool(open_one.commits) is not stable


def test_what_was_changed_a_moment_ago_is_told(connection: Connection) -> None:
    parts = [ck.TopicPartition(SEEN, 0, 77)]
    futures = connection.client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(LITTLE, parts)])
    futures[LITTLE].result(30)
    commits, errors = committed_many(connection, ALL, timeout_seconds=60)
    assert commits[LITTLE] == (CommittedOffset(SEEN, 0, 77),)
    assert not errors


def test_both_ways_name_what_is_denied(
    connection: Connection, broker: TestBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFERRY_TEST_APP", "right")
    limited = Connection(
        dataclasses.replace(
            connection.cluster,
            bootstrap_servers=broker.addresses["SASL"],
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_username="app",
            sasl_password="env:KFERRY_TEST_APP",
        )
    )
    for resource, name in ((ResourceType.GROUP, MUCH), (ResourceType.TOPIC, SEEN)):
        _allow(connection.client, resource, name)
    granted = (CommittedOffset(SEEN, 0, 2**40, f"mark {HOSTILE}"), *COMMITS[MUCH][1:3])

    def seen() -> bool:
        told = ask_library(limited, [MUCH], stable=False, timeout_seconds=30)
        return MUCH in told.offsets and len(told.offsets[MUCH].commits) == len(granted)

    wait_until(seen, 30, "the rights are in force")
    direct, library = _both(limited)
    assert _words(direct) == _words(library, direct)
    assert set(direct.offsets) == {MUCH}
    assert direct.offsets[MUCH].commits == granted
    assert {error.name() for error in direct.errors.values()} == {"GROUP_AUTHORIZATION_FAILED"}
    assert not limited.coordinators.avoided


def _allow(client: AdminClient, resource: ResourceType, name: str) -> None:
    binding = AclBinding(
        resource,
        name,
        ResourcePatternType.LITERAL,
        "User:app",
        "*",
        AclOperation.DESCRIBE,
        AclPermissionType.ALLOW,
    )
    for future in client.create_acls([binding]).values():
        future.result(30)


def _raw_metadata(connection: Connection, group_id: str) -> dict[int, tuple[int, bytes]]:
    """Offset and metadata by partition of SEEN, byte for byte as the broker has it."""
    host, port = connection.cluster.bootstrap_servers.split(":")
    with BrokerLink(connection.cluster, Broker(1, host, int(port)), timeout_seconds=30) as link:
        partitions = struct.pack(">iiii", 3, 0, 1, 2)
        body = pack_string(group_id) + struct.pack(">i", 1) + pack_string(SEEN) + partitions
        answer = link.ask(9, 5, body, flexible=False)
    answer.int32()
    assert answer.array_length() == 1
    assert answer.string() == SEEN
    found = {}
    for _ in range(answer.array_length()):
        partition, offset, epoch = answer.int32(), answer.int64(), answer.int32()
        found[partition] = (offset, answer.take(answer.int16()))
        assert (epoch, answer.int16()) == (-1, 0)
    assert answer.int16() == 0
    return found


@pytest.mark.parametrize(
    "marks",
    [["mark", "", HOSTILE], ["", "", ""], ["AgAAAY/J1Q==", "x" * 4096, "ü"]],
    ids=["all kinds", "none", "base64, as long as may be, UTF-8"],
)
def test_metadata_is_written_byte_for_byte(connection: Connection, marks: list[str]) -> None:
    group_id = f"written {HOSTILE} {len(marks[1])}"
    commits = [CommittedOffset(SEEN, number, 2**33 + number, mark) for number, mark in enumerate(marks)]
    for _ in range(2):  # the coordinator is looked up, and remembered
        written = write_committed(connection, group_id, commits, timeout_seconds=60)
        assert written == {TopicPartition(SEEN, number): None for number in range(3)}
    expected = {number: (2**33 + number, mark.encode()) for number, mark in enumerate(marks)}
    assert _raw_metadata(connection, group_id) == expected


@pytest.mark.parametrize("mark", ["", "mark"])
def test_what_a_broker_refuses_is_told_of_each_partition(connection: Connection, mark: str) -> None:
    commits = [CommittedOffset(SEEN, 0, 3, mark), CommittedOffset("absent", 0, 1, mark)]
    commits += [CommittedOffset(SEEN, 1, 3, "x" * 4097)] if mark else []
    written = write_committed(connection, f"partly {mark}", commits, timeout_seconds=60)
    words = {tp: why and why.partition(":")[0] for tp, why in written.items()}
    too_large = {TopicPartition(SEEN, 1): "OFFSET_METADATA_TOO_LARGE"} if mark else {}
    assert words == {
        TopicPartition(SEEN, 0): None,
        TopicPartition("absent", 0): "UNKNOWN_TOPIC_OR_PART",
        **too_large,
    }


def test_a_group_with_a_member_is_refused_at_once(connection: Connection) -> None:
    at = {"bootstrap.servers": connection.cluster.bootstrap_servers, "log_level": 0}
    consumer = ck.Consumer({**at, "group.id": "joined", "enable.auto.commit": False})
    consumer.subscribe([SEEN])
    try:

        def joined() -> bool:
            consumer.poll(0.1)
            return bool(consumer.assignment())

        wait_until(joined, 60, "the member has its partitions")
        words = []
        for mark in ("", "mark"):
            started = time.monotonic()
            commits = [CommittedOffset(SEEN, number, 3, mark) for number in range(3)]
            written = write_committed(connection, "joined", commits, timeout_seconds=60)
            assert set(written) == {TopicPartition(SEEN, number) for number in range(3)}
            assert time.monotonic() - started < 30, "it was tried again"
            words.append(set(written.values()))
    finally:
        consumer.close()
    assert words == [{"UNKNOWN_MEMBER_ID: Unknown member"}] * 2


def test_metadata_of_few_groups_is_read_byte_for_byte(connection: Connection) -> None:
    """The client library reads beyond the end of metadata that fills its piece of memory, as 24 bytes do."""
    for turn in range(20):
        ids = [f"read {number}" for number in range(3)]
        commits = tuple(CommittedOffset(SEEN, number, turn, f"{turn:02}{number}" * 8) for number in range(3))
        for group_id in ids:
            assert set(write_committed(connection, group_id, commits, timeout_seconds=60).values()) == {None}
        assert committed_many(connection, ids, timeout_seconds=60) == (dict.fromkeys(ids, commits), {})


@pytest.mark.parametrize(
    ("fetch", "write", "find"),
    [(2, 2, 1), (3, 3, 1), (4, 4, 1), (5, 5, 1), (6, 6, 2), (7, 7, 3), (8, 8, 4)],
    ids=["as before 0.11", "0.11", "2.0", "2.1", "2.4", "2.5", "3.0"],
)
def test_older_requests_write_and_read_the_same(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, fetch: int, write: int, find: int
) -> None:
    newest, speaks = {9: fetch, 8: write, 10: find}, DirectSession.speaks
    monkeypatch.setattr(
        DirectSession,
        "speaks",
        lambda session, api, version: version <= newest.get(api, version) and speaks(session, api, version),
    )
    alone = Connection(connection.cluster)
    group_id = f"old {fetch}"
    commits = tuple(CommittedOffset(SEEN, number, number, mark) for number, mark in enumerate(("mark", "", HOSTILE)))
    written = write_committed(alone, group_id, commits, timeout_seconds=60)
    assert set(written.values()) == {None}
    assert _raw_metadata(alone, group_id) == {each.partition: (each.offset, each.metadata.encode()) for each in commits}
    assert committed_many(alone, [group_id, NOBODY], stable=True, timeout_seconds=60) == (
        {group_id: commits, NOBODY: ()},
        {},
    )
    told = ask_coordinators(
        alone, [group_id, NOBODY, MUCH, OPEN], stable=True, one_each=True, deadline=time.monotonic() + 60
    )
    assert told.offsets[group_id].commits == commits
    assert told.offsets[MUCH].commits == tuple(sorted(COMMITS[MUCH]))
    assert [error.name() for _tp, error in told.offsets[OPEN].failed] == (
        ["UNSTABLE_OFFSET_COMMIT"] if fetch >= 7 else []
    )
