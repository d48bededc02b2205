"""The offsets of many partitions: log start, end, last stable, and by time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

import confluent_kafka as ck
from confluent_kafka import KafkaError
from confluent_kafka.admin import ListOffsetsResultInfo, OffsetSpec

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig, TopicPartition
from kferry.kafka.connection import Connection

Which = Literal["start", "end", "stable"]
_Answers = tuple[dict[TopicPartition, ListOffsetsResultInfo], dict[TopicPartition, KafkaError]]

# confluent-kafka's list_offsets takes quadratic time in the number of partitions of one call.
PARTITIONS_PER_CALL = 500
# What a client also answers from its memory, about a topic that it looked up before it was made or had leaders.
_MAYBE_STALE = {
    KafkaError._NOENT,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
}
_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class FirstRecord:
    """A record that was looked for by its time."""

    offset: int
    timestamp_ms: int


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


def first_since(
    connection: Connection, tps: Iterable[TopicPartition], timestamp_ms: int, *, timeout_seconds: float
) -> dict[TopicPartition, FirstRecord | None]:
    """The first record of that time or later in each partition; None where it holds none, left out where unknown."""
    spec = OffsetSpec.for_timestamp(timestamp_ms)
    asked = dict.fromkeys(tps, spec)
    if not asked:
        return {}
    answered, _errors = _ask_infos(connection, asked, ck.IsolationLevel.READ_UNCOMMITTED, timeout_seconds)
    found: dict[TopicPartition, FirstRecord | None] = {}
    for tp, info in answered.items():
        if info.offset == -1:
            found[tp] = None
        elif info.offset >= 0 and info.timestamp >= timestamp_ms:
            found[tp] = FirstRecord(info.offset, info.timestamp)
    return found


def _ask(
    connection: Connection,
    specs: Mapping[TopicPartition, OffsetSpec],
    isolation: ck.IsolationLevel,
    timeout_seconds: float,
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, KafkaError]]:
    results, errors = _ask_infos(connection, specs, isolation, timeout_seconds)
    return {tp: info.offset for tp, info in results.items()}, errors


def _ask_infos(
    connection: Connection,
    specs: Mapping[TopicPartition, OffsetSpec],
    isolation: ck.IsolationLevel,
    timeout_seconds: float,
) -> _Answers:
    def start(chunk: list[TopicPartition], left_seconds: float) -> dict[TopicPartition, Future[ListOffsetsResultInfo]]:
        asked = {ck.TopicPartition(tp.topic, tp.partition): specs[tp] for tp in chunk}
        futures = connection.client.list_offsets(asked, isolation_level=isolation, request_timeout=left_seconds)
        return {TopicPartition(tp.topic, tp.partition): future for tp, future in futures.items()}

    def ask(tps: Iterable[TopicPartition]) -> _Answers:
        left_seconds = max(0.5, deadline - time.monotonic())
        return connection.ask_many(
            start, tps, doing="read offsets of", timeout_seconds=left_seconds, wave=PARTITIONS_PER_CALL
        )

    deadline = time.monotonic() + timeout_seconds
    results, errors = ask(specs)
    doubtful = [tp for tp, error in errors.items() if error.code() in _MAYBE_STALE]
    if doubtful:
        connection.close()  # a new client looks them up anew
        later, errors_now = ask(doubtful)
        results = results | later
        errors = {tp: error for tp, error in errors.items() if tp not in doubtful} | errors_now
    return results, errors


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
