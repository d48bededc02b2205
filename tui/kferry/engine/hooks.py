"""Owner hooks: commands from kferry.yml that do what application owners do. They get JSON on stdin, never arguments."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Role
from kferry.engine.context import StepContext

HOOK_TIMEOUT_SECONDS = 120.0


def has_hook(ctx: StepContext, action: str) -> bool:
    """Whether kferry.yml names a command for this action."""
    return bool(ctx.services.settings().owner_hooks.get(action))


def run_hook(ctx: StepContext, action: str, role: Role, *, groups: Sequence[str], topics: Sequence[str]) -> None:
    """Run one hook and wait for it. Raises KferryError with what it printed on stderr."""
    command = ctx.services.settings().owner_hooks.get(action)
    if not command:
        raise KferryError(
            f"kferry.yml has no owner hook {action}.",
            next_step="Ask the application's owners; kferry goes on as soon as it sees that it is done.",
            kind=ErrorKind.USAGE,
        )
    config = ctx.services.clusters.config(role)
    request = {
        "action": action,
        "cluster": role.value,
        "batch": ctx.task().spec.batch,
        "groups": list(groups),
        "topics": list(topics),
        "bootstrap_servers": config.bootstrap_servers,
    }
    with ctx.journal.transaction() as session:
        ctx.journal.append(session, "owner_hook_started", operation_id=ctx.operation_id, payload=request)
    try:
        done = subprocess.run(
            list(command),
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=HOOK_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KferryError(
            f"The owner hook {action} could not be run: {error}.",
            cause=f"Command: {list(command)}",
            next_step="Mend owner_hooks in kferry.yml, then retry; or ask the owners and go on without it.",
        ) from error
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise KferryError(
            f"The owner hook {action} failed with {done.returncode}: {words[-1] if words else 'it said nothing'}",
            next_step="Look at what the hook needs, then retry.",
            log=str(ctx.layout.engine_log),
        )
