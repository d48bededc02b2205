"""What a step of a runbook does: the base class of all steps, and the registry that ties them to the runbooks."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kferry.domain.runbook import OperationKind
from kferry.domain.runbooks import RUNBOOKS

if TYPE_CHECKING:
    from kferry.engine.context import StepContext


@dataclass(frozen=True, slots=True)
class Check:
    """One measurement of a step's condition. `evidence` is JSON-ready and shown to the operator."""

    holds: bool
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """A step can't go on without the operator: what to decide, and what it rests on."""

    title: str
    next_step: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


class Step:
    """One step. Each method is safe to repeat, since an engine may die after any line of it.

    The runner calls `check` first (unless `acts_always`): what holds already is not done again. Then `act`, then
    `check` until it holds or the definition's timeout is over. `undo` puts back and returns evidence.
    """

    acts_always = False
    poll_seconds = 0.5

    def act(self, ctx: StepContext) -> None:
        """Change something; nothing by default (gates)."""

    def will_act(self, ctx: StepContext) -> bool:
        """For gates: whether `act` would do something now (run a hook)."""
        return False

    def check(self, ctx: StepContext) -> Check | Question:
        """Measure, now, whether the step's condition holds."""
        return Check(True)

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        """Put back what `act` changed; the default has nothing to put back."""
        return {}


STEPS: dict[tuple[OperationKind, str], Step] = {}


def step(*places: tuple[OperationKind, str]) -> Callable[[type[Step]], type[Step]]:
    """Register a step class for one or more (operation kind, step name) places; the runbook must know them."""

    def register(cls: type[Step]) -> type[Step]:
        for kind, name in places:
            RUNBOOKS[kind].step(name)
            STEPS[kind, name] = cls()
        return cls

    return register


def all_places() -> list[tuple[OperationKind, str]]:
    """Every (operation kind, step name) of every runbook, in order."""
    return [(kind, item.name) for kind, runbook in RUNBOOKS.items() for item in runbook.steps]


def kill_point(step_name: str, moment: str) -> None:
    """Die here if KFERRY_KILL_AT names this step and moment (`step:before|acted|verified`): the kill sweep's hook."""
    if f"{step_name}:{moment}" in os.environ.get("KFERRY_KILL_AT", "").split(","):
        os.kill(os.getpid(), signal.SIGKILL)
