"""All batches are switched: the target against the lab's ledger, the playbooks once more, and the clean end."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from kferry.ansible.content import find_content
from kferry.lab import reader
from kferry.lab.systems import SYSTEMS, TOPICS
from support.lab_run import BATCHES, LabRun
from support.waiting import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def switched(lab_run: LabRun) -> LabRun:
    """Every batch switched; those that no test before has moved are moved now."""
    for batch in BATCHES:
        if lab_run.phase(batch) == "planned":
            lab_run.do("create_task", {"batch": batch})
        if not lab_run.is_switched(batch):
            lab_run.caught_up(batch)
            lab_run.do("cutover", {"batch": batch, "run_hooks": True, "uncommitted": "earliest"})
    return lab_run


def test_batches_are_the_systems_smallest_risk_first(switched: LabRun) -> None:
    plan = switched.session.plan_view()
    assert plan.error is None
    batches = sorted(plan.batches, key=lambda batch: batch.position)
    assert [batch.risk for batch in batches] == sorted(batch.risk for batch in batches)
    assert batches[0].name == "hr", "few records, no transactions, one group"
    wanted = {
        system.name: ({topic.name for topic in system.topics}, {group.group_id for group in system.groups})
        for system in SYSTEMS
    }
    assert {batch.name: (set(batch.topics), set(batch.groups)) for batch in batches} == wanted


def test_the_target_is_complete_in_order_and_equal(switched: LabRun) -> None:
    # repeats are allowed only where a worker was killed
    once = [topic.name for system in SYSTEMS if system.name != "iot" for topic in system.topics]
    verdict = switched.data("oracle", "--topics", ",".join(once))
    assert verdict["ok"] and set(verdict["topics"]) == set(once), verdict
    verdict = switched.data("oracle", "--allow-repeats")
    assert verdict["ok"] and set(verdict["topics"]) == set(TOPICS), verdict
    assert verdict["expected"] > 30_000


@pytest.mark.parametrize("batch", BATCHES)
def test_every_batch_ends_in_the_same_state(switched: LabRun, batch: str) -> None:
    """The one whose engine was killed at every moment too."""
    journal = switched.session.reader
    certificate = journal.certificate(batch)
    assert certificate is not None
    files = [(switched.layout.reports / f"{batch}.{kind}").exists() for kind in ("json", "md")]
    event = journal.rows("select hash from event where seq=?", certificate["journal"]["seq"])
    cutover = journal.operations(subject=batch, kind="cutover")[0]
    held = [change for change in journal.changes(status="applied") if change.resource == "topic_config"]
    checked = certificate["verification"]
    state = {
        "task": switched.is_state(batch, "Running").state,
        "phase": switched.phase(batch),
        "workers": len(switched.worker_jvms(batch)),
        "steps": {step.status for step in cutover.steps},
        "certificate": (certificate["verdict"], certificate.get("withdrawn", False), files),
        "counts": (checked["missing"], checked["reordered"], checked["foreign"]),
        "pinned": [row["hash"] for row in event] == [certificate["journal"]["hash"]],
        "positions": sorted(group["group_id"] for group in certificate["groups"]),
        "holds": [change.name for change in held if change.name.startswith(f"{batch}.")],
    }
    groups = next(sorted(group.group_id for group in system.groups) for system in SYSTEMS if system.name == batch)
    assert state == {
        "task": "Running",
        "phase": "switched",
        "workers": 1,
        "steps": {"done"},
        "certificate": ("complete", False, [True, True]),
        "counts": (0, 0, 0),
        "pinned": True,
        "positions": groups,
        "holds": [],
    }
    assert switched.broken_link() is None
    assert switched.doubled_changes() == []


@pytest.mark.parametrize("playbook", ["workers", "task"])
def test_the_playbooks_change_nothing_when_run_by_hand(switched: LabRun, playbook: str) -> None:
    content = find_content()
    for batch in BATCHES:
        done = subprocess.run(
            [
                "ansible-playbook",
                *("-i", str(switched.layout.inventory)),
                str(content.playbook(playbook)),
                *("-e", f"kferry_task={batch}"),
            ],
            capture_output=True,
            text=True,
            env=content.environment(os.environ),
            cwd=content.root,
            stdin=subprocess.DEVNULL,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.findall(r"changed=(\d+)", done.stdout) == ["0"], done.stdout


def test_deleted_tasks_leave_nothing_of_mirrormaker(switched: LabRun) -> None:
    for batch in BATCHES:
        switched.do("delete_task", {"task": batch})
        assert switched.is_state(batch, "Deleted").phase == "finished"
        wait_until(lambda name=batch: switched.worker_jvms(name) == [], 30, f"the worker of {batch} is gone")
        assert not switched.layout.task(batch).exists()
    left = {name for name in reader.partition_counts(switched.bootstrap("target")) if not name.startswith("__")}
    assert left == set(TOPICS)
    assert switched.broken_link() is None
