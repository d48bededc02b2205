"""Guesses a broker's release from the protocol versions it speaks. Asked without logging in, which brokers allow."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping

from kferry.domain.errors import KferryError
from kferry.domain.model import ClusterConfig
from kferry.kafka import tls
from kferry.kafka.addresses import bootstrap_addresses
from kferry.kafka.wire import WireError, WireReader, pack_string

Versions = Mapping[int, tuple[int, int]]  # API number: oldest and newest version spoken

_API_VERSIONS = 18
_MAX_ANSWER_BYTES = 1 << 20
_ADDRESSES_TRIED = 3

_PRODUCE, _FETCH, _LIST_OFFSETS, _METADATA, _QUOTAS, _LIST_TRANSACTIONS = 0, 1, 2, 3, 48, 66
# Release, API and the version of it that came with that release; newest first.
_LADDER = (
    ("4.1", _PRODUCE, 13),
    ("4.0", _LIST_OFFSETS, 10),
    ("3.9", _FETCH, 17),
    ("3.8", _LIST_TRANSACTIONS, 1),
    ("3.7", _FETCH, 16),
    ("3.5", _FETCH, 15),
    ("3.1", _FETCH, 13),
    ("3.0", _LIST_OFFSETS, 7),
    ("2.8", _METADATA, 11),
    ("2.7", _FETCH, 12),
    ("2.6", _QUOTAS, 0),
    ("2.4", _PRODUCE, 8),
    ("2.3", _FETCH, 11),
    ("2.2", _LIST_OFFSETS, 5),
    ("2.1", _FETCH, 10),
    ("2.0", _FETCH, 8),
    ("1.1", _FETCH, 7),
    ("1.0", _FETCH, 6),
    ("0.11", _FETCH, 5),
    ("0.10", _FETCH, 2),
)


def lower_bound(cluster: ClusterConfig, *, timeout_seconds: float) -> str | None:
    """The oldest Kafka release that speaks this protocol; None where it could not be asked."""
    for host, port in bootstrap_addresses(cluster.bootstrap_servers)[:_ADDRESSES_TRIED]:
        try:
            return release(_ask(cluster, host, port, timeout_seconds))
        except (OSError, WireError, KferryError):  # a missing answer is "unknown", nothing worse
            continue
    return None


def release(versions: Versions) -> str | None:
    """The newest release on the ladder whose version is spoken."""
    for name, api, version in _LADDER:
        if versions.get(api, (0, -1))[1] >= version:
            return name
    return None


def parse(answer: bytes) -> Versions:
    """An ApiVersions response, version 0, without its length."""
    reader = WireReader(answer)
    reader.int32()  # correlation id
    error = reader.int16()
    if error != 0:
        raise WireError(f"error {error}")
    versions = {}
    for _ in range(reader.array_length()):
        api = reader.int16()
        versions[api] = (reader.int16(), reader.int16())
    return versions


def _ask(cluster: ClusterConfig, host: str, port: int, timeout_seconds: float) -> Versions:
    request = struct.pack(">hhi", _API_VERSIONS, 0, 1) + pack_string("kferry")
    with socket.create_connection((host, port), timeout=timeout_seconds) as plain:
        connected = tls.wrapped(cluster, plain, host) if cluster.security_protocol.upper().endswith("SSL") else plain
        connected.sendall(struct.pack(">i", len(request)) + request)
        (length,) = struct.unpack(">i", _receive(connected, 4))
        if not 0 < length <= _MAX_ANSWER_BYTES:
            raise WireError(f"an answer of {length} bytes")
        return parse(_receive(connected, length))


def _receive(connected: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        part = connected.recv(count - len(received))
        if not part:
            raise WireError("the connection was closed")
        received += part
    return received
