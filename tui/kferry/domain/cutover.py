"""The cutover of a batch as a table of steps and gates, and its way back. Consumer first.

Order and gates follow MirrorMaker's behaviour: groups are frozen before offsets are written, the source connector's
tasks are gone before the ends are taken, and producers move only after a drain that was proven by reading.
"""

from __future__ import annotations

from kferry.domain.runbook import OperationKind, Runbook, StepDefinition, StepKind

CONSUMER_FIRST = Runbook(
    kind=OperationKind.CUTOVER,
    variant="consumers-first",
    title="Switch a batch, consumers first",
    steps=(
        StepDefinition(
            "ready",
            StepKind.GATE,
            "Check that the batch is ready to switch",
            gate="lag at or below the threshold, no alarm, nobody else writes to the target, no member on the target",
            way_back="the batch counts as rolled back",
            timeout_seconds=3600,
        ),
        StepDefinition(
            "stop_consumers",
            StepKind.OWNER,
            "Owners stop the consumers on the source",
            gate="every group is empty and its committed offsets stand still",
            way_back="owners start the consumers on the source again",
            hook="stop_consumers",
            timeout_seconds=3600,
        ),
        StepDefinition(
            "copied_past_commits",
            StepKind.GATE,
            "Wait until the copy has passed every committed offset",
            gate="copied offset + 1 >= committed offset in every partition a group reads",
            timeout_seconds=3600,
        ),
        StepDefinition(
            "freeze_groups",
            StepKind.ACT,
            "Freeze the groups: stop the checkpoint connector",
            gate="the checkpoint connector is stopped and has no connector tasks",
            way_back="the checkpoint connector runs again",
        ),
        StepDefinition(
            "translate_offsets",
            StepKind.ACT,
            "Find for every group the exact record it reads next",
            gate="every partition has one position, decided by the records; nothing is ambiguous",
            timeout_seconds=1800,
        ),
        StepDefinition(
            "choose_uncommitted",
            StepKind.DECIDE,
            "Choose where groups start in partitions they never committed",
            gate="every such partition has an answer: earliest, or the end at the stop",
            timeout_seconds=86400,
        ),
        StepDefinition(
            "write_offsets",
            StepKind.ACT,
            "Write the offsets on the target and read them back",
            gate="read back equal in every partition, without leader epochs",
            way_back="the groups' offsets on the target are deleted again",
        ),
        StepDefinition(
            "release_consumers",
            StepKind.OWNER,
            "Owners start the consumers on the target",
            gate="every group is Stable on the target and commits",
            way_back="owners stop the consumers on the target; their progress is translated back to the source",
            hook="start_consumers",
            timeout_seconds=3600,
        ),
        StepDefinition(
            "stop_producers",
            StepKind.OWNER,
            "Owners stop the producers",
            gate="the source's end offsets stand still",
            way_back="owners start the producers on the source again",
            hook="stop_producers",
            timeout_seconds=3600,
        ),
        StepDefinition(
            "drained",
            StepKind.GATE,
            "Prove that the source is drained",
            gate="last stable offset = end offset, the copy reaches it, reading finds no data record beyond it",
            timeout_seconds=3600,
        ),
        StepDefinition(
            "stop_source_connector",
            StepKind.ACT,
            "Stop the source connector",
            gate="the connector is stopped and its connector tasks are gone",
            way_back="the source connector copies again",
        ),
        StepDefinition(
            "certify",
            StepKind.ACT,
            "Compare both ends and write the certificate",
            gate="no record is missing, order is kept; repeats are counted",
            way_back="the certificate is withdrawn",
            timeout_seconds=3600,
        ),
        StepDefinition(
            "promote_configs",
            StepKind.ACT,
            "Release the holds on the target topics' configs",
            gate="the target topics' configs are those of the source",
            way_back="the holds are set again",
        ),
        StepDefinition(
            "release_producers",
            StepKind.OWNER,
            "Owners start the producers on the target",
            gate="the target's end offsets move past the certificate",
            hook="start_producers",
            irreversible=True,
            timeout_seconds=3600,
        ),
    ),
)


def point_of_no_return(runbook: Runbook = CONSUMER_FIRST) -> str:
    """The name of the step after which an abort no longer puts everything back."""
    return next(step.name for step in runbook.steps if step.irreversible)
