"""Graph: what ties the topics of one component together, as a tree of drawn lines, and cutting a bridge of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content

from kferry.client.session import Session
from kferry.domain.planning.graph import Bridge, Component, Node
from kferry.domain.planning.rules import Cut
from kferry.ui import bindings, plan_acts, rule_edit
from kferry.ui.cells import Cell, line
from kferry.ui.messages import Frame
from kferry.ui.modals.ask import ChoiceDialog
from kferry.ui.modals.pick import PickDialog
from kferry.ui.plan_facts import PlanFacts, facts_reader
from kferry.ui.rows import graph as rows
from kferry.ui.rows.graph import Ties
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.chrome import Plain, Scroll
from kferry.ui.widgets.keyed_table import KeyedTable, Row

NOWHERE = "\0nowhere"


@dataclass(frozen=True, slots=True, eq=False)
class GraphSnapshot:
    facts: PlanFacts
    component: Component | None
    bridges: tuple[Bridge, ...]
    cuts: tuple[Cut, ...]
    rows: tuple[Row, ...]
    ties: Ties


class GraphScreen(KferryScreen):
    NAME = "graph"
    CRUMB = "Graph"
    CSS_PATH = "graph.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.for_screen("graph")]
    HELP = """
What ties things together, and so why they move in one batch: t is a topic, g a consumer group, x a transactional id,
a an application, r a rule of yours in rules.yml. The lines lead from what ties the most to what hangs on it, each thing
once; other ties of the same thing stand in its last column. A bridge, marked by a diamond, is a group or application
that glues parts which would else move on their own: an archive, a monitor. X cuts it, after saying what that means;
the cut is written into rules.yml and counts from the next plan on (p on Plan). U takes a cut back.
"""

    def __init__(self, about: str) -> None:
        super().__init__()
        self.about = about
        self._last: GraphSnapshot | None = None
        self._is_placed = False  # the cursor was put on what the screen is about

    @property
    def crumbs(self) -> tuple[str, ...]:
        return ("Overview", "Plan", f"Graph of {self.about}")

    def body(self) -> ComposeResult:
        yield Plain(id="graph-head")
        yield KeyedTable("Graph", rows.COLUMNS, id="graph", empty="Reading the scan…", sortable=False)
        with Scroll(id="node-box", classes="panel scrolls") as box:
            box.border_title = Content("What it ties")
            yield Plain(id="node")

    def collect(self, session: Session, frame: Frame) -> GraphSnapshot:
        facts = facts_reader(session).read(session)
        if self._last is None or self._last.facts is not facts:
            self._last = self._draw(facts)
        return self._last

    def _draw(self, facts: PlanFacts) -> GraphSnapshot:
        if facts.index is None:
            return GraphSnapshot(facts, None, (), (), (), {})
        graph = facts.index.graph
        component = graph.component_of(self.about)
        if component is None:
            return GraphSnapshot(facts, None, (), graph.rules.cuts, (), {})
        nodes = set(component.nodes)
        bridges = tuple(one for one in facts.index.bridges() if one.node in nodes)
        ties = rows.ties_of(component)
        drawn = rows.graph_rows(component, bridges, facts.homes, ties)
        return GraphSnapshot(facts, component, bridges, graph.rules.cuts, drawn, ties)

    def show(self, snapshot: GraphSnapshot, frame: Frame) -> None:
        head = self.query_one("#graph-head", Plain)
        cuts = [one.name for one in snapshot.cuts]
        head.show(rows.head_lines(snapshot.component, snapshot.bridges, cuts) if snapshot.component else [])
        self.table.set_rows(snapshot.rows, empty=self._empty(snapshot))
        if not self._is_placed and snapshot.component is not None:
            self._is_placed = True
            at = next((node for node in snapshot.component.nodes if node.name == self.about), None)
            if at is not None:
                self.table.select(rows.node_key(at))
        self._show_node()

    def _empty(self, snapshot: GraphSnapshot) -> str:
        if snapshot.facts.index is None:
            return "There is no scan to draw a graph of.\nPress 3, then S: it only reads both clusters."
        if any(one.name == self.about for one in snapshot.cuts):
            return f"{self.about} is cut: it holds nothing together. U takes the cut back."
        return f"{self.about} is in no component: it stays behind, or the source no longer has it."

    @on(KeyedTable.Moved)
    def _show_node(self) -> None:
        snapshot: GraphSnapshot | None = self.snapshot
        if snapshot is not None and snapshot.component is not None:
            key = self.table.cursor_key
            self.query_one("#node", Plain).show(rows.graph_lines(snapshot.bridges, key, snapshot.ties))
        elif snapshot is not None:
            self.query_one("#node", Plain).show([])

    @property
    def table(self) -> KeyedTable:
        return self.query_one("#graph", KeyedTable)

    def batch_under_cursor(self) -> str | None:
        return None

    @property
    def _bridge_here(self) -> Bridge | None:
        if self.snapshot is None:
            return None
        key = self.table.cursor_key
        return next((one for one in self.snapshot.bridges if rows.node_key(one.node) == key), None)

    # ---- acts -------------------------------------------------------------------------------------------------------

    def do_open(self) -> None:
        """The pane below, to be scrolled; again, and back to the tree."""
        box = self.query_one("#node-box", Scroll)
        box.toggle_class("-big")
        (box if box.has_class("-big") else self.table).focus()

    def do_back(self) -> None:
        if self.query_one("#node-box", Scroll).has_class("-big") and not self.app.errors:
            self.do_open()
        else:
            super().do_back()

    def do_next_bridge(self) -> None:
        if self.snapshot is None or not self.snapshot.bridges:
            self.say("There is no bridge here: nothing glues parts that would else move on their own.")
            return
        keys = [rows.node_key(one.node) for one in self.snapshot.bridges]
        here = self.table.cursor_key
        at = keys.index(here) + 1 if here in keys else 0
        self.table.select(keys[at % len(keys)])

    async def do_cut_bridge(self) -> None:
        bridge = self._bridge_here
        if bridge is None:
            self.say("Only a bridge can be cut: b goes to the next one.")
            return
        node = bridge.node
        choices = [(NOWHERE, "with no batch", "it stays out of the plan; you move it yourself")]
        choices += [
            (part[0], f"with {part[0]}", f"its offsets move with the batch of part {number}")
            for number, part in enumerate(bridge.parts, start=1)
        ]
        lines = (
            line(bridge.consequence),
            line(""),
            line(Cell("Choose with which part it moves; esc leaves it whole.", "strong")),
        )

        def chosen(stays_with: str | None) -> None:
            if stays_with is not None:
                self._cut(node, "" if stays_with == NOWHERE else stays_with)

        await self.app.push_dialog(PickDialog(f"Cut {node.name}", lines, choices), chosen)

    def _cut(self, node: Node, stays_with: str) -> None:
        session = self.app.session

        def work() -> str:
            rule_edit.cut(session, node.name, stays_with)
            return f"Cut in rules.yml; p on Plan makes a plan with it: {node.name}."

        plan_acts.run(self.app, work)

    async def do_uncut_bridge(self) -> None:
        cuts: tuple[Cut, ...] = self.snapshot.cuts if self.snapshot is not None else ()
        if not cuts:
            self.say("rules.yml has no cut.")
            return
        session = self.app.session

        def chosen(name: str | None) -> None:
            if name is None:
                return

            def work() -> str:
                rule_edit.uncut(session, name)
                return f"Not cut any more; p on Plan makes a plan with it: {name}."

            plan_acts.run(self.app, work)

        choices = [(one.name, one.name, one.why or f"stays with {one.stays_with or 'no batch'}") for one in cuts]
        await self.app.push_dialog(ChoiceDialog("Take a cut back", (), choices), chosen)
