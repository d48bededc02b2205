"""Granting the least rights on a cluster; each ACL is a line of the change ledger, and each is read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kferry.domain.errors import KferryError
from kferry.domain.model import ChangeStatus, Role
from kferry.domain.runbook import OperationKind
from kferry.engine import granting
from kferry.engine.context import StepContext
from kferry.engine.steps import Check, Step, step
from kferry.kafka import acls
from kferry.kafka.acls import Grant

_NAMED = 5


@step((OperationKind.APPLY_ACLS, "grant"))
class GrantRights(Step):
    """Make the ACLs that are missing, and nothing that is there already."""

    def check(self, ctx: StepContext) -> Check:
        wanted = self._wanted(ctx)
        missing = self._missing(ctx, wanted)
        evidence = {
            "wanted": len(wanted),
            "there": len(wanted) - len(missing),
            "missing": [f"{grant.rule.words} for {grant.principal}" for grant in missing[:_NAMED]],
        }
        return Check(not missing, evidence)

    def act(self, ctx: StepContext) -> None:
        role, missing = self._role(ctx), self._missing(ctx, self._wanted(ctx))
        if not missing:
            return
        ctx.services.ledger.record([granting.change_of(role, grant) for grant in missing], ctx.operation_id)
        try:
            with granting.as_admin(ctx.services.clusters.config(role)) as admin:
                acls.create(admin.connection, missing)
        except KferryError:
            # what the cluster did not make is no change: the ledger must not offer to undo it
            self._strike(ctx, role, missing)
            raise

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        """Take back what this operation granted, and only that."""
        taken, kept = [], []
        for row in ctx.journal.changes(status="applied"):
            if row.operation_id != ctx.operation_id or row.resource != "acl":
                continue
            try:
                ctx.services.ledger.undo(row)
                taken.append(row.name)
            except KferryError as error:
                kept.append(f"{row.name}: {error.title}")
        return {"taken_back": len(taken), "kept": kept}

    @staticmethod
    def _role(ctx: StepContext) -> Role:
        return Role(str(ctx.args.get("cluster") or ctx.operation.subject))

    def _wanted(self, ctx: StepContext) -> list[Grant]:
        principal = ctx.args.get("principal")
        return granting.needed_grants(ctx.services, self._role(ctx), str(principal) if principal else None)

    def _missing(self, ctx: StepContext, wanted: list[Grant]) -> list[Grant]:
        with granting.as_admin(ctx.services.clusters.config(self._role(ctx))) as admin:
            there = acls.granted(admin.connection, wanted)
        return [grant for grant in wanted if not there[grant]]

    def _strike(self, ctx: StepContext, role: Role, tried: list[Grant]) -> None:
        try:
            missing = self._missing(ctx, tried)
        except KferryError:
            return  # not known: the lines stay, and their undo finds out
        for grant in missing:
            names, keys = {grant.rule.name}, {granting.key_of(grant)}
            ctx.services.ledger.settle(role, "acl", names, keys, ChangeStatus.UNDONE)
