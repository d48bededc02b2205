"""One address, looked at layer by layer as a client would reach it: name, port, TLS, Kafka, and what login it wants.

Nothing is asked here that needs a login, so a wrong password cannot hide a wrong port.
"""

from __future__ import annotations

import datetime
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from kferry.domain import security
from kferry.domain.errors import KferryError
from kferry.domain.model import ClusterConfig
from kferry.kafka import api_versions, certificates, tls
from kferry.kafka.check_lines import FAILED, OK, UNKNOWN, WARN, Line, Stopwatch, counted, sentence
from kferry.kafka.wire import WireError, WireReader, pack_string

_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 4.0
_SOON_DAYS = 21
_API_VERSIONS, _HANDSHAKE = 18, 17
_UNSUPPORTED_MECHANISM, _NO_LOGIN_HERE = 33, 34
_MAX_ANSWER_BYTES = 1 << 20


@dataclass(slots=True)
class Endpoint:
    """What one address showed. `failure` is the line that stops a client there, if any."""

    host: str
    port: int
    lines: list[Line] = field(default_factory=list)
    versions: Mapping[int, tuple[int, int]] | None = None
    offered: tuple[str, ...] | None = None  # SASL mechanisms; None = not told

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def failure(self) -> Line | None:
        return next((line for line in self.lines if line[1] == FAILED), None)

    @property
    def seconds(self) -> float:
        return round(sum(line[3] or 0.0 for line in self.lines), 4)

    def add(self, layer: str, state: str, words: str, seconds: float) -> None:
        self.lines.append((f"{layer} {self.address}", state, words, seconds))


def check_endpoint(cluster: ClusterConfig, host: str, port: int, *, now: datetime.datetime | None = None) -> Endpoint:
    """Look at an address layer by layer; the first that fails is the last that is tried."""
    found = Endpoint(host, port)
    if not _resolve(found):
        return found
    plain = _connect(found)
    if plain is None:
        return found
    with plain:
        connected = _secure(cluster, found, plain, now or datetime.datetime.now(datetime.UTC))
        if connected is None:
            return found
        with connected:
            _speak(cluster, found, connected)
    return found


# ---- DNS and TCP ----


def _resolve(found: Endpoint) -> bool:
    watch = Stopwatch()
    try:
        ip_address(found.host.partition("%")[0])
    except ValueError:
        pass
    else:
        found.add("DNS", OK, "An address: there is no name to resolve.", watch.seconds)
        return True
    try:
        answers = socket.getaddrinfo(found.host, found.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        words = sentence(f"The name cannot be resolved ({reason(error)})", "Check its spelling and this machine's DNS.")
        found.add("DNS", FAILED, words, watch.seconds)
        return False
    addresses = sorted({str(item[4][0]) for item in answers})
    found.add("DNS", OK, f"{', '.join(addresses)}.", watch.seconds)
    return True


def _connect(found: Endpoint) -> socket.socket | None:
    watch = Stopwatch()
    try:
        plain = socket.create_connection((found.host, found.port), timeout=_CONNECT_SECONDS)
    except TimeoutError:
        words = sentence(f"No answer within {_CONNECT_SECONDS:.0f} s", "Open the way in firewalls and security groups.")
        found.add("TCP", FAILED, words, watch.seconds)
    except ConnectionRefusedError:
        words = sentence("Refused: nothing listens there", "Start the broker, or correct host and port.")
        found.add("TCP", FAILED, words, watch.seconds)
    except OSError as error:
        words = sentence(f"Not reached: {reason(error)}", "Check the route from this machine.")
        found.add("TCP", FAILED, words, watch.seconds)
    else:
        plain.settimeout(_ANSWER_SECONDS)
        found.add("TCP", OK, "Connected.", watch.seconds)
        return plain
    return None


# ---- TLS ----


def _secure(
    cluster: ClusterConfig, found: Endpoint, plain: socket.socket, now: datetime.datetime
) -> socket.socket | None:
    if not cluster.security_protocol.upper().endswith("SSL"):
        return plain
    watch = Stopwatch()
    try:
        context = tls.context(cluster)
    except (OSError, KferryError, ValueError) as error:  # ssl.SSLError is an OSError
        words = sentence(
            f"Not tried: what ssl_ca, ssl_certificate and ssl_key name cannot be used ({reason(error)})",
            "They are PEM files; see their lines above.",
        )
        found.add("TLS", FAILED, words, watch.seconds)
        return None
    try:
        connected = context.wrap_socket(plain, server_hostname=found.host)
    except ssl.SSLError as error:
        words = _why_refused(cluster, found, error, now)
    except TimeoutError:
        words = sentence(
            f"No handshake within {_ANSWER_SECONDS:.0f} s", "See whether the port speaks TLS, and its load."
        )
    except (OSError, ValueError) as error:
        words = _no_tls(cluster, found) or sentence(f"The handshake broke off: {reason(error)}", _PROTOCOL_STEP)
    else:
        _describe(cluster, found, connected, now, watch)
        return connected
    found.add("TLS", FAILED, words, watch.seconds)
    return None


def _describe(
    cluster: ClusterConfig, found: Endpoint, connected: ssl.SSLSocket, now: datetime.datetime, watch: Stopwatch
) -> None:
    """What the broker showed: for whom, by whom, until when."""
    shown = tls.greeting(connected)
    chain = certificates.read_der(shown.chain)
    if not chain:
        found.add("TLS", OK, f"{shown.version}; the certificate was accepted.", watch.seconds)
        return
    ends = min(one.not_after for one in chain)
    days = (ends - now).days
    words = (
        f"{shown.version}; for {chain[0].names_words}; by {certificates.chain_words(chain)}; "
        f"valid until {ends:%Y-%m-%d} ({counted(days, 'day')})"
    )
    if cluster.tls_name_waiver is not None:
        step = f"Its names are not checked until {cluster.tls_name_waiver.until}, as clusters.yml says."
        found.add("TLS", WARN, sentence(words, step), watch.seconds)
    elif days < _SOON_DAYS:
        found.add("TLS", WARN, sentence(words, "Renew it before the migration."), watch.seconds)
    else:
        found.add("TLS", OK, sentence(words), watch.seconds)


def _why_refused(cluster: ClusterConfig, found: Endpoint, error: ssl.SSLError, now: datetime.datetime) -> str:
    known = tls.of_error(error, found.host)
    if known is None or not isinstance(error, ssl.SSLCertVerificationError):
        plain = _no_tls(cluster, found)
        words = known or f"the handshake failed ({error.reason or reason(error)})"
        return plain or sentence(_capital(words), _PROTOCOL_STEP)
    shown = tls.unverified(found.host, found.port, timeout_seconds=_ANSWER_SECONDS)
    chain = certificates.read_der(shown.chain) if shown else []
    if not chain:
        return sentence(_capital(known), "Check ssl_ca and the broker's certificate.")
    own = chain[0]
    if "host name" in known:
        return sentence(
            f"{_capital(known)}: it is for {own.names_words}",
            "Use one of these names in bootstrap_servers and advertised.listeners, or get a certificate with this one.",
        )
    if "another CA" in known:
        trusted = "the CA of ssl_ca" if cluster.ssl_ca else "the CAs of this machine (ssl_ca is not set)"
        return sentence(
            f"{_capital(known)}: it is signed by {certificates.chain_words(chain)}, and {trusted} did not",
            "Name the PEM file of that CA as ssl_ca.",
        )
    late = next((one for one in chain if one.not_after < now), None)
    if late is not None:
        return sentence(
            f"{_capital(known)}: {late.subject} was valid until {late.not_after:%Y-%m-%d %H:%M} UTC",
            "Renew it on the broker; if that day is not over, set this machine's clock.",
        )
    early = next((one for one in chain if one.not_before > now), None)
    if early is not None:
        return sentence(
            f"{_capital(known)}: {early.subject} is valid from {early.not_before:%Y-%m-%d %H:%M} UTC", "Set the clocks."
        )
    return sentence(_capital(known), "Check ssl_ca and the broker's certificate.")


_PROTOCOL_STEP = "Check that security_protocol is the one of this port."


def _no_tls(cluster: ClusterConfig, found: Endpoint) -> str | None:
    """The sentence for a port that speaks Kafka, but without TLS; None where it is not that."""
    try:
        with socket.create_connection((found.host, found.port), timeout=_CONNECT_SECONDS) as plain:
            plain.settimeout(_ANSWER_SECONDS)
            _versions(plain)
    except (OSError, WireError):
        return None
    without = "SASL_PLAINTEXT" if cluster.security_protocol.upper().startswith("SASL") else "PLAINTEXT"
    return sentence(
        "The port speaks Kafka without TLS",
        f"Take the port of the TLS listener, or set security_protocol to {without}: then nothing is encrypted.",
    )


# ---- Kafka ----


def _speak(cluster: ClusterConfig, found: Endpoint, connected: socket.socket) -> None:
    watch = Stopwatch()
    try:
        found.versions = _versions(connected)
    except TimeoutError:
        words = sentence(
            f"Connected, but no answer within {_ANSWER_SECONDS:.0f} s",
            "The broker hangs, or it is not Kafka that listens.",
        )
        found.add("Kafka", FAILED, words, watch.seconds)
        return
    except (OSError, WireError) as error:
        found.add("Kafka", FAILED, _why_silent(cluster, found, error), watch.seconds)
        return
    oldest = api_versions.release(found.versions)
    release = f"Kafka {oldest} or newer" if oldest else "older than Kafka 0.10"
    found.add("Kafka", OK, f"Knows {counted(len(found.versions), 'request')}: {release}.", watch.seconds)
    _login_wanted(cluster, found, connected)


def _why_silent(cluster: ClusterConfig, found: Endpoint, error: Exception) -> str:
    protocol = cluster.security_protocol.upper()
    if not protocol.endswith("SSL"):
        if tls.unverified(found.host, found.port, timeout_seconds=_ANSWER_SECONDS) is not None:
            wanted = "SASL_SSL" if protocol.startswith("SASL") else "SSL"
            return sentence("The port speaks TLS, and the settings do not", f"Set security_protocol to {wanted}.")
    elif isinstance(error, ssl.SSLError) and not cluster.ssl_certificate:
        return sentence(
            "The broker asks for a client certificate, and none is given", "Set ssl_certificate and ssl_key."
        )
    elif isinstance(error, ssl.SSLError):
        return sentence(
            f"The broker refuses the client certificate ({error.reason or reason(error)})",
            "Use one that a CA of the broker's truststore has signed.",
        )
    elif (known := tls.why_not(cluster, found.address)) is not None:
        return sentence(_capital(known), "Check ssl_certificate and ssl_key.")
    return sentence(
        f"No answer in Kafka's protocol ({reason(error)})",
        "See that host and port are those of a broker's listener for clients, not of a controller or another service.",
    )


def _login_wanted(cluster: ClusterConfig, found: Endpoint, connected: socket.socket) -> None:
    """Ask which logins the listener takes: the answer comes before any password is sent."""
    protocol = cluster.security_protocol.upper()
    wanted = (cluster.sasl_mechanism or "PLAIN").upper()
    asked = "OAUTHBEARER" if wanted == security.MSK_IAM else wanted
    watch = Stopwatch()
    try:
        error, offered = _handshake(connected, asked, found.versions or {})
    except (OSError, WireError) as problem:
        if protocol.startswith("SASL"):
            found.add(
                "SASL", UNKNOWN, f"The listener does not tell which logins it takes ({reason(problem)}).", watch.seconds
            )
        return
    if error == _NO_LOGIN_HERE:
        offered = ()  # brokers before 1.0 name the logins of their other listeners here
    found.offered = offered
    listed = ", ".join(offered) or "none"
    if not protocol.startswith("SASL"):
        if offered:
            with_tls = "SASL_SSL" if protocol == "SSL" else "SASL_PLAINTEXT"
            words = sentence(
                f"The listener wants a login: {listed}", f"Set security_protocol to {with_tls} and a user."
            )
            found.add("SASL", FAILED, words, watch.seconds)
    elif error == _NO_LOGIN_HERE:
        without = "SSL" if protocol == "SASL_SSL" else "PLAINTEXT"
        words = sentence("The listener takes no login", f"Set security_protocol to {without}, or use another port.")
        found.add("SASL", FAILED, words, watch.seconds)
    elif error or asked not in offered:
        words = sentence(
            f"{wanted} is not offered here; the listener takes {listed}", "Set sasl_mechanism to one of them."
        )
        found.add("SASL", FAILED, words, watch.seconds)
    else:
        found.add("SASL", OK, f"The listener takes {listed}.", watch.seconds)


def _handshake(
    connected: socket.socket, mechanism: str, versions: Mapping[int, tuple[int, int]]
) -> tuple[int, tuple[str, ...]]:
    version = min(1, versions.get(_HANDSHAKE, (0, 0))[1])
    reader = _ask(connected, _HANDSHAKE, version, pack_string(mechanism))
    error = reader.int16()
    return error, tuple(sorted(reader.string() for _ in range(reader.array_length())))


def _versions(connected: socket.socket) -> Mapping[int, tuple[int, int]]:
    return api_versions.parse(_raw(connected, _API_VERSIONS, 0, b""))


def _ask(connected: socket.socket, api: int, version: int, body: bytes) -> WireReader:
    reader = WireReader(_raw(connected, api, version, body))
    reader.int32()  # correlation id
    return reader


def _raw(connected: socket.socket, api: int, version: int, body: bytes) -> bytes:
    request = struct.pack(">hhi", api, version, 1) + pack_string("kferry") + body
    connected.sendall(struct.pack(">i", len(request)) + request)
    (length,) = struct.unpack(">i", _receive(connected, 4))
    if not 4 <= length <= _MAX_ANSWER_BYTES:
        raise WireError("the answer is not Kafka's")
    return _receive(connected, length)


def _receive(connected: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        part = connected.recv(count - len(received))
        if not part:
            raise WireError("the connection was closed")
        received += part
    return received


def reason(error: BaseException) -> str:
    """Why something failed, in the system's words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, KferryError):
        return error.title.rstrip(".")
    return str(getattr(error, "strerror", None) or error or type(error).__name__).rstrip(".")


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
