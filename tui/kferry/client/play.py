"""A play told host by host: what each does now, what it has done, and what it failed at."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kferry.store.views import OperationView, RunStepView, RunView

# How much of a log is read for its tail.
TAIL_BYTES = 64 * 1024
TAIL_LINES = 400
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

_OUTCOMES = ("ok", "changed", "failed", "skipped", "unreachable", "retry")
_BAD = ("failed", "unreachable")
# worst first: what an operator looks at first
STATES = ("failed", "unreachable", "went on", "working", "waiting", "ended", "done")


@dataclass(slots=True)
class HostPlay:
    """One host of a play. `state` is one of STATES; `went on`: a failed step was caught by the play itself."""

    host: str
    state: str = "waiting"
    play: str = ""
    role: str = ""
    step: str = ""
    step_since_ms: int = 0
    ok: int = 0
    changed: int = 0
    failed: int = 0
    retries: int = 0
    first_ms: int = 0
    last_ms: int = 0
    failures: list[RunStepView] = field(default_factory=list)
    outcomes: list[RunStepView] = field(default_factory=list)

    def seconds(self, now_ms: int) -> float:
        """How long it has been at work, or was."""
        end = now_ms if self.state == "working" else self.last_ms
        return max(0, end - self.first_ms) / 1000

    def step_seconds(self, now_ms: int) -> float | None:
        """How long the step of now takes already; None where the host is not at work."""
        return max(0, now_ms - self.step_since_ms) / 1000 if self.state == "working" else None


def hosts_of(steps: Sequence[RunStepView], run: RunView) -> list[HostPlay]:
    """Every host that the play has named, failed ones first, then by name."""
    found: dict[str, HostPlay] = {}
    current: RunStepView | None = None  # the step that hosts of this batch are at
    batch: set[str] = set()  # hosts seen since the play, or its next batch of hosts, began
    for item in steps:
        if item.kind == "play":
            batch, current = set(), None
        elif item.kind == "step":
            current = item
            for name in batch:
                _begin(found[name], item)
        elif item.kind in _OUTCOMES and item.host:
            host = found.setdefault(item.host, HostPlay(item.host, first_ms=current.at_ms if current else item.at_ms))
            batch.add(item.host)
            _take(host, item, current)
    for host in found.values():
        host.state = _state(host, host.host in batch, run.status)
    return sorted(found.values(), key=lambda host: (STATES.index(host.state), host.host))


def _begin(host: HostPlay, step: RunStepView) -> None:
    if host.outcomes and host.outcomes[-1].kind in _BAD:
        return  # Ansible gives it up, unless the play catches the failure; then another outcome follows
    host.play, host.role, host.step, host.step_since_ms = step.play, step.role, step.step, step.at_ms
    host.state = "working"


def _take(host: HostPlay, item: RunStepView, current: RunStepView | None) -> None:
    host.play, host.role, host.step = item.play, item.role, item.step or host.step
    host.last_ms = item.at_ms
    if item.kind == "retry":
        host.retries += 1
        host.state = "working"
        host.step_since_ms = host.step_since_ms or (current.at_ms if current else item.at_ms)
    else:
        host.state = "waiting"
    if item.kind == "ok":
        host.ok += 1
    elif item.kind == "changed":
        host.changed += 1
    elif item.kind in _BAD:
        host.failed += 1
        host.failures.append(item)
    host.outcomes.append(item)


def _state(host: HostPlay, in_batch: bool, run_status: str) -> str:
    running = run_status == "running"
    last = next((item.kind for item in reversed(host.outcomes) if item.kind != "retry"), "")
    if last in _BAD:
        return last
    if running and host.state == "working":
        return "working" if in_batch else "waiting"
    if host.failures:
        return "went on"
    if running:
        return "waiting"
    # where the play was cut off nobody knows what the host did next
    return "done" if run_status in ("successful", "failed") else "ended"


def last_failure(hosts: Iterable[HostPlay]) -> RunStepView | None:
    """The newest failure that was not caught."""
    found = [host.failures[-1] for host in hosts if host.state in _BAD and host.failures]
    return max(found, key=lambda item: item.seq) if found else None


def next_words(run: RunView, operation: OperationView | None) -> str:
    """What comes after this play, as one sentence."""
    if operation is None:
        return "nothing waits for this play" if run.status != "running" else "wait until it is over"
    step = next((item for item in operation.steps if item.name == run.step), None)
    if operation.run_ids and operation.run_ids[-1] != run.run_id and run.status != "running":
        return f"nothing: a later play of this operation followed ({operation.run_ids[-1]})"
    told = (step.error if step else None) or operation.error
    if operation.status in ("needs operator", "failed") and told:
        return told.get("next_step") or told.get("title") or "look at the failing step, then try again"
    if operation.status == "done":
        return "nothing: the operation is done"
    if operation.status in ("aborting", "aborted"):
        return "nothing: the operation goes back" if operation.status == "aborting" else "nothing: it was aborted"
    names = [item.name for item in operation.steps]
    later = operation.steps[names.index(run.step) + 1 :] if run.step in names else ()
    after = next((item.title for item in later if item.status == "pending"), "")
    if not after:
        return "then the operation is over"
    return f"then: {after[0].lower()}{after[1:]}"


def log_tail(path: str) -> tuple[list[str], str]:
    """(the last lines of a log without its colours, why there are none). It is data of hosts: clean it to show it."""
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            body = file.read(TAIL_BYTES)
    except FileNotFoundError:
        return [], "There is no log yet."
    except OSError as error:
        return [], f"The log cannot be read: {error.strerror or error}."
    lines = _COLOUR.sub("", body.decode("utf-8", "replace")).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    if size > TAIL_BYTES and lines:
        lines = lines[1:]  # begins somewhere in a line
    return lines[-TAIL_LINES:], "" if lines else "The log is empty."
