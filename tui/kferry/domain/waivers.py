"""How far a waiver reaches: over what its finding was about when it was given, and no further."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

_DIGITS = 12  # of a hash: enough to tell the names of one finding apart


def content_of(names: Iterable[str]) -> tuple[str, ...]:
    """A short hash of each name, so that thousands of names can be kept beside a finding and its waiver."""
    # names may hold lone surrogates, which UTF-8 has no place for
    return tuple(
        sorted({hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS] for name in names})
    )


def beyond(content: Collection[str], waived: Collection[str] | None) -> int:
    """How much of a finding its waiver does not cover. `waived` None: given before kferry kept what was waived."""
    return 0 if waived is None else len(set(content) - set(waived))
