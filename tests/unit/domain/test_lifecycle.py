"""Task states and batch phases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kferry.domain.lifecycle import TaskFacts, may_follow, refusal, task_state
from kferry.domain.model import BatchPhase, Desired, TaskState
from kferry.domain.runbook import OperationKind

WELL = TaskFacts(
    desired=Desired.RUNNING,
    operation=None,
    observed=True,
    connectors_running=True,
    connectors_stopped=False,
    failures=(),
    alarms=(),
    workers_alive=True,
)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, TaskState.RUNNING),
        ({"operation": OperationKind.CREATE_TASK, "workers_alive": False}, TaskState.CREATING),
        ({"operation": OperationKind.PAUSE_TASK}, TaskState.MODIFYING),
        ({"operation": OperationKind.DELETE_TASK}, TaskState.DELETING),
        ({"operation": OperationKind.CUTOVER}, TaskState.RUNNING),
        ({"alarms": ("Nothing was copied for 40 s",)}, TaskState.SERVICE_EXCEPTION),  # although connectors run
        ({"failures": ("connector task 0 failed",)}, TaskState.SERVICE_EXCEPTION),
        ({"workers_alive": False}, TaskState.SERVICE_EXCEPTION),
        ({"connectors_running": False}, TaskState.SERVICE_EXCEPTION),
        ({"desired": Desired.STOPPED, "connectors_stopped": True, "connectors_running": False}, TaskState.PAUSED),
        ({"desired": Desired.STOPPED}, TaskState.SERVICE_EXCEPTION),
        ({"desired": Desired.ABSENT, "workers_alive": False}, TaskState.DELETED),
    ],
)
def test_state(changes: dict[str, object], state: TaskState) -> None:
    found, reason = task_state(replace(WELL, **changes))  # type: ignore[arg-type]
    assert found is state and reason


def test_only_delete_is_accepted_while_creating_and_modifying() -> None:
    for state in (TaskState.CREATING, TaskState.MODIFYING):
        accepted = [kind for kind in OperationKind if refusal(state, kind) is None]
        assert accepted == [OperationKind.DELETE_TASK]


def test_a_refusal_names_the_state_and_what_is_accepted() -> None:
    assert refusal(TaskState.PAUSED, OperationKind.PAUSE_TASK) == (
        "The task is Paused; accepted now: delete_task, restart_task, resume_task, rotate_task, scale_task, "
        "update_task, upgrade_task."
    )


def test_a_switched_batch_only_finishes() -> None:
    followers = [phase for phase in BatchPhase if may_follow(BatchPhase.SWITCHED, phase)]
    assert followers == [BatchPhase.SWITCHED, BatchPhase.FINISHED]
