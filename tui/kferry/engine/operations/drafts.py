"""Testing the connection to a cluster as it is being described, before anything of it is saved."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kferry.domain.drafts import KEPT, is_reference
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig, Role
from kferry.domain.runbook import OperationKind
from kferry.engine.context import StepContext
from kferry.engine.steps import Check, Step, step
from kferry.kafka.check_lines import Line
from kferry.store import clusters_file

if TYPE_CHECKING:
    from kferry.engine.context import Services

SUBJECT = "draft"
_TIMEOUT_SECONDS = 8.0
_SECRETS = ("sasl_password", "admin_password")
_SHOW_EVERY_SECONDS = 0.3


def wish(services: Services, args: Mapping[str, Any]) -> tuple[OperationKind, str]:
    """The operation that a wish `check_draft` becomes. Raises KferryError for what could not be tested."""
    return OperationKind.CHECK_DRAFT, draft_config(services, args).role.value


def draft_config(services: Services, args: Mapping[str, Any]) -> ClusterConfig:
    """The settings that a wish `check_draft` describes. What stands there as kept is taken from clusters.yml."""
    try:
        role = Role(str(args.get("role", "")))
    except ValueError:
        raise KferryError("A draft is for the source or the target.", kind=ErrorKind.USAGE) from None
    given = args.get("config")
    if not isinstance(given, Mapping):
        raise KferryError("A draft has no settings.", kind=ErrorKind.USAGE)
    keys = dict(given)
    for name in _SECRETS:
        if name in keys and not is_reference(str(keys[name])):
            raise KferryError(
                f"{name} is not a reference; a secret is never sent or kept.",
                next_step="Write env:NAME, file:/path or command:... .",
                kind=ErrorKind.USAGE,
            )
    kept = [name for name, value in keys.items() if value == KEPT]
    for name in kept:
        keys[name] = "env:KEPT"  # so that the rest can be checked
    config = clusters_file.cluster_of(role, keys)
    return _with_kept(services, config, kept) if kept else config


def _with_kept(services: Services, config: ClusterConfig, kept: Iterable[str]) -> ClusterConfig:
    written = clusters_file.load_clusters(services.layout).get(config.role)
    values: dict[str, Any] = {name: getattr(written, name, None) for name in kept}
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise KferryError(
            f"clusters.yml has no {missing[0]} to keep for the {config.role.value} cluster.",
            next_step="Give a reference instead.",
            kind=ErrorKind.USAGE,
        )
    return replace(config, **values)


@step((OperationKind.CHECK_DRAFT, "connect_draft"))
class ConnectDraft(Step):
    """Test the draft and keep what was seen, line by line as it comes; one that can't be reached is an answer too."""

    acts_always = True

    def act(self, ctx: StepContext) -> None:
        from kferry.kafka import check
        from kferry.kafka.admin import ClusterAdmin

        config = draft_config(ctx.services, ctx.args)
        about = {"role": config.role.value, "operation_id": ctx.operation_id}
        shown_at = 0.0

        def show(lines: Iterable[Line]) -> None:
            nonlocal shown_at
            if time.monotonic() - shown_at >= _SHOW_EVERY_SECONDS:
                shown_at = time.monotonic()
                _put(ctx, {**about, "running": True, "reachable": None, "lines": [list(line) for line in lines]})

        _put(ctx, {**about, "running": True, "reachable": None, "lines": []})
        with ClusterAdmin(config) as admin:
            found = check.check(
                admin.connection, timeout_seconds=_TIMEOUT_SECONDS, on_lines=show, cancelled=ctx.cancelled.is_set
            )
        _put(ctx, {**found.as_body(), **about, "running": False})
        ctx.raise_if_cancelled()
        ctx.notes["reachable"] = found.reachable

    def check(self, ctx: StepContext) -> Check:
        return Check(True, {"reachable": ctx.notes.get("reachable")})


def _put(ctx: StepContext, body: Mapping[str, Any]) -> None:
    ctx.journal.put_document("cluster_check", SUBJECT, json.dumps(body))
