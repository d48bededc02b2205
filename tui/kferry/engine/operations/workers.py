"""Changing the workers of a migration task: how many, on which machines, with which version and secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.heap import with_connector_tasks
from kferry.domain.model import TaskSpec
from kferry.domain.planning import connector_tasks_max
from kferry.domain.runbook import OperationKind
from kferry.engine import installation
from kferry.engine.context import Services, StepContext
from kferry.engine.operations.replicate import Workers, connectors_differ
from kferry.engine.operations.topics import source_topics
from kferry.engine.placement import place
from kferry.engine.steps import Check, Step, step

SCALE, RESTART = OperationKind.SCALE_TASK, OperationKind.RESTART_TASK
ROTATE, UPGRADE = OperationKind.ROTATE_TASK, OperationKind.UPGRADE_TASK


@step((SCALE, "assign"))
class Assign(Step):
    """Write into the spec which workers there are to be, and which are to leave."""

    def check(self, ctx: StepContext) -> Check:
        spec = ctx.task().spec
        evidence = {
            "workers": {worker.name: worker.host for worker in spec.workers},
            "leaving": [worker.name for worker in spec.leaving],
            "connector_tasks_max": spec.connector_tasks_max,
        }
        return Check(_as_asked(spec, ctx.args) and ctx.services.tasks.file_matches(spec), evidence)

    def act(self, ctx: StepContext) -> None:
        spec = ctx.task().spec
        if not _as_asked(spec, ctx.args):
            wanted = wanted_workers(ctx.services, spec, ctx.args)
            spec = ctx.services.tasks.change(
                spec.name,
                workers=wanted.workers,
                leaving=wanted.leaving,
                connector_tasks_max=wanted.connector_tasks_max,
            )
            with ctx.journal.transaction() as session:
                payload = {
                    "workers": {worker.name: worker.host for worker in spec.workers},
                    "leaving": [worker.name for worker in spec.leaving],
                    "connector_tasks_max": spec.connector_tasks_max,
                }
                ctx.journal.append(
                    session, "workers_assigned", subject=spec.name, operation_id=ctx.operation_id, payload=payload
                )
        ctx.services.tasks.write_file(spec)


def wanted_workers(services: Services, spec: TaskSpec, args: Mapping[str, Any]) -> TaskSpec:
    """The spec with the workers that are asked for. Those that leave are the newest, unless they are named."""
    named = set(args.get("remove") or ())
    count = int(args.get("workers") or len(spec.workers) - len(named))
    stay = [worker for worker in spec.workers if worker.name not in named]
    stay, surplus = stay[:count], stay[count:]
    partitions = sum(topic.partition_count for topic in source_topics(services, spec.topics).values())
    if len(stay) < count:
        gone = [worker for worker in spec.workers if worker.name in named]
        wished = replace(spec, connector_tasks_max=connector_tasks_max(max(1, partitions), count))
        stay += place(services, wished, count - len(stay), beside=(*stay, *gone, *spec.leaving), of=count)
    leaving = {worker.name: worker for worker in (*spec.leaving, *surplus)}
    leaving |= {worker.name: worker for worker in spec.workers if worker.name in named}
    return with_connector_tasks(replace(spec, workers=tuple(stay), leaving=tuple(leaving.values())), partitions)


def _as_asked(spec: TaskSpec, args: Mapping[str, Any]) -> bool:
    names = {worker.name for worker in spec.workers}
    count = args.get("workers")
    return not names & set(args.get("remove") or ()) and (count is None or len(names) == int(count))


@step((SCALE, "scale"))
class Scale(Step):
    """Run scale.yml: new workers start together and connector tasks change once; leaving workers go one by one."""

    acts_always = True  # a leaving worker that doesn't answer may only be starting again: the play ends it
    poll_seconds = 1.0

    def check(self, ctx: StepContext) -> Check:
        spec = ctx.task().spec
        alive = Workers.alive(ctx, spec)
        client = ctx.connect()
        left = [worker.name for worker in spec.leaving if client.alive(worker.rest_url)]
        differ = connectors_differ(ctx, spec) if all(alive.values()) else ["not asked: a worker does not answer"]
        evidence = {"workers": alive, "still_there": left, "differ": differ}
        return Check(all(alive.values()) and not left and not differ, evidence)

    def act(self, ctx: StepContext) -> None:
        spec = ctx.task().spec
        ctx.services.tasks.write_file(spec)
        ctx.services.plays.run("scale.yml", task=spec.name, operation_id=ctx.operation_id, step=ctx.step)


@step((SCALE, "forget"))
class Forget(Step):
    """What has left is no longer part of the task."""

    def check(self, ctx: StepContext) -> Check:
        spec = ctx.task().spec
        return Check(not spec.leaving and ctx.services.tasks.file_matches(spec))

    def act(self, ctx: StepContext) -> None:
        ctx.services.tasks.write_file(ctx.services.tasks.change(ctx.task().spec.name, leaving=()))


class _Rolling(Step):
    """A play that goes from worker to worker; repeated, it finds done what is done."""

    acts_always = True
    playbook: str

    def act(self, ctx: StepContext) -> None:
        spec = ctx.task().spec
        ctx.services.tasks.write_file(spec)
        ctx.services.plays.run(self.playbook, task=spec.name, operation_id=ctx.operation_id, step=ctx.step)

    def check(self, ctx: StepContext) -> Check:
        alive = Workers.alive(ctx, ctx.task().spec)
        return Check(all(alive.values()), {"workers": alive})


@step((RESTART, "restart"))
class Restart(_Rolling):
    playbook = "restart.yml"


@step((ROTATE, "rotate"))
class Rotate(_Rolling):
    playbook = "rotate.yml"

    def act(self, ctx: StepContext) -> None:
        ctx.services.clusters.renew()  # our own connections know the old secrets
        super().act(ctx)


@step((UPGRADE, "choose"))
class Choose(Step):
    """Decide once which distribution it will be, have it here whole, and write it into the task file."""

    def check(self, ctx: StepContext) -> Check:
        spec = ctx.task().spec
        change = _change(ctx, spec)
        decided = change.get("operation_id") == ctx.operation_id
        evidence = {"version": change.get("version"), "from": change.get("from")} if decided else {}
        return Check(decided and ctx.services.tasks.file_matches(spec), evidence)

    def act(self, ctx: StepContext) -> None:
        spec = ctx.task().spec
        if _change(ctx, spec).get("operation_id") != ctx.operation_id:
            before = installation.of_task(ctx.journal, spec.name)
            if ctx.args.get("rollback"):
                kept = ctx.journal.document("installation_before", spec.name)
                if kept is None:
                    raise KferryError(
                        f"The workers of {spec.name} were never upgraded: there is nothing to go back to.",
                        next_step="See `kferry task show`.",
                        kind=ErrorKind.USAGE,
                    )
                wanted = json.loads(kept)
            else:
                wanted = installation.make(ctx.services)
            change = {
                "operation_id": ctx.operation_id,
                "from": before["kafka"].get("version"),
                "version": wanted["kafka"]["version"],
            }
            with ctx.journal.transaction() as session:
                if before != wanted:
                    ctx.journal.put_document("installation_before", spec.name, json.dumps(before), session)
                ctx.journal.put_document("installation", spec.name, json.dumps(wanted), session)
                ctx.journal.put_document("installation_change", spec.name, json.dumps(change), session)
        ctx.services.tasks.write_file(spec)


@step((UPGRADE, "upgrade"))
class Upgrade(_Rolling):
    playbook = "upgrade.yml"

    def check(self, ctx: StepContext) -> Check:
        roots = {url: root.version if root else None for url, root in ctx.connect().root().items()}
        wanted = _change(ctx, ctx.task().spec).get("version")
        same = all(version is not None and version.startswith(str(wanted)) for version in roots.values())
        return Check(same, {"workers": roots, "wanted": wanted})


def _change(ctx: StepContext, spec: TaskSpec) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ctx.journal.document("installation_change", spec.name) or "{}")
    return found
