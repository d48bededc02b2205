"""rules.yml: read whole, refused with the line, written only where nothing of the operator's is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kferry.domain.applications import ApplicationClass, ApplicationRule
from kferry.domain.errors import KferryError
from kferry.domain.name_patterns import literal, matches, matches_any
from kferry.domain.planning.rules import (
    BatchPattern,
    BusinessSystem,
    Cut,
    LeaveOut,
    Limits,
    PlanningRules,
    Together,
)
from kferry.store.paths import Layout
from kferry.store.rules_file import load_rules, render_rules, write_rules

FULL = PlanningRules(
    systems=(BusinessSystem("shop", ("shop.*",), ("shop-*",), "Team Shop", ("online",), True),),
    together=(Together("ledger", ("*.ledger",), ("audit",), "one transaction of the business"),),
    first=("hr.*",),
    last=("pay.*", "/bank\\..+/"),
    cuts=(Cut("archive", "a sink", "shop.orders"), Cut("[/]")),
    applications=(
        ApplicationRule("fraud", ApplicationClass.READ_PROCESS_WRITE, ("fraud",), ("fraud-*",), ("shop.alerts",)),
    ),
    patterns=(BatchPattern("iot", ("iot.*",), ("iot-*",), ("iot.tmp*",), Limits(50, None, 500, 10**9)),),
    leave_out=(LeaveOut(("tmp.*",), (), "made by tests"), LeaveOut((), ("probe-*",))),
    unread_join_their_system=False,
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert load_rules(layout) == PlanningRules()
    write_rules(layout, FULL)
    assert load_rules(layout) == FULL
    write_rules(layout, PlanningRules())
    assert load_rules(layout) == PlanningRules()
    assert layout.rules.read_text().splitlines()[-1] == "schema: 1"


def test_comments_of_the_operator_are_not_lost(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.rules.write_text(render_rules(FULL) + "# ask Ann about pay\n")
    before = layout.rules.read_bytes()
    with pytest.raises(KferryError, match="holds comments") as caught:
        write_rules(layout, PlanningRules())
    assert "ask Ann about pay" in caught.value.title
    assert layout.rules.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("system: []\n", "line 1, column 1", "Did you mean 'systems'?"),
        ("systems:\n- {topics: [a]}\n", "line 2", "a system has no name"),
        ("systems:\n- {name: a, core: maybe}\n", "line 2", "core must be true or false"),
        ("together:\n- {name: a}\n", "line 2", "neither topics nor groups"),
        ("first: [/(/]\n", "line 1, column 9", "not a valid regular expression"),
        ("last: ['']\n", "line 1", "is empty"),
        ("cuts:\n- {group: a}\n", "line 2", "unknown key 'group'"),
        ("applications:\n- {name: a, class: stream, groups: [a]}\n", "line 2", "Did you mean 'streams'?"),
        ("applications:\n- {name: a, groups: [a]}\n", "line 2", "has no class"),
        ("applications:\n- {name: a, class: streams}\n", "line 2", "says nothing"),
        ("patterns:\n- {batch: A b, topics: [a]}\n", "line 2", "cannot be the name of a batch"),
        ("patterns:\n- {batch: a, topics: [a], limits: {topics: -1}}\n", "line 2", "must be a whole number"),
        ("patterns:\n- {batch: a, topics: [a]}\n- {batch: a, topics: [b]}\n", "line 3", "in patterns twice"),
        ("leave_out:\n- {why: no}\n", "line 2", "neither topics nor groups"),
        ("schema: 2\n", "line 1", "schema 1"),
        ("unread_join_their_system: 3\n", "line 1", "must be true or false"),
    ],
)
def test_wrong_rules_are_refused_with_their_line(tmp_path: Path, text: str, place: str, words: str) -> None:
    layout = Layout(tmp_path)
    layout.rules.write_text(text)
    with pytest.raises(KferryError) as caught:
        load_rules(layout)
    assert f"{layout.rules}, {place}" in caught.value.title
    assert words in str(caught.value)


def test_leave_out_may_be_a_bare_pattern(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.rules.write_text("leave_out: [tmp.*, {topics: [x], why: y}]\n")
    assert load_rules(layout).leave_out == (LeaveOut(("tmp.*",)), LeaveOut(("x",), (), "y"))


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("shop.*", "shop.orders", True),
        ("shop.*", "shopXorders", False),
        ("shop.*", "my.shop.orders", False),
        ("a?c", "abc", True),
        ("Shop.*", "shop.orders", False),
        ("/shop\\.(a|b)/", "shop.a", True),
        ("/shop\\.(a|b)/", "shop.ab", False),
        ("/", "/", True),
    ],
)
def test_patterns(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


@pytest.mark.parametrize(
    ("patterns", "matching", "other"),
    [
        (["a*", "/b.+/"], ["axx", "bxx"], ["cxx", "b", ""]),
        (["a", "b"], ["a", "b"], ["ab", "ba", "ac"]),
        (["/(q)/", "/(a)\\1/"], ["q", "aa"], ["a", "qq"]),
        (["/x|y/", "z"], ["x", "y", "z"], ["yz", "xz"]),
        ([], [], ["", "a"]),
    ],
)
def test_any_of_several_patterns(patterns: list[str], matching: list[str], other: list[str]) -> None:
    assert all(matches_any(patterns, name) for name in matching)
    assert not any(matches_any(patterns, name) for name in other)


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
@settings(max_examples=300, deadline=None)
def test_a_literal_matches_itself_and_nothing_else(name: str, other: str) -> None:
    assert matches(literal(name), name)
    assert matches(literal(name), other) is (name == other)
