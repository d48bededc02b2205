"""TLS of our own to a broker: for what is asked without the client library, and to tell why a handshake fails."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from kferry.domain.errors import KferryError
from kferry.domain.model import ClusterConfig
from kferry.kafka import secrets
from kferry.kafka.addresses import bootstrap_addresses

_TIMEOUT_SECONDS = 4.0
# Codes of OpenSSL's verification that say more than its words.
_NAME_CODES = (62, 64)
_NO_ISSUER_CODES = (2, 18, 19, 20, 21)
_EXPIRED_CODE, _NOT_YET_CODE = 10, 9
_NO_TLS = ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a port showed in a TLS handshake: its version and certificates (DER), the broker's own first."""

    version: str
    chain: tuple[bytes, ...]


def greeting(connected: ssl.SSLSocket) -> Greeting:
    """What the other side showed on a connection that stands."""
    return Greeting(connected.version() or "TLS", _chain(connected))


def unverified(host: str, port: int, *, timeout_seconds: float) -> Greeting | None:
    """What a port shows to a client that trusts everybody, to tell why one that does not is turned away.

    Nothing is sent on this connection. None where the port does not speak TLS, or cannot be reached.
    """
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=timeout_seconds) as plain,
            trusting.wrap_socket(plain, server_hostname=host) as connected,
        ):
            return greeting(connected)
    except (OSError, ValueError):
        return None


def _chain(connected: ssl.SSLSocket) -> tuple[bytes, ...]:
    public = getattr(connected, "get_unverified_chain", None)  # Python 3.13 and newer
    if public is not None:
        return tuple(public() or ())
    with suppress(AttributeError, ValueError, TypeError):
        found = connected._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]
        return tuple(ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in found)
    own = connected.getpeercert(binary_form=True)
    return (own,) if own else ()


def wrapped(cluster: ClusterConfig, plain: socket.socket, host: str) -> ssl.SSLSocket:
    """The connection encrypted as clusters.yml says. Raises OSError, or KferryError for a reference without a value."""
    return context(cluster).wrap_socket(plain, server_hostname=host)


def context(cluster: ClusterConfig) -> ssl.SSLContext:
    """Whom to trust and what to show, as clusters.yml says. Raises as `wrapped`."""
    if cluster.ssl_ca and secrets.is_reference(cluster.ssl_ca) and not cluster.ssl_ca.startswith("file:"):
        made = ssl.create_default_context(cadata=secrets.resolve(cluster.ssl_ca))
    else:  # a CA that is named replaces those of the system
        made = ssl.create_default_context(cafile=_path(cluster.ssl_ca) if cluster.ssl_ca else None)
    if cluster.tls_name_waiver and cluster.ssl_ca:
        made.check_hostname = False
    if cluster.ssl_certificate and cluster.ssl_key:
        with _as_file(cluster.ssl_certificate) as certificate, _as_file(cluster.ssl_key) as key:
            made.load_cert_chain(certificate, key)
    return made


def why_not(cluster: ClusterConfig, address: str) -> str | None:
    """Why a handshake with this address fails, as a sentence; None where it does not, or nothing better is known.

    The client library has one sentence for a wrong authority, a wrong name and an expired certificate.
    """
    places = bootstrap_addresses(address)
    if not places:
        return None
    host, port = places[0]
    try:
        with (
            socket.create_connection((host, port), timeout=_TIMEOUT_SECONDS) as plain,
            wrapped(cluster, plain, host) as connected,
        ):
            return _after_handshake(cluster, connected)
    except ssl.SSLError as error:
        return of_error(error, host)
    except (OSError, KferryError):
        return None


def of_error(error: ssl.SSLError, host: str) -> str | None:
    """What a failed handshake means, as the end of a sentence; None where nothing better is known."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_certificate(error, host)
    if error.reason in _NO_TLS:
        return "the port does not speak TLS"
    return None


def _after_handshake(cluster: ClusterConfig, connected: ssl.SSLSocket) -> str | None:
    """With TLS 1.3 a client hears only afterwards that its certificate was wanted."""
    if cluster.ssl_certificate:
        return None
    connected.settimeout(_TIMEOUT_SECONDS / 4)
    try:
        connected.recv(1)
    except TimeoutError:
        return None  # it waits for a request: nothing is wrong
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            return "the broker asks for a client certificate, and none is given"
    return None


def _of_certificate(error: ssl.SSLCertVerificationError, host: str) -> str:
    if error.verify_code in _NAME_CODES:
        return f"the broker's certificate does not carry the host name {host}"
    if error.verify_code in _NO_ISSUER_CODES:
        return "the broker's certificate was signed by another CA than the one that is trusted here"
    if error.verify_code == _EXPIRED_CODE:
        return "the broker's certificate has expired"
    if error.verify_code == _NOT_YET_CODE:
        return "the broker's certificate is not valid yet; one of the clocks is wrong"
    return f"the broker's certificate is refused ({error.verify_message})"


@contextmanager
def _as_file(place: str) -> Iterator[str]:
    """The path of a PEM; what a variable or a command holds becomes a file in memory, since Python takes files only."""
    if not secrets.is_reference(place) or place.startswith("file:"):
        yield _path(place)
        return
    with os.fdopen(os.memfd_create("kferry-pem"), "w") as stream:
        stream.write(secrets.resolve(place))
        stream.flush()
        yield f"/proc/self/fd/{stream.fileno()}"


def _path(place: str) -> str:
    return place.removeprefix("file:").strip()
