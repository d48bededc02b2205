"""Checks from where somebody stands: what the controller and each worker machine see of brokers and clocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median

from kferry.domain.fleet import CLOCK_WARN_SECONDS
from kferry.domain.model import Role
from kferry.domain.preflight.facts import CONTROLLER, PreflightFacts, Probe
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import Result, block, counted, duration, info, unknown, warn

_NAMED = 5
_FAR_SECONDS = 0.05


@check(
    "broker-from-controller",
    Family.CLUSTERS,
    "warn",
    why="kferry itself scans, verifies and writes offsets from here, and needs the leader of every partition for that.",
    fix="Open the way to the broker, or set the address that it advertises right.",
)
def from_controller(facts: PreflightFacts) -> Iterator[Result]:
    """The machine that kferry runs on reaches every broker."""
    for role in Role:
        found = [probe for probe in facts.probes if probe.vantage == CONTROLLER and probe.role is role]
        failed = [probe for probe in found if probe.ok is False]
        if failed and role not in facts.errors:
            yield warn(
                role.value,
                f"From {CONTROLLER}, {counted(len(failed), 'test')} of the {role.value} cluster failed",
                _seen(failed),
                "Open the way to it from here, or set what the broker advertises right; then check the clusters again.",
                _names(failed),
            )


@check(
    "connection-warnings",
    Family.CLUSTERS,
    "warn",
    why="A certificate that expires or a clock that drifts works today and stops the migration on another day.",
    fix="Mend what the connection test names: `kferry clusters test`.",
)
def connection_warnings(facts: PreflightFacts) -> Iterator[Result]:
    """The connection tests pass without warnings: certificates, names, clocks, secrets."""
    for role in Role:
        found = [probe for probe in facts.probes if probe.role is role and probe.is_warning]
        if found and role not in facts.errors:
            yield warn(
                role.value,
                f"From {CONTROLLER}, the connection test of the {role.value} cluster warns",
                _seen(found),
                "Mend what is named and check the clusters again, or waive this where it holds until the end.",
                _names(found),
            )


@check(
    "broker-from-worker",
    Family.WORKERS,
    "block warn unknown info",
    why="A worker needs the leader of every partition it copies; one broker out of reach stops its partitions alone.",
    fix="Open the way from the machine to the broker, then run `kferry fleet check`.",
)
def from_workers(facts: PreflightFacts) -> Iterator[Result]:
    """Every worker machine reaches every broker of both clusters."""
    by_host: dict[tuple[str, Role], list[Probe]] = {}
    for probe in facts.probes:
        if probe.vantage != CONTROLLER:
            by_host.setdefault((probe.vantage, probe.role), []).append(probe)
    for role in Role:
        whole = [
            host.name
            for host in facts.remote_hosts
            if host.usable and (seen := by_host.get((host.name, role))) and all(probe.ok for probe in seen)
        ]
        for host in facts.remote_hosts:
            seen = by_host.get((host.name, role), [])
            failed = [probe for probe in seen if probe.ok is False]
            subject = f"{host.name} {role.value}"
            fix = f"Open the way from {host.name} to these brokers, then run `kferry fleet check` and preflight again."
            if not seen and host.usable:
                yield unknown(
                    subject,
                    f"It is not known whether {host.name} reaches the {role.value} cluster",
                    "The last check of the machines measured no broker of it from there.",
                    "Run `kferry fleet check`, then preflight again.",
                )
            if not failed:
                continue
            title = (
                f"From {host.name}, {len(failed)} of {counted(len(seen), 'broker')} of the {role.value}"
                " cluster cannot be reached"
            )
            if host.usable:
                yield warn(subject, title, _seen(failed), fix, _names(failed))
            elif whole:
                yield info(subject, title, f"{_seen(failed)} The machine is left out: others reach all.", fix)
            else:
                yield block(subject, title, f"{_seen(failed)} No other machine reaches all of them.", fix)


@check(
    "worker-check-age",
    Family.WORKERS,
    "warn",
    why="What a machine could reach yesterday says little about today: firewalls, disks and clocks change.",
    fix="Run `kferry fleet check`, then preflight again.",
)
def check_age(facts: PreflightFacts) -> Iterator[Result]:
    """The worker machines were checked recently."""
    if facts.machines_checked_at_ms is None or not facts.remote_hosts:
        return  # worker-usable tells of machines that were never checked
    age_ms = facts.now_ms - facts.machines_checked_at_ms
    if age_ms > facts.settings.scan_max_age_ms:
        yield warn(
            "machines",
            "The check of the worker machines is old",
            f"It was {duration(age_ms / 1000)} ago.",
            "Run `kferry fleet check`, then preflight again.",
        )


@check(
    "worker-clock",
    Family.WORKERS,
    "warn unknown",
    why="Logins and certificates depend on the time, and so do the figures of lag in seconds.",
    fix="Set up time synchronisation on the machine.",
)
def clocks(facts: PreflightFacts) -> Iterator[Result]:
    """The clocks of worker machines agree with this one's."""
    for host in facts.remote_hosts:
        offset = facts.clock_offsets_seconds.get(host.name)
        if not host.usable:
            continue  # worker-usable tells of it
        if offset is None:
            yield unknown(
                host.name,
                f"The clock of {host.name} is not known",
                "It was not measured.",
                "Run `kferry fleet check`, then preflight again.",
            )
        elif abs(offset) > CLOCK_WARN_SECONDS:
            yield warn(
                host.name,
                f"The clock of {host.name} is {'ahead' if offset > 0 else 'behind'}",
                f"{abs(offset):.1f} seconds, seen from {CONTROLLER}.",
                f"Set up time synchronisation on {host.name}, then run `kferry fleet check`.",
            )


@check(
    "worker-distance",
    Family.WORKERS,
    "info",
    why="A copy reads far and writes near: every write waits for its answer, while reads are asked for ahead of time.",
    fix="Use machines near the target.",
)
def distance(facts: PreflightFacts) -> Iterator[Result]:
    """Worker machines are nearer to the target than to the source."""
    for host in facts.remote_hosts:
        near = _median_seconds(facts, host.name, Role.TARGET)
        far = _median_seconds(facts, host.name, Role.SOURCE)
        if near is not None and far is not None and near > _FAR_SECONDS and near > 2 * far:
            yield info(
                host.name,
                f"{host.name} is farther from the target than from the source",
                f"From there a broker of the target answers after {near * 1000:.0f} ms, one of the source after"
                f" {far * 1000:.0f} ms.",
                "Use a machine near the target if there is one: the copy is faster.",
            )


def _median_seconds(facts: PreflightFacts, vantage: str, role: Role) -> float | None:
    found = [
        probe.seconds
        for probe in facts.probes
        if probe.vantage == vantage and probe.role is role and probe.ok and probe.seconds is not None
    ]
    return median(found) if found else None


def _names(probes: Iterable[Probe]) -> list[str]:
    return [probe.server for probe in probes]


def _seen(probes: Iterable[Probe]) -> str:
    found = list(probes)
    words = [f"{one.server}{f' ({one.step})' if one.step else ''}: {one.words.rstrip('.')}" for one in found[:_NAMED]]
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return "; ".join(words) + more + "."
