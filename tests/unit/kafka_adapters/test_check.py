"""The parts of a connection test that need no broker: references, one address, the clock, the words."""

from __future__ import annotations

import datetime
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from kferry.domain.errors import KferryError
from kferry.domain.model import Broker, Capability, ClusterConfig, ClusterKind, Role
from kferry.kafka import check, check_clock, check_endpoint, check_secrets
from kferry.kafka.capabilities import Found
from kferry.kafka.check_endpoint import Endpoint
from kferry.kafka.connection import Connection
from kferry.kafka.wire import WireReader, pack_compact_array, pack_compact_string
from support.certificates import CertificateAuthority

SASL = ClusterConfig(
    Role.SOURCE,
    ClusterKind.APACHE_KAFKA,
    "b1:9092",
    security_protocol="SASL_SSL",
    sasl_mechanism="SCRAM-SHA-512",
    sasl_username="app",
    sasl_password="env:APP_PASSWORD",
)
PLAIN = ClusterConfig(Role.SOURCE, ClusterKind.APACHE_KAFKA, "127.0.0.1:1")


def _config(**changes: str) -> ClusterConfig:
    import dataclasses

    return dataclasses.replace(SASL, **changes)  # type: ignore[arg-type]


def _states(config: ClusterConfig) -> dict[str, tuple[str, str]]:
    return {what: (state, words) for what, state, words, _seconds in check_secrets.check_secrets(config)}


def test_references_are_checked_without_being_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("APP_PASSWORD", "hunter2")
    assert _states(SASL) == {"sasl_password": ("ok", "The variable APP_PASSWORD resolves: 7 characters.")}
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    secret.chmod(0o640)
    state, words = _states(_config(sasl_password=f"file:{secret}"))["sasl_password"]
    assert state == "warn" and "others may read it (mode 0640)" in words
    secret.chmod(0o600)
    assert _states(_config(sasl_password=f"file:{secret}"))["sasl_password"][0] == "ok"
    state, words = _states(_config(sasl_password="command:sh -c 'echo hunter2; exit 3'"))["sasl_password"]
    assert state == "failed" and "ended with 3" in words
    for reference in ("command:printf hunter2", f"file:{secret}", "env:APP_PASSWORD", "command:sh -c 'exit 1' hunter2"):
        assert "hunter2" not in str(_states(_config(sasl_password=reference)))


def test_certificates_and_keys_are_looked_into(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    certificate, key = authority.for_client("mover")
    found = _states(_config(ssl_ca=str(authority.path), ssl_certificate=str(certificate), ssl_key=f"file:{key}"))
    assert found["ssl_ca"][0] == found["ssl_certificate"][0] == found["ssl_key"][0] == "ok"
    assert "kferry test CA, valid until" in found["ssl_ca"][1]
    old, _key = authority.for_server("old", ["127.0.0.1"], ends_in=datetime.timedelta(days=-3))
    assert "expired on" in _states(_config(ssl_certificate=str(old)))["ssl_certificate"][1]
    (tmp_path / "ca.jks").write_text("not a certificate")
    assert "holds no certificate" in _states(_config(ssl_ca=str(tmp_path / "ca.jks")))["ssl_ca"][1]
    assert "holds no private key" in _states(_config(ssl_key=str(certificate)))["ssl_key"][1]
    assert _states(_config(ssl_ca="/nowhere.pem"))["ssl_ca"][0] == "failed"


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A server that gives each client these answers, one for each thing it says."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client, suppress(OSError):
                    for answer in answers:
                        if not client.recv(65536):
                            break
                        client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _framed(body: bytes) -> bytes:
    return struct.pack(">ii", len(body) + 4, 1) + body


VERSIONS = _framed(struct.pack(">hi", 0, 2) + struct.pack(">hhh", 18, 0, 3) + struct.pack(">hhh", 1, 0, 17))
NO_LOGIN = _framed(struct.pack(">hi", 34, 0))


@pytest.mark.parametrize(
    ("answers", "what", "words"),
    [
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), "Kafka", "No answer in Kafka's protocol"),
        ((b"",), "Kafka", "No answer in Kafka's protocol"),
        ((_framed(struct.pack(">hi", 0, 1 << 30)),), "Kafka", "No answer in Kafka's protocol"),
        ((VERSIONS, _framed(struct.pack(">hi", 33, 1) + b"\0\5PLAIN")), "SASL", "wants a login: PLAIN"),
    ],
)
def test_a_port_that_is_not_what_it_should_be(answers: tuple[bytes, ...], what: str, words: str) -> None:
    with answering(*answers) as address:
        host, _, port = address.rpartition(":")
        found = check_endpoint.check_endpoint(PLAIN, host, int(port))
    assert found.failure is not None and found.failure[0].startswith(what) and words in found.failure[2]


def test_a_broker_of_the_protocol_is_well() -> None:
    with answering(VERSIONS, NO_LOGIN) as address:
        host, _, port = address.rpartition(":")
        found = check_endpoint.check_endpoint(PLAIN, host, int(port))
    assert found.failure is None and found.versions == {18: (0, 3), 1: (0, 17)}
    assert [line[0].partition(" ")[0] for line in found.lines] == ["DNS", "TCP", "Kafka"]


def test_a_name_that_is_none_and_a_port_where_nobody_listens() -> None:
    assert "cannot be resolved" in check_endpoint.check_endpoint(PLAIN, "nowhere.invalid", 9092).lines[-1][2]
    assert "cannot be resolved" in check_endpoint.check_endpoint(PLAIN, f"{'x' * 300}.invalid", 9092).lines[-1][2]
    assert "nothing listens there" in check_endpoint.check_endpoint(PLAIN, "127.0.0.1", 1).lines[-1][2]


def test_a_cluster_that_is_away_is_told_at_once_and_no_library_is_asked() -> None:
    found = check.check(Connection(PLAIN), timeout_seconds=5)
    assert not found.reachable and found.error is not None and found.error.next_step
    assert found.error.cause.startswith("TCP 127.0.0.1:1: Refused")
    assert found.lines[-1][:2] == ("login", "skipped")
    assert found.as_body()["lines"][0][3] is not None


@pytest.mark.parametrize(
    ("ahead", "uncertain", "state", "words"),
    [
        (0.02, 0.01, "ok", "agree within 0.1 s"),
        (0.4, 0.3, "ok", "agree within 0.6 s"),
        (1.0, 0.01, "ok", "1.0 s ahead of"),
        (-5.0, 0.01, "warn", "5.0 s behind"),
        (7200.0, 0.01, "failed", "Set both by NTP"),
    ],
)
def test_clocks_are_judged_with_what_is_uncertain(ahead: float, uncertain: float, state: str, words: str) -> None:
    found = check_clock.judged(ahead, uncertain)
    assert found[0] == state and words in found[1]


def _quorum(version: int, leader: int, in_step_ms: int, error: int = 0) -> bytes:
    voter = struct.pack(">i", 7) + (bytes(16) if version >= 2 else b"") + struct.pack(">qqq", 5, 1, in_step_ms) + b"\0"
    message = b"\0" if version >= 2 else b""
    partition = struct.pack(">ih", 0, error) + message + struct.pack(">iiq", leader, 1, 5)
    partition += pack_compact_array([voter]) + pack_compact_array([]) + b"\0"
    topic = pack_compact_string("__cluster_metadata") + pack_compact_array([partition]) + b"\0"
    return struct.pack(">h", 0) + message + pack_compact_array([topic]) + b"\0"


@pytest.mark.parametrize("version", [1, 2])
def test_the_leaders_time_is_read_of_the_quorum(version: int) -> None:
    def read(**changes: int) -> int | None:
        body = _quorum(version, **{"leader": 7, "in_step_ms": 1_000, **changes})
        return check_clock.leader_time_ms(WireReader(body), version)

    assert read() == 1_000
    assert read(leader=8) is None and read(in_step_ms=-1) is None and read(error=31) is None
    assert check_clock.leader_time_ms(WireReader(struct.pack(">h", 31)), version) is None


def test_a_bootstrap_server_names_the_brokers_it_sends_clients_to() -> None:
    """The mock cluster of the client library answers in Kafka's protocol."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": "mock", "test.mock.num.brokers": 3, "log_level": 0})
    brokers = admin.list_topics(timeout=10).brokers
    servers = ",".join(f"{one.host}:{one.port}" for one in brokers.values())
    config = ClusterConfig(Role.SOURCE, ClusterKind.OTHER, servers)
    found = check.advertised(config, 5.0)
    assert {(one.broker_id, one.port) for one in found} == {(number, one.port) for number, one in brokers.items()}
    assert check.advertised(PLAIN, 1.0) == ()


def test_a_broker_is_one_line() -> None:
    end = Endpoint("b2", 9092)
    end.add("DNS", "ok", "10.0.0.2.", 0.1)
    end.add("TCP", "ok", "Connected.", 0.2)
    assert check.broker_line(Broker(2, "b2", 9092, "az-1"), end)[1:3] == ("ok", "DNS, TCP are well. Rack az-1.")
    end.add("Kafka", "failed", "Connected, but no answer.", 4.0)
    what, state, words, seconds = check.broker_line(Broker(2, "b2", 9092), end)
    assert (what, state, seconds) == ("broker 2 b2:9092", "failed", 4.3) and "advertised.listeners" in words


def test_capabilities_are_summed_up_in_one_line() -> None:
    found = {"acls": Found(Capability.DENIED, "no", "DESCRIBE"), "topics": Found(Capability.SUPPORTED, "yes")}
    assert check.capability_line(found) == [("capabilities", "warn", "1 of 2 work; denied: acls.", None)]
    assert check.capability_line({}) == []


def test_one_probe_that_fails_is_unknown_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    from kferry.kafka.capabilities import Prober, UnsupportedError

    prober = Prober(Connection(PLAIN))

    def answers(error: Exception) -> Found:
        def ask() -> Found:
            raise error

        return prober._safely(ask)

    assert answers(KferryError("No.", cause="Away")).state is Capability.UNKNOWN
    assert answers(TimeoutError("late")).state is Capability.UNKNOWN
    assert answers(UnsupportedError()).state is Capability.UNSUPPORTED
