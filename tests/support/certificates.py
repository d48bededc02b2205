"""A certificate authority for one test run: server and client certificates as PEM files with PKCS8 keys."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = datetime.timedelta(days=2)
_CLOCK_DIFFERENCE = datetime.timedelta(hours=1)


class CertificateAuthority:
    """Signs what a test needs; its own certificate lies in `path`."""

    def __init__(self, folder: Path, name: str = "kferry test CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self._made = 0
        self._certificate = (
            _builder(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.path = folder / "ca.pem"
        self.path.write_bytes(_pem(self._certificate))

    def for_server(
        self,
        name: str,
        addresses: Iterable[str],
        dns_names: Iterable[str] = (),
        *,
        ends_in: datetime.timedelta = _LIFE,
    ) -> tuple[Path, Path]:
        """A certificate for these addresses and names only; returns the paths of certificate and key.

        One that `ends_in` less than nothing has expired.
        """
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        names += [x509.DNSName(dns_name) for dns_name in dns_names]
        return self._issue(name, ExtendedKeyUsageOID.SERVER_AUTH, x509.SubjectAlternativeName(names), ends_in)

    def for_client(self, name: str) -> tuple[Path, Path]:
        """A new certificate for a client whose common name is `name`."""
        return self._issue(name, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def _issue(
        self,
        name: str,
        use: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
        ends_in: datetime.timedelta = _LIFE,
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_named(name), self._name, key, ends_in)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        self._made += 1
        stem = self._folder / f"{self._made:03d}"
        certificate_path, key_path = stem.with_suffix(".crt.pem"), stem.with_suffix(".key.pem")
        certificate_path.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        key_path.touch(mode=0o600)
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate_path, key_path


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, ends_in: datetime.timedelta = _LIFE
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + ends_in) - _CLOCK_DIFFERENCE)
        .not_valid_after(now + ends_in)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
