"""Edits of a plan, what they tear apart, and the sizes of batches."""

from __future__ import annotations

import pytest

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Batch, GroupKind, Plan
from kferry.domain.planning import (
    BatchSize,
    batch_risk,
    connector_tasks_max,
    drop_group,
    drop_topic,
    explain,
    merge_batches,
    move_group,
    move_topic,
    pin,
    plan_batches,
    rename_batch,
    reorder,
    reweigh,
    set_note,
    size,
    split_batch,
)
from support.scans import group, lab_scan, scan, topic

PLAN = plan_batches(lab_scan())


def test_moving_a_topic_says_what_it_tears_apart() -> None:
    moved = move_topic(PLAN, "shop.payments", "hr")
    assert "shop.payments" in moved.batch("hr").topics  # type: ignore[union-attr]
    assert moved.batch("shop").topics == ("shop.orders",)  # type: ignore[union-attr]
    assert explain(moved, lab_scan()) == [
        "Group fraud-check moves in batch shop, but it also reads shop.payments (batch hr)."
    ]
    assert explain(move_topic(moved, "shop.payments", "shop"), lab_scan()) == []


def test_a_batch_that_loses_its_last_topic_goes_and_its_groups_stay_behind() -> None:
    moved = drop_topic(drop_topic(PLAN, "hr.audit"), "hr.employees", "kept as an archive")
    assert moved.batch("hr") is None
    assert moved.left_out["hr.employees"] == "kept as an archive"
    assert "group hr-sync" in moved.left_out
    assert explain(moved, lab_scan()) == []
    back = move_group(move_topic(moved, "hr.employees", "people", create=True), "hr-sync", "people")
    assert back.batch("people") == Batch("people", ("hr.employees",), ("hr-sync",), why=("Made by the operator.",))
    assert "hr.employees" not in back.left_out
    assert "group hr-sync" not in back.left_out


def test_a_group_apart_from_its_topics_is_told() -> None:
    moved = move_group(PLAN, "billing", "hr")
    assert explain(moved, lab_scan()) == [
        "Group billing moves in batch hr, but it also reads shop.orders (batch shop)."
    ]
    gone = Plan(PLAN.scan_id, tuple(b for b in PLAN.batches if b.name != "shop"), PLAN.left_out)
    assert "The plan says nothing about shop.orders, which is on the source." in explain(gone, lab_scan())


def test_what_the_source_no_longer_has_is_told() -> None:
    assert explain(PLAN, scan([topic("hr.audit")])).count(
        "hr.employees is in batch hr, but the source no longer has it."
    )


def test_order_and_names() -> None:
    assert reorder(PLAN, ["shop"]).batches[0].name == "shop"
    assert len(reorder(PLAN, ["shop"]).batches) == 3
    assert rename_batch(PLAN, "hr", "people").batch("people") is not None


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda: move_topic(PLAN, "shop.order", "hr"), "Did you mean 'shop.orders'?"),
        (lambda: move_topic(PLAN, "shop.orders", "shopp"), "Did you mean 'shop'?"),
        (lambda: move_topic(PLAN, "shop.orders", "No Good", create=True), "cannot be the name of a batch"),
        (lambda: move_group(PLAN, "biling", "hr"), "Did you mean 'billing'?"),
        (lambda: drop_topic(PLAN, "__consumer_offsets"), "The plan has no topic '__consumer_offsets'."),
        (lambda: rename_batch(PLAN, "hr", "shop"), "There is already a batch 'shop'."),
        (lambda: rename_batch(PLAN, "hr", "-x"), "cannot be the name of a batch"),
        (lambda: rename_batch(PLAN, "xyz", "a"), "The plan has no batch 'xyz'."),
        (lambda: reorder(PLAN, ["hr", "hr"]), "named twice"),
    ],
)
def test_an_edit_that_cannot_be_says_why(edit, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(KferryError) as caught:
        edit()
    assert words in str(caught.value)
    assert caught.value.kind is ErrorKind.USAGE


def test_size_is_unknown_where_a_part_is() -> None:
    found = scan([topic("a", 2, end=100), topic("b", 3, end=None), topic("c", mean_record_bytes=None)])

    def batch(*names: str) -> Batch:
        return Batch("x", names, ())

    assert size(batch("a"), found) == BatchSize(200, 100_000, 2)
    assert size(batch("a", "b"), found) == BatchSize(None, None, 5)
    assert size(batch("a", "c"), found) == BatchSize(2200, None, 4)
    assert size(batch("a", "gone"), found) == BatchSize(None, None, None)
    assert size(Batch("x", (), ()), found) == BatchSize(0, 0, 0)


@pytest.mark.parametrize(
    ("partitions", "workers", "expected"),
    [(1, 1, 1), (12, 1, 2), (24, 1, 3), (24, 4, 8), (3, 4, 3), (1000, 2, 125), (0, 1, 1), (9, 0, 2)],
)
def test_connector_tasks(partitions: int, workers: int, expected: int) -> None:
    assert connector_tasks_max(partitions, workers) == expected


def test_risk_is_the_sum_of_its_parts_and_unknown_is_never_safe() -> None:
    found = scan(
        [topic("a", end=500), topic("u", end=None, records_per_second=None)],
        [group("g", ["a"], offset=10), group("connect-x", ["a"], kind=GroupKind.CONNECT, members=0)],
    )
    known = batch_risk(["a"], ["g", "connect-x"], found)
    assert known.points == round(sum(part.points for part in known.parts), 1)
    assert "1 group far behind (2)" in known.words
    assert "1 Kafka Connect group (2)" in known.words
    assert batch_risk(["u"], [], found).points == 9.0
    assert batch_risk(["a"], [], found).points < batch_risk(["u"], [], found).points


def test_weighing_again_says_what_ties_the_batches_now() -> None:
    split = split_batch(PLAN, "shop", ["shop.payments"], [], "pay")
    assert split.batch("pay").risk == split.batch("shop").risk  # type: ignore[union-attr]
    weighed = reweigh(split, lab_scan(), only=["pay", "shop"])
    pay, shop = weighed.batch("pay"), weighed.batch("shop")
    assert pay is not None
    assert shop is not None
    assert pay.risk < split.batch("pay").risk  # type: ignore[union-attr]
    assert "Split off from shop by the operator." in pay.why
    assert sum(words.startswith("Risk ") for words in pay.why) == 1
    assert "MB" in pay.estimate
    back = reweigh(merge_batches(weighed, "shop", ["pay"]), lab_scan(), only=["shop"])
    before = PLAN.batch("shop")
    assert before is not None
    assert set(back.batch("shop").why) == set(before.why)  # type: ignore[union-attr]
    assert weighed.batch("hr") == PLAN.batch("hr")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda: split_batch(PLAN, "shop", []), "without topics"),
        (lambda: split_batch(PLAN, "shop", ["shop.orders", "shop.payments"]), "without topics"),
        (lambda: split_batch(PLAN, "shop", ["hr.audit"]), "Batch shop has no topic 'hr.audit'."),
        (lambda: split_batch(PLAN, "shop", ["shop.orders"], ["hr-sync"]), "Batch shop has no group 'hr-sync'."),
        (lambda: split_batch(PLAN, "shop", ["shop.orders"], [], "hr"), "There is already a batch 'hr'."),
        (lambda: merge_batches(PLAN, "shop", ["shop"]), "other batches only"),
        (lambda: merge_batches(PLAN, "shop", []), "other batches only"),
        (lambda: merge_batches(PLAN, "shop", ["hr", "hr"]), "other batches only"),
        (lambda: merge_batches(PLAN, "shop", ["hrr"]), "Did you mean 'hr'?"),
        (lambda: pin(PLAN, "shopp"), "Did you mean 'shop'?"),
        (lambda: drop_group(PLAN, "nobody"), "The plan has no group 'nobody'."),
    ],
)
def test_a_new_edit_that_cannot_be_says_why(edit, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(KferryError) as caught:
        edit()
    assert words in str(caught.value)
    assert caught.value.kind is ErrorKind.USAGE


def test_merging_keeps_reasons_notes_and_the_greater_risk() -> None:
    noted = set_note(set_note(PLAN, "hr", "ask Ann"), "iot", "ask Bob")
    merged = merge_batches(noted, "iot", ["hr"]).batch("iot")
    assert merged is not None
    assert merged.note == "ask Bob; ask Ann"
    assert merged.risk == PLAN.batch("iot").risk  # type: ignore[union-attr]
    assert set(PLAN.batch("hr").why) <= set(merged.why)  # type: ignore[union-attr]


def test_a_group_that_the_operator_left_out_is_no_violation() -> None:
    assert explain(drop_group(PLAN, "billing"), lab_scan()) == []
    assert explain(drop_group(PLAN, "billing", "forgotten"), lab_scan()) == [
        "Group billing stays behind, but shop.orders, which it reads, moves away."
    ]
    again = plan_batches(lab_scan(), before=drop_topic(drop_group(PLAN, "billing"), "hr.audit"))
    assert again.left_out["group billing"] == again.left_out["hr.audit"] == "left out by the operator"
    assert explain(again, lab_scan()) == []
