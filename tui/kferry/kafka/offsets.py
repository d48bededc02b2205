"""The offsets of many partitions: log start, end, last stable, and by time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Literal

import confluent_kafka as ck
from confluent_kafka import KafkaError
from confluent_kafka.admin import ListOffsetsResultInfo, OffsetSpec

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig, TopicPartition
from kferry.kafka.connection import Connection

Which = Literal["start", "end", "stable"]

# confluent-kafka's list_offsets takes quadratic time in the number of partitions of one call.
PARTITIONS_PER_CALL = 500
_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]


def offsets(
    connection: Connection, tps: Iterable[TopicPartition], which: Which, *, timeout_seconds: float
) -> dict[TopicPartition, int | None]:
    """One offset per partition; None where it cannot be told. `stable` is the end for readers of committed records."""
    wanted = list(tps)
    found, _errors = offsets_or_why(connection, wanted, which, timeout_seconds=timeout_seconds)
    return {tp: found.get(tp) for tp in wanted}


def offsets_or_why(
    connection: Connection, tps: Iterable[TopicPartition], which: Which, *, timeout_seconds: float
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, KafkaError]]:
    """One offset per partition, and for each of the others the error that it was answered with."""
    spec = _EARLIEST if which == "start" else _LATEST
    isolation = ck.IsolationLevel.READ_COMMITTED if which == "stable" else ck.IsolationLevel.READ_UNCOMMITTED
    found, errors = _ask(connection, dict.fromkeys(tps, spec), isolation, timeout_seconds)
    # A leader that went away in the middle of the call is answered for with an impossible offset, not with an error.
    unled = KafkaError(KafkaError.LEADER_NOT_AVAILABLE)
    errors |= {tp: unled for tp, offset in found.items() if offset < 0}
    return {tp: offset for tp, offset in found.items() if offset >= 0}, errors


def offsets_at(
    connection: Connection, tps: Iterable[TopicPartition], timestamp_ms: int, *, timeout_seconds: float
) -> dict[TopicPartition, int | None]:
    """The first offset whose record is of that time or later; the end offset where there is none; None if unknown."""
    wanted = list(dict.fromkeys(tps))
    spec = OffsetSpec.for_timestamp(timestamp_ms)
    answered, _errors = _ask(
        connection, dict.fromkeys(wanted, spec), ck.IsolationLevel.READ_UNCOMMITTED, timeout_seconds
    )
    found: dict[TopicPartition, int | None] = {tp: answered.get(tp) for tp in wanted}
    # The protocol answers -1 for "no such record".
    past_all = [tp for tp, offset in found.items() if offset == -1]
    if past_all:
        found.update(offsets(connection, past_all, "end", timeout_seconds=timeout_seconds))
    return found


def _ask(
    connection: Connection,
    specs: Mapping[TopicPartition, OffsetSpec],
    isolation: ck.IsolationLevel,
    timeout_seconds: float,
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, KafkaError]]:
    def start(chunk: list[TopicPartition], left_seconds: float) -> dict[TopicPartition, Future[ListOffsetsResultInfo]]:
        asked = {ck.TopicPartition(tp.topic, tp.partition): specs[tp] for tp in chunk}
        futures = connection.client.list_offsets(asked, isolation_level=isolation, request_timeout=left_seconds)
        return {TopicPartition(tp.topic, tp.partition): future for tp, future in futures.items()}

    results, errors = connection.ask_many(
        start,
        specs,
        doing="read offsets of",
        timeout_seconds=timeout_seconds,
        wave=PARTITIONS_PER_CALL,
    )
    return {tp: info.offset for tp, info in results.items()}, errors


def known_range(cluster: ClusterConfig, tp: TopicPartition, start: int | None, stop: int | None) -> tuple[int, int]:
    """Both offsets of a partition that must be read; raises where one of them is unknown."""
    if start is None or stop is None:
        raise KferryError(
            f"The offsets of {tp.topic}-{tp.partition} in the {cluster.role} cluster cannot be told.",
            cause="The partition has no leader, or kferry's principal may not DESCRIBE the topic.",
            next_step="Check the partition's leader and the rights, then try again.",
            kind=ErrorKind.CONNECT,
        )
    return start, stop
