"""Answers that were given before they were asked for: by options of a command or by the demo."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kferry.store.views import OperationView, StepView

_STEP_OVER = ("done", "skipped", "undone")


def current_step(operation: OperationView) -> StepView | None:
    """The first step that is not over, or None."""
    return next((step for step in operation.steps if step.status not in _STEP_OVER), None)


@dataclass(slots=True)
class Answers:
    """What may be answered without asking; each step once, so that a failing hook is not run forever."""

    run_hooks: bool = False
    uncommitted: str | None = None
    _given: set[str] = field(default_factory=set)

    def for_step(self, step: StepView | None) -> dict[str, Any] | None:
        if step is None or step.name in self._given:
            return None
        body: dict[str, Any] | None = None
        if step.kind == "decide" and self.uncommitted:
            body = {"uncommitted": self.uncommitted}
        elif step.kind == "owner" and self.run_hooks and step.hook and not step.error:
            body = {"run_hook": True}
        if body is not None:
            self._given.add(step.name)
        return body
