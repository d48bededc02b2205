"""Names of what kferry makes on machines."""

from __future__ import annotations

import hashlib

_LONGEST_ACCOUNT = 31  # useradd's limit on all supported systems is 32


def service_account(task: str) -> str:
    """The account under which a migration task's workers run: its own, so that tasks can't read each other's files."""
    name = f"kferry-{task}"
    return name if len(name) <= _LONGEST_ACCOUNT else f"kferry-{hashlib.sha256(task.encode()).hexdigest()[:16]}"
