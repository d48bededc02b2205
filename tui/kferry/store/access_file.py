"""access.yml: whom principals become on the target, who gets which password there, and as whom rights may be probed.

The file is optional: without it every principal keeps its name, and nobody gets a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from kferry.domain.access_items import WantedUser
from kferry.domain.access_mapping import PrincipalMapping, PrincipalPattern, pattern_fault
from kferry.domain.model import Role
from kferry.store.paths import Layout
from kferry.store.yaml_error import YamlItem, read_yaml

SCHEMA = 1
NAME = "access.yml"

_KEYS = ("schema", "scope", "principals", "users", "probes")
_PRINCIPAL_KEYS = ("map", "patterns", "drop", "merge")
_PATTERN_KEYS = ("match", "to", "drop")
_USER_KEYS = ("password", "mechanisms", "iterations")
_PROBE_KEYS = (
    "principal",
    "cluster",
    "bootstrap_servers",
    "security_protocol",
    "sasl_mechanism",
    "sasl_username",
    "sasl_password",
    "ssl_certificate",
    "ssl_key",
)
_SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
_MECHANISMS = ("PLAIN", *_SCRAM, "AWS_MSK_IAM")
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+|command:.+")
_PRINCIPAL = re.compile(r"[A-Za-z0-9]+:[^\n]*\S")
_WRITE_REFERENCE = "Write a reference: env:NAME, file:/path or command:... ."
_WRITE_PRINCIPAL = "Write it as the brokers log it: User:billing, or User:CN=billing,O=Example for a certificate."
_ITERATIONS = (4096, 1_000_000)


class ScopeWord(StrEnum):
    """What of the source is looked at: what plan.yml moves, or everything."""

    PLAN = "plan"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class UserPassword:
    """The reference to a SCRAM user's new password on the target."""

    password: str
    wanted: WantedUser = field(default_factory=WantedUser)


@dataclass(frozen=True, slots=True)
class ProbeLogin:
    """How to connect as a principal to prove its rights. What is None is as in clusters.yml."""

    principal: str
    cluster: Role | None = None
    bootstrap_servers: str | None = None
    security_protocol: str | None = None
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = None
    ssl_certificate: str | None = None
    ssl_key: str | None = None


@dataclass(frozen=True, slots=True)
class AccessFile:
    """What access.yml says; `exists` is False where there is none."""

    mapping: PrincipalMapping = field(default_factory=PrincipalMapping)
    scope: ScopeWord = ScopeWord.PLAN
    users: Mapping[str, UserPassword] = field(default_factory=dict)
    probes: tuple[ProbeLogin, ...] = ()
    exists: bool = False

    def login_of(self, principal: str, role: Role) -> ProbeLogin | None:
        """The login of a principal for one cluster; one for that cluster alone wins."""
        found = [login for login in self.probes if login.principal == principal and login.cluster in (role, None)]
        return min(found, key=lambda login: login.cluster is None, default=None)


def path_of(layout: Layout) -> Path:
    return layout.root / NAME


def load_access(layout: Layout) -> AccessFile:
    """Read and check access.yml; the defaults where there is none."""
    path = path_of(layout)
    if not path.exists():
        return AccessFile()
    document = read_yaml(path, what=NAME, next_step="Write it, or do without; docs/access.md shows one.")
    document.refuse_jinja()
    keys = document.mapping(NAME, _KEYS)
    _check_schema(document, keys)
    return AccessFile(
        mapping=_mapping(keys["principals"]) if "principals" in keys else PrincipalMapping(),
        scope=keys["scope"].choice("scope", ScopeWord) if "scope" in keys else ScopeWord.PLAN,
        users=_users(keys["users"]) if "users" in keys else {},
        probes=_probes(keys["probes"]) if "probes" in keys else (),
        exists=True,
    )


def _check_schema(document: YamlItem, keys: Mapping[str, YamlItem]) -> None:
    schema = keys.get("schema")
    if schema is None or isinstance(schema.value, bool) or not isinstance(schema.value, int):
        raise (schema or document).error("the key 'schema' must be a number.", f"Write schema: {SCHEMA}.")
    if schema.value > SCHEMA:
        raise schema.error(
            f"written by a newer version of kferry (schema {schema.value}, this one knows {SCHEMA}).",
            "Use that version of kferry.",
        )


def _mapping(item: YamlItem) -> PrincipalMapping:
    keys = item.mapping("principals", _PRINCIPAL_KEYS)
    table: dict[str, str] = {}
    for name, target in keys["map"].mapping("map").items() if "map" in keys else ():
        _check_principal(keys["map"], name, key=name)
        table[name] = _principal(target, f"the target of {name}")
    drop = [_principal(one, "drop") for one in keys["drop"].sequence("drop")] if "drop" in keys else []
    for one, name in zip(keys["drop"].items or () if "drop" in keys else (), drop, strict=True):
        if name in table:
            raise one.error(f"{name} is under map and also under drop.", "Keep it in one place.")
    merge = [_principal(one, "merge") for one in keys["merge"].sequence("merge")] if "merge" in keys else []
    patterns = [_pattern(one) for one in keys["patterns"].sequence("patterns")] if "patterns" in keys else []
    return PrincipalMapping(table, tuple(patterns), frozenset(drop), frozenset(merge))


def _pattern(item: YamlItem) -> PrincipalPattern:
    keys = item.mapping("a pattern", _PATTERN_KEYS)
    if "match" not in keys:
        raise item.error("a pattern has no match.", r"Write {match: 'User:CN=([^,]+),.*', to: 'User:\1'}.")
    drops = "drop" in keys
    if drops and keys["drop"].value is not True:
        raise keys["drop"].error("drop of a pattern can only be true.", "Take the line out, or write to: ... .")
    if drops == ("to" in keys):
        raise item.error("a pattern has either to or drop.", r"Write to: 'User:\1', or drop: true.")
    pattern = PrincipalPattern(keys["match"].string("match"), None if drops else keys["to"].string("to"))
    fault = pattern_fault(pattern)
    if fault is not None:
        raise item.error(fault, "Test it on one principal first.")
    return pattern


def _users(item: YamlItem) -> dict[str, UserPassword]:
    result = {}
    for name, one in item.mapping("users").items():
        keys = one.mapping(f"user {name}", _USER_KEYS)
        if ":" in name or not name.strip():
            raise item.error(f"{name!r} is not the name of a SCRAM user.", "Write it without User:.", key=name)
        if not name.isascii():
            raise item.error(f"{name!r} cannot log in by SCRAM, which knows ASCII names only.", key=name)
        if "password" not in keys:
            raise item.error(f"user {name} has no password.", "Add password: env:NAME (a reference).", key=name)
        mechanisms = (
            tuple(one.one_of("mechanism", _SCRAM) for one in keys["mechanisms"].sequence("mechanisms"))
            if "mechanisms" in keys
            else ()
        )
        iterations = _iterations(keys["iterations"]) if "iterations" in keys else None
        result[name] = UserPassword(_secret(keys["password"], "password"), WantedUser(mechanisms, iterations))
    return result


def _iterations(item: YamlItem) -> int:
    low, high = _ITERATIONS
    if isinstance(item.value, bool) or not isinstance(item.value, int) or not low <= item.value <= high:
        raise item.error("iterations is not a number that brokers take.", f"Write {low} to {high}.")
    return int(item.value)


def _probes(item: YamlItem) -> tuple[ProbeLogin, ...]:
    seen: dict[tuple[str, str], YamlItem] = {}
    result = []
    for one in item.sequence("probes"):
        login = _login(one)
        first = seen.setdefault((login.principal, login.cluster or ""), one)
        if first is not one:
            raise one.error(f"{login.principal} is here twice (first in line {first.line}).", "Keep one of them.")
        result.append(login)
    return tuple(result)


def _login(item: YamlItem) -> ProbeLogin:
    keys = item.mapping("a probe", _PROBE_KEYS)
    if "principal" not in keys:
        raise item.error("a probe has no principal.", _WRITE_PRINCIPAL)
    principal = _principal(keys["principal"], "principal")
    if principal.endswith(":*"):
        raise keys["principal"].error("nobody can log in as everybody.", _WRITE_PRINCIPAL)
    for pair in (("sasl_username", "sasl_password"), ("ssl_certificate", "ssl_key")):
        if (pair[0] in keys) != (pair[1] in keys):
            raise item.error(f"{pair[0]} and {pair[1]} belong together.", "Add the other one.")
    if "sasl_password" not in keys and "ssl_certificate" not in keys:
        raise item.error(
            f"the probe as {principal} has no login.",
            "Add sasl_username and sasl_password, or ssl_certificate and ssl_key.",
        )

    def text(key: str) -> str | None:
        return keys[key].string(key) if key in keys else None

    return ProbeLogin(
        principal=principal,
        cluster=keys["cluster"].choice("cluster", Role) if "cluster" in keys else None,
        bootstrap_servers=text("bootstrap_servers"),
        security_protocol=keys["security_protocol"].one_of("security_protocol", _PROTOCOLS)
        if "security_protocol" in keys
        else None,
        sasl_mechanism=keys["sasl_mechanism"].one_of("sasl_mechanism", _MECHANISMS)
        if "sasl_mechanism" in keys
        else None,
        sasl_username=text("sasl_username"),
        sasl_password=_secret(keys["sasl_password"], "sasl_password") if "sasl_password" in keys else None,
        ssl_certificate=_file(keys["ssl_certificate"], "ssl_certificate") if "ssl_certificate" in keys else None,
        ssl_key=_file(keys["ssl_key"], "ssl_key") if "ssl_key" in keys else None,
    )


def _secret(item: YamlItem, key: str) -> str:
    if item.vault:
        return f"vault:{item.text}"
    text = item.string(key)
    if _REFERENCE.fullmatch(text) is None:
        raise item.error(f"{key} is not a reference; a secret never stands in this file.", _WRITE_REFERENCE)
    return text


def _file(item: YamlItem, key: str) -> str:
    text = item.string(key)
    if "-----BEGIN" in text:
        raise item.error(f"{key} holds the PEM itself.", "Save it as a file (mode 0600) and write its path.")
    return text.removeprefix("file:")


def _principal(item: YamlItem, what: str) -> str:
    text = item.string(what)
    _check_principal(item, text)
    return text


def _check_principal(item: YamlItem, text: str, *, key: str | None = None) -> None:
    if _PRINCIPAL.fullmatch(text) is None:
        raise item.error(f"{text!r} is not a principal.", _WRITE_PRINCIPAL, key=key)
