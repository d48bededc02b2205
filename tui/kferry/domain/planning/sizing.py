"""How big a batch is and how many connector tasks copy it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from kferry.domain.model import Batch, Scan, Topic


@dataclass(frozen=True, slots=True)
class BatchSize:
    """What a batch holds on the source. None where any part of the sum is unknown."""

    records: int | None
    bytes: int | None
    partitions: int | None


def size(batch: Batch, scan: Scan, *, topics: Mapping[str, Topic] | None = None) -> BatchSize:
    """Records (an upper bound), bytes and partitions of a batch. `topics`: those of the scan by name, if at hand.

    Bytes are records times their mean size; of compacted topics, and where that is not known, those on a disk.
    """
    by_name = topics if topics is not None else {topic.name: topic for topic in scan.topics}
    records: int | None = 0
    total_bytes: float | None = 0
    partitions: int | None = 0
    for name in batch.topics:
        topic = by_name.get(name)
        span = topic.record_span if topic is not None and topic.partitions else None
        count = topic.partition_count if topic is not None and topic.partitions else None
        weight = topic_bytes(topic) if topic is not None else None
        records = None if records is None or span is None else records + span
        total_bytes = None if total_bytes is None or weight is None else total_bytes + weight
        partitions = None if partitions is None or count is None else partitions + count
    return BatchSize(records, None if total_bytes is None else round(total_bytes), partitions)


def topic_bytes(topic: Topic) -> float | None:
    """How much there is of a topic to be copied, uncompressed where it can be reckoned; None where unknown."""
    span = topic.record_span if topic.partitions else None
    if span == 0:
        return 0.0
    # compaction leaves holes between offsets: there only the disks tell
    if topic.size_bytes is not None and (topic.is_compacted or span is None or topic.mean_record_bytes is None):
        return float(topic.size_bytes)
    return None if span is None or topic.mean_record_bytes is None else span * topic.mean_record_bytes


def connector_tasks_max(partitions: int, workers: int) -> int:
    """Connector tasks of a source connector: two per worker or one per eight partitions, at most one each."""
    if partitions < 1:
        return 1
    return min(partitions, max(2 * max(workers, 1), math.ceil(partitions / 8)))
