"""Edits of plan.yml from the board: what they break is counted, quick ones follow each other, begun ones are safe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kferry.client.session import Session
from kferry.domain.errors import KferryError
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.plan_file import load_plan, revision
from kferry.ui import plan_edit
from kferry.ui.plan_facts import PlanFacts, facts_reader
from support import planned


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return planned.layout_of(tmp_path / "m")


@pytest.fixture
def session(layout: Layout) -> Iterator[Session]:
    made = Session(layout.root)
    yield made
    made.close()


def facts(session: Session) -> PlanFacts:
    return facts_reader(session).read(session)


def apply(session: Session, edit: plan_edit.Edit) -> plan_edit.Outcome:
    seen = facts(session)
    return plan_edit.apply(session, seen.view.revision, edit, seen.index, "an edit")


def test_what_an_edit_breaks_and_mends_is_said(session: Session) -> None:
    broken = apply(session, plan_edit.move({"topic\0shop.payments"}, "iot"))
    assert len(broken.broken) == 2
    assert broken.words.startswith(
        "✗ Group fraud-check moves in batch shop, but it also reads shop.payments (batch iot)"
    )
    assert broken.words.endswith("and 1 more (u undoes it)")
    mended = apply(session, plan_edit.move({"topic\0shop.payments"}, "shop"))
    assert (mended.broken, mended.mended, mended.left) == ((), 2, 0)
    assert mended.words == "It mends 2; 0 left."


def test_an_edit_without_a_scan_says_that_nothing_is_known(tmp_path: Path) -> None:
    layout = planned.layout_of(tmp_path / "m", scan=False)
    session = Session(layout.root)
    try:
        assert "unknown" in apply(session, plan_edit.pin("shop")).words
    finally:
        session.close()


def test_an_edited_batch_is_weighed_anew(session: Session, layout: Layout) -> None:
    apply(session, plan_edit.split("shop", {"topic\0shop.orders"}, "shop-late", facts(session).index.scan))  # type: ignore[union-attr]
    made = load_plan(layout).batch("shop-late")
    assert made is not None
    assert made.groups == ("billing",)  # reads nothing but this topic, so it goes along
    assert made.risk > 0
    assert load_plan(layout).batch("hr").risk == 1.0  # type: ignore[union-attr]


def test_two_edits_from_the_same_look_are_both_made(session: Session, layout: Layout) -> None:
    seen = facts(session)
    for _ in range(2):
        plan_edit.apply(session, seen.view.revision, plan_edit.shift("web", -1), seen.index, "earlier")
    assert [batch.name for batch in load_plan(layout).batches] == ["hr", "web", "iot", "shop"]
    for _ in range(2):
        plan_edit.undo(session, seen.view.revision)
    assert [batch.name for batch in load_plan(layout).batches] == list(planned.BATCHES)
    assert revision(layout) == seen.view.revision
    plan_edit.apply(session, seen.view.revision, plan_edit.shift("web", -1), seen.index, "again")
    assert load_plan(layout).batches[2].name == "web"


def test_a_change_by_hand_between_is_not_overwritten(session: Session, layout: Layout) -> None:
    seen = facts(session)
    plan_edit.apply(session, seen.view.revision, plan_edit.pin("web"), seen.index, "pin")
    layout.plan.write_text(layout.plan.read_text().replace("risk: 1.0", "risk: 1.5"))
    theirs = layout.plan.read_bytes()
    with pytest.raises(KferryError, match="changed by someone else"):
        plan_edit.apply(session, seen.view.revision, plan_edit.pin("web"), seen.index, "pin")
    with pytest.raises(KferryError, match="changed by someone else"):
        plan_edit.undo(session, seen.view.revision)
    assert layout.plan.read_bytes() == theirs


@pytest.mark.parametrize(
    "edit",
    [
        plan_edit.move({"topic\0hr.audit"}, "shop"),
        plan_edit.move({"topic\0shop.orders"}, "hr"),
        plan_edit.drop({"group\0hr-sync"}),
        plan_edit.merge("web", "hr"),
        plan_edit.merge("hr", "web"),
        plan_edit.split("hr", {"topic\0hr.audit"}, "hr-late", None),
    ],
)
def test_a_batch_that_has_begun_is_never_changed(edit: plan_edit.Edit, session: Session, layout: Layout) -> None:
    before = layout.plan.read_bytes()
    with pytest.raises(KferryError, match="is replicating"):
        apply(session, edit)
    assert layout.plan.read_bytes() == before


def test_an_edit_of_a_batch_that_has_begun_since_is_not_undone(session: Session, layout: Layout) -> None:
    apply(session, plan_edit.move({"topic\0web.clicks"}, "shop"))
    journal = Journal(layout.journal)
    with journal.transaction() as open_session:
        journal.put_batch(open_session, "shop", "replicating")
    journal.close()
    before = layout.plan.read_bytes()
    with pytest.raises(KferryError, match="is replicating"):
        plan_edit.undo(session, facts(session).view.revision)
    assert layout.plan.read_bytes() == before


def test_what_is_unchanged_is_not_worked_out_again(session: Session) -> None:
    first = facts(session)
    assert facts(session) is first
    apply(session, plan_edit.pin("web"))
    second = facts(session)
    assert second is not first
    assert second.index is first.index
    assert second.figures["shop"] is first.figures["shop"]
