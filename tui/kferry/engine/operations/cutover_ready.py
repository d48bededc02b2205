"""Cutover steps up to the stop of the consumers: is the batch ready, do consumers really stand still."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kferry.domain.model import BatchPhase, Role, TopicPartition
from kferry.domain.newcomers import Look, sentence
from kferry.domain.planning.scope import streams_application
from kferry.domain.progress import Closeness
from kferry.domain.runbook import OperationKind
from kferry.engine import newcomers_look
from kferry.engine.comparison import known_losses
from kferry.engine.context import StepContext
from kferry.engine.operations.owner import (
    OwnerStep,
    commits_now,
    everything_stops,
    group_words,
    groups_now,
    had_members,
    is_empty,
    is_running,
)
from kferry.engine.phases import batch_phase, set_phase
from kferry.engine.positions import align_partitions, bases
from kferry.engine.steps import Check, Step, step

CUTOVER = OperationKind.CUTOVER
# A measurement older than this (and one interval) is not "now", in seconds.
FRESH_SECONDS = 10.0


@step((CUTOVER, "ready"))
class Ready(Step):
    """All conditions under which a switch may begin, measured now."""

    poll_seconds = 2.0

    def check(self, ctx: StepContext) -> Check:
        spec, settings = ctx.task().spec, ctx.services.settings().settings
        body = ctx.journal.document("observation", spec.name)
        seen = json.loads(body) if body else {}
        figures = seen.get("figures", {})
        lag, ingress = figures.get("lag_records"), figures.get("ingress_records_per_second")
        closeness = Closeness(settings.lag_threshold_records, settings.lag_threshold_seconds)
        reasons = []
        age_ms = ctx.journal.document_age_ms("observation", spec.name)
        if age_ms is None or age_ms > 1000 * (FRESH_SECONDS + settings.observe_interval_seconds):
            reasons.append("the task was not measured just now")  # what an earlier engine saw proves nothing
        if lag is None:
            reasons.append("the lag is not known yet")
        elif not closeness.holds(lag, ingress):
            reasons.append(f"lag {lag} is above {closeness.limit_records(ingress)}")
        reasons += [*seen.get("alarms", []), *seen.get("failures", [])]
        reasons += [
            f"{place}: the source deleted {count} records before they were copied; delete the task and create it again "
            "to go on from what is still there"
            for place, count in known_losses(ctx.journal, spec).items()
        ]
        reasons += self._newcomers(ctx)
        reasons += [
            f"group {group_id} has members on the target already"
            for group_id, group in groups_now(ctx, Role.TARGET, spec.groups).items()
            if not is_empty(group)
        ]
        reasons += self._foreign_writes(ctx)
        if not reasons:
            set_phase(ctx.journal, spec.batch, BatchPhase.SWITCHING, operation_id=ctx.operation_id)
        return Check(not reasons, {"lag_records": lag, "not_yet": reasons})

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        batch = ctx.task().spec.batch
        if batch_phase(ctx.journal, batch) is BatchPhase.SWITCHING:  # else it never was ready, so nothing was begun
            set_phase(ctx.journal, batch, BatchPhase.ROLLED_BACK, operation_id=ctx.operation_id)
        return {"phase": batch_phase(ctx.journal, batch).value}

    def _partitions_differ(self, ctx: StepContext, look: Look) -> list[str]:
        names = list(ctx.task().spec.topics)
        on_target = ctx.target.topics(names)
        reasons = [f"{name} is not on both sides" for name in names if name not in on_target]
        return reasons + [
            f"{name} has {look.partitions[name]} partitions on the source, "
            f"{on_target[name].partition_count} on the target"
            for name in names
            if name in look.partitions
            and name in on_target
            and look.partitions[name] != on_target[name].partition_count
        ]

    def _newcomers(self, ctx: StepContext) -> list[str]:
        """What appeared since the plan, and what of it this batch can't be switched without.

        A partition that came after the copy was anchored is seen by no later step: it must not be left behind.
        """
        spec = ctx.task().spec
        found, look = newcomers_look.blocking(ctx.services, spec)
        reasons = [sentence(item, spec.name) for item in found]
        reasons += [
            f"group {name} can't be read: {group.error}"
            for name, group in look.groups.items()
            if group.error and name not in spec.groups
        ]
        return reasons + self._partitions_differ(ctx, look) + self._state_left_behind(ctx, look)

    def _state_left_behind(self, ctx: StepContext, look: Look) -> list[str]:
        """State of Streams applications that isn't copied, where they switch with what they wrote.

        A consumer group that goes on in the middle of its input can't rebuild what it had summed up before.
        """
        spec = ctx.task().spec
        if not everything_stops(ctx) or ctx.args.get("rebuild_state"):
            return []
        left = {
            name: application
            for name in sorted(look.partitions)
            if name not in spec.topics and (application := streams_application(name, spec.groups)) is not None
        }
        return [
            f"topic {name} holds state of the Streams application {application} and is not copied: take it in "
            f"(kferry task update {spec.name} --add-topic {name}), or start anew with --rebuild-state"
            for name, application in left.items()
        ]

    def _foreign_writes(self, ctx: StepContext) -> list[str]:
        """Records on the target that never were on the source: someone else writes there already."""
        spec = ctx.task().spec
        base = bases(ctx.services, spec)
        ends, stable = ctx.target.offsets(base, "end"), ctx.source.offsets(base, "stable")
        unknown = [tp for tp in base if ends.get(tp) is None or stable.get(tp) is None]
        if unknown:
            return [f"{tp.topic}-{tp.partition}: its offsets are not known" for tp in unknown]
        # more records than the source has offsets: repeats after a worker's death, or somebody else's; reading decides
        suspicious = [
            tp
            for tp, start in base.items()
            if (ends.get(tp) or 0) - start.downstream > (stable.get(tp) or 0) - start.upstream
        ]
        if not suspicious:
            return []
        compacted = {topic.name for topic in ctx.source.topics(list(spec.topics)).values() if topic.is_compacted}
        found = align_partitions(ctx.services, spec, partitions=[tp for tp in suspicious if tp.topic not in compacted])
        return [
            f"{tp.topic}-{tp.partition}: {len(item.unexplained)} records on the target are not from the source"
            for tp, item in found.items()
            if item.unexplained
        ]


@step((CUTOVER, "stop_consumers"))
class StopConsumers(OwnerStep):
    """Stopped means empty *and* no longer committing: with manual assignment a consumer commits in an empty group."""

    hook = "stop_consumers"
    role = Role.SOURCE

    def check(self, ctx: StepContext) -> Check:
        spec = ctx.task().spec
        groups = groups_now(ctx, Role.SOURCE, spec.groups)
        commits = commits_now(ctx, Role.SOURCE)
        wanted = ctx.services.settings().settings.still_seconds
        short = ctx.still_for("commits", commits, wanted)
        alive = [group_id for group_id in spec.groups if not is_empty(groups.get(group_id))]
        evidence = {
            "had_members": sorted(had_members(ctx) | set(alive)),
            "groups": {group_id: group_words(groups.get(group_id)) for group_id in spec.groups},
            "offsets_still_for_seconds": wanted if short is None else int(short),
            "wanted_seconds": wanted,
        }
        return Check(not alive and short is None, evidence)

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        spec = ctx.task().spec
        measured = self.ask_owners_to(
            ctx,
            "start_consumers",
            Role.SOURCE,
            f"start {', '.join(sorted(had_members(ctx)))} on the source",
            lambda: all(is_running(groups_now(ctx, Role.SOURCE, spec.groups).get(name)) for name in had_members(ctx)),
        )
        return {"groups": "running on the source" if measured else "started, as the owners say"}


@step((CUTOVER, "copied_past_commits"))
class CopiedPastCommits(Step):
    """Everything a group has read must be on the target before its position there can be found."""

    poll_seconds = 1.0

    def check(self, ctx: StepContext) -> Check:
        spec = ctx.task().spec
        copied = ctx.copied()
        base = bases(ctx.services, spec)
        behind = {}
        for group_id, commits in ctx.committed(Role.SOURCE).items():
            for commit in commits:
                tp = TopicPartition(commit.topic, commit.partition)
                if tp not in base:
                    continue
                reached = copied[tp] + 1 if tp in copied else base[tp].upstream
                if reached < commit.offset and not self._only_markers(ctx, tp, reached, commit.offset):
                    behind[f"{group_id} {commit.topic}-{commit.partition}"] = commit.offset - reached
        return Check(not behind, {"behind": behind})

    @staticmethod
    def _only_markers(ctx: StepContext, tp: TopicPartition, start: int, end: int) -> bool:
        """Whether no data record lies between the copy and the commit (transaction markers, compaction)."""
        from kferry.kafka.records import read_stamps

        if end - start > 1000:
            return False
        return not read_stamps(ctx.services.clusters.config(Role.SOURCE), tp, start, end)
