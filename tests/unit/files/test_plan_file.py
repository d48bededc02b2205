"""plan.yml: written whole, read back, edited by hand, and refused with the line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Batch, Plan
from kferry.store import atomic_write
from kferry.store.paths import Layout
from kferry.store.plan_file import (
    OPERATOR,
    edited_by_hand,
    load_plan,
    render_plan,
    revision,
    write_plan,
)
from kferry.store.yaml_error import parse_yaml

PLAN = Plan(
    scan_id="s1",
    batches=(
        Batch("hr", ("hr.audit", "hr.employees"), ("hr-sync",), 4.5, ("Group hr-sync reads it.",), "tell Ann"),
        Batch("odd", ("2024-01-01", "on", "null", "123", "1_0"), ("[/]", "{{ x }}", "a: b", "\x1b[31m", "é\n")),
    ),
    left_out={"__consumer_offsets": "internal", "group x": "no topics"},
)

TOPIC = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,30}", fullmatch=True)
# as Kafka allows it: anything that UTF-8 can carry, but never nothing
GROUP = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert revision(layout) == ""
    write_plan(layout, PLAN)
    assert load_plan(layout) == PLAN
    assert [path.name for path in tmp_path.iterdir()] == ["plan.yml"]
    first = revision(layout)
    assert len(first) == 12
    write_plan(layout, Plan("s2", PLAN.batches, PLAN.left_out))
    assert revision(layout) != first


@given(
    st.lists(TOPIC, unique=True, min_size=1, max_size=5), st.lists(GROUP, unique=True, max_size=5), st.text(max_size=30)
)
@settings(max_examples=200, deadline=None)
@pytest.mark.thorough
def test_any_name_survives_the_file(topics: list[str], groups: list[str], note: str) -> None:
    note = note.encode("utf-8", "ignore").decode()
    plan = Plan("s", (Batch("b", tuple(topics), tuple(groups), 1.5, (), note),), {"group z": "why"})
    document = parse_yaml(render_plan(plan).encode(), Path("plan.yml"))
    written = document.plain()["batches"][0]
    assert (written["topics"], written["groups"], written["note"]) == (topics, groups, note)


def test_an_edit_by_hand_is_seen(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert not edited_by_hand(layout)
    write_plan(layout, PLAN)
    assert not edited_by_hand(layout)
    text = layout.plan.read_text()
    for edited in (
        text.replace("tell Ann", "tell Bob"),
        text + "# a comment only\n",
        "".join(line for line in text.splitlines(keepends=True) if not line.startswith("written_hash")),
        text.replace("written_by: planner", "written_by: me"),
        "not even: [yaml",
    ):
        layout.plan.write_text(edited)
        assert edited_by_hand(layout), edited


def test_an_edit_through_kferry_counts_as_the_operators(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_plan(layout, PLAN, written_by=OPERATOR)
    assert edited_by_hand(layout)
    assert load_plan(layout) == PLAN


GOOD = {"schema": 1, "scan_id": "s", "batches": [{"name": "a", "topics": ["t1"]}, {"name": "b", "topics": ["t2"]}]}


def test_a_plan_may_be_as_short_as_this(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.plan.write_text(yaml.safe_dump(GOOD))
    assert load_plan(layout).batches == (Batch("a", ("t1",), ()), Batch("b", ("t2",), ()))


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("batch: []\n", "line 2, column 1", "Did you mean 'batches'?"),
        ("batches:\n- name: a\n  topic: [x]\n", "line 4, column 3", "Did you mean 'topics'?"),
        (
            "batches:\n- name: a\n  topics: [x]\n- name: b\n  topics: [y, x]\n",
            "line 6, column 15",
            "'x' is here twice (first in line 4)",
        ),
        ("batches:\n- {name: a, topics: [x], groups: [g, g]}\n", "line 3", "the group 'g' is here twice"),
        (
            "batches:\n- {name: a, topics: [x]}\n- {name: a, topics: [y]}\n",
            "line 4, column 10",
            "the batch 'a' is here twice",
        ),
        ("batches:\n- {name: A b, topics: [x]}\n", "line 3", "cannot be the name of a batch"),
        (f"batches:\n- {{name: {'a' * 32}, topics: [x]}}\n", "line 3", "cannot be the name of a batch"),
        ("batches:\n- {topics: [x]}\n", "line 3", "a batch has no name"),
        ("batches:\n- {name: a}\n", "line 3", "batch a has no topics"),
        ("batches:\n- {name: a, topics: x}\n", "line 3", "topics must be a list"),
        ("batches:\n- {name: a, topics: ['x y']}\n", "line 3", "cannot be the name of a topic"),
        ("batches:\n- {name: a, topics: ['..']}\n", "line 3", "cannot be the name of a topic"),
        ("batches:\n- {name: a, topics: [x], risk: high}\n", "line 3", "risk must be a number"),
        ("batches:\n- {name: a, topics: [x]}\nleft_out: {x: why}\n", "line 3", "also under left_out"),
        (
            "batches:\n- {name: a, topics: [x], groups: [g]}\nleft_out: {group g: why}\n",
            "line 3",
            "also under left_out",
        ),
        ("batches: {a: 1}\n", "line 2", "batches must be a list"),
    ],
)
def test_a_wrong_plan_is_refused_with_its_line(tmp_path: Path, text: str, place: str, words: str) -> None:
    layout = Layout(tmp_path)
    layout.plan.write_text("schema: 1\n" + text)
    with pytest.raises(KferryError) as caught:
        load_plan(layout)
    assert f"{layout.plan}, {place}" in caught.value.title
    assert words in str(caught.value)
    assert caught.value.kind is ErrorKind.USAGE


def test_other_versions_and_no_plan(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(KferryError, match=r"There is no plan.*kferry plan"):
        load_plan(layout)
    layout.plan.write_text("schema: 9\n")
    with pytest.raises(KferryError, match="newer version"):
        load_plan(layout)
    layout.plan.write_text("batches: []\n")
    with pytest.raises(KferryError, match="'schema' must be a number"):
        load_plan(layout)


def test_a_plan_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_plan(layout, PLAN)
    before = layout.plan.read_bytes()
    with pytest.raises(KferryError, match="is here twice"):
        write_plan(layout, Plan("s", (Batch("a", ("x",), ()), Batch("b", ("x",), ()))))
    assert layout.plan.read_bytes() == before


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path)
    write_plan(layout, PLAN)
    before = layout.plan.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_write.os, "fsync", full)
    with pytest.raises(KferryError, match="No space left on device") as caught:
        write_plan(layout, Plan("s2", ()))
    assert "it is as it was" in caught.value.title
    assert layout.plan.read_bytes() == before
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["plan.yml"]
