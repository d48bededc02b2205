"""Wishes about machines and workers: what is refused before anything changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Role, TaskSpec
from kferry.domain.runbook import OperationKind
from kferry.engine.context import Services
from kferry.engine.operations.machines import in_use, known_host, tasks_on

KINDS = frozenset({"diagnose", "teardown_host", "apply_acls"})


def checked(services: Services, args: Mapping[str, Any], *, kind: str) -> tuple[OperationKind, str]:
    """The operation and subject that a wish becomes. Raises KferryError where it can't be granted."""
    if kind == "diagnose":
        task = str(args.get("task") or "")
        if task and services.tasks.get(task) is None:
            raise KferryError(
                f"There is no migration task {task!r}.", next_step="See `kferry task list`.", kind=ErrorKind.USAGE
            )
        return OperationKind.DIAGNOSE, task
    if kind == "teardown_host":
        name = known_host(services, str(args.get("host", ""))).name
        used_by = tasks_on(services, name)
        if used_by:
            raise in_use(name, used_by)
        return OperationKind.TEARDOWN_HOST, name
    cluster = str(args.get("cluster", ""))
    if cluster not in (role.value for role in Role):
        raise KferryError(f"{cluster!r} is neither source nor target.", kind=ErrorKind.USAGE)
    return OperationKind.APPLY_ACLS, cluster


def check_scale(services: Services, spec: TaskSpec, args: Mapping[str, Any]) -> None:
    """Refuse a number of workers that can't be, and names of workers that there are not."""
    named = [str(name) for name in args.get("remove") or ()]
    unknown = [name for name in named if name not in {worker.name for worker in spec.workers}]
    if unknown:
        raise KferryError(
            f"Migration task {spec.name} has no worker {', '.join(unknown)}.",
            next_step=f"Its workers: {', '.join(worker.name for worker in spec.workers)}.",
            kind=ErrorKind.USAGE,
        )
    count = args.get("workers", len(spec.workers) - len(named) if named else None)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 100:
        raise KferryError(
            f"{count!r} is not a number of workers.",
            cause="A migration task needs at least one worker; to stop the copy, pause it.",
            next_step="Give a number from 1 to 100, or name workers to remove that leave at least one.",
            kind=ErrorKind.USAGE,
        )
    if count == len(spec.workers) and not named:
        raise KferryError(
            f"Migration task {spec.name} has {count} workers already.",
            next_step="Nothing is to be done.",
            kind=ErrorKind.NOT_READY,
        )
