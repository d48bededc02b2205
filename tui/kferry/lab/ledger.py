"""The ledger: every record known to be committed, per topic, in order, in an append-only file of fixed entries.

Each topic has one writer at a time. A process that is killed between a delivery and its ledger entry leaves a gap at
the end only; the next producer session closes it by reading the topic's tail (see `producers.py`).
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ID_HEADER = "lab-id"

ABORTED = 1  # written in a transaction that was aborted: must never be seen by a read_committed reader
RECONCILED = 2  # found in the topic after a kill, not confirmed to the producer
TOMBSTONE = 4

Headers = dict[str, str | bytes | None] | list[tuple[str, str | bytes | None]] | None  # the client library's type

_ENTRY = struct.Struct("<HBqqq16s8s")


class Entry(NamedTuple):
    """One record of the ledger."""

    partition: int
    flags: int
    offset: int
    number: int
    timestamp_ms: int
    digest: bytes
    key_digest: bytes


def record_id(cluster: str, topic: str, number: int) -> str:
    """The unique id every record carries in its header: where it was produced, its topic, its number."""
    return f"{cluster}/{topic}/{number}"


def parse_record_id(headers: Headers) -> tuple[str, str, int] | None:
    """Cluster, topic and number from a record's headers; None where they do not say."""
    for name, value in _pairs(headers):
        if name == ID_HEADER and isinstance(value, bytes):
            parts = value.decode("utf-8", "replace").split("/")
            if len(parts) == 3 and parts[2].isascii() and parts[2].isdigit():
                return parts[0], parts[1], int(parts[2])
    return None


def content_digest(timestamp_ms: int, key: bytes | None, value: bytes | None, headers: Headers) -> bytes:
    """A hash over everything a record carries; None and empty differ, and headers keep their order."""
    parts: list[bytes | None] = [key, value]
    for name, header in _pairs(headers):
        parts += (
            name.encode("utf-8", "surrogateescape"),
            header.encode("utf-8") if isinstance(header, str) else header,
        )
    # The lengths in front make the joined bytes mean one thing only.
    lengths = [-1 if part is None else len(part) for part in parts]
    joined = b"".join([part for part in parts if part is not None])
    return hashlib.blake2b(repr((timestamp_ms, lengths)).encode() + joined, digest_size=16).digest()


def key_digest(key: bytes | None) -> bytes:
    """A short hash of a key, for judging compacted topics."""
    return hashlib.blake2b(b"\0" if key is None else b"\1" + key, digest_size=8).digest()


def _pairs(headers: Headers) -> Iterable[tuple[str, str | bytes | None]]:
    return headers.items() if isinstance(headers, dict) else headers or ()


def read_entries(path: Path) -> Iterator[Entry]:
    """All whole entries of one ledger file; nothing where there is none. A torn last entry is left out."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    whole = len(data) - len(data) % _ENTRY.size
    for fields in _ENTRY.iter_unpack(memoryview(data)[:whole]):
        yield Entry(*fields)


class Ledger:
    """The writing side of one topic's ledger on one cluster."""

    def __init__(self, path: Path) -> None:
        self.is_new = not path.exists()
        self.last_offsets: dict[int, int] = {}
        self.last_number = 0
        self.committed_records = 0
        for entry in read_entries(path):
            self._account(entry)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._descriptor).st_size
        if size % _ENTRY.size:  # a kill in the middle of a write
            os.ftruncate(self._descriptor, size - size % _ENTRY.size)
        self._pending: list[bytes] = []

    def append(self, entry: Entry) -> None:
        """Note one record; `flush` makes it visible to readers."""
        self._account(entry)
        self._pending.append(_ENTRY.pack(*entry))

    def flush(self) -> None:
        """Write what was noted."""
        if not self._pending:
            return
        data = memoryview(b"".join(self._pending))
        self._pending.clear()
        while data:
            data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        self.flush()
        os.close(self._descriptor)

    def _account(self, entry: Entry) -> None:
        self.last_number = max(self.last_number, entry.number)
        self.last_offsets[entry.partition] = max(self.last_offsets.get(entry.partition, -1), entry.offset)
        if not entry.flags & ABORTED:
            self.committed_records += 1


def summarize(path: Path) -> dict[str, object]:
    """Counts of one ledger file, for people and tests."""
    partitions: Counter[int] = Counter()
    last_offsets: dict[int, int] = {}
    aborted = reconciled = tombstones = 0
    for entry in read_entries(path):
        if entry.flags & ABORTED:
            aborted += 1
            continue
        partitions[entry.partition] += 1
        last_offsets[entry.partition] = entry.offset
        reconciled += bool(entry.flags & RECONCILED)
        tombstones += bool(entry.flags & TOMBSTONE)
    return {
        "records": partitions.total(),
        "aborted": aborted,
        "reconciled": reconciled,
        "tombstones": tombstones,
        "partitions": {
            str(number): {"records": partitions[number], "last_offset": last_offsets[number]}
            for number in sorted(partitions)
        },
    }
