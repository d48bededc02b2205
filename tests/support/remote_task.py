"""The task file of a migration task on machines, for tests and benchmarks that run playbooks without the engine."""

from __future__ import annotations

import json
from pathlib import Path

from kferry.ansible.dist import ensure_distribution
from kferry.domain.connectors import task_file
from kferry.domain.fleet_names import service_account
from kferry.domain.model import ClusterConfig, TaskSpec

ROOT = "/opt/kferry"


def write_task_file(path: Path, spec: TaskSpec, source: ClusterConfig, target: ClusterConfig) -> None:
    """As the engine writes it for a fleet: systemd, an account of the task's own, Java from a package."""
    distribution = ensure_distribution()
    document = task_file(
        spec,
        source,
        target,
        install={
            "root": ROOT,
            "service_manager": "systemd",
            "user": service_account(spec.name),
            "rest_auth": "basic",
            "jre_archive": None,
        },
        kafka={
            "version": distribution.version,
            "archive": str(distribution.archive),
            "sha256": distribution.sha256,
        },
        java={"home": None, "min_version": 17},
        spec_data={},
        offset_flush_interval_ms=5000,
    )
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
