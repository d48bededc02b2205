"""Speak just enough of Kafka's protocol to log in and ask for the brokers. Standard library only."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import socket
import struct
import time

METADATA, SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 3, 17, 18, 36
UNSUPPORTED_MECHANISM, ILLEGAL_SASL_STATE, AUTHENTICATION_FAILED = 33, 34, 58
MAX_ANSWER_BYTES = 16 * 1024 * 1024
SCRAM_HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
# A server that asks for more rounds than this would only burn our time.
MAX_SCRAM_ROUNDS = 1_000_000
CLIENT_ID = b"kferry-preflight"


class RefusedError(Exception):
    """A sentence that says why a broker can't be used."""


class ClosedError(RefusedError):
    """The other side ended the connection instead of answering."""


class Reader:
    """Takes Kafka's primitive types off an answer."""

    def __init__(self, data):
        self._data = data
        self._at = 0

    def _take(self, count):
        if count < 0 or self._at + count > len(self._data):
            raise RefusedError("It answers something that is not Kafka's protocol.")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, layout):
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def text(self):
        count = self.number(">h")
        return "" if count < 0 else self._take(count).decode("utf-8", "replace")

    def data(self):
        count = self.number(">i")
        return b"" if count < 0 else self._take(count)

    def count(self):
        return max(0, self.number(">i"))


def text(value):
    encoded = value.encode()
    return struct.pack(">h", len(encoded)) + encoded


def data(value):
    return struct.pack(">i", len(value)) + value


def address(host, port):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Conversation:
    """One connection to one broker; every wait ends at the deadline (monotonic clock)."""

    def __init__(self, connection, deadline_seconds):
        self._connection = connection
        self._deadline_seconds = deadline_seconds
        self._correlation = 0

    def api_versions(self):
        """Newest version by API; also the proof that Kafka listens there."""
        answer = self.call(API_VERSIONS, 0, b"")
        error = answer.number(">h")
        if error:
            raise RefusedError(f"It refuses to tell its versions (error {error}).")
        versions = {}
        for _ in range(answer.count()):
            key, _oldest, newest = (answer.number(">h") for _ in range(3))
            versions[key] = newest
        return versions

    def brokers(self):
        """Every broker as `host:port`, as the cluster advertises them on this listener."""
        answer = self.call(METADATA, 1, struct.pack(">i", 0))
        found = []
        for _ in range(answer.count()):
            answer.number(">i")
            host, port = answer.text(), answer.number(">i")
            answer.text()
            found.append(address(host, port))
        return found

    def offers(self, mechanism, version=1):
        """Ask for a SASL mechanism; None where it is granted, else those the broker offers."""
        answer = self.call(SASL_HANDSHAKE, version, text(mechanism))
        error = answer.number(">h")
        offered = [answer.text() for _ in range(answer.count())]
        if error == ILLEGAL_SASL_STATE:
            raise RefusedError("This listener expects no login; security_protocol should be without SASL.")
        return offered if error or mechanism not in offered else None

    def log_in(self, mechanism, username, password, versions):
        """Log in by PLAIN or SCRAM."""
        framed = versions.get(SASL_AUTHENTICATE) is not None  # brokers before 1.0 take the tokens unwrapped
        offered = self.offers(mechanism, 1 if framed else 0)
        if offered is not None:
            raise RefusedError(f"It doesn't offer {mechanism}, but {', '.join(sorted(offered)) or 'nothing'}.")
        if mechanism == "PLAIN":
            self._token(f"\0{username}\0{password}".encode(), framed)
            return
        scram = Scram(mechanism, username, password)
        challenge = self._token(scram.first(), framed)
        proof = scram.final(challenge)
        scram.verify(self._token(proof, framed))

    def _token(self, token, framed):
        if not framed:
            self._send(data(token))
            return self._receive()
        answer = self.call(SASL_AUTHENTICATE, 0, data(token))
        error, words, token = answer.number(">h"), answer.text(), answer.data()
        if error:
            raise RefusedError(f"It refuses the login: {printable(words) or f'error {error}'}.")
        return token

    @contextlib.contextmanager
    def within(self, seconds):
        """A part of the talk with less time of its own."""
        whole = self._deadline_seconds
        self._deadline_seconds = min(whole, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._deadline_seconds = whole

    def call(self, key, version, body, flexible=False):
        """One request and the reader of its answer. The header of a `flexible` request can carry tagged fields."""
        self._correlation += 1
        header = struct.pack(">hhi", key, version, self._correlation) + struct.pack(">h", len(CLIENT_ID)) + CLIENT_ID
        self._send(data(header + (b"\0" if flexible else b"") + body))
        answer = Reader(self._receive())
        if answer.number(">i") != self._correlation:
            raise RefusedError("It answers something that is not Kafka's protocol.")
        return answer

    def _send(self, whole):
        self._limit()
        try:
            self._connection.sendall(whole)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ClosedError("It closes the connection.") from error

    def _receive(self):
        start = self._exactly(4)
        count = struct.unpack(">i", start)[0]
        if not 0 <= count <= MAX_ANSWER_BYTES:
            raise RefusedError(_foreign(start))
        return self._exactly(count)

    def _exactly(self, count):
        parts = bytearray()
        while len(parts) < count:
            self._limit()
            try:
                part = self._connection.recv(count - len(parts))
            except ConnectionResetError as error:
                raise ClosedError("It closes the connection.") from error
            if not part:
                if parts[:1] == b"\x15":
                    raise RefusedError(_foreign(bytes(parts)))
                raise ClosedError("It closes the connection.")
            parts += part
        return bytes(parts)

    def _limit(self):
        left = self._deadline_seconds - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")  # noqa: UP041  (Python 3.8)
        self._connection.settimeout(left)


def _foreign(start):
    if start[:2] == b"\x15\x03":
        return "It expects TLS; security_protocol should be SSL or SASL_SSL."
    if start == b"HTTP":
        return "A web server listens there, not Kafka."
    return "It answers something that is not Kafka's protocol."


def printable(words):
    """A text from outside on one line, bounded, without control characters and a full stop."""
    clean = "".join(character if character.isprintable() else " " for character in words)
    return " ".join(clean.split())[:300].rstrip(".")


class Scram:
    """The client's side of one SCRAM login (RFC 5802)."""

    def __init__(self, mechanism, username, password, nonce=""):
        self._hash = SCRAM_HASHES[mechanism]
        self._password = password.encode()
        self._nonce = nonce or base64.b64encode(os.urandom(24)).decode()
        name = username.replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={name},r={self._nonce}"
        self._server_signature = b""

    def first(self):
        return f"n,,{self._bare}".encode()

    def final(self, challenge):
        """The proof for the server's challenge."""
        try:
            parts = fields(challenge)
            salt, rounds, nonce = base64.b64decode(parts["s"]), int(parts["i"]), parts["r"]
        except (KeyError, ValueError) as error:
            raise RefusedError("It refuses the login: its challenge can't be read.") from error
        if not nonce.startswith(self._nonce) or not 0 < rounds <= MAX_SCRAM_ROUNDS:
            raise RefusedError("It answers the login with a false challenge; it may not be the broker it seems.")
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, salt, rounds)
        client_key = self._mac(salted, b"Client Key")
        without_proof = f"c=biws,r={nonce}"
        signed = ",".join((self._bare, challenge.decode(), without_proof)).encode()
        signature = self._mac(hashlib.new(self._hash, client_key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))  # noqa: B905  (Python 3.8)
        self._server_signature = self._mac(self._mac(salted, b"Server Key"), signed)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, answer):
        """Whether the server knew the password too."""
        try:
            parts = fields(answer)
            signature = base64.b64decode(parts.get("v", ""))
        except ValueError:
            parts, signature = {}, b""
        if "e" in parts:
            raise RefusedError(f"It refuses the login: {printable(parts['e'])}.")
        if not hmac.compare_digest(signature, self._server_signature):
            raise RefusedError("It doesn't know the password itself; it may not be the broker it seems.")

    def _mac(self, key, message):
        return hmac.new(key, message, self._hash).digest()


def fields(message):
    """The `k=value` parts of a SCRAM message."""
    return dict(part.split("=", 1) for part in message.decode().split(",") if "=" in part)
