"""A migration directory and its engine, driven as its users do: through the session."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kferry.client.session import Session
from kferry.store import chain
from kferry.store.engine_lock import engine_holds_lock
from kferry.store.views import OperationView, StepView, TaskView
from support.waiting import wait_until


class EngineRun:
    """One migration directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.session = Session(root)
        self.layout = self.session.layout

    def engine_lives(self) -> bool:
        return engine_holds_lock(self.layout.lock)

    def ask(self, kind: str, args: Mapping[str, Any] | None = None) -> str:
        """Send a wish that becomes an operation; its id."""
        answer = self.session.ask(kind, args, timeout_seconds=60)
        assert answer.operation_id is not None, answer
        return answer.operation_id

    def do(self, kind: str, args: Mapping[str, Any] | None = None, deadline_seconds: float = 180) -> OperationView:
        """Send a wish, wait for its end, expect that it is done."""
        return self.done(self.ask(kind, args), deadline_seconds)

    def done(self, operation_id: str, deadline_seconds: float = 180) -> OperationView:
        found = self.session.follow(operation_id, on_change=lambda _: None, timeout_seconds=deadline_seconds)
        assert found.status == "done", words(found)
        return found

    def operation(self, operation_id: str) -> OperationView:
        """An operation as it stands; a wish is accepted just before its operation is written."""
        found = wait_until(lambda: self.session.reader.operation(operation_id), 10, f"operation {operation_id}")
        assert found is not None
        return found

    def step(self, operation_id: str, name: str) -> StepView:
        return next(step for step in self.operation(operation_id).steps if step.name == name)

    def reaches(self, operation_id: str, name: str, deadline_seconds: float = 120) -> StepView:
        """Wait until an operation has measured the gate of this step and waits for it."""
        deadline = time.monotonic() + deadline_seconds
        while (found := self.step(operation_id, name)).status != "waiting":
            operation = self.operation(operation_id)
            over = operation.status not in ("running", "aborting")
            assert not over and time.monotonic() < deadline, words(operation)
            time.sleep(0.1)
        return found

    def answer(self, operation_id: str, step: str, **body: Any) -> None:
        self.session.ask("answer", {"operation_id": operation_id, "step": step, "answer": body})

    def task(self, name: str) -> TaskView:
        found = self.session.reader.task(name)
        assert found is not None, f"there is no task {name}"
        return found

    def is_state(self, name: str, state: str, deadline_seconds: float = 60) -> TaskView:
        """Wait until a task is in a state."""
        wait_until(lambda: self.task(name).state == state, deadline_seconds, f"task {name} is {state}")
        return self.task(name)

    def caught_up(self, name: str, deadline_seconds: float = 120) -> None:
        """Wait until a task runs and is less than a thousand records behind."""

        def is_close() -> bool:
            task = self.task(name)
            return task.state == "Running" and task.lag_records is not None and task.lag_records < 1000

        wait_until(is_close, deadline_seconds, f"{name} has caught up")

    def phase(self, batch: str) -> str:
        rows = self.session.reader.batch_rows()
        return str(rows[batch]["phase"]) if batch in rows else "planned"

    def is_switched(self, batch: str) -> bool:
        return self.phase(batch) == "switched"

    def waive_all(self) -> None:
        """Waive what may be waived; what blocks fails the test."""
        now_ms = int(time.time() * 1000)
        for finding in self.session.reader.findings(now_ms) or ():
            assert finding.severity != "block", finding
            if finding.stops:
                why = {"finding_id": finding.finding_id, "why": "a test", "until_ms": now_ms + 3_600_000}
                self.session.ask("waive", why)

    def broken_link(self) -> int | None:
        return chain.first_broken_link(self.session.reader.rows("select * from event order by seq"))

    def doubled_changes(self) -> list[tuple[Any, ...]]:
        """Changes that stand in the ledger more than once and are in force: a step that acted twice."""
        rows = self.session.reader.rows(
            "select scope, resource, name, key, count(*) from change where status='applied'"
            " group by scope, resource, name, key, after having count(*) > 1"
        )
        return [tuple(row) for row in rows]


def words(operation: OperationView) -> str:
    """An operation as a line per step, for the message of a failed test."""
    lines = [f"{operation.kind} {operation.subject}: {operation.status} {dict(operation.error or {})}"]
    lines += [
        f"  {step.name}: {step.status} {dict(step.error or {})} {dict(step.evidence)}"
        for step in operation.steps
        if step.status not in ("pending", "done")
    ]
    return "\n".join(lines)


def eventually_equal(measure: Callable[[], Any], wanted: Any, deadline_seconds: float, what: str) -> None:
    """Poll until a measurement is as wanted; the last one is in the message where it never is."""
    deadline = time.monotonic() + deadline_seconds
    while (seen := measure()) != wanted:
        assert time.monotonic() < deadline, f"{what}: {seen!r} instead of {wanted!r}"
        time.sleep(0.2)
