"""Bringing ACLs, quotas and SCRAM users to the target, and proving what a principal may."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from kferry.domain import access_probe
from kferry.domain.access_items import AccessItem, AccessPlan, Action, Side, What
from kferry.domain.errors import KferryError
from kferry.domain.model import ChangeStatus, Role
from kferry.domain.runbook import OperationKind
from kferry.engine import access, access_changes
from kferry.engine.context import StepContext
from kferry.engine.steps import Check, Step, step
from kferry.kafka import principal_probe
from kferry.kafka.principal_probe import Asked
from kferry.store.access_file import load_access
from kferry.store.journal import now_ms

_NAMED = 5


@step((OperationKind.PLAN_ACCESS, "compare"), (OperationKind.APPLY_ACCESS, "compare"))
class Compare(Step):
    """Read both clusters and keep the plan; nothing is changed."""

    acts_always = True

    def act(self, ctx: StepContext) -> None:
        plan = access.make_plan(ctx.services)
        ctx.raise_if_cancelled()
        ctx.journal.put_document("access_plan", "", json.dumps(access.body(ctx.services, plan)))
        ctx.notes["summary"] = plan.counts() | {"warnings": len(plan.warnings)}

    def check(self, ctx: StepContext) -> Check:
        return Check(True, ctx.notes.get("summary", {}))


class _Apply(Step):
    """Make what is missing of one kind, and nothing that is there already."""

    poll_seconds = 1.0
    what: What

    def check(self, ctx: StepContext) -> Check:
        if self.what not in access.chosen(ctx.args):
            return Check(True, {"left_out": True})
        plan = self._plan(ctx)
        counts = plan.counts()[self.what.value]
        missing = plan.to_create([self.what])
        drifted = [item for item in plan.items if item.what is self.what and item.action is Action.DRIFT]
        evidence: dict[str, Any] = {key: value for key, value in counts.items() if key != Action.CREATE}
        evidence["missing"] = [_words(item) for item in missing[:_NAMED]]
        evidence["drifted"] = [f"{item.subject}: {item.before or item.name}" for item in drifted[:_NAMED]]
        return Check(not missing, evidence)

    def act(self, ctx: StepContext) -> None:
        missing = self._plan(ctx).to_create([self.what])
        if not missing:
            return
        services = ctx.services
        passwords = load_access(services.layout).users
        services.ledger.record([access_changes.change_of(item) for item in missing], ctx.operation_id)
        try:
            refused = access_changes.make(services.clusters.config(Role.TARGET), self.what, missing, passwords)
        except KferryError:
            self._strike(ctx, missing)
            raise
        if refused:
            self._settle(ctx, [item for item, _ in refused])
            item, why = refused[0]
            raise KferryError(
                f"The target refused {len(refused)} of {len(missing)} changes, first {_words(item)}: {why}.",
                cause="The account that makes them lacks a right, or the target does not take such a value.",
                next_step="Set admin_username and admin_password of the target in clusters.yml to an account that may, "
                "or hand the commands to its owner: kferry access export --form commands",
            )

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        """Take back what this operation made, and only that."""
        taken, kept = 0, []
        for row in ctx.journal.changes(status=ChangeStatus.APPLIED.value):
            if row.operation_id != ctx.operation_id or row.resource != _RESOURCES[self.what]:
                continue
            try:
                ctx.services.ledger.undo(row)
                taken += 1
            except KferryError as error:
                kept.append(f"{row.name}: {error.title}")
        return {"taken_back": taken, "kept": kept}

    def _plan(self, ctx: StepContext) -> AccessPlan:
        """The source is read once per run of a step: it is the target that changes."""
        source: Side | None = ctx.notes.get("source")
        if source is None:
            source = ctx.notes["source"] = access.read_side(ctx.services, Role.SOURCE)
        return access.make_plan(ctx.services, source)

    def _strike(self, ctx: StepContext, tried: tuple[AccessItem, ...]) -> None:
        """What the target does not have is no change: the ledger must not offer to undo it."""
        try:
            missing = set(map(_identity, self._plan(ctx).to_create([self.what])))
        except KferryError:
            return  # not known: the lines stay, and their undo finds out
        self._settle(ctx, [item for item in tried if _identity(item) in missing])

    @staticmethod
    def _settle(ctx: StepContext, items: Iterable[AccessItem]) -> None:
        for item in items:
            change = access_changes.change_of(item)
            ctx.services.ledger.settle(Role.TARGET, change.resource, {change.name}, {change.key}, ChangeStatus.UNDONE)


_RESOURCES = {What.ACLS: "acl", What.QUOTAS: "quota", What.SCRAM_USERS: "scram_user"}


@step((OperationKind.APPLY_ACCESS, "scram_users"))
class ApplyUsers(_Apply):
    what = What.SCRAM_USERS


@step((OperationKind.APPLY_ACCESS, "quotas"))
class ApplyQuotas(_Apply):
    what = What.QUOTAS


@step((OperationKind.APPLY_ACCESS, "acls"))
class ApplyAcls(_Apply):
    what = What.ACLS


@step((OperationKind.PROBE_PRINCIPAL, "ask"))
class Probe(Step):
    """Log in as the principal and ask; without a login of access.yml compute from the ACLs, and say so."""

    acts_always = True

    def act(self, ctx: StepContext) -> None:
        role, principal = Role(str(ctx.args["cluster"])), str(ctx.args["principal"])
        services, file = ctx.services, load_access(ctx.layout)
        login = access.login_config(services, file, role, principal)
        here = access.read_side(services, role)
        reference = here
        principals: tuple[str, ...] = (principal,)
        if role is Role.TARGET and (source := self._source(ctx)) is not None:
            known = access_probe.sources_of(
                file.mapping, principal, {entry.principal for entry in source.access.acls or ()}
            )
            if known:  # what it may on the source is what it must be able to do here
                reference, principals = source, known
        scope = access.scope_of(services, file)
        topics: tuple[str, ...] = ()
        if scope.topics is None:
            topics = services.clusters.admin(role).topic_names()
        rights = access_probe.rights_to_probe(reference.access.acls or (), principals, scope, topics)
        if not rights:
            raise KferryError(
                f"There is nothing to probe for {principal}.",
                cause="No ACL that can be read gives it a right on what plan.yml moves.",
                next_step="Check the name as the brokers log it (User:...), and that ACLs can be read: "
                "kferry access plan",
            )
        ctx.raise_if_cancelled()
        if login is not None:
            questions = {right: Asked(right.resource, right.name, right.operation) for right in rights}
            seen = principal_probe.probe(login, questions.values())
            found = [
                access_probe.proven(right, seen[asked].allowed, seen[asked].words) for right, asked in questions.items()
            ]
        elif here.access.acls is not None and here.has_authorizer is not False:
            found = access_probe.computed(rights, here.access.acls, principal)
        else:
            raise KferryError(
                f"What {principal} may do on the {role.value} can be neither proven nor computed.",
                cause=here.unknown.get(What.ACLS, "The brokers run without an authorizer: everybody may everything."),
                next_step=f"Add a login for {principal} under probes in access.yml.",
            )
        rows = [asdict(item) | {"is_missing": item.is_missing, "is_more": item.is_more} for item in found]
        ctx.journal.put_document("probe", f"{role.value} {principal}", json.dumps(rows))
        summary = dict(access_probe.summary(found))
        ctx.notes["summary"] = {"how": "asked as the principal" if login else "computed, not proven", **summary}
        missing = [f"{item.operation.upper()} on {item.resource} {item.name}" for item in found if item.is_missing]
        ctx.notes["summary"] |= {"missing_rights": missing[:_NAMED], "asked_at_ms": now_ms()}

    @staticmethod
    def _source(ctx: StepContext) -> Side | None:
        """The source's ACLs to measure by; None where it is gone already: then the target's own are the measure."""
        try:
            return access.read_side(ctx.services, Role.SOURCE)
        except KferryError:
            return None

    def check(self, ctx: StepContext) -> Check:
        return Check(True, ctx.notes.get("summary", {}))


def _identity(item: AccessItem) -> tuple[str, str, str, str | None]:
    return item.what, item.subject, item.name, item.after


def _words(item: AccessItem) -> str:
    if item.acl is not None:
        return item.after or item.name
    return f"{item.subject}: {item.name} {item.after or ''}".rstrip()
