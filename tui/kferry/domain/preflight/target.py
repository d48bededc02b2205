"""Checks of the target: what is there already, and what its brokers allow."""

from __future__ import annotations

from collections.abc import Iterator

from kferry.domain.model import ClusterKind, Role, Topic
from kferry.domain.preflight.facts import PreflightFacts
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import Result, block, counted, info, listed, unknown, warn, whole

_POLICY = "cleanup.policy"
_PARTITIONS_PER_BROKER = 4000


@check(
    "target-topic-exists",
    Family.TARGET,
    "block unknown",
    why=("Copies mixed with records of unknown origin cannot be proven complete, and offsets cannot be translated."),
    fix="Delete the topic on the target, or take it out of the plan.",
)
def topic_exists(facts: PreflightFacts) -> Iterator[Result]:
    """No topic to be copied has records on the target already."""
    for topic in facts.topics:
        there = facts.target_topics.get(topic.name)
        if there is None or topic.name in facts.owned_topics:
            continue
        span = there.record_span if there.partitions else None
        if span is None:
            yield unknown(
                topic.name,
                f"{topic.name} is on the target; whether it is empty is not known",
                there.error or "Its offsets could not be read.",
                "Grant DESCRIBE and READ on it and scan again, or make sure that it is empty and waive this.",
            )
        elif span > 0 or any(part.end_offset for part in there.partitions):
            held = f"It holds {counted(span, 'record')}" if span else "It is empty now, but was written before"
            yield block(
                topic.name,
                f"{topic.name} is on the target already and was written to",
                f"{held}. Copies would be mixed with records of unknown origin, and nothing could be proven.",
                "Delete it on the target, or take it out of the plan.",
            )


@check(
    "target-partitions",
    Family.TARGET,
    "block",
    why="Keyed records would land in other partitions than their copies, and order per key is lost.",
    fix="Add the partitions that are missing on the target, or delete the topic there.",
)
def partitions(facts: PreflightFacts) -> Iterator[Result]:
    """A topic that is on the target already has as many partitions there as on the source."""
    for topic in facts.topics:
        there = facts.target_topics.get(topic.name)
        if there is None or not there.partitions or not topic.partitions:
            continue
        here, found = topic.partition_count, there.partition_count
        if here == found:
            continue
        more = found > here
        yield block(
            topic.name,
            f"{topic.name} has another number of partitions on the target",
            f"{here} on the source, {found} on the target. "
            + (
                "Keyed records of producers would land in other partitions than their copies."
                if more
                else "Copies of the missing partitions would have nowhere to go."
            ),
            "Delete it on the target: kferry makes it with the right number."
            if more or topic.name not in facts.owned_topics
            else "Wait for the migration task to add the partitions, then run preflight again.",
        )


@check(
    "target-topic-config",
    Family.TARGET,
    "warn",
    why=("Another cleanup.policy removes records that applications rely on, or keeps those they do not expect."),
    fix="Set it right on the target, or delete the topic there.",
)
def topic_config(facts: PreflightFacts) -> Iterator[Result]:
    """A topic that is on the target already is cleaned up in the same way as on the source."""
    for topic in facts.topics:
        there = facts.target_topics.get(topic.name)
        if there is None or topic.name in facts.owned_topics:
            continue
        if not same_policy(topic, there):
            yield warn(
                topic.name,
                f"{topic.name} has another cleanup.policy on the target",
                f"{topic.effective[_POLICY]} on the source, {there.effective[_POLICY]} on the target.",
                "Set it right on the target, or delete the topic there: kferry makes it as it is on the source.",
            )


def same_policy(here: Topic, there: Topic) -> bool:
    """Whether both clean up in the same way; where one does not tell, nothing speaks against it."""
    wanted, found = here.effective.get(_POLICY), there.effective.get(_POLICY)
    return not wanted or not found or set(wanted.split(",")) == set(found.split(","))


@check(
    "target-quota",
    Family.TARGET,
    "block warn",
    why=("A broker that throttles makes the copy slower than planned, and a full quota makes no topic at all."),
    fix="Raise the quota, or put the workers on its white list.",
)
def quota(facts: PreflightFacts) -> Iterator[Result]:
    """The target's quotas leave room for the topics and for the copy."""
    if facts.target is None:
        return
    configs = facts.target.cluster.broker_configs
    if configs.get("broker.quota.enabled") == "true":
        limit = configs.get("broker.quota.produce.bytes", "an unknown number of")
        yield warn(
            "target",
            "The target's brokers throttle their clients",
            f"broker.quota.enabled is true; {limit} bytes per second may be written to a broker.",
            "Put the workers on the quota's white list for the migration, or reckon with that speed and waive this.",
        )
    fresh = [topic for topic in facts.topics if topic.name not in facts.target_topics]
    for key, there, coming, noun in (
        ("cluster.quota.topic.count", len(facts.target.topics), len(fresh), "topic"),
        (
            "cluster.quota.partition.count",
            sum(topic.partition_count for topic in facts.target.topics),
            sum(topic.partition_count for topic in fresh),
            "partition",
        ),
    ):
        limit_count = whole(configs.get(key))
        if limit_count is not None and there + coming > limit_count:
            yield block(
                "target",
                f"The target has no room for all {noun}s",
                f"{key} is {limit_count}; {there} are there and {coming} would be added.",
                f"Raise {key}, or move less.",
            )


@check(
    "target-topics-missing",
    Family.TARGET,
    "info",
    why="What is not there yet cannot be looked at: rights on it and its limits show only when it is made.",
    fix="Nothing has to be done: kferry makes topics with their task; `kferry preflight fix ID` makes them now.",
)
def topics_missing(facts: PreflightFacts) -> Iterator[Result]:
    """Topics that kferry will make on the target."""
    if facts.target is None:
        return
    missing = [topic for topic in facts.topics if topic.name not in facts.target_topics and topic.partitions]
    if missing:
        yield info(
            "topics",
            f"{counted(len(missing), 'topic')} will be made on the target",
            f"{listed(topic.name for topic in missing)}:"
            f" {counted(sum(topic.partition_count for topic in missing), 'partition')}.",
            "Nothing has to be done: kferry makes them with their task, or now where this finding is fixed.",
        )


@check(
    "target-auto-create",
    Family.TARGET,
    "info",
    why="A client that is pointed to the target too early makes a topic there, with the wrong number of partitions.",
    fix="Set auto.create.topics.enable=false on the target.",
)
def auto_create(facts: PreflightFacts) -> Iterator[Result]:
    """The target makes no topics by itself."""
    if facts.default(Role.TARGET, "auto.create.topics.enable") == "true":
        yield info(
            "target",
            "The target makes topics by itself",
            "auto.create.topics.enable is true: whoever asks for a topic makes it with the brokers' defaults.",
            "Set it to false on the target until all has moved. kferry makes its topics first in any case.",
        )


@check(
    "target-replication",
    Family.TARGET,
    "block warn info",
    why="A topic that wants more copies than are made refuses every write; one with fewer is less safe than before.",
    fix="Set default.replication.factor and min.insync.replicas of the target right.",
)
def replication(facts: PreflightFacts) -> Iterator[Result]:
    """New topics of the target get the copies they need."""
    config = facts.cluster(Role.TARGET)
    if facts.target is None or not facts.topics:
        return
    if config is not None and config.kind is ClusterKind.AUTOMQ:
        wanted = [topic.name for topic in facts.topics if topic.configs.get("min.insync.replicas", "1") != "1"]
        if wanted:
            yield info(
                "topics",
                f"{counted(len(wanted), 'topic')} with min.insync.replicas, which AutoMQ sets to 1",
                f"{listed(wanted)}: AutoMQ keeps one replica, and its object storage keeps the data.",
            )
        return
    copies = whole(facts.default(Role.TARGET, "default.replication.factor"))
    needed = whole(facts.default(Role.TARGET, "min.insync.replicas")) or 1
    brokers = len(facts.target.cluster.brokers)
    if copies is None or copies < 1:
        return
    evidence = f"default.replication.factor is {copies}, min.insync.replicas {needed}, brokers {brokers}."
    if copies > brokers:
        yield block("target", "The target cannot make topics", evidence, "Lower default.replication.factor there.")
    elif needed > copies:
        yield block(
            "target",
            "Topics of the target would refuse every write",
            evidence,
            "Raise default.replication.factor on the target, or lower min.insync.replicas.",
        )
    else:
        safer = [topic.name for topic in facts.topics if (topic.replication_factor or 0) > copies]
        if safer:
            yield warn(
                "target",
                f"{counted(len(safer), 'topic')} will have fewer copies than on the source",
                f"{evidence} {listed(safer)} have more on the source.",
                "Raise default.replication.factor on the target; waive this where its storage keeps the data safe.",
                safer,
            )


@check(
    "target-partition-count",
    Family.TARGET,
    "warn",
    why="Brokers with too many partitions start slowly, elect slowly, and run out of memory under load.",
    fix="Add brokers to the target, or move less.",
)
def partition_count(facts: PreflightFacts) -> Iterator[Result]:
    """The target's brokers can carry the partitions that come."""
    if facts.target is None or not facts.target.cluster.brokers:
        return
    coming = sum(topic.partition_count for topic in facts.topics if topic.name not in facts.target_topics)
    total = sum(topic.partition_count for topic in facts.target.topics) + coming
    brokers = len(facts.target.cluster.brokers)
    if coming and total > brokers * _PARTITIONS_PER_BROKER:
        yield warn(
            "target",
            "The target would have very many partitions per broker",
            f"{total} partitions, {coming} of them new, on {counted(brokers, 'broker')}; about"
            f" {_PARTITIONS_PER_BROKER} per broker are usual.",
            "Add brokers, move in batches and watch the brokers, or waive this where they are sized for it.",
        )
