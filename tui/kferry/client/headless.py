"""A whole migration of the lab without a terminal: the demo's phases in order, each timed, and its proof."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kferry.client import find, formats, rail
from kferry.client.answers import Answers, current_step
from kferry.client.demo import Demo
from kferry.client.session import Session
from kferry.domain.errors import ErrorKind, KferryError
from kferry.store.views import OperationView

_WAIVED_BECAUSE = "demo: an invented business on this machine"
_WAIVER_MS = 24 * 3600 * 1000
_CATCH_UP_SECONDS = 1800.0


@dataclass(slots=True)
class Outcome:
    """What a headless migration gave."""

    batches: list[str] = field(default_factory=list)
    certificates: list[str] = field(default_factory=list)
    verdict: Mapping[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return bool(self.batches) and self.verdict.get("ok") is True


class Migration:
    """Walks one demo through every phase. `say` gets a line per phase."""

    def __init__(self, demo: Demo, say: Callable[[str], None]) -> None:
        self._demo = demo
        self._say = say
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Do it all; KferryError with the step's own words where a phase fails."""
        with self._phase("Lab"):
            session = self._demo.start()
        with self._phase("Connect"):
            self._operation(session, "check_clusters")
        with self._phase("Scan"):
            self._operation(session, "scan")
        with self._phase("Preflight"):
            self._operation(session, "preflight")
            self._waive(session)
        with self._phase("Plan") as note:
            self._operation(session, "plan")
            self.outcome.batches = self._batches(session)
            note.append(" → ".join(self.outcome.batches))
        for batch in self.outcome.batches:
            with self._phase(f"Provision {batch}"):
                self._operation(session, "create_task", {"batch": batch})
        for batch in self.outcome.batches:
            with self._phase(f"Replicate {batch}") as note:
                note.append(self._wait_until_caught_up(session, batch))
        for batch in self.outcome.batches:
            with self._phase(f"Cut over {batch}"):
                self._operation(session, "cutover", {"batch": batch, "run_hooks": True})
        for batch in self.outcome.batches:
            with self._phase(f"Verify {batch}") as note:
                self._operation(session, "verify", {"batch": batch})
                note.append(self._verified(session, batch))
        with self._phase("Ledger") as note:
            note.append(self._judge())
        return self.outcome

    def keep_reports(self) -> Path:
        """Copy certificates and the engine's log to where they outlive the demo's folder."""
        target = find.demo_home() / "reports" / self._demo.home.name
        layout = self._demo.session().layout
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in sorted(layout.reports.glob("*")) if layout.reports.exists() else ():
            if path.is_file():
                shutil.copy2(path, target)
        for log in (layout.engine_log, self._demo.lab.home / "lab.log"):
            if log.exists():
                shutil.copy2(log, target)
        self.outcome.certificates = [str(path) for path in sorted(target.glob("*.md"))]
        return target

    # ---- phases -------------------------------------------------------------------------------------------------

    @contextmanager
    def _phase(self, name: str) -> Iterator[list[str]]:
        began = time.monotonic()
        note: list[str] = []
        yield note
        took = time.monotonic() - began
        self.outcome.seconds[name] = round(took, 2)
        words = f"  {'; '.join(note)}" if note else ""
        self._say(f"✓ {name:<22} {formats.duration(took):>12}{words}")

    def _operation(self, session: Session, kind: str, args: Mapping[str, Any] | None = None) -> None:
        answer = session.ask(kind, args, timeout_seconds=60)
        if answer.operation_id is None:
            return
        answers = Answers(run_hooks=True, uncommitted="earliest")
        seen_ms = 0
        while True:
            operation = session.follow(
                answer.operation_id, on_change=_nothing, timeout_seconds=3600, ignore_until_ms=seen_ms
            )
            step = current_step(operation)
            body = answers.for_step(step) if operation.status == "needs operator" else None
            if body is None or step is None:
                break
            seen_ms = operation.updated_at_ms
            session.ask("answer", {"operation_id": operation.operation_id, "step": step.name, "answer": body})
        if operation.status != "done":
            raise _failure(operation)

    def _waive(self, session: Session) -> None:
        now_ms = int(time.time() * 1000)
        stopping = [finding for finding in session.reader.findings(now_ms) or () if finding.stops]
        blocks = [finding for finding in stopping if finding.severity == "block"]
        if blocks:
            raise KferryError(
                f"Preflight blocks: {'; '.join(finding.title for finding in blocks)}",
                cause=blocks[0].evidence,
                next_step=blocks[0].fix,
                kind=ErrorKind.NOT_READY,
            )
        for finding in stopping:
            self._say(f"  waived {finding.finding_id}: {finding.title} ({_WAIVED_BECAUSE})")
            args = {"finding_id": finding.finding_id, "why": _WAIVED_BECAUSE, "until_ms": now_ms + _WAIVER_MS}
            session.ask("waive", args)

    @staticmethod
    def _batches(session: Session) -> list[str]:
        plan = session.plan_view()
        if plan.error:
            raise KferryError.from_dict(dict(plan.error))
        if not plan.batches:
            raise KferryError("The plan has no batches.", next_step="Look at plan.yml under left_out.")
        return [batch.name for batch in plan.batches]

    @staticmethod
    def _wait_until_caught_up(session: Session, batch: str) -> str:
        closeness = rail.closeness(session)
        deadline = time.monotonic() + _CATCH_UP_SECONDS
        while True:
            task = next((item for item in session.reader.tasks() if item.batch == batch), None)
            is_running = task is not None and task.state == "Running"
            if task and is_running and closeness.holds(task.lag_records, task.ingress_records_per_second):
                return f"{formats.records(task.lag_records)} records behind"
            if not session.engine().alive:
                raise KferryError("The engine ended while a task was copying.", log=str(session.layout.engine_log))
            if time.monotonic() > deadline:
                words = f"{task.state}: {task.state_reason}; lag {formats.records(task.lag_records)}" if task else ""
                raise KferryError(
                    f"{batch} has not caught up in {formats.duration(_CATCH_UP_SECONDS)}.",
                    cause=words,
                    log=str(session.layout.engine_log),
                    kind=ErrorKind.TIMEOUT,
                )
            time.sleep(0.5)

    @staticmethod
    def _verified(session: Session, batch: str) -> str:
        found = session.reader.document("verification", batch)
        if found is None or found[1].get("ok") is not True:
            figures = found[1] if found else {}
            raise KferryError(
                f"{batch}: the target is not as the source: {formats.records(figures.get('missing'))} missing, "
                f"{formats.records(figures.get('reordered'))} out of order."
            )
        return f"nothing missing, {formats.records(found[1].get('repeats'))} repeats"

    def _judge(self) -> str:
        self.outcome.verdict = self._demo.lab.oracle()
        if self.outcome.verdict.get("ok") is not True:
            raise KferryError(
                "The lab's ledger disagrees with the target.",
                cause=str({key: value for key, value in self.outcome.verdict.items() if not isinstance(value, list)}),
            )
        return "everything committed on the source is on the target"


def _nothing(_operation: OperationView) -> None:
    """The headless demo prints a line per phase, not per step."""


def _failure(operation: OperationView) -> KferryError:
    step = next((item for item in operation.steps if item.error), None) or current_step(operation)
    told = (step.error if step else None) or operation.error
    about = f"{operation.title} ({operation.subject})" if operation.subject else operation.title
    if told:
        error = KferryError.from_dict(dict(told))
        error.title = f"{about}: {error.title}"
        return error
    where = f" in {step.title!r}" if step else ""
    return KferryError(f"{about}: {operation.status}{where}.")
