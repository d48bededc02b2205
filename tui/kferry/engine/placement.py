"""Choosing machines and ports for workers, from what was measured on the machines."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

import psutil

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.fleet import Placed, assign
from kferry.domain.heap import assign_largest, local_heap, tasks_each
from kferry.domain.model import Role, TaskSpec, TaskState, WorkerSpec
from kferry.domain.security import shared_machine_roles, uses_iam
from kferry.engine import fleet
from kferry.store.hosts_file import HostEntry, load_hosts

if TYPE_CHECKING:
    from kferry.engine.context import Services

# ports of one machine that kferry looks through for REST and metrics
PORTS_LOOKED_AT = 100


def fleet_is_remote(services: Services) -> bool:
    """Whether the machines are reached over SSH. Raises KferryError where there is none, or both kinds are mixed."""
    hosts = load_hosts(services.layout)
    if not hosts:
        raise KferryError(
            "There is no machine for workers.",
            cause=f"Group kferry_workers of {services.layout.inventory}/hosts.yml is empty.",
            next_step="List at least one host there.",
            kind=ErrorKind.USAGE,
        )
    if len({host.is_local for host in hosts}) > 1:
        raise KferryError(
            "inventory/hosts.yml mixes this machine with machines reached over SSH.",
            cause="Their workers could not reach each other: this machine's listen on loopback.",
            next_step="Keep either the local host or the remote ones in kferry_workers.",
            kind=ErrorKind.USAGE,
        )
    return not hosts[0].is_local


def place(
    services: Services, spec: TaskSpec, count: int, *, beside: Iterable[WorkerSpec] = (), of: int | None = None
) -> list[WorkerSpec]:
    """Machines, heap, names and ports for `count` more workers of a task, which has `of` then (else these alone).

    Raises KferryError where there is no room.
    """
    hosts = {host.name: host for host in load_hosts(services.layout)}
    if fleet_is_remote(services) is not spec.is_remote:
        raise KferryError(
            f"The machines of inventory/hosts.yml are of another kind than those of migration task {spec.name}.",
            cause="A task's workers are all on this machine, or all on machines reached over SSH.",
            next_step="Put the former machines back into hosts.yml, or delete the task and create it anew.",
            kind=ErrorKind.USAGE,
        )
    own = list(beside)
    everywhere = [*own, *(worker for _, worker in _workers_of_others(services, spec.name))]
    tasks = tasks_each(spec.connector_tasks_max, count if of is None else of)
    machines, heap_bytes = _machines(services, spec, count, own, hosts, tasks)
    taken = {(worker.host, port) for worker in everywhere for port in (worker.rest_port, worker.metrics_port)}
    numbers = {int(worker.name.rpartition("-")[2]) for worker in own}
    workers: list[WorkerSpec] = []
    for name in machines:
        host = hosts[name]
        number = next(n for n in range(1, len(numbers) + 2) if n not in numbers)
        numbers.add(number)
        rest_port = _port(services, host, taken)
        taken.add((name, rest_port))
        metrics_port = _port(services, host, taken) if spec.is_remote and services.settings().settings.metrics else 0
        taken.add((name, metrics_port))
        workers.append(
            WorkerSpec(f"{spec.name}-{number}", name, host.private_address, rest_port, heap_bytes, metrics_port)
        )
    return workers


def _machines(
    services: Services, spec: TaskSpec, count: int, own: list[WorkerSpec], hosts: dict[str, HostEntry], tasks: int
) -> tuple[list[str], int]:
    """A machine for each worker, and the heap that one with so many connector tasks gets there."""
    fixed = services.settings().settings.heap_bytes
    if not spec.is_remote:
        # this machine's room is preflight's business; several workers share it
        names = list(hosts)
        heap_bytes = fixed or local_heap(tasks, psutil.virtual_memory().total)
        return [names[(len(own) + index) % len(names)] for index in range(count)], heap_bytes
    placed = [Placed(worker.host, spec.name, worker.heap_bytes) for worker in own]
    placed += [
        Placed(worker.host, other, worker.heap_bytes) for other, worker in _workers_of_others(services, spec.name)
    ]
    zones = {name: host.zone for name, host in hosts.items()}
    shared = _shared_roles(services, spec.name, placed)
    free = [name for name in hosts if name not in shared]
    candidates = fleet.candidates(services, free)
    if fixed is None:
        found, heap_bytes = assign_largest(candidates, count, placed, zones, spec=spec, tasks=tasks)
    else:
        found, heap_bytes = assign(candidates, count, fixed, placed, zones, task=spec.name), fixed
    if found.missing:
        words = [f"{name}: its cloud role serves {', '.join(tasks)} already." for name, tasks in shared.items()]
        raise KferryError(
            f"There is no machine for {found.missing} of {count} workers of {spec.name}.",
            cause=" ".join([*found.why_not, *words]),
            next_step="Check the machines (`kferry fleet check`), add some to inventory/hosts.yml, or ask for less.",
            kind=ErrorKind.NOT_READY,
        )
    return found.hosts, heap_bytes


def _shared_roles(services: Services, task: str, placed: list[Placed]) -> dict[str, tuple[str, ...]]:
    """Machines whose own cloud role would serve this task beside others: it belongs to one task alone."""
    others: dict[str, set[str]] = {}
    for worker in placed:
        if worker.task != task:
            others.setdefault(worker.host, set()).add(worker.task)
    clusters = [services.clusters.config(role) for role in Role]
    if not uses_iam(clusters):
        return {}
    both = {host: {task, *names} for host, names in others.items()}
    return {host: tuple(sorted(others[host])) for host in shared_machine_roles(clusters, both)}


def _workers_of_others(services: Services, task: str) -> list[tuple[str, WorkerSpec]]:
    return [
        (other.spec.name, worker)
        for other in services.tasks.all()
        if other.spec.name != task and other.state is not TaskState.DELETED
        for worker in (*other.spec.workers, *other.spec.leaving)
    ]


def _port(services: Services, host: HostEntry, taken: set[tuple[str, int]]) -> int:
    """A free port of a machine: one that nothing of ours has and nothing listened on when it was measured."""
    settings = services.settings().settings
    if host.is_local:
        on_this = {port for _, port in taken}
        return free_port("127.0.0.1", settings.rest_port_first, settings.rest_port_last, on_this)
    first = settings.rest_port_first or settings.remote_port_first
    last = settings.rest_port_last or first + PORTS_LOOKED_AT - 1
    busy = fleet.busy_ports(services, host.name)
    for port in range(first, last + 1):
        if (host.name, port) not in taken and port not in busy:
            return port
    raise _no_port(host.name, first, last)


def free_port(host: str, first: int, last: int, taken: set[int]) -> int:
    """A port of this machine on which nothing listens: the first of the range, or any where the range is 0-0."""
    candidates = range(first, last + 1) if first else [0] * 50
    for wanted in candidates:
        with socket.socket() as probe:
            try:
                probe.bind((host, wanted))
            except OSError:
                continue
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port
    raise _no_port(host, first, last)


def _no_port(host: str, first: int, last: int) -> KferryError:
    return KferryError(
        f"No free port for a worker on {host} in {first}-{last}.",
        cause="Every port of the range is taken.",
        next_step="Set rest_port_first and rest_port_last in kferry.yml.",
        kind=ErrorKind.USAGE,
    )
