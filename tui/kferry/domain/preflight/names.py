"""Checks of topic names: those MirrorMaker never copies, renames, or that two clusters cannot hold together."""

from __future__ import annotations

from collections.abc import Iterator

from kferry.domain.connectors import looks_like_heartbeats
from kferry.domain.model import Topic
from kferry.domain.planning import violations
from kferry.domain.planning.scope import is_machinery, never_copied, streams_application
from kferry.domain.preflight.facts import PreflightFacts
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import Result, block, counted, info, listed, warn

_HEARTBEATS = "heartbeats"
_MAX_NAME = 249


@check(
    "name-never-copied",
    Family.NAMES,
    "block warn",
    why="MirrorMaker never copies such a topic, even if it is listed, and says nothing.",
    fix="Rename the topic at the source, or leave it out and move it by other means.",
)
def copied(facts: PreflightFacts) -> Iterator[Result]:
    """No topic of an application has a name that MirrorMaker never copies."""
    if facts.source is None:
        return
    applications = {group.group_id for group in facts.source.groups}
    for topic in facts.source.topics:
        cause = None if is_machinery(topic) else never_copied(topic.name)
        if cause is None or streams_application(topic.name, applications):
            continue
        span = topic.record_span
        readers = [group.group_id for group in facts.source.groups if topic.name in group.topics]
        evidence = (
            f"{cause}. It has {counted(span, 'record') if span is not None else 'an unknown number of records'}"
            f" and {f'is read by {listed(readers)}' if readers else 'no consumer group'}."
        )
        if facts.plan is not None and topic.name in facts.plan.left_out:
            yield warn(
                topic.name,
                f"{topic.name} stays behind: its name is never copied",
                evidence,
                "Rename the topic at the source and plan again, or waive this if it may stay behind.",
            )
        else:
            yield block(
                topic.name,
                f"{topic.name} can never be copied under its name",
                evidence,
                "Rename the topic at the source, or plan without it (the planner leaves it out) and move it otherwise.",
            )


@check(
    "name-heartbeats",
    Family.NAMES,
    "info",
    why="MirrorMaker takes any topic whose name ends in heartbeats for its own and gives it a prefix.",
    fix="Nothing has to be done: a transform (RegexRouter) in the source connector gives the name back.",
)
def heartbeats(facts: PreflightFacts) -> Iterator[Result]:
    """Topics that MirrorMaker would rename because it takes them for its own heartbeats."""
    found = [topic.name for topic in facts.topics if topic.name.endswith("heartbeats")]
    if found:
        yield info(
            "topics",
            f"{counted(len(found), 'topic')} would be renamed by MirrorMaker; kferry puts the name right",
            f"{listed(found)}: names that end in heartbeats are taken for MirrorMaker's own and get a prefix.",
            "Nothing has to be done: a transform in the source connector gives them their own name back.",
        )


@check(
    "name-is-heartbeats",
    Family.NAMES,
    "block warn",
    why=(
        "MirrorMaker 3.9 copies a topic named heartbeats under another name whatever it is told, and writes its own "
        "heartbeats to a topic of this name."
    ),
    fix="Give the topic another name at the source, or delete it there.",
)
def is_heartbeats(facts: PreflightFacts) -> Iterator[Result]:
    """No application has a topic named exactly heartbeats, on either side."""
    there = facts.source_topics.get(_HEARTBEATS)
    if there is not None:
        readers = [g.group_id for g in facts.source.groups if _HEARTBEATS in g.topics] if facts.source else []
        read_by = f"read by {listed(readers)}" if readers else "read by no group"
        if not _is_mirrors_own(there):
            yield block(
                _HEARTBEATS,
                "The source has a topic of an application that is named heartbeats",
                f"{counted(there.partition_count, 'partition')}, {_cleanup(there)}, {read_by}; MirrorMaker's own"
                " has one compacted partition. Leaving it out of the plan does not help: it would be copied as"
                " <alias>.heartbeats, and could be mixed with kferry's own heartbeats.",
                "Move it to another name at the source and let its applications use that, or delete it there if"
                " nobody needs it.",
            )
        elif readers:
            yield warn(
                _HEARTBEATS,
                "The source's topic heartbeats may belong to an application",
                f"It looks like MirrorMaker's own, but is {read_by}.",
                "Ask the owners of these groups. If it is an application's, give it another name; else waive this.",
            )
    existing = facts.target_topics.get(_HEARTBEATS)
    if existing is not None and not facts.heartbeats_are_ours and not _is_mirrors_own(existing):
        yield block(
            f"target {_HEARTBEATS}",
            "The target has a topic of an application that is named heartbeats",
            f"{counted(existing.partition_count, 'partition')}, {_cleanup(existing)}. kferry's MirrorHeartbeat would"
            " write into it.",
            "Move it to another name on the target, or delete it there if nobody needs it.",
        )


def _is_mirrors_own(topic: Topic) -> bool:
    """As MirrorMaker makes it: one partition, compacted."""
    return topic.partition_count == 1 and topic.is_compacted


def _cleanup(topic: Topic) -> str:
    return f"cleanup.policy {topic.effective.get('cleanup.policy', 'not known')}"


@check(
    "name-too-long",
    Family.NAMES,
    "block",
    why=f"Kafka takes at most {_MAX_NAME} characters, and MirrorMaker puts its alias before names it renames.",
    fix="Give the topic a shorter name at the source.",
)
def too_long(facts: PreflightFacts) -> Iterator[Result]:
    """The name of every topic fits, also with the prefix that MirrorMaker gives to heartbeats."""
    batch_of = {name: batch.name for batch in facts.plan.batches for name in batch.topics} if facts.plan else {}
    for topic in facts.topics:
        length, why = len(topic.name), "its name"
        if looks_like_heartbeats(topic.name):
            alias = f"kferry-{facts.migration_id}-{batch_of.get(topic.name, '')}-1-src."
            length, why = length + len(alias), f"its name with the prefix {alias}, under which MirrorMaker makes it,"
        if length > _MAX_NAME:
            yield block(
                topic.name,
                f"The name of {topic.name} is too long",
                f"{why} has {length} characters; Kafka takes {_MAX_NAME}.",
                "Give the topic a shorter name at the source, or its batch in the plan.",
            )


@check(
    "name-collides",
    Family.NAMES,
    "block",
    why="Kafka refuses a topic whose name differs from another only by dots and underscores.",
    fix="Delete or rename the other topic on the target.",
)
def collides(facts: PreflightFacts) -> Iterator[Result]:
    """No topic of the target has a name that differs only by dots and underscores."""
    folded = {name.replace(".", "_"): name for name in sorted(facts.target_topics)}
    for topic in facts.topics:
        other = folded.get(topic.name.replace(".", "_"))
        if other is not None and other != topic.name and topic.name not in facts.target_topics:
            yield block(
                topic.name,
                f"{topic.name} cannot be made on the target: a name like it is there",
                f"The target has {other}; Kafka refuses names that differ only by dots and underscores.",
                f"Delete or rename {other} on the target.",
            )


@check(
    "plan-complete",
    Family.PLAN,
    "warn",
    why=("What is read or written together has to switch together, or an application works on two clusters at once."),
    fix="Move what belongs together into one batch, or plan again.",
)
def plan_complete(facts: PreflightFacts) -> Iterator[Result]:
    """The plan splits nothing that belongs together and knows all topics and groups of the last scan."""
    if facts.plan is None or facts.source is None:
        return
    for subject, sentence in violations(facts.plan, facts.source, facts.rules):
        yield warn(
            subject,
            "The plan and the source do not fit together",
            sentence,
            "Move what belongs together into one batch, or plan again; waive this if it is meant so.",
        )


@check(
    "streams-internal",
    Family.NAMES,
    "info",
    why="Copied state of Kafka Streams does not fit the offsets of the target, so it is rebuilt there.",
    fix="Drain the applications and let them rebuild their state.",
)
def streams_internal(facts: PreflightFacts) -> Iterator[Result]:
    """State topics of Kafka Streams that stay behind, because the application rebuilds them."""
    if facts.source is None:
        return
    applications = {group.group_id for group in facts.source.groups}
    moving = {topic.name for topic in facts.topics}
    found = {
        name: owner
        for name in facts.source_topics
        if name not in moving and (owner := streams_application(name, applications)) is not None
    }
    if found:
        yield info(
            "topics",
            f"{counted(len(found), 'state topic')} of Kafka Streams stay behind",
            f"{listed(found)}: state of {listed(set(found.values()))}.",
            "Drain these applications and let them rebuild their state on the target.",
        )
