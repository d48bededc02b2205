"""Verdicts and the certificate."""

from __future__ import annotations

from typing import Any

import pytest

from kferry.domain import waivers
from kferry.domain.alignment import Stamp, align
from kferry.domain.verification import (
    Latest,
    certificate,
    certificate_markdown,
    latest_verdict,
    summary,
    verdict,
)

SOURCE = [Stamp(offset, bytes([offset])) for offset in range(10)]
COPY = [Stamp(100 + offset, bytes([offset])) for offset in range(10)]


def judge(target: list[Stamp], *, compacted: bool = False, source: list[Stamp] = SOURCE, expired: int = 0):  # type: ignore[no-untyped-def]
    return verdict(
        "orders",
        0,
        align(source, target),
        compacted=compacted,
        expired_offsets=expired,
        source_end_offset=10,
        target_end_offset=110,
    )


def test_a_true_copy_is_ok_and_a_hash_proves_it() -> None:
    assert judge(COPY).ok
    assert judge(COPY).ordered_hash == judge(COPY[:5] + COPY[3:]).ordered_hash, "repeats do not change it"
    assert judge(COPY).ordered_hash != judge(COPY[:-1]).ordered_hash


def test_each_fault_is_told_apart() -> None:
    assert (judge(COPY[:4] + COPY[5:]).missing, judge(COPY[:4] + COPY[5:]).ok) == (1, False)
    assert (judge(COPY[:5] + COPY[3:]).repeats, judge(COPY[:5] + COPY[3:]).ok) == (2, True)
    foreign = judge([*COPY[:5], Stamp(1, b"else"), *COPY[5:]])
    assert (foreign.foreign, foreign.ok) == (1, False)


def test_records_the_source_has_deleted_are_named_not_blamed() -> None:
    expired = judge(COPY, source=SOURCE[3:], expired=3)
    assert (expired.gone_from_source, expired.foreign, expired.missing, expired.ok) == (3, 0, 0, True)
    compacted = judge(COPY, source=SOURCE[:2] + SOURCE[5:], compacted=True)
    assert (compacted.gone_from_source, compacted.ok) == (3, True)


def test_the_certificate_carries_the_chain_and_no_markup_of_names() -> None:
    data = certificate(
        migration_id="abc123",
        batch="shop",
        task="shop",
        issued_at="2026-01-01T00:00:00+00:00",
        issued_by="me|<b>`x`",
        kferry_version="0",
        source={"bootstrap_servers": "old:9092", "cluster_id": None},
        target={"bootstrap_servers": "new:9092", "cluster_id": "x"},
        verification=summary([judge(COPY)]),
        translation={"groups": [{"group_id": "g|\n<script>", "partitions": []}]},
        journal_seq=7,
        journal_hash="f" * 64,
        notes=["Host names are not checked, until `2026`."],
    )
    text = certificate_markdown(data)
    assert "- Note: `Host names are not checked, until ·2026·.`" in text
    assert data["verdict"] == "complete" and data["journal"] == {"seq": 7, "hash": "f" * 64}
    assert "f" * 64 in text and "<script>" not in text and "<b>" not in text and "cluster id `unknown`" in text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "not recorded"),  # a certificate of an older kferry
        ({"state": "holds", "covers": 3, "beyond": 0}, "holds"),
        ({"state": "holds", "covers": None, "beyond": None}, "holds; what it covered was not kept"),
        (
            {"state": "outgrown", "covers": 3, "beyond": 1},
            "**outgrown**; its finding is about 1 name more than it covered",
        ),
        ({"state": "expired", "covers": 3, "beyond": 0}, "**expired**"),
    ],
)
def test_each_waiver_says_how_it_stood_when_certified(more: dict[str, Any], words: str) -> None:
    keys = ("finding_id", "severity", "title", "who", "why", "given_at", "until")
    waiver = {**dict.fromkeys(keys, "x"), **more}
    checked = {**summary([judge(COPY)])}
    data = {
        "batch": "b",
        "verdict": "complete",
        "migration_id": "m",
        "task": "t",
        "issued_at": "now",
        "issued_by": "me",
        "kferry_version": "0",
        "source": {},
        "target": {},
        "journal": {"seq": 1, "hash": "f"},
        "groups": [],
        "verification": checked,
        "waivers": [waiver],
    }
    assert certificate_markdown(data).splitlines()[-1].endswith(f"| x | {words} |")


@pytest.mark.parametrize(
    ("until_ms", "waived", "state"),
    [(11, ("a", "b"), "holds"), (11, None, "holds"), (11, ("a",), "outgrown"), (10, ("a",), "expired")],
)
def test_a_waiver_holds_until_it_ends_or_its_finding_grows(
    until_ms: int, waived: tuple[str, ...] | None, state: str
) -> None:
    assert waivers.state(until_ms, 10, ("a", "b"), waived) == state


def latest(source: dict[bytes | None, Latest], target: dict[bytes | None, Latest]) -> tuple[int, int]:
    found = latest_verdict("t", 0, source, target, source_end_offset=10, target_end_offset=100)
    return found.missing, found.foreign


def test_a_compacted_topic_that_moved_on_is_judged_by_the_last_value_of_each_key() -> None:
    old, new = Latest(3, b"old", False), Latest(7, b"new", False)
    assert latest({b"k": new}, {b"k": Latest(50, b"new", False)}) == (0, 0)
    assert latest({b"k": new}, {b"k": Latest(50, b"old", False)}) == (1, 0), "an older value is not the last one"
    assert latest({b"k": new}, {b"k": Latest(120, b"else", False)}) == (0, 0), "written after the switch"
    assert latest({b"k": new}, {}) == (1, 0)
    assert latest({b"k": Latest(3, b"x", True)}, {}) == (0, 0), "a tombstone may be gone"
    assert latest({b"k": old}, {b"k": Latest(1, b"old", False), b"other": Latest(2, b"x", False)}) == (0, 1)


def test_what_the_source_deleted_before_it_was_copied_is_not_proven() -> None:
    """Copied 0 and 1, then the source deleted up to 5: of 2 to 4 nothing is known."""
    found = judge(COPY[:2] + COPY[5:], source=SOURCE[5:], expired=5)
    assert (found.gone_from_source, found.unproven_offsets, found.foreign) == (2, 3, 0)


def test_foreign_records_can_not_hide_behind_retention() -> None:
    found = judge([Stamp(1, b"x"), Stamp(2, b"y")], source=[], expired=0)
    assert (found.foreign, found.gone_from_source, found.ok) == (2, 0, False)
