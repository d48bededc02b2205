"""An engine that dies at a named moment of a step: a child of the test, so that its end by SIGKILL can be seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from kferry.domain.runbook import OperationKind
from kferry.domain.runbooks import RUNBOOKS
from support.engine_run import words
from support.lab_run import LabRun
from support.waiting import wait_until

MOMENTS = ("before", "acted", "verified")
DIES_WITHIN_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class KillPoint:
    """A step and a moment of it."""

    step: str
    moment: str

    def __str__(self) -> str:
        return f"{self.step}:{self.moment}"


def kill_points(kind: OperationKind) -> list[KillPoint]:
    """Every moment of every step of a runbook, in the order in which an operation passes them."""
    return [KillPoint(step.name, moment) for step in RUNBOOKS[kind].steps for moment in MOMENTS]


class DoomedEngine:
    """Engines of one migration, one after the other, each started with the moment at which it dies."""

    def __init__(self, run: LabRun) -> None:
        self._run = run
        self._process: subprocess.Popen[bytes] | None = None
        self._log = run.root.parent / "doomed.log"

    def start(self, point: KillPoint | None) -> None:
        """Start an engine that dies at `point`; return once it lives, or is dead already."""
        assert not self._run.engine_lives(), "the engine before still lives"
        environment = {key: value for key, value in os.environ.items() if key != "KFERRY_KILL_AT"}
        if point is not None:
            environment["KFERRY_KILL_AT"] = str(point)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kferry.engine", str(self._run.root)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        process = self._process

        def is_up() -> bool:
            engine = self._run.session.engine()
            return process.poll() is not None or (engine.alive and engine.pid == process.pid)

        wait_until(is_up, 60, "the engine starts")

    def dies(self, operation_id: str) -> None:
        """Wait until the kill hook has ended it; anything else that ends or holds up the operation is a failure."""
        assert self._process is not None
        deadline = time.monotonic() + DIES_WITHIN_SECONDS
        while (code := self._process.poll()) is None:
            found = self._run.session.reader.operation(operation_id)
            if found is not None:  # "done" is written just before the last point of the last step
                assert found.status in ("running", "done"), f"the kill point was not passed: {words(found)}"
            late = f"the kill point was not passed in time: {words(found) if found else operation_id}"
            assert time.monotonic() < deadline, late
            time.sleep(0.05)
        assert code == -signal.SIGKILL, f"the engine ended with {code}: {self._log.read_text()[-2000:]}"
        assert not self._run.engine_lives(), "a dead engine holds the lock"

    def end(self) -> None:
        """End the living one, if any, and collect it."""
        if self._process is not None and self._process.poll() is None:
            self._run.session.stop_engine()
            self._process.wait(30)
