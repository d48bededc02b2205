"""Whatever is measured, or not: no check breaks, none says what it never says, and fixes never touch the source."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kferry.domain.access import Access, AclEntry, ClientQuota, ScramUser
from kferry.domain.access_mapping import PrincipalMapping
from kferry.domain.fixing import FixAction, marked, plan
from kferry.domain.model import (
    ActiveProducer,
    Broker,
    Capability,
    ClusterConfig,
    ClusterFacts,
    ClusterKind,
    CommittedOffset,
    Group,
    GroupKind,
    GroupMember,
    GroupState,
    HangingTransaction,
    PartitionOffsets,
    Role,
    Scan,
    Topic,
    TopicPartition,
    TransactionalId,
    WorkerHost,
)
from kferry.domain.planning import plan_batches
from kferry.domain.preflight import (
    CONTROLLER,
    OwnDistribution,
    PreflightFacts,
    PreflightSettings,
    Probe,
    catalog,
    run_checks,
)

GIVES = {one.check_id: set(one.gives) for one in catalog()}
NAMES = st.sampled_from(
    [
        *[
            "a",
            "a.b",
            "a_b",
            "heartbeats",
            "x-heartbeats",
            "b.internal",
            "__c",
            "_schemas",
            "connect-offsets",
            "app-s-changelog",
            "..",
            "*",
            "a,b",
        ],
        *("flink-x", "_confluent-ksql-s_command_topic", "mm2-offset-syncs.x.internal"),
        *("[red]x", "\x1b[31m", "\u202eevil", "é" * 249, ""),
    ]
)
NUMBER = st.none() | st.integers(-1, 10**12)
REAL = st.none() | st.floats(0, 1e12, allow_nan=False)
TEXT = st.sampled_from(
    ["", "-1", "0", "5", "604800000", "9223372036854775807", "true", "zstd", "compact", "0.9", "odd"]
)
KEYS = st.sampled_from(
    [
        "retention.ms",
        "retention.bytes",
        "cleanup.policy",
        "max.message.bytes",
        "compression.type",
        "min.insync.replicas",
        "confluent.x",
        "message.timestamp.before.max.ms",
        "message.timestamp.after.max.ms",
        "delete.retention.ms",
        "message.format.version",
        "message.timestamp.type",
        "log.message.format.version",
        "log.message.timestamp.before.max.ms",
        "offsets.retention.minutes",
        "group.min.session.timeout.ms",
        "group.max.session.timeout.ms",
        "default.replication.factor",
        "message.max.bytes",
        "cluster.quota.partition.count",
        "broker.quota.enabled",
        "auto.create.topics.enable",
    ]
)
CONFIGS = st.dictionaries(KEYS, TEXT, max_size=6)
PARTS = st.builds(PartitionOffsets, st.integers(0, 3), NUMBER, NUMBER, NUMBER)
TOPICS = st.builds(
    Topic,
    name=NAMES,
    topic_id=st.none(),
    replication_factor=st.none() | st.integers(1, 3),
    partitions=st.lists(PARTS, max_size=3, unique_by=lambda one: one.partition).map(tuple),
    configs=CONFIGS,
    effective=CONFIGS,
    is_internal=st.booleans(),
    first_timestamp_ms=NUMBER,
    last_timestamp_ms=NUMBER,
    mean_record_bytes=REAL,
    records_per_second=REAL,
    has_transactions=st.none() | st.booleans(),
    size_bytes=NUMBER,
    error=st.none() | st.just("TOPIC_AUTHORIZATION_FAILED") | st.just("no leader"),
)
MEMBERS = st.builds(
    GroupMember,
    NAMES,
    NAMES,
    NAMES,
    st.none() | NAMES,
    st.lists(st.builds(TopicPartition, NAMES, st.just(0))).map(tuple),
)
PRODUCERS = st.builds(ActiveProducer, NAMES, st.integers(0, 3), st.integers(0, 9), NUMBER)
GROUPS = st.builds(
    Group,
    NAMES,
    st.sampled_from(GroupState),
    st.sampled_from(GroupKind),
    st.lists(MEMBERS, max_size=2).map(tuple),
    st.lists(st.builds(CommittedOffset, NAMES, st.integers(0, 3), st.integers(0, 10**12)), max_size=3).map(tuple),
)
ACCESS = st.builds(
    Access,
    st.none()
    | st.lists(
        st.builds(
            AclEntry,
            NAMES,
            NAMES,
            st.sampled_from(["topic", "group", "cluster", "transactional_id"]),
            NAMES,
            st.sampled_from(["literal", "prefixed"]),
            st.just("read"),
            st.sampled_from(["allow", "deny"]),
        ),
        max_size=3,
    ).map(tuple),
    st.none()
    | st.lists(
        st.builds(
            ClientQuota,
            st.dictionaries(st.sampled_from(["user", "client-id", "ip"]), st.none() | NAMES, max_size=2),
            st.dictionaries(st.sampled_from(["consumer_byte_rate", "producer_byte_rate"]), st.floats(0, 1e9)),
        ),
        max_size=2,
        unique_by=lambda one: tuple(sorted(one.entity)),
    ).map(tuple),
    st.none() | st.lists(st.builds(ScramUser, NAMES, st.just(("SCRAM-SHA-256",))), max_size=2).map(tuple),
)


def scans(role: Role) -> st.SearchStrategy[Scan]:
    facts = st.builds(
        ClusterFacts,
        role=st.just(role),
        cluster_id=st.none() | NAMES,
        kafka_version=st.sampled_from([None, "0.10", "2.0", "3.9", "4.1", "odd"]),
        controller_id=st.none(),
        brokers=st.lists(st.builds(Broker, st.integers(0, 3), NAMES, st.just(9092)), max_size=2).map(tuple),
        broker_configs=CONFIGS,
        capabilities=st.dictionaries(st.sampled_from(["acls", "groups", "log_dirs"]), st.sampled_from(Capability)),
    )
    return st.builds(
        Scan,
        scan_id=st.just("s"),
        taken_at_ms=st.integers(0, 10**12),
        cluster=facts,
        topics=st.lists(TOPICS, max_size=4, unique_by=lambda one: one.name).map(tuple),
        groups=st.lists(GROUPS, max_size=3, unique_by=lambda one: one.group_id).map(tuple),
        transactional_ids=st.none()
        | st.lists(st.builds(TransactionalId, NAMES, st.frozensets(NAMES, max_size=2)), max_size=2).map(tuple),
        producers=st.none() | st.lists(PRODUCERS, max_size=2).map(tuple),
        hanging_transactions=st.none()
        | st.lists(
            st.builds(HangingTransaction, NAMES, st.integers(0, 3), st.integers(0, 9), NUMBER, REAL), max_size=2
        ).map(tuple),
        access=ACCESS,
        complete=st.booleans(),
    )


HOSTS = st.builds(
    WorkerHost,
    name=NAMES,
    address=NAMES,
    is_local=st.booleans(),
    memory_bytes=NUMBER,
    free_disk_bytes=NUMBER,
    java_version=st.none() | TEXT,
    usable=st.none() | st.booleans(),
)
PROBES = st.builds(
    Probe,
    st.just(CONTROLLER) | NAMES,
    st.sampled_from(Role),
    NAMES,
    st.sampled_from(["", "tcp"]),
    st.none() | st.booleans(),
    NAMES,
    REAL,
    st.booleans(),
)
CLUSTERS = st.builds(
    ClusterConfig,
    role=st.sampled_from(Role),
    kind=st.sampled_from(ClusterKind),
    bootstrap_servers=NAMES,
    security_protocol=st.sampled_from(["PLAINTEXT", "SASL_SSL"]),
    sasl_mechanism=st.none() | st.sampled_from(["PLAIN", "SCRAM-SHA-512", "AWS_MSK_IAM"]),
    sasl_username=st.none() | NAMES,
    sasl_password=st.none() | st.just("env:P"),
)
FACTS = st.builds(
    PreflightFacts,
    now_ms=st.integers(10**12, 10**13),
    source=st.none() | scans(Role.SOURCE),
    target=st.none() | scans(Role.TARGET),
    hosts=st.none() | st.lists(HOSTS, max_size=3, unique_by=lambda one: one.name).map(tuple),
    copy_bytes_per_second=st.none() | st.floats(1, 1e9),
    copy_speed_measured=st.booleans(),
    workers_per_task=st.integers(1, 8),
    distribution=st.none() | st.builds(OwnDistribution, NAMES, st.none() | NAMES),
    mapping=st.builds(PrincipalMapping, table=st.dictionaries(NAMES, NAMES, max_size=2)),
    access_of_all=st.booleans(),
    settings=st.builds(PreflightSettings, retention_hold=st.booleans()),
    errors=st.dictionaries(st.sampled_from(Role), NAMES, max_size=1),
    rights=st.dictionaries(st.sampled_from(Role), st.none() | st.just(("CREATE",))),
    clusters=st.lists(CLUSTERS, max_size=2, unique_by=lambda one: one.role).map(tuple),
    owned_topics=st.frozensets(NAMES, max_size=2),
    probes=st.lists(PROBES, max_size=4).map(tuple),
    clock_offsets_seconds=st.dictionaries(NAMES, st.none() | st.floats(-1e6, 1e6), max_size=2),
    recreated=st.dictionaries(st.sampled_from(Role), st.frozensets(NAMES, max_size=2)),
    replaced=st.frozensets(st.sampled_from(Role)),
)


@pytest.mark.thorough
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(FACTS, st.booleans())
def test_no_check_breaks_and_none_says_what_it_never_says(made: PreflightFacts, with_plan: bool) -> None:
    if with_plan and made.source is not None:
        made = PreflightFacts(**{**made.__dict__, "plan": plan_batches(made.source)})
    found = run_checks(made)
    assert [one for one in found if one.evidence.startswith("It broke with")] == []
    for one in found:
        assert one.severity in GIVES[one.check], one
        assert one.title and one.fix and one.why and one.family
    assert run_checks(made) == found
    ids = [one.finding_id for one in found]
    assert len(ids) == len(set(ids)), "a waiver must mean one finding"
    fixes = plan(marked(found, made), made)
    for change in fixes.to_do:
        assert change.role is Role.TARGET or change.action is FixAction.GRANT
        assert change.before != change.after
    assert len({(change.action, change.role, change.name, change.key, change.rule) for change in fixes.changes}) == len(
        fixes.changes
    )
