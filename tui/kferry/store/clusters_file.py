"""clusters.yml: how to reach source and target. Plain YAML plus `!vault`; secrets only as references."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig, ClusterKind, Role, TlsNameWaiver
from kferry.store.paths import Layout
from kferry.store.yaml_error import YamlItem, parse_yaml, read_yaml

TOP_KEY = "kferry_clusters"
SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
SASL_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "AWS_MSK_IAM")
_WITH_PASSWORD = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_KEYS = (
    "kind",
    "bootstrap_servers",
    "security_protocol",
    "sasl_mechanism",
    "sasl_username",
    "sasl_password",
    "ssl_ca",
    "ssl_certificate",
    "ssl_key",
    "extra",
    "tls_name_waiver",
    "aws_role_arn",
    "aws_region",
    "admin_username",
    "admin_password",
)
# Kinds of cluster whose documentation tells users to do without the check of host names.
_WAIVER_KINDS = (ClusterKind.ALIBABA, ClusterKind.OTHER)
_NOT_OFFERED = {
    "GSSAPI": "Kerberos (GSSAPI) is not supported: kferry's own Kafka client is built without it.",
    "OAUTHBEARER": "OAUTHBEARER is not supported.",
}
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]*(\{task\})?[\w+=,.@/-]*")
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+|command:.+")
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_SECRET_SETTING = re.compile(r"password|secret|\.pem$|private|jaas|token", re.IGNORECASE)
_DRAFT = Path("draft")  # a cluster that stands in no file
_PLACE = re.compile(r"^draft, line [0-9]+, column [0-9]+: ")
_WRITE_REFERENCE = "Write a reference: env:NAME, file:/path or command:... ."


def load_clusters(layout: Layout) -> dict[Role, ClusterConfig]:
    """The clusters as written; a role that stands nowhere is not in the answer."""
    document = read_yaml(
        layout.clusters,
        what="clusters.yml",
        next_step="Run `kferry init`, or write the file; docs/configuration.md shows one.",
    )
    return clusters_of(document)


def clusters_of(document: YamlItem) -> dict[Role, ClusterConfig]:
    """The clusters of a file that was read; whatever is not right is a KferryError with its place."""
    document.refuse_jinja()
    top = document.mapping("clusters.yml", [TOP_KEY])
    if TOP_KEY not in top:
        raise document.error(f"the key {TOP_KEY!r} is missing.", f"Begin the file with {TOP_KEY}: .")
    roles = top[TOP_KEY].mapping(TOP_KEY, [role.value for role in Role])
    return {Role(name): _cluster(Role(name), item) for name, item in roles.items()}


def require_cluster(clusters: Mapping[Role, ClusterConfig], role: Role) -> ClusterConfig:
    """The cluster of a role, or the sentence that says where to write it."""
    if role not in clusters:
        raise KferryError(
            f"clusters.yml has no {role.value} cluster.",
            next_step=f"Add {role.value}: with kind and bootstrap_servers under {TOP_KEY}.",
            kind=ErrorKind.USAGE,
        )
    return clusters[role]


def cluster_of(role: Role, keys: Mapping[str, object]) -> ClusterConfig:
    """One cluster out of plain keys, by the rules of the file; what is wrong with them is told without a place."""
    import yaml

    text = yaml.safe_dump({TOP_KEY: {role.value: dict(keys)}}, sort_keys=False, allow_unicode=True)
    try:
        return clusters_of(parse_yaml(text.encode(), _DRAFT))[role]
    except KferryError as error:
        title = _PLACE.sub("", error.title)
        if "_" not in title.partition(" ")[0]:  # a key keeps its letters
            title = title[:1].upper() + title[1:]
        raise KferryError(title, cause=error.cause, next_step=error.next_step, kind=error.kind) from None


def _cluster(role: Role, item: YamlItem) -> ClusterConfig:
    keys = item.mapping(f"the {role.value} cluster", _KEYS)
    for key in ("kind", "bootstrap_servers"):
        if key not in keys:
            raise item.error(f"the {role.value} cluster has no {key}.", f"Add a line {key}: ... .")
    protocol = (
        keys["security_protocol"].one_of("security_protocol", SECURITY_PROTOCOLS)
        if "security_protocol" in keys
        else "PLAINTEXT"
    )
    kind = keys["kind"].choice("kind", ClusterKind)
    mechanism = _mechanism(keys)
    _check_sasl(role, item, keys, protocol, mechanism)
    _check_ssl(role, item, keys, protocol)
    _check_aws(keys, mechanism)
    _check_admin(keys, mechanism)
    return ClusterConfig(
        role=role,
        kind=kind,
        bootstrap_servers=_servers(keys["bootstrap_servers"]),
        security_protocol=protocol,
        sasl_mechanism=mechanism,
        sasl_username=_text(keys, "sasl_username"),
        sasl_password=_secret(keys, "sasl_password"),
        ssl_ca=_file(keys, "ssl_ca"),
        ssl_certificate=_file(keys, "ssl_certificate"),
        ssl_key=_file(keys, "ssl_key"),
        extra=_extra(keys["extra"]) if "extra" in keys else {},
        tls_name_waiver=_waiver(keys, kind) if "tls_name_waiver" in keys else None,
        aws_role_arn=_matching(keys, "aws_role_arn", _ROLE_ARN, "Write arn:aws:iam::123456789012:role/name."),
        aws_region=_matching(keys, "aws_region", _REGION, "Write a region such as eu-west-1."),
        admin_username=_text(keys, "admin_username"),
        admin_password=_secret(keys, "admin_password"),
    )


def _mechanism(keys: Mapping[str, YamlItem]) -> str | None:
    if "sasl_mechanism" not in keys:
        return None
    item = keys["sasl_mechanism"]
    if (words := _NOT_OFFERED.get(item.text or "")) is not None:
        raise item.error(words, f"Offer one of these on a listener: {', '.join(SASL_MECHANISMS)}; or mutual TLS.")
    return item.one_of("sasl_mechanism", SASL_MECHANISMS)


def _check_sasl(role: Role, item: YamlItem, keys: Mapping[str, YamlItem], protocol: str, mechanism: str | None) -> None:
    if protocol.startswith("SASL_"):
        if mechanism is None:
            valid = ", ".join(SASL_MECHANISMS)
            raise item.error(f"{protocol} needs a sasl_mechanism.", f"Valid values: {valid}.")
        for key in ("sasl_username", "sasl_password") if mechanism in _WITH_PASSWORD else ():
            if key not in keys:
                raise item.error(f"the {role.value} cluster has no {key}, which {mechanism} needs.", f"Add {key}.")
        if mechanism == "AWS_MSK_IAM" and protocol != "SASL_SSL":
            raise item.error("AWS_MSK_IAM needs security_protocol SASL_SSL.", "MSK offers it on port 9098.")
        return
    for key in ("sasl_mechanism", "sasl_username", "sasl_password"):
        if key in keys:
            raise item.error(
                f"{key} has no effect with security_protocol {protocol}.",
                "Write SASL_SSL or SASL_PLAINTEXT, or take the line out.",
                key=key,
            )


def _check_ssl(role: Role, item: YamlItem, keys: Mapping[str, YamlItem], protocol: str) -> None:
    if not protocol.endswith("SSL"):
        for key in ("ssl_ca", "ssl_certificate", "ssl_key", "tls_name_waiver"):
            if key in keys:
                raise item.error(
                    f"{key} has no effect with security_protocol {protocol}.",
                    "Write SSL or SASL_SSL, or take the line out.",
                    key=key,
                )
    if ("ssl_certificate" in keys) != ("ssl_key" in keys):
        raise item.error(
            f"the {role.value} cluster has only one of ssl_certificate and ssl_key.", "Mutual TLS needs both."
        )


def _check_aws(keys: Mapping[str, YamlItem], mechanism: str | None) -> None:
    for key in ("aws_role_arn", "aws_region") if mechanism != "AWS_MSK_IAM" else ():
        if key in keys:
            raise keys[key].error(f"{key} has no effect without sasl_mechanism AWS_MSK_IAM.", "Take the line out.")


def _check_admin(keys: Mapping[str, YamlItem], mechanism: str | None) -> None:
    given = [key for key in ("admin_username", "admin_password") if key in keys]
    if not given:
        return
    if mechanism not in _WITH_PASSWORD:
        words = f"{given[0]} has no effect: it takes the place of sasl_username, which is not in use here."
        raise keys[given[0]].error(words, "Take it out; rights are granted with the cluster's own settings.")
    if len(given) == 1:
        raise keys[given[0]].error("admin_username and admin_password belong together.", "Add the other one.")


def _waiver(keys: Mapping[str, YamlItem], kind: ClusterKind) -> TlsNameWaiver:
    item = keys["tls_name_waiver"]
    if kind not in _WAIVER_KINDS:
        raise item.error(
            f"host names are always checked for a cluster of kind {kind.value}.",
            "Use the names that stand in the brokers' certificates; if they stand in none, get another certificate.",
        )
    if "ssl_ca" not in keys:
        raise item.error(
            "tls_name_waiver needs ssl_ca: without a name, only one pinned CA may vouch for the brokers.",
            "Add ssl_ca with the CA that the service publishes.",
        )
    parts = item.mapping("tls_name_waiver", ("until", "why"))
    for key in ("until", "why"):
        if key not in parts:
            raise item.error(f"tls_name_waiver has no {key}.", 'Write {until: 2026-12-31, why: "..."}.')
    until = parts["until"].string("until")
    try:
        day = date.fromisoformat(until)
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise parts["until"].error(f"{until!r} is not a day.", "Write it as 2026-12-31.") from None
    return TlsNameWaiver(day.isoformat(), int(end.timestamp() * 1000), parts["why"].string("why"))


def _matching(keys: Mapping[str, YamlItem], key: str, pattern: re.Pattern[str], next_step: str) -> str | None:
    if key not in keys:
        return None
    text = keys[key].string(key)
    if pattern.fullmatch(text) is None:
        raise keys[key].error(f"{text!r} is not an {key}.", next_step)
    return text


def _text(keys: Mapping[str, YamlItem], key: str) -> str | None:
    if key not in keys:
        return None
    item = keys[key]
    return f"vault:{item.text}" if item.vault else item.string(key)


def _file(keys: Mapping[str, YamlItem], key: str) -> str | None:
    if key not in keys:
        return None
    text = keys[key].string(key)
    if "-----BEGIN" in text:
        raise keys[key].error(f"{key} holds the PEM itself.", "Save it as a file (mode 0600) and write its path.")
    return text.removeprefix("file:")


def _secret(keys: Mapping[str, YamlItem], key: str) -> str | None:
    if key not in keys:
        return None
    item = keys[key]
    if item.vault:
        return f"vault:{item.text}"
    text = item.string(key)
    if _REFERENCE.fullmatch(text) is None:
        raise item.error(f"{key} is not a reference; a secret never stands in this file.", _WRITE_REFERENCE)
    return text


def _servers(item: YamlItem) -> str:
    if item.items is not None:
        parts = [(one, one.string("bootstrap server").strip()) for one in item.items]
    else:
        parts = [(item, part.strip()) for part in item.string("bootstrap_servers").split(",")]
    for where, server in parts:
        match = _SERVER.fullmatch(server)
        if match is None or not 0 < int(match[2]) < 65536:
            raise where.error(f"{server!r} is not a bootstrap server.", "Write host:port, with a port of 1 to 65535.")
    if not parts:
        raise item.error("bootstrap_servers is empty.", "Write host:port, several with commas between.")
    return ",".join(server for _, server in parts)


def _extra(item: YamlItem) -> dict[str, str]:
    settings = {}
    for key, value in item.mapping("extra").items():
        if _SECRET_SETTING.search(key):
            raise item.error(
                f"extra may not hold {key!r}: it looks like a secret.", "Use sasl_password or ssl_key.", key=key
            )
        settings[key] = value.string(key)
    return settings
