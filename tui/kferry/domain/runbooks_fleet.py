"""The runbooks of machines and workers: check, scale, restart, rotate, upgrade, collect, tear down."""

from __future__ import annotations

from kferry.domain.runbook import OperationKind, Runbook, StepDefinition, StepKind

ACT, GATE = StepKind.ACT, StepKind.GATE

_MOVING = StepDefinition(
    "moving", GATE, "See data move", gate="all connectors run, no connector task failed", timeout_seconds=300
)

FLEET_RUNBOOKS = (
    Runbook(
        OperationKind.FLEET_CHECK,
        "Check the machines",
        (StepDefinition("measure", ACT, "Measure every machine (playbook preflight.yml)", timeout_seconds=600),),
        exclusive="read",
    ),
    Runbook(
        OperationKind.SCALE_TASK,
        "Change the workers of a migration task",
        (
            StepDefinition("assign", ACT, "Choose machines and ports; write the task file"),
            StepDefinition(
                "scale",
                ACT,
                "Start new workers, raise or lower connector tasks, drain leaving workers (playbook scale.yml)",
                gate="wanted workers answer, leaving workers are gone, connectors are as wanted",
                timeout_seconds=1800,
            ),
            StepDefinition("forget", ACT, "Take workers that left out of the task file"),
            _MOVING,
        ),
    ),
    Runbook(
        OperationKind.RESTART_TASK,
        "Restart the workers one at a time",
        (
            StepDefinition(
                "restart",
                ACT,
                "Restart worker by worker behind the health gate (playbook restart.yml)",
                gate="every worker answers",
                timeout_seconds=1800,
            ),
            _MOVING,
        ),
    ),
    Runbook(
        OperationKind.ROTATE_TASK,
        "Bring new secrets and certificates to the workers",
        (
            StepDefinition(
                "rotate",
                ACT,
                "Write new secrets, restart worker by worker (playbook rotate.yml)",
                gate="every worker answers",
                timeout_seconds=1800,
            ),
            _MOVING,
        ),
    ),
    Runbook(
        OperationKind.UPGRADE_TASK,
        "Change the Kafka version of the workers",
        (
            StepDefinition("choose", ACT, "Make the distribution ready; write the task file"),
            StepDefinition(
                "upgrade",
                ACT,
                "Change version worker by worker behind the health gate (playbook upgrade.yml)",
                gate="every worker answers with the wanted version",
                timeout_seconds=1800,
            ),
            _MOVING,
        ),
    ),
    Runbook(
        OperationKind.DIAGNOSE,
        "Collect diagnostics",
        (StepDefinition("collect", ACT, "Collect from every machine (playbook diagnostics.yml)", timeout_seconds=600),),
        exclusive="read",
    ),
    Runbook(
        OperationKind.TEARDOWN_HOST,
        "Leave a machine as it was",
        (
            StepDefinition(
                "teardown", ACT, "Remove everything of this migration (playbook teardown.yml)", timeout_seconds=600
            ),
        ),
    ),
    Runbook(
        OperationKind.APPLY_ACLS,
        "Grant what kferry needs",
        (StepDefinition("grant", ACT, "Create the ACLs that are missing", gate="each is read back"),),
        exclusive="ledger",
    ),
)
