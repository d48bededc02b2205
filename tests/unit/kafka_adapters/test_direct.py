"""Connections of kferry's own: half-dead brokers, foreign ports, and what the answers of real brokers look like."""

from __future__ import annotations

import base64
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from kferry.domain.access import AclEntry, ClientQuota, ScramUser
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Capability, ClusterConfig, ClusterKind, Role
from kferry.kafka import acl_entries, principal_probe, quotas, scram_users
from kferry.kafka.direct import DirectSession
from kferry.kafka.principal_probe import Asked, Seen
from kferry.kafka.scram_login import LoginRefusedError, ScramLogin
from kferry.kafka.wire import WireReader, pack_bytes, pack_nullable_string, pack_string

# What these tests' brokers know: each request from version 0 on.
KNOWN = (0, 1, 2, 3, 12, 15, 17, 18, 19, 22, 26, 29, 30, 31, 32, 36, 37, 44, 48, 49, 50, 51)
VERSIONS = struct.pack(">hi", 0, len(KNOWN)) + b"".join(struct.pack(">hhh", api, 0, 9) for api in KNOWN)


def cluster(port: int, *, login: bool = False) -> ClusterConfig:
    sasl = {"sasl_mechanism": "PLAIN", "sasl_username": "u", "sasl_password": "env:KFERRY_TEST_PW"} if login else {}
    protocol = "SASL_PLAINTEXT" if login else "PLAINTEXT"
    return ClusterConfig(
        Role.TARGET,
        ClusterKind.AUTOMQ,
        f"127.0.0.1:{port}",
        security_protocol=protocol,
        **sasl,  # type: ignore[arg-type]
    )


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where `serve` is called for each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def answering(answers: dict[int, bytes | None], seen: list[bytes] | None = None) -> Callable[[socket.socket], None]:
    """A broker that knows its versions and these answers (by request; None = it closes the connection)."""

    def serve(connection: socket.socket) -> None:
        while True:
            head = connection.recv(4, socket.MSG_WAITALL)
            if len(head) < 4:
                return
            request = connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
            api, _version, correlation = struct.unpack(">hhi", request[:8])
            if seen is not None:
                seen.append(request)
            answer = VERSIONS if api == 18 else answers.get(api)
            if answer is None:
                return
            connection.sendall(pack_bytes(struct.pack(">i", correlation) + answer))

    return serve


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        (lambda connection: connection.recv(1000) and time.sleep(0), "closed the connection"),
        (lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "Kafka's protocol"),
        (lambda connection: connection.sendall(struct.pack(">i", -5)), "Kafka's protocol"),
    ],
    ids=["closes", "web server", "negative length"],
)
def test_a_port_that_is_no_broker_is_named(serve: Callable[[socket.socket], None], words: str) -> None:
    with listening(serve) as port, pytest.raises(KferryError) as caught:
        acl_entries.read(cluster(port), timeout_seconds=5)
    assert caught.value.kind is ErrorKind.CONNECT
    assert words in caught.value.cause or "reset" in caught.value.cause


def test_a_broker_that_never_answers_costs_the_time_it_was_given_and_no_more() -> None:
    done = threading.Event()
    with listening(lambda _connection: bool(done.wait(20)) and None) as port:  # type: ignore[func-returns-value]
        started = time.monotonic()
        with pytest.raises(KferryError) as caught:
            acl_entries.read(cluster(port), timeout_seconds=0.4)
        assert time.monotonic() - started < 15
        done.set()
    assert "Cannot reach the target" in caught.value.title


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(KferryError) as caught:
        quotas.read(cluster(port), timeout_seconds=5)
    assert "refused" in caught.value.cause.lower()


def test_the_second_bootstrap_server_is_used_where_the_first_is_dead() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dead = server.getsockname()[1]
    empty = struct.pack(">ihhi", 0, 0, -1, 0)
    with listening(answering({48: empty})) as port:
        config = ClusterConfig(Role.TARGET, ClusterKind.AUTOMQ, f"127.0.0.1:{dead},127.0.0.1:{port}")
        assert quotas.read(config, timeout_seconds=5).value == ()


@pytest.mark.thorough
def test_a_silent_bootstrap_server_costs_its_share_of_the_time_only() -> None:
    done = threading.Event()
    empty = struct.pack(">ihhi", 0, 0, -1, 0)
    with listening(lambda _connection: bool(done.wait(20)) and None) as silent:  # type: ignore[func-returns-value]
        with listening(answering({48: empty})) as port:
            config = ClusterConfig(Role.TARGET, ClusterKind.AUTOMQ, f"127.0.0.1:{silent},127.0.0.1:{port}")
            assert quotas.read(config, timeout_seconds=2).value == ()
        done.set()


def test_a_connection_that_breaks_in_a_request_is_said_so() -> None:
    with listening(answering({29: None})) as port, pytest.raises(KferryError) as caught:
        acl_entries.read(cluster(port), timeout_seconds=5)
    assert "broke off in the middle" in caught.value.title


def test_a_refused_login_tells_the_reason_and_not_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFERRY_TEST_PW", "geheim")
    handshake = struct.pack(">hi", 0, 1) + pack_string("PLAIN")
    refused = struct.pack(">h", 58) + pack_nullable_string("Invalid credentials.") + pack_bytes(b"")
    with listening(answering({17: handshake, 36: refused})) as port, pytest.raises(KferryError) as caught:
        acl_entries.read(cluster(port, login=True), timeout_seconds=5)
    assert caught.value.cause == "It says: Invalid credentials."
    assert "geheim" not in str(caught.value)
    other = struct.pack(">hi", 33, 1) + pack_string("SCRAM-SHA-512")
    with listening(answering({17: other})) as port, pytest.raises(KferryError) as caught:
        acl_entries.read(cluster(port, login=True), timeout_seconds=5)
    assert "does not offer PLAIN, but SCRAM-SHA-512" in caught.value.cause


def test_acls_are_read_with_hostile_names_and_words_of_newer_versions() -> None:
    name = "a'\u202e; {{ x }} é"
    one = struct.pack(">b", 2) + pack_string(name) + struct.pack(">bi", 4, 1)
    one += pack_string("User:a") + pack_string("*") + struct.pack(">bb", 3, 3)
    two = struct.pack(">b", 9) + pack_string("x") + struct.pack(">bi", 3, 1)
    two += pack_string("User:a") + pack_string("*") + struct.pack(">bb", 77, 2)
    answer = struct.pack(">ihhi", 0, 0, -1, 2) + one + two
    with listening(answering({29: answer})) as port:
        told = acl_entries.read(cluster(port), timeout_seconds=5)
    assert told.value == (
        AclEntry("User:a", "*", "resource 9", "x", "literal", "operation 77", "deny"),
        AclEntry("User:a", "*", "topic", name, "prefixed", "read", "allow"),
    )


@pytest.mark.parametrize(
    ("error", "capability", "value"),
    [
        (31, Capability.DENIED, None),
        (54, Capability.UNSUPPORTED, ()),
        (35, Capability.UNSUPPORTED, None),
        (7, Capability.UNKNOWN, None),
    ],
)
def test_what_is_denied_is_never_taken_for_none(error: int, capability: Capability, value: object) -> None:
    with listening(answering({29: struct.pack(">ihh", 0, error, -1)})) as port:
        told = acl_entries.read(cluster(port), timeout_seconds=5)
    assert (told.value, told.capability) == (value, capability)
    assert told.words
    assert bool(told.grant) == (error == 31)


def test_quotas_and_users_are_read() -> None:
    entity = struct.pack(">i", 2) + pack_string("user") + pack_nullable_string(None) + pack_string("client-id")
    entity += pack_string("c") + struct.pack(">i", 1) + pack_string("request_percentage") + struct.pack(">d", 12.5)
    told_quotas = struct.pack(">ihhi", 0, 0, -1, 1) + entity
    credential = struct.pack(">bi", 2, 8192) + b"\0"
    user = b"\x02a" + struct.pack(">h", 0) + b"\0" + b"\x02" + credential + b"\0"
    told_users = b"\0" + struct.pack(">ih", 0, 0) + b"\0" + b"\x02" + user + b"\0"
    seen: list[bytes] = []
    with listening(answering({48: told_quotas, 50: told_users}, seen)) as port:
        assert quotas.read(cluster(port), timeout_seconds=5).value == (
            ClientQuota({"user": None, "client-id": "c"}, {"request_percentage": 12.5}),
        )
        assert scram_users.read(cluster(port), timeout_seconds=5).value == (ScramUser("a", ("SCRAM-SHA-512",), 8192),)
    asked = next(request for request in seen if request[:2] == struct.pack(">h", 50))
    assert asked.endswith(b"\0\x01\0"), "an empty list, not a null one: that is never answered to who is not allowed"


def test_an_answer_that_is_cut_off_is_a_sentence() -> None:
    with listening(answering({29: struct.pack(">ihhi", 0, 0, -1, 7)})) as port, pytest.raises(KferryError) as caught:
        acl_entries.read(cluster(port), timeout_seconds=5)
    assert "cannot be read" in caught.value.title
    with listening(answering({})) as port, DirectSession(cluster(port)) as session:
        assert session.speaks(12, 0)
        assert not session.speaks(12, 10)


def test_what_cannot_be_asked_is_unknown() -> None:
    with listening(answering({12: struct.pack(">h", 30)})) as port:
        found = principal_probe.probe(cluster(port), [Asked("group", "g", "read"), Asked("topic", "t", "delete")])
    assert found[Asked("group", "g", "read")] == Seen(False, "not allowed on the group")
    assert found[Asked("topic", "t", "delete")].allowed is None


@pytest.mark.parametrize(
    ("error", "allowed"),
    [(0, True), (25, True), (16, True), (15, True), (30, False), (-1, None), (35, None), (7, None)],
)
def test_what_an_error_says_about_a_right(error: int, allowed: bool | None) -> None:
    with listening(answering({12: struct.pack(">h", error)})) as port:
        question = Asked("group", "g", "read")
        assert principal_probe.probe(cluster(port), [question])[question].allowed is allowed


def test_scram_as_the_rfc_has_it() -> None:
    """The example of RFC 7677."""
    login = ScramLogin("SCRAM-SHA-256", "user", "pencil", nonce="rOprNGfwEbeRWgbNEkqO")
    assert login.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    challenge = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    assert login.final(challenge).endswith(b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    login.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    with pytest.raises(LoginRefusedError, match="may not be the broker"):
        login.verify(b"v=" + base64.b64encode(b"x" * 32))
    with pytest.raises(LoginRefusedError, match="false"):
        login.final(b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
    with pytest.raises(LoginRefusedError, match="false"):
        login.final(challenge.replace(b"i=4096", b"i=999999999"))
    with pytest.raises(LoginRefusedError, match="cannot be read"):
        login.final(b"\xff")


def test_nullable_texts_and_doubles() -> None:
    reader = WireReader(pack_nullable_string(None) + pack_string("é") + struct.pack(">d", 0.5) + b"\0\x03ab")
    assert reader.nullable_string() is None
    assert reader.nullable_string() == "é"
    assert reader.float64() == 0.5
    assert reader.compact_nullable_string() is None
    assert reader.compact_nullable_string() == "ab"
