"""How far a waiver reaches: over what its finding was about when it was given, and no further."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from enum import StrEnum

_DIGITS = 12  # of a hash: enough to tell the names of one finding apart


class WaiverState(StrEnum):
    """How a waiver stands at one moment."""

    HOLDS = "holds"
    OUTGROWN = "outgrown"  # the finding is about more than was waived, so it stops again
    EXPIRED = "expired"  # also where it was outgrown before


def content_of(names: Iterable[str]) -> tuple[str, ...]:
    """A short hash of each name, so that thousands of names can be kept beside a finding and its waiver."""
    # names may hold lone surrogates, which UTF-8 has no place for
    return tuple(
        sorted({hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS] for name in names})
    )


def beyond(content: Collection[str], waived: Collection[str] | None) -> int:
    """How much of a finding its waiver does not cover. `waived` None: given before kferry kept what was waived."""
    return 0 if waived is None else len(set(content) - set(waived))


def state(until_ms: int, at_ms: int, content: Collection[str], waived: Collection[str] | None) -> WaiverState:
    """How a waiver stands at `at_ms`, when its finding is about `content`; () where it is no longer found."""
    if until_ms <= at_ms:
        return WaiverState.EXPIRED
    return WaiverState.OUTGROWN if beyond(content, waived) else WaiverState.HOLDS
