"""The engine is killed at every moment of every step of create and cutover, and the end is as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kferry.domain.runbook import OperationKind
from support.killed_engine import DoomedEngine, KillPoint, kill_points
from support.lab_run import LabRun
from support.positions import check_exact_positions

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]

BATCH = "hr"
# The status in which the journal holds a step at each moment; a step that had nothing to do never says "acted".
# "waiting" at "acted": before the point of no return the engine saves that it is about to cross it
STATUS_AT = {"before": {"running"}, "acted": {"acted", "running", "waiting"}, "verified": {"done"}}


def sweep(
    run: LabRun,
    kind: OperationKind,
    args: dict[str, object],
    while_dead_at: Callable[[KillPoint], None] = lambda point: None,
) -> str:
    """Run one operation through all of its kill points; returns its id. No step is left out."""
    engine = DoomedEngine(run)
    operation_id = ""
    run.session.stop_engine()
    for point in kill_points(kind):
        engine.start(point)
        operation_id = operation_id or run.ask(kind.value, args)
        engine.dies(operation_id)
        _died_at(run, operation_id, point)
        while_dead_at(point)
    engine.start(None)
    try:
        run.done(operation_id)
    finally:
        engine.end()
    run.session.ensure_engine()
    return operation_id


def _died_at(run: LabRun, operation_id: str, point: KillPoint) -> None:
    step = run.step(operation_id, point.step)
    assert step.status in STATUS_AT[point.moment], f"{point}: {step}"
    assert run.broken_link() is None, point
    assert len(run.worker_jvms(BATCH)) <= 1, point


def test_create_task_survives_every_kill(lab_run: LabRun) -> None:
    operation_id = sweep(lab_run, OperationKind.CREATE_TASK, {"batch": BATCH})
    reader = lab_run.session.reader
    # each step was begun once per death at least, and none was lost on the way
    assert [step.name for step in lab_run.operation(operation_id).steps if step.attempt < 3] == []
    runs = [run for run in reader.runs(500) if (run.operation_id, run.playbook) == (operation_id, "workers.yml")]
    assert [run.changed_count != 0 for run in runs].count(True) == 1, "the worker was installed more than once"
    assert len(lab_run.worker_jvms(BATCH)) == 1
    assert lab_run.is_state(BATCH, "Running").phase == "replicating"
    assert lab_run.doubled_changes() == []


def test_cutover_survives_every_kill(lab_run: LabRun) -> None:
    assert lab_run.phase(BATCH) == "replicating", "needs the test before"
    lab_run.caught_up(BATCH)
    jvms = lab_run.worker_jvms(BATCH)
    args = {"batch": BATCH, "run_hooks": True, "uncommitted": "earliest"}

    def look(point: KillPoint) -> None:
        """Between writing the offsets and the hook every group is stopped on both sides, and nobody moves it."""
        if point == KillPoint("release_consumers", "before"):
            check_exact_positions(lab_run, ["hr-sync"])  # the one that is far behind
            looked.append(point)

    looked: list[KillPoint] = []
    operation_id = sweep(lab_run, OperationKind.CUTOVER, args, look)
    assert looked != []
    operation = lab_run.operation(operation_id)
    assert [step.name for step in operation.steps if step.status != "done" or step.attempt < 3] == []
    assert lab_run.worker_jvms(BATCH) == jvms, "the worker is the one that was there before"
    assert lab_run.doubled_changes() == []
    handed = lab_run.handover(["hr-sync"])["hr-sync"]
    assert (handed["skipped"], handed["repeated"]) == (0, 0), handed
