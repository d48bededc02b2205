"""Writing the journal. The engine holds the only instance; every method is one transaction.

Invariant: an operation's rows and the event that tells of them are saved together (`Journal.transaction`), and events
are chained by hash, so that what happened can't be rewritten without it being seen (`chain.first_broken_link`).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event as sa_event
from sqlalchemy import text
from sqlmodel import Session, col, create_engine, delete, select

from kferry.domain.model import Change, ChangeStatus
from kferry.domain.runbook import Operation, StepStatus
from kferry.store import codec
from kferry.store.chain import GENESIS, chain_hash
from kferry.store.tables import (
    AnchorRow,
    BatchRow,
    ChangeRow,
    Document,
    EventRow,
    Intent,
    Meta,
    OperationRow,
    RunEventRow,
    RunRow,
    Sample,
    StepRow,
    TaskRow,
    WaiverRow,
)

_STEP_OVER = (StepStatus.DONE, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.UNDONE)


def now_ms() -> int:
    """Epoch milliseconds, UTC."""
    return int(time.time() * 1000)


class Journal:
    """One open journal. Threads may share it; writes are serialised by a lock and by BEGIN IMMEDIATE."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self._lock = threading.RLock()
        self._engine = create_engine(f"sqlite:///{database}", connect_args={"timeout": 30, "check_same_thread": False})

        @sa_event.listens_for(self._engine, "connect")
        def _pragmas(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # we begin transactions ourselves
            connection.execute("pragma synchronous=full")
            connection.execute("pragma foreign_keys=on")

        @sa_event.listens_for(self._engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql("begin immediate")

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A write transaction; everything in it is saved or nothing is."""
        with self._lock, Session(self._engine) as session, session.begin():
            yield session

    # ---- events -------------------------------------------------------------------------------------------------

    def append(
        self,
        session: Session,
        kind: str,
        *,
        subject: str = "",
        operation_id: str | None = None,
        payload: Mapping[str, Any] | None = None,
    ) -> str:
        """Append one event to the chain inside a transaction and return its hash."""
        last = session.exec(select(EventRow).order_by(col(EventRow.seq).desc()).limit(1)).first()
        prev_hash = last.hash if last else GENESIS
        body = codec.canonical(dict(payload or {}))
        at = now_ms()
        content = {
            "at_ms": at,
            "kind": kind,
            "subject": subject,
            "operation_id": operation_id,
            "payload": body,
        }
        row = EventRow(
            at_ms=at,
            kind=kind,
            subject=subject,
            operation_id=operation_id,
            payload=body,
            prev_hash=prev_hash,
            hash=chain_hash(prev_hash, content),
        )
        session.add(row)
        session.flush()
        return row.hash

    def event(self, kind: str, **details: Any) -> str:
        """Append one event in a transaction of its own; arguments as in `append`."""
        with self.transaction() as session:
            return self.append(session, kind, **details)

    def head(self) -> tuple[int, str]:
        """Sequence number and hash of the last event; (0, GENESIS) for an empty journal."""
        with self._lock, Session(self._engine) as session:
            row = session.exec(select(EventRow).order_by(col(EventRow.seq).desc()).limit(1)).first()
            return (row.seq or 0, row.hash) if row else (0, GENESIS)

    # ---- operations ---------------------------------------------------------------------------------------------

    def save_operation(self, session: Session, operation: Operation) -> None:
        """Write an operation and all of its steps as the machine holds them."""
        at = now_ms()
        row = session.get(OperationRow, operation.operation_id)
        if row is None:
            row = OperationRow(
                id=operation.operation_id,
                kind=operation.kind.value,
                subject=operation.subject,
                args=json.dumps(dict(operation.args)),
                status=operation.status.value,
                created_at_ms=at,
                updated_at_ms=at,
            )
        row.args = json.dumps(dict(operation.args))
        row.status = operation.status.value
        row.error = json.dumps(dict(operation.error)) if operation.error else None
        row.updated_at_ms = at
        session.add(row)
        for position, step in enumerate(operation.steps):
            saved = session.get(StepRow, (operation.operation_id, step.name)) or StepRow(
                operation_id=operation.operation_id, name=step.name, position=position, status=""
            )
            if saved.started_at_ms is None and step.status is not StepStatus.PENDING:
                saved.started_at_ms = at
            if saved.status != step.status.value and step.status in _STEP_OVER:
                saved.finished_at_ms = at
            saved.status = step.status.value
            saved.attempt = step.attempt
            saved.evidence = json.dumps(dict(step.evidence))
            saved.error = json.dumps(dict(step.error)) if step.error else None
            session.add(saved)

    # ---- intents ------------------------------------------------------------------------------------------------

    def waiting_intents(self) -> list[Intent]:
        """Intents nobody has answered yet, oldest first."""
        with self._lock, Session(self._engine) as session:
            query = select(Intent).where(Intent.status == "waiting").order_by(col(Intent.created_at_ms))
            rows = list(session.exec(query).all())
            for row in rows:
                session.expunge(row)
            return rows

    def answer_intent(
        self,
        session: Session,
        intent_id: str,
        status: str,
        *,
        reason: str = "",
        operation_id: str | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        """Set an intent's status (accepted, refused, done, failed) with the reason in words."""
        row = session.get(Intent, intent_id)
        if row is None:
            return
        row.status = status
        row.reason = reason
        if operation_id is not None:
            row.operation_id = operation_id
        if result is not None:
            row.result = json.dumps(dict(result))
        session.add(row)

    # ---- documents, tasks, batches ------------------------------------------------------------------------------

    def put_document(self, kind: str, subject: str, body: str, session: Session | None = None) -> None:
        """Keep the newest `body` (JSON text) of this kind and subject."""
        if session is None:
            with self.transaction() as own:
                self.put_document(kind, subject, body, own)
            return
        session.merge(Document(kind=kind, subject=subject, at_ms=now_ms(), body=body))

    def document(self, kind: str, subject: str) -> str | None:
        """The newest body of this kind and subject, or None."""
        with self._lock, Session(self._engine) as session:
            row = session.get(Document, (kind, subject))
            return row.body if row else None

    def document_at_ms(self, kind: str, subject: str) -> int | None:
        """When the newest body was written, or None where there is none; the body itself isn't read."""
        with self._lock, Session(self._engine) as session:
            wanted = select(Document.at_ms).where(Document.kind == kind, Document.subject == subject)
            return session.exec(wanted).first()

    def document_age_ms(self, kind: str, subject: str) -> int | None:
        """How old the newest body is, or None where there is none."""
        at_ms = self.document_at_ms(kind, subject)
        return None if at_ms is None else now_ms() - at_ms

    def put_task(self, row: TaskRow, session: Session | None = None) -> None:
        if session is None:
            with self.transaction() as own:
                self.put_task(row, own)
            return
        session.merge(row)

    def tasks(self) -> list[TaskRow]:
        """Every task ever made, oldest first."""
        with self._lock, Session(self._engine) as session:
            rows = list(session.exec(select(TaskRow).order_by(col(TaskRow.created_at_ms))).all())
            for row in rows:
                session.expunge(row)
            return rows

    def task(self, name: str) -> TaskRow | None:
        return next((row for row in self.tasks() if row.name == name), None)

    def put_batch(
        self,
        session: Session,
        name: str,
        phase: str,
        *,
        task: str | None = None,
        certificate: str | None = None,
    ) -> None:
        """Record a batch's phase; task and certificate are kept where None is given."""
        row = session.get(BatchRow, name) or BatchRow(name=name, phase=phase, updated_at_ms=0)
        row.phase = phase
        row.task = task if task is not None else row.task
        row.certificate = certificate if certificate is not None else row.certificate
        row.updated_at_ms = now_ms()
        session.add(row)

    # ---- change ledger ------------------------------------------------------------------------------------------

    def record_change(self, change: Change, operation_id: str | None, session: Session) -> None:
        """Write one applied change with its undo, unless the very same one is in force already."""
        same = session.exec(
            select(ChangeRow).where(
                ChangeRow.scope == change.scope.value,
                ChangeRow.resource == change.resource,
                ChangeRow.name == change.name,
                ChangeRow.key == change.key,
                ChangeRow.status == ChangeStatus.APPLIED.value,
            )
        ).first()
        if same is not None and same.after == change.after:
            return
        session.add(
            ChangeRow(
                at_ms=now_ms(),
                scope=change.scope.value,
                resource=change.resource,
                name=change.name,
                key=change.key,
                before=change.before,
                after=change.after,
                undo=json.dumps(dict(change.undo)) if change.undo else None,
                reason=change.reason,
                operation_id=operation_id,
            )
        )

    def changes(self, *, status: str | None = None) -> list[ChangeRow]:
        """Entries of the change ledger, oldest first."""
        with self._lock, Session(self._engine) as session:
            query = select(ChangeRow).order_by(col(ChangeRow.id))
            if status:
                query = query.where(ChangeRow.status == status)
            rows = list(session.exec(query).all())
            for row in rows:
                session.expunge(row)
            return rows

    def mark_change(self, change_id: int, status: ChangeStatus, session: Session) -> None:
        row = session.get(ChangeRow, change_id)
        if row is not None:
            row.status = status.value
            session.add(row)

    # ---- runs, samples, anchors, waivers, meta ------------------------------------------------------------------

    def put_run(self, row: RunRow, session: Session | None = None) -> None:
        if session is None:
            with self.transaction() as own:
                self.put_run(row, own)
            return
        session.merge(row)

    def runs(self, status: str | None = None) -> list[RunRow]:
        with self._lock, Session(self._engine) as session:
            query = select(RunRow).order_by(col(RunRow.started_at_ms))
            if status:
                query = query.where(RunRow.status == status)
            rows = list(session.exec(query).all())
            for row in rows:
                session.expunge(row)
            return rows

    def add_run_events(self, rows: Iterable[RunEventRow]) -> None:
        """Write play events; safe to repeat (rows are keyed by run and sequence number)."""
        with self.transaction() as session:
            for row in rows:
                session.merge(row)

    def add_sample(self, sample: Sample) -> None:
        with self.transaction() as session:
            session.merge(sample)

    def thin_samples(self, task: str, *, before_ms: int, keep_every_ms: int) -> None:
        """Drop all but one sample per `keep_every_ms` among those older than `before_ms`."""
        with self.transaction() as session:
            session.execute(
                text(
                    "delete from sample where task=:task and at_ms<:before and at_ms not in "
                    "(select max(at_ms) from sample where task=:task and at_ms<:before group by at_ms/:every)"
                ),
                {"task": task, "before": before_ms, "every": keep_every_ms},
            )

    def add_anchors(self, rows: Iterable[AnchorRow], session: Session) -> None:
        for row in rows:
            session.merge(row)

    def anchors(self, task: str, incarnation: int) -> list[AnchorRow]:
        with self._lock, Session(self._engine) as session:
            query = select(AnchorRow).where(AnchorRow.task == task, AnchorRow.incarnation == incarnation)
            rows = list(session.exec(query).all())
            for row in rows:
                session.expunge(row)
            return rows

    def put_waiver(self, row: WaiverRow, session: Session) -> None:
        session.merge(row)

    def waivers(self, at_ms: int) -> list[WaiverRow]:
        """Waivers that still hold at `at_ms`."""
        with self._lock, Session(self._engine) as session:
            rows = list(session.exec(select(WaiverRow).where(WaiverRow.until_ms > at_ms)).all())
            for row in rows:
                session.expunge(row)
            return rows

    def drop_waiver(self, finding_id: str, session: Session) -> None:
        session.exec(delete(WaiverRow).where(col(WaiverRow.finding_id) == finding_id))

    def put_meta(self, values: Mapping[str, str]) -> None:
        with self.transaction() as session:
            for key, value in values.items():
                session.merge(Meta(key=key, value=value))

    def load_operations(self) -> list[tuple[OperationRow, list[StepRow]]]:
        """Operations with their steps in order, oldest first."""
        with self._lock, Session(self._engine) as session:
            rows = list(session.exec(select(OperationRow).order_by(col(OperationRow.created_at_ms))).all())
            steps = list(session.exec(select(StepRow).order_by(col(StepRow.position))).all())
            for row in (*rows, *steps):
                session.expunge(row)
        return [(row, [step for step in steps if step.operation_id == row.id]) for row in rows]
