"""Scans and findings in every state that the Inventory and Preflight can be in, for tests of both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from unittest import mock

from kferry.domain import model
from kferry.domain.runbook import Operation, OperationKind, OperationStatus, StepState, StepStatus
from kferry.domain.runbooks import RUNBOOKS
from kferry.domain.scan_diff import compare
from kferry.store import codec
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from support import seeded

MINUTE, HOUR, DAY = seeded.MINUTE, seeded.HOUR, 24 * seeded.HOUR


def put(layout: Layout, kind: str, subject: str, body: str, *, minutes_ago: float = 5) -> None:
    """A document, as the engine writes it."""
    journal = Journal(layout.journal)
    try:
        at_ms = int(seeded.NOW_MS - minutes_ago * MINUTE)
        with mock.patch("kferry.store.journal.now_ms", lambda: at_ms):
            journal.put_document(kind, subject, body)
    finally:
        journal.close()


def operation(layout: Layout, kind: OperationKind, operation_status: OperationStatus, **step: object) -> str:
    """The newest operation of a kind, at its first step."""
    journal = Journal(layout.journal)
    steps = [StepState(one.name) for one in RUNBOOKS[kind].steps]
    if step:
        steps[0] = StepState(steps[0].name, attempt=1, **step)  # type: ignore[arg-type]
    made = Operation(f"op-{kind}-now", kind, "", {}, operation_status, tuple(steps))
    try:
        with mock.patch("kferry.store.journal.now_ms", lambda: seeded.NOW_MS), journal.transaction() as session:
            journal.save_operation(session, made)
    finally:
        journal.close()
    return made.operation_id


def scan(*, minutes_ago: float = 5, **changes: object) -> model.Scan:
    """A small source: topics in use, an unused one, one that was denied; groups of several kinds."""
    taken = int(seeded.NOW_MS - minutes_ago * MINUTE)

    def topic(name: str, **more: object) -> model.Topic:
        parts = tuple(model.PartitionOffsets(part, 100, 50_100, 50_100) for part in range(3))
        made = model.Topic(name, f"id-{name}", 3, parts, {"retention.ms": "604800000"}, {"retention.ms": "604800000"})
        known = {"last_timestamp_ms": taken - 2000, "sampled_partitions": 3, "records_per_second": 40.0}
        return replace(made, **{**known, **more})  # type: ignore[arg-type]

    topics = (
        topic("shop.orders", size_bytes=48 * 1024**3),
        topic("shop.payments", size_bytes=3 * 1024**3, has_transactions=True),
        topic("old.exports", size_bytes=700 * 1024**2, last_timestamp_ms=taken - 40 * DAY, records_per_second=0.0),
        topic("secret.salaries", partitions=(), error="TOPIC_AUTHORIZATION_FAILED", last_timestamp_ms=None),
    )

    def group(name: str, *reads: str, **more: object) -> model.Group:
        commits = tuple(model.CommittedOffset(one, part, 49_000) for one in reads for part in range(3))
        member = model.GroupMember(f"{name}-1", f"{name}-client", "/10.0.0.7")
        made = model.Group(name, model.GroupState.STABLE, model.GroupKind.PLAIN, (member,), commits)
        return replace(made, **{"last_moved_at_ms": taken - 3000, "lag_seconds": 27.0, **more})  # type: ignore[arg-type]

    groups = (
        group("billing", "shop.orders"),
        group("connect-sink", "shop.orders", "shop.payments", kind=model.GroupKind.CONNECT),
        group(
            "forgotten",
            "shop.payments",
            state=model.GroupState.EMPTY,
            members=(),
            last_moved_at_ms=taken - 60 * DAY,
            lag_seconds=60.0 * 86_400,
        ),
    )
    capabilities = {"topics": model.Capability.SUPPORTED, "groups": model.Capability.SUPPORTED}
    cluster = model.ClusterFacts(
        model.Role.SOURCE, "c", "3.6", 1, (model.Broker(1, "b", 9092),), capabilities=capabilities
    )
    made = model.Scan(
        "scan-now",
        taken,
        cluster,
        topics,
        groups,
        transactional_ids=(model.TransactionalId("shop-payments-1", frozenset({"shop.payments"}), "CompleteCommit"),),
        producers=(
            model.ActiveProducer("shop.orders", 0, 4711, taken - 2000),
            model.ActiveProducer("shop.payments", 2, 4712, taken - 4 * HOUR, 50_090),
        ),
        hanging_transactions=(model.HangingTransaction("shop.payments", 2, 4712, 50_090, 4 * 3600.0),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def put_scan(layout: Layout, made: model.Scan | None = None, *, kind: str = "scan", minutes_ago: float = 5) -> None:
    put(layout, kind, "source", codec.dump(made or scan(minutes_ago=minutes_ago)), minutes_ago=minutes_ago)


def put_diff(layout: Layout) -> None:
    """The scan against one before it: a topic came, one went, one was made anew."""
    now = scan()
    orders = replace(now.topics[0], topic_id="id-before")
    topics = (orders, *now.topics[2:], replace(orders, name="gone.topic"))
    before = replace(now, scan_id="scan-before", topics=topics, transactional_ids=None)
    put(layout, "scan_diff", "source", codec.dump(compare(before, now)))


def progress(
    layout: Layout, what: str, done: int, total: int, *, share: float | None, eta_seconds: float | None
) -> None:
    """What the engine writes: of the step that runs, and of the scan as a whole."""
    body = {"what": what, "done": done, "total": total, "seconds": 24.0, "share": share, "eta_seconds": eta_seconds}
    put(layout, "scan_progress", "source", json.dumps(body), minutes_ago=0)


def running(layout: Layout, kind: OperationKind) -> str:
    return operation(layout, kind, OperationStatus.RUNNING, status=StepStatus.RUNNING)


def failed(layout: Layout, kind: OperationKind, title: str, cause: str, next_step: str) -> str:
    error = {"title": title, "cause": cause, "next_step": next_step, "log": "", "kind": "connect"}
    return operation(layout, kind, OperationStatus.FAILED, status=StepStatus.FAILED, error=error)


def put_findings(layout: Layout, findings: Sequence[model.Finding], *, minutes_ago: float = 2) -> None:
    put(layout, "findings", "", json.dumps([asdict(one) for one in findings]), minutes_ago=minutes_ago)


def finding(check: str, severity: str, subject: str, **more: object) -> model.Finding:
    made = model.Finding(
        check=check,
        severity=model.Severity(severity),
        subject=subject,
        title=f"{check.replace('-', ' ').capitalize()}: {subject}",
        evidence="max.message.bytes 1,048,588; largest record seen 1,310,720",
        fix="Raise max.message.bytes on the target.",
        family="records",
        why="A record that the target refuses stops its connector task for good.",
    )
    return replace(made, **more)  # type: ignore[arg-type]


def many_findings() -> list[model.Finding]:
    """Some of each severity, and one check with a lot."""
    return [
        finding("record-size", "block", "shop.orders", fixable=True),
        finding("record-size", "block", "shop.payments", fixable=True),
        *(finding("topic-name", "warn", f"shop.topic-{at}") for at in range(12)),
        finding("acls-readable", "unknown", "source"),
        finding("connect-group", "info", "connect-sink"),
    ]
