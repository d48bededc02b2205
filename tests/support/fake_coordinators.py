"""Brokers that know three questions only: their versions, who coordinates a group, and what groups have committed."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from kferry.kafka.wire import WireReader, pack_bytes, pack_compact_array, pack_compact_string, pack_uvarint

FETCH, FIND, VERSIONS = 9, 10, 18
# partition, offset, leader epoch, metadata, error
Row = tuple[int, int, int, str | None, int]


def fetched(group_id: str, topics: Mapping[str, Sequence[Row]], error: int = 0) -> bytes:
    """One group of an OffsetFetch response of version 8."""
    packed = []
    for topic, rows in topics.items():
        parts = [
            struct.pack(">iqi", number, offset, epoch)
            + (pack_uvarint(0) if metadata is None else pack_compact_string(metadata))
            + struct.pack(">h", failed)
            + b"\0"
            for number, offset, epoch, metadata, failed in rows
        ]
        packed.append(pack_compact_string(topic) + pack_compact_array(parts) + b"\0")
    return pack_compact_string(group_id) + pack_compact_array(packed) + struct.pack(">h", error) + b"\0"


def located(group_id: str, node: int, host: str, port: int, error: int = 0) -> bytes:
    """One group of a FindCoordinator response of version 4."""
    place = struct.pack(">i", node) + pack_compact_string(host) + struct.pack(">ih", port, error)
    return pack_compact_string(group_id) + place + pack_compact_string("in words") + b"\0"


def response(items: Sequence[bytes]) -> bytes:
    return struct.pack(">i", 0) + pack_compact_array(items) + b"\0"


@dataclass
class FakeCluster:
    """What its brokers answer; `asked` holds each question with its groups, in order."""

    ports: list[int] = field(default_factory=list)
    coordinator: dict[str, int] = field(default_factory=dict)  # else the first broker
    offsets: dict[str, Mapping[str, Sequence[Row]]] = field(default_factory=dict)
    # error numbers that are answered one after the other, before the truth
    find_errors: dict[str, list[int]] = field(default_factory=dict)
    fetch_errors: dict[str, list[int]] = field(default_factory=dict)
    versions: dict[int, int] = field(default_factory=lambda: {FETCH: 8, FIND: 4})
    deaf: set[int] = field(default_factory=set)  # brokers that hang up at once
    silent: set[int] = field(default_factory=set)  # brokers that never answer
    asked: list[tuple[int, int, list[str]]] = field(default_factory=list)

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.ports[0]}"

    def questions(self, api: int) -> int:
        return sum(one == api for _node, one, _ids in self.asked)

    def answer(self, node: int, request: WireReader) -> bytes:
        api, _version, correlation = request.int16(), request.int16(), request.int32()
        request.nullable_string()
        if api == VERSIONS:
            rows = [struct.pack(">hhh", known, 0, newest) for known, newest in self.versions.items()]
            return struct.pack(">ihi", correlation, 0, len(rows)) + b"".join(rows)
        request.tagged_fields()
        head = struct.pack(">i", correlation) + b"\0"
        if api == FIND:
            request.int8()
            ids = [request.compact_string() for _ in range(request.compact_array_length())]
            self.asked.append((node, api, ids))
            return head + response([self._find(name) for name in ids])
        ids = []
        for _ in range(request.compact_array_length()):
            ids.append(request.compact_string())
            request.compact_array_length()
            request.tagged_fields()
        self.asked.append((node, api, ids))
        return head + response([self._fetch(node, name) for name in ids])

    def _find(self, name: str) -> bytes:
        errors = self.find_errors.get(name)
        if errors:
            return located(name, -1, "", -1, errors.pop(0))
        node = self.coordinator.get(name, 0)
        return located(name, node, "127.0.0.1", self.ports[node])

    def _fetch(self, node: int, name: str) -> bytes:
        errors = self.fetch_errors.get(name)
        if errors:
            return fetched(name, {}, errors.pop(0))
        if self.coordinator.get(name, 0) != node:
            return fetched(name, {}, 16)
        return fetched(name, self.offsets.get(name, {}))


@contextmanager
def fake_cluster(brokers: int = 1) -> Iterator[FakeCluster]:
    """Listen on a port for each broker, until the end of the block."""
    cluster, threads = FakeCluster(), []
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(brokers)]
        cluster.ports = [server.getsockname()[1] for server in servers]
        for node, server in enumerate(servers):
            threads.append(threading.Thread(target=_accept, args=(cluster, node, server), daemon=True))
            threads[-1].start()
        yield cluster
        for server in servers:
            server.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(5)


def _accept(cluster: FakeCluster, node: int, server: socket.socket) -> None:
    held = []
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            if node in cluster.silent:
                held.append(connection)
                continue
            threading.Thread(target=_serve, args=(cluster, node, connection), daemon=True).start()
    for connection in held:
        connection.close()


def _serve(cluster: FakeCluster, node: int, connection: socket.socket) -> None:
    with connection, suppress(OSError):
        while node not in cluster.deaf:
            head = connection.recv(4, socket.MSG_WAITALL)
            if len(head) < 4:
                return
            request = WireReader(connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
            connection.sendall(pack_bytes(cluster.answer(node, request)))
