"""Everything kferry asks of, or changes in, one cluster's metadata, behind one class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType

from kferry.domain.model import (
    ClusterConfig,
    ClusterFacts,
    CommittedOffset,
    Group,
    Topic,
    TopicPartition,
)
from kferry.kafka import causes, check, cluster, configs, groups, offsets, topics
from kferry.kafka.check import ClusterCheck
from kferry.kafka.configs import ConfigValue
from kferry.kafka.connection import Connection
from kferry.kafka.offsets import Which
from kferry.kafka.topics import NewTopicSpec

__all__ = ["ClusterAdmin", "ClusterCheck", "ConfigValue", "NewTopicSpec"]

_TIMEOUT_SECONDS = 20.0


class ClusterAdmin:
    """One cluster. Opens its connection at the first call; safe to use from several threads.

    Every call raises KferryError(kind=CONNECT), with cause and next step, where the cluster cannot be reached.
    """

    def __init__(self, cluster: ClusterConfig) -> None:
        self.config = cluster
        self.connection = Connection(cluster)

    def __enter__(self) -> ClusterAdmin:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()

    # The cluster

    def check(self, *, timeout_seconds: float = 8.0, cancelled: Callable[[], bool] = lambda: False) -> ClusterCheck:
        return check.check(self.connection, timeout_seconds=timeout_seconds, cancelled=cancelled)

    def rights(self, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> tuple[str, ...] | None:
        return cluster.rights(self.connection, timeout_seconds=timeout_seconds)

    def facts(self, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> ClusterFacts:
        return cluster.facts(self.connection, timeout_seconds=timeout_seconds)

    # Topics

    def topic_names(
        self, include_internal: bool = False, *, timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> tuple[str, ...]:
        return topics.topic_names(self.connection, include_internal=include_internal, timeout_seconds=timeout_seconds)

    def partition_counts(self, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> dict[str, int]:
        """Every topic with its number of partitions, by one request."""
        return topics.partition_counts(self.connection, timeout_seconds=timeout_seconds)

    def topics(self, names: Iterable[str] | None = None, *, timeout_seconds: float = 60.0) -> dict[str, Topic]:
        return topics.topics(self.connection, names, timeout_seconds=timeout_seconds)

    def create_topics(
        self,
        specs: Iterable[NewTopicSpec],
        validate_only: bool = False,
        *,
        timeout_seconds: float = 60.0,
    ) -> dict[str, str | None]:
        return topics.create_topics(
            self.connection, specs, validate_only=validate_only, timeout_seconds=timeout_seconds
        )

    def delete_topics(self, names: Iterable[str], *, timeout_seconds: float = 60.0) -> dict[str, str | None]:
        return topics.delete_topics(self.connection, names, timeout_seconds=timeout_seconds)

    def create_partitions(self, name: str, total: int, *, timeout_seconds: float = 60.0) -> None:
        topics.create_partitions(self.connection, name, total, timeout_seconds=timeout_seconds)

    # Configs

    def topic_configs(
        self, names: Iterable[str], *, timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> dict[str, dict[str, ConfigValue]]:
        """Configs per topic; raises if one of the topics cannot be described."""
        found, errors = configs.topic_configs(self.connection, names, timeout_seconds=timeout_seconds)
        for name, error in errors.items():
            raise causes.refused(self.config, error, f"read the configs of topic {name} of")
        return found

    def alter_topic_configs(
        self,
        name: str,
        set_values: Mapping[str, str],
        delete_keys: Iterable[str] = (),
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        configs.alter_topic_configs(self.connection, name, set_values, delete_keys, timeout_seconds=timeout_seconds)

    # Offsets

    def offsets(
        self, tps: Iterable[TopicPartition], which: Which, *, timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> dict[TopicPartition, int | None]:
        return offsets.offsets(self.connection, tps, which, timeout_seconds=timeout_seconds)

    def offsets_at(
        self, tps: Iterable[TopicPartition], timestamp_ms: int, *, timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> dict[TopicPartition, int | None]:
        return offsets.offsets_at(self.connection, tps, timestamp_ms, timeout_seconds=timeout_seconds)

    # Groups

    def group_ids(self, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> tuple[str, ...]:
        return groups.group_ids(self.connection, timeout_seconds=timeout_seconds)

    def groups(
        self, ids: Iterable[str], *, with_committed: bool = False, timeout_seconds: float = 60.0
    ) -> dict[str, Group]:
        return groups.groups(self.connection, ids, with_committed=with_committed, timeout_seconds=timeout_seconds)

    def committed(
        self, group_id: str, *, stable: bool = False, timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> tuple[CommittedOffset, ...]:
        return groups.committed(self.connection, group_id, stable=stable, timeout_seconds=timeout_seconds)

    def committed_many(
        self, ids: Iterable[str], *, stable: bool = False, timeout_seconds: float = 60.0
    ) -> tuple[dict[str, tuple[CommittedOffset, ...]], dict[str, str]]:
        """Committed offsets per group, and an error text per group that could not be read (whole)."""
        return groups.committed_many(self.connection, ids, stable=stable, timeout_seconds=timeout_seconds)

    def write_committed(
        self,
        group_id: str,
        commits: Iterable[CommittedOffset],
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> dict[TopicPartition, str | None]:
        return groups.write_committed(self.connection, group_id, commits, timeout_seconds=timeout_seconds)

    def delete_committed(
        self, group_id: str, tps: Iterable[TopicPartition], *, timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> dict[TopicPartition, str | None]:
        return groups.delete_committed(self.connection, group_id, tps, timeout_seconds=timeout_seconds)

    def delete_group(self, group_id: str, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> bool:
        return groups.delete_group(self.connection, group_id, timeout_seconds=timeout_seconds)
