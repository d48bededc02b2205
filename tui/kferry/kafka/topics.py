"""Topics: names, partitions, offsets and configs; create, grow and delete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from confluent_kafka import KafkaError
from confluent_kafka.admin import ClusterMetadata, NewPartitions, NewTopic, TopicMetadata

from kferry.domain.model import PartitionOffsets, Topic, TopicPartition
from kferry.kafka import causes, configs, offsets
from kferry.kafka.connection import Connection
from kferry.kafka.topic_ids import topic_ids

# The keys whose effective value matters even where only the broker's default is in force.
EFFECTIVE_KEYS = (
    "retention.ms",
    "retention.bytes",
    "cleanup.policy",
    "max.message.bytes",
    "message.timestamp.type",
    "min.insync.replicas",
    "compression.type",
    "segment.bytes",
    "segment.ms",
    "min.compaction.lag.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms",
    "message.timestamp.difference.max.ms",
)
# Plain names: an error that says no more than its name carries no text with it.
_BARE_CODES = {KafkaError.TOPIC_ALREADY_EXISTS, KafkaError.UNKNOWN_TOPIC_OR_PART}


@dataclass(frozen=True, slots=True)
class NewTopicSpec:
    """A topic to be made. A replication factor of -1 leaves it to the cluster."""

    name: str
    partitions: int
    replication_factor: int = -1
    configs: Mapping[str, str] = field(default_factory=dict)


def is_internal_name(name: str) -> bool:
    """Topics of Kafka itself and of its vendors begin with two underscores."""
    return name.startswith("__")


def metadata(connection: Connection, *, timeout_seconds: float) -> dict[str, TopicMetadata]:
    """The metadata of every topic that kferry's principal may see."""
    return dict(cluster_metadata(connection, timeout_seconds=timeout_seconds).topics)


def cluster_metadata(connection: Connection, *, timeout_seconds: float) -> ClusterMetadata:
    """The brokers, and the metadata of every topic that kferry's principal may see."""
    return connection.call(
        lambda wait_seconds: connection.client.list_topics(timeout=wait_seconds),
        doing="list the topics of",
        timeout_seconds=timeout_seconds,
    )


def topic_names(connection: Connection, *, include_internal: bool = False, timeout_seconds: float) -> tuple[str, ...]:
    """All topic names, sorted."""
    names = metadata(connection, timeout_seconds=timeout_seconds)
    return tuple(sorted(name for name in names if include_internal or not is_internal_name(name)))


def partition_counts(connection: Connection, *, timeout_seconds: float) -> dict[str, int]:
    """Every topic with its number of partitions, by one request."""
    found = metadata(connection, timeout_seconds=timeout_seconds)
    return {name: len(item.partitions) for name, item in found.items() if item.partitions}


def topics(connection: Connection, names: Iterable[str] | None = None, *, timeout_seconds: float) -> dict[str, Topic]:
    """Topics with offsets and configs; every one that exists when `names` is None. Missing topics are left out.

    What cannot be told of one topic stands in its `error`; the others are not affected.
    """
    known = metadata(connection, timeout_seconds=timeout_seconds)
    wanted = sorted(known) if names is None else [name for name in dict.fromkeys(names) if name in known]
    if not wanted:
        return {}
    tps = [TopicPartition(name, number) for name in wanted for number in sorted(known[name].partitions)]
    start = offsets.offsets(connection, tps, "start", timeout_seconds=timeout_seconds)
    end = offsets.offsets(connection, tps, "end", timeout_seconds=timeout_seconds)
    stable = offsets.offsets(connection, tps, "stable", timeout_seconds=timeout_seconds)
    described, config_errors = configs.topic_configs(connection, wanted, timeout_seconds=timeout_seconds)
    ids = topic_ids(connection, wanted, timeout_seconds=timeout_seconds)
    return {
        name: topic_of(
            known[name],
            tuple(
                PartitionOffsets(tp.partition, start[tp], end[tp], stable[tp])
                for tp in (TopicPartition(name, number) for number in sorted(known[name].partitions))
            ),
            described.get(name, {}),
            config_errors.get(name),
            ids.get(name),
        )
        for name in wanted
    }


def topic_of(
    found: TopicMetadata,
    partitions: tuple[PartitionOffsets, ...],
    values: Mapping[str, configs.ConfigValue],
    config_error: KafkaError | None,
    topic_id: str | None,
) -> Topic:
    """A topic of what its parts said; what they would not say stands in its error."""
    name = str(found.topic)
    problems = []
    if found.error is not None:
        problems.append(causes.error_words(found.error))
    if config_error is not None:
        problems.append(f"configs: {causes.error_words(config_error)}")
    blind = [part.partition for part in partitions if part.end_offset is None]
    if blind:
        problems.append(f"offsets unknown in {len(blind)} of {len(partitions)} partitions")
    replicas = {len(part.replicas) for part in found.partitions.values()}
    return Topic(
        name=name,
        topic_id=topic_id,
        replication_factor=min(replicas) if replicas else None,
        partitions=partitions,
        configs={key: item.value for key, item in values.items() if item.is_set_on_topic and item.value is not None},
        effective={key: text for key in EFFECTIVE_KEYS if key in values and (text := values[key].value) is not None},
        is_internal=is_internal_name(name),
        error="; ".join(problems) or None,
    )


def create_topics(
    connection: Connection,
    specs: Iterable[NewTopicSpec],
    *,
    validate_only: bool = False,
    timeout_seconds: float,
) -> dict[str, str | None]:
    """Create topics; per name None when done, else the error beginning with its code ("TOPIC_ALREADY_EXISTS")."""
    by_name = {spec.name: spec for spec in specs}

    def start(chunk: list[str], left_seconds: float) -> dict[str, Future[None]]:
        new = [
            NewTopic(
                spec.name,
                num_partitions=spec.partitions,
                replication_factor=spec.replication_factor,
                config=dict(spec.configs),
            )
            for spec in (by_name[name] for name in chunk)
        ]
        return connection.client.create_topics(
            new, operation_timeout=left_seconds, request_timeout=left_seconds, validate_only=validate_only
        )

    return _change(connection, start, by_name, "create topics in", timeout_seconds)


def delete_topics(connection: Connection, names: Iterable[str], *, timeout_seconds: float) -> dict[str, str | None]:
    """Delete topics; per name None when done, else the error beginning with its code ("UNKNOWN_TOPIC_OR_PART")."""

    def start(chunk: list[str], left_seconds: float) -> dict[str, Future[None]]:
        return connection.client.delete_topics(chunk, operation_timeout=left_seconds, request_timeout=left_seconds)

    return _change(connection, start, names, "delete topics in", timeout_seconds)


def create_partitions(connection: Connection, name: str, total: int, *, timeout_seconds: float) -> None:
    """Grow a topic to `total` partitions."""

    def start(left_seconds: float) -> Future[None]:
        futures = connection.client.create_partitions(
            [NewPartitions(name, total)], operation_timeout=left_seconds, request_timeout=left_seconds
        )
        return futures[name]

    connection.ask(start, doing=f"grow topic {name} of", timeout_seconds=timeout_seconds, repeatable=False)


def _change(
    connection: Connection,
    start: Callable[[list[str], float], Mapping[str, Future[None]]],
    names: Iterable[str],
    doing: str,
    timeout_seconds: float,
) -> dict[str, str | None]:
    wanted = list(dict.fromkeys(names))
    _done, errors = connection.ask_many(
        start, wanted, doing=doing, timeout_seconds=timeout_seconds, wave=100, repeatable=False
    )
    return {name: _words(errors[name]) if name in errors else None for name in wanted}


def _words(error: KafkaError) -> str:
    return error.name() if error.code() in _BARE_CODES else causes.error_words(error)
