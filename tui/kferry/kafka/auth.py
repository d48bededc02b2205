"""The librdkafka settings that reach one cluster, secrets resolved."""

from __future__ import annotations

import logging
import time
from typing import Any

from kferry.domain import security
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig
from kferry.kafka import msk_iam, secrets

_PROTOCOLS = ("PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL", "SSL")
_MECHANISMS = (*security.WITH_PASSWORD, security.MSK_IAM)
_CLUSTERS_FILE = "inventory/group_vars/all/clusters.yml"

# Without a logger of its own librdkafka writes to stderr, which may be the screen of an operator.
client_log = logging.getLogger("kferry.kafka.client")
client_log.addHandler(logging.NullHandler())


def client_config(cluster: ClusterConfig, *, client_id: str) -> dict[str, Any]:
    """Settings for any librdkafka client of this cluster.

    Certificates and host names are always checked: what would switch that off is refused, also in `extra`. Only a
    waiver with an end and a pinned CA does without the names.
    """
    security.refuse_old_waiver(cluster, time.time_ns() // 1_000_000)
    protocol = cluster.security_protocol.upper()
    if protocol not in _PROTOCOLS:
        raise _bad(cluster, f"security_protocol is not one of {', '.join(_PROTOCOLS)}")
    if not cluster.bootstrap_servers.strip():
        raise _bad(cluster, "bootstrap_servers is empty")
    config: dict[str, Any] = {
        "bootstrap.servers": cluster.bootstrap_servers,
        "client.id": client_id,
        "security.protocol": protocol,
        "socket.keepalive.enable": True,
        "socket.connection.setup.timeout.ms": 8_000,
        "socket.timeout.ms": 30_000,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2_000,
        "broker.address.ttl": 1_000,
        "connections.max.idle.ms": 0,
        "logger": client_log,
    }
    if protocol.startswith("SASL"):
        config |= _sasl(cluster)
    if protocol.endswith("SSL"):
        config |= _ssl(cluster)
    for key, value in cluster.extra.items():
        _refuse_unsafe(cluster, key, value)
        config[key] = value
    return config


def _sasl(cluster: ClusterConfig) -> dict[str, Any]:
    mechanism = (cluster.sasl_mechanism or "").upper()
    if mechanism not in _MECHANISMS:
        raise _bad(cluster, f"sasl_mechanism is not one of {', '.join(_MECHANISMS)}")
    if mechanism == security.MSK_IAM:
        return msk_iam.client_config(cluster)
    if not cluster.sasl_username or not cluster.sasl_password:
        raise _bad(cluster, "sasl_username or sasl_password is missing")
    return {
        "sasl.mechanism": mechanism,
        "sasl.username": secrets.value_of(cluster.sasl_username),
        "sasl.password": secrets.resolve(cluster.sasl_password),
    }


def _ssl(cluster: ClusterConfig) -> dict[str, str]:
    waived = cluster.tls_name_waiver is not None and bool(cluster.ssl_ca)
    config = {
        "ssl.endpoint.identification.algorithm": "none" if waived else "https",
        "enable.ssl.certificate.verification": "true",
    }
    config |= _pem("ssl.ca", cluster.ssl_ca) if cluster.ssl_ca else {"ssl.ca.location": "probe"}
    if bool(cluster.ssl_certificate) != bool(cluster.ssl_key):
        raise _bad(cluster, "ssl_certificate and ssl_key belong together, and one of them is missing")
    if cluster.ssl_certificate and cluster.ssl_key:
        config |= _pem("ssl.certificate", cluster.ssl_certificate)
        config |= _pem("ssl.key", cluster.ssl_key)
    return config


def _pem(key: str, place: str) -> dict[str, str]:
    """A file stays a file; what a variable or a command holds is the PEM text itself."""
    if secrets.is_reference(place) and not place.startswith("file:"):
        return {f"{key}.pem": secrets.resolve(place)}
    return {f"{key}.location": place.removeprefix("file:").strip()}


def _refuse_unsafe(cluster: ClusterConfig, key: str, value: object) -> None:
    text = str(value).strip().lower()
    unchecked_name = key == "ssl.endpoint.identification.algorithm" and text != "https"
    unchecked_certificate = key == "enable.ssl.certificate.verification" and text != "true"
    if unchecked_name or unchecked_certificate:
        raise _bad(cluster, f"{key}={value} would switch off the check of the brokers' certificates")


def _bad(cluster: ClusterConfig, reason: str) -> KferryError:
    return KferryError(
        f"The settings of the {cluster.role} cluster are not usable: {reason}.",
        next_step=f"Correct kferry_clusters.{cluster.role} in {_CLUSTERS_FILE}.",
        kind=ErrorKind.USAGE,
    )
