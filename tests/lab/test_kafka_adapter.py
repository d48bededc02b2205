"""The Kafka adapter against a real broker."""

from __future__ import annotations

import dataclasses
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import confluent_kafka as ck
import pytest

from kferry.domain.acls import plan as acl_plan
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import (
    Capability,
    ClusterConfig,
    ClusterKind,
    CommittedOffset,
    GroupKind,
    GroupState,
    Role,
    TopicPartition,
)
from kferry.kafka import acls, offsets, rights
from kferry.kafka.admin import ClusterAdmin, NewTopicSpec
from kferry.kafka.offset_syncs import OffsetSync, read_offset_syncs
from kferry.kafka.records import read_records, read_stamps, read_stamps_many, record_digest
from kferry.kafka.scan import scan
from support.broker import TestBroker, free_ports, running_broker

pytestmark = pytest.mark.lab

_JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required user_app=right;"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestBroker]:
    settings = {
        "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": _JAAS,
    }
    with running_broker(
        tmp_path_factory.mktemp("broker"), extra_listeners={"SASL": "SASL_PLAINTEXT"}, properties=settings
    ) as started:
        yield started


@pytest.fixture(scope="module")
def cluster(broker: TestBroker) -> ClusterConfig:
    return ClusterConfig(Role.SOURCE, ClusterKind.APACHE_KAFKA, broker.bootstrap_servers)


@pytest.fixture(scope="module")
def admin(cluster: ClusterConfig) -> Iterator[ClusterAdmin]:
    with ClusterAdmin(cluster) as opened:
        yield opened


def _until(ready: Callable[[], bool], what: str, deadline_seconds: float = 180.0) -> None:
    end = time.monotonic() + deadline_seconds
    while not ready():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.1)


def _make(admin: ClusterAdmin, name: str, partitions: int = 1, **configs: str) -> TopicPartition:
    wanted = {key.replace("_", "."): value for key, value in configs.items()}
    assert admin.create_topics([NewTopicSpec(name, partitions, configs=wanted)]) == {name: None}
    first = TopicPartition(name, 0)
    _until(lambda: admin.offsets([first], "end")[first] == 0, f"a leader for {name}")
    return first


def _produce(cluster: ClusterConfig, topic: str, count: int, *, value: bytes = b"v") -> None:
    producer = ck.Producer({"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0})
    for number in range(count):
        producer.produce(topic, key=b"%d" % number, value=value, partition=0)
    assert producer.flush(30) == 0


def _transactional(cluster: ClusterConfig, transactional_id: str) -> ck.Producer:
    producer = ck.Producer(
        {"bootstrap.servers": cluster.bootstrap_servers, "transactional.id": transactional_id, "log_level": 0}
    )
    producer.init_transactions(30)
    return producer


def _transaction(producer: ck.Producer, topic: str, values: list[bytes], *, commit: bool) -> None:
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value=value, partition=0)
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


@contextmanager
def _member(cluster: ClusterConfig, group_id: str, topic: str) -> Iterator[None]:
    consumer = ck.Consumer(
        {"bootstrap.servers": cluster.bootstrap_servers, "group.id": group_id, "client.id": "shop", "log_level": 0}
    )
    consumer.subscribe([topic])
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            consumer.poll(0.1)
        consumer.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def test_facts_and_check(admin: ClusterAdmin, broker: TestBroker) -> None:
    facts = admin.facts()
    assert facts.kafka_version == "3.9"
    assert [f"{item.host}:{item.port}" for item in facts.brokers] == [broker.bootstrap_servers]
    check = admin.check()
    assert check.reachable
    assert check.error is None
    assert check.cluster_id == facts.cluster_id
    assert {state for _what, state, _words, _seconds in check.lines} == {"ok"}, check.lines
    assert check.as_body()["broker_count"] == 1


def test_topics_are_made_changed_and_described(admin: ClusterAdmin) -> None:
    _make(admin, "shop.orders", partitions=2, retention_ms="86400000")
    again = admin.create_topics([NewTopicSpec("shop.orders", 2), NewTopicSpec("odd", 1, configs={"no.such": "1"})])
    assert again["shop.orders"] == "TOPIC_ALREADY_EXISTS"
    assert str(again["odd"]).startswith("INVALID_CONFIG: ")
    assert admin.create_topics([NewTopicSpec("only-checked", 1)], validate_only=True) == {"only-checked": None}
    assert "only-checked" not in admin.topic_names()

    admin.alter_topic_configs("shop.orders", {"max.message.bytes": "2000000"}, ["retention.ms"])
    admin.create_partitions("shop.orders", 3)
    _until(lambda: admin.topics(["shop.orders"])["shop.orders"].partition_count == 3, "three partitions")
    topic = admin.topics(["shop.orders", "missing"])["shop.orders"]
    assert topic.configs == {"max.message.bytes": "2000000"}
    assert topic.effective["retention.ms"] == "604800000"
    assert topic.topic_id
    assert topic.replication_factor == 1
    assert topic.error is None

    assert admin.delete_topics(["shop.orders", "missing"]) == {"shop.orders": None, "missing": "UNKNOWN_TOPIC_OR_PART"}


def test_offsets_of_more_partitions_than_fit_in_one_call(
    admin: ClusterAdmin, cluster: ClusterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a broker makes each partition's folder with a sync to disk: hundreds take minutes where the disk is busy
    monkeypatch.setattr(offsets, "PARTITIONS_PER_CALL", 40)
    count = 2 * offsets.PARTITIONS_PER_CALL + 5
    _make(admin, "wide", partitions=count)
    _produce(cluster, "wide", 5)
    tps = [TopicPartition("wide", number) for number in range(count)]
    missing = TopicPartition("no-such-topic", 0)
    end = admin.offsets([*tps, missing], "end")
    assert end[tps[0]] == 5
    assert {end[tp] for tp in tps[1:]} == {0}
    assert end[missing] is None
    now_ms = time.time_ns() // 1_000_000
    assert admin.offsets_at(tps[:2], now_ms + 60_000) == {tps[0]: 5, tps[1]: 0}
    assert admin.offsets_at(tps[:1], now_ms - 60_000) == {tps[0]: 0}


def test_group_offsets_are_written_kept_apart_and_forgotten(admin: ClusterAdmin) -> None:
    tp = _make(admin, "grp", partitions=2)
    commits = [CommittedOffset("grp", 0, 7, "mark"), CommittedOffset("grp", 1, 8)]
    answers = admin.write_committed("g-write", [*commits, CommittedOffset("absent", 0, 1)])
    assert answers[tp] is None
    assert str(answers[TopicPartition("absent", 0)]).startswith("UNKNOWN_TOPIC_OR_PART")
    assert admin.committed("g-write") == tuple(commits)
    assert admin.committed_many(["g-write", "g-nobody"]) == ({"g-write": tuple(commits), "g-nobody": ()}, {})

    assert admin.delete_committed("g-write", [tp, TopicPartition("never", 0)]) == {
        tp: None,
        TopicPartition("never", 0): None,
    }
    assert admin.committed("g-write") == (commits[1],)
    assert admin.delete_group("g-write") is True
    assert admin.delete_group("g-write") is False


def test_offsets_of_a_group_with_a_member_are_refused_per_partition(
    admin: ClusterAdmin, cluster: ClusterConfig
) -> None:
    tp = _make(admin, "busy")
    with _member(cluster, "g-busy", "busy"):
        _until(lambda: admin.groups(["g-busy"])["g-busy"].state is GroupState.STABLE, "a stable group")
        group = admin.groups(["g-busy"])["g-busy"]
        assert group.kind is GroupKind.PLAIN
        assert [(item.client_id, item.assignment) for item in group.members] == [("shop", (tp,))]
        answers = admin.write_committed("g-busy", [CommittedOffset("busy", 0, 3)])
        assert str(answers[tp]).startswith("UNKNOWN_MEMBER_ID")
        with pytest.raises(KferryError) as caught:
            admin.delete_group("g-busy")
        assert "NON_EMPTY_GROUP" in caught.value.cause
    _until(lambda: admin.groups(["g-busy"])["g-busy"].state is GroupState.EMPTY, "an empty group")
    assert admin.write_committed("g-busy", [CommittedOffset("busy", 0, 3)]) == {tp: None}


def test_stamps_pass_over_aborted_records_and_markers(admin: ClusterAdmin, cluster: ClusterConfig) -> None:
    tp = _make(admin, "txn")
    producer = _transactional(cluster, "tx-stamps")
    _transaction(producer, "txn", [b"a", b"b"], commit=True)  # 0 1, marker 2
    _transaction(producer, "txn", [b"lost"], commit=False)  # 3, marker 4
    _transaction(producer, "txn", [b"c"], commit=True)  # 5, marker 6
    _transaction(producer, "txn", [b"lost"], commit=False)  # 7, marker 8: the log ends in holes
    before = admin.group_ids()
    # the coordinator answers before the marker is in the log
    _until(lambda: admin.offsets([tp], "stable")[tp] == 9, "the last marker")
    seen = read_stamps(cluster, tp, 0, 9, deadline_seconds=30)
    assert [item.offset for item in seen] == [0, 1, 5]
    assert [item.offset for item in read_stamps(cluster, tp, 1, 5, deadline_seconds=30)] == [1]
    assert read_stamps(cluster, tp, 7, 9, deadline_seconds=30) == []
    raw = read_stamps(cluster, tp, 0, 9, read_committed=False, deadline_seconds=30)
    assert [item.offset for item in raw] == [0, 1, 3, 5, 7]
    whole = read_records(cluster, tp, 0, 9)
    assert [item.value for item in whole] == [b"a", b"b", b"c"]
    assert [item.digest for item in seen] == [
        record_digest(item.timestamp_ms, item.key, item.value, item.headers) for item in whole
    ]
    assert admin.group_ids() == before, "reading must not make a group"


def test_an_open_transaction_ends_in_a_sentence_at_the_deadline(admin: ClusterAdmin, cluster: ClusterConfig) -> None:
    tp = _make(admin, "hang")
    producer = _transactional(cluster, "tx-hang")
    producer.begin_transaction()
    producer.produce("hang", value=b"x", partition=0)
    producer.flush(30)
    assert admin.offsets([tp], "stable")[tp] == 0
    assert admin.offsets([tp], "end")[tp] == 1
    with pytest.raises(KferryError) as caught:
        read_stamps(cluster, tp, 0, 1, deadline_seconds=2)
    assert caught.value.kind is ErrorKind.TIMEOUT
    assert "transaction" in caught.value.cause
    producer.abort_transaction(30)


def test_stamps_of_a_compacted_topic(admin: ClusterAdmin, cluster: ClusterConfig) -> None:
    tp = _make(
        admin,
        "compacted",
        cleanup_policy="compact",
        segment_ms="200",
        min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms="200",
    )
    for value in (b"old", b"new"):
        _produce(cluster, "compacted", 50, value=value)

    def read() -> list[int]:
        _produce(cluster, "compacted", 1, value=b"roll")  # a segment is only rolled by a new record
        end = admin.offsets([tp], "end")[tp]
        assert end is not None
        return [item.offset for item in read_stamps(cluster, tp, 0, end, deadline_seconds=30)]

    _until(lambda: 0 not in read(), "the log cleaner")
    assert set(range(1, 50)).isdisjoint(read())
    assert set(range(51, 100)) <= set(read())
    assert read_stamps(cluster, tp, 3, 20, deadline_seconds=30) == []


def test_many_partitions_at_once_with_null_and_headers(admin: ClusterAdmin, cluster: ClusterConfig) -> None:
    _make(admin, "many", partitions=12)
    producer = ck.Producer({"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0})
    for number in range(1200):
        value = None if number % 3 == 0 else b"v%d" % number
        producer.produce("many", key=b"", value=value, headers=[("h", b"\x00\xff")], partition=number % 12)
    assert producer.flush(30) == 0
    tps = [TopicPartition("many", number) for number in range(12)]
    progress: list[tuple[int, int]] = []
    found = read_stamps_many(
        cluster,
        {**dict.fromkeys(tps, (0, 100)), TopicPartition("many", 11): (5, 5)},
        deadline_seconds=30,
        on_progress=lambda done, total: progress.append((done, total)),
    )
    assert [len(found[tp]) for tp in tps] == [100] * 11 + [0]
    assert len({item.digest for item in found[tps[1]]}) == 100
    assert progress[-1] == (1100, 1100)
    first = read_records(cluster, tps[0], 0, 1)[0]
    assert (first.key, first.value, first.headers) == (b"", None, (("h", b"\x00\xff"),))


def test_records_that_retention_took_are_drift_not_a_gap(admin: ClusterAdmin, cluster: ClusterConfig) -> None:
    tp = _make(admin, "cut")
    _produce(cluster, "cut", 10)
    futures = admin.connection.client.delete_records([ck.TopicPartition("cut", 0, 4)])
    for future in futures.values():
        future.result(timeout=30)
    with pytest.raises(KferryError) as caught:
        read_stamps(cluster, tp, 0, 10, deadline_seconds=20)
    assert caught.value.kind is ErrorKind.DRIFT
    assert [item.offset for item in read_stamps(cluster, tp, 4, 10, deadline_seconds=20)] == [4, 5, 6, 7, 8, 9]


def test_offset_syncs_in_log_order(admin: ClusterAdmin, cluster: ClusterConfig) -> None:
    name = "mm2-offset-syncs.x.internal"
    assert read_offset_syncs(cluster, name) == []
    _make(admin, name)
    producer = ck.Producer({"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0})
    wanted = [OffsetSync("orders", 2, 100 + number, number) for number in range(3)]
    for sync in wanted:
        key = struct.pack(">h", 6) + b"orders" + struct.pack(">i", sync.partition)
        producer.produce(name, key=key, value=struct.pack(">qq", sync.upstream, sync.downstream), partition=0)
    producer.produce(name, key=key, value=None, partition=0)
    assert producer.flush(30) == 0
    assert read_offset_syncs(cluster, name) == wanted


def test_scan(admin: ClusterAdmin, cluster: ClusterConfig) -> None:
    _make(admin, "bank.pay", partitions=2, retention_ms="-1")
    _make(admin, "bank.empty")
    _make(admin, "bank.plain")
    _produce(cluster, "bank.plain", 100, value=b"x" * 98)
    _transaction(_transactional(cluster, "tx-bank"), "bank.pay", [b"1", b"2"], commit=True)
    admin.write_committed("connect-bank-sink", [CommittedOffset("bank.pay", 0, 1, "m")])
    progress: list[tuple[str, int, int]] = []
    found = scan(cluster, on_progress=lambda what, done, total: progress.append((what, done, total)))

    pay, empty, plain = (found.topic(name) for name in ("bank.pay", "bank.empty", "bank.plain"))
    assert pay and empty and plain
    assert pay.configs == {"retention.ms": "-1"}
    assert [(part.end_offset, part.last_stable_offset) for part in pay.partitions] == [(3, 3), (0, 0)]
    assert (pay.has_transactions, plain.has_transactions) == (True, False)
    assert plain.mean_record_bytes == pytest.approx(100, abs=0.6)
    assert plain.first_timestamp_ms is not None and plain.last_timestamp_ms is not None
    assert plain.first_timestamp_ms <= plain.last_timestamp_ms <= found.taken_at_ms
    assert (empty.first_timestamp_ms, empty.mean_record_bytes, empty.records_per_second) == (None, None, 0.0)
    offsets_topic = found.topic("__consumer_offsets")
    assert offsets_topic is not None and offsets_topic.is_internal

    group = found.group("connect-bank-sink")
    assert group is not None
    assert (group.kind, group.state) == (GroupKind.CONNECT, GroupState.EMPTY)
    assert group.committed == (CommittedOffset("bank.pay", 0, 1, "m"),)
    assert found.transactional_ids is not None
    by_id = {item.transactional_id: item for item in found.transactional_ids}
    assert by_id["tx-bank"].topics == {"bank.pay"}
    assert by_id["tx-bank"].state == "CompleteCommit"
    assert found.cluster.capabilities["transactional_ids"] is Capability.SUPPORTED
    assert {what for what, _done, _total in progress} >= {"topics", "groups", "transactional ids", "lag"}
    assert found.notes == ()


def test_a_scan_can_be_cancelled(cluster: ClusterConfig) -> None:
    with pytest.raises(KferryError) as caught:
        scan(cluster, cancelled=lambda: True)
    assert "cancelled" in caught.value.title


def test_a_cluster_without_an_authorizer_says_that_nothing_has_to_be_granted(admin: ClusterAdmin) -> None:
    _make(admin, "acl.free")
    rules = acl_plan(Role.SOURCE, "abc123", ["acl.free"], ["g"])
    measured = rights.measure(admin.connection, rules)
    assert {allowed for rule, allowed in measured.items() if not rule.is_optional} == {True}
    grants = [acls.Grant("User:kferry", rule) for rule in rules[:2]]
    with pytest.raises(KferryError) as caught:
        acls.create(admin.connection, grants)
    assert caught.value.title == "The source cluster has no ACLs."
    assert "Nothing has to be granted" in caught.value.next_step


def _fails(config: ClusterConfig) -> KferryError:
    started = time.monotonic()
    with ClusterAdmin(config) as admin, pytest.raises(KferryError) as caught:
        admin.topic_names(timeout_seconds=6)
    assert time.monotonic() - started < 30
    assert caught.value.kind is ErrorKind.CONNECT
    assert caught.value.next_step
    return caught.value


def test_a_port_where_nothing_listens(cluster: ClusterConfig) -> None:
    (port,) = free_ports(1)
    error = _fails(dataclasses.replace(cluster, bootstrap_servers=f"127.0.0.1:{port}"))
    assert error.title == f"Cannot list the topics of the source cluster at 127.0.0.1:{port}."
    assert "Connection refused" in error.cause


def test_a_name_that_does_not_resolve(cluster: ClusterConfig) -> None:
    error = _fails(dataclasses.replace(cluster, bootstrap_servers="no-such-host.invalid:9092"))
    assert "Name resolution" in error.cause
    assert "no-such-host.invalid" in error.title


def test_a_controllers_port_or_a_silent_one(cluster: ClusterConfig, broker: TestBroker) -> None:
    error = _fails(dataclasses.replace(cluster, bootstrap_servers=broker.controller_address))
    assert "No answer" in error.cause
    assert "listener for clients" in error.next_step
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        _fails(dataclasses.replace(cluster, bootstrap_servers=f"127.0.0.1:{silent.getsockname()[1]}"))


def test_a_wrong_password_and_a_right_one(
    cluster: ClusterConfig, broker: TestBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_PASSWORD", "certainly-wrong")
    config = dataclasses.replace(
        cluster,
        bootstrap_servers=broker.addresses["SASL"],
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="app",
        sasl_password="env:APP_PASSWORD",
    )
    error = _fails(config)
    assert "Authentication failed" in error.cause
    assert "certainly-wrong" not in str(error)
    with ClusterAdmin(config) as admin:
        check = admin.check()
    assert not check.reachable
    assert check.error is not None and "Authentication failed" in check.error.cause
    monkeypatch.setenv("APP_PASSWORD", "right")
    with ClusterAdmin(config) as admin:
        check = admin.check()
    assert check.reachable
    assert check.kafka_version == "3.9"


def test_a_listener_with_another_protocol(cluster: ClusterConfig, broker: TestBroker) -> None:
    error = _fails(dataclasses.replace(cluster, bootstrap_servers=broker.addresses["SASL"]))
    assert "security_protocol" in error.next_step
    error = _fails(dataclasses.replace(cluster, security_protocol="SSL"))
    assert "TLS failed" in error.cause


def test_reading_from_an_unreachable_cluster_ends_soon(cluster: ClusterConfig) -> None:
    (port,) = free_ports(1)
    started = time.monotonic()
    with pytest.raises(KferryError) as caught:
        read_stamps(
            dataclasses.replace(cluster, bootstrap_servers=f"127.0.0.1:{port}"),
            TopicPartition("any", 0),
            0,
            5,
            deadline_seconds=60,
        )
    assert time.monotonic() - started < 40
    assert "Connection refused" in caught.value.cause


def test_a_broker_that_freezes_is_noticed_and_found_again(
    admin: ClusterAdmin, cluster: ClusterConfig, broker: TestBroker
) -> None:
    assert admin.topic_names(include_internal=True)
    broker.pause()
    try:
        with pytest.raises(KferryError) as caught:
            admin.group_ids(timeout_seconds=3)
        assert caught.value.kind is ErrorKind.CONNECT
    finally:
        broker.resume()
    _until(lambda: admin.check().reachable, "the broker to answer again")
    assert admin.topic_names(include_internal=True)
