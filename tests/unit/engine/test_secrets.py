"""What plays get of secrets: complete for every mechanism, and refused where Java could not use it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kferry.domain import connectors
from kferry.domain.errors import KferryError
from kferry.domain.model import ClusterConfig, ClusterKind, Role, TaskSpec, TlsNameWaiver, WorkerSpec
from kferry.engine import pem
from kferry.engine.clusters import Clusters
from kferry.engine.secrets import jaas, play_environment, preflight_environment
from kferry.store.paths import Layout
from support.certificates import CertificateAuthority

SPEC = TaskSpec("shop", "abc123", "shop", 1, ("a",), (), (WorkerSpec("shop-1", "w1", "10.0.0.1", 8083, 2**29),), 1)
SOURCE = ClusterConfig(
    Role.SOURCE, ClusterKind.OTHER, "b:9093", "SASL_SSL", "SCRAM-SHA-512", "mm", "env:KFERRY_TEST_PASSWORD"
)
TARGET = ClusterConfig(Role.TARGET, ClusterKind.AUTOMQ, "t:9093")


def _clusters(source: ClusterConfig, target: ClusterConfig = TARGET) -> Any:
    return SimpleNamespace(config={Role.SOURCE: source, Role.TARGET: target}.__getitem__)


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFERRY_TEST_PASSWORD", 'p"w\\d\nline')
    monkeypatch.setenv("KFERRY_TEST_USER", "from env")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("ca"))


def test_a_password_is_escaped_for_jaas() -> None:
    assert jaas(replace(SOURCE, sasl_username="env:KFERRY_TEST_USER")).endswith(
        'ScramLoginModule required username="from env" password="p\\"w\\\\d\\nline";'
    )


def test_every_reference_of_the_configs_has_its_value(authority: CertificateAuthority) -> None:
    certificate, key = authority.for_client("mm")
    source = replace(SOURCE, ssl_ca=str(authority.path))
    target = ClusterConfig(
        Role.TARGET,
        ClusterKind.AUTOMQ,
        "t:9093",
        "SSL",
        ssl_ca=f"file:{authority.path}",
        ssl_certificate=str(certificate),
        ssl_key=f"command:cat {key}",
    )
    values = play_environment(_clusters(source, target), SPEC)
    text = str(
        connectors.task_file(
            SPEC,
            source,
            target,
            install={"root": "/opt/kferry"},
            kafka={},
            java={},
            spec_data={},
            offset_flush_interval_ms=1000,
        )
    )
    for name in values:
        key_name = name.removeprefix("KFERRY_SECRET_").lower()
        assert f"${{file:/opt/kferry/tasks/shop/secrets.properties:{key_name}}}" in text
    assert text.count("${file:") > 0
    assert len(values) == 5
    assert values["KFERRY_SECRET_TARGET_KEY"].startswith("-----BEGIN PRIVATE KEY-----")
    assert values["KFERRY_SECRET_TARGET_CA"] == authority.path.read_text()
    assert str(authority.path) not in text and "PRIVATE KEY" not in text


def test_machines_that_try_the_brokers_get_passwords_and_authorities(authority: CertificateAuthority) -> None:
    found = preflight_environment(_clusters(replace(SOURCE, ssl_ca=str(authority.path))))
    assert set(found) == {"KFERRY_SECRET_SOURCE_PASSWORD", "KFERRY_SECRET_SOURCE_CA"}
    assert found["KFERRY_SECRET_SOURCE_PASSWORD"] == 'p"w\\d\nline'


def test_machines_that_try_the_brokers_show_the_same_certificate_as_the_workers(
    authority: CertificateAuthority,
) -> None:
    certificate, key = authority.for_client("mm")
    mutual = ClusterConfig(
        Role.SOURCE,
        ClusterKind.APACHE_KAFKA,
        "b:9093",
        "SSL",
        ssl_ca=str(authority.path),
        ssl_certificate=str(certificate),
        ssl_key=f"command:cat {key}",
    )
    found = preflight_environment(_clusters(mutual))
    assert set(found) == {f"KFERRY_SECRET_SOURCE_{name}" for name in ("CA", "CERTIFICATE", "KEY")}
    assert found == play_environment(_clusters(mutual), SPEC)
    assert found["KFERRY_SECRET_SOURCE_KEY"] == key.read_text()
    without_key = preflight_environment(_clusters(replace(mutual, ssl_key=None)))
    assert set(without_key) == {"KFERRY_SECRET_SOURCE_CA"}


def test_machines_can_be_checked_before_the_clusters_are_known(tmp_path: Path) -> None:
    assert preflight_environment(Clusters(Layout(tmp_path))) == {}


def test_with_iam_each_task_is_a_session_of_its_own() -> None:
    iam = replace(SOURCE, sasl_mechanism="AWS_MSK_IAM", sasl_username=None, sasl_password=None)
    assert play_environment(_clusters(iam), SPEC) == {
        "KFERRY_SECRET_SOURCE_JAAS": "software.amazon.msk.auth.iam.IAMLoginModule required;"
    }
    named = replace(iam, aws_role_arn="arn:aws:iam::123456789012:role/k-{task}", aws_region="eu-west-1")
    line = play_environment(_clusters(named), SPEC)["KFERRY_SECRET_SOURCE_JAAS"]
    assert 'awsRoleArn="arn:aws:iam::123456789012:role/k-shop"' in line
    assert 'awsRoleSessionName="kferry-abc123-shop"' in line and 'awsStsRegion="eu-west-1"' in line


def test_an_old_waiver_stops_every_play(authority: CertificateAuthority) -> None:
    waived = replace(
        SOURCE, ssl_ca=str(authority.path), tls_name_waiver=TlsNameWaiver("2020-01-01", 1_577_923_200_000, "why")
    )
    for ask in (lambda: play_environment(_clusters(waived), SPEC), lambda: preflight_environment(_clusters(waived))):
        with pytest.raises(KferryError, match="until 2020-01-01"):
            ask()


def _openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True).stdout


def test_a_key_with_a_password_or_of_the_older_form_is_refused(authority: CertificateAuthority, tmp_path: Path) -> None:
    _, key = authority.for_client("mm")
    locked = _openssl("pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:x", "-in", str(key))
    older = _openssl("ec", "-in", str(key))
    older_locked = _openssl("ec", "-aes128", "-passout", "pass:x", "-in", str(key))
    for text, words in ((locked, "PBES2"), (older_locked, "PBES2"), (older, "EC PRIVATE KEY"), ("", "no private keys")):
        with pytest.raises(KferryError) as caught:
            pem.private_key(text, "the key")
        assert words in caught.value.title
        assert caught.value.next_step
    path = tmp_path / "old.pem"
    path.write_text(older)
    assert pem.private_key(_openssl("pkcs8", "-topk8", "-nocrypt", "-in", str(path)), "the key")


def test_certificates_come_without_comments_and_not_by_the_hundred(authority: CertificateAuthority) -> None:
    text = authority.path.read_text()
    assert pem.certificates(f"subject=CN = x\n{text}\n# more\n{text}", "the CA") == text + text
    for bad in ("", "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(KferryError, match="holds no certificate"):
            pem.certificates(bad, "the CA")
    with pytest.raises(KferryError, match="is the most"):
        pem.certificates(text * 400, "the CA")
