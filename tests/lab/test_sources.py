"""Each kind of source as its service sets it up, on real brokers: every way gets in, what is wrong is a sentence."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation, NewTopic, ResourceType

from kferry.domain.drafts import Draft, fitted, settings_of
from kferry.domain.model import Capability, ClusterConfig, ClusterKind, Role
from kferry.domain.sources import KINDS
from kferry.kafka import check
from kferry.kafka.admin import ClusterAdmin
from kferry.kafka.check import ClusterCheck
from kferry.store.clusters_file import cluster_of
from support.broker import TestBroker, running_broker
from support.certificates import CertificateAuthority
from support.secured_brokers import SecuredBrokers
from support.tls_front import tls_front

pytestmark = pytest.mark.lab

USER, PASSWORD = "mover", "pa ss#1"
CKAFKA_USER = "ckafka-12ab34cd#mover"
API_KEY = "ABCDEF1234567890"
# Which listener of the broker below stands for the endpoint of a way.
LISTENERS = {
    ("PLAINTEXT", None): "PLAINTEXT",
    ("SSL", None): "TLS",
    ("SSL", "certificate"): "MTLS",
    ("SASL_SSL", "AWS_MSK_IAM"): "IAM",
    ("SASL_SSL", "PLAIN"): "CLOUD",
    ("SASL_SSL", "SCRAM-SHA-256"): "SASLTLS",
    ("SASL_SSL", "SCRAM-SHA-512"): "SASLTLS",
    ("SASL_PLAINTEXT", "PLAIN"): "SASL",
    ("SASL_PLAINTEXT", "SCRAM-SHA-256"): "SASL",
    ("SASL_PLAINTEXT", "SCRAM-SHA-512"): "SASL",
}
EVERY_WAY = [
    (kind.kind, way.name, mechanism)
    for kind in KINDS.values()
    for way in kind.ways
    for mechanism in (way.mechanisms or (None,))
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[TestBroker]:
    """One broker with a listener for every kind of endpoint that the services have."""
    home = tmp_path_factory.mktemp("sources")
    certificate, key = authority.for_server("broker", ["127.0.0.1"])
    keystore = home / "keystore.pem"
    keystore.touch(mode=0o600)
    keystore.write_bytes(key.read_bytes() + certificate.read_bytes())
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    token = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
    users = " ".join(f'"user_{name}"="{PASSWORD}"' for name in (USER, CKAFKA_USER, API_KEY))
    properties = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.path),
        "listener.name.mtls.ssl.client.auth": "required",
        "listener.name.iam.sasl.enabled.mechanisms": "OAUTHBEARER",
        "listener.name.iam.oauthbearer.sasl.jaas.config": token,
        "listener.name.cloud.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.cloud.plain.sasl.jaas.config": f"{plain} {users};",
    }
    for listener, mechanisms in (("sasl", ("PLAIN", *_SCRAMS)), ("sasltls", _SCRAMS)):
        properties[f"listener.name.{listener}.sasl.enabled.mechanisms"] = ",".join(mechanisms)
        for mechanism in mechanisms:
            jaas = f"{plain} {users};" if mechanism == "PLAIN" else scram
            properties[f"listener.name.{listener}.{mechanism.lower()}.sasl.jaas.config"] = jaas
    listeners = {
        "TLS": "SSL",
        "MTLS": "SSL",
        "IAM": "SASL_SSL",
        "CLOUD": "SASL_SSL",
        "SASLTLS": "SASL_SSL",
        "SASL": "SASL_PLAINTEXT",
    }
    known = [
        f"--add-scram={mechanism}=[name={name},password={PASSWORD}]"
        for name in (USER, CKAFKA_USER)
        for mechanism in _SCRAMS
    ]
    with running_broker(
        home / "broker", properties=properties, extra_listeners=listeners, format_arguments=tuple(known)
    ) as started:
        yield started


_SCRAMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFERRY_TEST_PASSWORD", PASSWORD)
    monkeypatch.setenv("KFERRY_TEST_WRONG", "wrong")

    def generate_auth_token(_region: str) -> tuple[str, int]:
        """What AWS's signer gives is a bearer token to the brokers; this one is one that the test broker trusts."""
        now = int(time.time())
        parts = [{"alg": "none"}, {"sub": USER, "iat": now, "exp": now + 600}]
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return f"{encoded[0]}.{encoded[1]}.", (now + 600) * 1000

    package = "aws_msk_iam_sasl_signer"
    monkeypatch.setitem(sys.modules, package, SimpleNamespace())
    signer = SimpleNamespace(generate_auth_token=generate_auth_token)
    monkeypatch.setitem(sys.modules, f"{package}.MSKAuthTokenProvider", signer)


def _config(
    kind: ClusterKind, way: str, mechanism: str | None, broker: TestBroker, authority: CertificateAuthority
) -> ClusterConfig:
    """A cluster as the form makes it: a draft, its keys of clusters.yml, and what the file's rules make of them."""
    draft = fitted(Draft(Role.SOURCE, kind, way, mechanism=mechanism or ""))
    needs = "certificate" if draft.its_way.certificate else mechanism
    certificate, key = authority.for_client("mover") if draft.its_way.certificate else ("", "")
    user = {ClusterKind.TENCENT: CKAFKA_USER}.get(kind, API_KEY if way == "cloud" else USER)
    draft = dataclasses.replace(
        draft,
        bootstrap_servers=broker.addresses[LISTENERS[draft.its_way.protocol, needs]],
        user=user,
        password="env:KFERRY_TEST_PASSWORD",
        ca=str(authority.path),
        certificate=str(certificate),
        key=str(key),
    )
    keys: dict[str, Any] = dict(settings_of(draft))
    if mechanism == "AWS_MSK_IAM":
        keys["aws_region"] = "eu-west-1"  # on MSK it stands in the brokers' names
    return cluster_of(Role.SOURCE, keys)


def _checked(config: ClusterConfig, *, timeout_seconds: float = 8.0) -> ClusterCheck:
    with ClusterAdmin(config) as admin:
        return check.check(admin.connection, timeout_seconds=timeout_seconds)


def _failed(found: ClusterCheck) -> str:
    """The words of the one line that failed."""
    assert not found.reachable and found.error is not None and found.error.next_step, found.lines
    return next(f"{what}: {words}" for what, state, words, _seconds in found.lines if state == "failed")


@pytest.mark.parametrize(("kind", "way", "mechanism"), EVERY_WAY, ids=lambda value: str(value))
def test_every_way_of_every_kind_gets_in(
    kind: ClusterKind, way: str, mechanism: str | None, broker: TestBroker, authority: CertificateAuthority
) -> None:
    found = _checked(_config(kind, way, mechanism, broker, authority))
    assert found.reachable and found.error is None, found.lines
    states = {what.partition(" ")[0]: state for what, state, _words, _seconds in found.lines}
    assert states["TCP"] == states["Kafka"] == states["broker"] == "ok" or states["broker"] == "warn", found.lines
    assert all(seconds is None or seconds >= 0 for _what, _state, _words, seconds in found.lines)
    assert found.kafka_version == "3.9" and found.broker_count == 1
    assert states["clock"] == "ok", found.lines  # a KRaft controller tells the time; it is this machine's
    assert found.capabilities["acls"].state is Capability.UNSUPPORTED, "this broker has no authorizer"
    assert found.capabilities["quotas"].state is Capability.SUPPORTED
    assert PASSWORD not in str(found.as_body())


def _scram(broker: TestBroker, authority: CertificateAuthority, **changes: Any) -> ClusterConfig:
    config = _config(ClusterKind.MSK, "scram", "SCRAM-SHA-512", broker, authority)
    return dataclasses.replace(config, **changes)


def test_tls_on_a_port_without_it_and_the_other_way_round(broker: TestBroker, authority: CertificateAuthority) -> None:
    words = _failed(_checked(_scram(broker, authority, bootstrap_servers=broker.addresses["SASL"])))
    assert words.startswith("TLS ") and "speaks Kafka without TLS" in words and "SASL_PLAINTEXT" in words
    plain = {"security_protocol": "SASL_PLAINTEXT", "ssl_ca": None}
    words = _failed(_checked(_scram(broker, authority, **plain)))
    assert "The port speaks TLS, and the settings do not. Set security_protocol to SASL_SSL." in words
    nothing = {"security_protocol": "PLAINTEXT", "ssl_ca": None, "sasl_mechanism": None}
    words = _failed(_checked(_scram(broker, authority, **nothing, bootstrap_servers=broker.addresses["TLS"])))
    assert "Set security_protocol to SSL." in words


def test_a_login_where_none_is_taken_and_none_where_one_is(broker: TestBroker, authority: CertificateAuthority) -> None:
    words = _failed(_checked(_scram(broker, authority, bootstrap_servers=broker.addresses["TLS"])))
    assert "The listener takes no login" in words
    plain = ClusterConfig(Role.SOURCE, ClusterKind.TENCENT, broker.addresses["SASL"])
    words = _failed(_checked(plain))
    assert "wants a login: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512" in words
    words = _failed(_checked(_scram(broker, authority, bootstrap_servers=broker.addresses["CLOUD"])))
    assert "SCRAM-SHA-512 is not offered here; the listener takes PLAIN" in words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sasl_password": "env:KFERRY_TEST_WRONG"}, "Authentication failed"),
        ({"sasl_username": "nobody"}, "Authentication failed"),
        ({"sasl_password": "env:KFERRY_NOT_SET"}, "The variable KFERRY_NOT_SET does not resolve"),
        ({"sasl_password": "file:/nowhere/at/all"}, "The file /nowhere/at/all does not resolve"),
        ({"ssl_ca": "/nowhere/ca.pem"}, "The file /nowhere/ca.pem does not resolve"),
    ],
)
def test_what_is_wrong_with_a_login_is_named(
    changes: dict[str, str], words: str, broker: TestBroker, authority: CertificateAuthority
) -> None:
    found = _checked(_scram(broker, authority, **changes))
    assert words in _failed(found)
    assert "wrong" not in str(found.as_body()).replace("env:KFERRY_TEST_WRONG", "").replace("KFERRY_TEST_WRONG", "")


def test_a_missing_client_certificate_is_named(broker: TestBroker, authority: CertificateAuthority) -> None:
    config = _config(ClusterKind.MSK, "tls", None, broker, authority)
    words = _failed(_checked(dataclasses.replace(config, bootstrap_servers=broker.addresses["MTLS"])))
    assert "asks for a client certificate, and none is given. Set ssl_certificate and ssl_key." in words


def test_certificates_of_another_ca_expired_or_for_other_names(
    broker: TestBroker, authority: CertificateAuthority, tmp_path: Path
) -> None:
    """In front of a real broker stands what shows another certificate: the test says what is wrong with it."""
    tls = _config(ClusterKind.APACHE_KAFKA, "tls", None, broker, authority)
    other = CertificateAuthority(tmp_path / "other", "another CA")
    words = _failed(_checked(dataclasses.replace(tls, ssl_ca=str(other.path))))
    assert "it is signed by kferry test CA" in words and "as ssl_ca" in words
    words = _failed(_checked(dataclasses.replace(tls, ssl_ca=None)))
    assert "the CAs of this machine (ssl_ca is not set)" in words
    expired = authority.for_server("old broker", ["127.0.0.1"], ends_in=datetime.timedelta(hours=-2))
    with tls_front(broker.bootstrap_servers, expired) as address:
        words = _failed(_checked(dataclasses.replace(tls, bootstrap_servers=address)))
    assert "has expired: old broker was valid until" in words and "Renew it" in words
    elsewhere = authority.for_server("broker", ["10.9.8.7"], ["kafka.example.com"])
    with tls_front(broker.bootstrap_servers, elsewhere) as address:
        words = _failed(_checked(dataclasses.replace(tls, bootstrap_servers=address)))
    assert "does not carry the host name 127.0.0.1: it is for kafka.example.com, 10.9.8.7" in words


def test_one_bootstrap_server_of_two_is_enough_and_the_dead_one_is_named(
    broker: TestBroker, authority: CertificateAuthority
) -> None:
    config = _scram(broker, authority)
    found = _checked(dataclasses.replace(config, bootstrap_servers=f"127.0.0.1:1,{config.bootstrap_servers}"))
    assert found.reachable
    assert ("TCP 127.0.0.1:1", "failed") in {(what, state) for what, state, _words, _seconds in found.lines}


def test_a_frozen_broker_ends_the_test_soon(broker: TestBroker, authority: CertificateAuthority) -> None:
    broker.pause()
    started = time.monotonic()
    try:
        words = _failed(_checked(_config(ClusterKind.OTHER, "plaintext", None, broker, authority)))
    finally:
        broker.resume()
    assert "no answer within" in words and time.monotonic() - started < 60


def test_a_cancelled_test_ends_at_once_with_what_it_saw(broker: TestBroker, authority: CertificateAuthority) -> None:
    seen: list[int] = []
    with ClusterAdmin(_scram(broker, authority)) as admin:
        found = check.check(
            admin.connection,
            timeout_seconds=8,
            on_lines=lambda lines: seen.append(len(list(lines))),
            cancelled=lambda: len(seen) > 1,
        )
    assert not found.reachable and found.lines[-1][1] == "skipped" and len(found.lines) > 2


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBrokers]:
    """Two brokers with an authorizer; the target advertises an address where nobody listens to SASL_PLAINTEXT."""
    made = SecuredBrokers(tmp_path_factory.mktemp("secured"), users={USER: PASSWORD, CKAFKA_USER: PASSWORD})
    away = made.target
    advertised = away._settings()["advertised.listeners"]
    dead = advertised.replace(f"SASL_PLAINTEXT://{away.listener('SASL_PLAINTEXT')}", "SASL_PLAINTEXT://127.0.0.1:1")
    away._properties = {"advertised.listeners": dead}
    with made as started:
        yield started


def _on_secured(secured: SecuredBrokers, user: str = USER, **changes: Any) -> ClusterConfig:
    config = ClusterConfig(
        Role.SOURCE,
        ClusterKind.TENCENT,
        secured.source.listener("SASL_PLAINTEXT"),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-256",
        sasl_username=user,
        sasl_password="env:KFERRY_TEST_PASSWORD",
    )
    return dataclasses.replace(config, **changes)


def test_missing_rights_are_named_one_by_one_and_never_take_the_cluster_down(secured: SecuredBrokers) -> None:
    found = _checked(_on_secured(secured))
    assert found.reachable and found.error is None, found.lines
    states = {name: one.state for name, one in found.capabilities.items()}
    for name in ("broker_configs", "acls", "quotas", "scram_users", "log_dirs", "transactional_ids"):
        assert states[name] is Capability.DENIED, (name, found.capabilities[name])
    assert states["topics"] is states["groups"] is Capability.UNKNOWN
    assert found.capabilities["quotas"].grant == "DESCRIBE_CONFIGS on the cluster"
    assert found.capabilities["acls"].grant == "DESCRIBE on the cluster"
    for future in secured.source.admin_client().create_topics([NewTopic("orders", 1)]).values():
        future.result(15)
    secured.source.allow(CKAFKA_USER, ResourceType.TOPIC, "orders", AclOperation.READ, AclOperation.DESCRIBE_CONFIGS)
    secured.source.allow(
        CKAFKA_USER, ResourceType.BROKER, "kafka-cluster", AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS
    )
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        found = _checked(_on_secured(secured, CKAFKA_USER, sasl_mechanism=mechanism))
        assert found.reachable, found.lines
        denied = {name for name, one in found.capabilities.items() if one.state is Capability.DENIED}
        assert denied == {"transactional_ids"}, found.capabilities
        assert "clock" in {what for what, state, _words, _seconds in found.lines if state == "ok"}


def test_brokers_that_advertise_a_dead_address_are_named(secured: SecuredBrokers) -> None:
    started = time.monotonic()
    found = _checked(_on_secured(secured, bootstrap_servers=secured.target.listener("SASL_PLAINTEXT")))
    words = _failed(found)
    assert words.startswith("broker 1 127.0.0.1:1: TCP: Refused") and "advertised.listeners" in words
    assert "none of the brokers it advertises can be used" in str(found.error)
    assert time.monotonic() - started < 60
