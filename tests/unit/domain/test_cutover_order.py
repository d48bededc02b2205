"""The order of the cutover is what keeps data safe; these are the reasons, one by one."""

from __future__ import annotations

import pytest

from kferry.domain.cutover import CONSUMER_FIRST, point_of_no_return
from kferry.domain.runbook import StepKind

STEPS = [step.name for step in CONSUMER_FIRST.steps]


@pytest.mark.parametrize(
    ("first", "then", "because"),
    [
        ("stop_consumers", "copied_past_commits", "commits that still move can't be passed"),
        ("freeze_groups", "write_offsets", "MirrorCheckpoint would push an empty group forward again"),
        ("copied_past_commits", "translate_offsets", "a record that isn't copied has no position on the target"),
        ("translate_offsets", "choose_uncommitted", "the operator sees what the choice is about"),
        ("write_offsets", "release_consumers", "consumers must find their position"),
        ("release_consumers", "stop_producers", "consumers first"),
        ("stop_producers", "drained", "a source that is written to is never drained"),
        ("drained", "stop_source_connector", "stopping the copy before the drain loses the rest"),
        ("stop_source_connector", "certify", "what a straggler's copy adds in between would not be certified"),
        ("certify", "promote_configs", "retention must not delete what is being compared"),
        ("promote_configs", "release_producers", "new records must not land under held configs"),
    ],
)
def test_order(first: str, then: str, because: str) -> None:
    assert STEPS.index(first) < STEPS.index(then), because


def test_the_point_of_no_return_is_the_first_write_of_a_producer_on_the_target() -> None:
    assert point_of_no_return() == "release_producers"


def test_everything_that_changes_something_before_it_has_a_way_back() -> None:
    before = CONSUMER_FIRST.steps[: STEPS.index(point_of_no_return())]
    changing = [step for step in before if step.kind in (StepKind.ACT, StepKind.OWNER)]
    assert [step.name for step in changing if not step.way_back] == ["translate_offsets"], "it only reads"


def test_every_owner_step_names_its_hook() -> None:
    assert all(step.hook for step in CONSUMER_FIRST.steps if step.kind is StepKind.OWNER)
