"""Short ways to write scans, for tests of the domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kferry.domain.model import (
    Broker,
    ClusterFacts,
    CommittedOffset,
    Group,
    GroupKind,
    GroupMember,
    GroupState,
    PartitionOffsets,
    Role,
    Scan,
    Topic,
    TransactionalId,
)

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000

EFFECTIVE = {
    "retention.ms": "604800000",
    "retention.bytes": "-1",
    "cleanup.policy": "delete",
    "max.message.bytes": "1048588",
    "message.timestamp.type": "CreateTime",
    "min.insync.replicas": "1",
}
BROKER_CONFIGS = {
    "message.max.bytes": "1048588",
    "log.retention.ms": "604800000",
    "log.message.timestamp.before.max.ms": "9223372036854775807",
}


def topic(
    name: str,
    partitions: int = 2,
    *,
    start: int | None = 0,
    end: int | None = 1000,
    last_stable: int | None = None,
    effective: Mapping[str, str] | None = None,
    **fields: object,
) -> Topic:
    """A topic about which everything is known, unless a field says otherwise."""
    made = Topic(
        name=name,
        topic_id=None,
        replication_factor=1,
        partitions=tuple(
            PartitionOffsets(number, start, end, end if last_stable is None else last_stable)
            for number in range(partitions)
        ),
        effective={**EFFECTIVE, **(effective or {})},
        first_timestamp_ms=NOW_MS - 3_600_000,
        last_timestamp_ms=NOW_MS - 1000,
        sampled_partitions=partitions,
        mean_record_bytes=500.0,
        records_per_second=10.0,
        has_transactions=False,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def group(
    group_id: str,
    topics: Mapping[str, int] | Sequence[str] = (),
    *,
    offset: int = 950,
    kind: GroupKind = GroupKind.PLAIN,
    state: GroupState = GroupState.STABLE,
    members: int = 1,
    **fields: object,
) -> Group:
    """A group that committed `offset` in every partition of its topics (name to number of partitions, or 2 each)."""
    counts = dict(topics) if isinstance(topics, Mapping) else dict.fromkeys(topics, 2)
    made = Group(
        group_id=group_id,
        state=state,
        kind=kind,
        members=tuple(GroupMember(f"{group_id}-{number}", "client", "/10.0.0.1") for number in range(members)),
        committed=tuple(
            CommittedOffset(name, number, offset) for name, count in counts.items() for number in range(count)
        ),
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def scan(
    topics: Sequence[Topic] = (),
    groups: Sequence[Group] = (),
    *,
    role: Role = Role.SOURCE,
    transactional_ids: Sequence[TransactionalId] | None = (),
    version: str | None = "3.9",
    cluster_id: str | None = None,
    broker_configs: Mapping[str, str] | None = None,
    brokers: Sequence[Broker] = (),
    **cluster: object,
) -> Scan:
    """A scan of a healthy cluster."""
    facts = ClusterFacts(
        role=role,
        cluster_id=cluster_id or f"{role.value}-id",
        kafka_version=version,
        controller_id=1,
        brokers=tuple(brokers) or (Broker(1, "broker-1.example", 9092),),
        broker_configs=BROKER_CONFIGS if broker_configs is None else broker_configs,
    )
    return Scan(
        scan_id=f"{role.value}-1",
        taken_at_ms=NOW_MS - 60_000,
        cluster=replace(facts, **cluster),  # type: ignore[arg-type]
        topics=tuple(topics),
        groups=tuple(groups),
        transactional_ids=None if transactional_ids is None else tuple(transactional_ids),
    )


def lab_scan() -> Scan:
    """What a scan of the lab's source says: three business systems under traffic."""
    return scan(
        [
            topic("shop.orders", 12, end=9000, records_per_second=300.0),
            topic("shop.payments", 6, end=6000, has_transactions=True, last_stable=5990),
            topic("iot.telemetry", 24, end=6000, records_per_second=800.0),
            topic("iot.device-heartbeats", 4, end=3000),
            topic("hr.employees", 4, end=4000, effective={"cleanup.policy": "compact"}),
            topic("hr.audit", 2, end=200, records_per_second=0.0),
            topic("__consumer_offsets", 50, is_internal=True),
            topic("__transaction_state", 50, is_internal=True),
        ],
        [
            group("billing", {"shop.orders": 12}, offset=8990),
            group("fraud-check", {"shop.orders": 12, "shop.payments": 6}, offset=5900),
            group("telemetry-agg", {"iot.telemetry": 22}, offset=5990),
            group(
                "connect-s3-sink",
                {"iot.telemetry": 24, "iot.device-heartbeats": 4},
                offset=2990,
                kind=GroupKind.CONNECT,
            ),
            group("hr-sync", {"hr.employees": 4}, offset=100),
        ],
        transactional_ids=None,
    )
