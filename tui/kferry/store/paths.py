"""Where everything of one migration directory lies. Nothing here touches the disk except `Layout.prepare`."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of a migration directory (see docs/architecture.md)."""

    root: Path

    @property
    def settings(self) -> Path:
        return self.root / "kferry.yml"

    @property
    def inventory(self) -> Path:
        return self.root / "inventory"

    @property
    def clusters(self) -> Path:
        return self.inventory / "group_vars" / "all" / "clusters.yml"

    @property
    def plan(self) -> Path:
        return self.root / "plan.yml"

    @property
    def rules(self) -> Path:
        """The operator's planning rules; need not be there."""
        return self.root / "rules.yml"

    @property
    def plan_revisions(self) -> Path:
        """What plan.yml was before each change that kferry made to it."""
        return self.private / "plans"

    @property
    def tasks(self) -> Path:
        return self.root / "tasks"

    def task(self, name: str) -> Path:
        return self.tasks / f"{name}.json"

    @property
    def private(self) -> Path:
        return self.root / ".kferry"

    @property
    def journal(self) -> Path:
        return self.private / "journal.db"

    @property
    def lock(self) -> Path:
        return self.private / "lock"

    @property
    def engine_log(self) -> Path:
        return self.private / "engine.log"

    @property
    def runs(self) -> Path:
        return self.private / "runs"

    @property
    def reports(self) -> Path:
        return self.private / "reports"

    @property
    def workers(self) -> Path:
        """Installation root of workers on this machine."""
        return self.private / "workers"

    @property
    def known_hosts(self) -> Path:
        """The pinned host keys; beside the inventory, because Ansible parses every file of an inventory folder."""
        return self.root / "known_hosts"

    @property
    def fleet(self) -> Path:
        """What preflight.yml measured, one file per machine."""
        return self.private / "fleet"

    @property
    def fleet_request(self) -> Path:
        """What preflight.yml is to probe."""
        return self.private / "fleet.json"

    def rest_password(self, task: str) -> Path:
        """The password of Connect's REST interface of one task's workers."""
        return self.private / "secrets" / f"{task}.rest"

    @property
    def runtime(self) -> Path:
        """A short 0700 folder for Unix sockets (their paths must stay below about 100 characters)."""
        digest = hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:10]
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        return Path(base) / f"kferry-{os.getuid()}-{digest}"

    def prepare(self) -> None:
        """Make the private folders with mode 0700; safe to repeat."""
        for folder in (self.private, self.runs, self.reports, self.tasks, self.runtime, self.rest_password("").parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
