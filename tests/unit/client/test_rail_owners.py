"""A cutover that waits for the application owners says so, and names what to do."""

from __future__ import annotations

from dataclasses import replace

from kferry.domain.rail import BatchFact, ClusterFact, OperationFact, PhaseState, RailFacts, next_action, phases

FACTS = RailFacts(
    engine_alive=True,
    clusters=(ClusterFact("source", True, True), ClusterFact("target", True, True)),
    has_scan=True,
    blocks=0,
    open_warnings=0,
    has_plan=True,
    batches=(BatchFact("hr", "switching", True, "Running", lag_records=0),),
    operations=(OperationFact("op", "cutover", "hr", "running", "Owners stop the producers", waits_for_owners=True),),
)


def test_waiting_for_owners_is_the_operators_turn() -> None:
    assert next_action(FACTS).action_id == "goto_cutover"
    assert "Owners stop the producers: ask them" in next_action(FACTS).sentence
    assert phases(FACTS)[6].state is PhaseState.ATTENTION


def test_measuring_is_not() -> None:
    busy = replace(FACTS, operations=(replace(FACTS.operations[0], waits_for_owners=False),))
    assert phases(busy)[6].state is PhaseState.ACTIVE
    assert next_action(busy).sentence == "Watch hr switch."
