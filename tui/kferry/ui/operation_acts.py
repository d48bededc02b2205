"""Wishes about an operation that runs or needs the operator: retry, abort, answers."""

from __future__ import annotations

from typing import Any

from kferry.store.queries import Reader
from kferry.store.views import OperationView
from kferry.ui.rows.work import current_step

_OPEN = ("running", "needs operator", "aborting")


def open_operations(reader: Reader) -> dict[str, OperationView]:
    """The operation that is under way for each subject."""
    return {
        operation.subject: operation
        for operation in reversed(reader.operations(limit=50))
        if operation.status in _OPEN and operation.subject
    }


def args_for(action_id: str, operation: OperationView | None) -> dict[str, Any] | None:
    """The arguments of `retry`, `abort` and `run_hook`; None where they make no sense now."""
    if operation is None or operation.status not in _OPEN:
        return None
    if action_id == "abort":
        return {"operation_id": operation.operation_id}
    step = current_step(operation)
    if step is None:
        return None
    answers: dict[str, dict[str, Any]] = {"retry": {"retry": True}}
    if step.kind == "owner" and step.hook:
        answers["run_hook"] = {"run_hook": True}
    if action_id not in answers:
        return None
    return {"operation_id": operation.operation_id, "step": step.name, "answer": answers[action_id]}
