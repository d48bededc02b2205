"""Checking the journal's hash chain: tells the first link that does not hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from kferry.store.codec import canonical

GENESIS = "0" * 64


def chain_hash(prev_hash: str, content: Mapping[str, Any]) -> str:
    """SHA-256 over the previous hash and the canonical JSON of an event's content."""
    return hashlib.sha256((prev_hash + canonical(dict(content))).encode()).hexdigest()


def first_broken_link(rows: Iterable[Any]) -> int | None:
    """The seq of the first event whose hash or predecessor is wrong; None when the whole chain holds."""
    previous, expected_seq = GENESIS, 1
    for row in rows:
        content = {key: row[key] for key in ("at_ms", "kind", "subject", "operation_id", "payload")}
        digest = chain_hash(previous, content)
        if row["prev_hash"] != previous or row["hash"] != digest or row["seq"] != expected_seq:
            return int(row["seq"])
        previous, expected_seq = row["hash"], expected_seq + 1
    return None
