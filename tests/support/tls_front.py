"""Stands before a server without TLS and shows a certificate of the test's choice."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def tls_front(address: str, certificate: tuple[Path, Path]) -> Iterator[str]:
    """Listen with TLS on a free port of 127.0.0.1 and pass the plain bytes on to `address`; yields the new address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    host, _, port = address.rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=_pass_on, args=(context, client, host, int(port)), daemon=True).start()

        acceptor = threading.Thread(target=serve, daemon=True)
        acceptor.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            acceptor.join(5)


def _pass_on(context: ssl.SSLContext, client: socket.socket, host: str, port: int) -> None:
    with (
        suppress(OSError),
        client,
        context.wrap_socket(client, server_side=True) as secured,
        socket.create_connection((host, port), timeout=10) as there,
    ):
        secured.settimeout(10)
        while data := secured.recv(65536):
            there.sendall(data)
            secured.sendall(there.recv(65536))
