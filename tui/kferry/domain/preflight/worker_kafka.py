"""The check of the Kafka that workers run."""

from __future__ import annotations

from collections.abc import Iterator

from kferry.domain.preflight.facts import PreflightFacts
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import Result, block, info
from kferry.domain.worker_kafka import why_not

_FIX = "Set distribution in kferry.yml to Apache Kafka 3.9.x, or leave it out: kferry brings its own."


@check(
    "worker-kafka-version",
    Family.WORKERS,
    "block info",
    why="Older workers lack fixes of MirrorMaker's offsets; newer ones leave old brokers and kferry's metrics behind.",
    fix=_FIX,
)
def kafka_version(facts: PreflightFacts) -> Iterator[Result]:
    """The workers run Kafka 3.9, also from an archive of your own."""
    if facts.distribution is None:
        return
    version = facts.distribution.kafka_version
    if version is None:
        yield info(
            "distribution",
            "The version of your Kafka archive is not known yet",
            f"{facts.distribution.location}: it is looked at when it is fetched for the first task, and refused there"
            " unless it is 3.9.",
        )
        return
    reason = why_not(version)
    if reason:
        words = f"{facts.distribution.location} holds Kafka {version}. {reason}"
        yield block("distribution", "Workers cannot run the Kafka of your archive", words, _FIX)
