"""What workers are installed from: the distribution and Java, kept in the journal as the document `installation`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kferry.ansible.dist import Source, ensure_distribution
from kferry.ansible.java import find_java

if TYPE_CHECKING:
    from kferry.engine.context import Services
    from kferry.store.journal import Journal

MIN_JAVA = 17


def make(services: Services) -> dict[str, Any]:
    """Have the distribution of the settings here, whole; returns how task files describe it. Raises KferryError."""
    wanted = services.settings().settings
    source = Source(wanted.distribution.source, wanted.distribution.path or "", wanted.distribution.sha256 or "")
    distribution = ensure_distribution(source=source, offline=wanted.distribution.offline)
    return {
        "kafka": {
            "version": distribution.version,
            "archive": str(distribution.archive),
            "sha256": distribution.sha256,
        },
        "java": {"home": wanted.java_home or str(find_java().home), "min_version": MIN_JAVA},
    }


def of_task(journal: Journal, task: str) -> dict[str, Any]:
    """What a task's workers are installed from: its own since an upgrade, else that of all."""
    known = journal.document("installation", task) or journal.document("installation", "")
    found: dict[str, Any] = (
        json.loads(known) if known else {"kafka": {}, "java": {"home": None, "min_version": MIN_JAVA}}
    )
    return found
