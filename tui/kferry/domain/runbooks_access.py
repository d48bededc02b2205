"""The runbooks of ACLs, quotas and SCRAM users: compare, apply what is missing, prove a principal's rights."""

from __future__ import annotations

from kferry.domain.runbook import OperationKind, Runbook, StepDefinition, StepKind

ACT = StepKind.ACT

_COMPARE = StepDefinition("compare", ACT, "Compare source and target", timeout_seconds=300)

ACCESS_RUNBOOKS = (
    Runbook(
        OperationKind.PLAN_ACCESS,
        "Compare ACLs, quotas and SCRAM users",
        (_COMPARE,),
        exclusive="read",
    ),
    Runbook(
        OperationKind.APPLY_ACCESS,
        "Bring ACLs, quotas and SCRAM users to the target",
        (
            StepDefinition(
                "scram_users",
                ACT,
                "Create the SCRAM users that have a password in access.yml",
                gate="each is read back",
                way_back="the users that were made are taken away",
                timeout_seconds=300,
            ),
            StepDefinition(
                "quotas",
                ACT,
                "Set the client quotas that are missing",
                gate="each is read back",
                way_back="the quotas that were set are taken away",
                timeout_seconds=300,
            ),
            StepDefinition(
                "acls",
                ACT,
                "Create the ACLs that are missing, denials first",
                gate="each is read back",
                way_back="the ACLs that were made are taken away",
                timeout_seconds=300,
            ),
            _COMPARE,
        ),
        exclusive="ledger",
    ),
    Runbook(
        OperationKind.PROBE_PRINCIPAL,
        "Probe the rights of a principal",
        (StepDefinition("ask", ACT, "Ask the cluster as this principal", timeout_seconds=300),),
        exclusive="read",
    ),
)
