"""Deleting a migration task: connectors, workers, and everything MirrorMaker and Connect left on the target."""

from __future__ import annotations

import json

from kferry.domain.model import BatchPhase, ChangeStatus, Desired, Role, TaskSpec, TaskState
from kferry.domain.runbook import OperationKind
from kferry.engine.context import StepContext
from kferry.engine.operations.replicate import Workers, connectors_differ, run_task_play
from kferry.engine.phases import batch_phase, set_phase
from kferry.engine.steps import Check, Step, step

DELETE = OperationKind.DELETE_TASK


def _nobody_answers(ctx: StepContext, spec: TaskSpec) -> bool:
    return not any(Workers.alive(ctx, spec).values())


class _Connectors(Step):
    desired: Desired

    def check(self, ctx: StepContext) -> Check:
        spec = ctx.task().spec
        if _nobody_answers(ctx, spec):
            return Check(True, {"note": "no worker answers, so no connector runs"})
        differ = connectors_differ(ctx, spec)
        return Check(spec.desired is self.desired and not differ, {"differ": differ})

    def act(self, ctx: StepContext) -> None:
        ctx.services.tasks.change(ctx.operation.subject, desired=self.desired)
        run_task_play(ctx)


@step((DELETE, "stop_connectors"))
class StopConnectors(_Connectors):
    desired = Desired.STOPPED


@step((DELETE, "snapshot_offsets"))
class SnapshotOffsets(Step):
    """Keep the last copied offsets: they are gone with Connect's topics."""

    acts_always = True

    def act(self, ctx: StepContext) -> None:
        spec = ctx.task().spec
        if _nobody_answers(ctx, spec):
            return
        copied = ctx.copied()
        body = [{"topic": tp.topic, "partition": tp.partition, "offset": value} for tp, value in sorted(copied.items())]
        if body or ctx.journal.document("final_offsets", spec.name) is None:
            ctx.journal.put_document("final_offsets", spec.name, json.dumps(body))

    def check(self, ctx: StepContext) -> Check:
        body = ctx.journal.document("final_offsets", ctx.task().spec.name)
        return Check(True, {"partitions": len(json.loads(body)) if body else "unknown: no worker answered"})


@step((DELETE, "delete_connectors"))
class DeleteConnectors(_Connectors):
    desired = Desired.ABSENT


@step((DELETE, "remove_workers"))
class RemoveWorkers(Step):
    """Run workers.yml with every worker absent."""

    acts_always = True

    def act(self, ctx: StepContext) -> None:
        spec = ctx.services.tasks.change(ctx.operation.subject, desired=Desired.ABSENT)
        ctx.services.tasks.write_file(spec, with_workers=False)
        ctx.services.plays.run("workers.yml", task=spec.name, operation_id=ctx.operation_id, step=ctx.step)

    def check(self, ctx: StepContext) -> Check:
        alive = Workers.alive(ctx, ctx.task().spec)
        return Check(not any(alive.values()), {"workers": alive})


@step((DELETE, "drop_topics"))
class DropTopics(Step):
    """Delete the internal topics of this task; `heartbeats` is shared and goes with the last task."""

    def _names(self, ctx: StepContext) -> list[str]:
        spec = ctx.task().spec
        others = [
            task.spec
            for task in ctx.services.tasks.all()
            if task.spec.name != spec.name and task.state not in (TaskState.DELETED, TaskState.DELETING)
        ]
        wanted = {*spec.connect_topics, spec.offset_syncs_topic, spec.checkpoints_topic}
        ours = ctx.journal.document("heartbeats_are_ours", "") is not None
        if not others and ours and "heartbeats" not in spec.topics:
            wanted.add("heartbeats")
        there = ctx.target.topic_names(include_internal=True)
        prefixed = f"{spec.source_alias}."
        # MirrorMaker makes an empty topic under the renamed name of each user topic that ends in `heartbeats`
        return sorted(name for name in there if name in wanted or name.startswith(prefixed))

    def check(self, ctx: StepContext) -> Check:
        left = self._names(ctx)
        return Check(not left, {"left": left})

    def act(self, ctx: StepContext) -> None:
        names = self._names(ctx)
        errors = {name: error for name, error in ctx.target.delete_topics(names).items() if error}
        with ctx.journal.transaction() as session:
            payload = {"deleted": [name for name in names if name not in errors], "errors": errors}
            ctx.journal.append(session, "internal_topics_deleted", operation_id=ctx.operation_id, payload=payload)
        ctx.services.ledger.settle(Role.TARGET, "topic", set(names), None, ChangeStatus.UNDONE)


@step((DELETE, "close"))
class Close(Step):
    """The task is deleted; the batch is finished if it was switched, and can be planned again if not."""

    def check(self, ctx: StepContext) -> Check:
        task = ctx.task()
        return Check(task.state is TaskState.DELETED and not ctx.layout.task(task.spec.name).exists())

    def act(self, ctx: StepContext) -> None:
        spec = ctx.task().spec
        phase = batch_phase(ctx.journal, spec.batch)
        if phase is BatchPhase.SWITCHED:
            ctx.services.ledger.settle(Role.TARGET, "topic", set(spec.topics), None, ChangeStatus.KEPT)
            set_phase(ctx.journal, spec.batch, BatchPhase.FINISHED, operation_id=ctx.operation_id)
        elif phase is not BatchPhase.FINISHED:
            set_phase(ctx.journal, spec.batch, BatchPhase.PLANNED, operation_id=ctx.operation_id)
        ctx.services.tasks.change(spec.name, desired=Desired.ABSENT)
        ctx.layout.task(spec.name).unlink(missing_ok=True)
        ctx.layout.rest_password(spec.name).unlink(missing_ok=True)
        ctx.services.tasks.set_state(spec.name, TaskState.DELETED, "deleted by the operator")
