"""The control socket: one JSON line each way, served by the daemon and used by every verb."""

from __future__ import annotations

import json
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError

log = logging.getLogger(__name__)

Handler = Callable[[Mapping[str, Any]], dict[str, Any]]


class ControlServer:
    """Serves requests in threads; the folder's mode 0700 keeps other users out."""

    def __init__(self, path: Path, handler: Handler) -> None:
        path.unlink(missing_ok=True)  # we hold the lock: a socket that is there is a leftover
        self._path = path
        self._server = _Server(str(path), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


def ask(path: Path, timeout_seconds: float, **request: Any) -> dict[str, Any] | None:
    """The daemon's answer, None where no daemon listens; an error in the answer is raised."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_seconds)
        try:
            connection.connect(str(path))
            connection.sendall((json.dumps(request) + "\n").encode())
            with connection.makefile("rb") as stream:
                line = stream.readline()
        except TimeoutError as error:
            raise KferryError(
                f"The lab did not answer within {timeout_seconds:.0f} seconds.",
                next_step="See lab.log in its home.",
                kind=ErrorKind.TIMEOUT,
            ) from error
        except OSError:
            return None
    if not line.endswith(b"\n"):
        return None  # the daemon ended meanwhile
    answer = json.loads(line)
    if "error" in answer:
        raise KferryError.from_dict(answer["error"])
    return dict(answer)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, handler: Handler) -> None:
        self.handle_json = handler
        super().__init__(path, _Request)


class _Request(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        try:
            request = json.loads(self.rfile.readline(1_000_000) or b"{}")
            answer = self.server.handle_json(request)
        except KferryError as error:
            answer = {"error": error.as_dict()}
        except Exception as error:  # a request must never end the server
            log.exception("a request failed")
            answer = {"error": KferryError("The lab failed.", cause=str(error), kind=ErrorKind.INTERNAL).as_dict()}
        try:
            self.wfile.write((json.dumps(answer) + "\n").encode())
        except OSError:
            log.debug("nobody waited for the answer")
