"""Creating, changing, pausing and resuming a migration task: its spec, its workers, its connectors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kferry.domain import connectors
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.heap import with_connector_tasks
from kferry.domain.model import BatchPhase, Desired, TaskSpec, TaskState
from kferry.domain.runbook import OperationKind
from kferry.engine import installation, task_making
from kferry.engine.context import StepContext
from kferry.engine.operations.topics import source_topics, wanted_names
from kferry.engine.phases import set_phase
from kferry.engine.steps import Check, Step, step
from kferry.store import plan_file

CREATE, UPDATE = OperationKind.CREATE_TASK, OperationKind.UPDATE_TASK
PAUSE, RESUME = OperationKind.PAUSE_TASK, OperationKind.RESUME_TASK


@step((CREATE, "reserve"))
class Reserve(Step):
    """Give the task its incarnation, workers and ports, make the distribution ready, write the task file."""

    def check(self, ctx: StepContext) -> Check:
        task = ctx.services.tasks.get(ctx.operation.subject)
        mine = task is not None and task.state is TaskState.CREATING
        ready = mine and task is not None and ctx.services.tasks.file_matches(task.spec)
        known = ctx.journal.document("installation", "")
        installed = known is not None and Path(json.loads(known)["kafka"]["archive"]).exists()
        evidence = {"workers": [worker.name for worker in task.spec.workers] if mine and task else []}
        return Check(bool(ready) and installed, evidence)

    def act(self, ctx: StepContext) -> None:
        name = ctx.operation.subject
        made = json.dumps(installation.make(ctx.services))
        for subject in ("", name):  # an earlier task of this name may have been upgraded to another version
            ctx.journal.put_document("installation", subject, made)
        existing = ctx.services.tasks.get(name)
        if existing is None or existing.state is not TaskState.CREATING:
            batch = plan_file.load_plan(ctx.layout).batch(name)
            if batch is None:
                raise KferryError(f"Batch {name} is no longer in plan.yml.", kind=ErrorKind.USAGE)
            spec = task_making.new_spec(ctx.services, batch, ctx.args.get("workers"))
            self._refuse_leftovers(ctx, spec)
            if "heartbeats" not in ctx.target.topic_names(include_internal=True):
                # only a `heartbeats` topic that our own connectors made is deleted with the last task
                ctx.journal.put_document("heartbeats_are_ours", "", "true")
            with ctx.journal.transaction() as session:
                ctx.services.tasks.put(spec, TaskState.CREATING, "being created", session)
                payload = {"incarnation": spec.incarnation, "topics": list(spec.topics), "groups": list(spec.groups)}
                ctx.journal.append(
                    session, "task_reserved", subject=name, operation_id=ctx.operation_id, payload=payload
                )
        task = ctx.services.tasks.get(name)
        if task is not None:
            ctx.services.tasks.write_file(task.spec)

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        """Close the task: nothing of it is left, and the batch can get a new one."""
        task = ctx.services.tasks.get(ctx.operation.subject)
        if task is None or task.state is TaskState.DELETED:
            return {"task": "closed"}
        spec = ctx.services.tasks.change(task.spec.name, desired=Desired.ABSENT)
        there = set(ctx.target.topic_names(include_internal=True))
        left = [
            name for name in (*spec.connect_topics, spec.offset_syncs_topic, spec.checkpoints_topic) if name in there
        ]
        errors = {name: error for name, error in ctx.target.delete_topics(left).items() if error} if left else {}
        ctx.layout.task(spec.name).unlink(missing_ok=True)
        ctx.services.tasks.set_state(spec.name, TaskState.DELETED, "its creation was aborted")
        return {"task": "closed", "topics_left": sorted(errors)}

    @staticmethod
    def _refuse_leftovers(ctx: StepContext, spec: TaskSpec) -> None:
        """What carries this task's names already was made by a journal that is gone: never create it twice."""
        there = [name for name in ctx.target.topic_names(include_internal=True) if spec.prefix in name]
        if there:
            raise KferryError(
                f"The target holds {there[0]} already ({len(there)} topics with this task's prefix).",
                cause="This migration task was created before, and the journal that knew of it is gone.",
                next_step="Put the journal back (.kferry/backups), or stop those workers and delete these topics.",
                kind=ErrorKind.DRIFT,
            )


class Workers:
    """Asking the workers themselves."""

    @staticmethod
    def alive(ctx: StepContext, spec: TaskSpec) -> dict[str, bool]:
        client = ctx.connect()
        return {worker.name: client.alive(worker.rest_url) for worker in spec.workers}


@step((CREATE, "install_workers"))
class InstallWorkers(Step):
    """Run workers.yml. The play itself looks at what is there: a second run changes nothing."""

    acts_always = True

    def act(self, ctx: StepContext) -> None:
        spec = ctx.task().spec
        ctx.services.tasks.write_file(spec)
        ctx.services.plays.run("workers.yml", task=spec.name, operation_id=ctx.operation_id, step=ctx.step)

    def check(self, ctx: StepContext) -> Check:
        alive = Workers.alive(ctx, ctx.task().spec)
        return Check(all(alive.values()), {"workers": alive})

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        spec = ctx.task().spec
        ctx.services.tasks.write_file(spec, with_workers=False)
        ctx.services.plays.run("workers.yml", task=spec.name, operation_id=ctx.operation_id, step=f"{ctx.step}_undo")
        return {"workers": "removed"}


def connectors_differ(ctx: StepContext, spec: TaskSpec) -> list[str]:
    """What of the connectors is not as the spec says: states (when stopped, connector tasks gone too), configs."""
    client = ctx.connect()
    content = ctx.services.tasks.content(spec)
    differ = []
    for wanted in content["connectors"]:
        name, state = wanted["name"], wanted["state"]
        status = client.status(name)
        if status is None:
            if state != "absent":
                differ.append(f"{name}: missing")
            continue
        if state == "absent":
            differ.append(f"{name}: still there")
        elif status.state.lower() != state:
            differ.append(f"{name}: {status.state}, wanted {state}")
        elif state == "stopped" and status.tasks:
            differ.append(f"{name}: {len(status.tasks)} connector tasks are still there")
        elif {k: v for k, v in (client.config(name) or {}).items() if k != "name"} != wanted["config"]:
            differ.append(f"{name}: config differs")
    return differ


def run_task_play(ctx: StepContext, *, undo: bool = False) -> None:
    """Write the task file and run task.yml. An undo has a run of its own, and must be true afterwards."""
    spec = ctx.task().spec
    ctx.services.tasks.write_file(spec)
    step = f"{ctx.step}_undo" if undo else ctx.step
    ctx.services.plays.run("task.yml", task=spec.name, operation_id=ctx.operation_id, step=step)
    differ = connectors_differ(ctx, spec) if undo else []
    if differ:
        raise KferryError(
            f"The connectors of {spec.name} are not as they were: {'; '.join(differ)}.",
            next_step="See the play's log, then retry.",
            log=str(ctx.layout.runs),
        )


@step((CREATE, "create_connectors"), (UPDATE, "apply"), (PAUSE, "apply"), (RESUME, "apply"))
class ApplyConnectors(Step):
    """Run task.yml until Connect says what the task file says."""

    def check(self, ctx: StepContext) -> Check:
        differ = connectors_differ(ctx, ctx.task().spec)
        return Check(not differ, {"differ": differ})

    def act(self, ctx: StepContext) -> None:
        run_task_play(ctx)

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        ctx.services.tasks.change(ctx.operation.subject, desired=Desired.ABSENT)
        run_task_play(ctx, undo=True)
        return {"connectors": "deleted"}


@step((UPDATE, "write_task"), (PAUSE, "write_task"), (RESUME, "write_task"))
class WriteTask(Step):
    """Change the spec as asked, and its file."""

    def _wanted(self, ctx: StepContext) -> TaskSpec:
        spec = ctx.task().spec
        if ctx.operation.kind is PAUSE:
            return replace(spec, desired=Desired.STOPPED)
        if ctx.operation.kind is RESUME:
            return replace(spec, desired=Desired.RUNNING)
        topics = wanted_names(ctx)
        groups = (set(spec.groups) | set(ctx.args.get("add_groups") or ())) - set(ctx.args.get("remove_groups") or ())
        found = source_topics(ctx.services, topics)
        partitions = sum(topic.partition_count for topic in found.values())
        largest = max((int(topic.effective.get("max.message.bytes") or 0) for topic in found.values()), default=0)
        wanted = replace(
            spec,
            topics=topics,
            groups=tuple(sorted(groups)),
            max_record_bytes=max(largest, spec.max_record_bytes),
        )
        return with_connector_tasks(wanted, partitions)

    def check(self, ctx: StepContext) -> Check:
        wanted = self._wanted(ctx)
        return Check(
            ctx.task().spec == wanted and ctx.services.tasks.file_matches(wanted), {"desired": wanted.desired.value}
        )

    def act(self, ctx: StepContext) -> None:
        wanted = self._wanted(ctx)
        ctx.services.tasks.change(
            wanted.name,
            desired=wanted.desired,
            topics=wanted.topics,
            groups=wanted.groups,
            connector_tasks_max=wanted.connector_tasks_max,
            max_record_bytes=wanted.max_record_bytes,
        )
        with ctx.journal.transaction() as session:
            payload = {"desired": wanted.desired.value, "topics": list(wanted.topics), "groups": list(wanted.groups)}
            ctx.journal.append(
                session, "task_changed", subject=wanted.name, operation_id=ctx.operation_id, payload=payload
            )
        ctx.services.tasks.write_file(wanted)


@step(
    (CREATE, "moving"),
    (UPDATE, "moving"),
    (RESUME, "moving"),
    (OperationKind.SCALE_TASK, "moving"),
    (OperationKind.RESTART_TASK, "moving"),
    (OperationKind.ROTATE_TASK, "moving"),
    (OperationKind.UPGRADE_TASK, "moving"),
)
class Moving(Step):
    """See data move: connectors run, and something was copied of all that there is to copy."""

    def check(self, ctx: StepContext) -> Check:
        from kferry.domain.model import TopicPartition

        spec, client = ctx.task().spec, ctx.connect()
        wanted = connectors.connector_states(spec)
        for name, state in wanted.items():
            status = client.status(name)
            if status is None or status.state.lower() != state:
                return Check(False, {"connector": name, "state": status.state if status else "missing"})
            failed = [task for task in status.tasks if task.state == "FAILED"]
            if failed:
                why = (failed[0].trace or "no trace").splitlines()[0]
                raise KferryError(
                    f"Connector {name}: connector task {failed[0].id} failed: {why}",
                    next_step="Mend the cause, then retry.",
                    log=str(ctx.layout.workers),
                )
            idle = [task.id for task in status.tasks if task.state not in ("RUNNING", "PAUSED")]
            # without groups that have committed MirrorCheckpoint has no connector task, and that is right
            none_yet = state == "running" and name == spec.source_connector and spec.topics and not status.tasks
            if idle or none_yet:
                return Check(False, {"connector": name, "connector_tasks_not_running": idle or "none yet"})
        anchors = ctx.journal.anchors(spec.name, spec.incarnation)
        tps = [TopicPartition(row.topic, row.partition) for row in anchors if row.topic in spec.topics]
        ends, starts = ctx.source.offsets(tps, "stable"), ctx.source.offsets(tps, "start")
        with_data = [tp for tp in tps if (ends.get(tp) or 0) > (starts.get(tp) or 0)]
        copied = ctx.copied()
        begun = sum(1 for tp in with_data if tp in copied)
        evidence = {"partitions_with_data": len(with_data), "partitions_begun": begun}
        holds = not with_data or begun > 0
        if holds and ctx.operation.kind is CREATE:
            set_phase(ctx.journal, spec.batch, BatchPhase.REPLICATING, task=spec.name, operation_id=ctx.operation_id)
        return Check(holds, evidence)


def status_data(status: Any) -> dict[str, Any]:
    """A connector's status as the document `observation` has it."""
    return {
        "name": status.name,
        "state": status.state,
        "worker": status.worker,
        "trace": status.trace,
        "tasks": [asdict(task) for task in status.tasks],
    }
