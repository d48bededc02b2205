"""One cluster while it is being described: what a form asks for, and the keys of clusters.yml it stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kferry.domain.model import ClusterKind, Role
from kferry.domain.sources import KINDS, Kind, Way

KEPT = "kept:"  # stands for a value of clusters.yml that is neither shown nor changed (a `!vault` text)
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+|command:.+")
_SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Draft:
    """One cluster as it is being described: texts as typed, "" where nothing was."""

    role: Role
    kind: ClusterKind
    way: str
    bootstrap_servers: str = ""
    mechanism: str = ""
    user: str = ""
    password: str = ""  # a reference, never the secret
    ca: str = ""
    certificate: str = ""
    key: str = ""

    @property
    def its_kind(self) -> Kind:
        return KINDS[self.kind]

    @property
    def its_way(self) -> Way:
        return self.its_kind.way(self.way) or self.its_kind.ways[0]


@dataclass(frozen=True, slots=True)
class Gap:
    """What is missing in a draft, or looks wrong. One that `stops` keeps it from being tested and saved."""

    field: str
    words: str
    stops: bool = True


FIELDS = ("kind", "way", "bootstrap_servers", "mechanism", "user", "password", "ca", "certificate", "key")


def fields_of(draft: Draft) -> tuple[str, ...]:
    """The fields that this way asks for, in the order of the form."""
    way = draft.its_way
    asked = ["kind", "way", "bootstrap_servers"]
    if len(way.mechanisms) > 1:
        asked.append("mechanism")
    if way.needs_password:
        asked += ["user", "password"]
    if way.is_encrypted:
        asked.append("ca")
    if way.certificate:
        asked += ["certificate", "key"]
    return tuple(asked)


def fitted(draft: Draft) -> Draft:
    """The draft with a way and mechanism that its kind has; what was typed stays typed."""
    way = draft.its_way
    mechanism = draft.mechanism if draft.mechanism in way.mechanisms else way.mechanism or ""
    return replace(draft, way=way.name, mechanism=mechanism)


def with_field(draft: Draft, field: str, text: str) -> Draft:
    """The draft with one field as it was typed or chosen."""
    change: dict[str, Any] = {field: ClusterKind(text) if field == "kind" else text}
    return replace(draft, **change)


def settings_of(draft: Draft) -> dict[str, str]:
    """The keys of clusters.yml that the draft stands for; a key that is not asked for is not there."""
    way, asked = draft.its_way, fields_of(draft)
    keys = {"kind": draft.kind.value, "bootstrap_servers": servers_text(draft.bootstrap_servers)}
    if way.protocol != "PLAINTEXT":
        keys["security_protocol"] = way.protocol
    if way.mechanisms:
        keys["sasl_mechanism"] = draft.mechanism if draft.mechanism in way.mechanisms else way.mechanisms[0]
    for name, key in (
        ("user", "sasl_username"),
        ("password", "sasl_password"),
        ("ca", "ssl_ca"),
        ("certificate", "ssl_certificate"),
        ("key", "ssl_key"),
    ):
        value = str(getattr(draft, name)).strip()
        if name in asked and value:
            keys[key] = value
    return keys


# Keys of clusters.yml that a draft decides about; every other key is the operator's and stays.
DRAFTED_KEYS = (
    "kind",
    "bootstrap_servers",
    "security_protocol",
    "sasl_mechanism",
    "sasl_username",
    "sasl_password",
    "ssl_ca",
    "ssl_certificate",
    "ssl_key",
)


def draft_of(role: Role, keys: Mapping[str, Any]) -> Draft:
    """The draft for a cluster as clusters.yml has it; {} gives an empty one of the usual kind."""
    usual = ClusterKind.APACHE_KAFKA if role is Role.SOURCE else ClusterKind.AUTOMQ
    try:
        kind = ClusterKind(str(keys.get("kind", usual)))
    except ValueError:
        kind = ClusterKind.OTHER
    servers = keys.get("bootstrap_servers", "")
    made = Draft(
        role=role,
        kind=kind,
        way=_way_of(kind, keys),
        bootstrap_servers=",".join(map(str, servers)) if isinstance(servers, list) else str(servers or ""),
        mechanism=str(keys.get("sasl_mechanism") or ""),
        user=str(keys.get("sasl_username") or ""),
        password=str(keys.get("sasl_password") or ""),
        ca=str(keys.get("ssl_ca") or ""),
        certificate=str(keys.get("ssl_certificate") or ""),
        key=str(keys.get("ssl_key") or ""),
    )
    return fitted(made)


def _way_of(kind: ClusterKind, keys: Mapping[str, Any]) -> str:
    """The way that fits what is written best: protocol first, then mechanism, certificate and port."""
    ways = KINDS[kind].ways
    if not keys.get("bootstrap_servers"):
        return ways[0].name
    protocol = str(keys.get("security_protocol") or "PLAINTEXT")
    mechanism = str(keys.get("sasl_mechanism") or "")
    ports = {port for _, port in servers_of(str(keys["bootstrap_servers"]))}
    host_fits = bool(KINDS[kind].hosts) and all(
        re.search(KINDS[kind].hosts, host) for host, _ in servers_of(str(keys["bootstrap_servers"]))
    )

    def score(way: Way) -> tuple[bool, bool, bool, bool]:
        right_mechanism = mechanism in way.mechanisms if mechanism else not way.mechanisms
        right_port = bool(ports & set(way.ports)) and (way.name != "cloud" or host_fits)
        certified = way.certificate == bool(keys.get("ssl_certificate"))
        return (way.protocol == protocol, right_mechanism, certified, right_port)

    return max(ways, key=score).name


def servers_of(text: str) -> list[tuple[str, int]]:
    """Host and port of each bootstrap server that can be read; what cannot is left out."""
    found = []
    for part in re.split(r"[,\s]+", text.strip()):
        match = _SERVER.fullmatch(part.rpartition("://")[2])
        if match and 0 < int(match["port"]) < 65536:
            found.append((match["host"], int(match["port"])))
    return found


def servers_text(text: str) -> str:
    """The list as clusters.yml has it: commas between, without the schemes, blanks and line ends of a pasted one."""
    parts = [part.rpartition("://")[2] for part in re.split(r"[,\s]+", text.strip()) if part]
    return ",".join(dict.fromkeys(parts))


def is_reference(text: str) -> bool:
    """Whether a text is a reference to a secret, and so may be written, sent and shown."""
    return text == KEPT or _REFERENCE.fullmatch(text) is not None
