"""What is known of the machines: the newest measurements, judged, as the journal keeps them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kferry.domain.fleet import Candidate, HostFacts, HostReport, Needs, Verdict, judge
from kferry.domain.heap import LEAST_HEAP_BYTES
from kferry.store.fleet_files import load_report
from kferry.store.hosts_file import HostEntry

if TYPE_CHECKING:
    from kferry.engine.context import Services


def document(services: Services) -> dict[str, Any]:
    """The document `fleet`; without a check yet an empty one."""
    found: dict[str, Any] = json.loads(services.journal.document("fleet", "") or '{"checked_at_ms": null, "hosts": []}')
    return found


def judged(services: Services) -> dict[str, dict[str, Any]]:
    """The machines by name, as judged at the last check."""
    return {host["name"]: host for host in document(services)["hosts"]}


def candidates(services: Services, names: Iterable[str]) -> list[Candidate]:
    """The machines as workers could be put on them; one that was never measured is unknown."""
    known = judged(services)
    found = []
    for name in names:
        host = known.get(name) or {}
        found.append(Candidate(name, host.get("usable"), (host.get("facts") or {}).get("memory_bytes")))
    return found


def busy_ports(services: Services, host: str) -> frozenset[int]:
    """Ports on which something listened when the machine was measured."""
    facts = judged(services).get(host, {}).get("facts") or {}
    return frozenset(facts.get("busy_ports") or ())


def judge_all(
    services: Services, hosts: Iterable[HostEntry], *, since_ms: int, failures: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Every machine as the document `fleet` has it; what was measured before `since_ms` counts as not measured.

    `failures` are the words of machines that the play could not measure.
    """
    settings = services.settings()
    result = []
    for host in hosts:
        report = load_report(services.layout, host.name)
        if report is not None and (report.measured_at_ms or 0) < since_ms:
            report = None
        needs = Needs(
            migration_id=settings.migration_id,
            heap_bytes=settings.settings.heap_bytes or LEAST_HEAP_BYTES,
            is_local=host.is_local,
            has_java=host.is_local or settings.settings.jre_archive is not None,
        )
        verdict = judge(report, needs)
        if report is None:
            verdict = Verdict(None, _not_measured(services, host, failures.get(host.name, "")), verdict.notes)
        result.append(_entry(host, report, verdict))
    return result


def _not_measured(services: Services, host: HostEntry, words: str) -> tuple[str, ...]:
    """Why a machine could not be measured, with what to do where that is known."""
    from kferry.store.known_hosts import keys_of

    if not host.is_local and not keys_of(services.layout, host.address, host.port):
        return (f"Its SSH host key is not pinned: run `kferry fleet trust {host.name}` and compare fingerprints.",)
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in words or "Host key verification failed" in words:
        return (
            "Its SSH host key is not the pinned one, so nothing was sent to it. If the machine was made anew, "
            f"`kferry fleet trust {host.name} --replace` shows both; if not, somebody may be in between.",
        )
    return (words or "It was not measured: the play ended before.",)


def _entry(host: HostEntry, report: HostReport | None, verdict: Verdict) -> dict[str, Any]:
    return {
        "name": host.name,
        "address": host.address,
        "zone": host.zone,
        "is_local": host.is_local,
        "usable": verdict.usable,
        "reasons": list(verdict.reasons),
        "notes": list(verdict.notes),
        "facts": asdict(report.facts if report else HostFacts()),
        "brokers": [asdict(probe) for probe in (report.brokers if report else ())],
    }
