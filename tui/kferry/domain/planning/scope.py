"""What a migration leaves out, and why: internals of Kafka and its tools, and groups that read nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from kferry.domain.applications import STREAMS_INTERNAL
from kferry.domain.model import Group, GroupKind, Scan, Topic
from kferry.domain.planning.rules import LeaveOut, PlanningRules

BY_OPERATOR = "left out by the operator"

_KAFKA_INTERNAL = frozenset(
    {"__consumer_offsets", "__transaction_state", "__cluster_metadata", "__share_group_state", "__remote_log_metadata"}
)
_VENDOR_INTERNAL = re.compile(r"__(automq|auto_balancer|amazon_msk|confluent|kafka_)|_confluent[-.]")
_MIRROR_INTERNAL = re.compile(
    r"mm2-(offset-syncs|configs|offsets|status)\..+|.+\.checkpoints\.internal|(.+\.)?heartbeats\.internal"
)
_KFERRY_INTERNAL = re.compile(r"kferry-[a-z0-9]{6}-.+")
_CONNECT_INTERNAL = re.compile(r"(.*[-_.])?connect([-_.].*)?[-_.](configs?|offsets?|status(es)?)", re.IGNORECASE)
_THROW_AWAY_GROUP = re.compile(r"console-consumer-[0-9]+")


def is_machinery(topic: Topic) -> bool:
    """Whether the topic belongs to Kafka itself, its vendor, MirrorMaker or kferry: never a user's data."""
    return (
        topic.is_internal
        or topic.name in _KAFKA_INTERNAL
        or _VENDOR_INTERNAL.match(topic.name) is not None
        or topic.name == "heartbeats"
        or _MIRROR_INTERNAL.fullmatch(topic.name) is not None
        or _KFERRY_INTERNAL.fullmatch(topic.name) is not None
    )


def never_copied(topic_name: str) -> str | None:
    """Why MirrorMaker never copies a topic of this name, even if it is listed; None where it does."""
    if topic_name.startswith("__"):
        return "MirrorMaker never copies a topic whose name starts with two underscores"
    if topic_name.startswith("."):
        return "MirrorMaker never copies a topic whose name starts with a dot"
    for ending in ("-internal", ".internal"):
        if topic_name.endswith(ending):
            return f'MirrorMaker never copies a topic whose name ends in "{ending}"'
    return None


def streams_application(topic_name: str, group_ids: Collection[str]) -> str | None:
    """The Kafka Streams application whose changelog or repartition topic this is; None where it is neither."""
    if STREAMS_INTERNAL.fullmatch(topic_name) is None:
        return None
    owners = [group_id for group_id in group_ids if topic_name.startswith(f"{group_id}-")]
    return max(owners, key=len) if owners else None


def topic_reason(topic: Topic, streams_groups: Collection[str] = ()) -> str | None:
    """Why a topic stays behind; None where it moves."""
    name = topic.name
    if _KFERRY_INTERNAL.fullmatch(name):
        return "made by kferry itself"
    if name == "heartbeats" or _MIRROR_INTERNAL.fullmatch(name):
        return "an internal topic of MirrorMaker"
    if is_machinery(topic):
        return "an internal topic of the source cluster"
    if topic.is_compacted and _CONNECT_INTERNAL.fullmatch(name):
        return "holds the state of a Kafka Connect cluster, which makes its own on the target"
    application = streams_application(name, streams_groups)
    if application is not None:
        return f"state of the Kafka Streams application {application}, which rebuilds it on the target"
    cause = never_copied(name)
    return f"{cause}; rename it at the source or move it by other means" if cause else None


def decided_of(left_out: Mapping[str, str]) -> dict[str, str]:
    """What of `Plan.left_out` the operator left out by hand; the planner's own reasons may no longer be true."""
    return {key: why for key, why in left_out.items() if why == BY_OPERATOR or why.startswith(f"{BY_OPERATOR}:")}


def group_key(group_id: str) -> str:
    """The key of a group in `Plan.left_out`; it has a space, so that no topic can have the same one."""
    return f"group {group_id}"


def group_reason(group: Group, left_out: Mapping[str, str], known_topics: Collection[str]) -> str | None:
    """Why a group stays behind; None where it moves with its topics."""
    if _THROW_AWAY_GROUP.fullmatch(group.group_id):
        return "the throw-away group of a console consumer"
    if group.error and not group.topics:
        return f"could not be read: {group.error}"
    if group.kind is GroupKind.SIMPLE and not group.committed:
        return "a simple consumer without committed offsets: there is no position to move"
    if not group.topics:
        return "has neither committed offsets nor assigned partitions"
    existing = [topic for topic in group.topics if topic in known_topics]
    if not existing:
        return "all topics it read are gone from the source"
    if all(topic in left_out for topic in existing):
        return "all topics it reads stay behind"
    return None


def left_out_of(
    scan: Scan, rules: PlanningRules | None = None, *, decided: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Everything of a scan that stays behind, with the reason: by its nature, or by the operator's rules.

    `decided` is what the operator left out of a plan by hand, keyed like `Plan.left_out`.
    """
    rules, decided = rules or PlanningRules(), decided or {}
    # any group may be a Streams application: older protocols do not tell
    applications = {group.group_id for group in scan.groups}
    reasons: dict[str, str] = {}
    for topic in sorted(scan.topics, key=lambda one: one.name):
        reason = (
            topic_reason(topic, applications) or decided.get(topic.name) or _by_rule(rules.leaves_out_topic(topic.name))
        )
        if reason is not None:
            reasons[topic.name] = reason
    known = {topic.name for topic in scan.topics}
    topics_left_out = dict(reasons)
    for group in sorted(scan.groups, key=lambda one: one.group_id):
        reason = (
            group_reason(group, topics_left_out, known)
            or decided.get(group_key(group.group_id))
            or _by_rule(rules.leaves_out_group(group.group_id))
            or _cut(rules, group, topics_left_out, known)
        )
        if reason is not None:
            reasons[group_key(group.group_id)] = reason
    return reasons


def _by_rule(rule: LeaveOut | None) -> str | None:
    if rule is None:
        return None
    return f"left out by the operator's rules: {rule.why}" if rule.why else "left out by the operator's rules"


def _cut(rules: PlanningRules, group: Group, left_out: Mapping[str, str], known: Collection[str]) -> str | None:
    """Why a group that the operator cut stays behind; None where it is not cut, or moves with a topic's batch."""
    cut = rules.cut(group.group_id)
    if cut is None or (cut.stays_with in known and cut.stays_with not in left_out):
        return None
    why = f" ({cut.why})" if cut.why else ""
    return f"cut by the operator{why}: it reads from both clusters while its topics move, kferry moves no offsets of it"
