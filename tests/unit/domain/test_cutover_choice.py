"""The class of a batch's applications decides its runbook; the operator's own choice stands, with its consequence."""

from __future__ import annotations

import pytest

from kferry.domain import machine as m
from kferry.domain.applications import Application
from kferry.domain.applications import ApplicationClass as App
from kferry.domain.cutover import CONSUMER_FIRST, point_of_no_return
from kferry.domain.cutover_choice import CHOICES, choose_runbook
from kferry.domain.cutover_drain import STOP_DRAIN_SWITCH
from kferry.domain.errors import KferryError
from kferry.domain.runbook import OperationKind, OperationStatus, StepKind
from kferry.domain.runbooks import VARIANTS, runbook_of

STEPS = [step.name for step in STOP_DRAIN_SWITCH.steps]
DRAIN = {"runbook": "stop-drain-switch"}


def app(name: str, of_class: App) -> Application:
    return Application(name, of_class, (name,), (), frozenset({"orders"}), frozenset(), ())


@pytest.mark.parametrize("of_class", list(App))
def test_every_class_has_its_runbook(of_class: App) -> None:
    writes = of_class in (App.READ_PROCESS_WRITE, App.STREAMS, App.FLINK_OR_SPARK, App.SCHEMA_REGISTRY)
    choice = choose_runbook("auto", [app("billing", App.PURE_CONSUMER), app("totals", of_class)])
    assert choice.variant == ("stop-drain-switch" if writes else "consumers-first")
    assert ("totals" in choice.words[0]) is writes


def test_what_is_said_of_a_registry_is_what_kferry_does() -> None:
    from kferry.domain.applications import STYLES, WARNINGS, CutoverStyle

    assert {style.value.partition(",")[0] for style in STYLES.values()} == {"consumer-first", "stop-drain-switch"}
    assert STYLES[App.SCHEMA_REGISTRY] is CutoverStyle.REGISTRY
    words = " ".join(WARNINGS[App.SCHEMA_REGISTRY])
    assert "never speaks to a schema registry" in words and "its owner sets it to mode READONLY" in words


def test_the_operators_choice_stands_and_says_what_it_costs() -> None:
    totals = app("totals", App.STREAMS)
    against = choose_runbook("consumers-first", [totals])
    assert against.variant == "consumers-first" and "breaks the mapping of offsets" in against.warnings[0]
    assert set(totals.warnings) <= set(against.warnings)
    careful = choose_runbook("stop-drain-switch", [app("billing", App.PURE_CONSUMER)])
    assert careful.variant == "stop-drain-switch" and not careful.warnings
    assert choose_runbook("auto", []).variant == "consumers-first"
    with pytest.raises(KferryError, match="no runbook"):
        choose_runbook("quick", [])
    assert set(CHOICES) == {"auto", *(book.variant for book in VARIANTS[OperationKind.CUTOVER])}


@pytest.mark.parametrize(
    ("first", "then", "because"),
    [
        ("stop_consumers", "stop_producers", "an application that reads and writes is stopped before its source is"),
        ("stop_producers", "drained", "a source that is written to is never drained"),
        ("drained", "stop_source_connector", "stopping the copy before the drain loses the rest"),
        ("copied_past_commits", "stop_source_connector", "what is not copied has no position on the target"),
        ("freeze_groups", "write_offsets", "MirrorCheckpoint would push an empty group forward again"),
        ("stop_source_connector", "translate_offsets", "positions are found in logs that no longer move"),
        ("write_offsets", "certify", "what was written is in the certificate"),
        ("certify", "release_consumers", "an application on the target writes: nothing could be compared any more"),
        ("promote_configs", "release_consumers", "new records must not land under held configs"),
        ("stop_source_connector", "release_consumers", "foreign records between the copies break the mapping"),
        ("release_consumers", "release_producers", "who reads is there before who writes"),
    ],
)
def test_order(first: str, then: str, because: str) -> None:
    assert STEPS.index(first) < STEPS.index(then), because


def test_both_runbooks_have_the_same_steps_and_everything_has_a_way_back_before_the_first_release() -> None:
    assert sorted(STEPS) == sorted(step.name for step in CONSUMER_FIRST.steps)
    assert point_of_no_return(STOP_DRAIN_SWITCH) == "release_consumers"
    before = STOP_DRAIN_SWITCH.steps[: STEPS.index("release_consumers")]
    changing = [step for step in before if step.kind in (StepKind.ACT, StepKind.OWNER)]
    assert [step.name for step in changing if not step.way_back] == ["translate_offsets"], "it only reads"


def test_an_operation_keeps_the_runbook_it_began_with() -> None:
    state, commands = m.step({}, m.OperationAsked("op", OperationKind.CUTOVER, "shop", DRAIN))
    assert [item.name for item in state["op"].steps] == STEPS and commands == [m.RunStep("op", "ready")]
    assert runbook_of(OperationKind.CUTOVER, state["op"].args) is STOP_DRAIN_SWITCH
    assert runbook_of(OperationKind.CUTOVER, {}) is CONSUMER_FIRST, "operations of earlier versions name none"
    for name in STEPS[: STEPS.index("write_offsets")]:
        state, _ = m.step(state, m.StepBegun("op", name))
        state, _ = m.step(state, m.StepVerified("op", name, {}))
    state, _ = m.step(state, m.StepBegun("op", "write_offsets"))
    state, commands = m.step(state, m.EngineStarted())
    assert commands == [m.RunStep("op", "write_offsets")]
    state, _ = m.step(state, m.StepBegun("op", "write_offsets"))
    state, commands = m.step(state, m.AbortAsked("op"))
    undone = []
    while state["op"].status is OperationStatus.ABORTING:
        undone.append(next(command.step for command in commands if isinstance(command, m.UndoStep)))
        state, commands = m.step(state, m.StepUndone("op", undone[-1], {}))
    assert undone == [
        "write_offsets",
        "stop_source_connector",
        "freeze_groups",
        "stop_producers",
        "stop_consumers",
        "ready",
    ]


def test_no_abort_once_an_application_may_have_written_to_the_target() -> None:
    state, _ = m.step({}, m.OperationAsked("op", OperationKind.CUTOVER, "shop", DRAIN))
    for name in STEPS[: STEPS.index("release_consumers")]:
        state, _ = m.step(state, m.StepBegun("op", name))
        state, _ = m.step(state, m.StepVerified("op", name, {}))
    assert m.refuse_abort(state["op"]) is None
    state, _ = m.step(state, m.StepBegun("op", "release_consumers"))
    assert "point of no return" in (m.refuse_abort(state["op"]) or "")
    state, _ = m.step(state, m.StepMeasured("op", "release_consumers", {"crossed": False}))
    assert m.refuse_abort(state["op"]) is None
    state, _ = m.step(state, m.StepVerified("op", "release_consumers", {"crossed": True}))
    state, _ = m.step(state, m.StepBegun("op", "release_producers"))
    state, _ = m.step(state, m.StepMeasured("op", "release_producers", {"crossed": False}))
    assert "applications and consumers" in (m.refuse_abort(state["op"]) or "")
