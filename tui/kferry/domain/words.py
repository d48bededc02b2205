"""Words that several rooms put together in the same way."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: "1 topic", "3 topics"."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def first_of(names: Sequence[str], most: int) -> str:
    """Names in their order, the first ones and how many more: "a, b and 7 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
