"""The way from a machine to a broker: each step that fails is named with its likely cause, and nothing hangs."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.ansible.content import find_content
from support.openssl_pairs import Pair, make_ca, sign
from support.waiting import free_port

pytestmark = pytest.mark.thorough

UTILS = find_content().roles / "worker_preflight" / "module_utils"


def load_module(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WIRE = load_module(UTILS / "kferry_kafka_wire.py", "ansible.module_utils.kferry_kafka_wire")
PATH = load_module(UTILS / "kferry_path_probe.py", "ansible.module_utils.kferry_path_probe")
PROBE = load_module(UTILS / "kferry_broker_probe.py", "ansible.module_utils.kferry_broker_probe")
Answer = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server of one port that treats each connection by `answer`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=treat, args=(connection,), daemon=True).start()

    def treat(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            if context is None:
                answer(connection)
                return
            with context.wrap_socket(connection, server_side=True) as secured:
                answer(secured)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def kafka(*advertised: tuple[str, int], metadata: bool = True) -> Answer:
    """Answers ApiVersions and Metadata, as a broker without a login does."""

    def answer(connection: socket.socket) -> None:
        while True:
            size = struct.unpack(">i", exactly(connection, 4))[0]
            key, _version, correlation = struct.unpack(">hhi", exactly(connection, size)[:8])
            body = struct.pack(">i", correlation)
            if key == 18:
                body += struct.pack(">hi", 0, 2) + struct.pack(">hhhhhh", 18, 0, 3, 3, 0, 12)
            elif key == 3 and metadata:
                body += struct.pack(">i", len(advertised))
                for number, (host, port) in enumerate(advertised):
                    body += struct.pack(">ih", number, len(host)) + host.encode() + struct.pack(">ih", port, -1)
            else:
                return
            connection.sendall(struct.pack(">i", len(body)) + body)

    return answer


def exactly(connection: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise OSError("closed")
        parts += part
    return parts


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def result(port: int, *, seconds: float = 5.0, host: str = "127.0.0.1", **how: Any) -> dict[str, Any]:
    security = {"protocol": how.pop("protocol", "PLAINTEXT"), **how.pop("security", {})}
    found, _ = PROBE.probe("source", f"{host}:{port}", security, how, time.monotonic() + seconds)
    assert set(found) == {"role", "server", "step", "ok", "words", "seconds", "bytes_per_second"}
    return found


def refused(found: dict[str, Any], step: str, *words: str) -> None:
    assert (found["step"], found["ok"]) == (step, False), found
    assert all(word in found["words"] for word in words), found["words"]


def test_a_broker_that_answers() -> None:
    with server(kafka(("127.0.0.1", 1))) as port:
        found = result(port)
    assert (found["step"], found["ok"]) == ("tcp", True) and found["seconds"] < 5


def test_each_step_that_fails_is_named() -> None:
    refused(result(free_port()), "tcp", "refuses the connection")
    refused(result(9092, host="no-such-host.invalid"), "resolve", "no-such-host.invalid", "DNS")
    refused(result(0), "resolve", "not host:port")
    refused(result(1, host="-oX y"), "resolve", "not host:port")


def test_a_port_that_speaks_something_else_is_named() -> None:
    with server(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        refused(result(port), "tcp", "web server")
    with server(lambda connection: None) as port:
        refused(result(port), "tcp", "closes the connection", "security_protocol")
    with server(kafka(metadata=False)) as port:
        refused(result(port), "tcp", "login (SASL)")
    with server(lambda connection: connection.sendall(b"\x15\x03\x03\x00\x02\x02\x46")) as port:  # a TLS alert
        refused(result(port), "tcp", "expects TLS")


def test_a_server_that_never_answers_ends_at_the_deadline() -> None:
    with server(silent) as port:
        started = time.monotonic()
        refused(result(port, seconds=0.3), "tcp", "does not answer in time")
        refused(result(port, seconds=0.3, protocol="SSL"), "tls", "does not answer to TLS")
    assert time.monotonic() - started < 15


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_ca(tmp_path_factory.mktemp("ca"))


def tls(pair: Pair, client_ca: Pair | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca.certificate)
    return context


def test_what_is_wrong_with_a_certificate_is_named(ca: Pair, tmp_path: Path) -> None:
    good = sign(ca, tmp_path, "good", alt_names="IP:127.0.0.1,DNS:localhost")
    with server(kafka(), tls(good)) as port:
        assert result(port, protocol="SSL", ca=ca.certificate_text)["ok"]
        assert result(port, protocol="SSL", ca=ca.certificate_text, host="localhost")["ok"]
        refused(result(port, protocol="SSL"), "tls", "not signed by a CA that this machine trusts")
        other = make_ca(tmp_path, "other").certificate_text
        refused(result(port, protocol="SSL", ca=other), "tls", "not signed by the given CA")
        refused(result(port, protocol="SSL", ca="no PEM"), "tls", "can't be read as PEM")
    with server(kafka(), tls(sign(ca, tmp_path, "old", alt_names="IP:127.0.0.1", days=-1))) as port:
        refused(result(port, protocol="SSL", ca=ca.certificate_text), "tls", "has expired")
    for answer in (lambda connection: None, lambda connection: connection.sendall(b"\0\0\0\1abcdefgh")):
        with server(answer) as port:
            refused(result(port, protocol="SSL", ca=ca.certificate_text), "tls", "doesn't speak TLS")


def test_a_certificate_for_another_name_names_it_unless_the_check_was_waived(ca: Pair, tmp_path: Path) -> None:
    with server(kafka(), tls(sign(ca, tmp_path, "b", alt_names="DNS:kafka.internal"))) as port:
        found = result(port, protocol="SSL", ca=ca.certificate_text)
        refused(found, "tls", "kafka.internal", "doesn't name 127.0.0.1")
        waived = {"server_name_check": False}
        assert result(port, protocol="SSL", ca=ca.certificate_text, security=waived)["ok"]
        # the waiver is for a CA that was given, never for whatever the machine trusts
        refused(result(port, protocol="SSL", security=waived), "tls", "CA of its own")


def test_a_client_certificate_that_is_wanted(ca: Pair, tmp_path: Path) -> None:
    broker = sign(ca, tmp_path, "b", alt_names="IP:127.0.0.1")
    own = sign(ca, tmp_path, "me", alt_names="DNS:me")
    with server(kafka(), tls(broker, client_ca=ca)) as port:
        refused(result(port, protocol="SSL", ca=ca.certificate_text), "tls", "client certificate")
        keys = {"certificate": own.certificate_text, "key": own.key_text}
        assert result(port, protocol="SSL", ca=ca.certificate_text, **keys)["ok"]


def test_every_advertised_broker_is_probed_too() -> None:
    gone = free_port()
    with server(kafka()) as second, server(kafka(("127.0.0.1", second), ("127.0.0.1", gone), ("::1", 9))) as first:
        found = PROBE.probe_all({"source": [f"127.0.0.1:{first}"], "target": []}, {}, {})
    by_server = {item["server"]: item for item in found}
    assert list(by_server) == [f"127.0.0.1:{first}", f"127.0.0.1:{second}", f"127.0.0.1:{gone}", "[::1]:9"]
    assert by_server[f"127.0.0.1:{second}"]["ok"]
    refused(by_server[f"127.0.0.1:{gone}"], "tcp", "advertises this address")


def test_a_name_lookup_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    held, real = threading.Event(), socket.getaddrinfo

    def lookup(host: str, *arguments: Any, **more: Any) -> Any:
        if host == "slow.example":
            held.wait(30)
        return real(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    started = time.monotonic()
    with server(kafka()) as port:
        servers = ["slow.example:9092", f"127.0.0.1:{port}"]
        slow, quick = PROBE.probe_all({"source": servers}, {}, {}, round_seconds=0.3)
    held.set()
    assert time.monotonic() - started < 25
    refused(slow, "resolve", "slow.example", "not resolved within")
    assert quick["ok"]


def test_a_login_without_a_password_is_not_tried() -> None:
    with server(kafka()) as port:
        found = result(port, protocol="SASL_PLAINTEXT", security={"mechanism": "PLAIN", "username": "me"})
    refused(found, "sasl", "no password was given")


@given(st.binary(max_size=200))
def test_whatever_is_sent_ends_in_a_sentence(garbage: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(garbage)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(WIRE.RefusedError):
            WIRE.Conversation(ours, time.monotonic() + 2).api_versions()


def test_a_password_that_a_server_sends_back_is_not_repeated() -> None:
    assert PROBE._without({"password": "hunter22", "ca": ""}, "bad: hunter22") == "bad: ***"


def test_scram_proves_and_checks_as_the_standard_says() -> None:
    """The example of RFC 7677."""
    scram = WIRE.Scram("SCRAM-SHA-256", "user", "pencil", nonce="rOprNGfwEbeRWgbNEkqO")
    assert scram.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    proof = scram.final(f"r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode())
    assert proof == f"c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=".encode()
    scram.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    for bad in (b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G8=", b"", b"e=invalid-proof", b"v=%"):
        with pytest.raises(WIRE.RefusedError):
            scram.verify(bad)


def test_scram_refuses_a_false_challenge_and_escapes_names() -> None:
    scram = WIRE.Scram("SCRAM-SHA-512", "a=b,c", "x", nonce="n")
    assert scram.first() == b"n,,n=a=3Db=2Cc,r=n"
    for challenge in (b"r=other,s=AAAA,i=4096", b"r=n1,s=AAAA,i=999999999", b"r=n1,s=AAAA", b"\xff", b"r=n1,s=A,i=1"):
        with pytest.raises(WIRE.RefusedError):
            scram.final(challenge)


@pytest.mark.parametrize("role", ["worker_preflight", "teardown", "diagnostics"])
def test_what_runs_on_machines_is_python_3_8(role: str) -> None:
    for folder in ("library", "module_utils"):
        for path in (find_content().roles / role / folder).glob("*.py"):
            ast.parse(path.read_text(), feature_version=(3, 8))


def broker(*, newest: dict[int, int], loses: int = 10**9, seen: list[int] | None = None) -> Answer:
    """A broker of one: requests and answers of `loses` bytes and more never arrive; `seen` gets the APIs it was asked
    for. It leads partition 0 of every topic, which holds 100,000 bytes.
    """
    apis = b"".join(struct.pack(">hhh", key, 0, version) for key, version in newest.items())

    def answer(connection: socket.socket) -> None:
        port = connection.getsockname()[1]
        me = struct.pack(">iih", 1, 1, 9) + b"127.0.0.1" + struct.pack(">i", port)
        while True:
            size = struct.unpack(">i", exactly(connection, 4))[0]
            request = exactly(connection, size)
            key, version, correlation = struct.unpack(">hhi", request[:8])
            if seen is not None:
                seen.append(key)
            if size >= loses:
                continue
            body = struct.pack(">i", correlation)
            if key == 18:
                body += struct.pack(">hi", 0, len(newest)) + apis
            elif key == 3 and version == 1:
                body += me + struct.pack(">h", -1)
            elif key == 3:
                name = struct.unpack(">h", request[8 + 2 + 16 + 4 :][:2])[0]
                name_bytes = request[8 + 2 + 16 + 4 + 2 :][:name]
                partition = struct.pack(">hiiiiii", 0, 0, 1, 1, 1, 1, 1)
                body += struct.pack(">i", 0) + me + struct.pack(">hhi", -1, -1, 1)
                body += struct.pack(">ihh", 1, 0, name) + name_bytes + b"\0" + struct.pack(">i", 1) + partition
            elif key == 2:
                body += struct.pack(">ih", 1, 3) + b"big" + struct.pack(">iihqq", 1, 0, 0, -1, 5)
            elif key == 1:
                body += struct.pack(">iih", 0, 1, 3) + b"big" + struct.pack(">iihqqii", 1, 0, 0, 9, 9, 0, 100_000)
                body += bytes(100_000)
            if len(body) < loses:
                connection.sendall(struct.pack(">i", len(body)) + body)

    return answer


CURRENT = {1: 4, 2: 1, 3: 4, 18: 3}


def walk(answer: Answer, role: str, topics: list[str] | None) -> dict[str, Any]:
    with server(answer) as port:
        found, _ = PROBE.probe(role, f"127.0.0.1:{port}", {}, {}, time.monotonic() + 20, topics)
    return dict(found)


def test_the_speed_is_measured_by_padding_and_by_reading() -> None:
    seen: list[int] = []
    sent = walk(broker(newest=CURRENT, seen=seen), "target", [])
    assert sent["ok"] and sent["bytes_per_second"] > 0
    assert seen.count(18) >= 1 + 1 + 1 and 1 not in seen  # nothing is read of a target
    read = walk(broker(newest=CURRENT, seen=seen), "source", ["big"])
    assert read["ok"] and read["bytes_per_second"] > 0 and 1 in seen


def test_what_cannot_be_measured_is_unknown_and_no_fault() -> None:
    for newest, role, topics in (
        ({3: 2, 18: 0}, "target", []),
        ({3: 2, 18: 0}, "source", ["big"]),
        (CURRENT, "source", []),
        (CURRENT, "target", None),
        ({1: 3, 2: 0, 3: 4, 18: 3}, "source", ["big"]),
    ):
        found = walk(broker(newest=newest), role, topics)
        assert (found["ok"], found["bytes_per_second"]) == (True, None), (newest, role, topics)


def test_a_server_that_closes_on_padding_is_no_worse_for_it() -> None:
    def closes(connection: socket.socket) -> None:
        size = struct.unpack(">i", exactly(connection, 4))[0]
        correlation = exactly(connection, size)[4:8]
        body = correlation + struct.pack(">hi", 0, 2) + struct.pack(">hhhhhh", 18, 0, 3, 3, 0, 12)
        connection.sendall(struct.pack(">i", len(body)) + body)
        exactly(connection, struct.unpack(">i", exactly(connection, 4))[0])
        body = struct.pack(">ii", 2, 0)
        connection.sendall(struct.pack(">i", len(body)) + body)
        connection.recv(100)

    found = walk(closes, "target", [])
    assert (found["ok"], found["bytes_per_second"]) == (True, None), found


def test_a_way_that_loses_large_packets_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PATH, "LARGE_SECONDS", 0.3)
    refused(walk(broker(newest=CURRENT, loses=1400), "target", []), "path", "bytes to it", "MTU")
    # one that only the answer is too large for
    without_padding = {**CURRENT, 18: 2}
    lost = walk(broker(newest=without_padding, loses=9000), "source", [])
    refused(lost, "path", "drops large packets")


def test_a_broker_that_holds_a_connection_back_once_is_no_broken_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a quota on requests does: the connection rests after an answer."""
    monkeypatch.setattr(PATH, "LARGE_SECONDS", 0.3)
    connections: list[socket.socket] = []

    def rests(connection: socket.socket) -> None:
        connections.append(connection)
        broker(newest=CURRENT, loses=1400 if len(connections) == 1 else 10**9)(connection)

    found = walk(rests, "target", [])
    assert (found["step"], found["ok"], found["bytes_per_second"], len(connections)) == ("tcp", True, None, 2), found


def test_of_many_servers_only_a_few_are_measured() -> None:
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(server(broker(newest=CURRENT))) for _ in range(6)]
        servers = [f"127.0.0.1:{port}" for port in ports]
        found = PROBE.probe_all({"source": [], "target": servers}, {}, {}, 20, {"source": [], "target": []})
    assert [one["bytes_per_second"] is not None for one in found] == [True] * 4 + [False] * 2
