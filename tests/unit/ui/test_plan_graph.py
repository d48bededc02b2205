"""The graph of a component: every node once, drawn by lines; bridges with what cutting them means; cutting and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kferry.domain.planning.bindings import NodeKind
from kferry.domain.planning.graph import Bridge, Component, Edge, Node
from kferry.store.rules_file import load_rules
from kferry.ui.app import KferryApp
from kferry.ui.modals.ask import ChoiceDialog
from kferry.ui.modals.pick import PickDialog
from kferry.ui.rows import graph as rows
from kferry.ui.widgets.keyed_table import KeyedTable
from support import planned
from support.ui_app import screen_text, text_of, until

Make = Callable[..., KferryApp]


def component(ties: dict[str, tuple[str, ...]]) -> Component:
    """Groups and the topics they read."""
    edges = [Edge(topic, Node(NodeKind.GROUP, name), "reads it") for name, read in ties.items() for topic in read]
    topics = sorted({edge.topic for edge in edges})
    nodes = [Node(NodeKind.TOPIC, name) for name in topics] + [Node(NodeKind.GROUP, name) for name in ties]
    return Component(tuple(topics), tuple(sorted(nodes)), tuple(sorted(edges)))


def drawn(found: Component, bridges: tuple[Bridge, ...] = ()) -> list[str]:
    return [row.cells[0].text for row in rows.graph_rows(found, bridges, {}, rows.ties_of(found))]


def test_the_tree_is_drawn_from_what_ties_the_most() -> None:
    found = component({"billing": ("orders",), "fraud": ("orders", "payments"), "audit": ("payments",)})
    assert drawn(found) == [
        "g fraud",
        "├─ t orders",
        "│  └─ g billing",
        "└─ t payments",
        "   └─ g audit",
    ]


def test_a_bridge_is_the_root_and_marked() -> None:
    found = component({"all": ("a", "b"), "big": ("a", "c", "d")})
    bridge = Bridge(Node(NodeKind.GROUP, "all"), ("a", "b"), (("a", "c", "d"), ("b",)), (), "Two parts.")
    assert drawn(found, (bridge,))[0] == "◆ g all"
    first = rows.graph_rows(found, (bridge,), {}, rows.ties_of(found))[0]
    assert first.cells[2].text == "bridge: holds 2 parts together"
    said = rows.graph_lines((bridge,), first.key, rows.ties_of(found))
    assert "Two parts." in " ".join(cell.text for row in said for cell in row)


def test_a_tie_that_is_not_drawn_stands_in_the_last_column() -> None:
    found = component({"one": ("a", "b"), "two": ("a", "b")})
    by_key = {row.key: row for row in rows.graph_rows(found, (), {"topic\0a": "shop"}, rows.ties_of(found))}
    assert by_key["topic\0b"].cells[2].text == "one reads it; also two"
    assert by_key["topic\0a"].cells[1].text == "shop"
    assert by_key["topic\0b"].cells[1].text == "stays"


def test_a_topic_alone() -> None:
    found = Component(("a",), (Node(NodeKind.TOPIC, "a"),), ())
    (row,) = rows.graph_rows(found, (), {}, rows.ties_of(found))
    assert row.cells[2].text == "nothing ties it to anything"
    assert "nothing reads it" in " ".join(
        c.text for line in rows.graph_lines((), row.key, rows.ties_of(found)) for c in line
    )


def test_deep_chains_stay_on_the_screen() -> None:
    found = component({f"g{at:02}": (f"t{at:02}", f"t{at + 1:02}") for at in range(30)})
    assert max(len(text) for text in drawn(found)) < 50


NAMES = st.sampled_from([f"t{at}" for at in range(8)])
TIES = st.dictionaries(
    st.sampled_from([f"g{at}" for at in range(8)]), st.sets(NAMES, min_size=1).map(tuple), min_size=1, max_size=8
)


@given(TIES)
@settings(max_examples=150, deadline=None)
def test_every_node_is_drawn_once_below_something_that_it_is_tied_to(ties: dict[str, tuple[str, ...]]) -> None:
    found = component(ties)
    made = rows.graph_rows(found, (), {}, rows.ties_of(found))
    assert sorted(row.key for row in made) == sorted(rows.node_key(node) for node in found.nodes)
    edges = {(edge.topic, edge.node.name) for edge in found.edges}
    path: list[str] = []
    for row in made:
        lines, name = re.fullmatch(r"((?:[│ ] {2}|[├└]─ |⋯\d+ [├└]─ )*)[tg] (\S+)", row.cells[0].text).groups()  # type: ignore[union-attr]
        deep = re.match(r"⋯(\d+)", lines)
        depth = int(deep.group(1)) if deep else len(lines) // 3
        path = [*path[:depth], name]
        if depth:
            above = path[depth - 1]
            assert (name, above) in edges or (above, name) in edges


async def test_a_bridge_is_cut_after_its_consequence_was_shown_and_taken_back(tmp_path: Path, make_app: Make) -> None:
    layout = planned.layout_of(tmp_path / "m", archive=True)
    app = make_app(layout)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("plan", "shop")
        await pilot.press("v")
        await until(pilot, lambda: app.front.NAME == "graph")
        await until(pilot, lambda: "◆ 1 bridge" in screen_text(app))
        table = app.screen.query_one(KeyedTable)
        assert table.cursor_key == "topic\0shop.orders"  # what the screen is about
        await pilot.press("X")
        await until(pilot, lambda: "Only a bridge can be cut" in screen_text(app))
        await pilot.press("b")
        await until(pilot, lambda: table.cursor_key == "group\0archive-sink")
        await until(pilot, lambda: "read from both clusters" in text_of(app.screen.query_one("#node")))
        await pilot.press("X")
        await until(pilot, lambda: isinstance(app.screen, PickDialog))
        assert "read from both clusters" in screen_text(app)
        await pilot.press("escape")
        assert load_rules(layout).cuts == ()
        await pilot.press("X")
        await until(pilot, lambda: isinstance(app.screen, PickDialog))
        await pilot.press(*"web.cl", "enter")
        await until(pilot, lambda: load_rules(layout).cut("archive-sink") is not None)
        assert load_rules(layout).cut("archive-sink").stays_with == "web.clicks"  # type: ignore[union-attr]
        await until(pilot, lambda: "cut by rules.yml: archive-sink" in screen_text(app))
        assert "◆" not in screen_text(app)
        assert "iot.telemetry" not in screen_text(app)  # it came apart
        await pilot.press("U")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("enter")
        await until(pilot, lambda: load_rules(layout).cuts == ())
        await until(pilot, lambda: "◆ 1 bridge" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.front.NAME == "plan")


async def test_rules_with_words_of_the_operator_are_not_written_over(tmp_path: Path, make_app: Make) -> None:
    layout = planned.layout_of(tmp_path / "m", archive=True)
    layout.rules.write_text("# agreed with the web team\nschema: 1\n")
    app = make_app(layout)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("graph", "shop.orders")
        await until(pilot, lambda: "◆ 1 bridge" in screen_text(app))
        await pilot.press("b", "X")
        await until(pilot, lambda: isinstance(app.screen, PickDialog))
        await pilot.press("enter")
        await until(pilot, lambda: app.errors)
        assert "holds comments" in app.errors[-1].title
        assert layout.rules.read_text().startswith("# agreed")


async def test_what_is_in_no_component_says_why(tmp_path: Path, make_app: Make) -> None:
    layout = planned.layout_of(tmp_path / "m")
    app = make_app(layout)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.drawn("graph", "__consumer_offsets")
        await until(pilot, lambda: "is in no component: it stays behind" in screen_text(app))
        await pilot.press("b", "X", "U", "enter", "escape")
        assert app.is_running


async def test_a_graph_without_a_scan_says_where_to_make_one(tmp_path: Path, make_app: Make) -> None:
    layout = planned.layout_of(tmp_path / "m", scan=False)
    app = make_app(layout)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.drawn("graph", "shop.orders")
        await until(pilot, lambda: "There is no scan to draw a graph of." in screen_text(app))
