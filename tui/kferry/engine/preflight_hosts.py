"""Measuring what preflight asks of machines: this one now, remote ones as the fleet check found them."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from kferry.ansible.java import find_java
from kferry.domain.errors import KferryError
from kferry.domain.fleet import OS_RESERVE_BYTES
from kferry.domain.heap import LEAST_HEAP_BYTES, LEAST_RECORD_BYTES, heap_for, local_heap, wanted_each
from kferry.domain.model import Role, WorkerHost
from kferry.domain.preflight import CONTROLLER, PreflightFacts, Probe
from kferry.engine import fleet
from kferry.engine.context import Services
from kferry.store.hosts_file import HostEntry, load_hosts

_LINE_STATES = {"ok": True, "warn": True, "failed": False}
_JUDGED_BY_CHECKS = ("capabilities", "rights on the cluster", "version")


def controller_probes(role: Role, lines: Iterable[Sequence[Any]]) -> list[Probe]:
    """What a connection test from this machine saw on its way to a cluster and its brokers."""
    found = []
    for line in lines:
        what, state, words = str(line[0]), str(line[1]), str(line[2])
        if what not in _JUDGED_BY_CHECKS:
            seconds = line[3] if len(line) > 3 and isinstance(line[3], int | float) else None
            is_ok = _LINE_STATES.get(state)
            found.append(Probe(CONTROLLER, role, what, "", is_ok, words, seconds, is_warning=state == "warn"))
    return found


def worker_probes(services: Services) -> list[Probe]:
    """What each remote machine saw of each broker at the last check of the machines."""
    return [
        Probe(
            name,
            Role(probe["role"]),
            probe["server"],
            probe["step"],
            probe["ok"],
            probe["words"],
            probe["seconds"],
            bytes_per_second=probe.get("bytes_per_second"),
        )
        for name, host in fleet.judged(services).items()
        for probe in _last_steps(host.get("brokers") or ())
        if probe["role"] in tuple(Role)
    ]


def _last_steps(probes: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """One probe per broker: the last step that was reached."""
    return {(probe["role"], probe["server"]): probe for probe in probes}.values()


def clock_offsets_seconds(services: Services) -> dict[str, float | None]:
    """How far the clock of each remote machine was from this one's."""
    return {
        name: (host.get("facts") or {}).get("clock_offset_seconds") for name, host in fleet.judged(services).items()
    }


def hosts(services: Services, first_port: int, last_port: int) -> tuple[tuple[WorkerHost, ...] | None, str]:
    """The machines of the inventory; None with the reason where it cannot be read."""
    try:
        entries = load_hosts(services.layout)
    except KferryError as error:
        return None, str(error)
    return tuple(
        _local(services, entry.name, entry.address, first_port, last_port)
        if entry.is_local
        else _remote(services, entry)
        for entry in entries
    ), ""


def with_own_heap(facts: PreflightFacts) -> PreflightFacts:
    """The facts with the heap that the workers of the largest batch would get, where kferry.yml sets none."""
    tasks = max(
        (wanted_each(sum(t.partition_count for t in topics), facts.workers_per_task) for _, topics in facts.units),
        default=1,
    )
    room = [host.memory_bytes - OS_RESERVE_BYTES for host in facts.remote_hosts if host.usable and host.memory_bytes]
    if room:
        heap_bytes = heap_for(tasks, LEAST_RECORD_BYTES, min(room))
    elif facts.remote_hosts:
        heap_bytes = LEAST_HEAP_BYTES  # nothing is known of their memory
    else:
        heap_bytes = local_heap(tasks, psutil.virtual_memory().total)
    return replace(facts, settings=replace(facts.settings, heap_bytes=heap_bytes))


def _remote(services: Services, entry: HostEntry) -> WorkerHost:
    """A machine as `kferry fleet check` measured it; what it did not measure is unknown."""
    known = fleet.judged(services).get(entry.name) or {}
    facts = known.get("facts") or {}
    return WorkerHost(
        name=entry.name,
        address=entry.address,
        is_local=False,
        usable=known.get("usable"),
        reasons=tuple(known.get("reasons") or ()),
        memory_bytes=facts.get("memory_bytes"),
        free_disk_bytes=facts.get("free_disk_bytes"),
        java_version=facts.get("java_version") or None,
        busy_ports=tuple(facts.get("busy_ports") or ()),
    )


def _local(services: Services, name: str, address: str, first_port: int, last_port: int) -> WorkerHost:
    java = services.settings().settings.java_home
    try:
        version: str | None = find_java().version_text if not java else Path(java).name
    except KferryError:
        version = None
    own = {worker.rest_port for task in services.tasks.all() for worker in task.spec.workers}
    busy = tuple(
        port for port in range(first_port, last_port + 1) if first_port and port not in own and not _free(port)
    )
    return WorkerHost(
        name=name,
        address=address,
        is_local=True,
        memory_bytes=psutil.virtual_memory().available,
        free_disk_bytes=shutil.disk_usage(services.layout.root).free,
        java_version=version,
        busy_ports=busy,
    )


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
