"""How much heap a worker gets, and how much of it each of its connector tasks may fill.

A connector task holds what it is about to send (`buffer.memory`) and what it has fetched. All of them together must fit
into their share of the heap: a JVM that runs out of memory ends, and its neighbours with all their tasks after it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from kferry.domain.fleet import (
    GIB,
    OS_RESERVE_BYTES,
    WORKER_OVERHEAD_BYTES,
    Assignment,
    Candidate,
    Placed,
    assign,
    worker_bytes,
)
from kferry.domain.model import TaskSpec
from kferry.domain.planning.sizing import connector_tasks_max
from kferry.domain.words import counted

MIB = 1024**2
LEAST_RECORD_BYTES = 1_048_588  # Kafka's own default of max.message.bytes
LEAST_HEAP_BYTES = 512 * MIB  # a machine that has no room for this is not used
MAX_FETCH_BYTES = 50 * MIB  # Kafka's own default of fetch.max.bytes
USEFUL_BUFFER_BYTES = 32 * MIB  # Kafka's own default of buffer.memory: less slows a copy over a long way
_BASE_BYTES = GIB
_PER_TASK_BYTES = GIB // 5
_LOCAL_TASKS = 4  # as many share the least heap on this machine
_STEP_BYTES = 64 * MIB
_SHARE = 6, 10
_BUFFER_BYTES = 128 * MIB
_LEAST_BUFFER_BYTES = 4 * MIB
_LEAST_FETCH_BYTES = 4 * MIB
_PARTITION_FETCH_BYTES = 8 * MIB
_PARTITIONS_PER_TASK = 8  # domain/planning/sizing.py
_UNPACKED = 10  # a record may be so much larger than the compressed batch that carries it


@dataclass(frozen=True, slots=True)
class Buffers:
    """What one connector task of MirrorSource may hold, in bytes."""

    buffer: int
    fetch: int
    partition_fetch: int

    @property
    def asked(self) -> int:
        return self.buffer + self.fetch


def request_bytes(max_record_bytes: int) -> int:
    """The largest request, measured before compression."""
    return max(16 * MIB, _UNPACKED * max_record_bytes)


def tasks_each(connector_tasks: int, workers: int) -> int:
    """The most connector tasks that one worker has to carry: one of the workers is away in every rolling restart."""
    return math.ceil(max(1, connector_tasks) / max(1, workers - 1))


def wanted_each(partitions: int, workers: int) -> int:
    """The connector tasks that one worker would carry of a batch with so many partitions."""
    return tasks_each(connector_tasks_max(max(1, partitions), workers), workers)


def share_bytes(heap_bytes: int) -> int:
    """What the connector tasks of a worker may fill; the rest is for Connect itself and for collecting garbage."""
    return max(heap_bytes * _SHARE[0] // _SHARE[1], heap_bytes - _BASE_BYTES)


def full(max_record_bytes: int) -> Buffers:
    """What a connector task gets where the heap does not limit it."""
    partition_fetch = max(_PARTITION_FETCH_BYTES, max_record_bytes)
    fetch = max(_PARTITIONS_PER_TASK * _PARTITION_FETCH_BYTES, 2 * max_record_bytes)
    return Buffers(max(_BUFFER_BYTES, max_record_bytes + MIB), fetch, partition_fetch)


def least(max_record_bytes: int) -> Buffers:
    """The least with which a connector task can work: a record that fits today fits then, too."""
    unpacked = min(_BUFFER_BYTES, _UNPACKED * max_record_bytes)
    buffer = max(_LEAST_BUFFER_BYTES, unpacked, max_record_bytes + MIB)
    return Buffers(buffer, max(_LEAST_FETCH_BYTES, 2 * max_record_bytes), max(MIB, max_record_bytes))


def buffers(heap_bytes: int, tasks: int, max_record_bytes: int) -> Buffers:
    """What each of so many connector tasks in one worker may hold. Where the heap limits, all shrink alike."""
    most, lowest = full(max_record_bytes), least(max_record_bytes)
    each = share_bytes(heap_bytes) // max(1, tasks)
    if each >= most.asked:
        return most
    if each <= lowest.asked:
        return lowest

    def between(low: int, high: int) -> int:
        grown = low + (each - lowest.asked) * (high - low) // (most.asked - lowest.asked)
        return max(low, grown // MIB * MIB)

    fetch = between(lowest.fetch, most.fetch)
    partition_fetch = min(most.partition_fetch, max(lowest.partition_fetch, fetch // _PARTITIONS_PER_TASK))
    return Buffers(between(lowest.buffer, most.buffer), fetch, partition_fetch)


def buffers_of(spec: TaskSpec) -> Buffers:
    """What each connector task of a migration task may hold: the worker with the smallest heap decides."""
    if not spec.workers:
        return full(spec.max_record_bytes)
    smallest = min(worker.heap_bytes for worker in spec.workers)
    return buffers(smallest, tasks_each(spec.connector_tasks_max, len(spec.workers)), spec.max_record_bytes)


def most_tasks(heap_bytes: int, max_record_bytes: int) -> int:
    """How many connector tasks fit into one worker at all; one always has to."""
    return max(1, share_bytes(heap_bytes) // least(max_record_bytes).asked)


def with_connector_tasks(spec: TaskSpec, partitions: int) -> TaskSpec:
    """The spec with as many connector tasks as its partitions want and its workers' heap can carry."""
    wanted = connector_tasks_max(max(1, partitions), max(1, len(spec.workers)))
    if spec.workers:
        smallest = min(worker.heap_bytes for worker in spec.workers)
        fitting = most_tasks(smallest, spec.max_record_bytes) * max(1, len(spec.workers) - 1)
        wanted = min(wanted, fitting)
    return replace(spec, connector_tasks_max=wanted)


def heap_for(tasks: int, max_record_bytes: int, room_bytes: int | None = None) -> int:
    """The heap of a worker with so many connector tasks: 1 GiB, and 0.2 GiB for each.

    `room_bytes` is what the machine has left for workers: one takes at most half of it, if that is enough for the
    least heap, because other migration tasks will want a place there.
    """
    each = max(_PER_TASK_BYTES, full(max_record_bytes).asked)
    wanted = _BASE_BYTES + max(1, tasks) * each
    wanted = -(-wanted // _STEP_BYTES) * _STEP_BYTES
    if room_bytes is None:
        return wanted
    given = (room_bytes // 2 - WORKER_OVERHEAD_BYTES) * 4 // 5
    return max(LEAST_HEAP_BYTES, min(wanted, given // _STEP_BYTES * _STEP_BYTES))


def local_heap(tasks: int, machine_bytes: int) -> int:
    """The heap of a worker on this machine, which does other things too: the least for a few connector tasks."""
    wanted = LEAST_HEAP_BYTES + max(0, tasks - _LOCAL_TASKS) * _PER_TASK_BYTES
    return max(LEAST_HEAP_BYTES, min(wanted, machine_bytes // 4) // MIB * MIB)


def assign_largest(
    candidates: Iterable[Candidate],
    wanted: int,
    placed: Iterable[Placed],
    zones: Mapping[str, str | None],
    *,
    spec: TaskSpec,
    tasks: int,
) -> tuple[Assignment, int]:
    """Machines for `wanted` more workers with so many connector tasks each, and the heap that these machines can give.

    They are spread as with the least heap: a larger one never puts two workers on a machine where two had room.
    """
    every, placed = list(candidates), list(placed)
    found = assign(every, wanted, LEAST_HEAP_BYTES, placed, zones, task=spec.name)
    if found.missing:
        return found, LEAST_HEAP_BYTES
    own = {worker.host for worker in placed if worker.task == spec.name}
    spread = _spread({*found.hosts, *own}, zones)
    limits = {
        one.name: heap_for(tasks, spec.max_record_bytes, one.memory_bytes - OS_RESERVE_BYTES - _promised(one, placed))
        for one in every
        if one.usable and one.memory_bytes is not None
    }
    for size in sorted(set(limits.values()), reverse=True):
        roomy = [one for one in every if limits.get(one.name, 0) >= size]
        larger = assign(roomy, wanted, size, placed, zones, task=spec.name)
        if not larger.missing and _spread({*larger.hosts, *own}, zones) == spread:
            return larger, size
    return found, LEAST_HEAP_BYTES


def _promised(machine: Candidate, placed: Iterable[Placed]) -> int:
    return sum(worker_bytes(worker.heap_bytes) for worker in placed if worker.host == machine.name)


def _spread(hosts: set[str], zones: Mapping[str, str | None]) -> tuple[int, int]:
    return len(hosts), len({zones.get(host) or "" for host in hosts})


def words(spec: TaskSpec) -> str:
    """What the workers of a task get, as a sentence."""
    found = buffers_of(spec)
    heaps = " and ".join(f"{size // MIB} MiB" for size in sorted({worker.heap_bytes for worker in spec.workers}))
    return (
        f"{counted(len(spec.workers), 'worker')} with a heap of {heaps} for {spec.connector_tasks_max} connector tasks,"
        f" each of which may hold {found.buffer // MIB} MiB to send and {found.fetch // MIB} MiB of what it fetched."
    )
