"""The graph of one component as a tree of drawn lines: who ties which topics together, and where it could be cut."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kferry.domain.planning.bindings import NodeKind
from kferry.domain.planning.graph import Bridge, Component, Edge, Node
from kferry.domain.words import first_of
from kferry.ui.cells import Cell, Line, line
from kferry.ui.plan_facts import group_key, topic_key
from kferry.ui.widgets.keyed_table import Column, Row

COLUMNS = (Column("what ties what", 34, flex=4), Column("batch", 10, flex=1), Column("why", 20, flex=2))
# Deeper branches are drawn at this depth, with their depth as a number.
DEEPEST = 10
# How many topics the pane names before it says how many more there are.
_NAMED = 12
_LETTER = {
    NodeKind.TOPIC: "t",
    NodeKind.GROUP: "g",
    NodeKind.TRANSACTIONAL_ID: "x",
    NodeKind.APPLICATION: "a",
    NodeKind.RULE: "r",
}


def node_key(node: Node) -> str:
    """The key of a node's row."""
    return f"{node.kind.value}\0{node.name}"


@dataclass(slots=True)
class _Place:
    """Where a node stands in the tree: what it hangs on and by what reason, and what hangs on it."""

    node: Node
    reason: str = ""
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)


Ties = Mapping[Node, Sequence[Edge]]


def ties_of(component: Component) -> Ties:
    """The edges of each node, in order."""
    found: dict[Node, list[Edge]] = defaultdict(list)
    topics = {name: Node(NodeKind.TOPIC, name) for name in component.topics}
    for edge in sorted(component.edges, key=lambda one: (one.topic, one.node.kind, one.node.name)):
        found[edge.node].append(edge)
        found[topics[edge.topic]].append(edge)
    return found


def tree(component: Component, bridges: Sequence[Bridge], edges: Ties) -> dict[Node, _Place]:
    """Every node once, by the shortest way from the root: a bridge if there is one, else what ties the most topics."""
    first = {bridge.node: -len(bridge.parts) for bridge in bridges}
    order = sorted(component.nodes, key=lambda node: (first.get(node, 0), -_ties(node, edges), node))
    places: dict[Node, _Place] = {}
    for root in order:  # a component is connected: one round, unless the operator's rules left something alone
        if root in places:
            continue
        places[root] = _Place(root)
        waiting = deque([root])
        while waiting:
            here = waiting.popleft()
            for edge in edges.get(here, ()):
                other = Node(NodeKind.TOPIC, edge.topic) if here == edge.node else edge.node
                if other not in places:
                    places[other] = _Place(other, edge.reason, here)
                    places[here].children.append(other)
                    waiting.append(other)
    return places


def _ties(node: Node, edges: Ties) -> int:
    return 0 if node.kind is NodeKind.TOPIC else len(edges.get(node, ()))


def graph_rows(
    component: Component, bridges: Sequence[Bridge], homes: Mapping[str, str], edges: Ties
) -> tuple[Row, ...]:
    """The tree in lines. `homes` are the batches of the cards, `edges` what `ties_of` gives."""
    places = tree(component, bridges, edges)
    glue = {bridge.node: bridge for bridge in bridges}
    rows = []
    stack: list[tuple[Node, tuple[bool, ...]]] = [
        (place.node, ()) for place in reversed(places.values()) if place.parent is None
    ]
    while stack:
        node, lasts = stack.pop()
        place = places[node]
        rows.append(_row(place, lasts, edges.get(node, ()), glue.get(node), homes))
        for at, child in enumerate(reversed(place.children)):
            stack.append((child, (*lasts, at == 0)))
    return tuple(rows)


def _row(
    place: _Place, lasts: tuple[bool, ...], edges: Sequence[Edge], bridge: Bridge | None, homes: Mapping[str, str]
) -> Row:
    node = place.node
    mark = "◆ " if bridge is not None else ""
    name = f"{_lines(lasts)}{mark}{_LETTER[node.kind]} {node.name}"
    tone = "warn" if bridge is not None else "" if node.kind is NodeKind.TOPIC else "strong"
    home = _home(node, homes)
    why = _why(place, edges, bridge)
    return Row(
        node_key(node),
        (Cell(name, tone), Cell(home, "dim"), Cell(why, "warn" if bridge is not None else "dim")),
        f"{node.kind.value} {node.name} {home} {why}",
    )


def _lines(lasts: tuple[bool, ...]) -> str:
    """The lines that lead to a node: whether each branch on the way is the last one of its kind."""
    if not lasts:
        return ""
    deep = len(lasts) > DEEPEST
    start = f"⋯{len(lasts)} " if deep else "".join("   " if last else "│  " for last in lasts[:-1])
    return start + ("└─ " if lasts[-1] else "├─ ")


def _home(node: Node, homes: Mapping[str, str]) -> str:
    if node.kind is NodeKind.TOPIC:
        return homes.get(topic_key(node.name), "stays")
    return homes.get(group_key(node.name), "stays") if node.kind is NodeKind.GROUP else ""


def _why(place: _Place, edges: Sequence[Edge], bridge: Bridge | None) -> str:
    if bridge is not None:
        return f"bridge: holds {len(bridge.parts)} parts together"
    if place.node.kind is not NodeKind.TOPIC:
        verb = edges[0].reason.removesuffix(" it") if edges else "ties"
        count = "1 topic" if len(edges) == 1 else f"{len(edges)} topics"
        return f"{place.node.kind.value}, {verb} {count}"
    others = [edge.node.name for edge in edges if edge.node != place.parent]
    own = [f"{place.parent.name} {place.reason}"] if place.parent is not None else []
    also = f"also {', '.join(others)}" if own and others else ", ".join(others)
    return "; ".join(part for part in (*own, also) if part) or "nothing ties it to anything"


def graph_lines(bridges: Sequence[Bridge], key: str | None, edges: Ties) -> list[Line]:
    """What is said of the node under the cursor: of a bridge, what cutting it means."""
    if key is None:
        return []
    kind, _, name = key.partition("\0")
    node = Node(NodeKind(kind), name)
    lines = [line(Cell(f"{kind} ", "dim"), Cell(name, "title"))]
    bridge = next((one for one in bridges if one.node == node), None)
    if bridge is not None:
        lines.append(line(Cell("  ◆ a bridge: ", "warn"), f"X cuts it. {bridge.consequence}"))
        for number, part in enumerate(bridge.parts, start=1):
            lines.append(line(Cell(f"  part {number}  ", "dim"), first_of(part, _NAMED)))
        return lines
    own = edges.get(node, ())
    if kind == "topic":
        lines += [line("  · ", f"{edge.node.kind.value} {edge.node.name} {edge.reason}") for edge in own[:40]]
        return lines if own else [*lines, line(Cell("  nothing reads it or writes it in a transaction", "dim"))]
    verb = own[0].reason.removesuffix(" it") if own else "ties"
    return [*lines, line(f"  {verb} {first_of([edge.topic for edge in own], _NAMED)}")]


def head_lines(component: Component, bridges: Sequence[Bridge], cuts: Sequence[str]) -> list[Line]:
    """What the component is made of, and what was cut."""
    counts = Counter(node.kind.value for node in component.nodes if node.kind is not NodeKind.TOPIC)
    ties = [f"{number} {kind}{'' if number == 1 else 's'}" for kind, number in sorted(counts.items())]
    topics = "1 topic" if len(component.topics) == 1 else f"{len(component.topics)} topics"
    cells = [Cell(f"{topics}, tied by {' and '.join(ties)}: they move together. " if ties else f"{topics}, alone. ")]
    if bridges:
        cells.append(Cell(f"◆ {len(bridges)} bridge{'' if len(bridges) == 1 else 's'} (b: the next)", "warn"))
    lines = [tuple(cells)]
    if cuts:
        lines.append(line(Cell("cut by rules.yml: ", "dim"), ", ".join(cuts), Cell("  U takes one back", "dim")))
    return lines
