"""Certificates for tests, made with the openssl command: a CA, and keys that it signs for names, dates as wanted."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    @property
    def certificate_text(self) -> str:
        return self.certificate.read_text()

    @property
    def key_text(self) -> str:
        return self.key.read_text()


def make_ca(folder: Path, name: str = "ca") -> Pair:
    """A certificate authority."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    _openssl(
        "req", "-x509", *_NEW_KEY, "-days", "30", "-subj", f"/CN=kferry test {name}",
        "-addext", "keyUsage=critical,keyCertSign", "-keyout", str(pair.key), "-out", str(pair.certificate),
    )  # fmt: skip
    return pair


def sign(ca: Pair, folder: Path, name: str, *, alt_names: str, days: int = 30) -> Pair:
    """A certificate for these names (`DNS:a,IP:127.0.0.1`); negative days make one that has expired."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    request, extension = folder / f"{name}.csr", folder / f"{name}.ext"
    _openssl(
        "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", str(pair.key), "-out", str(request)
    )
    extension.write_text(f"subjectAltName={alt_names}\n")
    signing = [
        "x509",
        "-req",
        "-in",
        str(request),
        "-CA",
        str(ca.certificate),
        "-CAkey",
        str(ca.key),
        "-CAcreateserial",
    ]
    _openssl(*signing, "-extfile", str(extension), "-days", str(days), "-out", str(pair.certificate))
    return pair


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)
