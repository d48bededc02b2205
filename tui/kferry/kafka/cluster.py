"""What a cluster says of itself: id, brokers, controller, version."""

from __future__ import annotations

import re
from concurrent.futures import Future

from confluent_kafka.admin import AclOperation, DescribeClusterResult

from kferry.domain.errors import KferryError
from kferry.domain.model import Broker, Capability, ClusterFacts
from kferry.kafka import api_versions, configs
from kferry.kafka.connection import Connection

_RELEASE = re.compile(r"^(\d+\.\d+(?:\.\d+)?)(?:-IV\d+)?$")
# Kept of a broker's configs: what preflight asks for. The rest is noise, and some of it is private.
_BROKER_KEYS = (
    "auto.create.topics.enable",
    "broker.quota.enabled",
    "broker.quota.produce.bytes",
    "cluster.quota.partition.count",
    "cluster.quota.topic.count",
    "compression.type",
    "default.replication.factor",
    "delete.topic.enable",
    "group.max.session.timeout.ms",
    "group.min.session.timeout.ms",
    "inter.broker.protocol.version",
    "log.cleaner.delete.retention.ms",
    "log.cleanup.policy",
    "log.message.format.version",
    "log.message.timestamp.after.max.ms",
    "log.message.timestamp.before.max.ms",
    "log.message.timestamp.difference.max.ms",
    "log.message.timestamp.type",
    "log.retention.bytes",
    "log.retention.ms",
    "message.max.bytes",
    "min.insync.replicas",
    "num.partitions",
    "offsets.retention.minutes",
    "transaction.max.timeout.ms",
    "transactional.id.expiration.ms",
)


def describe(connection: Connection, *, timeout_seconds: float, rights: bool = False) -> DescribeClusterResult:
    """The cluster's own description, with the rights of kferry's principal if asked for."""

    def start(left_seconds: float) -> Future[DescribeClusterResult]:
        return connection.client.describe_cluster(include_authorized_operations=rights, request_timeout=left_seconds)

    return connection.ask(start, doing="reach", timeout_seconds=timeout_seconds, small=True)


def rights(connection: Connection, *, timeout_seconds: float) -> tuple[str, ...] | None:
    """Operations allowed on the cluster resource; None where the brokers do not tell (up to 2.2)."""
    try:
        found = describe(connection, timeout_seconds=timeout_seconds, rights=True).authorized_operations
    except KferryError:
        return None
    if not found:
        return None
    return tuple(sorted(operation.name for operation in found if isinstance(operation, AclOperation)))


def facts(connection: Connection, *, timeout_seconds: float) -> ClusterFacts:
    """Everything a cluster tells about itself."""
    found = describe(connection, timeout_seconds=timeout_seconds)
    brokers = tuple(
        sorted(
            (Broker(node.id, node.host, node.port, node.rack or None) for node in found.nodes),
            key=lambda broker: broker.broker_id,
        )
    )
    values: dict[str, configs.ConfigValue] | None = None
    if brokers:
        values = configs.broker_configs(connection, brokers[0].broker_id, timeout_seconds=timeout_seconds)
    kept = {key: text for key in _BROKER_KEYS if values and key in values and (text := values[key].value) is not None}
    capability = Capability.SUPPORTED if values is not None else Capability.DENIED
    return ClusterFacts(
        role=connection.cluster.role,
        cluster_id=found.cluster_id or None,
        kafka_version=_version(connection, kept, timeout_seconds),
        controller_id=found.controller.id if found.controller and found.controller.id >= 0 else None,
        brokers=brokers,
        broker_configs=kept,
        capabilities={"broker_configs": capability},
    )


def _version(connection: Connection, kept: dict[str, str], timeout_seconds: float) -> str | None:
    """The newer of two lower bounds: the protocol the brokers speak, and the release their config names."""
    bounds = []
    spoken = api_versions.lower_bound(connection.cluster, timeout_seconds=min(5.0, timeout_seconds))
    if spoken:
        bounds.append(spoken)
    named = _RELEASE.match(kept.get("inter.broker.protocol.version", ""))
    if named:
        bounds.append(named[1])
    return max(bounds, key=_sortable, default=None)


def _sortable(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
