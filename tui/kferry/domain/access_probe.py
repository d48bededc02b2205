"""Which rights of a principal are worth a probe, and what the answers mean against what its ACLs promise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kferry.domain.access import AclEntry
from kferry.domain.access_mapping import PrincipalMapping
from kferry.domain.access_scope import AccessScope
from kferry.domain.acl_evaluation import ANY, CLUSTER_NAME, AclIndex, Question, evaluate, is_for

MAX_QUESTIONS = 500
# Appended to a prefix, to have a name that only the prefix covers.
EXAMPLE = "kferry-probe"
# Asked of everything that the principal has any right on; other rights only where an ACL names them.
_ALWAYS = {"topic": ("describe", "read", "write"), "group": ("describe", "read"), "transactional_id": ("write",)}
_NAMED = {
    "topic": ("create", "alter", "delete", "describe_configs", "alter_configs"),
    "group": ("delete",),
    "transactional_id": (),
    "cluster": ("idempotent_write", "describe", "create", "alter", "describe_configs", "alter_configs"),
}


@dataclass(frozen=True, slots=True)
class Right:
    """One right to be probed. `expected` is what the ACLs that it is measured by say; None = they do not."""

    resource: str
    name: str
    operation: str
    expected: bool | None
    because: str


@dataclass(frozen=True, slots=True)
class ProbedRight:
    """What was found. `is_proven`: the cluster answered to the principal itself; else it is computed from ACLs."""

    resource: str
    name: str
    operation: str
    allowed: bool | None
    expected: bool | None
    is_proven: bool
    words: str

    @property
    def is_missing(self) -> bool:
        """A right that there should be, and that is not there."""
        return self.expected is True and self.allowed is False

    @property
    def is_more(self) -> bool:
        """A right that is there without an ACL that promises it."""
        return self.expected is False and self.allowed is True


def sources_of(mapping: PrincipalMapping, principal: str, known: Iterable[str]) -> tuple[str, ...]:
    """Those of the source's principals who become this one on the target."""
    return tuple(sorted(name for name in set(known) if mapping.of(name) == principal))


def rights_to_probe(
    entries: Sequence[AclEntry],
    principals: Sequence[str],
    scope: AccessScope,
    topics: Iterable[str] = (),
    groups: Iterable[str] = (),
) -> list[Right]:
    """Every right of these principals that matters here, with what `entries` say about it.

    `topics` and `groups` are names that there are, for where the scope is everything.
    """
    mine = [entry for entry in entries if any(is_for(entry, one) for one in principals)]
    index, own = AclIndex(entries), AclIndex(mine)
    names = {
        "topic": _names(scope.topics, topics, mine, "topic"),
        "group": _names(scope.groups, groups, mine, "group"),
        "transactional_id": _names(frozenset(), (), mine, "transactional_id"),
    }
    result: list[Right] = []
    for resource, known in names.items():
        for name in known:
            about = own.covering(resource, name)
            if not any(entry.permission == "allow" or entry.principal in principals for entry in about):
                continue
            named = {entry.operation for entry in about}
            operations = [*_ALWAYS[resource], *(one for one in _NAMED[resource] if one in named)]
            if len(result) >= MAX_QUESTIONS:
                break
            result += [_right(index, principals, resource, name, operation) for operation in operations]
    on_cluster = {entry.operation for entry in mine if entry.resource == "cluster"}
    writes = any(right.resource == "topic" and right.operation == "write" and right.expected for right in result)
    for operation in _NAMED["cluster"]:
        if operation in on_cluster or (operation == "idempotent_write" and writes):
            right = _right(index, principals, "cluster", CLUSTER_NAME, operation)
            # brokers from 2.8 on let whoever may write to some topic do this too
            is_open = operation == "idempotent_write" and right.expected is not True
            result.append(Right(*_named(right), None, right.because) if is_open else right)
    return result[:MAX_QUESTIONS]


def _named(right: Right) -> tuple[str, str, str]:
    return right.resource, right.name, right.operation


def _names(scope: frozenset[str] | None, there: Iterable[str], mine: Sequence[AclEntry], resource: str) -> list[str]:
    """Names to ask about: those in scope; and for everything, those that are named or there, and one by each prefix."""
    if scope:
        return sorted(scope)
    literal = {e.name for e in mine if e.resource == resource and e.pattern == "literal" and e.name != ANY}
    if scope is not None and resource != "transactional_id":
        return []
    prefixes = {e.name for e in mine if e.resource == resource and e.pattern == "prefixed"}
    known = literal | set(there)
    examples = {prefix + EXAMPLE for prefix in prefixes if not any(name.startswith(prefix) for name in known)}
    if resource == "transactional_id" and any(
        e.name == ANY and e.pattern == "literal" and e.resource == resource for e in mine
    ):
        examples.add(EXAMPLE)
    return sorted(known | examples)


def _right(entries: AclIndex, principals: Sequence[str], resource: str, name: str, operation: str) -> Right:
    verdicts = [evaluate(entries, Question(one, resource, name, operation)) for one in principals]
    best = next((verdict for verdict in verdicts if verdict.allowed), verdicts[0])
    if best.depends_on_host:
        return Right(resource, name, operation, None, best.words)
    return Right(resource, name, operation, best.allowed, best.words)


def computed(rights: Iterable[Right], entries: Sequence[AclEntry], principal: str) -> list[ProbedRight]:
    """What the ACLs of the cluster itself say of these rights: no proof, since super users have no ACLs."""
    index = AclIndex(entries)
    result: list[ProbedRight] = []
    for right in rights:
        verdict = evaluate(index, Question(principal, right.resource, right.name, right.operation))
        allowed = None if verdict.depends_on_host else verdict.allowed
        words = f"computed from the ACLs, not proven: {verdict.words}"
        result.append(ProbedRight(*_named(right), allowed, right.expected, False, words))
    return result


def proven(right: Right, allowed: bool | None, words: str) -> ProbedRight:
    """What the cluster answered to the principal."""
    if allowed is None:
        words = f"not proven: {words}"
    return ProbedRight(*_named(right), allowed, right.expected, allowed is not None, words)


def summary(found: Iterable[ProbedRight]) -> Mapping[str, int]:
    """How many rights were proven, are missing, are more than promised, or stay unknown."""
    items = list(found)
    return {
        "asked": len(items),
        "proven": sum(1 for item in items if item.is_proven),
        "allowed": sum(1 for item in items if item.allowed is True),
        "denied": sum(1 for item in items if item.allowed is False),
        "unknown": sum(1 for item in items if item.allowed is None),
        "missing": sum(1 for item in items if item.is_missing),
        "more": sum(1 for item in items if item.is_more),
    }
