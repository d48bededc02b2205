"""Checks of what the copy asks of the ways between machines, and of the source's brokers."""

from __future__ import annotations

from collections.abc import Iterator

from kferry.domain.model import Role
from kferry.domain.planning.sizing import topic_bytes
from kferry.domain.preflight.facts import PreflightFacts
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import Result, counted, info, megabytes, warn
from kferry.domain.preflight.retention import speed_of, unit_subject, workers_of
from kferry.domain.topic_flow import ingress_bytes_per_second

# What one broker on one disk reads beside its own work, and how much more than it takes in is no news to it.
_LIGHT_BYTES_PER_SECOND = 50_000_000.0
_HEAVY_RATIO = 3.0
_SHORT_SECONDS = 600.0
_WAYS = {Role.SOURCE: "come from the source", Role.TARGET: "go to the target"}


@check(
    "worker-speed",
    Family.WORKERS,
    "warn info",
    why="A worker copies no faster than its way to the clusters lets it, whatever the plan reckons with.",
    fix="Use a machine with a faster way there, or let the plan reckon with what was measured.",
)
def worker_speed(facts: PreflightFacts) -> Iterator[Result]:
    """The way from worker machines to the clusters carries what the plan reckons with."""
    reckoned = facts.copy_bytes_per_second
    if reckoned is None or facts.copy_speed_measured:
        return  # the copy itself says more
    for host in facts.remote_hosts:
        if not host.usable:
            continue  # worker-usable tells of it
        for role in Role:
            probes = [probe for probe in facts.probes if (probe.vantage, probe.role) == (host.name, role) and probe.ok]
            speeds = [probe.bytes_per_second for probe in probes if probe.bytes_per_second is not None]
            subject = f"{host.name} {role.value}"
            if probes and not speeds:
                yield info(
                    subject,
                    f"How many bytes {_WAYS[role]} per second at {host.name} was not measured",
                    f"The plan reckons with {megabytes(reckoned)} per second and worker.",
                    "Scan the source, then run `kferry fleet check`; brokers older than 2.4, AWS_MSK_IAM and topics"
                    " that kferry may not read can't be measured this way.",
                )
            elif speeds and sum(speeds) < reckoned:
                yield warn(
                    subject,
                    f"At {host.name} fewer bytes {_WAYS[role]} than the plan reckons with",
                    f"{megabytes(sum(speeds))} per second with {counted(len(speeds), 'broker')}, at the last check of"
                    f" the machines; the plan reckons with {megabytes(reckoned)} per second and worker.",
                    "Use a machine with a faster way there, or set assumed_copy_bytes_per_second in kferry.yml to"
                    f" {round(sum(speeds))} and plan again.",
                )


@check(
    "source-load",
    Family.RETENTION,
    "warn",
    why="A copy reads old records from disk, and brokers that are busy with it serve their own clients late.",
    fix="Limit the copy by a quota or by fewer workers, or copy in a quiet hour.",
)
def source_load(facts: PreflightFacts) -> Iterator[Result]:
    """The copy asks the source's brokers for no more than a little beside their own work."""
    brokers = len(facts.source.cluster.brokers) if facts.source is not None else 0
    if facts.source is None or not brokers:
        return
    ingress = ingress_bytes_per_second(topic for topic in facts.source.topics if not topic.is_internal)
    for unit, topics in facts.units:
        speed = speed_of(unit, topics, facts)
        weights = [topic_bytes(topic) for topic in topics]
        if speed is None or (None not in weights and sum(filter(None, weights)) < speed * _SHORT_SECONDS):
            continue
        each = speed / brokers
        if each <= _LIGHT_BYTES_PER_SECOND or (ingress is not None and each <= _HEAVY_RATIO * ingress / brokers):
            continue
        own = (
            "how much they take in is not known" if ingress is None else f"they take in {megabytes(ingress / brokers)}"
        )
        workers = workers_of(unit, facts)
        yield warn(
            unit_subject(unit),
            f"Copying {unit} asks much of the source's brokers",
            f"{counted(workers, 'worker')} would read {megabytes(each)} per second from each of"
            f" {counted(brokers, 'broker')}, mostly old records from disk; {own} per second each.",
            "Give kferry's user a quota (consumer_byte_rate) on the source, set a lower max_workers_per_task in"
            " kferry.yml, or start the batch in a quiet hour; waive this if the brokers have room for it.",
        )
