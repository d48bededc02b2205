"""How the workers of a task are reached: directly, or through SSH with pinned host keys and the task's own password."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx2

from kferry.connect.client import ConnectClient
from kferry.connect.metrics import WorkerMetrics, fetch_metrics, metrics_url
from kferry.connect.tunnel import SshTarget, Tunnels
from kferry.domain.connectors import REST_USER
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import TaskSpec, WorkerSpec
from kferry.store.atomic_write import write_text
from kferry.store.hosts_file import HostEntry, load_hosts
from kferry.store.paths import Layout

log = logging.getLogger(__name__)


class Routes:
    """Threads may share it; the ways stay open until `close`."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._tunnels = Tunnels(layout.runtime, layout.known_hosts)
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._hosts: dict[str, HostEntry] = {}

    def client(self, spec: TaskSpec, *, timeout_seconds: float = 5.0) -> ConnectClient:
        """Connect's REST of this task's workers, those that are leaving among them."""
        workers = (*spec.workers, *spec.leaving)
        return ConnectClient(
            [worker.rest_url for worker in workers],
            timeout_seconds=timeout_seconds,
            basic_auth=(REST_USER, self.rest_password(spec.name)) if spec.is_remote else None,
            ways={worker.rest_url: way for worker in workers if (way := self.way(worker, worker.rest_port))},
        )

    def way(self, worker: WorkerSpec, port: int) -> Callable[[], Path] | None:
        """What opens the way to a port of a worker's machine; None where it is reached directly."""
        host = self._host(worker.host)
        if host is None or not host.through_tunnel:
            return None
        return partial(self._tunnels.socket, ssh_target(host), worker.rest_host, port)

    def metrics(self, worker: WorkerSpec, *, timeout_seconds: float = 3.0) -> WorkerMetrics | None:
        """What a worker's metrics agent says now; None for a worker without one, or one that doesn't answer."""
        url = metrics_url(worker)
        if url is None:
            return None
        try:
            way = self.way(worker, worker.metrics_port)
            transport = httpx2.HTTPTransport(uds=str(way())) if way else None
            with httpx2.Client(timeout=timeout_seconds, transport=transport, trust_env=False) as http:
                return fetch_metrics(http, url)
        except KferryError as error:
            log.info("metrics of %s: %s", worker.name, error)
            return None

    def rest_password(self, task: str) -> str:
        """The password of a task's REST interface; made once, kept in a private file, never in the journal."""
        path = self._layout.rest_password(task)
        with self._lock:
            if not path.exists():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_text(path, secrets.token_urlsafe(24) + "\n", mode=0o600)
            return path.read_text(encoding="utf-8").strip()

    def close(self) -> None:
        self._tunnels.close()

    def _host(self, name: str) -> HostEntry | None:
        """The machine as hosts.yml has it now; None for one that was taken out of it."""
        try:
            status = (self._layout.inventory / "hosts.yml").stat()
            with self._lock:
                stamp = (status.st_mtime_ns, status.st_size)
                if stamp != self._stamp:
                    self._hosts = {entry.name: entry for entry in load_hosts(self._layout)}
                    self._stamp = stamp
                return self._hosts.get(name)
        except OSError as error:
            raise KferryError(
                "inventory/hosts.yml cannot be read.",
                cause=f"{error.strerror}.",
                next_step="Put it back: the workers' machines stand there.",
                kind=ErrorKind.USAGE,
            ) from None


def ssh_target(host: HostEntry) -> SshTarget:
    """A machine of hosts.yml as SSH reaches it."""
    jump = (host.jump.user, host.jump.address, host.jump.port) if host.jump else None
    return SshTarget(host.address, host.port, host.user, host.key_file, jump)
