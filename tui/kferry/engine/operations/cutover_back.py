"""The way back of a cutover: progress made on the target is translated to the source, exactly, and written there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kferry.domain.model import CommittedOffset, Role, TopicPartition
from kferry.domain.offsets import translate_back
from kferry.engine.context import StepContext
from kferry.engine.positions import align_partitions, bases


def write_progress_back(ctx: StepContext) -> Mapping[str, Any]:
    """For every group: the first source record it has not read a copy of becomes its committed offset there.

    Positions never move backwards on the source: a group that read nothing on the target keeps its own commit.
    """
    spec, base = ctx.task().spec, bases(ctx.services, ctx.task().spec)
    on_target, on_source = ctx.committed(Role.TARGET), ctx.committed(Role.SOURCE)
    needed = sorted(
        {
            tp
            for commits in on_target.values()
            for commit in commits
            if (tp := TopicPartition(commit.topic, commit.partition)) in base
        }
    )
    aligned = align_partitions(ctx.services, spec, partitions=needed, cancelled=ctx.cancelled.is_set) if needed else {}
    written = {}
    for group_id, commits in on_target.items():
        before = {(item.topic, item.partition): item.offset for item in on_source.get(group_id, ())}
        plan = []
        for commit in commits:
            tp = TopicPartition(commit.topic, commit.partition)
            if tp not in aligned:
                continue
            seen = aligned[tp]
            offset = translate_back(seen.alignment, commit.offset, source_end_offset=seen.source_end_offset)
            plan.append(
                CommittedOffset(
                    tp.topic, tp.partition, max(offset, before.get((tp.topic, tp.partition), 0)), commit.metadata
                )
            )
        if plan:
            ctx.services.ledger.write_offsets(
                Role.SOURCE,
                group_id,
                plan,
                reason="progress made on the target, translated back",
                operation_id=ctx.operation_id,
            )
            written[group_id] = len(plan)
    return {"partitions_written_back": written}
