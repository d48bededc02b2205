"""Names of batches: short, valid in every name kferry makes from them, and recognised by an operator."""

from __future__ import annotations

import re
from collections.abc import Iterable

BATCH_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_LONGEST = 31


def is_batch_name(name: str) -> bool:
    """Whether a batch may be called so."""
    return BATCH_NAME.fullmatch(name) is not None


def slug(text: str) -> str:
    """Any text as a valid batch name; "batch" where nothing of it can be used."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_LONGEST].strip("-")
    return words or "batch"


def system_of(topic: str) -> str:
    """The business system a topic name points to: its first dotted part, else what stands before `-` or `_`."""
    first, dot, _ = topic.partition(".")
    if dot and first:
        return first
    return re.split(r"[-_]", topic.lstrip("._-"), maxsplit=1)[0] or topic


def common_system(topics: Iterable[str]) -> str | None:
    """The system that all topics share, or None."""
    systems = {system_of(topic) for topic in topics}
    return systems.pop() if len(systems) == 1 else None


def unique(candidates: Iterable[str], taken: set[str]) -> str:
    """The first candidate that is not taken; the last one with a number where all are. Adds it to `taken`."""
    last = "batch"
    for candidate in candidates:
        last = slug(candidate)
        if last not in taken:
            taken.add(last)
            return last
    number = 2
    while True:
        name = f"{last[: _LONGEST - len(str(number)) - 1].rstrip('-')}-{number}"
        if name not in taken:
            taken.add(name)
            return name
        number += 1
