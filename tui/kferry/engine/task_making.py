"""What a new migration task is to be: its topics and groups, and as many workers as are wanted where there is room."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.heap import LEAST_RECORD_BYTES, with_connector_tasks
from kferry.domain.model import Batch, TaskSpec
from kferry.domain.planning import connector_tasks_max
from kferry.engine.operations.topics import source_topics
from kferry.engine.placement import fleet_is_remote, place
from kferry.store.hosts_file import load_hosts

if TYPE_CHECKING:
    from kferry.engine.context import Services


def check_workers(services: Services, asked: object) -> None:
    """Refuse a number of workers that a new task can't have. None: nobody asked for a number."""
    if asked is None:
        return
    machines = len(load_hosts(services.layout))
    allowed = services.settings().settings.max_workers_per_task
    most = max(allowed, machines)
    if not isinstance(asked, int) or isinstance(asked, bool) or not 1 <= asked <= most:
        raise KferryError(
            f"A migration task cannot begin with {asked!r} workers.",
            cause=f"inventory/hosts.yml has {machines} machines, and max_workers_per_task in kferry.yml is {allowed}.",
            next_step=f"Ask for 1 to {most}, add machines, or raise max_workers_per_task.",
            kind=ErrorKind.USAGE,
        )


def new_spec(services: Services, batch: Batch, asked: int | None = None) -> TaskSpec:
    """The task of a batch: with the workers asked for, else one a machine up to max_workers_per_task.

    Nothing is changed. Raises KferryError where there is no room for the workers.
    """
    before = services.tasks.get(batch.name)
    settings = services.settings()
    found = source_topics(services, batch.topics)
    partitions = sum(topic.partition_count for topic in found.values())
    count = asked or max(1, min(settings.settings.max_workers_per_task, len(load_hosts(services.layout))))
    largest = max((int(topic.effective.get("max.message.bytes") or 0) for topic in found.values()), default=0)
    empty = TaskSpec(
        name=batch.name,
        migration_id=settings.migration_id,
        batch=batch.name,
        incarnation=before.spec.incarnation + 1 if before else 1,
        topics=tuple(sorted(batch.topics)),
        groups=tuple(sorted(batch.groups)),
        workers=(),
        connector_tasks_max=connector_tasks_max(partitions, count),
        max_record_bytes=max(largest, LEAST_RECORD_BYTES),
        is_remote=fleet_is_remote(services),
    )
    return with_connector_tasks(replace(empty, workers=tuple(place(services, empty, count))), partitions)
