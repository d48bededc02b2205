"""The runbook of every operation, by kind: the one registry of steps (screens, engine and kill sweep read it)."""

from __future__ import annotations

from collections.abc import Mapping

from kferry.domain.cutover import CONSUMER_FIRST
from kferry.domain.cutover_drain import STOP_DRAIN_SWITCH
from kferry.domain.runbook import OperationKind, Runbook, StepDefinition, StepKind
from kferry.domain.runbooks_access import ACCESS_RUNBOOKS
from kferry.domain.runbooks_fixing import FIXING_RUNBOOKS
from kferry.domain.runbooks_fleet import FLEET_RUNBOOKS

ACT, GATE = StepKind.ACT, StepKind.GATE

_ALL = (
    Runbook(
        OperationKind.CHECK_CLUSTERS,
        "Test the connections",
        (StepDefinition("connect", ACT, "Connect to source and target", gate="both clusters answer"),),
        exclusive="read",
    ),
    Runbook(
        OperationKind.CHECK_DRAFT,
        "Test a connection before it is saved",
        (StepDefinition("connect_draft", ACT, "Connect as the draft says", timeout_seconds=180),),
        exclusive="read",
    ),
    Runbook(
        OperationKind.SCAN,
        "Scan both clusters",
        (
            StepDefinition("scan_source", ACT, "Scan the source", timeout_seconds=1800),
            StepDefinition("scan_target", ACT, "Scan the target", timeout_seconds=1800),
        ),
        exclusive="read",
    ),
    Runbook(
        OperationKind.PREFLIGHT,
        "Look for what would go wrong",
        (StepDefinition("check", ACT, "Run every check", gate="findings are written"),),
        exclusive="read",
    ),
    Runbook(
        OperationKind.PLAN,
        "Plan the batches",
        (StepDefinition("write_plan", ACT, "Group topics and consumer groups into batches"),),
        exclusive="read",
    ),
    Runbook(
        OperationKind.CREATE_TASK,
        "Create a migration task",
        (
            StepDefinition(
                "reserve",
                ACT,
                "Reserve names, ports and workers; write the task file",
                way_back="the task is closed",
            ),
            StepDefinition(
                "create_topics",
                ACT,
                "Create the target topics and the offset-syncs topic",
                gate="they exist with the right partitions and configs",
                way_back="empty topics that kferry made are deleted",
            ),
            StepDefinition("anchor", ACT, "Record where the copy starts", gate="start and end offsets are journalled"),
            StepDefinition(
                "install_workers",
                ACT,
                "Install and start the workers (playbook workers.yml)",
                gate="every worker's REST answers",
                way_back="the workers are removed",
                timeout_seconds=900,
            ),
            StepDefinition(
                "create_connectors",
                ACT,
                "Create the connectors (playbook task.yml)",
                gate="three connectors exist with the configs of the task file",
                way_back="the connectors are deleted",
                timeout_seconds=300,
            ),
            StepDefinition(
                "moving",
                GATE,
                "See data move",
                gate="all connectors run and copied offsets advance, or there is nothing to copy",
                timeout_seconds=300,
            ),
        ),
    ),
    Runbook(
        OperationKind.UPDATE_TASK,
        "Change the topics and groups of a migration task",
        (
            StepDefinition("create_topics", ACT, "Create target topics that are missing"),
            StepDefinition("anchor", ACT, "Record where the copy of new topics starts"),
            StepDefinition("write_task", ACT, "Write the task file"),
            StepDefinition("apply", ACT, "Change the connectors (playbook task.yml)", timeout_seconds=300),
            StepDefinition("moving", GATE, "See data move", timeout_seconds=300),
        ),
    ),
    Runbook(
        OperationKind.PAUSE_TASK,
        "Pause a migration task",
        (
            StepDefinition("write_task", ACT, "Write the task file"),
            StepDefinition("apply", ACT, "Stop the connectors (playbook task.yml)", timeout_seconds=300),
        ),
    ),
    Runbook(
        OperationKind.RESUME_TASK,
        "Resume a migration task",
        (
            StepDefinition("write_task", ACT, "Write the task file"),
            StepDefinition("apply", ACT, "Resume the connectors (playbook task.yml)", timeout_seconds=300),
            StepDefinition("moving", GATE, "See data move", timeout_seconds=300),
        ),
    ),
    Runbook(
        OperationKind.DELETE_TASK,
        "Delete a migration task",
        (
            StepDefinition("stop_connectors", ACT, "Stop the connectors", timeout_seconds=300),
            StepDefinition("snapshot_offsets", ACT, "Keep the final copied offsets"),
            StepDefinition("delete_connectors", ACT, "Delete the connectors", timeout_seconds=300),
            StepDefinition("remove_workers", ACT, "Stop and remove the workers", timeout_seconds=300),
            StepDefinition("drop_topics", ACT, "Delete MirrorMaker's internal topics on the target"),
            StepDefinition("close", ACT, "Close the task"),
        ),
    ),
    CONSUMER_FIRST,
    Runbook(
        OperationKind.VERIFY,
        "Compare source and target",
        (StepDefinition("compare", ACT, "Read both sides and compare", timeout_seconds=3600),),
        exclusive="read",
    ),
    Runbook(
        OperationKind.UNDO_CHANGE,
        "Undo a change",
        (StepDefinition("undo", ACT, "Put back what was there before"),),
        exclusive="ledger",
    ),
    *FLEET_RUNBOOKS,
    *ACCESS_RUNBOOKS,
    *FIXING_RUNBOOKS,
)

RUNBOOKS: dict[OperationKind, Runbook] = {book.kind: book for book in _ALL}

# Runbooks of one kind that an operation may have instead of the usual one.
VARIANTS: dict[OperationKind, tuple[Runbook, ...]] = {OperationKind.CUTOVER: (CONSUMER_FIRST, STOP_DRAIN_SWITCH)}


def runbook_of(kind: OperationKind, args: Mapping[str, object]) -> Runbook:
    """The runbook of an operation: that of its kind, or the variant that its args name since it began."""
    wanted = args.get("runbook")
    return next((book for book in VARIANTS.get(kind, ()) if book.variant == wanted), RUNBOOKS[kind])
