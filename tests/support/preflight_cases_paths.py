"""Cases of the checks of ways between machines, and of what the copy asks of the source's brokers."""

from __future__ import annotations

from dataclasses import replace

from kferry.domain.model import Broker, Role
from kferry.domain.preflight import PreflightFacts, Probe
from support.preflight_facts import facts, remote, source
from support.scans import scan, topic

THREE = [Broker(number, f"b{number}", 9092) for number in (1, 2, 3)]
BACKLOG = {"end": 10**9, "mean_record_bytes": 1000.0}


def ways(*target_speeds: float | None, usable: bool = True, **fields: object) -> PreflightFacts:
    """A machine that has measured its ways: 90 MB/s from the source, and these speeds to brokers of the target."""
    probes = [
        Probe("w1", Role.TARGET, f"t{number}:9092", "tcp", True, "connected", bytes_per_second=speed)
        for number, speed in enumerate(target_speeds)
    ]
    quick = Probe("w1", Role.SOURCE, "s:9092", "tcp", True, "connected", bytes_per_second=90e6)
    return replace(remote(usable), probes=(quick, *probes), **fields)  # type: ignore[arg-type]


def copied(workers: int, records_per_second: float | None, brokers: int = 3) -> PreflightFacts:
    """A large topic that so many workers copy from so many brokers while so many records of 1 kB come in."""
    found = topic("a.x", 64, **BACKLOG, records_per_second=records_per_second)  # type: ignore[arg-type]
    return facts(scan([found], brokers=THREE[:brokers]), workers_per_task=workers)


CASES = [
    ("worker-speed", facts(), "", "", ""),
    ("worker-speed", remote(True), "", "", ""),
    ("worker-speed", ways(30e6), "", "", ""),
    ("worker-speed", ways(12e6, 9e6), "", "", ""),
    ("worker-speed", ways(12e6, None), "warn", "w1 target", "12.0 MB per second with 1 broker,"),
    ("worker-speed", ways(12e6, 3e6), "warn", "w1 target", "15.0 MB per second with 2 brokers"),
    ("worker-speed", ways(None, None), "info", "w1 target", "20.0 MB per second and worker"),
    ("worker-speed", ways(1e6, copy_speed_measured=True), "", "", ""),
    ("worker-speed", ways(1e6, copy_bytes_per_second=None), "", "", ""),
    ("worker-speed", ways(1e6, usable=False), "", "", ""),
    ("source-load", facts(), "", "", ""),
    ("source-load", copied(2, 1000.0), "", "", ""),
    (
        "source-load",
        copied(16, 1000.0),
        "warn",
        "everything",
        "16 workers would read 106.7 MB per second from each of 3",
    ),
    ("source-load", copied(16, 1000.0, brokers=1), "warn", "everything", "they take in 1.0 MB per second each"),
    ("source-load", copied(16, 150_000.0), "", "", ""),
    ("source-load", copied(16, None), "warn", "everything", "is not known"),
    ("source-load", source(topic("a.x", 64, end=1000), workers_per_task=16), "", "", ""),
    ("source-load", replace(copied(16, 1000.0), copy_bytes_per_second=None), "", "", ""),
]
