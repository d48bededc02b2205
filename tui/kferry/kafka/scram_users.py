"""Users with SCRAM credentials: who there is, and giving one a password. What a password was cannot be read."""

from __future__ import annotations

import hashlib
import os
import struct

from kferry.domain.access import ScramUser
from kferry.domain.model import Capability, ClusterConfig
from kferry.kafka.direct import DirectSession
from kferry.kafka.told import CLUSTER_DENIED, Told, error_words, release, untold
from kferry.kafka.wire import WireReader

NEEDS = "DESCRIBE on the cluster"
NEEDS_TO_CHANGE = "ALTER on the cluster"

_DESCRIBE, _ALTER = 50, 51
_MECHANISMS = {1: "SCRAM-SHA-256", 2: "SCRAM-SHA-512"}
_HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
_NO_SUCH_USER = 91
DEFAULT_ITERATIONS = 4096


def read(cluster: ClusterConfig, *, timeout_seconds: float = 30.0) -> Told[tuple[ScramUser, ...]]:
    """All SCRAM users. Brokers before 2.7, and with KRaft before 3.5, do not tell them this way."""
    with DirectSession(cluster, timeout_seconds=timeout_seconds) as session:
        return read_through(session)


def read_through(session: DirectSession) -> Told[tuple[ScramUser, ...]]:
    """As `read`, on a connection that is open already."""
    if not session.speaks(_DESCRIBE, 0):
        return Told(None, Capability.UNSUPPORTED, f"the brokers tell SCRAM users from {release(_DESCRIBE)} on")
    # An empty list stands for all users. So does a null one, but brokers never answer that to who is not allowed.
    answer = session.call(_DESCRIBE, 0, b"\x01\x00", flexible=True)
    answer.int32()  # throttled for
    error, message = answer.int16(), answer.compact_nullable_string()
    if error:
        return untold(error, message, NEEDS)
    found = []
    for _ in range(answer.compact_array_length()):
        name = answer.compact_string()
        error, message = answer.int16(), answer.compact_nullable_string()
        credentials = [_credential(answer) for _ in range(answer.compact_array_length())]
        answer.tagged_fields()
        if error:
            return Told(None, Capability.UNKNOWN, f"user {name}: {error_words(error, message)}")
        mechanisms = tuple(sorted(mechanism for mechanism, _ in credentials))
        found.append(ScramUser(name, mechanisms, min((count for _, count in credentials), default=None)))
    return Told(tuple(sorted(found)), Capability.SUPPORTED)


def set_password(
    cluster: ClusterConfig,
    name: str,
    mechanism: str,
    password: str,
    *,
    iterations: int = DEFAULT_ITERATIONS,
    timeout_seconds: float = 30.0,
) -> str | None:
    """Give a user this password for one mechanism; None, or why it was refused. Only its salted form is sent."""
    salt = os.urandom(24)
    salted = hashlib.pbkdf2_hmac(_HASHES[mechanism], password.encode(), salt, iterations)
    code = next(code for code, word in _MECHANISMS.items() if word == mechanism)
    upsertion = _compact(name.encode()) + struct.pack(">bi", code, iterations)
    upsertion += _compact(salt) + _compact(salted) + b"\0"
    return _alter(cluster, b"\x01" + b"\x02" + upsertion + b"\0", timeout_seconds)


def delete(cluster: ClusterConfig, name: str, mechanism: str, *, timeout_seconds: float = 30.0) -> str | None:
    """Take away a user's credential of one mechanism; None, or why it was refused."""
    code = next(code for code, word in _MECHANISMS.items() if word == mechanism)
    deletion = _compact(name.encode()) + struct.pack(">b", code) + b"\0"
    return _alter(cluster, b"\x02" + deletion + b"\x01" + b"\0", timeout_seconds)


def _alter(cluster: ClusterConfig, body: bytes, timeout_seconds: float) -> str | None:
    with DirectSession(cluster, timeout_seconds=timeout_seconds) as session:
        if not session.speaks(_ALTER, 0):
            return f"the brokers take SCRAM users from {release(_ALTER)} on"
        answer = session.call(_ALTER, 0, body, flexible=True)
    answer.int32()  # throttled for
    for _ in range(answer.compact_array_length()):
        answer.compact_string()
        error, message = answer.int16(), answer.compact_nullable_string()
        answer.tagged_fields()
        if error and error != _NO_SUCH_USER:
            words = error_words(error, message)
            return f"{words}: {NEEDS_TO_CHANGE} is missing" if error == CLUSTER_DENIED else words
    return None


def _credential(answer: WireReader) -> tuple[str, int]:
    code, iterations = answer.int8(), answer.int32()
    answer.tagged_fields()
    return _MECHANISMS.get(code, f"mechanism {code}"), iterations


def _compact(data: bytes) -> bytes:
    """Bytes or a text as flexible requests carry it: length plus one as a variable-length number, then the bytes."""
    length, packed = len(data) + 1, bytearray()
    while length > 0x7F:
        packed.append(length & 0x7F | 0x80)
        length >>= 7
    packed.append(length)
    return bytes(packed) + data
