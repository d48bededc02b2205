"""Cases of the checks of vantage points, access, ecosystem, protocols, hanging transactions and the target's limits."""

from __future__ import annotations

from dataclasses import replace

from kferry.domain.access import Access, AclEntry, ClientQuota, ScramUser
from kferry.domain.access_mapping import PrincipalMapping, PrincipalPattern
from kferry.domain.model import (
    ActiveProducer,
    Broker,
    ClusterConfig,
    ClusterKind,
    GroupKind,
    GroupMember,
    HangingTransaction,
    Role,
    Scan,
    TransactionalId,
)
from kferry.domain.planning import drop_topic
from kferry.domain.preflight import CONTROLLER, OwnDistribution, PreflightFacts, Probe
from support.preflight_facts import TLS, cluster, facts, groups, planned, remote, source, target, with_settings
from support.scans import BROKER_CONFIGS, DAY_MS, NOW_MS, group, scan, topic

NOTHING = Access((), (), ())
COMPACT = {"cleanup.policy": "compact"}
LOGS_IN = replace(TLS, security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512", sasl_username="kferry")
AUTOMQ = ClusterConfig(Role.TARGET, ClusterKind.AUTOMQ, "automq:9092")
READ = AclEntry("User:billing", "*", "topic", "a.x", "literal", "read", "allow")
GROUP_READ = AclEntry("User:billing", "*", "group", "g", "prefixed", "read", "allow")
ELSEWHERE = AclEntry("User:billing", "*", "topic", "other", "literal", "read", "allow")
QUOTA = ClientQuota({"user": "billing"}, {"consumer_byte_rate": 1e6})
TO_ACCOUNTS = PrincipalMapping(patterns=(PrincipalPattern("User:(.*)", r"User:acc-\1"),))
READ_NOW = replace(READ, principal="User:acc-billing")
QUOTA_NOW = ClientQuota({"user": "acc-billing"}, {"consumer_byte_rate": 1e6})
U = ScramUser("u", ("SCRAM-SHA-512",))
OLD_BROKERS = {**BROKER_CONFIGS, "log.message.format.version": "0.10.2-IV0"}
MILLIONS = {"end": 10**8, "effective": {**COMPACT, "retention.ms": "-1"}}


def seen(vantage: str, *ok: bool | None, role: Role = Role.SOURCE) -> tuple[Probe, ...]:
    return tuple(
        Probe(vantage, role, f"b{number}:9092", "tcp", one, "connected" if one else "no route")
        for number, one in enumerate(ok, start=1)
    )


def looked(made: PreflightFacts, *probes: Probe, clocks: dict[str, float | None] | None = None) -> PreflightFacts:
    """Machines that reach all of both clusters, but for what `probes` say."""
    told = {(probe.vantage, probe.role) for probe in probes}
    whole = [
        probe
        for host in made.remote_hosts
        for role in Role
        if (host.name, role) not in told
        for probe in seen(host.name, True, role=role)
    ]
    offsets = {host.name: 0.01 for host in made.remote_hosts} if clocks is None else clocks
    return replace(made, probes=(*probes, *whole), clock_offsets_seconds=offsets)


def measured(source_seconds: float, target_seconds: float) -> PreflightFacts:
    times = {Role.SOURCE: source_seconds, Role.TARGET: target_seconds}
    found = [replace(probe, seconds=times[role]) for role in Role for probe in seen("w1", True, True, role=role)]
    return looked(remote(True), *found)


def access(here: Access, there: Access = NOTHING, **fields: object) -> PreflightFacts:
    return facts(
        replace(scan([topic("a.x")], [group("g", ["a.x"])]), access=here),
        replace(scan(role=Role.TARGET), access=there),
        **fields,
    )


def hanging(*found: HangingTransaction, **fields: object) -> PreflightFacts:
    made = scan([topic("a", **fields)])  # type: ignore[arg-type]
    return facts(replace(made, hanging_transactions=found))


def produced(producers: tuple[ActiveProducer, ...] | None, **fields: object) -> PreflightFacts:
    made = scan([topic("a", **fields)])  # type: ignore[arg-type]
    return facts(replace(made, producers=producers))


def target_with(source_scan: Scan | None = None, **configs: str) -> PreflightFacts:
    keys = {key.replace("__", "."): value for key, value in configs.items()}
    return facts(source_scan, scan(role=Role.TARGET, broker_configs={**BROKER_CONFIGS, **keys}))


def versions(here: str | None, there: str | None, **fields: object) -> PreflightFacts:
    return facts(scan([topic("a.x")], version=here), scan(role=Role.TARGET, version=there), **fields)


HANGS = HangingTransaction("a", 1, 4711, 990, 90_000.0)
STUCK = topic("a", 1, end=50_000, last_stable=1000, records_per_second=10.0)
MM2_BEATS = topic("heartbeats", 1, effective=COMPACT)

CASES: list[tuple[str, PreflightFacts, str, str, str]] = [
    ("scan-complete", facts(), "", "", ""),
    ("scan-complete", facts(replace(scan([topic("a")]), complete=False)), "unknown", "source", "1 topic"),
    ("cluster-replaced", facts(), "", "", ""),
    ("cluster-replaced", facts(replaced=frozenset({Role.SOURCE})), "warn", "source", "plan again"),
    (
        "cluster-replaced",
        facts(replaced=frozenset({Role.TARGET}), owned_topics=frozenset({"a.x"})),
        "block",
        "target",
        "Pause the tasks",
    ),
    ("topic-recreated", facts(owned_topics=frozenset({"a.x"})), "", "", ""),
    ("topic-recreated", facts(recreated={Role.SOURCE: frozenset({"gone"})}), "", "", ""),
    ("topic-recreated", facts(recreated={Role.TARGET: frozenset({"a.x"})}), "", "", ""),
    ("topic-recreated", facts(recreated={Role.SOURCE: frozenset({"a.x"})}), "info", "topics", "a.x"),
    (
        "topic-recreated",
        facts(recreated={Role.SOURCE: frozenset({"a.x"})}, owned_topics=frozenset({"a.x"})),
        "block",
        "a.x",
        "belongs to the old one",
    ),
    (
        "topic-recreated",
        facts(recreated={Role.TARGET: frozenset({"a.x"})}, owned_topics=frozenset({"a.x"})),
        "block",
        "target a.x",
        "copies from the start",
    ),
    ("broker-from-controller", replace(facts(), probes=seen(CONTROLLER, True, None)), "", "", ""),
    ("broker-from-controller", replace(facts(), probes=seen("w1", False)), "", "", ""),
    ("broker-from-controller", replace(facts(), probes=seen(CONTROLLER, True, False)), "warn", "source", "b2:9092"),
    (
        "broker-from-controller",
        replace(facts(errors={Role.SOURCE: "no route"}), probes=seen(CONTROLLER, False)),
        "",
        "",
        "",
    ),
    ("connection-warnings", replace(facts(), probes=seen(CONTROLLER, True, False, None)), "", "", ""),
    (
        "connection-warnings",
        replace(
            facts(), probes=(Probe(CONTROLLER, Role.SOURCE, "TLS b1:9093", "", True, "ends in 3 days", None, True),)
        ),
        "warn",
        "source",
        "TLS b1:9093: ends in 3 days",
    ),
    ("broker-from-worker", facts(), "", "", ""),
    ("broker-from-worker", looked(remote(True)), "", "", ""),
    ("broker-from-worker", remote(True), "unknown", "w1 target", "no broker of it"),
    ("broker-from-worker", looked(remote(True), *seen("w1", True, False)), "warn", "w1 source", "b2:9092 (tcp)"),
    ("broker-from-worker", looked(remote(False), *seen("w1", True, False)), "block", "w1 source", "No other machine"),
    ("broker-from-worker", looked(remote(True, False), *seen("w2", False)), "info", "w2 source", "left out"),
    ("broker-from-worker", remote(None), "", "", ""),
    ("worker-clock", looked(remote(True)), "", "", ""),
    ("worker-clock", looked(remote(True), clocks={"w1": -2.5}), "warn", "w1", "2.5 seconds"),
    ("worker-clock", looked(remote(True), clocks={"w1": None}), "unknown", "w1", "not measured"),
    ("worker-clock", looked(remote(False), clocks={"w1": 9.0}), "", "", ""),
    ("worker-check-age", replace(facts(), machines_checked_at_ms=1), "", "", ""),
    ("worker-check-age", replace(remote(True), machines_checked_at_ms=NOW_MS - 1000), "", "", ""),
    (
        "worker-check-age",
        replace(remote(True), machines_checked_at_ms=NOW_MS - 2 * DAY_MS),
        "warn",
        "machines",
        "2.0 days ago",
    ),
    ("worker-distance", looked(remote(True)), "", "", ""),
    ("worker-distance", measured(0.2, 0.01), "", "", ""),
    ("worker-distance", measured(0.01, 0.04), "", "", ""),
    ("worker-distance", measured(0.01, 0.2), "info", "w1", "200 ms"),
    ("name-is-heartbeats", source(topic("iot.heartbeats")), "", "", ""),
    ("name-is-heartbeats", source(MM2_BEATS), "", "", ""),
    ("name-is-heartbeats", source(topic("heartbeats")), "block", "heartbeats", "2 partitions"),
    ("name-is-heartbeats", source(topic("heartbeats", 1)), "block", "heartbeats", "cleanup.policy delete"),
    ("name-is-heartbeats", planned(scan([topic("heartbeats"), topic("a.x")])), "block", "heartbeats", "does not help"),
    (
        "name-is-heartbeats",
        facts(scan([MM2_BEATS], [group("monitor", ["heartbeats"])])),
        "warn",
        "heartbeats",
        "read by monitor",
    ),
    ("name-is-heartbeats", target(topic("heartbeats", 3)), "block", "target heartbeats", "write into it"),
    ("name-is-heartbeats", target(topic("heartbeats", 3), heartbeats_are_ours=True), "", "", ""),
    ("name-is-heartbeats", target(MM2_BEATS), "", "", ""),
    ("name-too-long", source(topic("a" * 249)), "", "", ""),
    ("name-too-long", source(topic("a" * 250)), "block", "a" * 250, "250 characters"),
    ("name-too-long", source(topic("a" * 230 + "heartbeats")), "block", "a" * 230 + "heartbeats", "prefix kferry-"),
    ("group-share", groups(group("g", ["a.x"])), "", "", ""),
    ("group-share", groups(group("s", ["a.x"], kind=GroupKind.SHARE)), "block", "s", "Take it out"),
    (
        "group-share",
        planned(
            scan([topic("a.x"), topic("b.y")], [group("s", ["b.y"], kind=GroupKind.SHARE)]),
            lambda plan: replace(
                plan, batches=tuple(replace(batch, groups=()) for batch in plan.batches), left_out={"group s": "share"}
            ),
        ),
        "warn",
        "s",
        "drains",
    ),
    ("group-new-protocol", groups(group("g", ["a.x"])), "", "", ""),
    ("group-new-protocol", groups(group("n", ["a.x"], kind=GroupKind.CONSUMER)), "warn", "groups", "classic"),
    (
        "group-new-protocol",
        facts(
            scan([topic("a.x")], [group("n", ["a.x"], kind=GroupKind.CONSUMER)]), scan(role=Role.TARGET, version="4.1")
        ),
        "info",
        "groups",
        "4.1",
    ),
    (
        "group-new-protocol",
        facts(
            scan([topic("a.x")], [group("n", ["a.x"], kind=GroupKind.CONSUMER)]),
            scan(role=Role.TARGET, version="4.1"),
            clusters=(AUTOMQ,),
        ),
        "warn",
        "groups",
        "AutoMQ",
    ),
    ("group-asterisk", facts(), "", "", ""),
    ("group-asterisk", groups(group("*", ["a.x"])), "block", "*", "every group"),
    ("group-offsets-expire", facts(), "", "", ""),
    ("group-offsets-expire", target_with(offsets__retention__minutes="10080"), "", "", ""),
    ("group-offsets-expire", target_with(offsets__retention__minutes="60"), "warn", "target", "1440"),
    (
        "group-offsets-expire",
        facts(
            scan(
                [topic("a.x", end=10**9)],
                [group("g", ["a.x"], members=0)],
                broker_configs={**BROKER_CONFIGS, "offsets.retention.minutes": "60"},
            )
        ),
        "warn",
        "everything",
        "no members",
    ),
    (
        "group-offsets-expire",
        facts(
            scan(
                [topic("a.x", end=10**9)],
                [group("g", ["a.x"])],
                broker_configs={**BROKER_CONFIGS, "offsets.retention.minutes": "60"},
            )
        ),
        "",
        "",
        "",
    ),
    ("record-future", facts(), "", "", ""),
    ("record-future", source(topic("a", last_timestamp_ms=NOW_MS + 30_000)), "", "", ""),
    ("record-future", source(topic("a", last_timestamp_ms=NOW_MS + DAY_MS)), "warn", "a", "1.0 days ahead"),
    (
        "record-future",
        target_with(
            scan([topic("a", last_timestamp_ms=NOW_MS + DAY_MS)]),
            **{"log.message.timestamp.after.max.ms": "3600000"},
        ),
        "block",
        "a",
        "1.0 hours",
    ),
    ("record-compression", facts(), "", "", ""),
    ("record-compression", target_with(compression__type="zstd"), "info", "topics", "a.x"),
    (
        "record-compression",
        facts(
            scan([topic("a.x")], version="2.0"),
            scan([topic("a.x", end=0, effective={"compression.type": "zstd"})], role=Role.TARGET),
        ),
        "warn",
        "topics",
        "the source is 2.0",
    ),
    (
        "record-compression",
        target_with(scan([topic("a", effective={"compression.type": "zstd"})]), compression__type="zstd"),
        "",
        "",
        "",
    ),
    ("record-format", facts(), "", "", ""),
    ("record-format", source(topic("a", configs={"message.format.version": "3.0-IV1"})), "", "", ""),
    ("record-format", source(topic("a", configs={"message.format.version": "0.9.0"})), "warn", "topics", "before 0.10"),
    ("record-format", cluster(Role.SOURCE, broker_configs=OLD_BROKERS), "info", "topics (no headers)", "a.x"),
    ("record-tombstones", facts(), "", "", ""),
    ("record-tombstones", source(topic("a", effective=COMPACT)), "", "", ""),
    ("record-tombstones", source(topic("a", 2, **MILLIONS)), "", "", ""),
    (
        "record-tombstones",
        source(topic("a", 2, configs={"delete.retention.ms": "60000"}, **MILLIONS)),
        "warn",
        "a",
        "kept for 1.0 minutes",
    ),
    ("record-tombstones", source(topic("a", effective=COMPACT, mean_record_bytes=None)), "unknown", "everything", ""),
    ("copy-speed-assumed", facts(copy_speed_measured=True), "", "", ""),
    ("copy-speed-assumed", facts(), "info", "copy", "20.0 MB"),
    ("transactions-lso-lag", facts(), "", "", ""),
    ("transactions-lso-lag", source(topic("a", last_stable=990)), "", "", ""),
    ("transactions-lso-lag", source(STUCK), "warn", "a", "49000 records"),
    ("transactions-lso-lag", source(replace(STUCK, last_timestamp_ms=NOW_MS - DAY_MS)), "", "", ""),
    ("transactions-hanging", facts(), "", "", ""),
    ("transactions-hanging", hanging(), "", "", ""),
    ("transactions-hanging", hanging(HANGS), "block", "a", "a-1 from offset 990, producer 4711, 1.0 days old"),
    ("transactions-hanging", hanging(replace(HANGS, topic="other")), "", "", ""),
    ("transactions-exactly-once", facts(), "", "", ""),
    ("transactions-exactly-once", source(topic("a", has_transactions=True)), "info", "topics", "twice"),
    (
        "transactions-exactly-once",
        facts(scan([topic("a")], transactional_ids=[TransactionalId("t", frozenset({"a"}))])),
        "info",
        "topics",
        "a:",
    ),
    ("producer-idempotence", produced(None, records_per_second=0.0), "", "", ""),
    ("producer-idempotence", produced((ActiveProducer("a", 0, 1, NOW_MS),)), "", "", ""),
    ("producer-idempotence", produced(()), "info", "topics", "no producer"),
    ("producer-idempotence", produced(None), "info", "topics", "could not be asked"),
    ("ecosystem-schema-registry", facts(), "", "", ""),
    ("ecosystem-schema-registry", source(topic("_schemas")), "warn", "_schemas", "READONLY"),
    (
        "ecosystem-schema-registry",
        planned(scan([topic("_schemas"), topic("a.x")]), lambda plan: drop_topic(plan, "_schemas")),
        "info",
        "_schemas",
        "not in the plan",
    ),
    ("ecosystem-connect", source(topic("connect-offsets", end=0, effective=COMPACT)), "", "", ""),
    ("ecosystem-connect", source(topic("connect-offsets", effective=COMPACT)), "warn", "connect", "begin anew"),
    ("ecosystem-ksqldb", facts(), "", "", ""),
    (
        "ecosystem-ksqldb",
        source(topic("_confluent-ksql-shop__command_topic")),
        "warn",
        "_confluent-ksql-shop__command_topic",
        "statements",
    ),
    ("ecosystem-checkpoints", facts(), "", "", ""),
    ("ecosystem-checkpoints", groups(group("flink-orders", ["a.x"])), "warn", "flink-orders", "Its id"),
    (
        "ecosystem-checkpoints",
        groups(replace(group("g", ["a.x"]), members=(GroupMember("m", "Flink-client-1", "h"),))),
        "warn",
        "g",
        "A client is Flink-client-1",
    ),
    ("ecosystem-mirror", facts(), "", "", ""),
    ("ecosystem-mirror", target(topic("mm2-offset-syncs.kferry-xxxxxx-a-1-src.internal")), "", "", ""),
    ("ecosystem-mirror", target(topic("mm2-offset-syncs.kferry-other1-a-1-src.internal")), "warn", "target", "other1"),
    ("ecosystem-mirror", source(topic("mm2-offset-syncs.dr.internal")), "info", "source", "dr.internal"),
    ("ecosystem-old-clients", facts(), "", "", ""),
    ("ecosystem-old-clients", versions("4.0", "4.1"), "", "", ""),
    ("ecosystem-old-clients", versions("2.0", "4.0"), "warn", "clients", "the source 2.0"),
    ("ecosystem-old-clients", versions("3.4", "4.0"), "info", "clients", "3.4"),
    ("ecosystem-old-clients", versions("3.4", "3.9", clusters=(AUTOMQ,)), "info", "clients", "0.10 or newer"),
    ("ecosystem-old-clients", versions("4.0", "3.9", clusters=(AUTOMQ,)), "", "", ""),
    (
        "ecosystem-old-clients",
        facts(
            scan([topic("a.x")], broker_configs={**BROKER_CONFIGS, "log.message.format.version": "0.9.0.1"}),
            clusters=(AUTOMQ,),
        ),
        "warn",
        "clients",
        "format of 0.9",
    ),
    ("worker-kafka-version", facts(), "", "", ""),
    ("worker-kafka-version", facts(distribution=OwnDistribution("k.tgz", "3.9.1")), "", "", ""),
    ("worker-kafka-version", facts(distribution=OwnDistribution("k.tgz", "3.8.0")), "block", "distribution", "17232"),
    ("worker-kafka-version", facts(distribution=OwnDistribution("k.tgz", "4.0.0")), "block", "distribution", "2.1"),
    ("worker-kafka-version", facts(distribution=OwnDistribution("k.tgz", "odd")), "block", "distribution", "'odd'"),
    ("worker-kafka-version", facts(distribution=OwnDistribution("k.tgz", None)), "info", "distribution", "fetched"),
    ("access-acls", facts(), "", "", ""),
    ("access-acls", access(Access((READ, GROUP_READ)), Access((READ, GROUP_READ))), "", "", ""),
    ("access-acls", access(Access((ELSEWHERE,)), Access(())), "", "", ""),
    ("access-acls", access(Access((READ, GROUP_READ)), Access((READ,))), "warn", "acls", "1 group ACL"),
    ("access-acls", access(Access((READ,)), Access()), "unknown", "target acls", "1 ACL"),
    ("access-acls", access(Access(), Access(), clusters=(LOGS_IN,)), "unknown", "source acls", "log in"),
    ("access-acls", access(Access(()), Access(()), clusters=(LOGS_IN,)), "info", "source acls", "both where"),
    ("access-acls", access(Access((READ,)), Access((READ_NOW,)), mapping=TO_ACCOUNTS), "", "", ""),
    (
        "access-acls",
        access(Access((READ,)), Access((READ,)), mapping=TO_ACCOUNTS),
        "warn",
        "acls",
        "User:acc-billing (",
    ),
    (
        "access-acls",
        access(Access((READ,)), Access(()), mapping=PrincipalMapping(drop=frozenset({"User:billing"}))),
        "",
        "",
        "",
    ),
    ("access-acls", access(Access((READ,)), Access(()), own_principals=frozenset({"User:billing"})), "", "", ""),
    ("access-acls", access(Access((ELSEWHERE,)), Access(()), access_of_all=True), "warn", "acls", "1 topic ACL"),
    ("access-acls", access(Access((READ,)), Access(()), access_error="line 3: no."), "warn", "access.yml", "line 3"),
    (
        "access-acls",
        access(
            Access((READ, replace(READ, principal="User:b"))),
            Access(()),
            mapping=PrincipalMapping({"User:b": "User:billing"}),
        ),
        "warn",
        "access.yml",
        "would both become",
    ),
    ("access-scram-users", facts(), "", "", ""),
    (
        "access-scram-users",
        access(Access(scram_users=(U,)), Access(scram_users=(replace(U, name="acc-u"),)), mapping=TO_ACCOUNTS),
        "",
        "",
        "",
    ),
    (
        "access-scram-users",
        access(Access(scram_users=(U,)), Access(scram_users=(U,)), mapping=TO_ACCOUNTS),
        "warn",
        "scram users",
        "acc-u (u on the source)",
    ),
    (
        "access-quotas",
        access(Access(quotas=(QUOTA,)), Access(quotas=(QUOTA_NOW,)), mapping=TO_ACCOUNTS),
        "",
        "",
        "",
    ),
    (
        "access-quotas",
        access(Access(quotas=(QUOTA,)), Access(quotas=(replace(QUOTA, limits={"consumer_byte_rate": 5.0}),))),
        "warn",
        "quotas",
        "a limit that differs",
    ),
    (
        "access-scram-users",
        access(
            Access(scram_users=(ScramUser("u", ("SCRAM-SHA-512",)),)),
            Access(scram_users=(ScramUser("u", ("SCRAM-SHA-512",)),)),
        ),
        "",
        "",
        "",
    ),
    (
        "access-scram-users",
        access(Access(scram_users=(ScramUser("u", ("SCRAM-SHA-512",)),))),
        "warn",
        "scram users",
        "u.",
    ),
    ("access-scram-users", access(Access(), clusters=(LOGS_IN,)), "info", "source scram users", "by hand"),
    ("access-quotas", access(Access(quotas=(QUOTA,)), Access(quotas=(QUOTA,))), "", "", ""),
    ("access-quotas", access(Access(quotas=(QUOTA,))), "warn", "quotas", "user billing"),
    ("access-throttled", access(Access(quotas=(QUOTA,))), "", "", ""),
    (
        "access-throttled",
        access(Access(quotas=(ClientQuota({"user": "kferry"}, {"consumer_byte_rate": 1e6}),)), clusters=(LOGS_IN,)),
        "warn",
        "source user kferry",
        "1.0 MB per second",
    ),
    (
        "access-throttled",
        access(Access(), Access(quotas=(ClientQuota({"user": None}, {"producer_byte_rate": 5.0}),))),
        "warn",
        "target user (default)",
        "producer_byte_rate",
    ),
    (
        "access-throttled",
        access(Access(quotas=(ClientQuota({"client-id": "billing"}, {"consumer_byte_rate": 1.0}),))),
        "",
        "",
        "",
    ),
    ("secrets-survive", facts(clusters=(replace(LOGS_IN, sasl_password="file:/secret"),)), "", "", ""),
    (
        "secrets-survive",
        facts(clusters=(replace(LOGS_IN, sasl_password="env:PASSWORD"),)),
        "info",
        "secrets",
        "env:PASSWORD",
    ),
    ("target-topics-missing", target(topic("a.x", end=0)), "", "", ""),
    ("target-topics-missing", facts(), "info", "topics", "2 partitions"),
    ("target-auto-create", target_with(auto__create__topics__enable="false"), "", "", ""),
    ("target-auto-create", target_with(auto__create__topics__enable="true"), "info", "target", "true"),
    ("target-replication", facts(), "", "", ""),
    ("target-replication", target_with(default__replication__factor="1"), "", "", ""),
    ("target-replication", target_with(default__replication__factor="3"), "block", "target", "brokers 1"),
    (
        "target-replication",
        target_with(default__replication__factor="1", min__insync__replicas="2"),
        "block",
        "target",
        "min.insync.replicas 2",
    ),
    (
        "target-replication",
        target_with(scan([topic("a", replication_factor=3)]), default__replication__factor="1"),
        "warn",
        "target",
        "a have more",
    ),
    (
        "target-replication",
        source(topic("a", configs={"min.insync.replicas": "2"}), clusters=(AUTOMQ,)),
        "info",
        "topics",
        "object storage",
    ),
    ("target-partition-count", facts(), "", "", ""),
    ("target-partition-count", source(topic("a", 4001)), "warn", "target", "4001 partitions"),
    (
        "target-partition-count",
        facts(
            scan([topic("a", 4001)]),
            scan(role=Role.TARGET, brokers=[Broker(1, "b1", 9092), Broker(2, "b2", 9092)]),
        ),
        "",
        "",
        "",
    ),
    ("worker-session-timeout", facts(), "", "", ""),
    ("worker-session-timeout", target_with(group__min__session__timeout__ms="6000"), "", "", ""),
    ("worker-session-timeout", target_with(group__min__session__timeout__ms="10000"), "block", "target", "10000"),
    (
        "worker-session-timeout",
        target_with(group__max__session__timeout__ms="5000"),
        "block",
        "target (longest)",
        "or more",
    ),
    ("worker-heap", facts(), "", "", ""),
    ("worker-heap", planned(scan([topic("a.x", 12)])), "", "", ""),
    ("worker-heap", planned(scan([topic("a.x", 200)])), "warn", "a", "21 fit, each with"),
    ("worker-heap", planned(scan([topic("a.x", 64)])), "warn", "a", "8 fit, each with 27"),
    ("worker-heap", planned(scan([topic("a.x", 64)]), workers_per_task=8), "", "", ""),
    ("worker-heap", planned(scan([topic("a.x", 200)]), workers_of={"a": 1}), "", "", ""),
    ("worker-heap", with_settings(planned(scan([topic("a.x", 200)])), heap_bytes=6 * 2**30), "", "", ""),
]
