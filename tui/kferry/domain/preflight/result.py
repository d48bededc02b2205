"""What a check yields, and the words that checks share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from kferry.domain.model import Severity
from kferry.domain.topic_flow import whole as whole
from kferry.domain.words import counted as counted
from kferry.domain.words import first_of

_NAMED = 8


@dataclass(frozen=True, slots=True)
class Result:
    """A finding before the registry has put its check's id to it.

    `names` is everything it is about, where its subject is a word for many: a waiver covers these and no more.
    """

    severity: Severity
    subject: str
    title: str
    evidence: str
    fix: str
    names: tuple[str, ...] = ()


def block(subject: str, title: str, evidence: str, fix: str) -> Result:
    return Result(Severity.BLOCK, subject, title, evidence, fix)


def warn(subject: str, title: str, evidence: str, fix: str, names: Iterable[str] = ()) -> Result:
    return Result(Severity.WARN, subject, title, evidence, fix, tuple(names))


def unknown(subject: str, title: str, evidence: str, fix: str, names: Iterable[str] = ()) -> Result:
    return Result(Severity.UNKNOWN, subject, title, evidence, fix, tuple(names))


def info(subject: str, title: str, evidence: str, fix: str = "Nothing has to be done.") -> Result:
    return Result(Severity.INFO, subject, title, evidence, fix)


def listed(names: Iterable[str]) -> str:
    """Names in the order a reader expects (2 before 10), shortened where there are many."""
    return first_of(sorted(names, key=_natural), _NAMED)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def duration(seconds: float) -> str:
    """A length of time in its largest fitting unit."""
    for unit, length in (("day", 86_400.0), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}s"
    return f"{seconds:.0f} seconds"


def megabytes(number: float) -> str:
    """Bytes as MB or GB."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
