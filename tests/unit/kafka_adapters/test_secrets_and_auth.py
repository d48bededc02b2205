"""References to secrets, and the client settings made of them."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig, ClusterKind, Role, TlsNameWaiver
from kferry.kafka import auth, secrets

SASL = ClusterConfig(
    Role.SOURCE,
    ClusterKind.APACHE_KAFKA,
    "b1:9092,b2:9092",
    security_protocol="SASL_SSL",
    sasl_mechanism="SCRAM-SHA-512",
    sasl_username="app",
    sasl_password="env:APP_PASSWORD",
    ssl_ca="file:/etc/ca.pem",
)


def test_each_kind_of_reference_gives_its_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("APP_PASSWORD", "from env")
    (tmp_path / "secret").write_text("from file\n")
    assert secrets.resolve("env:APP_PASSWORD") == "from env"
    assert secrets.resolve(f"file:{tmp_path / 'secret'}") == "from file"
    assert secrets.resolve("command:printf '%s\\n' 'from $(whoami) command'") == "from $(whoami) command"


def test_a_vaulted_value_is_opened_with_ansibles_own_password_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from ansible.parsing.vault import VaultLib, VaultSecret

    closed = VaultLib([("default", VaultSecret(b"the key"))]).encrypt("pass wörd", VaultSecret(b"the key")).decode()
    with pytest.raises(KferryError, match="cannot be opened") as caught:
        secrets.resolve(f"vault:{closed}")
    assert "ANSIBLE_VAULT_PASSWORD_FILE" in caught.value.cause
    for name, content in (("plain", "the key\n"), ("script", "#!/bin/sh\necho 'the key'\n"), ("wrong", "other\n")):
        (tmp_path / name).write_text(content)
    (tmp_path / "script").chmod(0o700)
    for name in ("plain", "script"):
        monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / name))
        assert secrets.resolve(f"vault:{closed}") == "pass wörd"
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "wrong"))
    with pytest.raises(KferryError, match="cannot be opened"):
        secrets.resolve(f"vault:{closed}")


@pytest.mark.parametrize(
    ("reference", "word"),
    [
        ("env:KFERRY_NOT_SET_ANYWHERE", "KFERRY_NOT_SET_ANYWHERE"),
        ("file:/nowhere/at/all", "/nowhere/at/all"),
        ("command:false --token abc", "false"),
        ("command:/no/such/program", "/no/such/program"),
        ("command:true", "printed nothing"),
    ],
)
def test_a_missing_secret_is_a_sentence_with_a_next_step(reference: str, word: str) -> None:
    with pytest.raises(KferryError) as caught:
        secrets.resolve(reference)
    assert word in str(caught.value)
    assert "abc" not in str(caught.value)
    assert caught.value.next_step


@pytest.mark.parametrize("text", ["hunter2", "", "env:", "hunter2:env"])
def test_what_is_no_reference_is_refused_and_never_repeated(text: str) -> None:
    with pytest.raises(KferryError) as caught:
        secrets.resolve(text)
    assert "hunter2" not in str(caught.value)


def test_sasl_ssl_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PASSWORD", "pass word")
    config = auth.client_config(SASL, client_id="kferry")
    assert config["bootstrap.servers"] == "b1:9092,b2:9092"
    assert config["security.protocol"] == "SASL_SSL"
    assert config["sasl.mechanism"] == "SCRAM-SHA-512"
    assert (config["sasl.username"], config["sasl.password"]) == ("app", "pass word")
    assert config["ssl.ca.location"] == "/etc/ca.pem"
    assert config["ssl.endpoint.identification.algorithm"] == "https"
    assert config["enable.ssl.certificate.verification"] == "true"


def test_host_names_go_unchecked_only_with_a_waiver_and_a_pinned_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PASSWORD", "secret")
    waived = dataclasses.replace(SASL, tls_name_waiver=TlsNameWaiver("2999-12-31", 32_503_680_000_000, "why"))
    config = auth.client_config(waived, client_id="kferry")
    assert config["ssl.endpoint.identification.algorithm"] == "none"
    assert config["enable.ssl.certificate.verification"] == "true"
    unpinned = auth.client_config(dataclasses.replace(waived, ssl_ca=None), client_id="kferry")
    assert unpinned["ssl.endpoint.identification.algorithm"] == "https"
    over = dataclasses.replace(waived, tls_name_waiver=TlsNameWaiver("2020-01-01", 1_577_923_200_000, "why"))
    with pytest.raises(KferryError, match="until 2020-01-01"):
        auth.client_config(over, client_id="kferry")


def test_iam_needs_its_package_a_region_and_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    iam = dataclasses.replace(SASL, sasl_mechanism="AWS_MSK_IAM", sasl_username=None, sasl_password=None)
    with pytest.raises(KferryError, match="AWS IAM") as caught:
        auth.client_config(iam, client_id="kferry")
    assert "region" in caught.value.cause
    iam, package = dataclasses.replace(iam, aws_region="eu-west-1"), "aws_msk_iam_sasl_signer"
    monkeypatch.setitem(sys.modules, f"{package}.MSKAuthTokenProvider", None)
    with pytest.raises(KferryError) as caught:
        auth.client_config(iam, client_id="kferry")
    assert "aws-msk-iam-sasl-signer-python" in caught.value.cause and "kferry[aws]" in caught.value.next_step

    class Signer:
        credentials = False

        @classmethod
        def generate_auth_token(cls, region: str) -> tuple[str, int]:
            if not cls.credentials:
                raise AttributeError("'NoneType' object has no attribute 'access_key'")
            return f"token for {region}", 1_800_000_000_000

    monkeypatch.setitem(sys.modules, package, SimpleNamespace())
    monkeypatch.setitem(sys.modules, f"{package}.MSKAuthTokenProvider", Signer)
    with pytest.raises(KferryError) as caught:
        auth.client_config(iam, client_id="kferry")
    assert "no AWS credentials" in caught.value.cause
    Signer.credentials = True
    config = auth.client_config(iam, client_id="kferry")
    assert config["sasl.mechanism"] == "OAUTHBEARER" and "sasl.username" not in config
    assert config["oauth_cb"]("") == ("token for eu-west-1", 1_800_000_000.0)


def test_mutual_tls_takes_files_or_pem_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_KEY", "-----BEGIN PRIVATE KEY-----")
    cluster = ClusterConfig(
        Role.TARGET,
        ClusterKind.AUTOMQ,
        "b:9093",
        security_protocol="SSL",
        ssl_certificate="/etc/app.pem",
        ssl_key="env:APP_KEY",
    )
    config = auth.client_config(cluster, client_id="kferry")
    assert config["ssl.certificate.location"] == "/etc/app.pem"
    assert config["ssl.key.pem"] == "-----BEGIN PRIVATE KEY-----"
    assert config["ssl.ca.location"] == "probe"
    assert "sasl.mechanism" not in config


def test_plaintext_needs_no_secret_and_extra_is_merged() -> None:
    cluster = ClusterConfig(Role.SOURCE, ClusterKind.OTHER, "b:9092", extra={"socket.timeout.ms": "5"})
    config = auth.client_config(cluster, client_id="kferry")
    assert config["socket.timeout.ms"] == "5"
    assert not any(key.startswith(("sasl.", "ssl.")) for key in config)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"extra": {"ssl.endpoint.identification.algorithm": "none"}}, "ssl.endpoint.identification.algorithm"),
        ({"extra": {"enable.ssl.certificate.verification": "false"}}, "enable.ssl.certificate.verification"),
        ({"security_protocol": "TLS"}, "security_protocol"),
        ({"sasl_mechanism": "GSSAPI"}, "sasl_mechanism"),
        ({"sasl_password": None}, "sasl_password"),
        ({"bootstrap_servers": " "}, "bootstrap_servers"),
        ({"ssl_key": "/etc/key.pem"}, "ssl_certificate"),
    ],
)
def test_unusable_settings_name_the_key(monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], word: str) -> None:
    monkeypatch.setenv("APP_PASSWORD", "secret value")
    with pytest.raises(KferryError) as caught:
        auth.client_config(dataclasses.replace(SASL, **changes), client_id="kferry")  # type: ignore[arg-type]
    assert word in caught.value.title
    assert "secret value" not in str(caught.value)
    assert caught.value.kind is ErrorKind.USAGE
