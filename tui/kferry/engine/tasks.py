"""The migration tasks: their specs in the journal, their files under tasks/, and who holds them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlmodel import Session

from kferry.domain import connectors
from kferry.domain.fleet_names import service_account
from kferry.domain.model import Role, TaskSpec, TaskState
from kferry.engine import installation
from kferry.engine.clusters import Clusters
from kferry.store import codec
from kferry.store.atomic_write import write_text
from kferry.store.journal import Journal, now_ms
from kferry.store.paths import Layout
from kferry.store.settings_file import MigrationSettings
from kferry.store.tables import TaskRow


@dataclass(frozen=True, slots=True)
class Task:
    """A migration task as the journal has it."""

    spec: TaskSpec
    state: TaskState
    state_reason: str


class Tasks:
    """Reads and writes tasks. The journal is written first; the file is rendered from it and can be made again."""

    def __init__(self, layout: Layout, journal: Journal, clusters: Clusters) -> None:
        self._layout = layout
        self._journal = journal
        self._clusters = clusters

    def all(self) -> list[Task]:
        return [_task(row) for row in self._journal.tasks()]

    def get(self, name: str) -> Task | None:
        return next((task for task in self.all() if task.spec.name == name), None)

    def put(self, spec: TaskSpec, state: TaskState, reason: str, session: Session | None = None) -> None:
        """Save a task in the journal."""
        before = self._journal.task(spec.name)
        self._journal.put_task(
            TaskRow(
                name=spec.name,
                batch=spec.batch,
                incarnation=spec.incarnation,
                spec=codec.dump(spec),
                state=state.value,
                state_reason=reason,
                created_at_ms=before.created_at_ms if before else now_ms(),
                updated_at_ms=now_ms(),
            ),
            session,
        )

    def set_state(self, name: str, state: TaskState, reason: str) -> bool:
        """Write a derived state; True (and an event) if it is another one than before."""
        with self._journal.transaction() as session:
            row = session.get(TaskRow, name)  # inside: the spec may be changed by a step at any moment
            if row is None or (row.state == state.value and row.state_reason == reason):
                return False
            before, changed = row.state, row.state != state.value
            row.state, row.state_reason, row.updated_at_ms = state.value, reason, now_ms()
            session.add(row)
            if changed:
                payload = {"from": before, "to": state.value, "reason": reason}
                self._journal.append(session, "task_state_changed", subject=name, payload=payload)
        return changed

    def change(self, name: str, **changes: Any) -> TaskSpec:
        """Replace fields of a task's spec and save it; returns the new spec. Safe to repeat."""
        with self._journal.transaction() as session:
            row = session.get(TaskRow, name)
            if row is None:
                raise KeyError(name)
            spec = replace(codec.load(TaskSpec, row.spec), **changes)
            row.spec, row.updated_at_ms = codec.dump(spec), now_ms()
            session.add(row)
        return spec

    def content(self, spec: TaskSpec, *, with_workers: bool = True) -> dict[str, Any]:
        """What tasks/<task>.json says for this spec."""
        from kferry.store.settings_file import load_settings

        settings = load_settings(self._layout)
        found = installation.of_task(self._journal, spec.name)
        return connectors.task_file(
            spec,
            self._clusters.config(Role.SOURCE),
            self._clusters.config(Role.TARGET),
            install=self._install(spec, settings.settings),
            kafka=found["kafka"],
            # what was found here says nothing of a remote machine: the role looks there
            java={**found["java"], "home": None} if spec.is_remote else found["java"],
            spec_data=json.loads(codec.dump(spec)),
            offset_flush_interval_ms=settings.settings.offset_flush_interval_ms,
            # connectors that are to be absent are deleted by workers that still live
            with_workers=with_workers,
        )

    def _install(self, spec: TaskSpec, settings: MigrationSettings) -> dict[str, Any]:
        """Where and how the workers are installed."""
        if not spec.is_remote:
            return {
                "root": str(self._layout.workers),
                "service_manager": "supervisor",
                "supervisor_socket": str(self._layout.runtime / "supervisor.sock"),
            }
        return {
            "root": settings.worker_root,
            "service_manager": "systemd",
            "user": service_account(spec.name),
            "rest_auth": "basic",
            "jre_archive": settings.jre_archive,
        }

    def write_file(self, spec: TaskSpec, *, with_workers: bool = True) -> Path:
        """Render tasks/<task>.json from the spec. A file that somebody else changed is kept aside and reported."""
        path = self._layout.task(spec.name)
        text = json.dumps(self.content(spec, with_workers=with_workers), indent=1, sort_keys=True) + "\n"
        found = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
        if found == text:
            return path
        if found is not None and json.dumps(codec.digest(found)) != self._journal.document("task_file", spec.name):
            self._keep_aside(spec.name, found)
        write_text(path, text, mode=0o600)
        self._journal.put_document("task_file", spec.name, json.dumps(codec.digest(text)))
        return path

    def _keep_aside(self, name: str, content: str) -> None:
        """A hand edit is drift: it is never lost and never taken over in silence."""
        aside = self._layout.private / "drift" / f"{name}-{now_ms()}.json"
        aside.parent.mkdir(mode=0o700, exist_ok=True)
        write_text(aside, content, mode=0o600)
        payload = {"file": str(self._layout.task(name)), "kept_as": str(aside)}
        self._journal.event("task_file_drift", subject=name, payload=payload)

    def file_matches(self, spec: TaskSpec, *, with_workers: bool = True) -> bool:
        """Whether the file says what the spec says."""
        path = self._layout.task(spec.name)
        if not path.exists():
            return False
        try:
            return bool(json.loads(path.read_text(encoding="utf-8")) == self.content(spec, with_workers=with_workers))
        except ValueError:
            return False


def _task(row: TaskRow) -> Task:
    return Task(codec.load(TaskSpec, row.spec), TaskState(row.state), row.state_reason)
