"""What a plan breaks: what it tears apart, misses, or orders against the operator's rules; each with its subject."""

from __future__ import annotations

from itertools import pairwise

from kferry.domain.model import Plan, Scan
from kferry.domain.planning.bindings import Binding, NodeKind, listed_in_words
from kferry.domain.planning.graph import Graph
from kferry.domain.planning.rules import PlanningRules
from kferry.domain.planning.scope import decided_of, group_key


def violations(plan: Plan, scan: Scan, rules: PlanningRules | None = None) -> list[tuple[str, str]]:
    """Each group, application, rule, topic or batch that the plan does not do right by, with a sentence."""
    graph = Graph(scan, rules)
    return violations_in(plan, graph)


def violations_in(plan: Plan, graph: Graph) -> list[tuple[str, str]]:
    """As `violations`, with a graph that is there already."""
    home = {topic: batch.name for batch in plan.batches for topic in batch.topics}
    groups_home = {group: batch.name for batch in plan.batches for group in batch.groups}
    known = {topic.name for topic in graph.scan.topics}
    # what the planner leaves out by its nature binds nothing, unless the operator moves it all the same
    # that a group stays behind is no news where the operator left it out
    behind = {*graph.left_out, *decided_of(plan.left_out)}
    readers = {group.group_id for group in graph.scan.groups if group_key(group.group_id) not in behind}
    bindings = graph.bindings_over(
        known - {name for name in graph.left_out if name not in home}, readers | set(groups_home)
    )
    found = [(one.name, sentence) for one in bindings for sentence in _torn(one, home, groups_home)]
    found += [
        (name, f"{name} is in batch {home[name]}, but the source no longer has it.")
        for name in sorted(set(home) - known)
    ]
    found += [
        (name, f"The plan says nothing about {name}, which is on the source.")
        for name in sorted(known - set(home) - set(plan.left_out) - set(graph.left_out))
    ]
    found += [
        (name, f"Group {name} is in batch {groups_home[name]}, but the source no longer has it.")
        for name in sorted(set(groups_home) - {group.group_id for group in graph.scan.groups})
    ]
    found += _against_leave_out(graph.rules, home, groups_home)
    return found + _order(plan, graph.rules)


def explain(plan: Plan, scan: Scan, rules: PlanningRules | None = None) -> list[str]:
    """The sentences of `violations`; [] where there are none."""
    return [sentence for _, sentence in violations(plan, scan, rules)]


def _torn(binding: Binding, home: dict[str, str], groups_home: dict[str, str]) -> list[str]:
    if binding.kind is NodeKind.GROUP and binding.name not in groups_home:
        moving = sorted(topic for topic in binding.topics if topic in home)
        return (
            [f"Group {binding.name} stays behind, but {listed_in_words(moving)}, which it reads, moves away."]
            if moving
            else []
        )
    places: dict[str, list[str]] = {}
    for topic in sorted(binding.topics):
        places.setdefault(home.get(topic, ""), []).append(topic)
    own = groups_home.get(binding.name) if binding.kind is NodeKind.GROUP else None
    if own is not None and list(places) != [own]:
        apart = sorted(topic for place, topics in places.items() if place != own for topic in topics)
        return [f"Group {binding.name} moves in batch {own}, but it also reads {_where(apart, home)}."]
    if own is None and len(places) > 1:
        name = f"{binding.kind.value} {binding.name}"
        return [f"{name[0].upper()}{name[1:]} {binding.verb} {_where(sorted(binding.topics), home)}."]
    return []


def _where(topics: list[str], home: dict[str, str]) -> str:
    return listed_in_words(
        [f"{topic} ({f'batch {home[topic]}' if topic in home else 'stays behind'})" for topic in topics]
    )


def _against_leave_out(
    rules: PlanningRules, home: dict[str, str], groups_home: dict[str, str]
) -> list[tuple[str, str]]:
    found = [
        (name, f"{name} is in batch {batch}, but rules.yml leaves it out.")
        for name, batch in sorted(home.items())
        if rules.leaves_out_topic(name) is not None
    ]
    return found + [
        (name, f"Group {name} is in batch {batch}, but rules.yml leaves it out.")
        for name, batch in sorted(groups_home.items())
        if rules.leaves_out_group(name) is not None
    ]


def _order(plan: Plan, rules: PlanningRules) -> list[tuple[str, str]]:
    """Batches that stand on the wrong side of another one, by `first` and `last`."""
    if not rules.first and not rules.last:
        return []
    placed = [(batch.name, *rules.place_in_order(batch.topics)) for batch in plan.batches]
    found = []
    for before, after in pairwise(placed):
        if before[1] > after[1]:
            rule = f"`last: {before[2]}`" if before[1] > 0 else f"`first: {after[2]}`"
            found.append((before[0], f"Batch {before[0]} stands before {after[0]}, against the rule {rule}."))
    return found
