"""Records as fingerprints or whole, for proof and for exact offset translation."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple, cast

import confluent_kafka as ck

from kferry.domain.model import ClusterConfig, TopicPartition
from kferry.kafka.reader import OnProgress, read_ranges

Headers = Sequence[tuple[str, bytes | None]]

_DIGEST_BYTES = 16
_ABSENT = 0xFFFFFFFF  # a length no field can have
_HEAD = struct.Struct(">qII")
_LENGTH = struct.Struct(">I")
_PAIR = struct.Struct(">II")
_NO_HEADERS = _LENGTH.pack(0)


class RecordStamp(NamedTuple):
    """Where a record is, when it was written, and a fingerprint of all that a consumer can see of it."""

    offset: int
    timestamp_ms: int
    digest: bytes


class Record(NamedTuple):
    """A whole record. `key` or `value` None is Kafka's null, which is not the same as empty."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def record_digest(timestamp_ms: int, key: bytes | None, value: bytes | None, headers: Headers | None) -> bytes:
    """Fingerprint of a record. Every field goes in with its length, so no two different records look alike."""
    parts = [_HEAD.pack(timestamp_ms, _ABSENT if key is None else len(key), _ABSENT if value is None else len(value))]
    if key:
        parts.append(key)
    if value:
        parts.append(value)
    if headers:
        parts.append(_LENGTH.pack(len(headers)))
        for name, content in headers:
            encoded = name.encode("utf-8", "surrogatepass")
            parts.append(_PAIR.pack(len(encoded), _ABSENT if content is None else len(content)))
            parts.append(encoded)
            if content:
                parts.append(content)
    else:
        parts.append(_NO_HEADERS)
    return blake2b(b"".join(parts), digest_size=_DIGEST_BYTES).digest()


def read_stamps(
    cluster: ClusterConfig,
    tp: TopicPartition,
    start_offset: int,
    stop_offset: int,
    *,
    read_committed: bool = True,
    deadline_seconds: float = 60.0,
    on_progress: OnProgress | None = None,
) -> list[RecordStamp]:
    """Fingerprints of the data records with start_offset <= offset < stop_offset."""
    return read_stamps_many(
        cluster,
        {tp: (start_offset, stop_offset)},
        read_committed=read_committed,
        deadline_seconds=deadline_seconds,
        on_progress=on_progress,
    )[tp]


def read_stamps_many(
    cluster: ClusterConfig,
    ranges: Mapping[TopicPartition, tuple[int, int]],
    *,
    read_committed: bool = True,
    deadline_seconds: float = 600.0,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[TopicPartition, list[RecordStamp]]:
    """Fingerprints of many ranges [start, stop), read with one consumer. Every partition asked for is in the answer."""
    found: dict[TopicPartition, list[RecordStamp]] = {tp: [] for tp in ranges}

    def handle(tp: TopicPartition, message: ck.Message) -> None:
        found[tp].append(stamp(message))

    read_ranges(
        cluster,
        ranges,
        handle,
        read_committed=read_committed,
        deadline_seconds=deadline_seconds,
        on_progress=on_progress,
        cancelled=cancelled,
    )
    return found


def read_records(
    cluster: ClusterConfig,
    tp: TopicPartition,
    start_offset: int,
    stop_offset: int,
    *,
    read_committed: bool = True,
    deadline_seconds: float = 30.0,
) -> list[Record]:
    """Whole records of a small range [start_offset, stop_offset)."""
    return read_records_many(
        cluster,
        {tp: (start_offset, stop_offset)},
        read_committed=read_committed,
        deadline_seconds=deadline_seconds,
    )[tp]


def read_records_many(
    cluster: ClusterConfig,
    ranges: Mapping[TopicPartition, tuple[int, int]],
    *,
    read_committed: bool = True,
    deadline_seconds: float = 60.0,
) -> dict[TopicPartition, list[Record]]:
    """Whole records of several small ranges."""
    found: dict[TopicPartition, list[Record]] = {tp: [] for tp in ranges}

    def handle(tp: TopicPartition, message: ck.Message) -> None:
        found[tp].append(record(message))

    read_ranges(cluster, ranges, handle, read_committed=read_committed, deadline_seconds=deadline_seconds)
    return found


def stamp(message: ck.Message) -> RecordStamp:
    """The fingerprint of one message."""
    timestamp_ms = message.timestamp()[1]
    digest = record_digest(timestamp_ms, message.key(), message.value(), message_headers(message))
    return RecordStamp(message.offset(), timestamp_ms, digest)  # type: ignore[arg-type]


def message_headers(message: ck.Message) -> Headers:
    """The headers in their order; the client library hands out a list of pairs."""
    return cast("Headers", message.headers() or ())


def record(message: ck.Message) -> Record:
    """One message as a record."""
    headers = tuple((name, content) for name, content in message_headers(message))
    return Record(message.offset(), message.timestamp()[1], message.key(), message.value(), headers)  # type: ignore[arg-type]
