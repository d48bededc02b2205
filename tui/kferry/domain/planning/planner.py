"""The planner: components of the graph become batches, in the order in which they should move."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass, replace

from kferry.domain.applications import Application
from kferry.domain.model import Batch, Plan, Scan
from kferry.domain.planning.bindings import Binding, NodeKind, listed_in_words
from kferry.domain.planning.estimate import Estimator, Rates
from kferry.domain.planning.graph import Graph
from kferry.domain.planning.naming import unique
from kferry.domain.planning.order import in_order
from kferry.domain.planning.risk import RiskScale
from kferry.domain.planning.rules import PlanningRules
from kferry.domain.planning.scope import decided_of, group_key

_NAMED_SYSTEMS = 3
_UNREAD = "no consumer group"
# how the sentences of ties begin
_TIES = tuple(f"{kind.value[0].upper()}{kind.value[1:]} " for kind in NodeKind)


def plan_batches(
    scan: Scan,
    rules: PlanningRules | None = None,
    *,
    before: Plan | None = None,
    begun: Collection[str] = (),
    rates: Rates | None = None,
) -> Plan:
    """The batches of a scan in their order. The same scan in any order gives the same plan.

    Of the plan `before`, batches that are pinned or have `begun` stay as they are, in their place; notes, and what the
    operator left out by hand, come along.
    """
    old = before or Plan("", ())
    kept = [batch for batch in old.batches if batch.pinned or batch.name in begun]
    graph = Graph(scan, rules, decided=decided_of(old.left_out))
    taken = _Taken(
        {name for batch in kept for name in batch.topics},
        {name for batch in kept for name in batch.groups},
        {batch.name for batch in kept},
    )
    made = _weigh(graph, _batches(graph, _Homes(graph, taken.topics), taken), rates)
    notes = {batch.name: batch.note for batch in old.batches}
    made = [replace(batch, note=notes.get(batch.name, "")) for batch in made]
    ordered = in_order(made, graph, with_canary=not begun and not any(batch.canary for batch in kept))
    for at, batch in enumerate(old.batches):
        if batch in kept:
            ordered.insert(min(at, len(ordered)), batch)
    placed = {name for batch in ordered for name in (*batch.topics, *map(group_key, batch.groups))}
    left_out = {name: reason for name, reason in graph.left_out.items() if name not in placed}
    for group in scan.groups:
        if group_key(group.group_id) not in placed:
            left_out.setdefault(group_key(group.group_id), "all topics it reads stay behind")
    return Plan(scan.scan_id, tuple(ordered), dict(sorted(left_out.items())))


def reweigh(
    plan: Plan,
    scan: Scan,
    rules: PlanningRules | None = None,
    *,
    only: Sequence[str] | None = None,
    rates: Rates | None = None,
) -> Plan:
    """The same plan with reasons, risk, warnings and estimate of its batches (or of `only` some) as they are now."""
    graph = Graph(scan, rules)
    chosen = [batch for batch in plan.batches if only is None or batch.name in only]
    chosen = [replace(batch, why=_why_now(graph, batch)) for batch in chosen]
    weighed = {batch.name: batch for batch in _weigh(graph, chosen, rates)}
    return replace(plan, batches=tuple(weighed.get(batch.name, batch) for batch in plan.batches))


@dataclass(frozen=True, slots=True)
class _Taken:
    """What batches that stay as they are hold already."""

    topics: Set[str]
    groups: Set[str]
    names: Set[str]


class _Homes:
    """Which topics move together: the components, and topics that nobody reads with those of their system."""

    def __init__(self, graph: Graph, taken: Set[str]) -> None:
        self.sets = graph.sets.copy()
        bound = {name for binding in graph.bindings for name in binding.topics}
        known = [name for name in graph.topics if name not in taken]
        self.unread = {name for name in known if name not in bound}
        graph.join_unread(self.sets, known, self.unread)


def _batches(graph: Graph, homes: _Homes, kept: _Taken) -> list[Batch]:
    by_topic: dict[str, list[Binding]] = defaultdict(list)
    for binding in graph.bindings:
        by_topic[min(binding.topics)].append(binding)
    # components first, then what is in them: a part of a component may be in a kept batch already
    grouped = homes.sets.sets()
    parts = [(names, [name for name in names if name not in kept.topics]) for names in grouped.values()]
    parts = [(names, left) for names, left in parts if left]
    systems: dict[str, int] = defaultdict(int)
    for _, left in parts:
        systems[_common_system(graph, left) or ""] += 1
    cut = {one.name: one.stays_with for one in graph.rules.cuts if one.stays_with}
    taken = set(kept.names)
    batches = []
    for names, left in parts:
        own = sorted((one for name in names for one in by_topic.get(name, ())), key=lambda one: (one.kind, one.name))
        groups = {one.name for one in own if one.kind is NodeKind.GROUP} - kept.groups
        groups |= {
            group_id
            for group_id, topic in cut.items()
            if topic in left and group_id in graph.groups and group_id not in kept.groups
        }
        why = [one.words for one in own]
        why += [
            f"Group {name} was cut by the operator and moves with {cut[name]}." for name in sorted(groups & set(cut))
        ]
        if len(left) < len(names):
            rest = sorted(set(names) - set(left))
            why.append(f"{listed_in_words(rest)} would move along, but the batch that holds it stays as it is.")
        why += _unread_words(graph, left, homes.unread)
        name = unique(_candidates(graph, left, tuple(sorted(groups)), systems), taken)
        batches.append(Batch(name, tuple(left), tuple(sorted(groups)), why=tuple(why)))
    return batches


def _weigh(graph: Graph, batches: Sequence[Batch], rates: Rates | None) -> list[Batch]:
    """Risk, class warnings and estimate of each batch; the sentence about risk is put anew."""
    scale, estimator = RiskScale(graph.scan), Estimator(graph.scan, rates)
    apps = ApplicationIndex(graph.applications)
    found = []
    for batch in batches:
        own = apps.of(batch)
        risk = scale.weigh(batch.topics, batch.groups, own)
        warnings = tuple(words for one in own for words in one.warnings)
        why = (*(words for words in batch.why if not words.startswith("Risk ")), risk.words)
        found.append(replace(batch, risk=risk.points, why=why, warnings=warnings, estimate=estimator.of(batch).words))
    return found


def _why_now(graph: Graph, batch: Batch) -> tuple[str, ...]:
    """What ties the batch now, in place of what tied it before; other sentences stay."""
    topics, groups = set(batch.topics), set(batch.groups)
    own = [one for one in graph.bindings if one.topics & topics or (one.kind is NodeKind.GROUP and one.name in groups)]
    bound = {name for one in graph.bindings for name in one.topics}
    unread = {name for name in batch.topics if name not in bound}
    kept = [words for words in batch.why if not words.startswith(_TIES) and _UNREAD not in words]
    return (*(one.words for one in own), *_unread_words(graph, batch.topics, unread), *kept)


class ApplicationIndex:
    """Finds the applications of a batch: those of its groups, and those that write its topics."""

    def __init__(self, applications: Sequence[Application]) -> None:
        self._by_group: dict[str, list[Application]] = defaultdict(list)
        self._by_topic: dict[str, list[Application]] = defaultdict(list)
        for one in applications:
            for group_id in one.groups:
                self._by_group[group_id].append(one)
            for topic in one.writes:
                self._by_topic[topic].append(one)

    def of(self, batch: Batch) -> tuple[Application, ...]:
        found = [one for name in batch.groups for one in self._by_group.get(name, ())]
        found += [one for name in batch.topics for one in self._by_topic.get(name, ())]
        return tuple(sorted({(one.name, one.class_): one for one in found}.values(), key=lambda one: one.name))


def _common_system(graph: Graph, topics: Sequence[str]) -> str | None:
    systems = {graph.system_of(name) for name in topics}
    return systems.pop() if len(systems) == 1 else None


def _unread_words(graph: Graph, names: Sequence[str], unread: set[str]) -> list[str]:
    silent = [name for name in names if name in unread]
    if not silent:
        return []
    verb = "has" if len(silent) == 1 else "have"
    listed = listed_in_words(silent)
    if len(silent) == len(names):
        return [f"{listed} {verb} {_UNREAD}, so nothing else has to move at the same time."]
    pronoun = "it moves" if len(silent) == 1 else "they move"
    return [f"{listed} {verb} {_UNREAD}; {pronoun} with the rest of {graph.system_of(silent[0])}."]


def _candidates(graph: Graph, names: Sequence[str], groups: tuple[str, ...], systems: dict[str, int]) -> list[str]:
    pattern = {one.batch for one in map(graph.rules.pattern_of_topic, names) if one is not None}
    found = sorted(pattern) if len(pattern) == 1 else []
    system = _common_system(graph, names)
    if system is not None and systems[system] == 1:
        found.append(system)
    if len(groups) == 1:
        found.append(groups[0])
    if system is not None:
        found += [f"{system}-{group}" for group in groups[:1]]
        found.append(system)
    return [*found, _of_systems(graph, names), *groups[:1], names[0]]


def _of_systems(graph: Graph, names: Sequence[str]) -> str:
    """A name for what several systems share: all of them, or the one with the most topics and how many more."""
    counts = Counter(graph.system_of(name) for name in names)
    if len(counts) <= _NAMED_SYSTEMS:
        return "-".join(sorted(counts))
    largest = min(counts, key=lambda name: (-counts[name], name))
    return f"{largest}-and-{len(counts) - 1}-more"
