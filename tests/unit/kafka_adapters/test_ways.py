"""Workers that are reached through something else: Unix sockets of tunnels, and what ssh is told."""

from __future__ import annotations

import http.server
import shlex
import shutil
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kferry.connect.client import ConnectClient
from kferry.connect.tunnel import SshTarget, Tunnel, ssh_arguments
from kferry.domain.errors import KferryError

FAR = "http://10.255.255.1:18083"


class _Worker(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers.get("Authorization")))  # type: ignore[attr-defined]
        body = b'{"version": "3.9.2", "kafka_cluster_id": "c"}' if self.path == "/" else b'["a"]'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


class _Server(socketserver.ThreadingUnixStreamServer):
    seen: list[tuple[str, str | None]]

    def get_request(self) -> tuple[object, tuple[str, int]]:
        connection, _ = super().get_request()
        return connection, ("unix", 0)


@pytest.fixture
def far_worker(short_path: Path) -> Iterator[tuple[_Server, Path]]:
    path = short_path / "w"
    with _Server(str(path), _Worker) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server, path
        server.shutdown()
        thread.join()


def test_a_worker_is_asked_through_its_way_with_its_account(far_worker: tuple[_Server, Path]) -> None:
    server, path = far_worker
    with ConnectClient([FAR], ways={FAR: lambda: path}, basic_auth=("kferry", "pass")) as client:
        assert client.alive(FAR)
        assert client.connectors() == ["a"]
    assert server.seen == [("/", "Basic a2ZlcnJ5OnBhc3M="), ("/connectors", "Basic a2ZlcnJ5OnBhc3M=")]


def test_a_way_that_cannot_be_opened_is_a_worker_that_does_not_answer() -> None:
    def closed() -> Path:
        raise KferryError("No way through SSH to w1:22.", cause="Connection refused.")

    with ConnectClient([FAR], ways={FAR: closed}, deadline_seconds=0.1) as client:
        assert not client.alive(FAR)
        with pytest.raises(KferryError, match="No way through SSH") as error:
            client.connectors()
    assert "Connection refused" in str(error.value)


def test_ssh_takes_pinned_keys_only_also_on_the_jump_host(tmp_path: Path) -> None:
    known = tmp_path / "a b" / "known_hosts"
    target = SshTarget("10.0.0.5", 2222, "ops", "/k", ("jump", "bastion", 2200))
    words = ssh_arguments(target, known)
    proxy = next(word for word in words if word.startswith("ProxyCommand="))
    inner = shlex.split(proxy.removeprefix("ProxyCommand="))
    for options in (words, inner):
        assert "StrictHostKeyChecking=yes" in options
        assert f'UserKnownHostsFile="{known}"' in options
        assert "BatchMode=yes" in options
    assert inner[-4:] == ["-W", "[%h]:%p", "--", "bastion"]
    assert "-p" in words and "2222" in words and "ops" in words


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs the SSH client: install openssh-client")
def test_ssh_says_why_there_is_no_way(short_path: Path, free_port: object) -> None:
    port = free_port()  # type: ignore[operator]
    tunnel = Tunnel(SshTarget("127.0.0.1", port), short_path / "none", short_path / "s", "127.0.0.1", 1)
    with pytest.raises(KferryError, match="No way through SSH") as error:
        tunnel.open()
    assert "refused" in str(error.value).lower()
    with pytest.raises(KferryError) as again:
        tunnel.open()
    assert again.value is error.value, "a way that failed is not tried again at once"
    tunnel.close()
    assert not (short_path / "s").exists()
