"""The action registry: no key means two things in one place, and every action can be reached."""

from __future__ import annotations

from collections import Counter

import pytest

from kferry.client import actions
from kferry.client.actions import ACTIONS, GLOBAL

# Intents of docs/contracts.md that an operator can send.
INTENTS = {
    "check_clusters", "scan", "preflight", "plan", "waive", "unwaive", "create_task", "update_task", "pause_task",
    "resume_task", "delete_task", "cutover", "verify", "undo_change", "answer", "abort", "stop_engine",
    "fleet_check", "scale_task", "restart_task", "rotate_task", "upgrade_task", "diagnose", "teardown_host",
    "apply_acls", "fix_findings", "plan_access", "apply_access", "probe_principal",
}  # fmt: skip


def test_ids_are_unique() -> None:
    assert len(actions.BY_ID) == len(ACTIONS)


@pytest.mark.parametrize("screen", actions.screen_names())
def test_no_key_means_two_things_on_a_screen(screen: str) -> None:
    keys = Counter(key for action in actions.for_screen(screen) for key in action.keys)
    assert [key for key, count in keys.items() if count > 1] == []


def test_every_intent_has_an_action_and_every_action_a_known_intent() -> None:
    assert {action.intent for action in ACTIONS} - {None} == INTENTS


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.id)
def test_an_action_is_complete(action: actions.Action) -> None:
    assert action.help.endswith(".")
    assert action.scope in (GLOBAL, *actions.screen_names())
    assert set(action.also_on) <= set(actions.screen_names())
    assert action.danger in ("none", "confirm", "typed")
    if action.intent is not None or action.danger != "none":
        assert action.changes, "a read-only session must refuse it"


def test_numbers_lead_to_the_screens_in_order() -> None:
    keys = [actions.BY_ID[f"goto_{name}"].keys for name, _ in actions.SCREENS]
    assert keys == [(str(n % 10),) for n in range(1, 11)]


def test_what_cannot_be_taken_back_is_typed() -> None:
    typed = {action.id for action in ACTIONS if action.danger == "typed"}
    assert typed == {"delete_task", "start_cutover", "abort", "teardown", "apply_acls"}
