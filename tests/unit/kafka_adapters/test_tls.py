"""Why a TLS handshake fails, told apart where the client library has one sentence for all."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from kferry.domain.model import ClusterConfig, ClusterKind, Role, TlsNameWaiver
from kferry.kafka import tls
from support.certificates import CertificateAuthority

LOOPBACK, ELSEWHERE = "127.0.0.1", "127.0.0.2"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pair(authority: CertificateAuthority) -> tuple[Path, Path]:
    return authority.for_server("broker", [LOOPBACK])


@contextmanager
def server(host: str, context: ssl.SSLContext | None) -> Iterator[str]:
    """Greets every client with TLS, or with plain bytes; yields its address."""
    with socket.create_server((host, 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    return
                with plain, suppress(OSError):
                    if context is None:
                        plain.sendall(b"this is not TLS at all\n")
                        continue
                    with context.wrap_socket(plain, server_side=True) as connected:
                        connected.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"{host}:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def speaking(pair: tuple[Path, Path], *, client_ca: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context


def cluster(ca: Path) -> ClusterConfig:
    return ClusterConfig(Role.SOURCE, ClusterKind.OTHER, "b:1", "SSL", ssl_ca=str(ca))


def test_nothing_is_wrong(authority: CertificateAuthority, pair: tuple[Path, Path]) -> None:
    with server(LOOPBACK, speaking(pair)) as address:
        assert tls.why_not(cluster(authority.path), address) is None


def test_a_name_that_is_not_in_the_certificate(authority: CertificateAuthority, pair: tuple[Path, Path]) -> None:
    with server(ELSEWHERE, speaking(pair)) as address:
        why = tls.why_not(cluster(authority.path), address)
        assert why == f"the broker's certificate does not carry the host name {ELSEWHERE}"
        waived = replace(cluster(authority.path), tls_name_waiver=TlsNameWaiver("2999-12-31", 1, "why"))
        assert tls.why_not(waived, address) is None


def test_another_authority(authority: CertificateAuthority, pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = CertificateAuthority(tmp_path, "another")
    with server(LOOPBACK, speaking(pair)) as address:
        assert "another CA" in str(tls.why_not(cluster(other.path), address))


def test_a_certificate_that_has_expired(
    authority: CertificateAuthority, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    key = serialization.load_pem_private_key(pair[1].read_bytes(), None)
    found = x509.load_pem_x509_certificate(pair[0].read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    alone = (
        x509.CertificateBuilder()
        .subject_name(found.subject)
        .issuer_name(found.subject)
        .public_key(key.public_key())  # type: ignore[arg-type]
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now - datetime.timedelta(days=1))
        .add_extension(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())  # type: ignore[arg-type]
    )
    path = tmp_path / "old.pem"
    path.write_bytes(alone.public_bytes(serialization.Encoding.PEM))
    with server(LOOPBACK, speaking((path, pair[1]))) as address:
        assert tls.why_not(cluster(path), address) == "the broker's certificate has expired"


def test_a_client_certificate_is_wanted(
    authority: CertificateAuthority, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = authority.for_client("mm")
    with server(LOOPBACK, speaking(pair, client_ca=authority.path)) as address:
        assert "asks for a client certificate" in str(tls.why_not(cluster(authority.path), address))
        monkeypatch.setenv("KFERRY_TEST_KEY", key.read_text())
        given = replace(
            cluster(authority.path), ssl_certificate=f"command:cat {certificate}", ssl_key="env:KFERRY_TEST_KEY"
        )
        assert tls.why_not(given, address) is None


def test_a_port_without_tls_and_one_where_nobody_is(authority: CertificateAuthority) -> None:
    with server(LOOPBACK, None) as address:
        assert tls.why_not(cluster(authority.path), address) == "the port does not speak TLS"
    assert tls.why_not(cluster(authority.path), address) is None
    assert tls.why_not(cluster(authority.path), "") is None
