"""Walk the steps from here to a broker: resolve, tcp, tls, sasl, path; all at once. Standard library only."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import socket
import ssl
import tempfile
import threading
import time
from pathlib import Path

from ansible.module_utils import kferry_path_probe
from ansible.module_utils.kferry_kafka_wire import SCRAM_HASHES, ClosedError, Conversation, RefusedError, printable

ROUND_SECONDS = 7.0
CONNECT_SECONDS = 5.0
MAX_SERVERS = 256
MAX_MEASURED = (
    4  # servers of a cluster whose speed is measured: together they show what this machine's own link carries
)
LOGINS = ("PLAIN", *SCRAM_HASHES)
EXPIRED, NOT_YET_VALID, NAME_MISMATCH, ADDRESS_MISMATCH = 10, 9, 62, 64
UNTRUSTED = (18, 19, 20, 21)
CLIENT_CERTIFICATE_WANTED = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "HANDSHAKE_FAILURE")


class StepError(Exception):
    """A step that failed, with its sentence."""

    def __init__(self, step, words):
        super().__init__(words)
        self.step = step


def probe_all(asked, security, secrets, round_seconds=ROUND_SECONDS, samples=None):
    """Probe the servers asked for by role, then those that they advertise; one result per role and server.

    `samples`: topics by role whose records may be read to measure the speed; None measures no speed at all.
    """
    results, advertised = {}, {}
    wanted = [(role, server) for role in asked for server in asked[role]]
    for origin in ("asked", "advertised"):
        fresh = [pair for pair in dict.fromkeys(wanted) if pair not in results][:MAX_SERVERS]
        for pair, (result, brokers) in _round(fresh, security, secrets, round_seconds, samples).items():
            if origin == "advertised" and not result["ok"]:
                result["words"] += " The cluster advertises this address (advertised.listeners)."
            results[pair] = result
            advertised.setdefault(pair[0], []).extend(brokers)
        wanted = [(role, server) for role in advertised for server in advertised[role]]
    return list(results.values())


def _round(pairs, security, secrets, seconds, samples):
    """Probe all at once. Whoever is not back at the deadline is left behind: a name lookup can't be interrupted."""
    answers = queue.Queue()
    started = time.monotonic()

    measured = (
        set()
        if samples is None
        else set().union(*([pair for pair in pairs if pair[0] == role][:MAX_MEASURED] for role in samples))
    )

    def one(pair):
        role, server = pair
        topics = samples[role] if pair in measured else None
        how = security.get(role) or {}, secrets.get(role) or {}
        answers.put((pair, probe(role, server, *how, started + seconds, topics)))

    for pair in pairs:
        threading.Thread(target=one, args=(pair,), daemon=True).start()
    found = {}
    while len(found) < len(pairs):
        try:
            pair, answer = answers.get(timeout=max(0.05, started + seconds + 0.5 - time.monotonic()))
        except queue.Empty:
            break
        found[pair] = answer
    for role, server in pairs:
        if (role, server) not in found:
            words = f"The name {host_of(server)} is not resolved within {seconds:g} s; check this machine's DNS."
            found[role, server] = _result(role, server, "resolve", False, words, seconds), []
    return {pair: found[pair] for pair in pairs}


def probe(role, server, security, secrets, deadline_seconds, topics=None):
    """The last step reached at one server, and the brokers that it advertises. Never raises.

    `topics`: where its speed is to be measured, topics of which records may be read.
    """
    walk = _Walk(role, server, security, secrets, deadline_seconds, topics)
    try:
        words, ok = walk.go(), True
    except StepError as error:
        walk.step, words, ok = error.step, str(error), False
    except Exception as error:  # one broker never ends the measuring of the others
        walk.step, words, ok = "tcp", f"The probe of {server} broke off: {type(error).__name__}.", False
    result = _result(role, server, walk.step, ok, _without(secrets, words), walk.seconds())
    return {**result, "bytes_per_second": walk.bytes_per_second}, walk.brokers


def _result(role, server, step, ok, words, seconds):
    return {
        "role": role,
        "server": server,
        "step": step,
        "ok": ok,
        "words": words,
        "seconds": round(seconds, 3),
        "bytes_per_second": None,
    }


def _without(secrets, words):
    """The sentence without a secret that a server may have sent back."""
    for value in secrets.values():
        if value and len(value) >= 6:
            words = words.replace(value, "***")
    return words


class _Walk:
    """One way to one server, and what was found on it."""

    def __init__(self, role, server, security, secrets, deadline_seconds, topics):
        self.step = "tcp"
        self.brokers = []
        self.bytes_per_second = None
        self._role, self._server, self._topics = role, server, topics
        self._security, self._secrets = security, secrets
        self._protocol = (security.get("protocol") or "PLAINTEXT").upper()
        self._versions = {}
        self._deadline_seconds = deadline_seconds
        self._began = time.monotonic()
        self._answered = None

    def seconds(self):
        """How long it took until the server had answered; measuring its speed is not part of that."""
        return (self._answered or time.monotonic()) - self._began

    def go(self):
        """Walk, and return the sentence of the last step."""
        with self._talk() as (talk, said):
            if talk is None:
                return said
            self.brokers = _step(self.step, self._server, talk.brokers, _unexpected_login(self._protocol))
            self._answered = time.monotonic()
            self._measure(talk)
            return f"{said}; {len(self.brokers)} brokers are advertised."

    @contextlib.contextmanager
    def _talk(self):
        """A talk with the server that is logged in, and the words for it; None where logging in can't be tried."""
        host, port = _split(self._server)
        connection = _connect(self._server, host, port, self._deadline_seconds)
        with contextlib.closing(connection):
            self.step, said = "tcp", "Kafka answers"
            if self._protocol.endswith("SSL"):
                self.step = "tls"
                connection = _tls(connection, host, port, self._security, self._secrets, self._deadline_seconds)
                said = f"The certificate is trusted ({connection.version()}) and Kafka answers"
            with contextlib.closing(connection):
                talk = Conversation(connection, self._deadline_seconds)
                self._versions = _step(self.step, self._server, talk.api_versions, _closed_words(self._protocol))
                yield self._logged_in(talk, said) if self._protocol.startswith("SASL") else (talk, said)

    def _logged_in(self, talk, said):
        mechanism = (self._security.get("mechanism") or "").upper()
        self.step = "sasl"
        if mechanism not in LOGINS:
            return None, _step("sasl", self._server, lambda: _offered(talk, mechanism))
        _step("sasl", self._server, lambda: _log_in(talk, mechanism, self._security, self._secrets, self._versions))
        return talk, f"Logged in by {mechanism} and Kafka answers"

    def _measure(self, talk):
        """Whether the path carries large packets, and its speed. A server that won't take part is no worse for it."""
        try:
            kferry_path_probe.large_packets(talk, self._versions)
        except kferry_path_probe.BlockedError:
            self._try_again()
        except (OSError, RefusedError):
            return
        else:
            if self._topics is not None:
                self.bytes_per_second = kferry_path_probe.bytes_per_second(
                    talk, self._versions, self._role, self._server, self._topics
                )

    def _try_again(self):
        """Large packets as the first thing on a connection of their own: a broker that holds us back by a quota lets a
        connection wait after an answer, and not before.
        """
        reached = self.step
        try:
            with self._talk() as (talk, _said):
                if self._deadline_seconds - time.monotonic() >= kferry_path_probe.LARGE_SECONDS:
                    kferry_path_probe.large_packets(talk, self._versions)
        except kferry_path_probe.BlockedError as error:
            raise StepError("path", _large_words(self._server, str(error))) from error
        except (OSError, RefusedError, StepError):
            self.step = reached


def _large_words(server, direction):
    count, seconds = kferry_path_probe.LARGE_BYTES, kferry_path_probe.LARGE_SECONDS
    return (
        f"{server} answers small requests, but {count} bytes {direction} it don't come through within {seconds:g} s: "
        "something on the way drops large packets. Check the MTU of this machine's interface and of tunnels, and that "
        "firewalls let ICMP 'fragmentation needed' pass."
    )


def _offered(talk, mechanism):
    offered = talk.offers(mechanism)
    if offered is not None:
        raise RefusedError(f"It doesn't offer {mechanism}, but {', '.join(sorted(offered)) or 'nothing'}.")
    return f"{mechanism} is offered; the login itself, and with it the other brokers, are not tried from here."


def _log_in(talk, mechanism, security, secrets, versions):
    username, password = security.get("username"), secrets.get("password")
    if not username or not password:
        raise RefusedError(f"The login was not tried: no {'user name' if not username else 'password'} was given.")
    talk.log_in(mechanism, username, password, versions)


def _step(step, server, act, closed=""):
    """Run one part of the walk; whatever goes wrong becomes this step's sentence."""
    try:
        return act()
    except ClosedError as error:
        raise StepError(step, f"{server}: {error} {closed}".rstrip()) from error
    except RefusedError as error:
        raise StepError(step, f"{server}: {error}") from error
    except socket.timeout as error:  # noqa: UP041  (Python 3.8)
        words = f"{server} accepts connections but does not answer in time"
        raise StepError(step, f"{words}; the broker hangs, or the port expects another security_protocol.") from error
    except ssl.SSLEOFError as error:  # the handshake was through: TLS is spoken
        raise StepError("tls", f"{server} closes the connection after TLS. {_closed_words('SSL')}") from error
    except ssl.SSLError as error:  # with TLS 1.3 the server's verdict on our certificate comes with the first answer
        raise StepError("tls", _tls_words(server, error)) from error
    except ConnectionResetError as error:
        words = _closed_words("SSL") if step == "tls" else "Something between may have cut it."
        raise StepError(step, f"{server} resets the connection. {words}") from error
    except OSError as error:
        raise StepError(step, f"{server}: the connection breaks: {error.strerror or error}.") from error


def _closed_words(protocol):
    if protocol.endswith("SSL"):
        return "It may want a client certificate, or be no Kafka broker."
    return "It may expect TLS, or be no Kafka broker; check security_protocol."


def _unexpected_login(protocol):
    return "" if protocol.startswith("SASL") else "It may expect a login (SASL); check security_protocol."


def host_of(server):
    return server.rsplit(":", 1)[0].strip("[]")


def _split(server):
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})", server)
    if not found or not 0 < int(found.group(2)) < 65536:
        raise StepError("resolve", f"{printable(server)} is not host:port.")
    return found.group(1).strip("[]"), int(found.group(2))


def _connect(server, host, port, deadline_seconds):
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", "") or "no such name"
        words = f"The name {host} can't be resolved here ({reason}); check this machine's DNS or /etc/hosts."
        raise StepError("resolve", words) from error
    last = None
    for at, place in enumerate(places):
        left = min(CONNECT_SECONDS, deadline_seconds - time.monotonic()) / (len(places) - at)
        if left <= 0:
            break
        connection = socket.socket(place[0], place[1], place[2])
        connection.settimeout(left)
        try:
            connection.connect(place[4])
        except OSError as error:
            last = error
            connection.close()
            continue
        return connection
    raise StepError("tcp", _tcp_words(server, last)) from last


def _tcp_words(server, error):
    if isinstance(error, ConnectionRefusedError):
        return f"{server} refuses the connection: nothing listens there, or a firewall rejects it."
    if error is None or isinstance(error, socket.timeout):
        return f"{server} does not answer; a firewall or security group probably drops what comes from this machine."
    return f"{server} can't be reached: {error.strerror or error}; check routes and firewalls."


def _tls(connection, host, port, security, secrets, deadline_seconds):
    server = f"{host}:{port}"
    try:
        context = _context(security, secrets)
    except (ssl.SSLError, OSError, ValueError) as error:
        words = f"The given CA, certificate or key can't be read as PEM: {_reason(error)}."
        raise StepError("tls", words) from error
    try:
        connection.settimeout(max(0.1, deadline_seconds - time.monotonic()))
        return context.wrap_socket(connection, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        words = _certificate_words(server, error, bool(secrets.get("ca")))
        if error.verify_code in (NAME_MISMATCH, ADDRESS_MISMATCH):
            names = _names(context, host, port, deadline_seconds)
            words = f"The certificate of {server} is valid but for another name: {names}; it doesn't name {host}."
        raise StepError("tls", words) from error
    except socket.timeout as error:  # noqa: UP041  (Python 3.8)
        raise StepError("tls", f"{server} does not answer to TLS; it may expect none, or hang.") from error
    except (ssl.SSLError, OSError) as error:
        raise StepError("tls", _tls_words(server, error)) from error


def _context(security, secrets):
    context = ssl.create_default_context(cadata=secrets.get("ca") or None)
    if security.get("server_name_check") is False:
        if not secrets.get("ca"):
            raise ValueError("a waived host-name check needs a CA of its own")
        context.check_hostname = False
    if secrets.get("certificate"):
        with _as_file(secrets["certificate"] + "\n" + (secrets.get("key") or "")) as path:
            context.load_cert_chain(path, password=lambda: b"")
    return context


@contextlib.contextmanager
def _as_file(content):
    """The only way to hand a key to `ssl` is a file: one in memory, where the system has that."""
    if hasattr(os, "memfd_create"):
        handle, path = os.memfd_create("kferry"), None
        name = f"/proc/self/fd/{handle}"
    else:
        handle, path = tempfile.mkstemp()
        name = path
    try:
        with os.fdopen(handle, "wb", closefd=False) as stream:
            stream.write(content.encode())
        yield name
    finally:
        os.close(handle)
        if path is not None:
            Path(path).unlink()


def _names(context, host, port, deadline_seconds):
    """Whom a trusted certificate names. Its chain is verified; nothing is sent over the connection."""
    context.check_hostname = False
    try:
        left = max(0.1, min(CONNECT_SECONDS, deadline_seconds - time.monotonic()))
        with socket.create_connection((host, port), timeout=left) as plain, context.wrap_socket(plain) as connection:
            found = [value for _, value in connection.getpeercert().get("subjectAltName", ())]
    except (OSError, ValueError):
        found = []
    return printable(", ".join(found[:8])) or "one that could not be read"


def _certificate_words(server, error, given):
    if error.verify_code == EXPIRED:
        return f"The certificate of {server} has expired by this machine's clock ({time.strftime('%Y-%m-%d')})."
    if error.verify_code == NOT_YET_VALID:
        return f"The certificate of {server} is not valid yet by this machine's clock ({time.strftime('%Y-%m-%d')})."
    if error.verify_code in UNTRUSTED:
        whose = "the given CA" if given else "a CA that this machine trusts; give the CA as ssl_ca"
        return f"The certificate of {server} is not signed by {whose} ({printable(error.verify_message)})."
    return f"The certificate of {server} is refused: {printable(error.verify_message)}."


def _tls_words(server, error):
    reason = _reason(error)
    if any(word in reason.upper().replace(" ", "_") for word in CLIENT_CERTIFICATE_WANTED):
        return f"{server} refuses our side of TLS ({reason}): it wants a client certificate that it trusts."
    if "WRONG_VERSION" in reason.upper() or "EOF" in reason.upper() or isinstance(error, ConnectionResetError):
        return f"{server} doesn't speak TLS; security_protocol should probably be without SSL ({reason})."
    return f"TLS with {server} fails: {reason}."


def _reason(error):
    return printable(str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error))
