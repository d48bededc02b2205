"""The mutator: operations go forward, wait, ask, abort and survive the engine, whatever order events come in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kferry.domain import machine as m
from kferry.domain.cutover import CONSUMER_FIRST, point_of_no_return
from kferry.domain.runbook import OperationKind, OperationStatus, StepStatus
from kferry.domain.runbooks import RUNBOOKS

ID = "op-1"
STEPS = [step.name for step in CONSUMER_FIRST.steps]


def asked(kind: OperationKind = OperationKind.CUTOVER) -> dict[str, Any]:
    state, commands = m.step({}, m.OperationAsked(ID, kind, "shop"))
    assert commands == [m.RunStep(ID, RUNBOOKS[kind].steps[0].name)]
    return state


def forward(state: dict[str, Any], upto: str) -> dict[str, Any]:
    """Verify every step before `upto`, and begin that one."""
    for name in STEPS:
        state, _ = m.step(state, m.StepBegun(ID, name))
        if name == upto:
            return state
        state, commands = m.step(state, m.StepVerified(ID, name, {"seen": name}))
        assert commands
    return state


def test_every_runbook_runs_to_its_end() -> None:
    for kind, runbook in RUNBOOKS.items():
        state = asked(kind)
        commands: list[m.Command] = []
        for item in runbook.steps:
            state, _ = m.step(state, m.StepBegun(ID, item.name))
            state, commands = m.step(state, m.StepVerified(ID, item.name, {}))
        assert state[ID].status is OperationStatus.DONE
        assert commands == [m.CloseOperation(ID)]


def test_a_failed_step_needs_the_operator_and_a_retry_runs_it_again() -> None:
    state = forward(asked(), "freeze_groups")
    state, commands = m.step(state, m.StepFailed(ID, "freeze_groups", {"title": "no"}))
    assert commands == [] and state[ID].status is OperationStatus.NEEDS_OPERATOR
    state, commands = m.step(state, m.Answered(ID, "freeze_groups", {"retry": True}))
    assert commands == [m.RunStep(ID, "freeze_groups")] and state[ID].status is OperationStatus.RUNNING


def test_a_failed_read_is_over() -> None:
    state = asked(OperationKind.SCAN)
    state, _ = m.step(state, m.StepBegun(ID, "scan_source"))
    state, commands = m.step(state, m.StepFailed(ID, "scan_source", {"title": "no"}))
    assert state[ID].status is OperationStatus.FAILED and commands == [m.CloseOperation(ID)]


def test_an_abort_undoes_what_was_begun_in_reverse_and_nothing_else() -> None:
    state = forward(asked(), "release_consumers")
    state, commands = m.step(state, m.AbortAsked(ID))
    assert commands == [m.CancelStep(ID, "release_consumers"), m.UndoStep(ID, "release_consumers")]
    undone = []
    while state[ID].status is OperationStatus.ABORTING:
        name = next(command.step for command in commands if isinstance(command, m.UndoStep))
        undone.append(name)
        state, commands = m.step(state, m.StepUndone(ID, name, {}))
    wanted = [
        s.name for s in CONSUMER_FIRST.steps if s.way_back and STEPS.index(s.name) <= STEPS.index("release_consumers")
    ]
    assert undone == wanted[::-1]
    assert state[ID].status is OperationStatus.ABORTED and commands == [m.CloseOperation(ID)]


def test_a_late_word_of_a_cancelled_step_changes_nothing() -> None:
    state = forward(asked(), "write_offsets")
    state, _ = m.step(state, m.AbortAsked(ID))
    for late in (
        m.StepActed(ID, "write_offsets"),
        m.StepVerified(ID, "write_offsets", {}),
        m.StepFailed(ID, "write_offsets", {}),
    ):
        after, commands = m.step(state, late)
        assert after == state and commands == []


def test_no_abort_once_a_producer_may_have_written_to_the_target() -> None:
    last = point_of_no_return()
    state = forward(asked(), last)
    assert "point of no return" in (m.refuse_abort(state[ID]) or "")
    state, _ = m.step(state, m.StepMeasured(ID, last, {"crossed": False}))
    assert m.refuse_abort(state[ID]) is None
    state, _ = m.step(state, m.StepMeasured(ID, last, {"crossed": True}))
    assert "point of no return" in (m.refuse_abort(state[ID]) or "")


def test_a_new_engine_runs_the_current_step_again_and_waits_where_the_operator_is_needed() -> None:
    state = forward(asked(), "drained")
    state, _ = m.step(state, m.StepMeasured(ID, "drained", {"rest": 3}))
    after, commands = m.step(state, m.EngineStarted())
    assert after[ID].step("drained").status is StepStatus.PENDING
    assert commands == [m.RunStep(ID, "drained")]
    waiting, _ = m.step(state, m.StepFailed(ID, "drained", {"title": "no"}))
    assert m.step(waiting, m.EngineStarted())[1] == []


def test_a_new_engine_goes_on_with_an_abort() -> None:
    state, _ = m.step(forward(asked(), "write_offsets"), m.AbortAsked(ID))
    _, commands = m.step(state, m.EngineStarted())
    assert commands == [m.UndoStep(ID, "write_offsets")]


def test_events_of_unknown_operations_are_a_defect() -> None:
    with pytest.raises(m.InvalidTransition):
        m.step({}, m.StepBegun("other", "ready"))


_names = st.sampled_from(STEPS)
_events = st.one_of(
    st.builds(m.StepBegun, st.just(ID), _names),
    st.builds(m.StepActed, st.just(ID), _names),
    st.builds(m.StepMeasured, st.just(ID), _names, st.just({}), st.booleans()),
    st.builds(m.StepFailed, st.just(ID), _names, st.just({"title": "no"}), st.booleans()),
    st.builds(m.Answered, st.just(ID), _names, st.just({"retry": True})),
    st.builds(m.EngineStarted),
    st.just("verify"),
    st.just("undone"),
    st.just("abort"),
)


@settings(max_examples=300)
@given(st.lists(_events, max_size=60))
def test_steps_are_done_in_order_whatever_happens(events: list[Any]) -> None:
    """A step is only ever verified after all before it, and a final operation never changes."""
    state = asked()
    for event in events:
        operation = state[ID]
        if event == "verify":
            if operation.current is None:
                continue
            event = m.StepVerified(ID, operation.current.name, {})
        elif event == "undone":
            running = [s for s in operation.steps if s.status is StepStatus.RUNNING]
            if operation.status is not OperationStatus.ABORTING or not running:
                continue
            event = m.StepUndone(ID, running[-1].name, {})
        elif event == "abort":
            if m.refuse_abort(operation):
                continue
            event = m.AbortAsked(ID)
        elif hasattr(event, "step") and (operation.current is None or event.step != operation.current.name):
            continue  # the runner only ever speaks of the step it was told to run
        state, _ = m.step(state, event)
        after = state[ID]
        if operation.status.is_final:
            assert after == operation
        if after.status not in (OperationStatus.ABORTING, OperationStatus.ABORTED):
            done = [item.status is StepStatus.DONE for item in after.steps]
            assert done == sorted(done, reverse=True)
