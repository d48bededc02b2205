"""Changing rules.yml, with what the change would do to the plan told first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kferry.domain import planning
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.planning.rule_edits import with_cut
from kferry.domain.planning.rules import Cut, PlanningRules

if TYPE_CHECKING:
    from kferry.client.session import Session


def apply(
    session: Session, edit: Callable[[PlanningRules], PlanningRules], what: str, *, dry_run: bool = False
) -> list[str]:
    """Rewrite rules.yml; return what was done and what planning again would make of it, in words."""
    from kferry.store import rules_file

    if session.read_only and not dry_run:
        raise KferryError("This session is read-only; rules.yml was not changed.", kind=ErrorKind.USAGE)
    before = rules_file.load_rules(session.layout)
    after = edit(before)
    if not dry_run:
        rules_file.write_rules(session.layout, after)
    words = [f"{'Would be done' if dry_run else 'Done'}: {what}."]
    scan = session.reader.scan("source")
    if scan is not None:
        now, then = (len(planning.plan_batches(scan, rules).batches) for rules in (before, after))
        if now != then:
            words.append(f"Planning again makes {then} batches, where the rules before make {now}.")
    if not dry_run:
        words.append("Plan again with: kferry plan (add --overwrite where plan.yml was edited by hand).")
    return words


def consequence_of_cut(session: Session, name: str, stays_with: str = "") -> list[str]:
    """What cutting a group or application means, in words; raises where nothing of this name binds topics."""
    scan = session.reader.scan("source")
    if scan is None:
        return ["What the cut comes to is unknown: the source was not scanned yet."]
    from kferry.store import rules_file

    rules = rules_file.load_rules(session.layout)
    graph = planning.Graph(scan, rules)
    if stays_with and stays_with not in graph.topics:
        raise KferryError(
            f"{stays_with!r} is no topic that moves.",
            next_step="Name a topic of the group with --stays-with, or leave it out.",
            kind=ErrorKind.USAGE,
        )
    bridge = next((one for one in graph.bridges() if one.node.name == name), None)
    if bridge is not None:
        return [bridge.consequence]
    binding = next((one for one in graph.bindings if one.name == name), None)
    if binding is None:
        if rules.cut(name) is not None:
            return [f"{name} is cut already; its reason and place are written anew."]
        known = ", ".join(one.node.name for one in graph.bridges()) or "there are none"
        raise KferryError(
            f"Nothing called {name!r} holds topics together.", next_step=f"Bridges: {known}.", kind=ErrorKind.USAGE
        )
    if binding.kind not in (planning.NodeKind.GROUP, planning.NodeKind.APPLICATION):
        raise KferryError(
            f"A {binding.kind.value} can't be cut.",
            cause="A transaction goes to one cluster as a whole; a rule is taken out of rules.yml.",
            kind=ErrorKind.USAGE,
        )
    before = graph.component_of(name)
    cut = planning.Graph(scan, with_cut(rules, Cut(name)))
    parts = {cut.sets.find(topic) for topic in before.topics} if before is not None else set()
    if len(parts) == 1:
        return [f"Cutting {name} alone takes nothing apart: its topics are held together by others as well."]
    return [f"Cutting {name} lets its topics fall into {len(parts)} parts, which may move at different times."]
