"""The wishes about a batch and its migration task: what is refused before anything changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kferry.domain import lifecycle
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Batch, BatchPhase, TaskSpec, TaskState
from kferry.domain.runbook import OperationKind
from kferry.engine import gate, task_making
from kferry.engine.context import Services
from kferry.engine.phases import batch_phase
from kferry.engine.refusal import refuse
from kferry.engine.scope import stopping_findings
from kferry.store import plan_file

if TYPE_CHECKING:
    from kferry.engine.tasks import Task


def batch_of(services: Services, name: str) -> Batch:
    """A batch of plan.yml. Raises KferryError where there is no plan, or no such batch in it."""
    if not services.layout.plan.exists():
        raise refuse("There is no plan yet.", "Run `kferry plan`.")
    plan = plan_file.load_plan(services.layout)
    batch = plan.batch(name)
    if batch is None:
        known = ", ".join(item.name for item in plan.batches)
        raise KferryError(
            f"There is no batch {name!r} in plan.yml.", next_step=f"Batches: {known}.", kind=ErrorKind.USAGE
        )
    return batch


def check_create(services: Services, args: Mapping[str, Any]) -> Batch:
    """The batch that a task is wanted for; raises where it has one, or where findings stop it."""
    batch = batch_of(services, str(args.get("batch", "")))
    existing = services.tasks.get(batch.name)
    if existing is not None and existing.state is not TaskState.DELETED:
        raise refuse(f"Batch {batch.name} has a migration task already, in state {existing.state.value}.")
    task_making.check_workers(services, args.get("workers"))
    stopping = stopping_findings(services, batch)
    if stopping is None:
        raise refuse("Preflight has not run yet.", "Run `kferry preflight`.")
    gate.refuse_unjudged(services, batch)
    if stopping:
        names = "; ".join(f"{item['title']} [{item['check']}:{item['subject']}]" for item in stopping[:5])
        raise refuse(
            f"{len(stopping)} findings stop batch {batch.name}: {names}",
            "Mend them and run preflight again, or waive warnings with a reason (`kferry preflight waive`).",
        )
    return batch


def check_update(services: Services, spec: TaskSpec, args: Mapping[str, Any]) -> None:
    """Unknown topics and groups are refused before anything changes."""
    scan = json.loads(services.journal.document("scan", "source") or '{"topics": [], "groups": []}')
    topics = {item["name"] for item in scan["topics"]} | set(spec.topics)
    groups = {item["group_id"] for item in scan["groups"]} | set(spec.groups)
    appeared = json.loads(services.journal.document("newcomers", spec.name) or "{}").get("items", ())
    topics |= {item["name"] for item in appeared if item["kind"] == "topic"}
    groups |= {item["name"] for item in appeared if item["kind"] == "group"}
    unknown = [name for name in args.get("add_topics", ()) if name not in topics]
    unknown += [name for name in args.get("add_groups", ()) if name not in groups]
    unknown += [name for name in args.get("remove_topics", ()) if name not in spec.topics]
    unknown += [name for name in args.get("remove_groups", ()) if name not in spec.groups]
    if unknown:
        raise KferryError(
            f"Unknown: {', '.join(repr(name) for name in unknown)}.",
            cause="They are not in the last scan nor among the newcomers, or not in this task.",
            next_step="Scan again if they are new; check the spelling.",
            kind=ErrorKind.USAGE,
        )
    taken = {
        name: other.spec.name
        for other in services.tasks.all()
        if other.spec.name != spec.name and other.state is not TaskState.DELETED
        for name in other.spec.topics
    }
    twice = [f"{name} (in task {taken[name]})" for name in args.get("add_topics", ()) if name in taken]
    if twice:
        raise refuse(f"Already copied by another migration task: {', '.join(twice)}.", "Remove it there first.")


def check_cutover(services: Services, args: Mapping[str, Any]) -> tuple[Batch, Task]:
    """The batch to be switched and its task; raises where it is not at that point."""
    batch = batch_of(services, str(args.get("batch", "")))
    task = services.tasks.get(batch.name)
    if task is None or task.state is TaskState.DELETED:
        raise refuse(f"Batch {batch.name} has no migration task.", f"Run `kferry task create {batch.name}`.")
    phase = batch_phase(services.journal, batch.name)
    if phase not in (BatchPhase.REPLICATING, BatchPhase.ROLLED_BACK, BatchPhase.SWITCHING):
        raise refuse(f"Batch {batch.name} is {phase.value}; only one that replicates can be switched.")
    reason = lifecycle.refusal(task.state, OperationKind.CUTOVER)
    if reason:
        raise refuse(f"Migration task {batch.name}: {reason} ({task.state_reason})")
    return batch, task
