"""What ACLs allow a principal, by Kafka's own rules: any deny beats every allow, and without an allow there is nothing.

Super users stand in the brokers' settings, not in ACLs: that one may do everything is never known here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from kferry.domain.access import AclEntry

ANY = "*"
CLUSTER_NAME = "kafka-cluster"
_ALL = "all"
# An allow of one of these on a resource carries the right with it; a deny is about itself alone.
_CARRIERS = {
    "describe": ("read", "write", "delete", "alter"),
    "describe_configs": ("alter_configs",),
}


class Answer(StrEnum):
    """`nothing_said`: no ACL at all covers the resource, so the brokers' allow.everyone.if.no.acl.found decides."""

    ALLOWED = "allowed"
    DENIED = "denied"
    NOT_ALLOWED = "not allowed"
    NOTHING_SAID = "nothing said"


@dataclass(frozen=True, slots=True)
class Question:
    """May `principal`, coming from `host` (None = from some host that no ACL names), do this?"""

    principal: str
    resource: str
    name: str
    operation: str
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer and the ACL it rests on. `depends_on_host`: it would differ for clients on other hosts."""

    answer: Answer
    because: AclEntry | None = None
    depends_on_host: bool = False

    @property
    def allowed(self) -> bool | None:
        """None where the brokers' settings decide."""
        if self.answer is Answer.NOTHING_SAID:
            return None
        return self.answer is Answer.ALLOWED

    @property
    def words(self) -> str:
        host = "; it depends on the client's host" if self.depends_on_host else ""
        if self.because is not None:
            verb = "allowed" if self.answer is Answer.ALLOWED else "denied"
            return f"{verb} by {acl_words(self.because)}{host}"
        if self.answer is Answer.NOTHING_SAID:
            return f"no ACL covers it: allow.everyone.if.no.acl.found of the brokers decides{host}"
        return f"no ACL allows it{host}"


def acl_words(entry: AclEntry) -> str:
    """An ACL in a few words: `allow READ on topic shop.* (prefix) for User:app from any host`."""
    where = "the cluster" if entry.resource == "cluster" else f"{entry.resource.replace('_', ' ')} {entry.name}"
    pattern = " (prefix)" if entry.pattern == "prefixed" else ""
    host = "" if entry.host == ANY else f" from {entry.host}"
    return f"{entry.permission} {entry.operation.upper()} on {where}{pattern} for {entry.principal}{host}"


def covers(entry: AclEntry, resource: str, name: str) -> bool:
    """Whether an ACL is about this resource. `*` as a literal name stands for every name; in a prefix it is a star."""
    if entry.resource != resource:
        return False
    if entry.pattern == "prefixed":
        return name.startswith(entry.name)
    return entry.name in (ANY, name)


class AclIndex:
    """ACLs by what they are about, so that those of one name are found without looking at all."""

    def __init__(self, entries: Iterable[AclEntry]) -> None:
        self._by_name: dict[tuple[str, str, str], list[AclEntry]] = {}
        for entry in entries:
            self._by_name.setdefault((entry.resource, entry.pattern, entry.name), []).append(entry)

    def covering(self, resource: str, name: str) -> list[AclEntry]:
        """Those that are about this resource, as `covers` says."""
        found = list(self._by_name.get((resource, "literal", name), ()))
        if name != ANY:
            found += self._by_name.get((resource, "literal", ANY), ())
        for end in range(len(name) + 1):
            found += self._by_name.get((resource, "prefixed", name[:end]), ())
        return found


def is_for(entry: AclEntry, principal: str) -> bool:
    """Whether an ACL is about this principal: itself, or everybody of its kind."""
    kind = principal.partition(":")[0]
    return entry.principal in (principal, f"{kind}:{ANY}")


def carries(granted: str, wanted: str) -> bool:
    """Whether an allow of one operation allows the other too."""
    return granted in (_ALL, wanted) or granted in _CARRIERS.get(wanted, ())


def evaluate(entries: Iterable[AclEntry] | AclIndex, question: Question) -> Verdict:
    """The verdict of a standard authorizer, and the ACL that decides. An index is for many questions."""
    if isinstance(entries, AclIndex):
        on_resource = entries.covering(question.resource, question.name)
    else:
        on_resource = [entry for entry in entries if covers(entry, question.resource, question.name)]
    if not on_resource:
        return Verdict(Answer.NOTHING_SAID)
    mine = [entry for entry in on_resource if is_for(entry, question.principal)]
    denies = [e for e in mine if e.permission == "deny" and e.operation in (_ALL, question.operation)]
    allows = [e for e in mine if e.permission == "allow" and carries(e.operation, question.operation)]
    here = (ANY,) if question.host is None else (ANY, question.host)
    denied = next((entry for entry in denies if entry.host in here), None)
    if denied is not None:
        return Verdict(Answer.DENIED, denied)
    allowed = next((entry for entry in allows if entry.host in here), None)
    if question.host is not None:
        return Verdict(Answer.ALLOWED if allowed else Answer.NOT_ALLOWED, allowed)
    some_denied = any(entry.host != ANY for entry in denies)
    if allowed is not None:
        return Verdict(Answer.ALLOWED, allowed, depends_on_host=some_denied)
    return Verdict(Answer.NOT_ALLOWED, None, depends_on_host=bool(allows))
