"""Closing findings of preflight: each change is a line of the change ledger, and each is read back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from kferry.domain import acls as rules
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.fixing import FixAction, FixChange
from kferry.domain.model import ChangeStatus, Role
from kferry.domain.runbook import OperationKind
from kferry.engine import fixing, granting
from kferry.engine.context import StepContext
from kferry.engine.steps import Check, Step, step
from kferry.kafka import acls
from kferry.kafka.acls import Grant
from kferry.kafka.admin import NewTopicSpec

_NAMED = 5
_GRANTED_WITHIN_SECONDS = 20.0
_UNDOABLE = ("topic", "topic_partitions", "topic_config", "acl")


@step((OperationKind.FIX_FINDINGS, "apply"))
class ApplyFixes(Step):
    """Make what closes the findings, from what is true now; what is so already is not made again."""

    poll_seconds = 2.0  # each look asks both clusters

    def check(self, ctx: StepContext) -> Check:
        left = self._left(ctx)
        evidence = {
            "findings": list(ctx.args.get("findings") or ()),
            "changes_left": len(left),
            "first": [f"{change.action.value} {change.name} {change.key}".strip() for change in left[:_NAMED]],
        }
        return Check(not left, evidence)

    def act(self, ctx: StepContext) -> None:
        left = self._left(ctx)
        grants = [change for change in left if change.action is FixAction.GRANT]
        for role in {change.role for change in grants}:
            self._grant(ctx, role, [change for change in grants if change.role is role])
        deadline = time.monotonic() + _GRANTED_WITHIN_SECONDS
        while grants and time.monotonic() < deadline:
            # brokers learn of an ACL one after the other, and what comes next may need it
            grants = [change for change in self._left(ctx) if change.action is FixAction.GRANT]
            if grants:
                ctx.pause(1.0)
        for change in left:
            ctx.raise_if_cancelled()
            self._make(ctx, change)

    @staticmethod
    def _left(ctx: StepContext) -> list[FixChange]:
        """What is still to be done of what was seen.

        Rights on a topic can be told only once it is there: those on topics that this operation made were in no plan,
        so they are left to the findings of the next step.
        """
        made = {
            (row.scope, row.name)
            for row in ctx.journal.changes(status=ChangeStatus.APPLIED.value)
            if row.operation_id == ctx.operation_id and row.resource == "topic"
        }
        found = fixing.planned(ctx.services, ctx.args.get("findings") or ()).to_do
        return [one for one in found if one.action is not FixAction.GRANT or (one.role.value, one.name) not in made]

    @staticmethod
    def _make(ctx: StepContext, change: FixChange) -> None:
        ledger, reason = ctx.services.ledger, f"closes {', '.join(change.closes)}"
        if change.action is FixAction.CREATE_TOPIC:
            spec = NewTopicSpec(change.name, change.partitions, configs=dict(change.configs))
            ledger.create_topic(change.role, spec, reason=reason, operation_id=ctx.operation_id)
        elif change.action is FixAction.GROW_TOPIC:
            total = change.partitions
            ledger.grow_topic(change.role, change.name, total, reason=reason, operation_id=ctx.operation_id)
        elif change.action is FixAction.SET_CONFIG:
            wanted = {change.key: change.after}
            ledger.set_topic_configs(change.role, change.name, wanted, reason=reason, operation_id=ctx.operation_id)

    @staticmethod
    def _grant(ctx: StepContext, role: Role, changes: list[FixChange]) -> None:
        config = ctx.services.clusters.config(role)
        who = rules.default_principal(config)
        if who is None:
            raise KferryError(
                f"It is not known as whom the {role.value} cluster sees kferry, so nothing is granted.",
                cause="clusters.yml has no sasl_username in plain words.",
                next_step=f"Run `kferry acls apply {role.value} --principal User:NAME`.",
                kind=ErrorKind.USAGE,
            )
        principal = rules.checked_principal(who)
        grants = [Grant(principal, change.rule) for change in changes if change.rule is not None]
        with granting.as_admin(config) as admin:
            there = acls.granted(admin.connection, grants)
            missing = [grant for grant in grants if not there[grant]]
            ctx.services.ledger.record([granting.change_of(role, grant) for grant in missing], ctx.operation_id)
            try:
                acls.create(admin.connection, missing)
            except KferryError:
                # what the cluster did not make is no change: the ledger must not offer to undo it
                made = acls.granted(admin.connection, missing)
                for grant in missing:
                    if not made[grant]:
                        names, keys = {grant.rule.name}, {granting.key_of(grant)}
                        ctx.services.ledger.settle(role, "acl", names, keys, ChangeStatus.UNDONE)
                raise

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        """Put back what this operation changed, the newest first, and only that."""
        taken, kept = [], []
        for row in reversed(ctx.journal.changes(status=ChangeStatus.APPLIED.value)):
            if row.operation_id != ctx.operation_id or row.resource not in _UNDOABLE or not row.undo:
                continue
            try:
                ctx.services.ledger.undo(row)
                taken.append(row.name)
            except KferryError as error:
                kept.append(f"{row.name}: {error.title}")
        return {"taken_back": len(taken), "kept": kept}
