"""The cutover of a batch whose applications read, process and write: everything stops, drains, and switches at once.

Such an application would write to the target while MirrorMaker still copies to it: foreign records between the copies
break the mapping of offsets, and the order, without any error. So nothing is released before the copy is stopped and
both ends are compared, and the point of no return is the first application that may write on the target.
"""

from __future__ import annotations

from dataclasses import replace

from kferry.domain.cutover import CONSUMER_FIRST
from kferry.domain.runbook import OperationKind, Runbook, StepDefinition

_step = CONSUMER_FIRST.step


def _renamed(name: str, title: str, gate: str = "", **changes: object) -> StepDefinition:
    """A step of the other runbook, which does the same, said in the words of this one."""
    before = _step(name)
    return replace(before, title=title, gate=gate or before.gate, **changes)  # type: ignore[arg-type]


STOP_DRAIN_SWITCH = Runbook(
    kind=OperationKind.CUTOVER,
    variant="stop-drain-switch",
    title="Switch a batch: stop, drain, switch all",
    steps=(
        _renamed(
            "ready",
            "Check that the batch is ready to stop",
            _step("ready").gate + ", the state of Streams applications is copied too",
        ),
        _renamed("stop_consumers", "Owners stop the applications and consumers on the source"),
        _step("stop_producers"),
        _renamed(
            "drained",
            "Prove that the source is drained, changelogs included",
        ),
        _step("copied_past_commits"),
        _step("freeze_groups"),
        _step("stop_source_connector"),
        _step("translate_offsets"),
        _step("choose_uncommitted"),
        _step("write_offsets"),
        _step("certify"),
        _step("promote_configs"),
        _renamed(
            "release_consumers",
            "Owners start the applications and consumers on the target",
            way_back="owners stop them on the target, while none has written there; their progress is translated back",
            irreversible=True,
        ),
        _step("release_producers"),
    ),
)
