"""The lab's ledger: hashes that tell records apart, and files that survive a kill."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from kferry.lab.ledger import (
    ABORTED,
    RECONCILED,
    TOMBSTONE,
    Entry,
    Ledger,
    content_digest,
    key_digest,
    parse_record_id,
    read_entries,
    record_id,
    summarize,
)


def _entry(number: int, *, partition: int = 0, flags: int = 0) -> Entry:
    return Entry(partition, flags, number * 2, number, 1_700_000_000_000, b"d" * 16, b"k" * 8)


def test_every_part_of_a_record_changes_its_digest() -> None:
    variants = [
        (1, b"k", b"v", [("a", b"1"), ("b", b"2")]),
        (2, b"k", b"v", [("a", b"1"), ("b", b"2")]),
        (1, None, b"v", [("a", b"1"), ("b", b"2")]),
        (1, b"", b"v", [("a", b"1"), ("b", b"2")]),
        (1, b"k", None, [("a", b"1"), ("b", b"2")]),
        (1, b"k", b"", [("a", b"1"), ("b", b"2")]),
        (1, b"kv", b"", [("a", b"1"), ("b", b"2")]),
        (1, b"k", b"v", [("b", b"2"), ("a", b"1")]),
        (1, b"k", b"v", [("a", b"1")]),
        (1, b"k", b"v", [("a", b""), ("b", b"2")]),
        (1, b"k", b"v", [("a", None), ("b", b"2")]),
        (1, b"k", b"v", [("a", b"1b"), ("", b"2")]),
        (1, b"k", b"v", []),
    ]
    digests = [content_digest(*variant) for variant in variants]
    for (one, first), (two, second) in itertools.combinations(enumerate(digests), 2):
        assert first != second, (variants[one], variants[two])
    assert digests[0] == content_digest(1, b"k", b"v", [("a", b"1"), ("b", b"2")])
    assert key_digest(None) != key_digest(b"")


def test_record_ids_go_there_and_back() -> None:
    text = record_id("source", "shop.orders", 7).encode()
    assert parse_record_id([("x", b"\xff"), ("lab-id", text)]) == ("source", "shop.orders", 7)


@pytest.mark.parametrize(
    "value", [b"", b"source/x", b"source/x/-1", b"source/x/1/2", b"\xff\xfe", None, "source/x/\u0663"]
)
def test_what_is_no_record_id_is_none(value: bytes | str | None) -> None:
    assert parse_record_id([("lab-id", value)]) is None
    assert parse_record_id(None) is None


def test_entries_are_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "t.bin"
    ledger = Ledger(path)
    assert ledger.is_new
    ledger.append(_entry(1))
    ledger.append(_entry(2, partition=1, flags=ABORTED))
    assert list(read_entries(path)) == []  # not before a flush
    ledger.close()
    again = Ledger(path)
    assert not again.is_new
    assert (again.last_number, again.committed_records) == (2, 1)
    assert again.last_offsets == {0: 2, 1: 4}
    again.append(_entry(3, flags=TOMBSTONE | RECONCILED))
    again.close()
    assert [entry.number for entry in read_entries(path)] == [1, 2, 3]
    assert summarize(path) == {
        "records": 2,
        "aborted": 1,
        "reconciled": 1,
        "tombstones": 1,
        "partitions": {"0": {"records": 2, "last_offset": 6}},
    }


@pytest.mark.parametrize("torn_bytes", [1, 20, 50])
def test_a_torn_entry_is_cut_off(tmp_path: Path, torn_bytes: int) -> None:
    path = tmp_path / "t.bin"
    ledger = Ledger(path)
    for number in (1, 2):
        ledger.append(_entry(number))
    ledger.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-torn_bytes])
    assert [entry.number for entry in read_entries(path)] == [1]
    ledger = Ledger(path)
    ledger.append(_entry(9))
    ledger.close()
    assert [entry.number for entry in read_entries(path)] == [1, 9]
