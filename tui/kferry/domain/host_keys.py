"""Host keys of machines: fingerprints, and whether what a machine shows is what was pinned."""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

DEFAULT_PORT = 22
_KIND = re.compile(r"[a-z0-9][a-z0-9@.-]{2,63}")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


@dataclass(frozen=True, slots=True)
class HostKey:
    """One public key that a machine shows, or that is pinned for it."""

    host: str
    port: int
    type: str
    key: str  # base64, as in known_hosts

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it."""
        digest = hashlib.sha256(base64.b64decode(self.key)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    @property
    def line(self) -> str:
        """The line of a known_hosts file."""
        return f"{host_pattern(self.host, self.port)} {self.type} {self.key}"


class KeyState(StrEnum):
    """What a machine shows against what is pinned."""

    PINNED = "pinned"
    MISSING = "missing"
    DIFFERENT = "different"


def compare(pinned: Iterable[HostKey], shown: Iterable[HostKey]) -> KeyState:
    """Both of one machine. A key of a type that is pinned with another value makes it a different machine."""
    known = {(key.type, key.key) for key in pinned}
    seen = {(key.type, key.key) for key in shown}
    types = {kind for kind, _ in known}
    if any(kind in types for kind, _ in seen - known):
        return KeyState.DIFFERENT
    return KeyState.PINNED if known & seen else KeyState.MISSING


def host_pattern(host: str, port: int) -> str:
    """How known_hosts names a machine."""
    return host if port == DEFAULT_PORT else f"[{host}]:{port}"


def parse_key(host: str, port: int, kind: str, key: str) -> HostKey | None:
    """A key, or None where the text is none: its blob must be base64 and say the same type."""
    if _KIND.fullmatch(kind) is None:
        return None
    try:
        blob = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return None
    length = int.from_bytes(blob[:4], "big")
    if len(blob) <= 4 + length or blob[4 : 4 + length] != kind.encode():
        return None
    return HostKey(host, port, kind, key)


def is_address(text: str) -> bool:
    """Whether it is a host name or an IP address; never something that a command takes for an option."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return 0 < len(text) <= 253 and all(_LABEL.fullmatch(label) for label in text.split("."))
    return "%" not in text
