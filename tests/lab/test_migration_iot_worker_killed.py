"""Workers are killed, added and removed under traffic: nothing is lost, the repeats are those of the certificate."""

from __future__ import annotations

import os
import signal

import pytest

from kferry.lab.systems import TOPICS, find_system
from support.engine_run import eventually_equal
from support.lab_run import LabRun
from support.positions import check_exact_positions
from support.waiting import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

BATCH = "iot"
TOPIC_NAMES = [topic.name for topic in find_system(BATCH).topics]
GROUP_IDS = [group.group_id for group in find_system(BATCH).groups]


def copied_sum(run: LabRun) -> int:
    return sum(run.end_offsets("target", TOPIC_NAMES).values())


def kill_worker(run: LabRun) -> None:
    """Kill a worker without a warning; the supervisor must start another one."""
    jvm, *others = run.worker_jvms(BATCH)
    os.kill(jvm, signal.SIGKILL)
    known = {jvm, *others}
    wait_until(lambda: set(run.worker_jvms(BATCH)) - known, 60, "the worker was started again")


def connector_task_workers(run: LabRun) -> set[str]:
    """The workers on which tasks of the source connector run."""
    found = run.session.reader.document("observation", BATCH)
    connectors = found[1]["connectors"] if found else []
    return {task["worker"] for one in connectors if one["name"].endswith("-source") for task in one["tasks"]}


def test_a_worker_killed_in_mid_copy_leaves_nothing_lost(lab_run: LabRun) -> None:
    operation_id = lab_run.ask("create_task", {"batch": BATCH})
    wait_until(lambda: copied_sum(lab_run) > 0, 300, "the copy has begun")
    kill_worker(lab_run)
    lab_run.done(operation_id)
    lab_run.caught_up(BATCH)
    before = copied_sum(lab_run)
    wait_until(lambda: copied_sum(lab_run) > before, 30, "live traffic is copied")

    lab_run.do("scale_task", {"task": BATCH, "workers": 2}, deadline_seconds=420)
    wait_until(lambda: len(connector_task_workers(lab_run)) == 2, 60, "both workers copy")
    kill_worker(lab_run)
    lab_run.caught_up(BATCH)
    lab_run.do("scale_task", {"task": BATCH, "remove": [f"{BATCH}-1"]}, deadline_seconds=420)
    assert len(lab_run.worker_jvms(BATCH)) == 1
    assert [worker.name for worker in lab_run.task(BATCH).workers] == [f"{BATCH}-2"]
    lab_run.do("restart_task", {"task": BATCH}, deadline_seconds=420)
    lab_run.caught_up(BATCH)

    cutover = lab_run.ask("cutover", {"batch": BATCH, "run_hooks": False, "uncommitted": "earliest"})
    lab_run.reaches(cutover, "stop_consumers")
    lab_run.answer(cutover, "stop_consumers", run_hook=True)
    lab_run.reaches(cutover, "release_consumers")
    check_exact_positions(lab_run, GROUP_IDS)  # never ahead, and not behind
    for step in ("release_consumers", "stop_producers", "release_producers"):
        lab_run.reaches(cutover, step)
        lab_run.answer(cutover, step, run_hook=True)
    lab_run.done(cutover)
    certificate = lab_run.session.reader.certificate(BATCH)
    assert certificate is not None
    verification = certificate["verification"]
    counted = {(item["topic"], str(item["partition"])): item["repeats"] for item in verification["partitions"]}
    assert verification["repeats"] == sum(counted.values()) > 0, "the kill came too late to be seen"
    assert (verification["missing"], verification["reordered"], verification["foreign"]) == (0, 0, 0)

    verdict = lab_run.data("oracle", "--topics", ",".join(TOPIC_NAMES), "--allow-repeats")
    assert verdict["ok"], verdict
    judged = {
        (topic, number): found["repeats"]
        for topic in TOPIC_NAMES
        for number, found in verdict["topics"][topic]["partitions"].items()
    }
    assert len(judged) == sum(TOPICS[topic].partitions for topic in TOPIC_NAMES)
    assert judged == counted

    # no record was skipped, and what was read again is what the offset plan said would be
    planned = {
        group["group_id"]: sum(item["repeats"] for item in group["partitions"]) for group in certificate["groups"]
    }
    assert set(planned) == set(GROUP_IDS)

    def handed_over() -> dict[str, tuple[int, int]]:
        handed = lab_run.handover(GROUP_IDS)
        return {group_id: (found["skipped"], found["repeated"]) for group_id, found in handed.items()}

    eventually_equal(handed_over, {name: (0, count) for name, count in planned.items()}, 30, "(skipped, read again)")
