"""The client's side of a SCRAM login (RFC 5802), for connections that kferry makes without the client library."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
_MAX_ROUNDS = 1_000_000  # a server that asks for more would only burn our time


class LoginRefusedError(Exception):
    """The broker refuses the login; the message says why."""


class ScramLogin:
    """One login: `first`, then `final` with the server's challenge, then `verify` with its answer."""

    def __init__(self, mechanism: str, username: str, password: str, *, nonce: str = "") -> None:
        self._hash = HASHES[mechanism]
        self._password = password.encode()
        self._nonce = nonce or base64.b64encode(os.urandom(24)).decode()
        name = username.replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={name},r={self._nonce}"
        self._server_signature = b""

    def first(self) -> bytes:
        return f"n,,{self._bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        """The proof of the password for the server's challenge."""
        try:
            parts = _fields(challenge)
            salt, rounds, nonce = base64.b64decode(parts["s"]), int(parts["i"]), parts["r"]
        except (KeyError, ValueError) as error:
            raise LoginRefusedError("its challenge cannot be read") from error
        if not nonce.startswith(self._nonce) or not 0 < rounds <= _MAX_ROUNDS:
            raise LoginRefusedError("its challenge is false; it may not be the broker it seems")
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, salt, rounds)
        client_key = self._mac(salted, b"Client Key")
        without_proof = f"c=biws,r={nonce}"
        signed = ",".join((self._bare, challenge.decode(), without_proof)).encode()
        signature = self._mac(hashlib.new(self._hash, client_key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._server_signature = self._mac(self._mac(salted, b"Server Key"), signed)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, answer: bytes) -> None:
        """Raise where the server does not know the password itself."""
        try:
            parts = _fields(answer)
            signature = base64.b64decode(parts.get("v", ""))
        except ValueError:
            parts, signature = {}, b""
        if "e" in parts:
            raise LoginRefusedError(parts["e"])
        if not hmac.compare_digest(signature, self._server_signature):
            raise LoginRefusedError("it does not know the password itself; it may not be the broker it seems")

    def _mac(self, key: bytes, message: bytes) -> bytes:
        return hmac.new(key, message, self._hash).digest()


def _fields(message: bytes) -> dict[str, str]:
    return dict(part.split("=", 1) for part in message.decode().split(",") if "=" in part)
