"""Whether the last preflight speaks of a batch as it is now."""

from __future__ import annotations

import re

import pytest

from kferry.domain.judged import Judged, Together, judged, stale
from kferry.domain.model import Batch, Role
from kferry.domain.planning import plan_batches
from support.preflight_facts import facts
from support.scans import lab_scan, scan

FOUND = lab_scan()
PLAN = plan_batches(FOUND)
BEFORE_THE_PLAN = judged(facts(FOUND))
AFTER_THE_PLAN = judged(facts(FOUND, plan=PLAN))
SCANS = {Role.SOURCE: FOUND.scan_id, Role.TARGET: scan(role=Role.TARGET).scan_id}
KNOWN = {topic.name for topic in FOUND.topics} | {group.group_id for group in FOUND.groups}
SHOP = PLAN.batch("shop")
assert SHOP is not None


@pytest.mark.parametrize("last", [BEFORE_THE_PLAN, AFTER_THE_PLAN], ids=["preflight, plan", "plan, preflight"])
def test_each_batch_may_begin_after_scan_preflight_and_plan_in_either_order(last: Judged) -> None:
    assert len(PLAN.batches) > 1
    assert [stale(last, batch, SCANS, KNOWN) for batch in PLAN.batches] == [None] * len(PLAN.batches)


@pytest.mark.parametrize(
    ("last", "batch", "scans", "words"),
    [
        (None, SHOP, SCANS, "older kferry"),
        (AFTER_THE_PLAN, SHOP, {**SCANS, Role.SOURCE: "newer"}, "source cluster was scanned after"),
        (AFTER_THE_PLAN, SHOP, {**SCANS, Role.TARGET: "newer"}, "target cluster was scanned after"),
        (AFTER_THE_PLAN, SHOP, {Role.SOURCE: FOUND.scan_id}, "target cluster was scanned after"),
        (AFTER_THE_PLAN, Batch("shop", (*SHOP.topics, "late"), SHOP.groups), SCANS, r"did not find: late"),
        (AFTER_THE_PLAN, Batch("shop", (*SHOP.topics, "__consumer_offsets"), ()), SCANS, "has not judged __consumer"),
        (AFTER_THE_PLAN, Batch("shop", SHOP.topics, ("console-consumer-1",)), SCANS, "has not judged console-consumer"),
        (
            AFTER_THE_PLAN,
            Batch("all", tuple(name for one in PLAN.batches for name in one.topics), ()),
            SCANS,
            "put together after",
        ),
    ],
    ids=["never", "source scan", "target scan", "target gone", "new topic", "left out", "group", "merged"],
)
def test_what_preflight_never_saw_does_not_begin(
    last: Judged | None, batch: Batch, scans: dict[Role, str], words: str
) -> None:
    found = stale(last, batch, scans, {*KNOWN, "__consumer_offsets", "console-consumer-1"})
    assert found is not None and re.search(words, found.title), found
    assert found.next_step.startswith(("Run `kferry preflight`", "Scan, then plan"))


def test_a_batch_that_only_lost_members_needs_no_other_preflight() -> None:
    assert stale(AFTER_THE_PLAN, Batch("renamed", SHOP.topics[:1], ()), SCANS, KNOWN) is None


def test_topics_that_are_planned_but_gone_are_not_judged() -> None:
    made = judged(facts(FOUND, plan=plan_batches(FOUND)))
    smaller = judged(facts(scan(FOUND.topics[:1]), plan=PLAN))
    assert {name for one in smaller.together for name in one.topics} <= {FOUND.topics[0].name}
    assert Together((), ()) in smaller.together and len(made.together) == len(PLAN.batches)
