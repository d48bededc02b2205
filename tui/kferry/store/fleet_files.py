""".kferry/fleet.json and .kferry/fleet/<host>.json: what preflight.yml is to probe, and what it found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kferry.domain.fleet import HostReport
from kferry.store.atomic_write import write_text
from kferry.store.paths import Layout

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class BrokerSecurity:
    """How the brokers of one cluster are logged in to; the password and PEM texts go by the play's environment."""

    protocol: str
    mechanism: str | None = None
    username: str | None = None
    server_name_check: bool = True

    def as_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "mechanism": self.mechanism,
            "username": self.username,
            "server_name_check": self.server_name_check,
        }


@dataclass(frozen=True, slots=True)
class FleetRequest:
    """What every machine is to probe, by role of the cluster, and the ports whose use is of interest.

    `samples`: topics of which a few MB may be read, to measure the speed.
    """

    brokers: Mapping[str, Sequence[str]]
    security: Mapping[str, BrokerSecurity] = field(default_factory=dict)
    ports: Sequence[int] = ()
    samples: Mapping[str, Sequence[str]] = field(default_factory=dict)


def write_request(layout: Layout, request: FleetRequest) -> None:
    """Write .kferry/fleet.json, private and whole."""
    document = {
        "schema": SCHEMA,
        "brokers": {role: list(servers) for role, servers in request.brokers.items()},
        "security": {role: security.as_dict() for role, security in request.security.items()},
        "ports": list(request.ports),
        "samples": {role: list(topics) for role, topics in request.samples.items()},
    }
    write_text(layout.fleet_request, json.dumps(document, indent=2, ensure_ascii=False) + "\n", mode=0o600)


def load_report(layout: Layout, host: str) -> HostReport | None:
    """What was measured on one machine; None where nothing was, or the file is of no use."""
    try:
        document = json.loads((layout.fleet / f"{host}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or document.get("host") != host:
        return None
    return HostReport.from_dict(document)


def load_reports(layout: Layout, hosts: Iterable[str]) -> dict[str, HostReport | None]:
    """The report of each machine, in the order given."""
    return {host: load_report(layout, host) for host in hosts}


def forget_report(layout: Layout, host: str) -> None:
    """Remove what was measured on a machine, because it is one no more or because it is measured anew."""
    (layout.fleet / f"{host}.json").unlink(missing_ok=True)
