"""Checks of both clusters themselves: reachable, of a version that works, two different ones, freshly looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kferry.domain.model import Role
from kferry.domain.preflight.facts import PreflightFacts, release
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import Result, block, counted, duration, info, listed, unknown, warn

_OLDEST_SOURCE = (0, 11)
_OLDEST_TARGET = (2, 3)
_NEW_GROUPS = (4, 0)
_LOOPBACK = re.compile(r"localhost|127\..*|::1|\[::1\]")


@check(
    "cluster-reachable",
    Family.CLUSTERS,
    "block unknown",
    why=("What kferry cannot reach now, the workers will hardly reach later, and nothing is known about it."),
    fix="Set the address, the security settings or the network right, scan, and run preflight again.",
)
def reachable(facts: PreflightFacts) -> Iterator[Result]:
    """Both clusters answer."""
    for role in Role:
        if role in facts.errors:
            yield block(
                role.value,
                f"The {role.value} cluster cannot be reached",
                facts.errors[role],
                "Set it right in clusters.yml or in the network, then check the clusters again.",
            )
        elif facts.scan(role) is None:
            yield unknown(
                role.value,
                f"The {role.value} cluster has not been scanned",
                "There is no scan of it, so nothing is known about it.",
                "Scan both clusters, then run preflight again.",
            )


@check(
    "cluster-version",
    Family.CLUSTERS,
    "block warn unknown",
    why=(
        "MirrorMaker 3.9 needs record headers (0.11) of the source and incremental config changes (2.3) of the target."
    ),
    fix="Upgrade the cluster, or make sure of its version and waive the finding.",
)
def version(facts: PreflightFacts) -> Iterator[Result]:
    """Both clusters have a version that the workers (Kafka 3.9) can talk to."""
    for role in Role:
        scan = facts.scan(role)
        if scan is None:
            continue
        text = scan.cluster.kafka_version
        found = release(text)
        if found is None:
            yield unknown(
                role.value,
                f"The version of the {role.value} cluster is not known",
                f"It says {text!r}." if text else "Its brokers do not tell.",
                f"Make sure that it is at least {_words(_OLDEST_SOURCE if role is Role.SOURCE else _OLDEST_TARGET)},"
                " then waive this.",
            )
        elif role is Role.SOURCE and found < _OLDEST_SOURCE:
            yield block(
                role.value,
                "The source cluster is too old",
                f"It is {text}; MirrorMaker needs record headers and topic configs, which came with 0.11.",
                "Upgrade the source to 0.11 or newer first.",
            )
        elif role is Role.TARGET and found < _OLDEST_TARGET:
            yield block(
                role.value,
                "The target cluster is too old",
                f"It is {text}; kferry changes topic configs one by one, which came with 2.3.",
                "Use a target of version 2.3 or newer.",
            )
        elif role is Role.SOURCE and found >= _NEW_GROUPS:
            yield warn(
                role.value,
                "The source cluster may have groups of the new kinds",
                f"It is {text}; share groups and groups of the new consumer protocol came with 4.0.",
                "Make sure that no application uses a share group: its position cannot be moved. Then waive this.",
            )


@check(
    "same-cluster",
    Family.CLUSTERS,
    "block unknown",
    why="Copied onto themselves under the same names, topics would grow without end.",
    fix="Set the bootstrap servers of one of the clusters right.",
)
def same_cluster(facts: PreflightFacts) -> Iterator[Result]:
    """Source and target are two clusters."""
    if facts.source is None or facts.target is None:
        return
    source_id, target_id = facts.source.cluster.cluster_id, facts.target.cluster.cluster_id
    if source_id is None or target_id is None:
        yield unknown(
            "clusters",
            "It is not known whether source and target are different clusters",
            "At least one of them does not tell its cluster id.",
            "Compare the bootstrap servers in clusters.yml, then waive this.",
        )
    elif source_id == target_id:
        yield block(
            "clusters",
            "Source and target are the same cluster",
            f"Both say that their cluster id is {source_id}. Every topic would be copied onto itself without end.",
            "Set the bootstrap_servers of one of them right in clusters.yml.",
        )


@check(
    "cluster-replaced",
    Family.CLUSTERS,
    "block warn",
    why="Offsets, plans and certificates mean nothing on another cluster, and a copy would go on at foreign offsets.",
    fix="Set the bootstrap servers back, or begin a new migration for the other cluster.",
)
def replaced(facts: PreflightFacts) -> Iterator[Result]:
    """Each cluster is still the one that was scanned before."""
    for role in Role:
        if role not in facts.replaced:
            continue
        evidence = "Its last scan has another cluster id than the scan before."
        if facts.owned_topics:
            yield block(
                role.value,
                f"The {role.value} is another cluster than before, and migration tasks copy already",
                f"{evidence} {counted(len(facts.owned_topics), 'topic')} are being copied.",
                "Pause the tasks, set bootstrap_servers in clusters.yml back, then scan again.",
            )
        else:
            yield warn(
                role.value,
                f"The {role.value} is another cluster than before",
                evidence,
                "If that is meant, scan again and plan again; else set bootstrap_servers in clusters.yml back.",
            )


@check(
    "scan-age",
    Family.CLUSTERS,
    "warn",
    why="Checks judge what was scanned: topics and groups made since then are not seen.",
    fix="Scan again, then run preflight again.",
)
def scan_age(facts: PreflightFacts) -> Iterator[Result]:
    """The scans are recent."""
    for role in Role:
        scan = facts.scan(role)
        age_ms = facts.now_ms - scan.taken_at_ms if scan is not None else 0
        if age_ms > facts.settings.scan_max_age_ms:
            yield warn(
                role.value,
                f"The scan of the {role.value} cluster is old",
                f"It was taken {duration(age_ms / 1000)} ago; topics and groups may have changed since.",
                "Scan again, then run preflight again.",
            )


@check(
    "scan-complete",
    Family.CLUSTERS,
    "unknown",
    why="What a scan that was cut off did not reach is unknown, and no check has seen it.",
    fix="Scan again; a scan that was cut off can be resumed.",
)
def scan_complete(facts: PreflightFacts) -> Iterator[Result]:
    """The scans are whole."""
    for role in Role:
        scan = facts.scan(role)
        if scan is not None and not scan.complete:
            yield unknown(
                role.value,
                f"The scan of the {role.value} cluster is not whole",
                f"It was cut off after {counted(len(scan.topics), 'topic')} and {counted(len(scan.groups), 'group')}.",
                "Scan again to the end, then run preflight again.",
            )


@check(
    "advertised-address",
    Family.CLUSTERS,
    "block",
    why=("Clients connect to the addresses that brokers advertise, not to the bootstrap address they started with."),
    fix="Set advertised.listeners of the brokers to addresses that the workers can reach.",
)
def advertised(facts: PreflightFacts) -> Iterator[Result]:
    """Brokers advertise addresses that machines other than their own can use."""
    remote = [host.name for host in facts.hosts or () if not host.is_local]
    if not remote:
        return
    for role in Role:
        scan = facts.scan(role)
        brokers = [f"{one.host}:{one.port}" for one in scan.cluster.brokers] if scan is not None else []
        loopback = [name for name in brokers if _LOOPBACK.fullmatch(name.rpartition(":")[0])]
        if loopback:
            yield block(
                role.value,
                f"Brokers of the {role.value} cluster advertise a loopback address",
                f"{listed(loopback)}; the workers on {listed(remote)} would connect to themselves.",
                "Set advertised.listeners of the brokers to an address the workers can reach.",
            )


@check(
    "broker-configs",
    Family.CLUSTERS,
    "info",
    why="The brokers' defaults decide about every topic that sets nothing itself.",
    fix="Grant DESCRIBE_CONFIGS on the cluster.",
)
def broker_configs(facts: PreflightFacts) -> Iterator[Result]:
    """The clusters' defaults are known, for they decide about topics that set nothing themselves."""
    for role in Role:
        scan = facts.scan(role)
        if scan is not None and not scan.cluster.broker_configs:
            yield info(
                role.value,
                f"The defaults of the {role.value} cluster are not known",
                "It does not tell its brokers' configs; checks that need them say so.",
                "Grant DESCRIBE_CONFIGS on the cluster to see them.",
            )


def _words(numbers: tuple[int, int]) -> str:
    return ".".join(str(number) for number in numbers)
