"""The check of topic configs that stay behind: those that mean nothing on the target, and those to look at."""

from __future__ import annotations

from collections.abc import Iterator

from kferry.domain.holds import TAKEN_OVER
from kferry.domain.model import ClusterKind, Role
from kferry.domain.preflight.facts import PreflightFacts
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import Result, counted, info, listed, warn, whole

_LONGEST = str(2**63 - 1)
_COPIES = "min.insync.replicas"
# How a broker keeps its files and moves its replicas: the target's brokers decide for themselves.
_OF_BROKERS = frozenset(
    {
        "file.delete.delay.ms",
        "follower.replication.throttled.replicas",
        "index.interval.bytes",
        "leader.replication.throttled.replicas",
        "message.downconversion.enable",
        "message.format.version",
        "preallocate",
        "segment.index.bytes",
        "segment.jitter.ms",
        "unclean.leader.election.enable",
    }
)
# Kafka's own defaults: a topic on which they are set loses nothing.
_DEFAULTS = {
    "flush.messages": _LONGEST,
    "flush.ms": _LONGEST,
    "local.retention.bytes": "-2",
    "local.retention.ms": "-2",
    "message.timestamp.after.max.ms": _LONGEST,
    "message.timestamp.before.max.ms": _LONGEST,
    "message.timestamp.difference.max.ms": _LONGEST,
    "remote.storage.enable": "false",
}
_MEANINGS = {
    "flush.": "The target's brokers write to disk when their own settings say so.",
    "message.timestamp.": "Which timestamps are refused is then for the target's brokers to say.",
    "local.retention.": "It is about tiered storage: retention.ms and retention.bytes hold for all on the target.",
    "remote.": "Tiered storage is not set up on the target topic; AutoMQ refuses it, and keeps all in object storage.",
    _COPIES: "With acks=all the target then takes records that fewer brokers hold.",
}
_VENDORS = ("confluent.", "automq.")


@check(
    "target-config-refused",
    Family.TARGET,
    "warn info",
    why="Topics take over only what every target knows: AutoMQ refuses a whole topic for one config it does not know.",
    fix="Look at what each config does; set it on the target topic where its brokers take it, or waive it.",
)
def config_refused(facts: PreflightFacts) -> Iterator[Result]:
    """Configs set on topics of the source that are not carried over."""
    found: dict[str, dict[str, str]] = {}
    for topic in facts.topics:
        for key, value in topic.configs.items():
            if key not in TAKEN_OVER:
                found.setdefault(key, {})[topic.name] = value
    harmless: dict[str, list[str]] = {}
    for key, values in sorted(found.items()):
        meant = {name: value for name, value in values.items() if not _is_harmless(key, value, facts)}
        rest = sorted(set(values) - set(meant))
        if rest:
            harmless[key] = rest
        if meant:
            shown = f"{key}={meant[min(meant)]}" if len(set(meant.values())) == 1 else f"{key} (several values)"
            yield warn(
                key,
                f"{key} of {counted(len(meant), 'topic')} is not carried over",
                f"{shown} is set on {listed(meant)}. {_meaning(key)}",
                "Look whether an application depends on it: set it on the target topic where its brokers take it, or"
                " waive this.",
                meant,
            )
    if harmless:
        yield info(
            "topics",
            f"{counted(len(harmless), 'topic config')} of the source means nothing on the target",
            "; ".join(f"{key} of {listed(names)}" for key, names in harmless.items()) + ".",
            "Nothing has to be done: kferry leaves these keys out.",
        )


def _is_harmless(key: str, value: str, facts: PreflightFacts) -> bool:
    if key == _COPIES:
        config = facts.cluster(Role.TARGET)
        wanted = whole(value)
        if config is not None and config.kind is ClusterKind.AUTOMQ:
            return True  # one replica, in storage that keeps it; target-replication names these topics
        return wanted is not None and wanted <= (whole(facts.default(Role.TARGET, _COPIES)) or 1)
    return key in _OF_BROKERS or _DEFAULTS.get(key) == value


def _meaning(key: str) -> str:
    if key.startswith(_VENDORS):
        return "It is a config of the source's vendor, which other brokers do not know."
    return next(
        (words for start, words in _MEANINGS.items() if key.startswith(start)), "kferry does not know what it does."
    )
