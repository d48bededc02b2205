"""How a target topic is made: which configs it takes over from the source, and which are held while copying.

Holds keep the copy whole until the cutover: old records would vanish by time retention as they land, and compaction
would remove what exact offset translation has to read. Each hold is in the change ledger and is released by the
cutover. `message.timestamp.type` is held at CreateTime, because timestamps are part of a record's identity.
"""

from __future__ import annotations

from collections.abc import Mapping

from kferry.domain.connectors import SYNC_HISTORY_MS
from kferry.domain.model import Topic

# Keys every Kafka-compatible target takes. Others (vendor keys, replica throttles, min.insync.replicas) stay behind:
# object-storage targets refuse unknown keys and decide about replication themselves.
TAKEN_OVER = frozenset(
    {
        "cleanup.policy",
        "compression.type",
        "delete.retention.ms",
        "max.compaction.lag.ms",
        "max.message.bytes",
        "message.timestamp.type",
        "min.cleanable.dirty.ratio",
        "min.compaction.lag.ms",
        "retention.bytes",
        "retention.ms",
        "segment.bytes",
        "segment.ms",
    }
)

# Defaults a topic has where neither it nor its broker says otherwise (Kafka 3.9).
KAFKA_DEFAULTS = {
    "cleanup.policy": "delete",
    "retention.ms": "604800000",
    "retention.bytes": "-1",
    "max.message.bytes": "1048588",
    "message.timestamp.type": "CreateTime",
}


def final_configs(topic: Topic, target_defaults: Mapping[str, str] | None = None) -> dict[str, str]:
    """The configs the target topic shall have in the end: the source's, as far as the target's defaults differ."""
    defaults = {**KAFKA_DEFAULTS, **(target_defaults or {})}
    wanted = {key: value for key, value in topic.configs.items() if key in TAKEN_OVER}
    for key in KAFKA_DEFAULTS:
        value = topic.effective.get(key)
        if value is not None and value != defaults[key]:
            wanted.setdefault(key, value)
    return wanted


def holds(topic: Topic) -> dict[str, str]:
    """What is held on the target topic until the cutover releases it."""
    held = {"retention.ms": "-1", "retention.bytes": "-1", "message.timestamp.type": "CreateTime"}
    if topic.is_compacted:
        held["min.compaction.lag.ms"] = str(SYNC_HISTORY_MS)
    return held


def offset_syncs_configs() -> dict[str, str]:
    """MirrorMaker's offset-syncs topic, made beforehand so that compaction doesn't eat the history."""
    return {
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": str(SYNC_HISTORY_MS),
        "retention.ms": "-1",
    }
