"""Checks of the records: their size, their age against the target's retention, and compaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kferry.domain.model import Role, Topic
from kferry.domain.preflight.facts import PreflightFacts, release
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import (
    Result,
    block,
    counted,
    duration,
    info,
    listed,
    megabytes,
    unknown,
    warn,
    whole,
)

BEFORE_KEYS = ("message.timestamp.before.max.ms", "message.timestamp.difference.max.ms")
AFTER_KEYS = ("message.timestamp.after.max.ms", "message.timestamp.difference.max.ms")
_CLOCKS_DIFFER_MS = 60_000
_KNOWS_ZSTD = (2, 1)
_WEEK_MS = 604_800_000  # Kafka's own default of log.retention.ms
_HEAP_SHARE = 16  # fetched, queued and batched copies of the largest record must all fit


@check(
    "record-size",
    Family.RECORDS,
    "block warn unknown info",
    why="One record that the target refuses stops its connector task, with all its partitions.",
    fix="Raise max.message.bytes on the target, or heap_bytes in kferry.yml.",
)
def size(facts: PreflightFacts) -> Iterator[Result]:
    """Every record that the source accepts is accepted by the target and fits into a worker."""
    unmeasured = []
    raised: list[str] = []
    default = whole(facts.target.cluster.broker_configs.get("message.max.bytes")) if facts.target else None
    for topic in facts.topics:
        largest = whole(topic.effective.get("max.message.bytes"))
        if largest is None:
            unmeasured.append(topic.name)
            continue
        there = facts.target_topics.get(topic.name)
        accepted = whole(there.effective.get("max.message.bytes")) if there is not None else None
        if accepted is not None and accepted < largest:
            yield block(
                topic.name,
                f"{topic.name} may hold records that the target refuses",
                f"max.message.bytes is {largest} on the source and {accepted} on the target.",
                f"Set max.message.bytes of {topic.name} on the target to {largest}.",
            )
        elif there is None and default is not None and default < largest:
            raised.append(topic.name)
        if largest * _HEAP_SHARE > facts.settings.heap_bytes:
            yield warn(
                topic.name,
                f"The largest records of {topic.name} may not fit into a worker",
                f"max.message.bytes is {largest}; the heap of a worker is {megabytes(facts.settings.heap_bytes)}.",
                f"Set heap_bytes to {largest * _HEAP_SHARE} or more in kferry.yml.",
            )
    if raised:
        yield info(
            "topics",
            f"{counted(len(raised), 'topic')} may hold records larger than the target's default",
            f"{listed(raised)}; the target's message.max.bytes is {default}.",
            "Nothing has to be done: kferry makes these topics with the source's max.message.bytes.",
        )
    if unmeasured:
        yield unknown(
            "topics",
            f"The size limit of {counted(len(unmeasured), 'topic')} is not known",
            f"max.message.bytes of {listed(unmeasured)} could not be read.",
            "Grant DESCRIBE_CONFIGS on these topics and scan again.",
            unmeasured,
        )


@check(
    "record-age",
    Family.RECORDS,
    "warn unknown info",
    why="The target removes records older than its retention within seconds after they land.",
    fix="Let kferry hold the target's retention while it copies (retention_hold).",
)
def age(facts: PreflightFacts) -> Iterator[Result]:
    """Records are not so old that the target would remove them as they land."""
    held, ageless = [], []
    for topic in facts.topics:
        limit_ms = _target_retention_ms(topic, facts)
        if limit_ms is None or topic.record_span == 0:
            continue
        if topic.first_timestamp_ms is None:
            ageless.append(topic.name)
            continue
        age_ms = facts.now_ms - topic.first_timestamp_ms
        if age_ms <= limit_ms:
            continue
        if facts.settings.retention_hold:
            held.append(topic.name)
        else:
            yield warn(
                topic.name,
                f"Old records of {topic.name} would vanish on the target",
                f"The oldest is {duration(age_ms / 1000)} old; the target keeps {duration(limit_ms / 1000)}.",
                "Set retention_hold to true in kferry.yml, or waive this if old records may go.",
            )
    if held:
        yield info(
            "topics",
            f"{counted(len(held), 'topic')} hold records older than the target keeps; kferry holds them",
            f"{listed(held)}. retention.ms is -1 on the target until the batch has switched.",
        )
    if ageless and not facts.settings.retention_hold:
        yield unknown(
            "topics",
            f"The age of records in {counted(len(ageless), 'topic')} is not known",
            f"No timestamp of {listed(ageless)} could be read.",
            "Set retention_hold to true in kferry.yml, or grant READ on these topics and scan again.",
            ageless,
        )


def _target_retention_ms(topic: Topic, facts: PreflightFacts) -> int | None:
    """How long the target keeps records of the topic; None where for ever."""
    there = facts.target_topics.get(topic.name)
    configs = there.effective if there is not None else topic.effective
    if "delete" not in configs.get("cleanup.policy", "delete"):
        return None
    limit = whole(configs.get("retention.ms"))
    if limit is None and facts.target is not None:
        limit = whole(facts.target.cluster.broker_configs.get("log.retention.ms"))
    limit = _WEEK_MS if limit is None else limit
    return None if limit < 0 else limit


@check(
    "record-timestamp",
    Family.RECORDS,
    "block",
    why="A record whose timestamp the target does not take stops its connector task.",
    fix="Raise the limit of the target's topic for the migration.",
)
def timestamp(facts: PreflightFacts) -> Iterator[Result]:
    """The target accepts timestamps as old as the oldest record."""
    if facts.target is None:
        return
    for topic in facts.topics:
        if topic.first_timestamp_ms is None:
            continue
        age_ms = facts.now_ms - topic.first_timestamp_ms
        found = refused_by(topic, age_ms, BEFORE_KEYS, facts)
        if found is not None:
            yield block(
                topic.name,
                f"The target refuses old records of {topic.name}",
                f"The oldest is {duration(age_ms / 1000)} old; {found[0]} is {duration(found[1] / 1000)} there.",
                f"Raise {found[0]} on the target for the migration.",
            )


def refused_by(topic: Topic, distance_ms: int, keys: Iterable[str], facts: PreflightFacts) -> tuple[str, int] | None:
    """The limit of the target that a timestamp this far from now breaks, as (key, milliseconds)."""
    there = facts.target_topics.get(topic.name)
    for key in keys:
        own = there.effective.get(key) if there is not None else None
        limit_ms = whole(own if own is not None else facts.default(Role.TARGET, f"log.{key}"))
        if limit_ms is not None and distance_ms > limit_ms:
            return key, limit_ms
    return None


@check(
    "record-future",
    Family.RECORDS,
    "block warn",
    why="A timestamp ahead of the clock is refused by some targets, and keeps its segment from ever expiring.",
    fix="Set the producers' clocks right, or raise the limit of the target's topic for the migration.",
)
def future(facts: PreflightFacts) -> Iterator[Result]:
    """No record has a timestamp that lies in the future."""
    if facts.target is None:
        return
    for topic in facts.topics:
        ahead_ms = topic.last_timestamp_ms - facts.now_ms if topic.last_timestamp_ms is not None else 0
        if ahead_ms <= _CLOCKS_DIFFER_MS:
            continue
        found = refused_by(topic, ahead_ms, AFTER_KEYS, facts)
        words = f"The newest timestamp is {duration(ahead_ms / 1000)} ahead of this machine's clock"
        if found is not None:
            yield block(
                topic.name,
                f"The target refuses records of {topic.name} from the future",
                f"{words}; {found[0]} is {duration(found[1] / 1000)} there.",
                f"Raise {found[0]} on the target for the migration.",
            )
        else:
            yield warn(
                topic.name,
                f"{topic.name} has records from the future",
                f"{words}.",
                "Set the producers' clocks right. Such records expire late; waive this where that does not matter.",
            )


@check(
    "record-compression",
    Family.RECORDS,
    "warn info",
    why="A client that does not know the codec of a topic fails on its first record.",
    fix="Set compression.type of the target's topics to producer, or renew the clients.",
)
def compression(facts: PreflightFacts) -> Iterator[Result]:
    """The target does not compress with a codec that clients of the source may not know."""
    default = facts.default(Role.TARGET, "compression.type")
    found = []
    for topic in facts.topics:
        there = facts.target_topics.get(topic.name)
        codec = there.effective.get("compression.type") if there is not None else None
        if codec is None:
            codec = topic.configs.get("compression.type", default)
        if codec == "zstd" and topic.effective.get("compression.type") != "zstd":
            found.append(topic.name)
    if not found:
        return
    source = facts.version(Role.SOURCE)
    title = f"{counted(len(found), 'topic')} will be compressed with zstd on the target"
    if source is None or source < _KNOWS_ZSTD:
        yield warn(
            "topics",
            title,
            f"{listed(found)}: clients before 2.1 cannot read it, and the source is"
            f" {facts.source.cluster.kafka_version if facts.source and source else 'of unknown version'}.",
            "Set compression.type to producer on the target, or make sure that all clients are 2.1 or newer and waive"
            " this.",
            found,
        )
    else:
        yield info(
            "topics", title, f"{listed(found)}: clients before 2.1 cannot read it.", "Look for clients before 2.1."
        )


@check(
    "record-format",
    Family.RECORDS,
    "warn info",
    why="Records in an old format have no headers, and before 0.10 no timestamp: the target gives them the time of "
    "the copy.",
    fix="Make sure that nobody needs the time of old records, then waive.",
)
def record_format(facts: PreflightFacts) -> Iterator[Result]:
    """Topics whose records are stored in an old format."""
    default = facts.default(Role.SOURCE, "log.message.format.version")
    timeless, headerless = [], []
    for topic in facts.topics:
        version = release(topic.configs.get("message.format.version", default))
        if version is not None and version < (0, 10):
            timeless.append(topic.name)
        elif version is not None and version < (0, 11):
            headerless.append(topic.name)
    if timeless:
        yield warn(
            "topics",
            f"{counted(len(timeless), 'topic')} with records without a timestamp",
            f"{listed(timeless)}: message.format.version is before 0.10.",
            "On the target these records carry the time of the copy: retention by time counts from there. Waive this"
            " if that is right.",
            timeless,
        )
    if headerless:
        yield info(
            "topics (no headers)",
            f"{counted(len(headerless), 'topic')} with records in the format of 0.10",
            f"{listed(headerless)}: they have no headers; offsets are assigned in the old way.",
        )


@check(
    "record-compacted",
    Family.RECORDS,
    "info",
    why="Compaction leaves holes, so numbers of records prove nothing.",
)
def compacted(facts: PreflightFacts) -> Iterator[Result]:
    """Compacted topics, whose offsets have holes."""
    found = [topic.name for topic in facts.topics if topic.is_compacted]
    if found:
        yield info(
            "topics",
            f"{counted(len(found), 'compacted topic')}",
            f"{listed(found)}: offsets have holes, so records are compared by content, not by number alone.",
        )


@check(
    "log-append-time",
    Family.RECORDS,
    "info",
    why="Brokers that write the time of arrival would give every copy the time of the migration.",
    fix="Nothing has to be done: copies keep the source's timestamps.",
)
def log_append_time(facts: PreflightFacts) -> Iterator[Result]:
    """Topics whose broker writes the timestamps."""
    found = [topic.name for topic in facts.topics if topic.effective.get("message.timestamp.type") == "LogAppendTime"]
    if found:
        yield info(
            "topics",
            f"{counted(len(found), 'topic')} with timestamps of the broker",
            f"{listed(found)} have message.timestamp.type LogAppendTime.",
            "Nothing has to be done: copies keep the source's timestamps.",
        )
