"""Whom a principal of the source becomes on the target: by a table, by patterns, kept as it is, or left behind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kferry.domain.errors import ErrorKind, KferryError

_EVERYBODY = ":*"


@dataclass(frozen=True, slots=True)
class PrincipalPattern:
    """A regular expression for whole principals. `to` may name its groups (`\\1`); None leaves them behind."""

    match: str
    to: str | None


@dataclass(frozen=True, slots=True)
class PrincipalMapping:
    """The table wins over `drop`, that over patterns (the first that matches); anybody else keeps the name.

    `merge` names principals of the target that several of the source may become on purpose.
    """

    table: Mapping[str, str] = field(default_factory=dict)
    patterns: tuple[PrincipalPattern, ...] = ()
    drop: frozenset[str] = frozenset()
    merge: frozenset[str] = frozenset()

    def of(self, principal: str) -> str | None:
        """The principal on the target; None where it is left behind."""
        if principal in self.table:
            return self.table[principal]
        if principal in self.drop:
            return None
        if not principal.endswith(_EVERYBODY):  # a pattern that meets everybody by chance must not move everybody
            for pattern in self.patterns:
                found = re.fullmatch(pattern.match, principal)
                if found is not None:
                    return None if pattern.to is None else found.expand(pattern.to)
        return principal

    def of_user(self, name: str) -> str | None:
        """As `of`, for the bare names in quotas and SCRAM users. Raises KferryError for a principal of another kind."""
        found = self.of(f"User:{name}")
        if found is None:
            return None
        kind, _, bare = found.partition(":")
        if kind != "User":
            raise KferryError(
                f"User:{name} is mapped to {found}, which cannot be a user of quotas or SCRAM.",
                next_step="Map it to a principal that begins with User: in access.yml.",
                kind=ErrorKind.USAGE,
            )
        return bare


def mapped(mapping: PrincipalMapping, principals: Iterable[str]) -> dict[str, str | None]:
    """Everybody's principal on the target. Raises KferryError where two would become one, or one nobody can be."""
    result: dict[str, str | None] = {}
    taken: dict[str, str] = {}
    for principal in sorted(set(principals)):
        found = mapping.of(principal)
        result[principal] = found
        if found is None:
            continue
        _check_name(principal, found)
        other = taken.setdefault(found, principal)
        if other != principal and found not in mapping.merge:
            raise KferryError(
                f"{other} and {principal} would both become {found} on the target.",
                cause="Each would get the other's rights, and what one is denied the other would be denied too.",
                next_step=f"Map one of them to another name in access.yml, or add {found} to merge there.",
                kind=ErrorKind.USAGE,
            )
    return result


def _check_name(principal: str, found: str) -> None:
    kind, colon, name = found.partition(":")
    if not colon or not kind.isalnum() or not name.strip() or "\n" in found:
        raise KferryError(
            f"{principal} would become {found!r}, which is not a principal.",
            next_step="Write a kind and a name in access.yml, such as User:billing.",
            kind=ErrorKind.USAGE,
        )
    if found.endswith(_EVERYBODY) and not principal.endswith(_EVERYBODY):
        raise KferryError(
            f"{principal} would become {found}, which is everybody.",
            cause="Its rights would be everyone's on the target.",
            next_step="Map it to one principal in access.yml.",
            kind=ErrorKind.USAGE,
        )


def pattern_fault(pattern: PrincipalPattern) -> str | None:
    """Why a pattern cannot be used; None where it can."""
    try:
        compiled = re.compile(pattern.match)
    except re.error as error:
        return f"{pattern.match!r} is not a regular expression: {error}."
    template = pattern.to or ""
    for number, name in re.findall(r"\\(?:(\d+)|g<([^>]*)>)", template):
        known = int(number or name) <= compiled.groups if (number or name).isdigit() else name in compiled.groupindex
        if not known:
            return f"{template!r} names the group {number or name!r}, which {pattern.match!r} has not."
    if re.search(r"\\(?!\d|g<|\\)", template.replace("\\\\", "")):
        return f"{template!r} has a backslash that names no group; write \\1 or \\g<name>."
    return None
