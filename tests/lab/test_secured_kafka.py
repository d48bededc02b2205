"""Real secured brokers: every way to log in, what is said where one fails, and the least rights, each shown needed."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kferry.domain.errors import KferryError
from kferry.domain.model import ClusterConfig, ClusterKind, Role, TlsNameWaiver
from kferry.kafka.admin import ClusterAdmin
from support.certificates import CertificateAuthority
from support.forwarder import forwarded
from support.secured_brokers import Protocol, SecuredBrokers

pytestmark = pytest.mark.lab

# Everything that quotes, templates, providers of configs and line ends could stumble over.
HOSTILE = "pa\"ss'\\word ${file:/etc/hostname:x} {{ 1 }} $(id) ;#=:,\t ü€ end"
CERTIFIED = "mover"  # the principal of the client certificate


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBrokers]:
    # the broker's own PLAIN module reads its users from a JAAS line: the hostile one is known to SCRAM only
    with SecuredBrokers(tmp_path_factory.mktemp("secured"), users={"plain": "plain-secret"}) as started:
        started.add_user("kferry", HOSTILE)
        yield started


def _config(brokers: SecuredBrokers, role: Role, protocol: Protocol = "SASL_SSL", **changes: Any) -> ClusterConfig:
    """How kferry is told to reach one of the brokers; by default as `kferry` with SCRAM over TLS."""
    made = ClusterConfig(
        role, ClusterKind.APACHE_KAFKA, brokers.broker(role.value).listener(protocol), security_protocol=protocol
    )
    if protocol.startswith("SASL"):
        made = dataclasses.replace(
            made, sasl_mechanism="SCRAM-SHA-512", sasl_username="kferry", sasl_password="env:KFERRY_TEST_HOSTILE"
        )
    if protocol.endswith("SSL"):
        made = dataclasses.replace(made, ssl_ca=str(brokers.ca_path))
    return dataclasses.replace(made, **changes)


@pytest.fixture(autouse=True)
def _passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HOSTILE", HOSTILE), ("PLAIN", "plain-secret"), ("WRONG", "wrong")):
        monkeypatch.setenv(f"KFERRY_TEST_{name}", value)


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_kferry_logs_in_by_sasl(brokers: SecuredBrokers, protocol: Protocol, mechanism: str) -> None:
    changes = {"sasl_username": "plain", "sasl_password": "env:KFERRY_TEST_PLAIN"} if mechanism == "PLAIN" else {}
    config = _config(brokers, Role.SOURCE, protocol, sasl_mechanism=mechanism, **changes)
    with ClusterAdmin(config) as admin:
        found = admin.check(timeout_seconds=20)
    assert found.reachable, found.lines
    assert found.broker_count == 1


@pytest.mark.parametrize("form", ["paths", "texts"])
def test_kferry_logs_in_by_certificate(brokers: SecuredBrokers, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = brokers.client_certificate(CERTIFIED)
    places = {"ssl_certificate": str(certificate), "ssl_key": f"file:{key}"}
    if form == "texts":
        monkeypatch.setenv("KFERRY_TEST_CERTIFICATE", certificate.read_text())
        places = {"ssl_certificate": "env:KFERRY_TEST_CERTIFICATE", "ssl_key": f"command:cat {key}"}
    with ClusterAdmin(_config(brokers, Role.TARGET, "SSL", **places)) as admin:
        found = admin.check(timeout_seconds=20)
    assert found.reachable, found.lines
    assert found.kafka_version is not None


def _fails(config: ClusterConfig) -> KferryError:
    with ClusterAdmin(config) as admin, pytest.raises(KferryError) as caught:
        admin.topic_names(timeout_seconds=10)
    assert caught.value.next_step
    return caught.value


def test_a_wrong_password_is_named(brokers: SecuredBrokers) -> None:
    error = _fails(_config(brokers, Role.SOURCE, sasl_password="env:KFERRY_TEST_WRONG"))
    assert error.cause.startswith("Authentication failed")
    assert "sasl_password" in error.next_step


def test_a_login_that_the_listener_does_not_expect_is_named(brokers: SecuredBrokers) -> None:
    certificate, key = brokers.client_certificate(CERTIFIED)
    config = _config(brokers, Role.SOURCE, "SSL", ssl_certificate=str(certificate), ssl_key=str(key))
    error = _fails(dataclasses.replace(config, bootstrap_servers=brokers.source.listener("SASL_SSL")))
    assert "another security protocol" in error.next_step


def test_a_wrong_authority_is_named(brokers: SecuredBrokers, tmp_path: Path) -> None:
    other = CertificateAuthority(tmp_path / "other", "another CA")
    error = _fails(_config(brokers, Role.SOURCE, ssl_ca=str(other.path)))
    assert (
        error.cause
        == "TLS failed: the broker's certificate was signed by another CA than the one that is trusted here."
    )
    assert "ssl_ca" in error.next_step


def test_a_missing_client_certificate_is_named(brokers: SecuredBrokers) -> None:
    error = _fails(_config(brokers, Role.SOURCE, "SSL"))
    assert "the broker asks for a client certificate, and none is given" in error.cause
    assert "ssl_certificate" in error.next_step


def test_a_wrong_host_name_is_named_and_only_a_waiver_passes_it(brokers: SecuredBrokers, tmp_path: Path) -> None:
    with forwarded(brokers.source.listener("SASL_SSL"), "127.0.0.2") as elsewhere:
        config = _config(brokers, Role.SOURCE, bootstrap_servers=elsewhere)
        error = _fails(config)
        assert error.cause == "TLS failed: the broker's certificate does not carry the host name 127.0.0.2."
        waiver = TlsNameWaiver("2999-12-31", 32_503_680_000_000, "the service's certificate carries no names")
        waived = dataclasses.replace(config, kind=ClusterKind.ALIBABA, tls_name_waiver=waiver)
        with ClusterAdmin(waived) as admin:
            found = admin.check(timeout_seconds=20)
            assert found.reachable and found.kafka_version, found.lines
        # the CA is pinned: another one vouches for nobody, waiver or not
        other = CertificateAuthority(tmp_path / "other", "another CA")
        assert _fails(dataclasses.replace(waived, ssl_ca=str(other.path))).cause.startswith("TLS failed")
        over = dataclasses.replace(waived, tls_name_waiver=dataclasses.replace(waiver, until_ms=1))
        assert "unchecked until 2999-12-31" in _fails(over).title


def test_a_wrong_protocol_is_named(brokers: SecuredBrokers) -> None:
    plain = _config(brokers, Role.SOURCE, "SASL_PLAINTEXT", bootstrap_servers=brokers.source.listener("SASL_SSL"))
    assert "security_protocol" in _fails(plain).next_step
    tls = _config(brokers, Role.SOURCE, "SASL_SSL", bootstrap_servers=brokers.source.listener("SASL_PLAINTEXT"))
    error = _fails(tls)
    assert "does not speak TLS" in error.cause and "security_protocol" in error.next_step


def test_a_token_for_msk_iam_reaches_the_brokers(brokers: SecuredBrokers, monkeypatch: pytest.MonkeyPatch) -> None:
    """These brokers do not offer it: that they say so proves that the token was handed over and the login begun."""
    given: list[str] = []

    def generate_auth_token(region: str) -> tuple[str, int]:
        given.append(region)
        return "c2lnbmVk", int(time.time() * 1000) + 900_000

    package = "aws_msk_iam_sasl_signer"
    monkeypatch.setitem(sys.modules, package, SimpleNamespace())
    signer = SimpleNamespace(generate_auth_token=generate_auth_token)
    monkeypatch.setitem(sys.modules, f"{package}.MSKAuthTokenProvider", signer)
    changes = {"sasl_username": None, "sasl_password": None, "aws_region": "eu-west-1"}
    error = _fails(_config(brokers, Role.SOURCE, sasl_mechanism="AWS_MSK_IAM", **changes))
    assert len(given) > 1 and set(given) == {"eu-west-1"}
    assert error.cause.startswith("Authentication failed") and "OAUTHBEARER" in error.cause
