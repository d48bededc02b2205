"""Machines that may carry workers: what was measured on them, whether they can be used, and who works where."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kferry.domain.fleet_report import BrokerProbe as BrokerProbe
from kferry.domain.fleet_report import HostFacts as HostFacts
from kferry.domain.fleet_report import HostReport as HostReport
from kferry.domain.fleet_report import WorkerSeen as WorkerSeen
from kferry.domain.model import Role

GIB = 1024**3
OS_RESERVE_BYTES = GIB
WORKER_OVERHEAD_BYTES = 512 * 1024**2  # as MemoryMax of the unit has it
MIN_FREE_DISK_BYTES = 1_500_000_000
MIN_PYTHON = (3, 8)
MIN_JAVA = 17
CLOCK_WARN_SECONDS = 1.0
CLOCK_STOP_SECONDS = 300.0
# Systems whose own packages have a Java that is new enough; the empty version means every one.
SYSTEMS: Mapping[str, tuple[str, ...]] = {
    "debian": ("12", "13"),
    "ubuntu": ("22.04", "24.04"),
    "rhel": ("9",),
    "rocky": ("9",),
    "almalinux": ("9",),
    "centos": ("9",),
    "ol": ("9",),
    "amzn": ("2023",),
}


@dataclass(frozen=True, slots=True)
class Needs:
    """What a machine must offer. `has_java`: a home or an archive of Java is given, none need be found."""

    migration_id: str
    heap_bytes: int
    is_local: bool = False
    has_java: bool = False
    roles: tuple[str, ...] = (Role.SOURCE.value, Role.TARGET.value)
    not_before_ms: int = 0  # what was measured earlier says nothing about now


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a machine can be used (None = not known), why not, and what else should be known of it."""

    usable: bool | None
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Findings:
    stops: list[str] = field(default_factory=list)
    unknowns: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def worker_bytes(heap_bytes: int) -> int:
    """What one worker takes of a machine's memory: heap, the JVM's own part, threads and buffers."""
    return heap_bytes * 5 // 4 + WORKER_OVERHEAD_BYTES


def judge(report: HostReport | None, needs: Needs) -> Verdict:
    """Whether a machine can carry a worker; what was not measured is named, and never counts as good."""
    if report is None or report.measured_at_ms is None:
        return Verdict(None, ("It has not been measured: SSH didn't reach it, or the check has not run.",))
    if report.measured_at_ms < needs.not_before_ms:
        return Verdict(None, ("The last check didn't reach it; what is known of it is older.",))
    found = _Findings()
    facts = report.facts
    _judge_python(facts, found)
    if not needs.is_local:
        _judge_system(facts, needs, found)
    elif facts.java_version == "" and not needs.has_java:
        found.stops.append(f"There is no Java {MIN_JAVA} or newer on it; install one.")
    _judge_room(facts, needs, found)
    if not needs.is_local:
        _judge_clock(facts, found)
    _judge_owner(facts, needs, found)
    _judge_brokers(report.brokers, needs, found)
    if facts.busy_ports:
        found.notes.append(f"Something listens already on {', '.join(map(str, facts.busy_ports))}.")
    usable = False if found.stops else None if found.unknowns else True
    return Verdict(usable, (*found.stops, *found.unknowns), tuple(found.notes))


def _judge_python(facts: HostFacts, found: _Findings) -> None:
    number = _version(facts.python)
    wanted = ".".join(map(str, MIN_PYTHON))
    if facts.python == "":
        found.stops.append(f"There is no Python on it; install python3 ({wanted} or newer).")
    elif number is None:
        found.unknowns.append("Its Python is not known.")
    elif number < MIN_PYTHON:
        found.stops.append(f"Its Python is {facts.python}; {wanted} or newer is needed.")


def _judge_system(facts: HostFacts, needs: Needs, found: _Findings) -> None:
    if facts.sudo is None:
        found.unknowns.append("Whether sudo works there is not known.")
    elif not facts.sudo:
        found.stops.append("sudo doesn't work there: the account may not, or the become_password is wrong or missing.")
    if facts.systemd is None:
        found.unknowns.append("Whether systemd runs there is not known.")
    elif not facts.systemd:
        found.stops.append("It doesn't run systemd, which keeps the workers running.")
    name = f"{facts.os} {facts.os_version or '(version not known)'}"
    has_java = needs.has_java or bool(facts.java_version)
    if facts.os is None:
        found.unknowns.append("Its operating system is not known.")
    elif _is_supported(facts.os, facts.os_version):
        return
    elif facts.os in SYSTEMS and facts.os_version is None:
        found.unknowns.append(f"The version of its operating system ({facts.os}) is not known.")
    elif has_java:
        found.notes.append(f"{name} is not one of the systems kferry was tried on; there is a Java, so it may work.")
    else:
        found.stops.append(f"{name} is not supported: kferry can't install Java there. Give an archive of a JRE.")


def _is_supported(system: str, version: str | None) -> bool:
    versions = SYSTEMS.get(system, ())
    return version is not None and any(version == known or version.startswith(f"{known}.") for known in versions)


def _judge_room(facts: HostFacts, needs: Needs, found: _Findings) -> None:
    wanted = worker_bytes(needs.heap_bytes) + OS_RESERVE_BYTES
    if facts.memory_bytes is None:
        found.unknowns.append("Its memory is not known.")
    elif facts.memory_bytes < wanted:
        found.stops.append(
            f"It has {gib(facts.memory_bytes)} of memory; one worker with {gib(needs.heap_bytes)} of heap and the "
            f"system need {gib(wanted)}."
        )
    elif facts.free_memory_bytes is not None and facts.free_memory_bytes < worker_bytes(needs.heap_bytes):
        found.notes.append(f"Only {gib(facts.free_memory_bytes)} of its memory are free now.")
    if facts.free_disk_bytes is None:
        found.unknowns.append("Its free disk space is not known.")
    elif facts.free_disk_bytes < MIN_FREE_DISK_BYTES:
        found.stops.append(
            f"Only {facts.free_disk_bytes / 1e9:.1f} GB of disk are free; "
            f"{MIN_FREE_DISK_BYTES / 1e9:.1f} GB are needed for Kafka, Java and logs."
        )


def _judge_clock(facts: HostFacts, found: _Findings) -> None:
    offset = facts.clock_offset_seconds
    if offset is None:
        found.unknowns.append("Its clock could not be read.")
        return
    words = f"Its clock is {abs(offset):.1f} s {'ahead' if offset > 0 else 'behind'}"
    if abs(offset) > CLOCK_STOP_SECONDS:
        found.stops.append(f"{words}; certificates and logins depend on it. Set up time synchronisation there.")
    elif abs(offset) > CLOCK_WARN_SECONDS:
        found.notes.append(f"{words}; set up time synchronisation there.")


def _judge_owner(facts: HostFacts, needs: Needs, found: _Findings) -> None:
    if facts.migration is None:
        found.unknowns.append("Which migration owns its folder of workers is not known.")
    elif facts.migration not in ("", needs.migration_id):
        found.stops.append(
            f"Its folder of workers belongs to migration {facts.migration}; "
            "tear that down first, or set another worker_root."
        )


def _judge_brokers(probes: Sequence[BrokerProbe], needs: Needs, found: _Findings) -> None:
    last = {(probe.role, probe.server): probe for probe in probes}
    found.stops += [f"{role.capitalize()}: {probe.words}" for (role, _), probe in last.items() if not probe.ok]
    for role in needs.roles:
        if role not in {known for known, _ in last}:
            found.unknowns.append(f"Its way to the {role} cluster was not measured.")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A machine on which a worker could be put."""

    name: str
    usable: bool | None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A worker that has its machine already, of whatever task."""

    host: str
    task: str
    heap_bytes: int


@dataclass(frozen=True, slots=True)
class Seat:
    """A machine chosen for one worker, and why."""

    host: str
    why: str


@dataclass(frozen=True, slots=True)
class Assignment:
    """Machines for the workers wanted, in order. `missing`: how many got none; `why_not` says it per machine."""

    seats: tuple[Seat, ...]
    missing: int = 0
    why_not: tuple[str, ...] = ()

    @property
    def hosts(self) -> list[str]:
        return [seat.host for seat in self.seats]


def assign(
    candidates: Iterable[Candidate],
    wanted: int,
    heap_bytes: int,
    placed: Iterable[Placed],
    zones: Mapping[str, str | None],
    *,
    task: str,
) -> Assignment:
    """Choose machines for `wanted` more workers of `task`; nothing that is placed is moved.

    A machine without a worker of the task comes before one that has some, then the zone with the fewest of them, then
    the one with the smallest part of its memory promised. Of equal ones the name decides, so the answer is stable.
    """
    every = sorted(candidates, key=lambda candidate: candidate.name)
    placed = list(placed)
    promised = {one.name: sum(worker_bytes(p.heap_bytes) for p in placed if p.host == one.name) for one in every}
    own = {one.name: sum(p.host == one.name and p.task == task for p in placed) for one in every}
    in_zone: dict[str, int] = {}
    for worker in placed:
        if worker.task == task:
            zone = zones.get(worker.host) or ""
            in_zone[zone] = in_zone.get(zone, 0) + 1
    room = {one.name: max(0, one.memory_bytes - OS_RESERVE_BYTES) for one in every if one.memory_bytes is not None}
    need = worker_bytes(heap_bytes)
    seats: list[Seat] = []
    while len(seats) < wanted:
        free = [one.name for one in every if one.usable and room.get(one.name, 0) - promised[one.name] >= need]
        if not free:
            break
        host = min(
            free,
            key=lambda name: (own[name], in_zone.get(zones.get(name) or "", 0), promised[name] / room[name], name),
        )
        zone = zones.get(host) or ""
        seats.append(Seat(host, _why(host, task, own[host], zone, in_zone.get(zone, 0), promised[host] / room[host])))
        promised[host] += need
        own[host] += 1
        in_zone[zone] = in_zone.get(zone, 0) + 1
    missing = max(0, wanted - len(seats))
    return Assignment(tuple(seats), missing, tuple(_why_not(every, room, promised, need)) if missing else ())


def _why(host: str, task: str, own: int, zone: str, in_zone: int, part: float) -> str:
    workers = f"no worker of {task} yet" if not own else f"{own} of {task} already, as few as any with room"
    where = f"; zone {zone} has {in_zone or 'none'}" if zone else ""
    return f"{host} has {workers}{where}; {part:.0%} of its memory is promised."


def _why_not(
    candidates: Sequence[Candidate], room: Mapping[str, int], promised: Mapping[str, int], need: int
) -> Iterator[str]:
    if not candidates:
        yield "There is no machine in inventory/hosts.yml."
    for one in candidates:
        if one.usable is None:
            yield f"{one.name}: not known whether it can be used; check the fleet."
        elif not one.usable:
            yield f"{one.name}: can't be used; the fleet check says why."
        elif one.name not in room:
            yield f"{one.name}: its memory is not known; check the fleet."
        else:
            left = max(0, room[one.name] - promised[one.name])
            yield f"{one.name}: {gib(left)} of memory left for workers; one more needs {gib(need)}."


def gib(count_bytes: int) -> str:
    """Bytes as GiB with one digit behind the point."""
    return f"{count_bytes / GIB:.1f} GiB"


def _version(text: str | None) -> tuple[int, int] | None:
    found = re.match(r"(\d+)\.(\d+)", text or "")
    return (int(found[1]), int(found[2])) if found else None
