"""An engine that only holds the lock and answers wishes as it was told: for tests of the faces."""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from kferry.domain.runbook import Operation, OperationKind, OperationStatus, StepState, StepStatus
from kferry.domain.runbooks import RUNBOOKS
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.tables import Intent

# What is answered to a wish: (status, details of Journal.answer_intent).
Answer = tuple[str, Mapping[str, Any]]


class FakeEngine:
    """Holds the flock while entered. `on(kind, ...)` says how wishes of a kind are answered; others are done."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._answers: dict[str, Callable[[Mapping[str, Any]], Answer]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seen: list[tuple[str, Mapping[str, Any]]] = []

    def __enter__(self) -> FakeEngine:
        self._lock = self._layout.lock.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.journal = Journal(self._layout.journal)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Let the lock go, as an engine does that ends."""
        self._stop.set()
        self._thread.join()
        if not self._lock.closed:
            self._lock.close()
            self.journal.close()

    def on(self, kind: str, answer: Callable[[Mapping[str, Any]], Answer]) -> None:
        self._answers[kind] = answer

    def operation(
        self,
        kind: OperationKind,
        status: OperationStatus,
        *,
        subject: str = "",
        operation_id: str = "op-1",
        steps: Mapping[str, StepStatus] | None = None,
        error: Mapping[str, str] | None = None,
        error_at: str = "",
    ) -> str:
        """Write an operation; steps not named are done if it is done, else pending. `error` stands at `error_at`."""
        rest = StepStatus.DONE if status is OperationStatus.DONE else StepStatus.PENDING
        states = tuple(
            StepState(
                step.name,
                (steps or {}).get(step.name, rest),
                attempt=1,
                error=error if step.name == error_at else None,
            )
            for step in RUNBOOKS[kind].steps
        )
        found = Operation(operation_id, kind, subject, {}, status, states, None if error_at else error)
        with self.journal.transaction() as session:
            self.journal.save_operation(session, found)
        return operation_id

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            for intent in self.journal.waiting_intents():
                self._answer(intent)

    def _answer(self, intent: Intent) -> None:
        args = json.loads(intent.args)
        self.seen.append((intent.kind, args))
        status, details = self._answers.get(intent.kind, lambda _args: ("done", {}))(args)
        with self.journal.transaction() as session:
            self.journal.answer_intent(session, intent.id, status, **details)
        if intent.kind == "stop_engine" and status == "done":
            self._stop.set()
            self._lock.close()
            self.journal.close()
