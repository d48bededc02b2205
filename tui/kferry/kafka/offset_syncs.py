"""The offset syncs that MirrorSource writes: which target offset a source record got.

The raw topic holds far more of them than MirrorMaker keeps in memory, so it bounds a translation tightly.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import confluent_kafka as ck

from kferry.domain.model import ClusterConfig, TopicPartition
from kferry.kafka import offsets, topics
from kferry.kafka.connection import Connection
from kferry.kafka.reader import read_ranges
from kferry.kafka.wire import WireError, WireReader

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OffsetSync:
    """The record at `upstream` in the source partition became the one at `downstream` in the target's."""

    topic: str
    partition: int
    upstream: int
    downstream: int


def read_offset_syncs(cluster: ClusterConfig, topic: str, *, deadline_seconds: float = 120.0) -> list[OffsetSync]:
    """All syncs that are retained in an offset-syncs topic of this cluster, in log order; none if it isn't there."""
    connection = Connection(cluster)
    try:
        known = topics.metadata(connection, timeout_seconds=deadline_seconds)
        if topic not in known:
            return []
        tps = [TopicPartition(topic, number) for number in sorted(known[topic].partitions)]
        starts = offsets.offsets(connection, tps, "start", timeout_seconds=deadline_seconds)
        ends = offsets.offsets(connection, tps, "stable", timeout_seconds=deadline_seconds)
    finally:
        connection.close()
    ranges = {tp: offsets.known_range(cluster, tp, starts[tp], ends[tp]) for tp in tps}
    found: dict[TopicPartition, list[OffsetSync]] = {tp: [] for tp in tps}

    def handle(tp: TopicPartition, message: ck.Message) -> None:
        sync = parse_offset_sync(message.key(), message.value())
        if sync is not None:
            found[tp].append(sync)

    read_ranges(cluster, ranges, handle, deadline_seconds=deadline_seconds)
    return [sync for tp in tps for sync in found[tp]]


def parse_offset_sync(key: bytes | None, value: bytes | None) -> OffsetSync | None:
    """One sync, or None for a record that is none (a tombstone, or something foreign)."""
    if key is None or value is None:
        return None
    try:
        key_reader, value_reader = WireReader(key), WireReader(value)
        sync = OffsetSync(key_reader.string(), key_reader.int32(), value_reader.int64(), value_reader.int64())
    except WireError as error:
        _log.warning("A record in an offset-syncs topic is not an offset sync: %s", error)
        return None
    return sync
