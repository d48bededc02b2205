"""What a step may reach: its operation as it stands now, the clusters, plays, the ledger, the task's files."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import CommittedOffset, Role, TopicPartition
from kferry.domain.runbook import Operation

if TYPE_CHECKING:
    from kferry.connect.client import ConnectClient
    from kferry.engine.clusters import Clusters
    from kferry.engine.ledger import Ledger
    from kferry.engine.plays import Plays
    from kferry.engine.routes import Routes
    from kferry.engine.tasks import Task, Tasks
    from kferry.kafka.admin import ClusterAdmin
    from kferry.store.journal import Journal
    from kferry.store.paths import Layout
    from kferry.store.settings_file import Settings


class Cancelled(Exception):  # noqa: N818 - not an error: the step was told to stop
    """The step was cancelled by an abort, a delete or the engine's end."""


@dataclass
class Services:
    """The engine's parts that steps use."""

    layout: Layout
    journal: Journal
    clusters: Clusters
    plays: Plays
    tasks: Tasks
    ledger: Ledger
    routes: Routes

    def settings(self) -> Settings:
        """kferry.yml as it is now."""
        from kferry.store.settings_file import load_settings

        return load_settings(self.layout)


class StepContext:
    """One step being run. `operation` is read anew at each access, so answers of the operator are seen."""

    def __init__(self, services: Services, operations: Mapping[str, Operation], operation_id: str, step: str) -> None:
        self.services = services
        self._operations = operations
        self.operation_id = operation_id
        self.step = step
        self.cancelled = threading.Event()
        self._connect: ConnectClient | None = None
        self.notes: dict[str, Any] = {}  # what this run of the step remembers between two checks; never kept

    @property
    def operation(self) -> Operation:
        return self._operations[self.operation_id]

    @property
    def args(self) -> Mapping[str, Any]:
        return self.operation.args

    @property
    def answer(self) -> Mapping[str, Any]:
        """The operator's answers to this step."""
        answers: Mapping[str, Mapping[str, Any]] = self.args.get("answers") or {}
        return answers.get(self.step, {})

    @property
    def journal(self) -> Journal:
        return self.services.journal

    @property
    def layout(self) -> Layout:
        return self.services.layout

    @property
    def source(self) -> ClusterAdmin:
        return self.services.clusters.admin(Role.SOURCE)

    @property
    def target(self) -> ClusterAdmin:
        return self.services.clusters.admin(Role.TARGET)

    def task(self) -> Task:
        """The migration task this operation is about (a cutover names a batch)."""
        name = str(self.args.get("task") or self.operation.subject)
        found = self.services.tasks.get(name)
        if found is None:
            raise KferryError(
                f"There is no migration task {name!r}.",
                next_step="`kferry task list` shows those there are.",
                kind=ErrorKind.USAGE,
            )
        return found

    def connect(self) -> ConnectClient:
        """Connect's REST of this task's workers."""
        if self._connect is None:
            self._connect = self.services.routes.client(self.task().spec)
        return self._connect

    def close(self) -> None:
        """Give back what this run of the step held."""
        if self._connect is not None:
            self._connect.close()
            self._connect = None

    def copied(self) -> dict[TopicPartition, int]:
        """The last copied source offset per partition, as Connect has saved it; nothing saved yet is {}."""
        return self.connect().offsets(self.task().spec.source_connector) or {}

    def committed(self, role: Role) -> dict[str, tuple[CommittedOffset, ...]]:
        """What the task's groups have committed on one side. Raises KferryError where a group can't be read."""
        groups = list(self.task().spec.groups)
        found, errors = self.services.clusters.admin(role).committed_many(groups, stable=True)
        if errors:
            group_id, error = next(iter(errors.items()))
            raise KferryError(
                f"The offsets of group {group_id} on the {role.value} cannot be read: {error}.",
                cause="The principal lacks DESCRIBE on the group, or its coordinator is not available.",
                next_step="Grant the right or wait for the coordinator, then retry.",
                kind=ErrorKind.CONNECT,
            )
        return {group_id: found.get(group_id, ()) for group_id in groups}

    def pause(self, seconds: float) -> None:
        """Wait, but leave at once when cancelled. Raises Cancelled."""
        if self.cancelled.wait(seconds):
            raise Cancelled

    def raise_if_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled

    def still_for(self, key: str, value: Any, seconds: float) -> float | None:
        """None once `value` has been the same for `seconds` in this run of the step, else the seconds it has been.

        The clock starts anew after a restart of the engine: what is true is measured again.
        """
        now = time.monotonic()
        last, since = self.notes.get(key, (None, now))
        if last != value:
            last, since = value, now
        self.notes[key] = (value, since)
        elapsed = now - since
        return None if elapsed >= seconds else elapsed
