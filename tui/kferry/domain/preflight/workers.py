"""Checks of the machines that carry the workers: memory, disk, ports, Java."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kferry.domain.heap import (
    LEAST_RECORD_BYTES,
    USEFUL_BUFFER_BYTES,
    buffers,
    heap_for,
    most_tasks,
    wanted_each,
)
from kferry.domain.model import Role, WorkerHost
from kferry.domain.preflight.facts import PreflightFacts
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import Result, block, counted, info, listed, megabytes, unknown, warn, whole

_BESIDES_HEAP_BYTES = 268_435_456  # metaspace, threads and direct buffers of one worker
_DISK_NEEDED_BYTES = 536_870_912  # distribution, Java and a day of logs
_DISK_WANTED_BYTES = 1_073_741_824
_OLDEST_JAVA = 17
SESSION_TIMEOUT_MS = 6000  # of a worker, as domain/connectors.py sets it


@check(
    "worker-hosts",
    Family.WORKERS,
    "block unknown",
    why="Without a machine there is no worker, and without a worker no copy.",
    fix="Name machines in inventory/hosts.yml.",
)
def hosts(facts: PreflightFacts) -> Iterator[Result]:
    """There is at least one machine for workers."""
    if facts.hosts is None:
        yield unknown(
            "inventory",
            "The machines for workers are not known",
            facts.hosts_error or "They were not measured.",
            "Set inventory/hosts.yml right and run preflight again.",
        )
    elif not facts.hosts:
        yield block(
            "inventory",
            "There is no machine for workers",
            "The group kferry_workers of inventory/hosts.yml has no host.",
            "Add one; a host with ansible_connection: local is this machine.",
        )


@check(
    "worker-usable",
    Family.WORKERS,
    "block unknown info",
    why="A worker on a machine that cannot carry it fails after the operator has left.",
    fix="Mend what is named, or add a machine; then run `kferry fleet check`.",
)
def usable(facts: PreflightFacts) -> Iterator[Result]:
    """Remote machines can carry a worker; those that can't are named and left out while another can."""
    remote = [host for host in facts.hosts or () if not host.is_local]
    spare = any(host.usable for host in remote)
    for host in remote:
        words = " ".join(host.reasons) or "It was not checked."
        if host.usable:
            continue
        if spare:
            yield info(host.name, f"{host.name} is left out", words)
        elif host.usable is None:
            yield unknown(
                host.name,
                f"It is not known whether {host.name} can carry a worker",
                words,
                "Run `kferry fleet check`, mend what it names, then run preflight again.",
            )
        else:
            yield block(
                host.name,
                f"{host.name} can't carry a worker, and no other machine can",
                words,
                "Mend it or add a machine to inventory/hosts.yml, run `kferry fleet check`, then preflight again.",
            )


def _counted(facts: PreflightFacts) -> Iterator[WorkerHost]:
    """The machines whose room counts: a remote one that was judged speaks through `worker-usable`."""
    return (host for host in facts.hosts or () if host.is_local)


@check(
    "worker-memory",
    Family.WORKERS,
    "block unknown",
    why="A worker without memory is killed by the system in the middle of the copy.",
    fix="Use a larger machine or a smaller heap_bytes.",
)
def memory(facts: PreflightFacts) -> Iterator[Result]:
    """Every machine has the memory for a worker."""
    needed = facts.settings.heap_bytes + _BESIDES_HEAP_BYTES
    for host in _counted(facts):
        if host.memory_bytes is None:
            yield _unmeasured(host.name, "memory")
        elif host.memory_bytes < needed:
            yield block(
                host.name,
                f"{host.name} has too little memory for a worker",
                f"{megabytes(host.memory_bytes)} of memory; a worker needs {megabytes(needed)}.",
                "Use a larger machine, or set a smaller heap_bytes in kferry.yml.",
            )


@check(
    "worker-heap",
    Family.WORKERS,
    "warn",
    why="The connector tasks of a worker share its heap, and a copy with small buffers is slow over a long way.",
    fix="Set a larger heap_bytes in kferry.yml, or none; or use larger machines, or more of them.",
)
def heap(facts: PreflightFacts) -> Iterator[Result]:
    """The heap of a worker is large enough for the connector tasks that a batch asks for."""
    heap_bytes = facts.settings.heap_bytes
    for unit, topics in facts.units if facts.plan is not None else ():
        name = unit.removeprefix("batch ")
        if name in facts.workers_of:
            continue  # its workers are there
        record = max((whole(topic.effective.get("max.message.bytes")) or 0 for topic in topics), default=0)
        record = max(record, LEAST_RECORD_BYTES)
        each = wanted_each(sum(topic.partition_count for topic in topics), facts.workers_per_task)
        fitting = min(each, most_tasks(heap_bytes, record))
        buffer = buffers(heap_bytes, fitting, record).buffer
        if fitting == each and buffer >= USEFUL_BUFFER_BYTES:
            continue
        yield warn(
            name,
            f"The heap of a worker is small for {unit}",
            f"{megabytes(heap_bytes)} of heap; it wants {counted(each, 'connector task')} in one worker. {fitting} fit,"
            f" each with {megabytes(buffer)} to send.",
            f"Set heap_bytes to {heap_for(each, record)} in kferry.yml, or none at all; or use larger machines, raise"
            " max_workers_per_task, or waive this if the copy may be slower.",
        )


@check(
    "worker-disk",
    Family.WORKERS,
    "block warn unknown",
    why="A full disk stops the worker, and its logs cannot tell why.",
    fix="Make room on the machine.",
)
def disk(facts: PreflightFacts) -> Iterator[Result]:
    """Every machine has the disk space for a worker and its logs."""
    for host in _counted(facts):
        free = host.free_disk_bytes
        if free is None:
            yield _unmeasured(host.name, "free disk space")
        elif free < _DISK_NEEDED_BYTES:
            yield block(
                host.name,
                f"{host.name} has too little disk space for a worker",
                f"{megabytes(free)} are free; Kafka, Java and logs need {megabytes(_DISK_NEEDED_BYTES)}.",
                "Make room on it.",
            )
        elif free < _DISK_WANTED_BYTES:
            yield warn(
                host.name,
                f"{host.name} has little disk space",
                f"{megabytes(free)} are free; {megabytes(_DISK_WANTED_BYTES)} are advised for logs.",
                "Make room on it, or waive this for a short migration.",
            )


@check(
    "worker-ports",
    Family.WORKERS,
    "block",
    why="Workers reach each other through the port of their REST interface.",
    fix="Free a port, or choose another range.",
)
def ports(facts: PreflightFacts) -> Iterator[Result]:
    """The range of ports for the workers' REST has a free one on every machine."""
    first, last = facts.settings.rest_port_first, facts.settings.rest_port_last
    if first == 0:
        return
    wanted = set(range(first, max(first, last) + 1))
    for host in facts.hosts or ():
        busy = wanted & set(host.busy_ports)
        if busy == wanted:
            yield block(
                host.name,
                f"{host.name} has no free port for a worker",
                f"Busy: {listed(str(port) for port in busy)}.",
                "Free one, or set another rest_port_first and rest_port_last in kferry.yml (0: any free port).",
            )


@check(
    "worker-java",
    Family.WORKERS,
    "info",
    why="Kafka 3.9 needs Java 17 to be run as it is tested.",
)
def java(facts: PreflightFacts) -> Iterator[Result]:
    """Java on the machines; kferry brings its own where there is none new enough."""
    own = [
        f"{host.name} ({'Java ' + host.java_version if host.java_version else 'none found'})"
        for host in facts.hosts or ()
        if _major(host.java_version) < _OLDEST_JAVA
    ]
    if own:
        yield info(
            "workers",
            "kferry brings its own Java",
            f"Java {_OLDEST_JAVA} or newer is needed: {listed(own)}.",
        )


@check(
    "worker-session-timeout",
    Family.WORKERS,
    "block",
    why="Workers join a group on the target with this session timeout, and brokers refuse one outside their limits.",
    fix="Set group.min.session.timeout.ms and group.max.session.timeout.ms of the target so that it lies between.",
)
def session_timeout(facts: PreflightFacts) -> Iterator[Result]:
    """The target's brokers take the session timeout of the workers."""
    for key, is_minimum in (("group.min.session.timeout.ms", True), ("group.max.session.timeout.ms", False)):
        limit_ms = whole(facts.default(Role.TARGET, key))
        if limit_ms is None:
            continue
        if limit_ms > SESSION_TIMEOUT_MS if is_minimum else limit_ms < SESSION_TIMEOUT_MS:
            yield block(
                "target" if is_minimum else "target (longest)",
                "The target refuses the workers' session timeout",
                f"{key} is {limit_ms} there; workers join with {SESSION_TIMEOUT_MS}.",
                f"Set {key} of the target to {SESSION_TIMEOUT_MS} or {'less' if is_minimum else 'more'}.",
            )


def _major(version: str | None) -> int:
    """The major version: 17 of "17.0.2", 8 of "1.8.0_292", 0 of none."""
    match = re.match(r"(?:1\.)?(\d+)", version or "")
    return int(match[1]) if match else 0


def _unmeasured(host: str, what: str) -> Result:
    return unknown(
        host,
        f"The {what} of {host} is not known",
        "It could not be measured.",
        "Make sure that kferry can log in to the machine, then run preflight again.",
    )
