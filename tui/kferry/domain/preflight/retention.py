"""Checks of the race between the copy and the source's retention."""

from __future__ import annotations

from collections.abc import Iterator

from kferry.domain.model import Role, Topic
from kferry.domain.planning.estimate import copy_speed, never_catches_up
from kferry.domain.planning.sizing import topic_bytes
from kferry.domain.preflight.facts import PreflightFacts
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
from kferry.domain.topic_flow import ingress_bytes_per_second, lifetime_seconds

_WARN_SHARE = 0.5  # of the time that records still live: estimates of copy time are rough
_DAY_MS = 86_400_000  # Kafka's own default of log.cleaner.delete.retention.ms


@check(
    "retention-race",
    Family.RETENTION,
    "block warn unknown",
    why="What the source removes before it was copied is lost, and MirrorMaker says nothing.",
    fix="Raise the topic's retention on the source for the migration, or copy it in a batch of its own.",
)
def race(facts: PreflightFacts) -> Iterator[Result]:
    """The copy is done before the source removes what was not copied yet."""
    for unit, topics in facts.units:
        limited = [topic for topic in topics if lifetime_seconds(topic, facts.now_ms) is not None]
        if not limited:
            continue
        if never_done(unit, topics, facts):
            continue  # copy-speed says so, once
        copy_seconds, evidence = copy_time(unit, topics, facts)
        if copy_seconds is None:
            yield unknown(
                unit_subject(unit),
                f"It is not known whether {unit} is copied before its records expire",
                evidence,
                "Scan again, or compare retention.ms with your own estimate of the copy time and waive this.",
                (topic.name for topic in topics if topic_bytes(topic) is None),
            )
            continue
        for topic in limited:
            left = lifetime_seconds(topic, facts.now_ms)
            if left is None or topic.record_span == 0:
                continue
            figures = f"{evidence} Its newest records live for another {duration(max(0.0, left))}."
            if copy_seconds >= left and copy_seconds >= 1:
                yield block(
                    topic.name,
                    f"{topic.name} would lose records before they are copied",
                    figures,
                    f"Raise retention of {topic.name} on the source to more than {duration(2 * copy_seconds)}"
                    " for the migration, copy it in a batch of its own, or raise max_workers_per_task in kferry.yml.",
                )
            elif copy_seconds >= left * _WARN_SHARE and copy_seconds >= 1:
                yield warn(
                    topic.name,
                    f"{topic.name} may lose records before they are copied",
                    figures,
                    f"Raise retention of {topic.name} on the source for the migration, or waive this.",
                )


@check(
    "copy-speed",
    Family.RETENTION,
    "block",
    why="A copy that is slower than what comes in never ends.",
    fix="Split the batch, add workers, or measure the speed.",
)
def speed(facts: PreflightFacts) -> Iterator[Result]:
    """Data is copied faster than it comes in."""
    if facts.copy_bytes_per_second is None:
        return
    for unit, topics in facts.units:
        ingress = ingress_bytes_per_second(topics)
        if ingress is not None and never_done(unit, topics, facts):
            yield block(
                unit_subject(unit),
                f"The copy of {unit} never catches up",
                f"{megabytes(ingress)} per second come in, {megabytes(speed_of(unit, topics, facts) or 0.0)} per second"
                f" are copied by {counted(workers_of(unit, facts), 'worker')} ({_source_of_speed(facts)}).",
                "Split the batch, or give its task more workers (max_workers_per_task in kferry.yml).",
            )


@check(
    "copy-speed-assumed",
    Family.RETENTION,
    "info",
    why="How long a batch takes, and whether retention is faster, is reckoned from the speed of the copy.",
)
def speed_assumed(facts: PreflightFacts) -> Iterator[Result]:
    """The speed of the copy was measured in this migration."""
    if facts.copy_bytes_per_second is not None and not facts.copy_speed_measured and facts.topics:
        yield info(
            "copy",
            "The speed of the copy is assumed, not measured",
            f"{megabytes(facts.copy_bytes_per_second)} per second and worker (assumed_copy_bytes_per_second in"
            " kferry.yml).",
            "Copy a small batch first: what is measured there is used from then on.",
        )


@check(
    "record-tombstones",
    Family.RETENTION,
    "warn unknown",
    why=(
        "A tombstone that compaction removes before it was copied leaves its key alive on the target, for good and "
        "without an error."
    ),
    fix="Raise delete.retention.ms of the topic on the source for the migration.",
)
def tombstones(facts: PreflightFacts) -> Iterator[Result]:
    """Compacted topics keep their tombstones for as long as the copy takes."""
    for unit, topics in facts.units:
        compacted = [topic for topic in topics if topic.is_compacted and topic.record_span != 0]
        if not compacted or never_done(unit, topics, facts):
            continue
        seconds, evidence = copy_time(unit, topics, facts)
        if seconds is None:
            yield unknown(
                unit_subject(unit),
                f"It is not known whether {unit} is copied before tombstones are removed",
                evidence,
                "Scan again, or compare delete.retention.ms with your own estimate of the copy time and waive this.",
                (topic.name for topic in topics if topic_bytes(topic) is None),
            )
            continue
        for topic in compacted:
            kept_ms = _tombstones_kept_ms(topic, facts)
            if seconds * 1000 >= kept_ms * _WARN_SHARE:
                yield warn(
                    topic.name,
                    f"Deleted keys of {topic.name} may come back on the target",
                    f"{evidence} Tombstones are kept for {duration(kept_ms / 1000)} on the source.",
                    f"Set delete.retention.ms of {topic.name} on the source to {round(4000 * seconds)} or more for the"
                    " migration, or copy it in a batch of its own.",
                )


def _tombstones_kept_ms(topic: Topic, facts: PreflightFacts) -> int:
    own = whole(topic.configs.get("delete.retention.ms", topic.effective.get("delete.retention.ms")))
    default = whole(facts.default(Role.SOURCE, "log.cleaner.delete.retention.ms"))
    return own if own is not None else default if default is not None else _DAY_MS


def unit_subject(unit: str) -> str:
    return unit.removeprefix("batch ")


def _source_of_speed(facts: PreflightFacts) -> str:
    return "measured" if facts.copy_speed_measured else "assumed, not measured"


def workers_of(unit: str, facts: PreflightFacts) -> int:
    """The workers that copy a batch: those its task has, or those it will get."""
    return max(1, facts.workers_of.get(unit_subject(unit), facts.workers_per_task))


def speed_of(unit: str, topics: tuple[Topic, ...], facts: PreflightFacts) -> float | None:
    """Bytes per second that are copied of these topics at one time, as the planner reckons it too."""
    if facts.copy_bytes_per_second is None:
        return None
    partitions = sum(topic.partition_count for topic in topics)
    return copy_speed(facts.copy_bytes_per_second, partitions, workers_of(unit, facts))


def copy_time(unit: str, topics: tuple[Topic, ...], facts: PreflightFacts) -> tuple[float | None, str]:
    """Seconds that the copy takes and the words for it; None where it cannot be told."""
    speed = speed_of(unit, topics, facts)
    if speed is None:
        return None, "The speed of the copy is not known."
    weights = [(topic, topic_bytes(topic)) for topic in topics]
    missing = [topic.name for topic, weight in weights if weight is None]
    if missing:
        return None, f"The size of {counted(len(missing), 'topic')} is not known: {listed(missing)}."
    total = sum(weight for _, weight in weights if weight is not None)
    ingress = ingress_bytes_per_second(topics)
    seconds = total / (speed - (ingress or 0.0))
    rate = f"{megabytes(ingress)}/s coming in" if ingress is not None else "what comes in is not known"
    workers = counted(workers_of(unit, facts), "worker")
    return seconds, (
        f"{megabytes(total)} at {megabytes(speed)}/s ({_source_of_speed(facts)}; {workers}; {rate})"
        f" take {duration(seconds)}."
    )


def never_done(unit: str, topics: tuple[Topic, ...], facts: PreflightFacts) -> bool:
    ingress, speed = ingress_bytes_per_second(topics), speed_of(unit, topics, facts)
    return ingress is not None and speed is not None and never_catches_up(speed, ingress)
