"""What an operation is made of: named steps in order. The tables of steps live in runbooks.py and cutover.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class OperationKind(StrEnum):
    """Everything that can be asked of the engine and runs as ordered steps."""

    CHECK_CLUSTERS = "check_clusters"
    CHECK_DRAFT = "check_draft"
    SCAN = "scan"
    PREFLIGHT = "preflight"
    PLAN = "plan"
    CREATE_TASK = "create_task"
    UPDATE_TASK = "update_task"
    PAUSE_TASK = "pause_task"
    RESUME_TASK = "resume_task"
    DELETE_TASK = "delete_task"
    CUTOVER = "cutover"
    VERIFY = "verify"
    UNDO_CHANGE = "undo_change"
    FLEET_CHECK = "fleet_check"
    SCALE_TASK = "scale_task"
    RESTART_TASK = "restart_task"
    ROTATE_TASK = "rotate_task"
    UPGRADE_TASK = "upgrade_task"
    DIAGNOSE = "diagnose"
    TEARDOWN_HOST = "teardown_host"
    APPLY_ACLS = "apply_acls"
    PLAN_ACCESS = "plan_access"
    APPLY_ACCESS = "apply_access"
    PROBE_PRINCIPAL = "probe_principal"
    FIX_FINDINGS = "fix_findings"


class StepKind(StrEnum):
    """How a step is carried out.

    `act` changes something; `gate` waits until a measured condition holds; `owner` is a gate whose condition the
    application owners bring about (a hook from kferry.yml may do it); `decide` waits for the operator's answer.
    """

    ACT = "act"
    GATE = "gate"
    OWNER = "owner"
    DECIDE = "decide"


class StepStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"  # being observed or acted on
    ACTED = "acted"  # acted, not yet verified
    WAITING = "waiting"  # a gate that does not hold yet
    NEEDS_OPERATOR = "needs operator"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNDONE = "undone"  # compensated by an abort


class OperationStatus(StrEnum):
    RUNNING = "running"
    NEEDS_OPERATOR = "needs operator"
    ABORTING = "aborting"
    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"

    @property
    def is_final(self) -> bool:
        return self in (OperationStatus.DONE, OperationStatus.FAILED, OperationStatus.ABORTED)


@dataclass(frozen=True, slots=True)
class StepDefinition:
    """One row of a runbook.

    `gate` says in a sentence what must hold; `way_back` what an abort does about this step ("" = nothing to do);
    `hook` names the owner hook that may bring the condition about; `irreversible` marks the point of no return.
    """

    name: str
    kind: StepKind
    title: str
    gate: str = ""
    way_back: str = ""
    hook: str = ""
    irreversible: bool = False
    timeout_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Runbook:
    """An operation's steps in order. `exclusive` is what it locks: one operation at a time per subject there.

    `variant` tells runbooks of the same kind apart; an operation keeps the one it began with in its args (`runbook`).
    """

    kind: OperationKind
    title: str
    steps: tuple[StepDefinition, ...]
    exclusive: str = "task"
    variant: str = ""

    def step(self, name: str) -> StepDefinition:
        return next(step for step in self.steps if step.name == name)


@dataclass(frozen=True, slots=True)
class StepState:
    """Where one step of one operation stands. `evidence` is what was measured last."""

    name: str
    status: StepStatus = StepStatus.PENDING
    attempt: int = 0
    evidence: Mapping[str, object] = field(default_factory=dict)
    error: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as the machine holds it; the operation and step rows of the journal are exactly this."""

    operation_id: str
    kind: OperationKind
    subject: str
    args: Mapping[str, object]
    status: OperationStatus
    steps: tuple[StepState, ...]
    error: Mapping[str, str] | None = None

    @property
    def current(self) -> StepState | None:
        """The first step that is not over, or None."""
        over = (StepStatus.DONE, StepStatus.SKIPPED, StepStatus.UNDONE)
        return next((step for step in self.steps if step.status not in over), None)

    def step(self, name: str) -> StepState:
        return next(step for step in self.steps if step.name == name)
