"""Heap and buffers: what the connector tasks of a worker may hold always fits into their share of its heap."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.domain import connectors, heap
from kferry.domain.fleet import GIB, OS_RESERVE_BYTES, Candidate, Placed, worker_bytes
from kferry.domain.heap import LEAST_HEAP_BYTES, LEAST_RECORD_BYTES, MIB
from kferry.domain.model import ClusterConfig, ClusterKind, Role, TaskSpec, WorkerSpec

SOURCE = ClusterConfig(Role.SOURCE, ClusterKind.APACHE_KAFKA, "old:9092")
TARGET = ClusterConfig(Role.TARGET, ClusterKind.AUTOMQ, "new:9092")
RECORDS = st.integers(LEAST_RECORD_BYTES, 200 * MIB)


def spec(heap_bytes: int, workers: int = 1, tasks: int = 2, record: int = LEAST_RECORD_BYTES) -> TaskSpec:
    made = tuple(WorkerSpec(f"shop-{n}", f"w{n}", "10.0.0.1", 18083, heap_bytes) for n in range(1, workers + 1))
    return TaskSpec("shop", "abc123", "shop", 1, ("a",), (), made, tasks, max_record_bytes=record, is_remote=True)


@given(st.integers(256 * MIB, 64 * GIB), st.integers(1, 12), st.integers(1, 5000), RECORDS)
def test_what_connector_tasks_ask_for_never_exceeds_their_share(
    heap_bytes: int, workers: int, partitions: int, record: int
) -> None:
    made = heap.with_connector_tasks(spec(heap_bytes, workers, record=record), partitions)
    config = connectors.source_config(made, SOURCE, TARGET, "/srv/secrets.properties")
    buffer = int(config["producer.override.buffer.memory"])
    fetch = int(config["source.consumer.fetch.max.bytes"])
    partition_fetch = int(config["source.consumer.max.partition.fetch.bytes"])
    held = heap.buffers_of(made)
    tasks = heap.tasks_each(made.connector_tasks_max, workers)
    assert 1 <= made.connector_tasks_max <= partitions
    assert tasks == 1 or tasks * held.asked <= heap.share_bytes(heap_bytes)
    assert tasks == 1 or heap.share_bytes(heap_bytes) < heap_bytes
    assert buffer == held.buffer and fetch <= held.fetch
    assert buffer > record and held.fetch >= partition_fetch >= record, "one record, or batch, always fits"
    assert buffer <= max(128 * MIB, record + MIB)


@given(st.integers(1, 200), RECORDS, st.integers(0, 256 * GIB))
def test_a_heap_by_the_formula_is_enough_and_never_more_than_the_machine_has(
    tasks: int, record: int, room: int
) -> None:
    wanted = heap.heap_for(tasks, record)
    assert heap.buffers(wanted, tasks, record) == heap.full(record)
    clamped = heap.heap_for(tasks, record, room)
    assert LEAST_HEAP_BYTES <= clamped <= wanted
    assert clamped == LEAST_HEAP_BYTES or worker_bytes(clamped) <= room // 2
    assert 512 * MIB <= heap.local_heap(tasks, room) <= max(512 * MIB, room // 4)


def test_the_formula_is_a_gib_and_a_fifth_for_each_connector_task() -> None:
    assert heap.heap_for(2, LEAST_RECORD_BYTES) / GIB == pytest.approx(1.4, abs=0.07)
    assert heap.heap_for(25, LEAST_RECORD_BYTES) / GIB == pytest.approx(6.0, abs=0.07)
    assert heap.local_heap(4, 64 * GIB) == 512 * MIB, "the demo takes what it took"
    assert heap.local_heap(14, 64 * GIB) / GIB == pytest.approx(2.5, abs=0.01)


def test_eight_and_twenty_five_connector_tasks_fit_into_half_a_gib() -> None:
    eight = heap.with_connector_tasks(spec(512 * MIB), 64)
    assert eight.connector_tasks_max == 8
    held = heap.buffers_of(eight)
    assert (held.buffer // MIB, held.fetch // MIB, held.partition_fetch // MIB) == (26, 12, 1)
    many = heap.with_connector_tasks(spec(512 * MIB), 200)
    assert many.connector_tasks_max == heap.most_tasks(512 * MIB, LEAST_RECORD_BYTES) < 25
    assert heap.with_connector_tasks(spec(6 * GIB), 200).connector_tasks_max == 25


def test_a_worker_that_is_away_leaves_its_connector_tasks_to_the_others() -> None:
    assert [heap.tasks_each(6, workers) for workers in (1, 2, 3, 4)] == [6, 6, 3, 2]


def test_the_smallest_heap_of_a_task_decides() -> None:
    two = spec(4 * GIB, workers=2, tasks=8)
    small = replace(two, workers=(two.workers[0], replace(two.workers[1], heap_bytes=512 * MIB)))
    assert heap.buffers_of(two) == heap.full(LEAST_RECORD_BYTES)
    assert heap.buffers_of(small) == heap.buffers(512 * MIB, 8, LEAST_RECORD_BYTES)
    assert "512 MiB and 4096 MiB for 8 connector tasks" in heap.words(small)


def largest(memory_gib: dict[str, float], wanted: int, *placed: Placed, zones: Any = None, tasks: int = 2) -> Any:
    machines = [Candidate(name, True, int(size * GIB)) for name, size in memory_gib.items()]
    found, heap_bytes = heap.assign_largest(machines, wanted, placed, zones or {}, spec=spec(0, 0), tasks=tasks)
    return found.hosts, heap_bytes // MIB, found.missing


def test_workers_get_the_heap_that_their_machines_can_give() -> None:
    assert largest({"w1": 16, "w2": 16}, 2) == (["w1", "w2"], 1472, 0)
    assert largest({"w1": 16, "w2": 2.2}, 2) == (["w1", "w2"], 512, 0), "two machines before a large heap"
    assert largest({"w1": 16, "w2": 2.2}, 1) == (["w1"], 1472, 0)
    assert largest({"w1": 4}, 1, tasks=25)[1] == 768
    assert largest({"w1": 2}, 1) == ([], 512, 1), "no room even for the least"
    zones = {"w1": "a", "w2": "a", "w3": "b"}
    assert largest({"w1": 16, "w2": 16, "w3": 2.2}, 2, zones=zones) == (["w1", "w3"], 512, 0), "two zones, too"


def test_what_others_have_on_a_machine_is_not_given_again() -> None:
    other = Placed("w1", "iot", 3 * GIB)
    hosts, size, missing = largest({"w1": 8}, 1, other)
    assert (hosts, missing) == (["w1"], 0) and 512 <= size < 1472
    left = 8 * GIB - OS_RESERVE_BYTES - worker_bytes(3 * GIB)
    assert worker_bytes(size * MIB) <= left
