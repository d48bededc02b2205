"""The rail: the state of each phase and the one next action, for every situation that an operator may be in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kferry.client import actions
from kferry.domain.rail import (
    BatchFact,
    ClusterFact,
    NextAction,
    OperationFact,
    PhaseState,
    RailFacts,
    next_action,
    phases,
)

UP = (ClusterFact("source", True, True), ClusterFact("target", True, True))
START = RailFacts(engine_alive=True, clusters=(ClusterFact("source", True, None), ClusterFact("target", True, None)))
CONNECTED = replace(START, clusters=UP)
SCANNED = replace(CONNECTED, has_scan=True)
CLEAR = replace(SCANNED, blocks=0, open_warnings=0, waived=2)
PLANNED = replace(
    CLEAR, has_plan=True, batches=(BatchFact("hr", "planned", False), BatchFact("shop", "planned", False))
)


def _task(name: str, lag: int | None, state: str = "Running", phase: str = "replicating") -> BatchFact:
    return BatchFact(name, phase, True, state, lag_records=lag, eta_text="2 min")


def _op(kind: str, status: str, subject: str = "", problem: str = "") -> OperationFact:
    return OperationFact("op-1", kind, subject, status, "a step", problem)


HALF = replace(PLANNED, batches=(_task("hr", 5), BatchFact("shop", "planned", False)))
COPYING = replace(PLANNED, batches=(_task("hr", 500_000), _task("shop", 5)))
READY = replace(PLANNED, batches=(_task("hr", 5), _task("shop", 900_000)))
HR_SWITCHED = replace(PLANNED, batches=(_task("hr", 0, phase="switched"), _task("shop", 5)))
SWITCHED = replace(PLANNED, batches=(_task("hr", 0, phase="switched"), _task("shop", 0, phase="switched")))
OVER = replace(PLANNED, batches=(BatchFact("hr", "switched", False), BatchFact("shop", "finished", False)))

SITUATIONS: list[tuple[str, RailFacts, str, str, dict[str, str]]] = [
    ("nothing configured", RailFacts(engine_alive=True), "goto_clusters", "", {"Connect": "attention"}),
    ("engine dead", replace(START, engine_alive=False), "start_engine", "", {"Connect": "todo"}),
    ("never tested", START, "check_clusters", "", {"Connect": "todo", "Scan": "todo"}),
    (
        "target lost",
        replace(START, clusters=(UP[0], ClusterFact("target", True, False, "target refuses us"))),
        "check_clusters",
        "target",
        {"Connect": "attention"},
    ),
    (
        "test running",
        replace(START, operations=(_op("check_clusters", "running"),)),
        "goto_clusters",
        "",
        {"Connect": "active"},
    ),
    ("connected", CONNECTED, "scan", "", {"Connect": "done", "Scan": "todo"}),
    (
        "scan failed",
        replace(CONNECTED, operations=(_op("scan", "failed", problem="no rights"),)),
        "scan",
        "",
        {"Scan": "attention"},
    ),
    ("scanned", SCANNED, "preflight", "", {"Scan": "done", "Preflight": "todo"}),
    ("blocked", replace(SCANNED, blocks=1, open_warnings=2), "goto_preflight", "", {"Preflight": "attention"}),
    ("to waive", replace(SCANNED, blocks=0, open_warnings=2), "waive", "", {"Preflight": "attention", "Plan": "todo"}),
    ("clear", CLEAR, "plan", "", {"Preflight": "done", "Plan": "todo"}),
    ("plan broken", replace(CLEAR, plan_problem="line 3"), "goto_plan", "", {"Plan": "attention"}),
    ("planned", PLANNED, "create_task", "hr", {"Plan": "done", "Provision": "todo"}),
    (
        "being built",
        replace(PLANNED, operations=(_op("create_task", "running", "hr"),)),
        "goto_runs",
        "hr",
        {"Provision": "active"},
    ),
    (
        "building failed",
        replace(PLANNED, operations=(_op("create_task", "failed", "shop"),)),
        "create_task",
        "shop",
        {"Provision": "attention"},
    ),
    (
        "building needs the operator",
        replace(PLANNED, operations=(_op("create_task", "needs operator", "hr", "no port"),)),
        "goto_tasks",
        "hr",
        {"Provision": "attention"},
    ),
    ("one of two built", HALF, "create_task", "shop", {"Provision": "active", "Replicate": "active"}),
    (
        "first batch behind",
        COPYING,
        "goto_tasks",
        "hr",
        {"Provision": "done", "Replicate": "active", "Cut over": "todo"},
    ),
    ("first batch ready", READY, "start_cutover", "hr", {"Replicate": "active", "Cut over": "todo"}),
    (
        "lag unknown is not ready",
        replace(PLANNED, batches=(_task("hr", None),)),
        "goto_tasks",
        "hr",
        {"Replicate": "active"},
    ),
    (
        "broken task",
        replace(READY, batches=(_task("hr", 5), _task("shop", 5, "Service Exception"))),
        "goto_tasks",
        "shop",
        {"Replicate": "attention"},
    ),
    ("paused", replace(PLANNED, batches=(_task("hr", 5, "Paused"),)), "resume_task", "hr", {"Replicate": "active"}),
    (
        "cutover asks",
        replace(READY, operations=(_op("cutover", "needs operator", "hr", "owners must act"),)),
        "goto_cutover",
        "hr",
        {"Cut over": "attention"},
    ),
    (
        "cutover failed",
        replace(READY, operations=(_op("cutover", "failed", "hr"),)),
        "start_cutover",
        "hr",
        {"Cut over": "attention"},
    ),
    (
        "cutover aborted",
        replace(READY, operations=(_op("cutover", "aborted", "hr"),)),
        "start_cutover",
        "hr",
        {"Cut over": "todo"},
    ),
    ("one switched", HR_SWITCHED, "start_cutover", "shop", {"Cut over": "active", "Finish": "active"}),
    ("all switched", SWITCHED, "delete_task", "hr", {"Replicate": "done", "Cut over": "done", "Finish": "active"}),
    ("over", OVER, "report", "", {"Provision": "done", "Replicate": "done", "Cut over": "done", "Finish": "done"}),
    ("over, engine stopped", replace(OVER, engine_alive=False), "report", "", {"Finish": "done"}),
]


@pytest.mark.parametrize(
    ("facts", "action", "subject", "states"), [row[1:] for row in SITUATIONS], ids=[row[0] for row in SITUATIONS]
)
def test_situation(facts: RailFacts, action: str, subject: str, states: dict[str, str]) -> None:
    chosen = next_action(facts)
    assert (chosen.action_id, chosen.subject) == (action, subject), chosen.sentence
    rail = {phase.name: phase.state.value for phase in phases(facts)}
    assert {name: rail[name] for name in states} == states


@pytest.mark.parametrize("facts", [row[1] for row in SITUATIONS], ids=[row[0] for row in SITUATIONS])
def test_every_next_action_is_in_the_registry_and_is_a_sentence(facts: RailFacts) -> None:
    for following in [next_action(facts), *(phase.next for phase in phases(facts))]:
        if following != NextAction("", ""):
            assert following.action_id in actions.BY_ID
            assert following.sentence


def test_a_done_phase_asks_for_nothing() -> None:
    for _, facts, *_ in SITUATIONS:
        for phase in phases(facts):
            assert phase.state is not PhaseState.DONE or not phase.next.action_id


def test_cutover_keeps_the_order_of_the_plan() -> None:
    later_ready = replace(PLANNED, batches=(_task("hr", 500_000), _task("shop", 0)))
    assert next_action(later_ready).action_id != "start_cutover"
