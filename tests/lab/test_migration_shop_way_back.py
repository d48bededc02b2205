"""Changing a running task; the exact position of every group; the way back; and forward again."""

from __future__ import annotations

import os
import signal

import pytest

from kferry.lab.systems import find_system
from support.lab_run import LabRun
from support.positions import check_exact_positions
from support.waiting import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

BATCH = "shop"
ORDERS, PAYMENTS = "shop.orders", "shop.payments"
GROUPS = {group.group_id: group.topics for group in find_system(BATCH).groups}


def pause_while_the_engine_dies(run: LabRun) -> None:
    """Kill the engine in the middle of a play: the play goes on, and the next engine takes over both."""
    operation_id = run.ask("pause_task", {"task": BATCH})

    def plays() -> list[str]:
        return [play.status for play in run.session.reader.runs(500) if play.operation_id == operation_id]

    wait_until(lambda: plays() == ["running"], 60, "the play runs")
    pid = run.session.engine().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not run.engine_lives(), 10, "the engine is dead")
    assert run.operation(operation_id).status == "running"
    run.session.ensure_engine()
    run.done(operation_id)
    wait_until(lambda: plays() == ["successful"], 60, "one play, and it was followed to its end")


def test_a_running_task_is_paused_resumed_and_changed(lab_run: LabRun) -> None:
    lab_run.do("create_task", {"batch": BATCH})
    lab_run.caught_up(BATCH)

    pause_while_the_engine_dies(lab_run)
    paused = lab_run.is_state(BATCH, "Paused")
    stood = lab_run.end_offsets("target", [ORDERS, PAYMENTS])
    wait_until(lambda: all(item.state == "STOPPED" for item in lab_run.task(BATCH).connectors), 20, "all stopped")
    grown = lab_run.end_offsets("source", [ORDERS])
    wait_until(lambda: lab_run.end_offsets("source", [ORDERS]) != grown, 30, "producers go on")
    assert lab_run.end_offsets("target", [ORDERS, PAYMENTS]) == stood, paused
    lab_run.do("resume_task", {"task": BATCH})
    lab_run.is_state(BATCH, "Running")
    wait_until(lambda: lab_run.end_offsets("target", [ORDERS]) != stood, 60, "the copy goes on")

    lab_run.do("update_task", {"task": BATCH, "remove_topics": [PAYMENTS]})
    assert lab_run.is_state(BATCH, "Running").topics == (ORDERS,)
    copied = lab_run.end_offsets("target", [PAYMENTS])
    others = lab_run.end_offsets("target", [ORDERS])
    wait_until(lambda: lab_run.end_offsets("target", [ORDERS]) != others, 60, "the other topic is copied")
    assert lab_run.end_offsets("target", [PAYMENTS]) == copied, "a removed topic is still copied"

    lab_run.do("update_task", {"task": BATCH, "add_topics": [PAYMENTS]})
    assert lab_run.is_state(BATCH, "Running").topics == (ORDERS, PAYMENTS)
    wait_until(lambda: lab_run.end_offsets("target", [PAYMENTS]) != copied, 60, "it is copied again")
    lab_run.caught_up(BATCH)
    # that nothing was copied twice is what the certificate and the lab's ledger say in the end


def test_every_group_reads_next_what_it_would_have_read_and_the_way_back_is_exact(lab_run: LabRun) -> None:
    assert lab_run.phase(BATCH) == "replicating", "needs the test before"
    operation_id = lab_run.ask("cutover", {"batch": BATCH, "run_hooks": False, "uncommitted": "earliest"})
    lab_run.reaches(operation_id, "stop_consumers")
    lab_run.answer(operation_id, "stop_consumers", run_hook=True)
    lab_run.reaches(operation_id, "release_consumers")

    check_exact_positions(lab_run, list(GROUPS))  # the transactional one among them

    lab_run.answer(operation_id, "release_consumers", run_hook=True)
    lab_run.reaches(operation_id, "stop_producers")
    wait_until(
        lambda: all(item["processed_on_target"] > 0 for item in lab_run.handover(list(GROUPS)).values()),
        60,
        "consumers work on the target",
    )
    on_source = {name: item["processed_on_source"] for name, item in lab_run.handover(list(GROUPS)).items()}

    lab_run.session.ask("abort", {"operation_id": operation_id})
    wait_until(lambda: lab_run.operation(operation_id).status == "aborted", 120, "the cutover is put back")
    assert lab_run.phase(BATCH) == "rolled back"
    wait_until(
        lambda: all(
            item["processed_on_source"] > on_source[name] for name, item in lab_run.handover(list(GROUPS)).items()
        ),
        60,
        "consumers work on the source again",
    )
    for group_id, item in lab_run.handover(list(GROUPS)).items():
        assert (item["skipped"], item["repeated"]) == (0, 0), (group_id, item)
    status = lab_run.data("status")
    assert {status["consumers"][name]["cluster"] for name in GROUPS} == {"source"}


def test_after_the_way_back_the_batch_is_switched(lab_run: LabRun) -> None:
    assert lab_run.phase(BATCH) == "rolled back", "needs the test before"
    lab_run.caught_up(BATCH)
    lab_run.do("cutover", {"batch": BATCH, "run_hooks": True, "uncommitted": "earliest"})
    assert lab_run.is_switched(BATCH)
    before = lab_run.handover(list(GROUPS))
    wait_until(
        lambda: all(
            item["processed_on_target"] > before[name]["processed_on_target"]
            for name, item in lab_run.handover(list(GROUPS)).items()
        ),
        60,
        "consumers work on the target",
    )
    for group_id, item in lab_run.handover(list(GROUPS)).items():
        assert (item["skipped"], item["repeated"]) == (0, 0), (group_id, item)
