"""Where topics and groups belong that were found after the plan was made, by the planner's own rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from kferry.domain.model import Batch, Plan, Scan
from kferry.domain.planning.bindings import listed_in_words
from kferry.domain.planning.graph import Graph
from kferry.domain.planning.naming import unique
from kferry.domain.planning.rules import PlanningRules
from kferry.domain.planning.scope import decided_of, group_key


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one newcomer belongs. `batch` None: the operator has to decide, `why` says between what.

    `is_new_batch`: no batch of this name is in the plan yet.
    """

    kind: str  # topic or group
    name: str
    batch: str | None
    is_new_batch: bool
    why: str


def place_newcomers(plan: Plan, scan: Scan, rules: PlanningRules | None = None) -> tuple[Placement, ...]:
    """A place for each topic and group of the scan that should move and is not in the plan, topics first."""
    placing = _Placing(plan, Graph(scan, rules, decided=decided_of(plan.left_out)))
    topics = placing.topics()
    return (*topics, *placing.groups(topics))


def with_placements(plan: Plan, placements: Iterable[Placement]) -> Plan:
    """The plan with all newcomers that have a place in it; new batches come last."""
    batches = {batch.name: batch for batch in plan.batches}
    left_out = dict(plan.left_out)
    for one in placements:
        if one.batch is None:
            continue
        batch = batches.get(one.batch) or Batch(one.batch, (), ())
        if one.kind == "topic":
            batch = replace(batch, topics=tuple(sorted({*batch.topics, one.name})))
            left_out.pop(one.name, None)
        else:
            batch = replace(batch, groups=tuple(sorted({*batch.groups, one.name})))
            left_out.pop(group_key(one.name), None)
        batches[one.batch] = replace(batch, why=(*batch.why, one.why))
    return replace(plan, batches=tuple(batches.values()), left_out=left_out)


class _Placing:
    """One plan and one newer graph."""

    def __init__(self, plan: Plan, graph: Graph) -> None:
        self._plan = plan
        self._graph = graph
        self._home = {topic: batch.name for batch in plan.batches for topic in batch.topics}
        self._group_home = {group: batch.name for batch in plan.batches for group in batch.groups}
        self._pinned = {batch.name for batch in plan.batches if batch.pinned}
        self._names = {batch.name for batch in plan.batches}
        self._systems: dict[str, set[str]] = defaultdict(set)
        for topic, batch in self._home.items():
            self._systems[graph.system_of(topic)].add(batch)

    def topics(self) -> list[Placement]:
        """Newcomers of one component share one place."""
        fresh = [name for name in self._graph.topics if name not in self._home]
        sets = self._graph.sets
        homes: dict[str, set[str]] = defaultdict(set)
        for topic, batch in self._home.items():
            if topic in sets:
                homes[sets.find(topic)].add(batch)
        together: dict[str, list[str]] = defaultdict(list)
        for name in fresh:
            together[sets.find(name)].append(name)
        bound = {name for binding in self._graph.bindings for name in binding.topics}
        found: list[Placement] = []
        unread: dict[str, list[str]] = defaultdict(list)
        for root, names in together.items():
            if homes[root] or names[0] in bound:
                found += self._with_component(names, homes[root])
            else:
                unread[self._graph.system_of(names[0])] += names
        for system, names in sorted(unread.items()):
            found += self._with_system(system, names)
        return sorted(found, key=lambda one: one.name)

    def _with_component(self, names: Sequence[str], homes: set[str]) -> list[Placement]:
        if len(homes) > 1:
            listed = listed_in_words(sorted(homes))
            return [
                Placement("topic", name, None, False, f"{name} ties the batches {listed} together: merge or cut.")
                for name in names
            ]
        if homes:
            batch = next(iter(homes))
            if batch in self._pinned:
                words = f"belongs to batch {batch}, which is pinned: move it there or release the pin."
                return [Placement("topic", name, None, False, f"{name} {words}") for name in names]
            why = f"it is read or written together with what is in {batch}."
            return [Placement("topic", name, batch, False, f"{name} came later; {why}") for name in names]
        return self._in_new(names, "nothing in the plan goes with it")

    def _with_system(self, system: str, names: Sequence[str]) -> list[Placement]:
        """Topics that nobody reads: the one batch of their system, as the planner does it."""
        homes = self._systems.get(system, set())
        rules = self._graph.rules
        if rules.unread_join_their_system and len(homes) == 1 and not homes & self._pinned:
            batch = next(iter(homes))
            return [
                Placement("topic", name, batch, False, f"{name} came later; it moves with the rest of {system}.")
                for name in names
            ]
        return self._in_new(names, "nobody reads it yet")

    def _in_new(self, names: Sequence[str], why: str) -> list[Placement]:
        """A batch of their own, called after their pattern or system; it is the same one for all of them."""
        pattern = self._graph.rules.pattern_of_topic(names[0])
        if pattern is not None and pattern.batch not in self._pinned:
            batch = pattern.batch
            is_new = batch not in self._names
            self._names.add(batch)
        else:
            batch, is_new = unique([self._graph.system_of(names[0]), names[0]], self._names), True
        return [Placement("topic", name, batch, is_new, f"{name} came later; {why}.") for name in names]

    def groups(self, topics: Iterable[Placement]) -> list[Placement]:
        """Newcomers among the groups, with the topics that they read."""
        homes: dict[str, str | None] = {**self._home, **{one.name: one.batch for one in topics}}
        new_batches = {one.batch for one in topics if one.is_new_batch}
        read = {group.group_id: group.topics for group in self._graph.scan.groups}
        found = []
        for group_id in self._graph.groups:
            if group_id in self._group_home:
                continue
            cut = self._graph.rules.cut(group_id)
            wanted = {cut.stays_with} if cut is not None else read[group_id] & set(self._graph.topics)
            places = {homes.get(name) for name in wanted}
            known = sorted(place for place in places if place is not None)
            if len(places) == 1 and known and known[0] not in self._pinned:
                why = f"Group {group_id} came later; it reads what is in {known[0]}."
                found.append(Placement("group", group_id, known[0], known[0] in new_batches, why))
            elif len(places) == 1 and known:
                words = f"belongs to batch {known[0]}, which is pinned: move it there or release the pin."
                found.append(Placement("group", group_id, None, False, f"Group {group_id} {words}"))
            else:
                where = listed_in_words(known) or "topics without a place"
                why = f"Group {group_id} reads what is in {where}: merge them, or cut the group."
                found.append(Placement("group", group_id, None, False, why))
        return found
