"""The phase of a batch in the journal: read, and moved only where the table of phases allows it."""

from __future__ import annotations

from sqlmodel import Session

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.lifecycle import may_follow
from kferry.domain.model import BatchPhase
from kferry.store.journal import Journal
from kferry.store.tables import BatchRow


def batch_phase(journal: Journal, name: str) -> BatchPhase:
    """The phase a batch is in; planned for one nobody touched yet."""
    with journal.transaction() as session:
        row = session.get(BatchRow, name)
        return BatchPhase(row.phase) if row else BatchPhase.PLANNED


def set_phase(
    journal: Journal,
    name: str,
    phase: BatchPhase,
    *,
    task: str | None = None,
    certificate: str | None = None,
    operation_id: str | None = None,
) -> None:
    """Move a batch on. Raises KferryError for a move that makes no sense; staying is allowed."""
    with journal.transaction() as session:
        _set(journal, session, name, phase, task, certificate, operation_id)


def _set(
    journal: Journal,
    session: Session,
    name: str,
    phase: BatchPhase,
    task: str | None,
    certificate: str | None,
    operation_id: str | None,
) -> None:
    row = session.get(BatchRow, name)
    before = BatchPhase(row.phase) if row else BatchPhase.PLANNED
    if not may_follow(before, phase):
        raise KferryError(f"Batch {name} cannot go from {before.value} to {phase.value}.", kind=ErrorKind.NOT_READY)
    journal.put_batch(session, name, phase.value, task=task, certificate=certificate)
    if before is not phase:
        payload = {"from": before.value, "to": phase.value}
        journal.append(session, "batch_phase_changed", subject=name, operation_id=operation_id, payload=payload)
