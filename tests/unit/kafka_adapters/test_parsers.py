"""Bytes that Kafka and MirrorMaker write, and what kferry reads out of them."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.kafka import api_versions, transactions
from kferry.kafka.addresses import bootstrap_addresses
from kferry.kafka.offset_syncs import OffsetSync, parse_offset_sync
from kferry.kafka.records import record_digest
from kferry.kafka.wire import WireError, WireReader

Header = tuple[str, bytes | None]


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text.encode())) + text.encode()


def test_an_offset_sync_is_read_from_its_bytes() -> None:
    key = bytes.fromhex("0006") + b"orders" + bytes.fromhex("00000003")
    value = bytes.fromhex("0000000000000102" + "00000000000000ff")
    assert parse_offset_sync(key, value) == OffsetSync("orders", 3, 258, 255)


@pytest.mark.parametrize(("key", "value"), [(None, b""), (b"\x00\x01t\x00\x00\x00\x00", None), (b"\x00\x09t", b"1")])
def test_what_is_no_offset_sync_is_left_out(key: bytes | None, value: bytes | None) -> None:
    assert parse_offset_sync(key, value) is None


def test_transaction_log_version_0() -> None:
    value = struct.pack(">hqhib", 0, 7, 1, 60000, 1) + struct.pack(">i", 2)
    for topic in ("orders", "payments"):
        value += _string(topic) + struct.pack(">iii", 2, 0, 5)
    value += struct.pack(">qq", 1, 2)
    logged = transactions.parse_value(value)
    assert logged == transactions.LoggedTransaction("Ongoing", frozenset({"orders", "payments"}))


def test_transaction_log_version_1_is_flexible() -> None:
    value = struct.pack(">hqhib", 1, 7, 1, 60000, 2) + bytes([2])  # one element: length plus one
    value += bytes([7]) + b"orders" + bytes([3]) + struct.pack(">ii", 0, 5) + bytes([0])
    value += struct.pack(">qq", 1, 2) + bytes([1, 0, 8]) + struct.pack(">q", 9)
    logged = transactions.parse_value(value)
    assert logged == transactions.LoggedTransaction("PrepareCommit", frozenset({"orders"}))


def test_a_finished_transaction_names_no_topics() -> None:
    value = struct.pack(">hqhib", 0, 7, 1, 60000, 4) + struct.pack(">i", -1) + struct.pack(">qq", 1, 2)
    assert transactions.parse_value(value) == transactions.LoggedTransaction("CompleteCommit", frozenset())


@given(st.binary(max_size=200))
def test_foreign_bytes_never_break_the_parsers(data: bytes) -> None:
    transactions.parse_key(data)
    transactions.parse_value(data)
    parse_offset_sync(data, data)
    with contextlib.suppress(WireError):
        api_versions.parse(data)


def test_a_huge_count_is_refused_before_it_costs_anything() -> None:
    with pytest.raises(WireError):
        WireReader(struct.pack(">i", 2**31 - 1)).array_length()


def test_a_release_is_the_newest_step_that_is_spoken() -> None:
    assert api_versions.release({1: (0, 17), 0: (0, 11), 2: (0, 9), 66: (0, 1)}) == "3.9"
    assert api_versions.release({1: (0, 11), 0: (0, 7), 2: (0, 5)}) == "2.3"
    assert api_versions.release({1: (0, 5)}) == "0.11"
    assert api_versions.release({}) is None


def test_bootstrap_addresses() -> None:
    found = bootstrap_addresses("b1:9092, SASL_SSL://b2:9093,[::1]:9094,b3,")
    assert found == [("b1", 9092), ("b2", 9093), ("::1", 9094), ("b3", 9092)]


def test_null_and_empty_are_different_records() -> None:
    digests = {
        record_digest(1, None, None, None),
        record_digest(1, b"", None, None),
        record_digest(1, None, b"", None),
        record_digest(1, b"", b"", None),
        record_digest(2, None, None, None),
        record_digest(1, None, None, [("h", None)]),
        record_digest(1, None, None, [("h", b"")]),
        record_digest(1, None, None, [("h", b""), ("h", b"")]),
    }
    assert len(digests) == 8
    assert record_digest(1, None, None, None) == record_digest(1, None, None, [])


_headers = st.lists(st.tuples(st.text(max_size=4), st.none() | st.binary(max_size=4)), max_size=3)
_record = st.tuples(st.integers(0, 3), st.none() | st.binary(max_size=4), st.none() | st.binary(max_size=4), _headers)


@given(_record, _record)
def test_digests_are_equal_exactly_when_the_records_are(
    one: tuple[int, bytes | None, bytes | None, list[Header]],
    other: tuple[int, bytes | None, bytes | None, list[Header]],
) -> None:
    assert (record_digest(*one) == record_digest(*other)) == (one == other)


def test_a_digest_stays_what_it_was() -> None:
    # Digests are compared within one run only, but a change of the format should be a decision, not an accident.
    assert record_digest(1700000000000, b"k", b"v", [("h", b"x")]).hex() == "6c0dba3db8e34c82eeb6b5166fb11cc4"
