"""Certificates as an operator reads them: whose, for which names, by whom, until when."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from kferry.domain.words import first_of

_BLOCK = re.compile(r"-----BEGIN (?:TRUSTED )?CERTIFICATE-----.+?-----END (?:TRUSTED )?CERTIFICATE-----", re.DOTALL)
_MAX_NAMES = 4


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate. Names are data: they come from a broker."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime.datetime
    not_after: datetime.datetime

    @property
    def is_self_signed(self) -> bool:
        return self.subject == self.issuer

    @property
    def names_words(self) -> str:
        """The names it is for, the first few of them."""
        return first_of(self.names, _MAX_NAMES) or "no names"


def read(text: str) -> list[Certificate]:
    """The certificates of a PEM text; what cannot be read is left out."""
    found = []
    for block in _BLOCK.findall(text):
        try:
            found.append(_of(x509.load_pem_x509_certificate(block.encode())))
        except ValueError:
            continue
    return found


def read_der(chain: Iterable[bytes]) -> list[Certificate]:
    """The certificates of a handshake, the broker's own first."""
    found = []
    for data in chain:
        try:
            found.append(_of(x509.load_der_x509_certificate(data)))
        except ValueError:
            continue
    return found


def chain_words(chain: Sequence[Certificate]) -> str:
    """Who vouches for whom, from the broker's certificate up."""
    names = [chain[0].issuer, *(one.issuer for one in chain[1:] if not one.is_self_signed)]
    return ", by ".join(dict.fromkeys(names))


def _of(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        subject=_name(certificate.subject),
        issuer=_name(certificate.issuer),
        names=_names(certificate),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string() or "without a name"


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    names = [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]
    return tuple(dict.fromkeys(names))
