"""The engine's loop: events in, `domain.machine.step`, rows and event saved in one transaction, commands out.

Invariant: only this loop's thread calls the machine and writes operations (one mutator). Threads hand it events and
wait until they are saved.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlmodel import Session

from kferry import __version__
from kferry.domain import machine
from kferry.domain.runbook import Operation, OperationKind, OperationStatus, StepState, StepStatus
from kferry.engine.context import Services, StepContext
from kferry.engine.intents import Intents
from kferry.engine.observers import Observers
from kferry.engine.runner import StepRun
from kferry.engine.watch_newcomers import NewcomerWatch
from kferry.store.journal import now_ms

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 2.0
INTENT_POLL_SECONDS = 0.15
# measured gates are saved with their operation, but only what happened goes into the chain
_UNCHAINED = (machine.StepMeasured,)


@dataclass
class _Posted:
    event: machine.Event | Callable[[], None]
    saved: threading.Event = field(default_factory=threading.Event)


class Engine:
    """One migration's engine. `run` returns when it was asked to stop."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.operations: dict[str, Operation] = {}
        self._queue: queue.Queue[_Posted] = queue.Queue()
        self._runs: dict[str, StepRun] = {}
        self.stopping = threading.Event()
        self._intents = Intents(self)
        self._observers = Observers(services, self.operations_now)
        self._newcomers = NewcomerWatch(services, self.operations_now)

    # ---- for other threads ----------------------------------------------------------------------------------------

    def post(self, event: machine.Event | Callable[[], None]) -> None:
        """Hand an event (or something to be done there) to the loop and wait until it is through with it.

        From the loop's own thread: use `apply`.
        """
        posted = _Posted(event)
        self._queue.put(posted)
        while not posted.saved.wait(0.5):
            if self.stopping.is_set():
                return

    def operations_now(self) -> Mapping[str, Operation]:
        """The operations as they stand; a snapshot that is safe to read from any thread."""
        return self.operations

    def request_stop(self) -> None:
        self.stopping.set()

    # ---- the loop ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Take over what an earlier engine left, then work until asked to stop."""
        self._load()
        journal = self.services.journal
        # before the process id: who sees that may count on this
        journal.event("engine_started", payload={"pid": os.getpid(), "version": __version__})
        journal.put_meta(
            {
                "engine_pid": str(os.getpid()),
                "engine_started_at_ms": str(now_ms()),
                "engine_version": __version__,
                "engine_heartbeat_at_ms": str(now_ms()),
            }
        )
        self.apply(machine.EngineStarted())
        self._observers.start()
        self._newcomers.start()
        beat = intents_at = 0.0
        try:
            while not self.stopping.is_set():
                now = time.monotonic()
                if now - beat > HEARTBEAT_SECONDS:
                    beat = now
                    journal.put_meta({"engine_heartbeat_at_ms": str(now_ms())})
                if now - intents_at > INTENT_POLL_SECONDS:
                    intents_at = now
                    self._intents.answer_waiting()
                try:
                    posted = self._queue.get(timeout=INTENT_POLL_SECONDS)
                except queue.Empty:
                    continue
                try:
                    if callable(posted.event):
                        posted.event()
                    else:
                        self.apply(posted.event)
                finally:
                    posted.saved.set()
        finally:
            self._observers.stop()
            self._newcomers.stop()
            for run in self._runs.values():
                run.cancel()
            journal.event("engine_stopped", payload={"pid": os.getpid()})

    def apply(self, event: machine.Event, saying: Callable[[Session], None] | None = None) -> None:
        """Let the machine take one event, save what it made of it, carry out its commands. Loop thread only.

        `saying` writes the answer to the intent behind the event, in the same transaction: neither stands without the
        other, whenever the engine dies.
        """
        before = self.operations
        after, commands = machine.step(before, event)
        changed = [operation for key, operation in after.items() if before.get(key) is not operation]
        journal = self.services.journal
        if changed or saying is not None:
            with journal.transaction() as session:
                if saying is not None:
                    saying(session)
                for operation in changed:
                    journal.save_operation(session, operation)
                if not isinstance(event, _UNCHAINED):
                    payload = asdict(event)
                    operation_id = payload.pop("operation_id", None)
                    journal.append(
                        session,
                        _event_name(event),
                        subject=after[operation_id].subject if operation_id else "",
                        operation_id=operation_id,
                        payload=payload,
                    )
        self.operations = after
        for command in commands:
            self._carry_out(command)

    def _carry_out(self, command: machine.Command) -> None:
        key = command.operation_id
        if isinstance(command, machine.CancelStep):
            if key in self._runs:
                self._runs[key].cancel()
        elif isinstance(command, machine.CloseOperation):
            self._intents.close(self.operations[key])
        else:
            ctx = StepContext(self.services, _Live(self), key, command.step)
            undo = isinstance(command, machine.UndoStep)
            run = StepRun(ctx, self.post, undo=undo, after=self._runs.get(key))
            self._runs[key] = run
            run.start()

    def _load(self) -> None:
        """Read the operations of earlier engines; the rows are exactly the machine's state."""
        for row, steps in self.services.journal.load_operations():
            self.operations[row.id] = Operation(
                operation_id=row.id,
                kind=OperationKind(row.kind),
                subject=row.subject,
                args=json.loads(row.args),
                status=OperationStatus(row.status),
                steps=tuple(
                    StepState(
                        name=item.name,
                        status=StepStatus(item.status),
                        attempt=item.attempt,
                        evidence=json.loads(item.evidence),
                        error=json.loads(item.error) if item.error else None,
                    )
                    for item in steps
                ),
                error=json.loads(row.error) if row.error else None,
            )


class _Live(Mapping[str, Operation]):
    """The engine's operations, always the newest: what a step's context looks at."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getitem__(self, key: str) -> Operation:
        return self._engine.operations[key]

    def __iter__(self) -> Any:
        return iter(self._engine.operations)

    def __len__(self) -> int:
        return len(self._engine.operations)


def _event_name(event: machine.Event) -> str:
    """OperationAsked -> operation_asked."""
    if isinstance(event, machine.EngineStarted):
        return "operations_taken_over"
    name = type(event).__name__
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")
