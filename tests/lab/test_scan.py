"""The scan on real brokers: all it can hold, rights on half of the topics, a broker that dies, cancel and resume."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import confluent_kafka as ck
import pytest
from confluent_kafka.admin import AclOperation, NewTopic, ResourcePatternType, ResourceType

from kferry.domain.access import ClientQuota, ScramUser
from kferry.domain.clean_up import What, unused
from kferry.domain.errors import KferryError
from kferry.domain.model import (
    Capability,
    ClusterConfig,
    ClusterKind,
    CommittedOffset,
    GroupKind,
    GroupState,
    Role,
    Scan,
)
from kferry.domain.runbook import Operation, OperationKind, OperationStatus, StepState
from kferry.domain.scan_diff import ScanDiff, compare
from kferry.engine.clusters import Clusters
from kferry.engine.context import Cancelled, StepContext
from kferry.engine.operations.scans import ScanSource
from kferry.kafka import quotas, scan_topics
from kferry.kafka.admin import ClusterAdmin, NewTopicSpec
from kferry.kafka.quotas import QuotaChange
from kferry.kafka.scan import ScanOptions, scan
from kferry.kafka.scan_topics import TopicScanner
from kferry.store import codec, scan_files, schema
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from support.broker import TestBroker, running_broker
from support.hanging import leave_hanging
from support.secured_brokers import SecuredBroker, SecuredBrokers
from support.three_brokers import ThreeBrokers, three_brokers
from support.waiting import wait_until

pytestmark = pytest.mark.lab

_QUIET = {"log_level": 0}
HOSTILE_GROUP = "[/] {{ 1 }} ‮ ../ g"
# A scan that meets a dead broker must not wait for it again and again.
HALF_DEAD_SECONDS = 120.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestBroker]:
    settings = {"transaction.partition.verification.enable": "false"}
    with running_broker(tmp_path_factory.mktemp("broker"), properties=settings) as started:
        yield started


@pytest.fixture(scope="module")
def cluster(broker: TestBroker) -> ClusterConfig:
    return ClusterConfig(Role.SOURCE, ClusterKind.APACHE_KAFKA, broker.bootstrap_servers)


@pytest.fixture(scope="module")
def admin(cluster: ClusterConfig) -> Iterator[ClusterAdmin]:
    with ClusterAdmin(cluster) as opened:
        yield opened


def make(admin: ClusterAdmin, name: str, partitions: int = 1, **configs: str) -> None:
    spec = NewTopicSpec(name, partitions, configs={key.replace("_", "."): value for key, value in configs.items()})
    assert admin.create_topics([spec]) == {name: None}
    wait_until(lambda: name in admin.topic_names(), 20, f"{name} is there")


def produce(cluster: ClusterConfig, name: str, count: int, partitions: int = 1, age_seconds: float = 0) -> None:
    producer = ck.Producer({"bootstrap.servers": cluster.bootstrap_servers, **_QUIET})
    stamp_ms = int((time.time() - age_seconds) * 1000)
    for number in range(count):
        producer.produce(name, b"x" * 100, partition=number % partitions, timestamp=stamp_ms)
    assert producer.flush(30) == 0


def quick(before: Scan | None = None, resumed: Scan | None = None) -> ScanOptions:
    return ScanOptions(before=before, resumed=resumed, sample_gap_seconds=0)


def test_a_scan_holds_sizes_lag_movement_and_producers(admin: ClusterAdmin, cluster: ClusterConfig) -> None:
    make(admin, "whole.orders", 2, retention_ms="-1")
    produce(cluster, "whole.orders", 100, 2, age_seconds=600)
    admin.write_committed("whole-late", [CommittedOffset("whole.orders", number, 10) for number in (0, 1)])
    admin.write_committed(HOSTILE_GROUP, [CommittedOffset("whole.orders", number, 50) for number in (0, 1)])
    first = scan(cluster, options=quick())

    orders = first.topic("whole.orders")
    assert orders is not None and orders.error is None
    assert orders.topic_id
    assert orders.size_bytes is not None and orders.size_bytes > 100 * 100
    assert orders.mean_record_bytes == pytest.approx(100)
    assert orders.configs == {"retention.ms": "-1"}
    late, done = first.group("whole-late"), first.group(HOSTILE_GROUP)
    assert late is not None and done is not None
    assert late.lag_seconds == pytest.approx(600, abs=60)
    assert done.lag_seconds == 0
    assert late.last_moved_at_ms is None  # nothing to compare with yet
    assert first.producers is not None  # librdkafka's plain producer leaves no trace, an idempotent one does
    assert first.access.quotas == () and first.access.scram_users == ()
    assert first.cluster.capabilities["acls"] is Capability.UNSUPPORTED

    admin.write_committed("whole-late", [CommittedOffset("whole.orders", 0, 20)])
    second = scan(cluster, options=quick(before=first))
    moved, still = second.group("whole-late"), second.group(HOSTILE_GROUP)
    assert moved is not None and still is not None
    assert moved.last_moved_at_ms == second.taken_at_ms
    assert still.last_moved_at_ms is None
    third = scan(cluster, options=quick(before=second)).group("whole-late")
    assert third is not None and third.last_moved_at_ms == second.taken_at_ms  # it has not moved since


def test_idempotent_producers_and_a_hanging_transaction(admin: ClusterAdmin, cluster: ClusterConfig) -> None:
    make(admin, "tx.hangs")
    make(admin, "tx.open")
    alive = ck.Producer({"bootstrap.servers": cluster.bootstrap_servers, "transactional.id": "tx-alive", **_QUIET})
    alive.init_transactions(30)
    producer_id = leave_hanging(cluster, "tx.hangs", "tx-gone", age_seconds=3600)
    alive.begin_transaction()
    alive.produce("tx.open", b"1", timestamp=int((time.time() - 7200) * 1000))
    assert alive.flush(20) == 0
    try:
        found = scan(cluster, options=quick())
    finally:
        alive.abort_transaction(20)
    assert found.producers is not None
    by_topic = {item.topic: item for item in found.producers if item.topic.startswith("tx.")}
    assert by_topic["tx.hangs"].producer_id == producer_id
    assert by_topic["tx.open"].transaction_start_offset == 0
    assert found.hanging_transactions is not None
    # the other one is as old, but its coordinator knows it
    (hanging,) = found.hanging_transactions
    assert (hanging.topic, hanging.partition, hanging.producer_id, hanging.start_offset) == (
        "tx.hangs",
        0,
        producer_id,
        0,
    )
    assert hanging.age_seconds == pytest.approx(3600, abs=120)
    hangs, opened = found.topic("tx.hangs"), found.topic("tx.open")
    assert hangs is not None and opened is not None
    assert (hangs.has_transactions, opened.has_transactions) == (True, True)
    assert found.transactional_ids is not None
    assert {"tx-alive", "tx-gone"} <= {item.transactional_id for item in found.transactional_ids}


def test_members_are_told_with_client_and_host(admin: ClusterAdmin, cluster: ClusterConfig) -> None:
    make(admin, "kinds.a")
    produce(cluster, "kinds.a", 10)
    settings = {"group.id": "kinds", "client.id": "client [/]", "auto.offset.reset": "earliest"}
    consumer = ck.Consumer({"bootstrap.servers": cluster.bootstrap_servers, **settings, **_QUIET})
    try:
        consumer.subscribe(["kinds.a"])
        wait_until(lambda: consumer.poll(0.2) is not None, 40, "the group is at work")
        consumer.commit(asynchronous=False)
        found = scan(cluster, options=quick()).group("kinds")
    finally:
        consumer.close()
    assert found is not None
    assert (found.kind, found.state, found.topics) == (GroupKind.PLAIN, GroupState.STABLE, {"kinds.a"})
    assert [(member.client_id, member.host) for member in found.members] == [("client [/]", "/127.0.0.1")]
    assert found.partition_assignor == "range"


def test_a_topic_made_anew_is_seen_as_another(admin: ClusterAdmin, cluster: ClusterConfig) -> None:
    make(admin, "again.same")
    make(admin, "again.grows")
    before = scan(cluster, options=quick())
    assert admin.delete_topics(["again.same"]) == {"again.same": None}
    wait_until(lambda: "again.same" not in admin.topic_names(), 20, "it is gone")
    make(admin, "again.same")
    make(admin, "again.new")
    admin.create_partitions("again.grows", 3)
    wait_until(lambda: admin.topics(["again.grows"])["again.grows"].partition_count == 3, 20, "it has grown")
    diff = compare(before, scan(cluster, options=quick(before=before)))
    assert diff.topics_recreated == ("again.same",)
    assert diff.topics_appeared == ("again.new",)
    assert {item.name: item.words for item in diff.topics_changed}["again.grows"] == ("1 → 3 partitions",)


# ---- when all partitions were written to -----------------------------------------------------------------------------


def put(cluster: ClusterConfig, name: str, counts: dict[int, int], days_ago: float) -> None:
    """Some records into each of these partitions, all of that age."""
    producer = ck.Producer({"bootstrap.servers": cluster.bootstrap_servers, **_QUIET})
    stamp_ms = int((time.time() - days_ago * 86_400) * 1000)
    for partition, count in counts.items():
        for _ in range(count):
            producer.produce(name, b"x" * 100, partition=partition, timestamp=stamp_ms)
    assert producer.flush(30) == 0


def unused_topics(found: Scan) -> set[str]:
    return set(unused(found, now_ms=found.taken_at_ms).names(What.TOPIC))


def test_a_topic_written_yesterday_in_a_small_partition_is_not_unused(
    admin: ClusterAdmin, cluster: ClusterConfig
) -> None:
    full = dict.fromkeys(range(11), 20)
    for name in ("wide.written", "wide.quiet", "wide.backdated"):
        make(admin, name, 12, retention_ms="-1")
        put(cluster, name, full, 30)
        put(cluster, name, {11: 3}, 1 if name == "wide.written" else 30)
    make(admin, "wide.few", 12, retention_ms="-1")
    put(cluster, "wide.few", {2: 100, 7: 1}, 30)
    first = scan(cluster, options=quick())
    written, quiet, few = (first.topic(f"wide.{name}") for name in ("written", "quiet", "few"))
    assert written is not None and quiet is not None and few is not None
    day_ms = 86_400_000
    # eight are looked into, and no more is claimed
    assert (written.sampled_partitions, quiet.sampled_partitions, few.sampled_partitions) == (8, 8, 12)
    assert written.quiet_since_ms is None
    assert written.last_timestamp_ms == pytest.approx(first.taken_at_ms - day_ms, abs=60_000)
    assert quiet.quiet_since_ms == first.taken_at_ms - 7 * day_ms
    assert unused_topics(first) >= {"wide.quiet", "wide.backdated", "wide.few"}
    assert "wide.written" not in unused_topics(first)
    reasons = {item.name: item.reason for item in unused(first, now_ms=first.taken_at_ms).found}
    assert reasons["wide.few"].startswith("Its newest record is 30 days old")
    assert reasons["wide.quiet"].startswith("None of its partitions holds a record that is younger than 7 days")

    put(cluster, "wide.backdated", {11: 1}, 60)  # its timestamp says nothing of when it was written
    second = scan(cluster, options=quick(before=first))
    assert not {"wide.written", "wide.backdated"} & unused_topics(second)
    third = scan(cluster, options=quick(before=second))
    assert not {"wide.written", "wide.backdated"} & unused_topics(third)  # it is remembered
    assert {"wide.quiet", "wide.few"} <= unused_topics(third)


# ---- cut off and gone on with --------------------------------------------------------------------------------------


@pytest.fixture
def migration(cluster: ClusterConfig, tmp_path: Path) -> Iterator[Any]:
    layout = Layout(tmp_path)
    layout.prepare()
    schema.upgrade(layout.journal)
    layout.clusters.parent.mkdir(parents=True)
    layout.clusters.write_text(
        f"kferry_clusters:\n  source: {{kind: apache_kafka, bootstrap_servers: '{cluster.bootstrap_servers}'}}\n"
    )
    services = SimpleNamespace(layout=layout, journal=Journal(layout.journal), clusters=Clusters(layout))
    yield services
    services.clusters.close()


def step_context(services: Any, **args: object) -> StepContext:
    steps = (StepState("scan_source", attempt=1),)
    operation = Operation("scan-1", OperationKind.SCAN, "", args, OperationStatus.RUNNING, steps)
    return StepContext(services, {"scan-1": operation}, "scan-1", "scan_source")


def test_a_scan_that_is_cut_off_shows_what_it_found_and_goes_on(
    migration: Any, admin: ClusterAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        make(admin, f"cut.{number:02}")
    monkeypatch.setattr(scan_topics, "_TOPICS_PER_CHUNK", 4)
    asked: list[str] = []
    real = TopicScanner.scan

    def counted(scanner: TopicScanner, names: list[str]) -> Any:
        asked.extend(names)
        if len(asked) > 4 and cut is not None:
            cut.cancelled.set()
        return real(scanner, names)

    monkeypatch.setattr(TopicScanner, "scan", counted)
    cut: StepContext | None = step_context(migration)
    with pytest.raises(Cancelled):
        ScanSource().act(cut)
    body = migration.journal.document("scan_partial", "source")
    partial = codec.load(Scan, body)
    assert not partial.complete
    first = {topic.name for topic in partial.topics}
    assert first and first < set(admin.topic_names(include_internal=True))
    assert migration.journal.document("scan", "source") is None
    assert scan_files.kept(migration.layout, Role.SOURCE) == []

    cut = None
    asked.clear()
    going_on = step_context(migration, resume=True)
    ScanSource().act(going_on)
    assert not first & set(asked)  # what was read is not asked again
    whole = codec.load(Scan, migration.journal.document("scan", "source"))
    assert whole.complete
    assert {topic.name for topic in whole.topics} == set(admin.topic_names(include_internal=True))
    assert migration.journal.document("scan_partial", "source") == "null"
    (kept,) = scan_files.kept(migration.layout, Role.SOURCE)
    assert scan_files.load(kept) == whole
    progress = migration.journal.document("scan_progress", "source")
    assert '"share"' in progress

    make(admin, "cut.late")
    ScanSource().act(step_context(migration))
    diff = codec.load(ScanDiff, migration.journal.document("scan_diff", "source"))
    assert diff.topics_appeared == ("cut.late",)
    assert len(scan_files.kept(migration.layout, Role.SOURCE)) == 2


def test_a_scan_that_goes_on_after_an_outage_keeps_none_of_its_failures(
    admin: ClusterAdmin, cluster: ClusterConfig, migration: Any
) -> None:
    make(admin, "outage.a", 2)
    produce(cluster, "outage.a", 10, 2)
    for name in ("outage-a", "outage-b"):
        admin.write_committed(name, [CommittedOffset("outage.a", 0, 1)])
    whole = scan(cluster, options=quick())
    topics = tuple(
        replace(topic, partitions=(), error="broker 1 does not answer") if topic.name == "outage.a" else topic
        for topic in whole.topics
    )
    groups = tuple(
        replace(group, committed=(), error="COORDINATOR_NOT_AVAILABLE") if group.group_id == "outage-a" else group
        for group in whole.groups
    )
    failed = replace(whole, topics=topics, groups=groups, complete=False)
    migration.journal.put_document("scan_partial", "source", codec.dump(failed))
    context = step_context(migration, resume=True)
    ScanSource().act(context)
    assert context.notes["summary"]["taken_over"] == len(whole.topics) - 1
    found = codec.load(Scan, migration.journal.document("scan", "source"))
    assert found.complete
    read, group = found.topic("outage.a"), found.group("outage-a")
    assert read is not None and group is not None
    assert (read.error, read.record_span) == (None, 10)
    assert (group.error, len(group.committed)) == (None, 1)


def test_only_the_cluster_that_was_asked_for_is_scanned(migration: Any) -> None:
    context = step_context(migration, role="target")
    ScanSource().act(context)
    assert migration.journal.document("scan", "source") is None
    assert context.notes["summary"] == {"left_out": "only the target was to be scanned"}


def test_a_cluster_that_freezes_does_not_hold_a_cancel_up(broker: TestBroker, cluster: ClusterConfig) -> None:
    cancelled = threading.Event()
    moments: list[float] = []

    def freeze(what: str, _done: int, _total: int) -> None:
        if what == "topics" and not moments:
            broker.pause()
            moments.append(time.monotonic())
            threading.Timer(1.0, cancelled.set).start()

    try:
        with pytest.raises(KferryError):
            scan(cluster, on_progress=freeze, cancelled=cancelled.is_set)
        assert time.monotonic() - moments[0] < 25  # a request has 30 s or more
    finally:
        broker.resume()


def test_under_throttling_a_scan_is_slow_but_whole_or_says_what_it_lacks(
    admin: ClusterAdmin, cluster: ClusterConfig
) -> None:
    names = [f"slow.{number}" for number in range(6)]
    for name in names:
        make(admin, name, 2)
        produce(cluster, name, 400, 2)
    limits = {"consumer_byte_rate": 8_000.0, "request_percentage": 1.0}
    everybody: dict[str, str | None] = {"client-id": None}
    set_to = [QuotaChange.of(everybody, key, value) for key, value in limits.items()]
    assert set(quotas.alter(cluster, set_to).values()) == {None}
    try:
        found = scan(cluster, options=quick())
        assert found.complete
        for name in names:
            topic = found.topic(name)
            assert topic is not None
            assert topic.record_span == 400  # offsets are not records: they are known
            is_sampled = topic.last_timestamp_ms is not None and topic.mean_record_bytes == pytest.approx(100)
            assert is_sampled or "records: " in (topic.error or "")
        lacking = [topic.name for topic in found.topics if topic.error]
        assert not lacking or any(note.startswith("Records of") for note in found.notes)

        cancelled = threading.Event()
        moments: list[float] = []

        def cancel_soon(what: str, _done: int, _total: int) -> None:
            if what == "topics" and not moments:
                moments.append(time.monotonic() + 1.0)
                threading.Timer(1.0, cancelled.set).start()

        with pytest.raises(KferryError):
            scan(cluster, on_progress=cancel_soon, cancelled=cancelled.is_set, options=quick())
        assert time.monotonic() - moments[0] < 25  # a request has 30 s or more
    finally:
        unset = [QuotaChange.of(everybody, key, None) for key in limits]
        wait_until(lambda: set(quotas.alter(cluster, unset).values()) == {None}, 60, "the limits are gone")


# ---- rights --------------------------------------------------------------------------------------------------------

_USER = "kferry"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SecuredBroker, ClusterConfig]]:
    with pytest.MonkeyPatch.context() as patch:
        brokers = SecuredBrokers(tmp_path_factory.mktemp("secured"))
        source = brokers.source
        try:
            source.begin()
            source.wait_ready()
            source.set_password(_USER, brokers.passwords[_USER])
            patch.setenv("SCAN_TEST_PASSWORD", brokers.passwords[_USER])
            names = [f"{kind}.{number}" for kind in ("open", "seen", "hidden") for number in range(5)]
            new = [NewTopic(name, num_partitions=2, replication_factor=1) for name in names]
            for future in source.admin_client().create_topics(new).values():
                future.result(30)
            for name in names:
                source.allow("writer", ResourceType.TOPIC, name, AclOperation.WRITE)
            prefixed = ResourcePatternType.PREFIXED
            reading = (AclOperation.READ, AclOperation.DESCRIBE_CONFIGS)
            source.allow(_USER, ResourceType.TOPIC, "open.", *reading, pattern=prefixed)
            source.allow(_USER, ResourceType.TOPIC, "seen.", AclOperation.DESCRIBE, pattern=prefixed)
            yield (
                source,
                ClusterConfig(
                    Role.SOURCE,
                    ClusterKind.APACHE_KAFKA,
                    source.listener("SASL_SSL"),
                    security_protocol="SASL_SSL",
                    sasl_mechanism="SCRAM-SHA-512",
                    sasl_username=_USER,
                    sasl_password="env:SCAN_TEST_PASSWORD",
                    ssl_ca=str(brokers.ca_path),
                ),
            )
        finally:
            source.ask_to_stop()
            source.wait_stopped()


def test_with_rights_on_half_of_the_topics_the_other_half_is_named(
    secured: tuple[SecuredBroker, ClusterConfig],
) -> None:
    found = scan(secured[1], options=quick())
    by_name = {topic.name: topic for topic in found.topics}
    assert sorted(by_name) == sorted(f"{kind}.{number}" for kind in ("open", "seen") for number in range(5))
    for number in range(5):
        assert by_name[f"open.{number}"].error is None
        error = by_name[f"seen.{number}"].error or ""
        assert "configs: TOPIC_AUTHORIZATION_FAILED" in error
        assert "records: TOPIC_AUTHORIZATION_FAILED" in error
        assert by_name[f"seen.{number}"].record_span == 0  # DESCRIBE is enough for offsets
    capabilities = found.cluster.capabilities
    denied = ("acls", "quotas", "scram_users", "log_dirs", "transactional_ids")
    assert {name: capabilities[name] for name in denied} == dict.fromkeys(denied, Capability.DENIED)
    assert (found.access.acls, found.access.quotas, found.access.scram_users) == (None, None, None)
    said = "\n".join(found.notes)
    assert "Records of 5 topics could not be sampled: seen.0, seen.1, seen.2 and 2 more" in said
    for words in (
        "ACLs are not available",
        "Client quotas are",
        "SCRAM users are",
        "Sizes on disk are",
        "DESCRIBE on the",
    ):
        assert words in said


def test_with_the_rights_access_is_read_too(secured: tuple[SecuredBroker, ClusterConfig]) -> None:
    source, config = secured
    rights = (AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS, AclOperation.ALTER_CONFIGS)
    source.allow(_USER, ResourceType.BROKER, "kafka-cluster", *rights)
    change = QuotaChange.of({"user": "alice, [/] \x1b[31m"}, "producer_byte_rate", 1024.0)

    def is_set() -> bool:
        try:
            return quotas.alter(config, [change]) == {change: None}
        except KferryError:
            return False

    wait_until(is_set, 20, "the rights are known to the broker")
    found = scan(config, options=quick())
    assert found.access.quotas == (ClientQuota({"user": "alice, [/] \x1b[31m"}, {"producer_byte_rate": 1024.0}),)
    assert ScramUser(_USER, ("SCRAM-SHA-256", "SCRAM-SHA-512"), 4096) in (found.access.scram_users or ())
    assert found.access.acls is not None
    assert {(acl.resource, acl.name, acl.pattern) for acl in found.access.acls} >= {("topic", "open.", "prefixed")}
    opened = found.topic("open.0")
    assert opened is not None and opened.size_bytes == 0


# ---- a broker that dies --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeBrokers]:
    with three_brokers(tmp_path_factory.mktemp("three")) as started:
        yield started


def test_with_one_of_three_brokers_dead_the_rest_is_told(three: ThreeBrokers) -> None:
    config = ClusterConfig(Role.SOURCE, ClusterKind.APACHE_KAFKA, three.bootstrap_servers)
    with ClusterAdmin(config) as admin:
        names = [f"half.{number}" for number in range(4)]
        assert set(admin.create_topics([NewTopicSpec(name, 3, 1) for name in names]).values()) == {None}
        wait_until(lambda: set(names) <= set(admin.topic_names()), 20, "topics are there")
        for name in names:
            produce(config, name, 60, 3)
        for number in range(9):
            admin.write_committed(f"half-{number}", [CommittedOffset(names[0], 0, 1)])
    whole = _timed(config, lambda _what, _done, _total: None)
    assert not any(topic.error for topic in whole.topics)
    assert len(whole.groups) == 9

    three.kill(3)
    _judge_half(_timed(config, lambda _what, _done, _total: None), whole, "Broker 3 does not answer")

    def is_known_to_be_dead() -> bool:
        client = ck.admin.AdminClient({"bootstrap.servers": three.addresses[1], **_QUIET})
        return 3 not in client.list_topics(timeout=5).brokers

    wait_until(is_known_to_be_dead, 60, "the cluster knows that broker 3 is dead")
    _judge_half(_timed(config, lambda _what, _done, _total: None), whole, "partitions have no leader")


def _timed(config: ClusterConfig, on_progress: Callable[[str, int, int], None]) -> Scan:
    started = time.monotonic()
    found = scan(config, options=quick(), on_progress=on_progress)
    assert time.monotonic() - started < HALF_DEAD_SECONDS
    return found


def _judge_half(found: Scan, whole: Scan, words: str) -> None:
    assert [topic.name for topic in found.topics] == [topic.name for topic in whole.topics]
    assert any(words in note for note in found.notes), found.notes
    ordinary = [topic for topic in found.topics if not topic.is_internal]
    unknown = [part for topic in ordinary for part in topic.partitions if part.end_offset is None]
    known = [part for topic in ordinary for part in topic.partitions if part.end_offset is not None]
    assert unknown and known
    assert {part.end_offset for part in known} == {20}  # unknown is never 0
    assert all(topic.error for topic in ordinary if any(part.end_offset is None for part in topic.partitions))
    assert any(note.startswith(("The groups that broker 3", "Some groups are not known")) for note in found.notes)
    missing = {group.group_id for group in whole.groups} - {group.group_id for group in found.groups}
    unread = {group.group_id for group in found.groups if group.error}
    assert len(missing | unread) < 9
    assert all(group.committed for group in found.groups if not group.error)
