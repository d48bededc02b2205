"""A migration whose tasks run on machines: hosts.yml, a check of them, workers, and plays over several hosts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kferry.domain.model import TaskSpec, WorkerSpec
from kferry.domain.runbook import Operation, OperationKind, OperationStatus, StepState, StepStatus
from kferry.domain.runbooks import RUNBOOKS
from kferry.store import codec
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.tables import RunEventRow, RunRow, TaskRow
from support import seeded
from support.seeded import MINUTE, NOW_MS, SECOND

GIB = 1024**3
HOSTS_YML = """kferry_workers:
  vars: {ansible_user: ops}
  hosts:
    w1: {ansible_host: 10.0.0.11, kferry_zone: zone-a}
    w2: {ansible_host: 10.0.0.12, kferry_zone: zone-b}
    w3: {ansible_host: 10.0.0.13, kferry_zone: zone-a, kferry_jump: ops@bastion.example}
    w4: {ansible_host: 10.0.0.14, kferry_zone: zone-b}
    w5: {ansible_host: 10.0.0.15}
"""
FACTS: dict[str, Any] = {
    "os": "debian", "os_version": "12", "architecture": "x86_64", "python": "3.11.2", "systemd": True, "sudo": True,
    "cpu_count": 2, "memory_bytes": 4 * GIB, "free_memory_bytes": int(2.6 * GIB), "free_disk_bytes": 38 * GIB,
    "clock_offset_seconds": 0.02, "java_version": "17.0.13", "busy_ports": [], "migration": "k3f9x2", "workers": [],
}  # fmt: skip


def probe(role: str, server: str, step: str = "sasl", words: str = "", *, ok: bool = True) -> dict[str, Any]:
    return {"role": role, "server": server, "step": step, "ok": ok, "words": words, "seconds": 0.012}


def host(name: str, usable: bool | None, **more: Any) -> dict[str, Any]:
    """One machine of the document `fleet`."""
    body = {
        "name": name, "address": f"10.0.0.1{name[-1]}", "zone": None, "is_local": False, "usable": usable,
        "reasons": [], "notes": [], "facts": dict(FACTS),
        "brokers": [probe("source", "old-1:9093"), probe("target", "automq-1:9092", "tcp")],
    }  # fmt: skip
    return body | more


def hosts(hostile: str = "") -> list[dict[str, Any]]:
    """Five machines: two usable, one left out, one that did not answer, one that could not be measured in full."""
    broken = [
        probe("source", "old-2:9093", "tls", hostile or "The certificate of old-2:9093 ended on 2026-11-19.", ok=False),
        probe("source", "old-1:9093"),
        probe("target", "automq-1:9092", "tcp"),
    ]
    return [
        host("w1", True, zone="zone-a", facts=FACTS | {"free_memory_bytes": int(1.1 * GIB)}),
        host("w2", True, zone="zone-b", notes=["Its clock is 1.4 s ahead; set up time synchronisation there."]),
        host(
            "w3",
            False,
            zone="zone-a",
            brokers=broken,
            reasons=[f"Source: {broken[0]['words']}", "Only 0.4 GB of disk are free; 1.5 GB are needed for Kafka."],
            facts=FACTS | {"free_disk_bytes": 400_000_000, "java_version": ""},
        ),
        host(
            "w4",
            None,
            zone="zone-b",
            facts=dict.fromkeys(FACTS),
            brokers=[],
            reasons=["SSH didn't reach it: connect to host 10.0.0.14 port 22: No route to host."],
        ),
        host("w5", None, facts=FACTS | {"memory_bytes": None}, reasons=["Its memory is not known."]),
    ]


def fleet(root: Path, *, hostile: str = "") -> Layout:
    """A migration directory with five machines checked four minutes ago, and the task shop on two of them."""
    layout = seeded.mid_migration(root)
    (layout.inventory / "hosts.yml").write_text(HOSTS_YML)
    journal = Journal(layout.journal)
    try:
        put_check(journal, hosts(hostile))
        put_task(journal)
        put_operation(journal, OperationKind.FLEET_CHECK, "op-check", OperationStatus.DONE, at_ms=NOW_MS - 4 * MINUTE)
        put_operation(journal, OperationKind.SCALE_TASK, "op-scale", OperationStatus.RUNNING, subject="shop")
        put_play(journal, "run-scale", "op-scale", "scale", events=scale_events(hostile))
    finally:
        journal.close()
    return layout


def put_check(journal: Journal, machines: list[dict[str, Any]], at_ms: int = NOW_MS - 4 * MINUTE) -> None:
    journal.put_document("fleet", "", json.dumps({"checked_at_ms": at_ms, "hosts": machines}))


def put_task(journal: Journal) -> None:
    """The task shop on w1 and w2, measured two seconds ago; the figures of its second worker are unknown."""
    topics, groups, _ = seeded.BATCHES["shop"]
    workers = tuple(WorkerSpec(f"shop-{at}", f"w{at}", f"10.0.0.1{at}", 18083, GIB // 2, 19400) for at in (1, 2))
    spec = TaskSpec("shop", "k3f9x2", "shop", 1, topics, groups, workers=workers, connector_tasks_max=4)
    with journal.transaction() as session:
        session.merge(
            TaskRow(
                name="shop",
                batch="shop",
                incarnation=1,
                spec=codec.dump(spec),
                state="Running",
                state_reason="copied offsets advance",
                created_at_ms=NOW_MS - 78 * MINUTE,
                updated_at_ms=NOW_MS - 2 * SECOND,
            )
        )
    seen = seeded._observation("shop")
    seen["workers"] = [
        {
            "name": "shop-1", "alive": True, "version": "3.9.2", "host": "w1", "heap_used_bytes": 310 * 1024**2,
            "heap_max_bytes": 512 * 1024**2, "cpu_ratio": 0.41,
        },
        {
            "name": "shop-2", "alive": None, "version": None, "host": "w2", "heap_used_bytes": None,
            "heap_max_bytes": None, "cpu_ratio": None,
        },
    ]  # fmt: skip
    with seeded._at(NOW_MS - 2 * SECOND):
        journal.put_document("observation", "shop", json.dumps(seen))


def put_operation(
    journal: Journal,
    kind: OperationKind,
    operation_id: str,
    status: OperationStatus,
    *,
    subject: str = "",
    at_ms: int = NOW_MS - 20 * SECOND,
    error: dict[str, str] | None = None,
) -> None:
    """An operation at its first step, or over."""
    first = {
        OperationStatus.DONE: StepStatus.DONE,
        OperationStatus.RUNNING: StepStatus.RUNNING,
        OperationStatus.FAILED: StepStatus.FAILED,
        OperationStatus.NEEDS_OPERATOR: StepStatus.NEEDS_OPERATOR,
    }[status]
    rest = StepStatus.DONE if status is OperationStatus.DONE else StepStatus.PENDING
    at_play = {OperationKind.SCALE_TASK: 1}.get(kind, 0)
    steps = tuple(
        StepState(
            step.name,
            first if at == at_play else StepStatus.DONE if at < at_play else rest,
            attempt=1,
            error=error if at == at_play else None,
        )
        for at, step in enumerate(RUNBOOKS[kind].steps)
    )
    with seeded._at(at_ms), journal.transaction() as session:
        journal.save_operation(session, Operation(operation_id, kind, subject, {}, status, steps))


def put_play(
    journal: Journal,
    run_id: str,
    operation_id: str,
    step: str,
    *,
    events: Iterable[tuple[str, str, str, str, str]],
    status: str = "running",
    directory: Path | None = None,
) -> None:
    """A play with its events, (kind, role, step, host, message) each; they are a second apart.

    `directory` is where its log lies; else a place that is the same in every picture, and is not there.
    """
    events = list(events)
    started = NOW_MS - (len(events) + 4) * SECOND
    journal.put_run(
        RunRow(
            run_id=run_id,
            playbook=f"{step}.yml" if step != "measure" else "preflight.yml",
            operation_id=operation_id,
            step=step,
            status=status,
            directory=str(directory or f"/srv/migration/.kferry/runs/{run_id}"),
            started_at_ms=started,
            finished_at_ms=None if status == "running" else NOW_MS - 3 * SECOND,
            changed_count=None if status == "running" else 3,
            failed_count=None if status == "running" else sum(kind == "failed" for kind, *_ in events),
        )
    )
    journal.add_run_events(
        RunEventRow(
            run_id=run_id, seq=seq, at_ms=started + seq * SECOND, kind=kind, play="Workers", role=role, step=title,
            host=name, message=message,
        )
        for seq, (kind, role, title, name, message) in enumerate(events, 1)
    )  # fmt: skip


def check_events() -> list[tuple[str, str, str, str, str]]:
    """A check under way: w4 is unreachable, w1 has been measured, w2 is being measured."""
    measure = "Measure the machine"
    return [
        ("play", "", "", "", ""),
        ("step", "worker_preflight", "Look at the machine", "", ""),
        ("ok", "worker_preflight", "Look at the machine", "w1", ""),
        ("ok", "worker_preflight", "Look at the machine", "w2", ""),
        ("unreachable", "worker_preflight", "Look at the machine", "w4", "No route to host"),
        ("step", "worker_preflight", measure, "", ""),
        ("ok", "worker_preflight", measure, "w1", ""),
    ]


def scale_events(hostile: str = "") -> list[tuple[str, str, str, str, str]]:
    """A play over four hosts: one failed, one unreachable, one is at work, one has done its part."""
    unpack, start = "Unpack the Kafka distribution", "Start the worker"
    return [
        ("play", "", "", "", ""),
        ("step", "java", "Find a Java", "", ""),
        ("ok", "java", "Find a Java", "w1", ""),
        ("ok", "java", "Find a Java", "w2", ""),
        ("changed", "java", "Find a Java", "w5", "openjdk-17-jre-headless was installed"),
        ("unreachable", "java", "Find a Java", "w4", "Failed to connect to the host via ssh: No route to host"),
        ("step", "kafka_connect", unpack, "", ""),
        ("changed", "kafka_connect", unpack, "w1", ""),
        ("ok", "kafka_connect", unpack, "w2", ""),
        (
            "failed",
            "kafka_connect",
            unpack,
            hostile or "w5",
            hostile
            or "No space left on device: 412 MB are needed below /opt/kferry, 96 MB are free.\n"
            "Make room there, then run the step again.",
        ),
        ("step", "kafka_connect", start, "", ""),
        ("changed", "kafka_connect", start, "w1", ""),
        ("retry", "kafka_connect", start, "w2", "port 18083 does not answer yet"),
    ]
