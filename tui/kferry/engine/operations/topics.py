"""Making the target's topics, with their holds, and recording where the copy starts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from kferry.domain import holds
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ChangeStatus, Role, Topic, TopicPartition
from kferry.domain.runbook import OperationKind
from kferry.engine.context import Services, StepContext
from kferry.engine.steps import Check, Step, step
from kferry.kafka.admin import NewTopicSpec
from kferry.store.journal import now_ms
from kferry.store.tables import AnchorRow

HOLD_REASON = "held while copying: nothing may vanish from the target before the cutover"


def wanted_names(ctx: StepContext) -> tuple[str, ...]:
    """The topics the task has after this operation."""
    spec = ctx.task().spec
    removed = set(ctx.args.get("remove_topics") or ())
    return tuple(sorted((set(spec.topics) | set(ctx.args.get("add_topics") or ())) - removed))


def source_topics(services: Services, names: Iterable[str]) -> dict[str, Topic]:
    """The topics as they are on the source now. Raises KferryError for one that is not there."""
    found = services.clusters.admin(Role.SOURCE).topics(list(names))
    for name in names:
        topic = found.get(name)
        if topic is None or topic.error or not topic.partitions:
            raise KferryError(
                f"Topic {name} is not on the source{f': {topic.error}' if topic and topic.error else '.'}",
                cause="It was deleted or renamed since the plan was made.",
                next_step="Scan again and take it out of the batch.",
                kind=ErrorKind.USAGE,
            )
    return found


def target_defaults(services: Services) -> Mapping[str, str]:
    """Broker defaults of the target by topic key, as the last scan found them."""
    body = services.journal.document("scan", "target")
    configs: dict[str, str] = json.loads(body)["cluster"]["broker_configs"] if body else {}
    names = {"log.retention.ms": "retention.ms", "message.max.bytes": "max.message.bytes"}
    return {names.get(key, key): value for key, value in configs.items() if names.get(key, key) in holds.KAFKA_DEFAULTS}


def wanted_configs(services: Services, topic: Topic) -> tuple[dict[str, str], dict[str, str]]:
    """(final configs, holds) of a target topic."""
    held = (
        holds.holds(topic) if services.settings().settings.retention_hold else {"message.timestamp.type": "CreateTime"}
    )
    return holds.final_configs(topic, target_defaults(services)), held


@step((OperationKind.CREATE_TASK, "create_topics"), (OperationKind.UPDATE_TASK, "create_topics"))
class CreateTopics(Step):
    """Create what is missing, refuse what is there with other partitions, hold the configs."""

    def check(self, ctx: StepContext) -> Check:
        spec, names = ctx.task().spec, wanted_names(ctx)
        on_source = source_topics(ctx.services, names)
        on_target = ctx.target.topics([*names, spec.offset_syncs_topic])
        missing = [name for name in (*names, spec.offset_syncs_topic) if not _exists(on_target.get(name))]
        for name in names:
            there = on_target.get(name)
            if there is not None and _exists(there) and there.partition_count != on_source[name].partition_count:
                raise KferryError(
                    f"Topic {name} has {there.partition_count} partitions on the target "
                    f"and {on_source[name].partition_count} on the source.",
                    cause="Keys would land in other partitions after the switch.",
                    next_step="Delete the target topic, or add partitions where it has fewer; then retry.",
                    kind=ErrorKind.NOT_READY,
                )
        unheld = [] if missing else self._unheld(ctx, on_source)
        evidence = {"topics": len(names), "missing": missing, "holds_missing": unheld}
        return Check(not missing and not unheld, evidence)

    def _unheld(self, ctx: StepContext, on_source: Mapping[str, Topic]) -> list[str]:
        now = ctx.target.topic_configs(list(on_source))
        result = []
        for name, topic in on_source.items():
            for key, value in wanted_configs(ctx.services, topic)[1].items():
                current = now[name].get(key)
                if current is None or current.value != value:
                    result.append(f"{name} {key}")
        return result

    def act(self, ctx: StepContext) -> None:
        spec, names = ctx.task().spec, wanted_names(ctx)
        on_source = source_topics(ctx.services, names)
        on_target = ctx.target.topics([*names, spec.offset_syncs_topic])
        if not _exists(on_target.get(spec.offset_syncs_topic)):
            ctx.services.ledger.create_topic(
                Role.TARGET,
                NewTopicSpec(spec.offset_syncs_topic, 1, configs=holds.offset_syncs_configs()),
                reason="MirrorMaker's offset syncs, kept for exact offsets",
                operation_id=ctx.operation_id,
                droppable=False,
            )
        for name in names:
            ctx.raise_if_cancelled()
            final, held = wanted_configs(ctx.services, on_source[name])
            if not _exists(on_target.get(name)):
                ctx.services.ledger.create_topic(
                    Role.TARGET,
                    NewTopicSpec(name, on_source[name].partition_count, configs=final),
                    reason=f"target of batch {spec.batch}",
                    operation_id=ctx.operation_id,
                )
            ctx.services.ledger.set_topic_configs(
                Role.TARGET, name, held, reason=HOLD_REASON, operation_id=ctx.operation_id
            )

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        """Delete the empty topics that this operation made; those that got records stay and are named."""
        kept, deleted = [], []
        for row in ctx.journal.changes(status="applied"):
            if row.operation_id != ctx.operation_id or row.resource not in ("topic", "topic_config") or not row.undo:
                continue
            if row.resource == "topic_config" and not _exists(ctx.target.topics([row.name]).get(row.name)):
                ctx.services.ledger.settle(Role.TARGET, "topic_config", {row.name}, {row.key}, ChangeStatus.UNDONE)
                continue
            try:
                ctx.services.ledger.undo(row)
                deleted += [row.name] if row.resource == "topic" else []
            except KferryError as error:
                kept.append(f"{row.name}: {error.title}")
        return {"deleted": deleted, "kept": kept}


def _exists(topic: Topic | None) -> bool:
    return topic is not None and topic.error is None and bool(topic.partitions)


@step((OperationKind.CREATE_TASK, "anchor"), (OperationKind.UPDATE_TASK, "anchor"))
class Anchor(Step):
    """Journal, per partition, where the copy begins: the source's log start, the target's end. Once, before copying."""

    def _missing(self, ctx: StepContext) -> list[TopicPartition]:
        spec = ctx.task().spec
        known = {(row.topic, row.partition) for row in ctx.journal.anchors(spec.name, spec.incarnation)}
        names = wanted_names(ctx)
        topics = source_topics(ctx.services, names)
        return [
            TopicPartition(name, part.partition)
            for name in names
            for part in topics[name].partitions
            if (name, part.partition) not in known
        ]

    def check(self, ctx: StepContext) -> Check:
        missing = self._missing(ctx)
        return Check(not missing, {"partitions_without_anchor": len(missing)})

    def act(self, ctx: StepContext) -> None:
        spec, missing = ctx.task().spec, self._missing(ctx)
        starts = ctx.source.offsets(missing, "start")
        # new partitions of a topic that is copied already hold copies by now: those begin at the target's start
        copied = {row.topic for row in ctx.journal.anchors(spec.name, spec.incarnation)}
        ends = ctx.target.offsets([tp for tp in missing if tp.topic not in copied], "end")
        ends |= ctx.target.offsets([tp for tp in missing if tp.topic in copied], "start")
        rows = []
        for tp in missing:
            start, end = starts.get(tp), ends.get(tp)
            if start is None or end is None:
                raise KferryError(
                    f"The offsets of {tp.topic}-{tp.partition} are not known on the "
                    f"{'source' if start is None else 'target'}.",
                    cause="Its leader is not available.",
                    next_step="Look at the cluster, then retry.",
                    kind=ErrorKind.CONNECT,
                )
            rows.append(
                AnchorRow(
                    task=spec.name,
                    incarnation=spec.incarnation,
                    topic=tp.topic,
                    partition=tp.partition,
                    source_offset=start,
                    target_offset=end,
                    kind="base",
                    at_ms=now_ms(),
                )
            )
        with ctx.journal.transaction() as session:
            ctx.journal.add_anchors(rows, session)
            payload = {"partitions": len(rows), "incarnation": spec.incarnation}
            ctx.journal.append(
                session, "copy_anchored", subject=spec.name, operation_id=ctx.operation_id, payload=payload
            )
