"""Undo of plan.yml: each change of kferry's is taken back byte by byte, and never a change by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Batch, Plan
from kferry.store import plan_revisions
from kferry.store.paths import Layout
from kferry.store.plan_file import OPERATOR, load_plan, render_plan, write_plan


def plan(*names: str) -> Plan:
    return Plan("s", tuple(Batch(name, (f"t.{name}",), ()) for name in names))


def test_changes_are_undone_one_after_the_other(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_plan(layout, plan("a"), what="planned")
    first = layout.plan.read_bytes()
    write_plan(layout, plan("a", "b"), written_by=OPERATOR, what="made b")
    second = layout.plan.read_bytes()
    write_plan(layout, plan("b"), written_by=OPERATOR, what="dropped a")
    assert [one.what for one in plan_revisions.revisions(layout)] == ["dropped a", "made b"]
    assert plan_revisions.undo(layout).what == "dropped a"
    assert layout.plan.read_bytes() == second
    assert plan_revisions.undo(layout).what == "made b"
    assert layout.plan.read_bytes() == first
    with pytest.raises(KferryError, match=r"no edit of plan\.yml to undo") as caught:
        plan_revisions.undo(layout)
    assert caught.value.kind is ErrorKind.USAGE


def test_writing_the_same_again_is_no_change(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_plan(layout, plan("a"))
    write_plan(layout, plan("a"))
    assert plan_revisions.revisions(layout) == []


def test_comments_and_broken_files_come_back_as_they_were(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for before in (render_plan(plan("a")).encode() + b"# ask Ann\r\n", b"not: [yaml", b"\xff\xfe no text \x00"):
        layout.plan.write_bytes(before)
        write_plan(layout, plan("b"), what="planned anew")
        assert load_plan(layout) == plan("b")
        plan_revisions.undo(layout)
        assert layout.plan.read_bytes() == before


def test_what_was_changed_by_hand_since_is_not_lost(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_plan(layout, plan("a"))
    write_plan(layout, plan("b"), what="made b")
    kept = layout.plan.read_bytes()
    layout.plan.write_bytes(kept + b"# by hand\n")
    with pytest.raises(KferryError, match="changed by hand") as caught:
        plan_revisions.undo(layout)
    assert caught.value.kind is ErrorKind.DRIFT
    assert layout.plan.read_bytes() == kept + b"# by hand\n"
    layout.plan.write_bytes(kept)  # the operator took it back: now it can be undone
    assert plan_revisions.undo(layout).what == "made b"


def test_only_so_many_are_kept_and_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for number in range(plan_revisions.KEPT + 5):
        write_plan(layout, plan(f"b{number}"), what=str(number))
    kept = plan_revisions.revisions(layout)
    assert len(kept) == plan_revisions.KEPT
    assert kept[0].what == str(plan_revisions.KEPT + 4)
    kept[1].path.write_text("{")
    assert len(plan_revisions.revisions(layout)) == plan_revisions.KEPT - 1
    plan_revisions.undo(layout)
    assert load_plan(layout) == plan(f"b{plan_revisions.KEPT + 3}")
