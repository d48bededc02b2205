"""Which ACLs of the source concern what is moved, and for whom; each that does not has its reason."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from kferry.domain.access import AclEntry

ANY = "*"
_TOKENS = ("delegation_token", "user")


@dataclass(frozen=True, slots=True)
class AccessScope:
    """The topics and groups that move; None = all there are."""

    topics: frozenset[str] | None = None
    groups: frozenset[str] | None = None

    @property
    def is_all(self) -> bool:
        return self.topics is None and self.groups is None

    def names(self, resource: str) -> frozenset[str] | None:
        return self.topics if resource == "topic" else self.groups

    def meets(self, entry: AclEntry) -> bool:
        """Whether a topic or group ACL covers something that moves."""
        names = self.names(entry.resource)
        if names is None or (entry.pattern == "literal" and entry.name == ANY):
            return True
        if entry.pattern == "prefixed":
            ordered = _ordered(names)
            at = bisect_left(ordered, entry.name)
            return at < len(ordered) and ordered[at].startswith(entry.name)
        return entry.name in names

    def reaches_beyond(self, entry: AclEntry) -> bool:
        """Whether it may cover more than what moves."""
        names = self.names(entry.resource) if entry.resource in ("topic", "group") else None
        return names is not None and (entry.pattern == "prefixed" or entry.name == ANY)


@lru_cache(maxsize=4)
def _ordered(names: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(names))


class Sieve:
    """`whom` maps each principal of the source to the target's (None = left behind); `own` are kferry's."""

    def __init__(self, scope: AccessScope, whom: Mapping[str, str | None], own: frozenset[str]) -> None:
        self._scope = scope
        self._whom = whom
        self._own = own

    def moved(self, entry: AclEntry) -> AclEntry:
        """The ACL as it would be on the target."""
        return replace(entry, principal=self._whom.get(entry.principal) or entry.principal)

    def principals(self, entries: Iterable[AclEntry]) -> frozenset[str]:
        """Those of the source who have an ACL on a topic or group that moves."""
        return frozenset(
            entry.principal
            for entry in entries
            if entry.resource in ("topic", "group") and not self._never(entry) and self._scope.meets(entry)
        )

    def reason(self, entry: AclEntry, moving: frozenset[str]) -> str:
        """Why an ACL stays behind; "" where it moves."""
        never = self._never(entry)
        if never:
            return never
        if entry.resource in ("topic", "group"):
            if self._scope.meets(entry):
                return ""
            return f"{entry.resource} {entry.name} covers nothing that plan.yml moves"
        return "" if self._scope.is_all or entry.principal in moving else self._idle(entry.principal)

    def user_reason(self, principal: str, moving: frozenset[str] | None) -> str:
        """Why a user's quota or login stays behind; `moving` None = it is not known who has rights on what."""
        if principal in self._own:
            return "kferry's own account"
        if self._scope.is_all or moving is None or principal in moving:
            return ""
        return self._idle(principal)

    def is_in_scope(self, entry: AclEntry) -> bool:
        """Whether an ACL of the target is about what moves, and not kferry's own."""
        if entry.principal in self._own or entry.resource in _TOKENS:
            return False
        return self._scope.meets(entry) if entry.resource in ("topic", "group") else True

    def _never(self, entry: AclEntry) -> str:
        if entry.resource in _TOKENS:
            return "delegation tokens do not move: their owners get new ones on the target"
        if entry.principal in self._own:
            return "kferry's own right: see kferry acls"
        if self._whom.get(entry.principal, entry.principal) is None:
            return "left behind by access.yml"
        if is_fence(entry):
            return "looks like the fence of a cutover: on the target it would cut off every producer"
        if entry.resource == "cluster" and entry.operation == "cluster_action":
            return "is for brokers among each other"
        if entry.resource == "topic" and entry.pattern == "literal" and entry.name.startswith("__"):
            return "is about an internal topic of the source"
        known = ("topic", "group", "cluster", "transactional_id")
        if entry.resource not in known or " " in entry.operation or " " in entry.permission or " " in entry.pattern:
            return "is of a kind that this version of kferry does not know"
        return ""

    @staticmethod
    def _idle(principal: str) -> str:
        return f"{principal} has no right on a topic or group that plan.yml moves"


def is_fence(entry: AclEntry) -> bool:
    """Whether it is what keeps everybody from writing to one topic: what owners set on the source at a cutover."""
    return (
        entry.permission == "deny"
        and entry.operation == "write"
        and entry.resource == "topic"
        and entry.pattern == "literal"
        and entry.principal.endswith(f":{ANY}")
        and entry.host == ANY
    )
