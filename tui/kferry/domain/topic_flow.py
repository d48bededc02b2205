"""How fast data comes into topics of the source, and how long it stays there."""

from __future__ import annotations

from collections.abc import Iterable

from kferry.domain.model import Topic


def ingress_bytes_per_second(topics: Iterable[Topic]) -> float | None:
    """What arrives in these topics; None where it is not known of one."""
    total = 0.0
    for topic in topics:
        if topic.records_per_second == 0:
            continue
        if topic.records_per_second is None or topic.mean_record_bytes is None:
            return None
        total += topic.records_per_second * topic.mean_record_bytes
    return total


def lifetime_seconds(topic: Topic, now_ms: int) -> float | None:
    """How long the records of a topic that are newest now still live on the source; None where for ever or unknown."""
    if "delete" not in topic.effective.get("cleanup.policy", "delete"):
        return None
    limits = []
    retention_ms = whole(topic.effective.get("retention.ms"))
    if retention_ms is not None and retention_ms >= 0:
        newest = topic.last_timestamp_ms
        # a topic that is written to has records as new as now, whatever the scan saw
        idle_ms = max(0, now_ms - newest) if newest is not None and not topic.records_per_second else 0
        limits.append((retention_ms - idle_ms) / 1000)
    retention_bytes = whole(topic.effective.get("retention.bytes"))
    if retention_bytes is not None and retention_bytes >= 0 and topic.records_per_second and topic.mean_record_bytes:
        rate = topic.records_per_second * topic.mean_record_bytes
        limits.append(retention_bytes * max(1, topic.partition_count) / rate)
    return min(limits) if limits else None


def whole(text: str | None) -> int | None:
    """A config value as a whole number; None where it is missing or none."""
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
