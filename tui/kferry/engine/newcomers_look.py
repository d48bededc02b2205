"""Looking at the source for newcomers: names, partition counts, and what groups read, against plan and tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from kferry.domain.model import GroupState, Plan, Role, TaskSpec, TaskState
from kferry.domain.newcomers import Copying, Look, Newcomer, SeenGroup, find_newcomers
from kferry.domain.planning.rules import PlanningRules
from kferry.engine.positions import bases
from kferry.store.plan_file import load_plan
from kferry.store.rules_file import load_rules

if TYPE_CHECKING:
    from kferry.domain.model import Group
    from kferry.engine.context import Services

LOOK_WITHIN_SECONDS = 20.0


def known_plan(services: Services) -> Plan | None:
    """The plan as it stands; None where there is none. Raises KferryError where it can't be read."""
    return load_plan(services.layout) if services.layout.plan.exists() else None


def known_rules(services: Services) -> PlanningRules:
    """The operator's rules; empty where there are none. Raises KferryError where they can't be read."""
    return load_rules(services.layout)


def living_specs(services: Services) -> list[TaskSpec]:
    """The specs of all tasks that are there."""
    return [task.spec for task in services.tasks.all() if task.state is not TaskState.DELETED]


def copying_of(services: Services, spec: TaskSpec) -> Copying:
    """What a task copies, with the partition counts that its copy began with."""
    anchored = Counter(tp.topic for tp in bases(services, spec))
    return Copying(spec.name, spec.batch, frozenset(spec.topics), frozenset(spec.groups), dict(anchored))


def take_look(services: Services, plan: Plan | None, specs: Iterable[TaskSpec], *, every_group: bool = False) -> Look:
    """The source now. Groups that a batch without a task has are skipped, unless `every_group` is wanted.

    Raises KferryError where the source doesn't answer in time.
    """
    source = services.clusters.admin(Role.SOURCE)
    counts = source.partition_counts(timeout_seconds=LOOK_WITHIN_SECONDS)
    of_tasks = {name for spec in specs for name in spec.groups}
    planned = {name for batch in plan.batches for name in batch.groups} if plan else set()
    skipped = set() if every_group else planned - of_tasks
    wanted = [name for name in source.group_ids(timeout_seconds=LOOK_WITHIN_SECONDS) if name not in skipped]
    found = source.groups(wanted, with_committed=True, timeout_seconds=LOOK_WITHIN_SECONDS)
    return Look(counts, {name: _seen(group) for name, group in found.items()})


def _seen(group: Group) -> SeenGroup:
    known = group.state is not GroupState.UNKNOWN or bool(group.members)
    active = bool(group.members) or group.state not in (GroupState.EMPTY, GroupState.DEAD)
    return SeenGroup(group.topics, active if known else None, group.error)


def blocking(services: Services, spec: TaskSpec) -> tuple[list[Newcomer], Look]:
    """What holds up the cutover of this task's batch, measured now, and the look it rests on."""
    plan, specs = known_plan(services), living_specs(services)
    look = take_look(services, plan, specs, every_group=True)
    found = find_newcomers(look, plan, [copying_of(services, one) for one in specs], known_rules(services))
    return [item for item in found if item.batch == spec.batch and item.blocks], look
