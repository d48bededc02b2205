"""The fleet as the faces show it: machines of hosts.yml, what the last check said, and the workers on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kferry.client.exit_codes import ExitCode
from kferry.domain.errors import KferryError
from kferry.store.paths import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kferry.client.session import Session
    from kferry.store.hosts_file import HostEntry
    from kferry.store.views import OperationView, TaskView

# A check older than this says little about now: disks fill, certificates end. In milliseconds.
OLD_AFTER_MS = 60 * 60_000

NEVER_CHECKED = "It is in hosts.yml but was never checked."
NOT_LISTED = "It was checked but is no longer in hosts.yml."
STILL_USED = "A task has workers on it, but it is not in hosts.yml: kferry cannot change them."


@dataclass(frozen=True, slots=True)
class Probe:
    """One broker as the machine itself reaches it. `step` is the last one tried: resolve, tcp, tls, sasl, path."""

    role: str
    server: str
    step: str
    ok: bool | None
    words: str
    seconds: float | None
    bytes_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class WorkerHere:
    """A worker on a machine as its task's last observation saw it. None = unknown."""

    task: str
    task_state: str
    name: str
    alive: bool | None
    version: str | None
    heap_bytes: int
    heap_used_bytes: int | None
    heap_max_bytes: int | None
    cpu_ratio: float | None
    measured_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine. `usable` None = not known; of `facts` (see docs/contracts.md) a missing one was not measured."""

    name: str
    address: str
    zone: str | None
    is_local: bool
    is_listed: bool
    usable: bool | None
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    brokers: tuple[Probe, ...] = ()
    workers: tuple[WorkerHere, ...] = ()
    was_reached: bool | None = None  # whether the last check measured anything; None where it never was checked


@dataclass(frozen=True, slots=True)
class Fleet:
    """All machines. `problem` is why hosts.yml could not be read; `check` is the newest check, running or over."""

    machines: tuple[Machine, ...]
    checked_at_ms: int | None
    problem: Mapping[str, str] | None
    check: OperationView | None

    @property
    def is_local_only(self) -> bool:
        return bool(self.machines) and all(machine.is_local for machine in self.machines)

    @property
    def is_checking(self) -> bool:
        return self.check is not None and self.check.status == "running"

    def is_old(self, now_ms: int) -> bool:
        return self.checked_at_ms is not None and now_ms - self.checked_at_ms > OLD_AFTER_MS

    def machine(self, name: str) -> Machine | None:
        return next((machine for machine in self.machines if machine.name == name), None)


def read(session: Session) -> Fleet:
    """The fleet from hosts.yml, the document `fleet`, and the observation of every task that has workers."""
    problem: dict[str, str] | None = None
    entries: Sequence[HostEntry] = ()
    try:
        entries = hosts(session.layout)
    except KferryError as error:
        # short: the screen has few lines, and the operator knows which migration it is
        problem = {key: text.replace(f"{session.root}/", "") for key, text in error.as_dict().items()}
    found = session.reader.document("fleet", "")
    body: Mapping[str, Any] = found[1] if found else {}
    checked = {item["name"]: item for item in body.get("hosts", ())}
    workers = _workers(session.reader.tasks())
    machines = [_machine(entry, checked.get(entry.name), workers.get(entry.name, ())) for entry in entries]
    listed = {entry.name for entry in entries}
    for name in (*checked, *workers):
        if name not in listed:
            listed.add(name)
            machines.append(_unlisted(name, checked.get(name, {}), workers.get(name, ()), is_known=problem is None))
    checks = session.reader.operations(kind="fleet_check", limit=1)
    return Fleet(tuple(machines), body.get("checked_at_ms"), problem, checks[0] if checks else None)


def hosts(layout: Layout) -> tuple[HostEntry, ...]:
    """hosts.yml, validated; read again only where the file changed. Raises KferryError."""
    path = layout.inventory / "hosts.yml"
    try:
        seen = path.stat()
    except OSError:
        return _load(layout, 0, 0)
    return _load(layout, seen.st_mtime_ns, seen.st_size)


@lru_cache(maxsize=4)
def _load(layout: Layout, _modified_ns: int, _size: int) -> tuple[HostEntry, ...]:
    from kferry.store.hosts_file import load_hosts

    return tuple(load_hosts(layout))


def _workers(tasks: Sequence[TaskView]) -> dict[str, tuple[WorkerHere, ...]]:
    found: dict[str, list[WorkerHere]] = {}
    for task in tasks:
        if task.state == "Deleted":
            continue
        for worker in task.workers:
            here = WorkerHere(
                task=task.name,
                task_state=task.state,
                name=worker.name,
                alive=worker.alive,
                version=worker.version,
                heap_bytes=worker.heap_bytes,
                heap_used_bytes=worker.heap_used_bytes,
                heap_max_bytes=worker.heap_max_bytes,
                cpu_ratio=worker.cpu_ratio,
                measured_at_ms=task.measured_at_ms,
            )
            found.setdefault(worker.host, []).append(here)
    return {host: tuple(workers) for host, workers in found.items()}


def _machine(entry: HostEntry, checked: Mapping[str, Any] | None, workers: tuple[WorkerHere, ...]) -> Machine:
    if checked is None:
        return Machine(
            entry.name, entry.address, entry.zone, entry.is_local, True, None, (NEVER_CHECKED,), workers=workers
        )
    return Machine(entry.name, entry.address, entry.zone, entry.is_local, True, **_judged(checked), workers=workers)


def _unlisted(name: str, checked: Mapping[str, Any], workers: tuple[WorkerHere, ...], *, is_known: bool) -> Machine:
    """A machine that only the journal knows. Where hosts.yml cannot be read it may be listed there all the same."""
    judged = _judged(checked)
    if is_known:
        judged |= {"usable": None, "reasons": (STILL_USED if workers else NOT_LISTED, *judged["reasons"])}
    address, zone = str(checked.get("address") or ""), checked.get("zone")
    return Machine(name, address, zone, bool(checked.get("is_local")), not is_known, **judged, workers=workers)


def _judged(checked: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "usable": checked.get("usable"),
        "reasons": tuple(str(words) for words in checked.get("reasons") or ()),
        "notes": tuple(str(words) for words in checked.get("notes") or ()),
        "facts": checked.get("facts") or {},
        "was_reached": any(value is not None for value in (checked.get("facts") or {}).values()) if checked else None,
        "brokers": tuple(
            Probe(
                str(item.get("role", "")),
                str(item.get("server", "")),
                str(item.get("step", "")),
                item.get("ok"),
                str(item.get("words") or ""),
                item.get("seconds"),
                item.get("bytes_per_second"),
            )
            for item in checked.get("brokers") or ()
        ),
    }


def worst(machines: Sequence[Machine]) -> ExitCode:
    """The exit code of a check: a machine that did not answer is worse than one that cannot be used."""
    if any(machine.is_listed and machine.was_reached is False for machine in machines):
        return ExitCode.CONNECT
    if any(machine.is_listed and machine.usable is not True for machine in machines):
        return ExitCode.NOT_READY
    return ExitCode.OK


def counts(machines: Sequence[Machine]) -> str:
    """How many can be used, in words: "3 usable, 1 left out, 1 unknown"."""
    words = [word_of(machine) for machine in machines]
    named = ("usable", "left out", "silent", "unknown")
    return ", ".join(f"{words.count(word)} {word}" for word in named if word in words) or "no machines"


def word_of(machine: Machine) -> str:
    """The verdict in a word: usable, left out, silent (it was not reached), unknown."""
    if machine.was_reached is False:
        return "silent"
    return {True: "usable", False: "left out", None: "unknown"}[machine.usable]


def os_words(facts: Mapping[str, Any]) -> str | None:
    """Name and version of the operating system, None where not measured."""
    parts = [str(facts[key]) for key in ("os", "os_version") if facts.get(key)]
    return " ".join(parts) or None
