"""A migration directory as it stands in the middle of a migration: for tests of the faces and for pictures of them.

Three invented business systems: hr is switched, iot is being switched, shop replicates. Everything is written through
the real schema and journal, at fixed times relative to `NOW_MS`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from unittest import mock

from kferry.domain import model
from kferry.domain.cutover import CONSUMER_FIRST
from kferry.domain.model import Change, Role, TaskSpec, WorkerSpec
from kferry.domain.runbook import Operation, OperationKind, OperationStatus, StepState, StepStatus
from kferry.domain.runbooks import RUNBOOKS
from kferry.store import codec, plan_file, schema
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.tables import Intent, RunEventRow, RunRow, Sample, TaskRow, WaiverRow

# 2026-11-20 03:12:00 UTC
NOW_MS = 1_795_144_320_000
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

TOPICS: dict[str, tuple[int, str]] = {
    "shop.orders": (12, "delete"),
    "shop.payments": (6, "delete"),
    "iot.telemetry": (24, "delete"),
    "iot.device-heartbeats": (6, "delete"),
    "hr.employees": (3, "compact"),
    "hr.audit": (1, "delete"),
}
GROUPS = {
    "billing": ("shop.orders",),
    "fraud-check": ("shop.orders", "shop.payments"),
    "telemetry-agg": ("iot.telemetry",),
    "connect-s3-sink": ("iot.device-heartbeats",),
    "hr-sync": ("hr.employees",),
}
BATCHES: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "hr": (("hr.audit", "hr.employees"), ("hr-sync",), "switched"),
    "iot": (("iot.device-heartbeats", "iot.telemetry"), ("connect-s3-sink", "telemetry-agg"), "switching"),
    "shop": (("shop.orders", "shop.payments"), ("billing", "fraud-check"), "replicating"),
}
WHY = {
    "hr": ("group hr-sync reads hr.employees", "smallest: moves first to prove the way"),
    "iot": ("group telemetry-agg reads iot.telemetry", "no transactions, so it goes before shop"),
    "shop": (
        "group fraud-check reads shop.orders and shop.payments",
        "transactional id payments-tx writes shop.payments",
        "last: transactions and the most groups make it the riskiest",
    ),
}


@contextmanager
def _at(at_ms: int) -> Iterator[None]:
    with mock.patch("kferry.store.journal.now_ms", lambda: at_ms):
        yield


def bare(root: Path, *, name: str = "demo") -> Layout:
    """A migration directory after `kferry init`, with an empty journal."""
    layout = Layout(root)
    layout.prepare()
    layout.settings.write_text(f"schema: 1\nmigration_id: k3f9x2\nname: {name}\nsettings: {{}}\n")
    layout.clusters.parent.mkdir(parents=True, exist_ok=True)
    layout.clusters.write_text(
        "kferry_clusters:\n"
        "  source:\n    kind: apache_kafka\n    bootstrap_servers: old-1:9092,old-2:9092\n"
        "    security_protocol: SASL_SSL\n    sasl_mechanism: SCRAM-SHA-512\n    sasl_username: kferry\n"
        "    sasl_password: env:SOURCE_PASSWORD\n    ssl_ca: /etc/kafka/old-ca.pem\n"
        "  target:\n    kind: automq\n    bootstrap_servers: automq-1:9092\n    security_protocol: PLAINTEXT\n"
    )
    write_long_ago(layout.clusters)
    (layout.inventory / "hosts.yml").write_text(
        "kferry_workers:\n  hosts:\n    local-1:\n      ansible_connection: local\n"
    )
    schema.upgrade(layout.journal)
    return layout


def write_long_ago(path: Path) -> None:
    """Not a real time: screens say whether something is older than the file it was made from."""
    written = (NOW_MS - 3 * HOUR) / 1000
    os.utime(path, (written, written))


def write_plan(layout: Layout) -> None:
    """plan.yml with the three batches, as the planner writes it."""
    batches = tuple(
        model.Batch(name, topics, groups, _risk(name), WHY[name]) for name, (topics, groups, _) in BATCHES.items()
    )
    plan_file.write_plan(layout, model.Plan("scan-7", batches, {"__consumer_offsets": "internal topic of Kafka"}))
    write_long_ago(layout.plan)


def _risk(name: str) -> float:
    return {"hr": 1.0, "iot": 2.5, "shop": 5.0}[name]


def mid_migration(root: Path, *, hostile: str | None = None) -> Layout:
    """A directory in mid-migration. `hostile` is one more consumer group of that name, and a topic."""
    layout = bare(root)
    write_plan(layout)
    journal = Journal(layout.journal)
    try:
        _clusters(journal)
        _scan(journal, hostile)
        _findings(journal, hostile)
        _batches_and_tasks(journal, layout)
        _operations(journal, layout, hostile)
        _ledger(journal, hostile)
        _samples(journal)
        _intents(journal, hostile)
        with _at(NOW_MS - 2 * SECOND):
            journal.put_meta(
                {
                    "engine_pid": "4242",
                    "engine_started_at_ms": str(NOW_MS - 3 * HOUR),
                    "engine_heartbeat_at_ms": str(NOW_MS - 2 * SECOND),
                    "engine_version": "0.1.0",
                }
            )
    finally:
        journal.close()
    return layout


def _clusters(journal: Journal) -> None:
    with _at(NOW_MS - 4 * MINUTE):
        journal.put_document(
            "cluster_check",
            "source",
            json.dumps(
                {
                    "reachable": True,
                    "kafka_version": "2.8",
                    "cluster_id": "Zx9old-QmWkT",
                    "broker_count": 2,
                    "lines": [
                        ["DNS old-1:9092", "ok", "10.0.0.11.", 0.0021],
                        ["TCP old-1:9092", "ok", "Connected.", 0.0004],
                        ["Kafka old-1:9092", "ok", "Knows 58 requests: Kafka 2.8 or newer.", 0.0037],
                        ["cluster", "ok", "Without a login in cluster Zx9old-QmWkT with 2 brokers.", 0.041],
                        ["rights on the cluster", "ok", "DESCRIBE, DESCRIBE_CONFIGS.", 0.0048],
                        ["broker 1 old-1:9092", "ok", "DNS, TCP, Kafka are well.", 0.0061],
                        ["broker 2 old-2:9092", "warn", "TLS: valid until 2026-03-20 (16 days).", 1.204],
                        ["clock", "unknown", "It cannot be known here: the cluster tells no time.", 0.0009],
                    ],
                    "capabilities": {
                        "topics": {"state": "supported", "words": "12 topics seen.", "grant": ""},
                        "log_dirs": {
                            "state": "denied",
                            "words": "Sizes on disk are not shown.",
                            "grant": "DESCRIBE on the cluster",
                        },
                        "transactions": {
                            "state": "unsupported",
                            "words": "This cluster does not know the request.",
                            "grant": "",
                        },
                    },
                    "error": None,
                }
            ),
        )
        journal.put_document(
            "cluster_check",
            "target",
            json.dumps(
                {
                    "reachable": True,
                    "kafka_version": "3.9",
                    "cluster_id": "AmQ-new-71",
                    "broker_count": 1,
                    "lines": [
                        ["TCP new:9092", "ok", "Connected.", 0.011],
                        ["broker 1 new:9092", "failed", "TCP: Refused: nothing listens there.", 0.0007],
                    ],
                    "error": None,
                }
            ),
        )


def _end(topic: str, partition: int) -> int:
    return 9_000 + 1_700 * (partition + 1) + 37 * len(topic)


def _scan(journal: Journal, hostile: str | None) -> None:
    topics = [
        model.Topic(
            name=name,
            topic_id=f"id-{name}",
            replication_factor=2,
            partitions=tuple(
                model.PartitionOffsets(part, 0, _end(name, part), _end(name, part)) for part in range(count)
            ),
            configs={"cleanup.policy": policy, "retention.ms": "604800000"},
            effective={"cleanup.policy": policy, "retention.ms": "604800000"},
            mean_record_bytes=310.0,
            records_per_second=420.0 if name != "hr.audit" else 0.0,
            has_transactions=name == "shop.payments",
        )
        for name, (count, policy) in TOPICS.items()
    ]
    groups = [
        model.Group(
            group_id=name,
            state=model.GroupState.STABLE if name != "hr-sync" else model.GroupState.EMPTY,
            kind=model.GroupKind.CONNECT if name.startswith("connect-") else model.GroupKind.PLAIN,
            members=() if name == "hr-sync" else (model.GroupMember(f"{name}-1", f"{name}-client", "/10.0.0.7"),),
            committed=tuple(
                model.CommittedOffset(topic, part, max(0, _end(topic, part) - (5200 if name == "hr-sync" else 40)))
                for topic in topics_read
                for part in range(TOPICS[topic][0])
            ),
        )
        for name, topics_read in GROUPS.items()
    ]
    if hostile is not None:
        topics.append(model.Topic(hostile, None, None, (model.PartitionOffsets(0, None, None),), error=hostile))
        groups.append(model.Group(hostile, model.GroupState.UNKNOWN, model.GroupKind.UNKNOWN, error=hostile))
    for role in (Role.SOURCE, Role.TARGET):
        scan = model.Scan(
            scan_id="scan-7" if role is Role.SOURCE else "scan-8",
            taken_at_ms=NOW_MS - 2 * HOUR,
            cluster=model.ClusterFacts(role, "cluster", "2.8", 1, (model.Broker(1, "old-1", 9092),)),
            topics=tuple(topics) if role is Role.SOURCE else (),
            groups=tuple(groups) if role is Role.SOURCE else (),
        )
        with _at(NOW_MS - 2 * HOUR):
            journal.put_document("scan", role.value, codec.dump(scan))


def _findings(journal: Journal, hostile: str | None) -> None:
    finding = model.Finding
    severity = model.Severity
    found = [
        finding(
            "record_size",
            severity.BLOCK,
            "shop.orders",
            "Records of shop.orders are larger than the target accepts",
            "largest record seen 1,310,720 bytes; the target's max.message.bytes is 1,048,588",
            "Set max.message.bytes=2097152 for shop.orders on the target, then run preflight again.",
        ),
        finding(
            "retention_race",
            severity.WARN,
            "iot.telemetry",
            "The copy of iot.telemetry may be overtaken by retention",
            "retention 6 h; the copy takes about 4 h 40 min at the rate measured",
            "Lengthen retention.ms on the source for the time of the copy, or add workers.",
        ),
        finding(
            "transactional_ids",
            severity.UNKNOWN,
            "source",
            "Transactional ids could not be listed",
            "Kafka 2.8 has no API for it",
            "Ask the owners of shop whether other transactional producers exist.",
        ),
        finding(
            "uncommitted",
            severity.WARN,
            "hr-sync",
            "Group hr-sync has partitions without a commit",
            "hr.employees: partition 2",
            "Nothing to do now; the cutover asks where the group starts there.",
        ),
        finding(
            "connect_group",
            severity.INFO,
            "connect-s3-sink",
            "connect-s3-sink belongs to a Kafka Connect sink",
            "its id starts with connect-",
            "Move the connector itself too.",
        ),
    ]
    if hostile is not None:
        found.append(finding("hostile", severity.WARN, hostile, hostile, hostile, hostile))
    with _at(NOW_MS - 100 * MINUTE):
        journal.put_document("findings", "", json.dumps([asdict(item) for item in found]))
        with journal.transaction() as session:
            journal.put_waiver(
                WaiverRow(
                    finding_id="uncommitted:hr-sync",
                    who="ada@bastion",
                    why="agreed with the HR team",
                    at_ms=NOW_MS - 90 * MINUTE,
                    until_ms=NOW_MS + 24 * HOUR,
                ),
                session,
            )


def _spec(name: str) -> TaskSpec:
    topics, groups, _ = BATCHES[name]
    port = 18083 + list(BATCHES).index(name)
    return TaskSpec(
        name=name,
        migration_id="k3f9x2",
        batch=name,
        incarnation=1,
        topics=topics,
        groups=groups,
        workers=(WorkerSpec(f"{name}-1", "local-1", "127.0.0.1", port, 536_870_912),),
        connector_tasks_max=4,
        frozen_groups=groups if name != "shop" else (),
        source_stopped=name == "hr",
    )


_LAG = {"hr": 0, "iot": 0, "shop": 61_480}


def _observation(name: str) -> dict[str, object]:
    spec = _spec(name)
    stopped = name == "hr"
    connectors = [
        {
            "name": connector,
            "state": "STOPPED" if stopped or (name == "iot" and "checkpoint" in connector) else "RUNNING",
            "worker": f"127.0.0.1:{spec.workers[0].rest_port}",
            "trace": "",
            "tasks": []
            if stopped or (name == "iot" and "checkpoint" in connector)
            else [
                {"id": at, "state": "RUNNING", "worker": f"127.0.0.1:{spec.workers[0].rest_port}", "trace": ""}
                for at in range(4 if connector.endswith("source") else 1)
            ],
        }
        for connector in (spec.source_connector, spec.checkpoint_connector, spec.heartbeat_connector)
    ]
    partitions = []
    count = sum(TOPICS[topic][0] for topic in spec.topics)
    for topic in spec.topics:
        for part in range(TOPICS[topic][0]):
            lag = _LAG[name] // count + (part * 97 if _LAG[name] else 0)
            end = _end(topic, part)
            stuck = name == "shop" and topic == "shop.payments" and part == 5
            partitions.append(
                {
                    "topic": topic,
                    "partition": part,
                    "log_start_offset": 0,
                    "end_offset": end,
                    "last_stable_offset": end,
                    "copied_offset": None if stuck else end - lag - 1,
                    "lag_records": None if stuck else lag,
                    "target_end_offset": None if stuck else end - lag,
                    "alarm": "position unknown: the connector has not reported it yet" if stuck else "",
                }
            )
    running = name == "shop"
    return {
        "connectors": connectors,
        "workers": [{"name": f"{name}-1", "alive": True, "version": "3.9.2"}],
        "partitions": partitions,
        "figures": {
            "lag_records": _LAG[name],
            "records_per_second": 5120.0 if running else (0.0 if stopped else 842.0),
            "bytes_per_second": 1_587_200.0 if running else (0.0 if stopped else 261_020.0),
            "ingress_records_per_second": 910.0 if running else 0.0,
            "done_ratio": 0.83 if running else 1.0,
            "eta_seconds": 14.6 if running else 0.0,
            "eta_text": "about 15 seconds" if running else "caught up",
            "seconds_since_data_moved": 1.0 if not stopped else 4100.0,
        },
        "alarms": ["shop.payments partition 5: position unknown since 40 s"] if running else [],
    }


def _batches_and_tasks(journal: Journal, layout: Layout) -> None:
    for at, (name, (_, _, phase)) in enumerate(BATCHES.items()):
        spec = _spec(name)
        with _at(NOW_MS - 80 * MINUTE + at * MINUTE), journal.transaction() as session:
            certificate = str(layout.reports / "hr.md") if name == "hr" else None
            journal.put_batch(session, name, phase, task=name, certificate=certificate)
            session.merge(
                TaskRow(
                    name=name,
                    batch=name,
                    incarnation=1,
                    spec=codec.dump(spec),
                    state="Paused" if name == "hr" else "Running",
                    state_reason="the source connector is stopped: the batch is switched"
                    if name == "hr"
                    else "copied offsets advance",
                    created_at_ms=NOW_MS - 80 * MINUTE + at * MINUTE,
                    updated_at_ms=NOW_MS - 2 * SECOND,
                )
            )
            journal.append(session, "batch_phase", subject=name, payload={"phase": phase})
        with _at(NOW_MS - 2 * SECOND):
            journal.put_document("observation", name, json.dumps(_observation(name)))


def _steps(kind: OperationKind, done: int, **current: object) -> tuple[StepState, ...]:
    states = []
    for at, step in enumerate(RUNBOOKS[kind].steps):
        if at < done:
            states.append(StepState(step.name, StepStatus.DONE, 1, {"words": "as it should be"}))
        elif at == done:
            states.append(StepState(step.name, attempt=1, **current))  # type: ignore[arg-type]
        else:
            states.append(StepState(step.name))
    return tuple(states)


def _operations(journal: Journal, layout: Layout, hostile: str | None) -> None:
    def save(at_ms: int, operation: Operation) -> None:
        with _at(at_ms), journal.transaction() as session:
            journal.save_operation(session, operation)
            journal.append(
                session,
                "operation_started",
                subject=operation.subject,
                operation_id=operation.operation_id,
                payload={"kind": operation.kind.value, "title": hostile or RUNBOOKS[operation.kind].title},
            )

    for at, kind in enumerate(
        (OperationKind.CHECK_CLUSTERS, OperationKind.SCAN, OperationKind.PREFLIGHT, OperationKind.PLAN)
    ):
        steps = _steps(kind, 99)
        save(NOW_MS - (125 - at) * MINUTE, Operation(f"op-{kind}", kind, "", {}, OperationStatus.DONE, steps))
    for at, name in enumerate(BATCHES):
        kind = OperationKind.CREATE_TASK
        save(
            NOW_MS - (80 - at) * MINUTE,
            Operation(f"op-create-{name}", kind, name, {"batch": name}, OperationStatus.DONE, _steps(kind, 99)),
        )
    kind = OperationKind.CUTOVER
    save(
        NOW_MS - 70 * MINUTE,
        Operation("op-cutover-hr", kind, "hr", {"batch": "hr"}, OperationStatus.DONE, _steps(kind, 99)),
    )
    # iot waits for its owners to start the consumers on the target: step 8
    release = next(at for at, step in enumerate(CONSUMER_FIRST.steps) if step.name == "release_consumers")
    steps = _steps(
        kind,
        release,
        status=StepStatus.NEEDS_OPERATOR,
        evidence={"groups_stable": 1, "groups": 2, "waiting_for": [hostile or "connect-s3-sink"]},
        error={
            "title": f"Group {hostile or 'connect-s3-sink'} has no member on the target yet.",
            "cause": "Its owner has not started it there.",
            "next_step": "Start it on the target, or run the owner hook.",
            "log": "",
            "kind": "not_ready",
        },
    )
    save(
        NOW_MS - 6 * MINUTE,
        Operation("op-cutover-iot", kind, "iot", {"batch": "iot"}, OperationStatus.NEEDS_OPERATOR, steps),
    )
    _runs(journal, layout, hostile)


def _runs(journal: Journal, layout: Layout, hostile: str | None) -> None:
    shown = (
        ("run-hr-workers", "workers.yml", "op-create-hr", "install_workers", "successful", 80),
        ("run-iot-workers", "workers.yml", "op-create-iot", "install_workers", "successful", 79),
        ("run-shop-workers", "workers.yml", "op-create-shop", "install_workers", "failed", 78),
        ("run-shop-workers-2", "workers.yml", "op-create-shop", "install_workers", "successful", 77),
        ("run-shop-task", "task.yml", "op-create-shop", "create_connectors", "successful", 76),
        ("run-iot-freeze", "task.yml", "op-cutover-iot", "freeze_groups", "running", 0),
    )
    for run_id, playbook, operation, step, status, minutes in shown:
        started = NOW_MS - minutes * MINUTE - 12 * SECOND
        journal.put_run(
            RunRow(
                run_id=run_id,
                playbook=playbook,
                operation_id=operation,
                step=step,
                status=status,
                directory=f"/srv/migration/.kferry/runs/{run_id}",  # the same in every picture
                started_at_ms=started,
                finished_at_ms=None if status == "running" else started + 41 * SECOND,
                changed_count=None if status == "running" else 6,
                failed_count=None if status == "running" else int(status == "failed"),
            )
        )
        rows = [("play", "", "", "", "Connect workers")]
        rows += [("step", "java", "Find a Java", "", ""), ("ok", "java", "Find a Java", "local-1", "")]
        rows += [
            ("step", "kafka_connect", "Unpack the Kafka distribution", "", ""),
            ("changed", "kafka_connect", "Unpack the Kafka distribution", "local-1", ""),
            ("step", "kafka_connect", "Start the worker", "", ""),
        ]
        if status == "failed":
            rows.append(
                (
                    "failed",
                    "kafka_connect",
                    "Start the worker",
                    "local-1",
                    hostile or "port 18085 is taken by process 977 (nginx); free it or set worker_ports",
                )
            )
        elif status == "successful":
            rows.append(("changed", "kafka_connect", "Start the worker", "local-1", ""))
            rows.append(("stats", "", "", "local-1", "ok=3 changed=2 failed=0"))
        journal.add_run_events(
            RunEventRow(
                run_id=run_id,
                seq=seq,
                at_ms=started + seq * SECOND,
                kind=event,
                play="Connect workers",
                role=role,
                step=title,
                host=host,
                message=message,
            )
            for seq, (event, role, title, host, message) in enumerate(rows, 1)
        )


def _ledger(journal: Journal, hostile: str | None) -> None:
    changes = [
        Change(
            Role.TARGET, "topic", "shop.orders", "", None, "12 partitions", {"action": "delete_topic"}, "to copy into"
        ),
        Change(
            Role.TARGET,
            "topic_config",
            "shop.orders",
            "retention.ms",
            "604800000",
            "-1",
            {"action": "set_config"},
            "hold retention while old records arrive",
        ),
        Change(
            Role.TARGET,
            "group_offset",
            hostile or "telemetry-agg",
            "iot.telemetry/0",
            None,
            "11181",
            {"action": "delete_offset"},
            "exact position from the cutover",
        ),
        Change(Role.SOURCE, "acl", "kferry", "", None, "READ", {}, "given by hand; kferry cannot take it back"),
    ]
    for at, change in enumerate(changes):
        with _at(NOW_MS - (60 - at) * MINUTE), journal.transaction() as session:
            journal.record_change(change, "op-create-shop", session)


def _samples(journal: Journal) -> None:
    with journal.transaction() as session:
        for name in BATCHES:
            for at in range(120):
                lag = max(0, 320_000 - at * 2_150) if name == "shop" else max(0, 90_000 - at * 2_000)
                session.merge(
                    Sample(
                        task=name,
                        at_ms=NOW_MS - (120 - at) * 5 * SECOND,
                        lag_records=lag,
                        records_per_second=5200.0 - (at % 7) * 130 if lag else 860.0,
                        bytes_per_second=1_600_000.0 - (at % 7) * 40_000 if lag else 260_000.0,
                        ingress_records_per_second=900.0 + (at % 5) * 12,
                    )
                )


def _intents(journal: Journal, hostile: str | None) -> None:
    rows = (
        ("in-1", "create_task", {"batch": "shop"}, "done", "", 78),
        ("in-2", "pause_task", {"task": "iot"}, "refused", "iot is being switched; abort the cutover first", 5),
        ("in-3", "cutover", {"batch": "iot"}, "accepted", "", 6),
    )
    with journal.transaction() as session:
        for intent_id, kind, args, status, reason, minutes in rows:
            session.merge(
                Intent(
                    id=intent_id,
                    kind=kind,
                    args=json.dumps(args),
                    who=hostile or "ada@bastion",
                    created_at_ms=NOW_MS - minutes * MINUTE,
                    expires_at_ms=NOW_MS - minutes * MINUTE + 30 * SECOND,
                    status=status,
                    reason=reason,
                )
            )
