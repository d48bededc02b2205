"""Old and new releases of Apache Kafka, each a real broker: what kferry reads off them, and what it says it cannot.

One broker at a time. The jars of the releases are locked in tests/support/old_kafka.lock.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from kferry.domain.acls import plan as acl_plan
from kferry.domain.errors import KferryError
from kferry.domain.model import (
    Capability,
    ClusterConfig,
    ClusterKind,
    CommittedOffset,
    Finding,
    Group,
    GroupKind,
    GroupState,
    PartitionOffsets,
    Role,
    Scan,
    Topic,
    TopicPartition,
)
from kferry.domain.preflight import run_checks
from kferry.kafka import rights
from kferry.kafka.admin import ClusterAdmin
from kferry.kafka.check import ClusterCheck
from kferry.kafka.direct import DirectSession
from kferry.kafka.group_listing import list_groups
from kferry.kafka.records import read_records, read_stamps
from kferry.kafka.scan import ScanOptions, scan
from support.old_kafka import PASSWORD, USER, OldBroker, numbers, running_old_kafka
from support.old_kafka_data import (
    AGE_SECONDS,
    ASSIGNED,
    EMPTY,
    LATE,
    LIVE,
    MANY,
    NEW,
    ORDERS,
    PAID,
    SHARED,
    STATE,
    TRANSACTIONAL_ID,
    at,
    filled,
    running_member,
    settings,
    share_member,
)
from support.preflight_facts import facts
from support.waiting import wait_until

pytestmark = pytest.mark.lab

_PASSWORD_VARIABLE = "KFERRY_TEST_OLD_KAFKA"
_SLACK_SECONDS = 300  # between writing and scanning, on a machine that has much else to do
_ALWAYS = {"topics", "groups", "topic_configs", "broker_configs", "offsets", "group_offsets"}


@dataclass(frozen=True)
class Expected:
    """What a release can tell.

    `spoken` is the version by its requests, `named` with what its settings name; `unsupported` and `unknown` are
    capabilities besides ACLs, which need an authorizer.
    """

    spoken: str
    named: str
    unsupported: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()


_UNTIL_2_2 = frozenset({"read_records", "transactional_ids"})  # rights are told from 2.3 on
_UNTIL_2_4 = frozenset({"quotas", "scram_users", "transactions", "producers"})
RELEASES = {
    "0.11.0.3": Expected("0.11", "0.11.0", _UNTIL_2_4 | {"log_dirs"}, _UNTIL_2_2),
    "1.1.1": Expected("1.1", "1.1", _UNTIL_2_4, _UNTIL_2_2),
    "2.0.1": Expected("2.0", "2.0", _UNTIL_2_4, _UNTIL_2_2),
    "2.4.1": Expected("2.4", "2.4", _UNTIL_2_4),
    "2.8.2": Expected("2.8", "2.8", frozenset({"transactions"})),
    "3.4.1": Expected("3.1", "3.4", frozenset({"scram_users"})),
    "4.1.2": Expected("4.1", "4.1"),
}
SINCE = {
    "log_dirs": "1.0",
    "quotas": "2.6",
    "scram_users": "2.7 (with KRaft: 3.5)",
    "producers": "2.8",
    "transactions": "3.0",
}


@dataclass(frozen=True)
class Ready:
    """A filled broker, and how kferry is told to reach it: with a login."""

    broker: OldBroker
    expected: Expected
    cluster: ClusterConfig

    def is_before(self, version: str) -> bool:
        return numbers(self.broker.version) < numbers(version)


@pytest.fixture(scope="module", params=RELEASES)
def ready(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    version = str(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_PASSWORD_VARIABLE, PASSWORD)
        with running_old_kafka(version, tmp_path_factory.mktemp("old")) as broker, filled(broker):
            cluster = ClusterConfig(
                Role.SOURCE,
                ClusterKind.APACHE_KAFKA,
                broker.with_login,
                security_protocol="SASL_PLAINTEXT",
                sasl_mechanism="PLAIN",
                sasl_username=USER,
                sasl_password=f"env:{_PASSWORD_VARIABLE}",
            )
            yield Ready(broker, RELEASES[version], cluster)


@pytest.fixture(scope="module")
def found(ready: Ready) -> Scan:
    return scan(ready.cluster, options=ScanOptions(sample_gap_seconds=0))


def _checked(cluster: ClusterConfig) -> ClusterCheck:
    with ClusterAdmin(cluster) as admin:
        return admin.check()


def _topic(found: Scan, name: str) -> Topic:
    topic = found.topic(name)
    assert topic is not None and topic.error is None, topic
    return topic


def _group(found: Scan, name: str) -> Group:
    group = found.group(name)
    assert group is not None and group.error is None, group
    return group


def _behind(found: Scan, name: str) -> dict[tuple[str, int], int]:
    """How many offsets a group is behind, per partition."""
    behind = {}
    for commit in _group(found, name).committed:
        end = _topic(found, commit.topic).partitions[commit.partition].end_offset
        assert end is not None
        behind[commit.topic, commit.partition] = end - commit.offset
    return behind


@pytest.mark.parametrize("way", ["without a login", "with user and password"])
def test_the_connection_test_gets_in_and_tells_what_can_be_asked(ready: Ready, way: str) -> None:
    cluster = ready.cluster
    if way == "without a login":
        cluster = ClusterConfig(Role.SOURCE, ClusterKind.APACHE_KAFKA, ready.broker.bootstrap_servers)
    seen = _checked(cluster)
    assert seen.reachable and seen.error is None, seen.lines
    assert (seen.kafka_version, seen.broker_count) == (ready.expected.spoken, 1)
    assert seen.cluster_id
    states = {what.partition(" ")[0]: state for what, state, _words, _seconds in seen.lines}
    in_order = {"TCP", "Kafka", "version", "broker"} | ({"SASL", "login"} if cluster.sasl_username else {"cluster"})
    assert {states[what] for what in in_order} == {"ok"}, seen.lines
    assert states["rights"] == ("unknown" if ready.is_before("2.3") else "ok"), seen.lines
    assert states["clock"] == ("unknown" if ready.is_before("3") else "ok"), seen.lines
    by_state = {
        state: {name for name, one in seen.capabilities.items() if one.state is state}
        for state in (Capability.UNSUPPORTED, Capability.UNKNOWN, Capability.DENIED)
    }
    assert by_state[Capability.UNSUPPORTED] == ready.expected.unsupported | {"acls"}
    assert by_state[Capability.UNKNOWN] == ready.expected.unknown
    assert not by_state[Capability.DENIED]
    assert {name for name in _ALWAYS if seen.capabilities[name].state is Capability.SUPPORTED} == _ALWAYS
    for name in ready.expected.unsupported:
        assert f"Apache Kafka does from {SINCE[name]} on" in seen.capabilities[name].words


def test_a_wrong_password_is_named(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFERRY_TEST_WRONG", "wrong")
    wrong = replace(ready.cluster, sasl_password="env:KFERRY_TEST_WRONG")
    with pytest.raises(KferryError) as caught, DirectSession(wrong):
        pass
    assert "refuses the login" in caught.value.title, caught.value
    if ready.is_before("1.0"):  # its brokers take the password in another way, and say nothing where it is wrong
        seen = _checked(wrong)
        assert not seen.reachable and seen.error is not None
        assert "Authentication failed" in seen.error.cause, seen.error


def test_the_scan_holds_the_topics_as_they_are(ready: Ready, found: Scan) -> None:
    assert found.complete
    assert found.cluster.kafka_version == ready.expected.named
    assert [broker.broker_id for broker in found.cluster.brokers] == [1] and found.cluster.controller_id == 1
    assert {topic.name for topic in found.topics if not topic.is_internal} == {ORDERS, STATE, PAID, EMPTY}
    orders, state, paid, empty = (_topic(found, name) for name in (ORDERS, STATE, PAID, EMPTY))
    assert orders.partitions == (
        PartitionOffsets(0, 4, 10, 10),
        PartitionOffsets(1, 0, 10, 10),
        PartitionOffsets(2, 0, 10, 10),
    )
    assert state.partitions == (PartitionOffsets(0, 0, 6, 6),)
    assert paid.partitions == (PartitionOffsets(0, 0, 4, 4),)  # two records, each with a marker
    assert empty.partitions == (PartitionOffsets(0, 0, 0, 0), PartitionOffsets(1, 0, 0, 0))
    assert {topic.replication_factor for topic in found.topics} == {1}
    # only what was set on the topic, though these brokers do not all name where a value comes from
    assert orders.configs == {"retention.ms": "3600000", "max.message.bytes": "2000000"}
    assert state.configs == {"cleanup.policy": "compact"} and state.is_compacted and not orders.is_compacted
    assert paid.configs == empty.configs == {}
    assert orders.effective["retention.ms"] == "3600000" and empty.effective["retention.ms"] == "604800000"
    assert orders.mean_record_bytes is not None and 100 < orders.mean_record_bytes < 130
    assert orders.first_timestamp_ms is not None
    assert orders.first_timestamp_ms == pytest.approx(found.taken_at_ms - AGE_SECONDS * 1000, abs=_SLACK_SECONDS * 1000)
    assert (paid.has_transactions, orders.has_transactions) == (True, False)
    # an id of zeros, and a size that is not told, are not known: never an id, never 0
    assert (orders.topic_id is None) == ready.is_before("2.8")
    assert (orders.size_bytes is None) == ready.is_before("1.0")
    assert orders.size_bytes is None or orders.size_bytes > 26 * 100


def test_the_scan_holds_the_groups_as_they_are(found: Scan) -> None:
    assert {group.group_id for group in found.groups} == {LATE, LIVE, ASSIGNED, *MANY}
    late, live, assigned = (_group(found, name) for name in (LATE, LIVE, ASSIGNED))
    assert late.committed == (
        CommittedOffset(ORDERS, 0, 5),
        CommittedOffset(ORDERS, 1, 7, "a note"),
        CommittedOffset(ORDERS, 2, 10),
    )
    assert _behind(found, LATE) == {(ORDERS, 0): 5, (ORDERS, 1): 3, (ORDERS, 2): 0}
    assert late.lag_seconds == pytest.approx(AGE_SECONDS, abs=_SLACK_SECONDS)
    assert (late.state, late.kind, late.members) == (GroupState.EMPTY, GroupKind.PLAIN, ())
    assert _behind(found, LIVE) == dict.fromkeys(((ORDERS, number) for number in range(3)), 0)
    assert (live.state, live.kind, live.lag_seconds) == (GroupState.STABLE, GroupKind.PLAIN, 0)
    (member,) = live.members
    assert (member.client_id, member.host, live.partition_assignor) == ("app", "/127.0.0.1", "range")
    assert member.assignment == tuple(TopicPartition(ORDERS, number) for number in range(3))
    assert (assigned.state, assigned.kind) == (GroupState.EMPTY, GroupKind.SIMPLE)
    offsets = {name: [commit.offset for commit in _group(found, name).committed] for name in (ASSIGNED, *MANY)}
    assert offsets == {name: [number % 7] for number, name in enumerate((ASSIGNED, *MANY))}


def test_what_surrounds_them_is_told_or_named_as_not_available(ready: Ready, found: Scan) -> None:
    missing = ready.expected.unsupported
    assert found.transactional_ids is not None
    ((name, topics),) = ((item.transactional_id, item.topics) for item in found.transactional_ids)
    assert (name, topics) == (TRANSACTIONAL_ID, {PAID})  # read from the coordinators' log, which every release has
    assert (found.access.quotas is None) == ("quotas" in missing)
    assert (found.access.scram_users is None) == ("scram_users" in missing)
    assert (found.producers is None) == ("producers" in missing)
    assert found.producers is None or {item.topic for item in found.producers} == {PAID}
    assert found.hanging_transactions == (None if "transactions" in missing else ())
    sentences = {
        "log_dirs": "Sizes on disk are not available: it does not know this request; Apache Kafka does from 1.0 on.",
        "quotas": "Client quotas are not available: the brokers tell client quotas from 2.6 on.",
        "scram_users": "SCRAM users are not available: the brokers tell SCRAM users from 2.7 (with KRaft: 3.5) on.",
        "producers": "Active producers are not available: it does not know this request;"
        " Apache Kafka does from 2.8 on.",
        "transactions": "Hanging transactions are not available: they are found by their producers."
        if "producers" in missing
        else "Hanging transactions are not available: not every coordinator lists its transactions "
        "(it does not know this request; Apache Kafka does from 3.0 on).",
    }
    assert sorted(found.notes) == sorted(sentences[name] for name in missing)
    for name in missing - {"transactions"}:
        assert found.cluster.capabilities[name] is Capability.UNSUPPORTED


def test_preflight_can_judge_the_scan(ready: Ready, found: Scan) -> None:
    with ClusterAdmin(ready.cluster) as admin:
        allowed = admin.rights()
        granted = rights.measure(admin.connection, acl_plan(Role.SOURCE, "abc123", [ORDERS], [LATE]))
    assert (allowed is None) == ready.is_before("2.3")
    assert set(granted.values()) <= ({None, True} if ready.is_before("2.3") else {True})
    findings = _findings(found, rights={Role.SOURCE: allowed}, granted={Role.SOURCE: granted})
    assert not [one for one in findings if "could not be carried out" in one.title]
    about_version = [(one.severity.value, one.subject) for one in findings if one.check == "cluster-version"]
    assert about_version == ([] if ready.is_before("4.0") else [("warn", "source")])


def _findings(found: Scan, **fields: object) -> list[Finding]:
    return run_checks(facts(found, now_ms=found.taken_at_ms + 1000, **fields))


def test_records_of_the_source_are_read_as_they_were_written(ready: Ready) -> None:
    """What finding positions and verifying stand on: it needs the brokers alone, no MirrorMaker and no worker."""
    records = read_records(ready.cluster, TopicPartition(ORDERS, 0), 4, 10)
    keys = {number: f"k{number * 3}".encode() for number in range(4, 10)}
    assert {item.offset: item.key for item in records} == keys
    assert {item.headers for item in records} == {(("kind", b"test"), ("none", None))}
    times = [item.timestamp_ms for item in records]
    assert [time_ms - times[0] for time_ms in times] == [0, 3, 6, 9, 12, 15]
    paid = TopicPartition(PAID, 0)
    assert [stamp.offset for stamp in read_stamps(ready.cluster, paid, 0, 4, deadline_seconds=30)] == [0]
    raw = read_stamps(ready.cluster, paid, 0, 4, read_committed=False, deadline_seconds=30)
    assert [stamp.offset for stamp in raw] == [0, 2]
    with ClusterAdmin(ready.cluster) as admin:
        orders = [TopicPartition(ORDERS, number) for number in range(3)]
        first_ms = min(times) - 12  # the very first order, of which partition 0 has lost four
        assert admin.offsets_at(orders, first_ms + 15) == dict(zip(orders, (5, 5, 5), strict=True))


def test_changes_that_a_release_cannot_make_are_refused_in_a_sentence(ready: Ready) -> None:
    with ClusterAdmin(ready.cluster) as admin:
        assert admin.committed(MANY[0], stable=True) == (CommittedOffset(STATE, 0, 1),)
        assert admin.write_committed(MANY[0], [CommittedOffset(STATE, 0, 3, "back")]) == {
            TopicPartition(STATE, 0): None
        }
        assert admin.committed(MANY[0]) == (CommittedOffset(STATE, 0, 3, "back"),)
        if ready.is_before("1.1"):
            with pytest.raises(KferryError) as caught:
                admin.delete_committed(MANY[0], [TopicPartition(STATE, 0)])
            assert "Apache Kafka does from 1.1 on" in caught.value.cause
            assert admin.committed(MANY[0]) == (CommittedOffset(STATE, 0, 3, "back"),)
        else:
            assert admin.delete_committed(MANY[0], [TopicPartition(STATE, 0)]) == {TopicPartition(STATE, 0): None}
            assert admin.committed(MANY[0]) == ()
        if ready.is_before("2.3"):
            with pytest.raises(KferryError) as caught:
                admin.alter_topic_configs(EMPTY, {"retention.ms": "60000"})
            assert "requires broker version >= 2.3" in caught.value.cause
            assert "trying again does not help" in (caught.value.next_step or "")
        else:
            admin.alter_topic_configs(EMPTY, {"retention.ms": "60000"})
            assert admin.topic_configs([EMPTY])[EMPTY]["retention.ms"].value == "60000"


def test_groups_of_the_new_kinds_are_told_apart(ready: Ready) -> None:
    client = settings(ready.broker)
    with ClusterAdmin(ready.cluster) as admin:
        brokers = admin.facts().brokers
    if ready.is_before("4.1"):
        # where a listing tells no kinds, a group's own description does
        assert {group.kind for group in list_groups(ready.cluster, brokers).groups.values()} == {None}
        return
    with (
        running_member(client | {"group.id": NEW, "client.id": "app", "group.protocol": "consumer"}, ORDERS, at(6)),
        share_member(client, ORDERS) as sharing,
    ):

        def has_joined() -> bool:
            sharing.poll(0.05)
            listed = list_groups(ready.cluster, brokers).groups.get(SHARED)
            return listed is not None and listed.group_state is GroupState.STABLE

        wait_until(has_joined, 30, "the share group has its member")
        found = scan(ready.cluster, options=ScanOptions(sample_gap_seconds=0))
    new = _group(found, NEW)
    assert (new.kind, new.state, new.partition_assignor) == (GroupKind.CONSUMER, GroupState.STABLE, "uniform")
    assert new.committed == tuple(CommittedOffset(ORDERS, number, 6) for number in range(3))
    assert [(item.client_id, len(item.assignment)) for item in new.members] == [("app", 3)]
    assert new.lag_seconds == pytest.approx(AGE_SECONDS, abs=_SLACK_SECONDS)
    shared = found.group(SHARED)
    assert shared is not None
    assert (shared.kind, shared.state) == (GroupKind.SHARE, GroupState.STABLE)
    assert (shared.committed, shared.lag_seconds) == ((), None)
    assert shared.error == "its positions cannot be read: it is a share group"
    about = {(one.check, one.subject) for one in _findings(found) if one.check.startswith("group-")}
    assert ("group-share", SHARED) in about
