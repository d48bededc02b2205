"""Checks of what kferry's principals may do on both clusters. MirrorMaker stays silent where a right is missing."""

from __future__ import annotations

from collections.abc import Iterator

from kferry.domain.model import Capability, Role, Scan, Topic
from kferry.domain.preflight.facts import PreflightFacts
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import Result, block, info, listed, unknown, warn

_REFUSED = ("authoriz", "denied", "not allowed", "no right")
# checks of their own know whether these matter, and do without where they can
_JUDGED_ELSEWHERE = ("transactional_ids", "transactions", "producers", "hanging_transactions", "log_dirs")
_NEEDS_CREATE = ("CREATE", "ALL")


@check(
    "rights-capabilities",
    Family.RIGHTS,
    "warn unknown info",
    why="What a cluster does not answer, no check can judge.",
    fix="Grant the right, or waive and reckon with less certain checks.",
)
def capabilities(facts: PreflightFacts) -> Iterator[Result]:
    """Everything kferry asked of a cluster was answered."""
    for role in Role:
        scan = facts.scan(role)
        if scan is None:
            continue
        for name, capability in sorted(scan.cluster.capabilities.items()):
            if name in _JUDGED_ELSEWHERE:
                continue
            subject, words = f"{role.value} {name}", name.replace("_", " ")
            if capability is Capability.DENIED:
                yield warn(
                    subject,
                    f"The {role.value} cluster denies kferry: {words}",
                    _noted(scan, words) or "It answered that the right is missing.",
                    "Grant it as the page on rights says, or waive this and reckon with less certain checks.",
                )
            elif capability is Capability.UNKNOWN:
                yield unknown(
                    subject,
                    f"It is not known whether the {role.value} cluster allows: {words}",
                    _noted(scan, words) or "It was asked, but the answer says neither yes nor no.",
                    "Make sure that the right is granted, then waive this.",
                )
            elif capability is Capability.UNSUPPORTED:
                yield info(
                    subject,
                    f"The {role.value} cluster does not offer: {words}",
                    _noted(scan, words) or "Its version does not have it, or it is switched off.",
                    "Nothing has to be done; checks that need it say so.",
                )


def _noted(scan: Scan, words: str) -> str | None:
    """What the scan noted of a question that has no answer: "ACLs are not available: ..."."""
    return next((note for note in scan.notes if words in note.partition(" are not ")[0].lower()), None)


@check(
    "rights-topics",
    Family.RIGHTS,
    "block unknown",
    why="MirrorMaker copies nothing of a topic that it may not read, and says nothing.",
    fix="Grant READ, DESCRIBE and DESCRIBE_CONFIGS, or bring back the partitions' leaders.",
)
def topics(facts: PreflightFacts) -> Iterator[Result]:
    """Every topic that is to move could be read in full."""
    for topic in facts.topics:
        if topic.error and any(word in topic.error.lower() for word in _REFUSED):
            yield block(
                topic.name,
                f"kferry may not read {topic.name}",
                topic.error,
                f"Grant READ, DESCRIBE and DESCRIBE_CONFIGS on {topic.name}: without them MirrorMaker copies"
                " nothing and says nothing.",
            )
        elif topic.error or not _is_complete(topic):
            yield unknown(
                topic.name,
                f"{topic.name} could not be read in full",
                topic.error or "Some of its offsets are not known.",
                "Look whether all its partitions have a leader, then scan again.",
            )


def _is_complete(topic: Topic) -> bool:
    return bool(topic.partitions) and topic.record_span is not None


@check(
    "rights-cluster",
    Family.RIGHTS,
    "warn unknown info",
    why=(
        "Without the right to make topics the target brokers make them, with another number of "
        "partitions, or nobody does."
    ),
    fix="Grant CREATE on the cluster or on the names that move.",
)
def cluster(facts: PreflightFacts) -> Iterator[Result]:
    """kferry may make topics on the target."""
    if facts.target is None:
        return
    creates = [
        allowed for rule, allowed in (facts.granted.get(Role.TARGET) or {}).items() if rule.operation == "CREATE"
    ]
    if creates and None not in creates:
        return  # asked name by name: rights-missing tells
    if Role.TARGET not in facts.rights:
        yield info(
            "target",
            "The rights on the target were not asked for",
            "Whether kferry may make topics there shows when it makes the first one.",
            "Grant CREATE, WRITE, READ, ALTER and ALTER_CONFIGS on the topics that move.",
        )
        return
    allowed = facts.rights[Role.TARGET]
    if allowed is None:
        yield unknown(
            "target",
            "The rights on the target are not known",
            "Its brokers do not tell what kferry may do.",
            "Make sure that kferry may make and change topics there, then waive this.",
        )
    elif not any(name in allowed for name in _NEEDS_CREATE):
        yield warn(
            "target",
            "kferry may not make topics anywhere on the target",
            f"On the cluster it may: {listed(allowed) or 'nothing'}.",
            "Grant CREATE on the cluster, or on the names of all topics that move, and waive this.",
        )
