"""The runbook that closes findings of preflight by changes that the operator saw."""

from __future__ import annotations

from kferry.domain.runbook import OperationKind, Runbook, StepDefinition, StepKind

FIXING_RUNBOOKS = (
    Runbook(
        OperationKind.FIX_FINDINGS,
        "Close findings of preflight",
        (
            StepDefinition(
                "apply",
                StepKind.ACT,
                "Make the changes that close the findings",
                gate="each is read back",
                way_back="what was changed is put back as it was",
                timeout_seconds=300,
            ),
            StepDefinition("check", StepKind.ACT, "Run every check again", gate="findings are written"),
        ),
        exclusive="ledger",
    ),
)
