"""Talk to a supervisord over its Unix socket. Standard library only."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client

CALL_TIMEOUT_SECONDS = 90.0


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=CALL_TIMEOUT_SECONDS)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CALL_TIMEOUT_SECONDS)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path):
        super().__init__()
        self._path = path

    def make_connection(self, host):
        return _Connection(self._path)


def connect(path):
    """The `supervisor` calls of the daemon at this socket; nothing is sent yet."""
    return xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(path)).supervisor


def process_states(path):
    """State and words of each program, or None where no supervisord answers."""
    try:
        found = connect(path).getAllProcessInfo()
    except (OSError, http.client.HTTPException, xmlrpc.client.Error):
        return None
    return {process["name"]: process for process in found}
