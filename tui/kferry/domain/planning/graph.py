"""The graph of topics and of what binds them; its components move together, its bridges are where it could be cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from kferry.domain.applications import applications_of
from kferry.domain.model import Batch, Scan
from kferry.domain.planning.bindings import Binding, NodeKind, bindings_of, listed_in_words
from kferry.domain.planning.naming import system_of
from kferry.domain.planning.rules import BusinessSystem, PlanningRules
from kferry.domain.planning.scope import group_key, left_out_of
from kferry.domain.planning.sets import Sets
from kferry.domain.planning.sizing import BatchSize, size


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """A thing in the graph."""

    kind: NodeKind
    name: str


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """A topic and what is tied to it; `reason` says how ("reads it")."""

    topic: str
    node: Node
    reason: str


@dataclass(frozen=True, slots=True)
class Component:
    """Topics that must move together, with everything that ties them."""

    topics: tuple[str, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.nodes if node.kind is NodeKind.GROUP)


@dataclass(frozen=True, slots=True)
class Bridge:
    """A group or application that glues parts which would else move on their own.

    `parts` are the topics of each part that it touches, the largest first; `with_others` names the bridges that
    must be cut as well before anything comes apart. `consequence` says what cutting it means.
    """

    node: Node
    topics: tuple[str, ...]
    parts: tuple[tuple[str, ...], ...]
    with_others: tuple[str, ...]
    consequence: str


class Graph:
    """The graph of one scan under the operator's rules, made once and asked often."""

    def __init__(
        self, scan: Scan, rules: PlanningRules | None = None, *, decided: Mapping[str, str] | None = None
    ) -> None:
        self.scan = scan
        self.rules = rules or PlanningRules()
        self._systems: dict[str, BusinessSystem | None] = {}
        self._by_name = {topic.name: topic for topic in scan.topics}
        self.applications = applications_of(scan, self.rules.applications, cut={one.name for one in self.rules.cuts})
        self.left_out = left_out_of(scan, self.rules, decided=decided)
        self.topics = sorted(topic.name for topic in scan.topics if topic.name not in self.left_out)
        known = set(self.topics)
        # a group of which only some topics stay behind still moves, with the others
        self.groups = sorted(
            group.group_id
            for group in scan.groups
            if group_key(group.group_id) not in self.left_out and group.topics & known
        )
        self.bindings = bindings_of(scan, known, self.groups, rules=self.rules, applications=self.applications)
        self.sets = Sets(self.topics)
        for binding in self.bindings:
            self.sets.join(binding.topics)

    def business_system(self, topic: str) -> BusinessSystem | None:
        """The operator's system of a topic; each is looked up once, for rules can be many."""
        if topic not in self._systems:
            self._systems[topic] = self.rules.system_of_topic(topic)
        return self._systems[topic]

    def system_of(self, topic: str) -> str:
        """The business system of a topic: the operator's, else what its name tells."""
        system = self.business_system(topic)
        return system.name if system is not None else system_of(topic)

    def size_of_topic(self, topic: str) -> BatchSize:
        """What one topic holds; None where it is not known."""
        return size(Batch(topic, (topic,), ()), self.scan, topics=self._by_name)

    def bindings_over(self, topics: Iterable[str], groups: Iterable[str]) -> list[Binding]:
        """What binds these topics together, also such as the planner would leave out."""
        return bindings_of(self.scan, topics, groups, rules=self.rules, applications=self.applications)

    def components(self) -> tuple[Component, ...]:
        """All components, by their first topic."""
        by_root: dict[str, list[Binding]] = defaultdict(list)
        for binding in self.bindings:
            by_root[self.sets.find(min(binding.topics))].append(binding)
        return tuple(_component(topics, by_root.get(root, ())) for root, topics in self.sets.sets().items())

    def component_of(self, name: str) -> Component | None:
        """The component of a topic, group, transactional id, application or rule; None where it is in none."""
        topic = name if name in self.sets else None
        if topic is None:
            topic = next((min(binding.topics) for binding in self.bindings if binding.name == name), None)
        if topic is None:
            return None
        root = self.sets.find(topic)
        members = [one for one in self.topics if self.sets.find(one) == root]
        return _component(members, [one for one in self.bindings if self.sets.find(min(one.topics)) == root])

    def bridges(self) -> tuple[Bridge, ...]:
        """What glues parts of different business systems, the one with the most parts first.

        In each component everything that can't be cut is joined, then the rest from the narrowest on, for as long as
        no part holds more than half of the component. What would join parts after that is a bridge.
        """
        found: list[Bridge] = []
        for component in self.components():
            if len(component.topics) > 1:
                found += self._bridges_in(component)
        return tuple(sorted(found, key=lambda one: (-len(one.parts), -len(one.topics), one.node)))

    def _bridges_in(self, component: Component) -> list[Bridge]:
        systems = {name: self.system_of(name) for name in component.topics}
        if len(set(systems.values())) < 2:
            return []
        members = set(component.topics)
        own = [one for one in self.bindings if min(one.topics) in members]
        breadth = {one: len({systems[name] for name in one.topics}) for one in own}
        wide = [one for one in own if _is_cuttable(one) and breadth[one] > 1]
        parts = Sets(component.topics)
        for binding in own:
            if breadth[binding] == 1 or not _is_cuttable(binding):
                parts.join(binding.topics)
        size = {root: len(names) for root, names in parts.sets().items()}
        wide.sort(key=lambda one: (breadth[one], len(one.topics), one.kind, one.name))
        glue: list[Binding] = []
        for binding in wide:
            roots = parts.roots(binding.topics)
            joined = sum(size[root] for root in roots)
            if len(roots) > 1 and joined * 2 > len(component.topics):
                glue.append(binding)
                continue
            parts.join(binding.topics)
            size[parts.find(min(binding.topics))] = joined
        # what only the glue reads would be read by nobody, and move with the rest of its system
        owned = {name for one in own if one not in glue for name in one.topics}
        self.join_unread(parts, component.topics, members - owned)
        # a part without anything of its own that reads or writes it is no reason to cut
        return [
            bridge for binding in glue if (bridge := self._bridge(binding, glue, parts, owned, systems)) is not None
        ]

    def join_unread(self, sets: Sets, known: Iterable[str], unread: Collection[str]) -> None:
        """Topics that nothing binds join the one set of their system; where there is none or several, each other."""
        homes: dict[str, set[str]] = defaultdict(set)
        orphans: dict[str, list[str]] = defaultdict(list)
        for name in known:
            if name in unread:
                orphans[self.system_of(name)].append(name)
            else:
                homes[self.system_of(name)].add(sets.find(name))
        # only after all homes are known: joining must not change what "exactly one" means for the next system
        for system, names in orphans.items():
            home = homes.get(system, set())
            sets.join([*names, *(home if self.rules.unread_join_their_system and len(home) == 1 else ())])

    def _bridge(
        self, binding: Binding, glue: list[Binding], parts: Sets, owned: Collection[str], systems: dict[str, str]
    ) -> Bridge | None:
        grouped = parts.sets()
        touched = sorted(
            (tuple(grouped[root]) for root in parts.roots(binding.topics)), key=lambda names: (-len(names), names)
        )
        if sum(1 for names in touched if any(name in owned for name in names)) < 2:
            return None
        if len({frozenset(systems[name] for name in names) for names in touched}) < 2:
            return None
        others = parts.copy()
        rest = {one.name: self._without(one, binding) for one in glue if one is not binding}
        for topics in rest.values():
            others.join(topics)
        with_others: tuple[str, ...] = ()
        if len(others.roots(binding.topics)) == 1:
            mine = parts.roots(binding.topics)
            with_others = tuple(sorted(name for name, topics in rest.items() if len(parts.roots(topics) & mine) > 1))
        node = Node(binding.kind, binding.name)
        return Bridge(
            node, tuple(sorted(binding.topics)), tuple(touched), with_others, _consequence(node, touched, with_others)
        )

    def _without(self, binding: Binding, cut: Binding) -> frozenset[str]:
        """The topics that a binding still ties once another is cut: an application loses what only that group read."""
        app = next((one for one in self.applications if one.name == binding.name and cut.name in one.groups), None)
        if binding.kind is not NodeKind.APPLICATION or cut.kind is not NodeKind.GROUP or app is None:
            return binding.topics
        left = {topic for one in self.bindings if one.name in set(app.groups) - {cut.name} for topic in one.topics}
        return frozenset(left | (app.writes & binding.topics)) & binding.topics


def components(scan: Scan, rules: PlanningRules | None = None) -> tuple[Component, ...]:
    """What must move together."""
    return Graph(scan, rules).components()


def component_of(scan: Scan, name: str, rules: PlanningRules | None = None) -> Component | None:
    """The component that a topic, group, transactional id, application or rule is in."""
    return Graph(scan, rules).component_of(name)


def bridges(scan: Scan, rules: PlanningRules | None = None) -> tuple[Bridge, ...]:
    """What glues parts that would else move on their own, with the consequence of cutting it."""
    return Graph(scan, rules).bridges()


def _component(topics: Iterable[str], bindings: Iterable[Binding]) -> Component:
    names = tuple(sorted(topics))
    nodes = [Node(NodeKind.TOPIC, name) for name in names]
    edges = []
    for binding in bindings:
        node = Node(binding.kind, binding.name)
        nodes.append(node)
        edges += [Edge(topic, node, f"{binding.verb} it") for topic in binding.topics]
    return Component(names, tuple(sorted(nodes)), tuple(sorted(edges)))


def _is_cuttable(binding: Binding) -> bool:
    """Transactions and the operator's own rules are never cut; groups and Connect clusters can be."""
    return binding.kind in (NodeKind.GROUP, NodeKind.APPLICATION)


def _consequence(node: Node, parts: list[tuple[str, ...]], with_others: tuple[str, ...]) -> str:
    named = listed_in_words(
        [f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0] for names in parts]
    )
    words = f"{len(parts)} parts could move at different times: {named}."
    if with_others:
        words += f" They come apart only if {listed_in_words(list(with_others))} is cut as well."
    if node.kind is NodeKind.APPLICATION:
        return (
            f"{words} {node.name} must then reach both clusters until the last of them has switched: run a second one"
            " on the target, or let each of its connectors or groups switch with its own batch."
        )
    return (
        f"{words} {node.name} must then read from both clusters until the last of them has switched. kferry does not"
        " move its offsets unless the cut says with which topic's batch it goes: run it on the target from a position"
        " that you choose, and expect repeats."
    )
