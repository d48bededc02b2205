"""The state of a migration task and the phase of a batch: derived, with the tables of what may follow what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kferry.domain.model import BatchPhase, Desired, TaskState
from kferry.domain.runbook import OperationKind


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What the state is derived from. `observed` None: not measured since the engine started."""

    desired: Desired
    operation: OperationKind | None
    observed: bool
    connectors_running: bool | None
    connectors_stopped: bool | None
    failures: Sequence[str]
    alarms: Sequence[str]
    workers_alive: bool | None
    status_unreadable: bool = False
    lag_known: bool = True


# operations in whose course the state says what is being done
_STATE_DURING = {
    OperationKind.CREATE_TASK: TaskState.CREATING,
    OperationKind.UPDATE_TASK: TaskState.MODIFYING,
    OperationKind.PAUSE_TASK: TaskState.MODIFYING,
    OperationKind.RESUME_TASK: TaskState.MODIFYING,
    OperationKind.DELETE_TASK: TaskState.DELETING,
    OperationKind.SCALE_TASK: TaskState.MODIFYING,
    OperationKind.RESTART_TASK: TaskState.MODIFYING,
    OperationKind.ROTATE_TASK: TaskState.MODIFYING,
    OperationKind.UPGRADE_TASK: TaskState.MODIFYING,
}

# what is done to the workers of a task; accepted whenever it has workers and nothing else is in flight
_ON_WORKERS = frozenset(
    {
        OperationKind.SCALE_TASK,
        OperationKind.RESTART_TASK,
        OperationKind.ROTATE_TASK,
        OperationKind.UPGRADE_TASK,
    }
)


def task_state(facts: TaskFacts) -> tuple[TaskState, str]:
    """The state and the reason in words. Health is progress: RUNNING connectors alone prove nothing."""
    if facts.operation in _STATE_DURING:
        return _STATE_DURING[facts.operation], "an operation is in flight"
    if facts.desired is Desired.ABSENT:
        return TaskState.DELETED, "deleted by the operator"
    if facts.alarms:
        return TaskState.SERVICE_EXCEPTION, facts.alarms[0]
    if facts.workers_alive is False:
        return TaskState.SERVICE_EXCEPTION, "no worker answers"
    if facts.status_unreadable:
        return TaskState.SERVICE_EXCEPTION, "Connect does not tell the state of its connectors"
    if facts.failures:
        return TaskState.SERVICE_EXCEPTION, facts.failures[0]
    if facts.desired is Desired.STOPPED:
        if facts.connectors_stopped is False:
            return TaskState.SERVICE_EXCEPTION, "connectors run although the task is paused"
        return TaskState.PAUSED, "paused by the operator; the source's retention goes on"
    if not facts.observed:
        return TaskState.RUNNING, "not measured since the engine started"
    if facts.connectors_running is False:
        return TaskState.SERVICE_EXCEPTION, "a connector is not running"
    if not facts.lag_known:
        return TaskState.RUNNING, "connectors run; whether data moves is not known yet"
    return TaskState.RUNNING, "connectors run and data moves"


_ACCEPTED: dict[TaskState, frozenset[OperationKind]] = {
    TaskState.CREATING: frozenset({OperationKind.DELETE_TASK}),
    TaskState.MODIFYING: frozenset({OperationKind.DELETE_TASK}),
    TaskState.RUNNING: frozenset(
        {
            OperationKind.UPDATE_TASK,
            OperationKind.PAUSE_TASK,
            OperationKind.DELETE_TASK,
            OperationKind.CUTOVER,
        }
    )
    | _ON_WORKERS,
    TaskState.SERVICE_EXCEPTION: frozenset(
        {
            OperationKind.UPDATE_TASK,
            OperationKind.PAUSE_TASK,
            OperationKind.RESUME_TASK,
            OperationKind.DELETE_TASK,
        }
    )
    | _ON_WORKERS,
    TaskState.PAUSED: frozenset({OperationKind.RESUME_TASK, OperationKind.UPDATE_TASK, OperationKind.DELETE_TASK})
    | _ON_WORKERS,
    TaskState.DELETING: frozenset(),
    TaskState.DELETED: frozenset({OperationKind.CREATE_TASK}),
}


def refusal(state: TaskState, wanted: OperationKind) -> str | None:
    """Why an operation is not accepted in this state, or None when it is."""
    if wanted in _ACCEPTED[state]:
        return None
    allowed = ", ".join(sorted(kind.value for kind in _ACCEPTED[state])) or "nothing"
    return f"The task is {state.value}; accepted now: {allowed}."


_NEXT_PHASES: dict[BatchPhase, frozenset[BatchPhase]] = {
    BatchPhase.PLANNED: frozenset({BatchPhase.REPLICATING}),
    BatchPhase.REPLICATING: frozenset({BatchPhase.SWITCHING, BatchPhase.PLANNED}),
    BatchPhase.SWITCHING: frozenset({BatchPhase.SWITCHED, BatchPhase.ROLLED_BACK}),
    BatchPhase.ROLLED_BACK: frozenset({BatchPhase.SWITCHING, BatchPhase.PLANNED}),
    BatchPhase.SWITCHED: frozenset({BatchPhase.FINISHED}),
    BatchPhase.FINISHED: frozenset(),
}


def may_follow(before: BatchPhase, after: BatchPhase) -> bool:
    """Whether a batch may go from one phase to the other; staying is always allowed."""
    return before is after or after in _NEXT_PHASES[before]
