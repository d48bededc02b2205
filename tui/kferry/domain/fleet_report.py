"""What preflight.yml measured on one machine, as frozen data: None = not measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker as found on a machine. version: the folder that its link `current` points at."""

    name: str
    state: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class BrokerProbe:
    """The last step that a machine reached on its way to one broker: resolve, tcp, tls, sasl or path.

    `bytes_per_second`: how fast bytes went to a broker of the target or came from one of the source.
    """

    role: str
    server: str
    step: str
    ok: bool
    words: str
    seconds: float | None = None
    bytes_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a machine is; None = not measured. `java_version`, `migration` and `python`: "" = there is none."""

    os: str | None = None
    os_version: str | None = None
    architecture: str | None = None
    python: str | None = None
    systemd: bool | None = None
    sudo: bool | None = None
    cpu_count: int | None = None
    memory_bytes: int | None = None
    free_memory_bytes: int | None = None
    free_disk_bytes: int | None = None
    clock_offset_seconds: float | None = None
    java_version: str | None = None
    busy_ports: tuple[int, ...] | None = None
    migration: str | None = None
    workers: tuple[WorkerSeen, ...] | None = None


@dataclass(frozen=True, slots=True)
class HostReport:
    """What preflight.yml wrote of one machine."""

    host: str
    measured_at_ms: int | None = None
    facts: HostFacts = field(default_factory=HostFacts)
    brokers: tuple[BrokerProbe, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> HostReport:
        """Read a report; a value of another type than promised counts as not measured."""
        facts = _mapping(data.get("facts"))
        return cls(
            host=_text(data.get("host")) or "",
            measured_at_ms=_whole(data.get("measured_at_ms")),
            facts=HostFacts(
                os=_text(facts.get("os")),
                os_version=_text(facts.get("os_version")),
                architecture=_text(facts.get("architecture")),
                python=_text(facts.get("python")),
                systemd=_yes(facts.get("systemd")),
                sudo=_yes(facts.get("sudo")),
                cpu_count=_whole(facts.get("cpu_count")),
                memory_bytes=_whole(facts.get("memory_bytes")),
                free_memory_bytes=_whole(facts.get("free_memory_bytes")),
                free_disk_bytes=_whole(facts.get("free_disk_bytes")),
                clock_offset_seconds=_real(facts.get("clock_offset_seconds")),
                java_version=_text(facts.get("java_version")),
                busy_ports=_ports(facts.get("busy_ports")),
                migration=_text(facts.get("migration")),
                workers=_workers(facts.get("workers")),
            ),
            brokers=tuple(_probe(item) for item in _items(data.get("brokers")) or ()),
        )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: object) -> list[Mapping[str, Any]] | None:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _yes(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _real(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _ports(value: object) -> tuple[int, ...] | None:
    return tuple(port for port in map(_whole, value) if port) if isinstance(value, list) else None


def _workers(value: object) -> tuple[WorkerSeen, ...] | None:
    items = _items(value)
    if items is None:
        return None
    return tuple(
        WorkerSeen(_text(item.get("name")) or "", _text(item.get("state")), _text(item.get("version")))
        for item in items
    )


def _probe(item: Mapping[str, Any]) -> BrokerProbe:
    return BrokerProbe(
        role=_text(item.get("role")) or "",
        server=_text(item.get("server")) or "",
        step=_text(item.get("step")) or "",
        ok=item.get("ok") is True,
        words=_text(item.get("words")) or "Not measured.",
        seconds=_real(item.get("seconds")),
        bytes_per_second=_real(item.get("bytes_per_second")),
    )
