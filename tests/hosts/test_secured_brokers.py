"""The secured brokers refuse whom they should refuse; from the hosts, by every way to log in."""

from __future__ import annotations

import json
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AclOperation, AdminClient, NewTopic, ResourceType

from support import waiting
from support.certificates import CertificateAuthority
from support.secured_brokers import Protocol, Role, SecuredBrokers
from support.test_hosts import TestHost

pytestmark = pytest.mark.hosts

# On the host there is only the standard library: TLS by `ssl`, then SASL PLAIN in Kafka's own frames.
_FROM_A_HOST = """
import json, socket, ssl, struct, sys
asked = json.load(sys.stdin)
address, _, port = asked["bootstrap"].rpartition(":")

def said(error):
    print(json.dumps(error))
    sys.exit(0)

def request(key, version, body):
    frame = struct.pack(">hhih", key, version, 1, 4) + b"test" + body
    stream.sendall(struct.pack(">i", len(frame)) + frame)
    size = struct.unpack(">i", exactly(4))[0]
    return exactly(size)[4:]

def exactly(count):
    got = b""
    while len(got) < count:
        more = stream.recv(count - len(got))
        if not more:
            said("closed")
        got += more
    return got

context = ssl.create_default_context(cadata=asked["ca"])
try:
    stream = context.wrap_socket(socket.create_connection((address, int(port)), 10), server_hostname=asked["name"])
except ssl.SSLCertVerificationError as error:
    said(error.verify_message)
request(17, 1, struct.pack(">h", 5) + b"PLAIN")
token = ("\\0" + asked["user"] + "\\0" + asked["password"]).encode()
answer = request(36, 0, struct.pack(">i", len(token)) + token)
said(struct.unpack(">h", answer[:2])[0])
"""
_ACCEPTED, _LOGIN_FAILED = 0, 58
SASL_LISTENERS: tuple[Protocol, ...] = ("SASL_SSL", "SASL_PLAINTEXT")


def _from_host(host: TestHost, brokers: SecuredBrokers, role: Role, **other: str) -> Any:
    bootstrap = brokers.broker(role).listener("SASL_SSL")
    asked = {
        "bootstrap": bootstrap,
        "name": bootstrap.rpartition(":")[0],
        "ca": brokers.ca_path.read_text(encoding="ascii"),
        "user": "kferry",
        "password": brokers.passwords["kferry"],
    }
    return json.loads(host.exec(["python3", "-c", _FROM_A_HOST], stdin=json.dumps(asked | other)).stdout)


@pytest.mark.parametrize("role", ["source", "target"])
def test_a_host_logs_in_over_tls_and_a_wrong_password_is_refused(
    role: Role, hosts: list[TestHost], secured_brokers: SecuredBrokers
) -> None:
    for host in hosts:
        assert _from_host(host, secured_brokers, role) == _ACCEPTED
    assert _from_host(hosts[0], secured_brokers, role, password="wrong") == _LOGIN_FAILED


def test_a_host_trusts_only_the_right_authority_and_the_right_name(
    hosts: list[TestHost], secured_brokers: SecuredBrokers
) -> None:
    assert "mismatch" in _from_host(hosts[0], secured_brokers, "source", name="broker.example").lower()
    public_roots = hosts[0].exec(["cat", "/etc/ssl/certs/ca-certificates.crt"]).stdout
    assert "unable to get local issuer" in _from_host(hosts[0], secured_brokers, "source", ca=public_roots)


def test_a_blocked_broker_is_reached_again_after_unblock(
    hosts: list[TestHost], secured_brokers: SecuredBrokers
) -> None:
    address, _, port = secured_brokers.source.listener("SASL_SSL").rpartition(":")
    connects = ["timeout", "3", "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"]
    hosts[0].block(port=int(port), address=address)
    assert hosts[0].exec(connects, check=False).code != 0
    assert hosts[1].exec(connects, check=False).code == 0
    hosts[0].unblock()
    assert hosts[0].exec(connects, check=False).code == 0


def _is_accepted(config: dict[str, Any]) -> bool:
    return bool(AdminClient(config).list_topics(timeout=8).brokers)


def _is_refused(config: dict[str, Any]) -> bool:
    """Whether the broker itself says no; that it does not answer proves nothing."""
    errors: list[KafkaError] = []
    client = AdminClient(config | {"error_cb": errors.append})

    def refusal() -> bool:
        client.poll(0.1)
        return any(error.code() == KafkaError._AUTHENTICATION for error in errors)

    return waiting.wait_until(refusal, 8, f"a refusal among {errors}")


@pytest.mark.parametrize("role", ["source", "target"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_each_mechanism_takes_the_right_password_only(
    role: Role, mechanism: str, secured_brokers: SecuredBrokers
) -> None:
    broker = secured_brokers.broker(role)
    password = secured_brokers.passwords["kferry"]
    for protocol in SASL_LISTENERS:
        right = broker.client_config(protocol, user="kferry", password=password, mechanism=mechanism)
        assert _is_accepted(right)
        assert _is_refused(right | {"sasl.password": "no"})


def test_a_client_needs_a_certificate_of_the_right_authority(secured_brokers: SecuredBrokers, tmp_path: Path) -> None:
    ours = secured_brokers.client_certificate("kferry")
    strangers = CertificateAuthority(tmp_path).for_client("kferry")
    assert _is_accepted(secured_brokers.source.client_config("SSL", certificate=ours))
    assert _tls_answer(secured_brokers, ours) == "accepted"
    assert "ALERT" in _tls_answer(secured_brokers, None)
    assert "ALERT" in _tls_answer(secured_brokers, strangers)


def _tls_answer(brokers: SecuredBrokers, certificate: tuple[Path, Path] | None) -> str:
    """By `ssl` itself: librdkafka only says that it was disconnected."""
    address, _, port = brokers.source.listener("SSL").rpartition(":")
    context = ssl.create_default_context(cafile=str(brokers.ca_path))
    if certificate is not None:
        context.load_cert_chain(*certificate)
    api_versions = struct.pack(">ihhih", 10, 18, 0, 1, -1)
    try:
        with (
            socket.create_connection((address, int(port)), 10) as raw,
            context.wrap_socket(raw, server_hostname=address) as stream,
        ):
            stream.sendall(api_versions)
            return "accepted" if stream.recv(1) else "closed"
    except ssl.SSLError as error:
        return str(error.reason)


def test_a_user_sees_nothing_until_it_is_allowed_and_a_certificate_is_the_same_user(
    secured_brokers: SecuredBrokers,
) -> None:
    broker = secured_brokers.source
    for future in broker.admin_client().create_topics([NewTopic("seen", 1), NewTopic("hidden", 1)]).values():
        future.result(15)
    secured_brokers.add_user("reader", 'q"u\\o,te$ ')
    by_password = broker.client_config("SASL_SSL", user="reader", password=secured_brokers.passwords["reader"])
    by_certificate = broker.client_config("SSL", certificate=secured_brokers.client_certificate("reader"))
    assert set(AdminClient(by_password).list_topics(timeout=8).topics) == set()
    broker.allow("reader", ResourceType.TOPIC, "seen", AclOperation.DESCRIBE)
    for config in (by_password, by_certificate):
        assert set(AdminClient(config).list_topics(timeout=8).topics) == {"seen"}


def test_a_changed_password_is_the_only_one_that_is_taken(secured_brokers: SecuredBrokers) -> None:
    broker = secured_brokers.target
    secured_brokers.add_user("changing", "first", "target")
    secured_brokers.add_user("changing", "second", "target")
    assert _is_accepted(broker.client_config("SASL_PLAINTEXT", user="changing", password="second"))
    assert _is_refused(broker.client_config("SASL_PLAINTEXT", user="changing", password="first"))
