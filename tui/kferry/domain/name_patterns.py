"""Patterns over names of topics and groups: shell globs, or a regular expression between slashes.

In a glob `*` stands for any text, `?` for one character and `[...]` for one of some; everything else is itself, so the
dots and hyphens of topic names need no escape. `/regex/` must match the whole name.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

_SPECIAL = re.compile(r"([*?[])")


def problem_of(pattern: str) -> str | None:
    """Why a pattern can't be used, as words; None where it can."""
    if not pattern:
        return "is empty"
    if not _is_regex(pattern):
        return None
    try:
        re.compile(pattern[1:-1])
    except (re.error, OverflowError, RecursionError) as error:
        return f"is not a valid regular expression ({error})"
    return None


def matches(pattern: str, name: str) -> bool:
    """Whether a name matches a pattern as a whole. Case matters."""
    return _compiled(pattern).fullmatch(name) is not None


def matches_any(patterns: Iterable[str], name: str) -> bool:
    """Whether a name matches one of some patterns."""
    return any(one.fullmatch(name) is not None for one in _compiled_all(tuple(patterns)))


def literal(name: str) -> str:
    """The pattern that matches this very name and nothing else."""
    escaped = _SPECIAL.sub(r"[\1]", name)
    # a name between slashes would read as a regular expression
    return f"[/]{escaped[1:]}" if _is_regex(escaped) else escaped


@dataclass(frozen=True, slots=True)
class NameFilter:
    """Names that match one of `include` and none of `exclude`; an empty `include` matches nothing."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def matches(self, name: str) -> bool:
        return matches_any(self.include, name) and not matches_any(self.exclude, name)

    def of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of some names that match, sorted."""
        return tuple(sorted(name for name in set(names) if self.matches(name)))


def _is_regex(pattern: str) -> bool:
    return len(pattern) > 2 and pattern.startswith("/") and pattern.endswith("/")


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern[1:-1], re.DOTALL) if _is_regex(pattern) else re.compile(fnmatch.translate(pattern))


@lru_cache(maxsize=4096)
def _compiled_all(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """All globs as one expression, for rules are asked about every topic; regular expressions may refer to groups."""
    globs = [fnmatch.translate(pattern) for pattern in patterns if not _is_regex(pattern)]
    merged = [re.compile("|".join(globs))] if globs else []
    return (*merged, *(_compiled(pattern) for pattern in patterns if _is_regex(pattern)))
