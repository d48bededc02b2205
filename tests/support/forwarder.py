"""Passes connections of one address on to another, so that a server is reached under a name it does not know."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def forwarded(address: str, host: str) -> Iterator[str]:
    """Listen on a free port of `host` and pass every connection on to `address` (host:port); yields the new one."""
    target_host, _, target_port = address.rpartition(":")
    opened: list[socket.socket] = []
    threads: list[threading.Thread] = []
    with socket.create_server((host, 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    there = socket.create_connection((target_host, int(target_port)))
                    opened.extend((client, there))
                    for one, other in ((client, there), (there, client)):
                        threads.append(threading.Thread(target=_copy, args=(one, other), daemon=True))
                        threads[-1].start()

        acceptor = threading.Thread(target=serve, daemon=True)
        acceptor.start()
        try:
            yield f"{host}:{server.getsockname()[1]}"
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            for item in opened:
                with suppress(OSError):
                    item.shutdown(socket.SHUT_RDWR)
                item.close()
            for thread in (acceptor, *threads):
                thread.join(5)


def _copy(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
