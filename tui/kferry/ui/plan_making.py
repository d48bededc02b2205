"""Whether the engine makes the plan just now, and why it could not make it the last time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kferry.client.session import Session
from kferry.ui.messages import Frame


@dataclass(frozen=True, slots=True)
class Making:
    is_running: bool = False
    error: Mapping[str, str] | None = None


def read(session: Session, frame: Frame) -> Making:
    """Of the newest operation that makes a plan. What ran in an engine that is gone runs no more; a failure that
    plan.yml was written after is over."""
    newest = next(iter(session.reader.operations(kind="plan", limit=1)), None)
    if newest is None:
        return Making()
    if newest.status not in ("failed", "needs operator"):
        return Making(is_running=frame.alive and newest.status in ("running", "aborting"))
    try:
        written_at_ms = int(session.layout.plan.stat().st_mtime * 1000)
    except OSError:
        written_at_ms = 0  # there is no plan yet
    if written_at_ms > newest.created_at_ms:
        return Making()
    return Making(error=newest.error or next((step.error for step in newest.steps if step.error), None))
