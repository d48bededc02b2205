"""The two clusters as clusters.yml has them now, with one admin connection each, renewed when the file changes."""

from __future__ import annotations

import threading

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig, Role
from kferry.kafka.admin import ClusterAdmin
from kferry.store.paths import Layout


class Clusters:
    """Threads may share it: librdkafka's admin client is thread-safe."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._configs: dict[Role, ClusterConfig] = {}
        self._admins: dict[Role, ClusterAdmin] = {}

    def config(self, role: Role) -> ClusterConfig:
        """How to reach a cluster. Raises KferryError for a missing or malformed clusters.yml."""
        with self._lock:
            self._refresh()
            if role not in self._configs:
                raise KferryError(
                    f"The {role.value} cluster is not configured.",
                    cause=f"{self._layout.clusters} has no entry kferry_clusters.{role.value}.",
                    next_step="Add it there, or run `kferry init`.",
                    kind=ErrorKind.USAGE,
                )
            return self._configs[role]

    def admin(self, role: Role) -> ClusterAdmin:
        """The admin connection of a cluster."""
        config = self.config(role)
        with self._lock:
            if role not in self._admins:
                self._admins[role] = ClusterAdmin(config)
            return self._admins[role]

    def renew(self) -> None:
        """Connect anew at the next use, with secrets as they are then."""
        with self._lock:
            self._close()

    def _refresh(self) -> None:
        from kferry.store.clusters_file import load_clusters

        try:
            status = self._layout.clusters.stat()
        except FileNotFoundError:
            self._configs = {}
            return
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            self._configs = dict(load_clusters(self._layout))
            self._stamp = stamp
            self._close()

    def _close(self) -> None:
        for admin in self._admins.values():
            admin.close()
        self._admins = {}

    def close(self) -> None:
        with self._lock:
            self._close()
