"""Comparing both sides of a batch by reading: everything since the start of the copy, or up to what was certified."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kferry.domain.model import BatchPhase, Role, TopicPartition
from kferry.domain.verification import Latest, PartitionVerdict, latest_verdict, summary, verdict
from kferry.engine.operations.topics import source_topics
from kferry.engine.phases import batch_phase
from kferry.engine.positions import Ends, align_partitions, bases
from kferry.kafka.reader import read_ranges
from kferry.kafka.records import stamp

if TYPE_CHECKING:
    from confluent_kafka import Message

    from kferry.domain.model import TaskSpec
    from kferry.engine.context import StepContext
    from kferry.store.journal import Journal

READ_WITHIN_SECONDS = 3000.0


def certified_ends(journal: Journal, batch: str) -> dict[TopicPartition, Ends]:
    """The ends of both sides as certified; {} while there is no certificate in force."""
    data = json.loads(journal.document("certificate", batch) or "{}")
    if not data or data.get("withdrawn"):
        return {}
    return {
        TopicPartition(item["topic"], item["partition"]): Ends(item["source_end_offset"], item["target_end_offset"])
        for item in data["verification"]["partitions"]
    }


def known_losses(journal: Journal, spec: TaskSpec) -> dict[str, int]:
    """Records, per "topic-partition", that the source deleted before this task copied them."""
    data = json.loads(journal.document("losses", spec.name) or "{}")
    if data.get("incarnation") != spec.incarnation:
        return {}
    return {str(place): int(count) for place, count in data["partitions"].items()}


def records_beyond_certificate(ctx: StepContext) -> int | None:
    """Records written to the target since it was certified; None while an end is not known."""
    certified = certified_ends(ctx.journal, ctx.task().spec.batch)
    now = ctx.target.offsets(list(certified), "end")
    if any(value is None for value in now.values()):
        return None
    return sum((now[tp] or 0) - ends.target for tp, ends in certified.items())


def compare(ctx: StepContext) -> dict[str, Any]:
    """Read every partition of the batch on both sides, and judge each.

    Once producers write to the target it moves on: then what was certified is compared. A compacted topic's old records
    may be gone from the target by then, so there the latest record of each key is what counts.
    """
    spec = ctx.task().spec
    topics = source_topics(ctx.services, spec.topics)
    switched = batch_phase(ctx.journal, spec.batch) in (BatchPhase.SWITCHED, BatchPhase.FINISHED)
    ends = certified_ends(ctx.journal, spec.batch) if switched else {}
    by_key = [tp for tp in ends if topics[tp.topic].is_compacted]
    aligned = align_partitions(
        ctx.services,
        spec,
        partitions=[tp for tp in bases(ctx.services, spec) if tp not in by_key],
        ends=ends,
        cancelled=ctx.cancelled.is_set,
        limit_records=ctx.services.settings().settings.exact_read_limit_records,
    )
    ctx.raise_if_cancelled()
    verdicts = [
        verdict(
            tp.topic,
            tp.partition,
            item.alignment,
            compacted=topics[tp.topic].is_compacted,
            expired_offsets=max(0, item.source_start_offset - item.base.upstream),
            source_end_offset=item.source_end_offset,
            target_end_offset=item.target_end_offset,
        )
        for tp, item in sorted(aligned.items())
    ]
    verdicts += _by_key(ctx, by_key, ends)
    return summary(sorted(verdicts, key=lambda item: (item.topic, item.partition)))


def _by_key(
    ctx: StepContext, tps: Iterable[TopicPartition], ends: Mapping[TopicPartition, Ends]
) -> list[PartitionVerdict]:
    tps = list(tps)
    if not tps:
        return []
    base = bases(ctx.services, ctx.task().spec)
    now = ctx.target.offsets(tps, "stable")
    source_starts, target_starts = ctx.source.offsets(tps, "start"), ctx.target.offsets(tps, "start")
    on_source = {tp: (max(base[tp].upstream, source_starts[tp] or 0), ends[tp].source) for tp in tps}
    on_target = {tp: (max(base[tp].downstream, target_starts[tp] or 0), now[tp] or ends[tp].target) for tp in tps}
    source = _read_latest(ctx, Role.SOURCE, on_source)
    target = _read_latest(ctx, Role.TARGET, on_target)
    return [
        latest_verdict(
            tp.topic,
            tp.partition,
            source[tp].latest,
            target[tp].latest,
            source_end_offset=ends[tp].source,
            target_end_offset=ends[tp].target,
        )
        for tp in tps
    ]


@dataclass
class _Side:
    latest: dict[bytes | None, Latest]


def _read_latest(
    ctx: StepContext, role: Role, ranges: Mapping[TopicPartition, tuple[int, int]]
) -> dict[TopicPartition, _Side]:
    """The last record of every key, per partition."""
    found = {tp: _Side({}) for tp in ranges}

    def handle(tp: TopicPartition, message: Message) -> None:
        seen = stamp(message)
        key = message.key()
        raw = key.encode() if isinstance(key, str) else key
        found[tp].latest[raw] = Latest(seen.offset, seen.digest, message.value() is None)

    read_ranges(
        ctx.services.clusters.config(role),
        ranges,
        handle,
        read_committed=True,
        deadline_seconds=READ_WITHIN_SECONDS,
        cancelled=ctx.cancelled.is_set,
    )
    return found
