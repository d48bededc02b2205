"""Steps that only look: test the connections, preflight, plan. Those of a scan are in scans.py."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from kferry.domain.errors import KferryError
from kferry.domain.fixing import marked
from kferry.domain.model import Role
from kferry.domain.preflight import run_checks
from kferry.domain.runbook import OperationKind
from kferry.engine import gate
from kferry.engine.context import StepContext
from kferry.engine.plan_making import make_plan
from kferry.engine.preflight_facts import gather
from kferry.engine.steps import Check, Step, step
from kferry.store import plan_file


@step((OperationKind.CHECK_CLUSTERS, "connect"))
class Connect(Step):
    """Reach both clusters and keep what they said; one that can't be reached, or is not described, keeps its error."""

    acts_always = True

    def act(self, ctx: StepContext) -> None:
        with ThreadPoolExecutor(len(Role), thread_name_prefix="connect") as pool:
            errors = list(pool.map(lambda role: self._look(ctx, role), Role))
        ctx.raise_if_cancelled()
        for error in errors:
            if error is not None:
                raise error

    @staticmethod
    def _look(ctx: StepContext, role: Role) -> KferryError | None:
        try:
            found = ctx.services.clusters.admin(role).check(cancelled=ctx.cancelled.is_set)
        except KferryError as error:
            return error
        if not ctx.cancelled.is_set():
            ctx.journal.put_document("cluster_check", role.value, json.dumps(found.as_body()))
        ctx.notes[role.value] = found
        return found.error

    def check(self, ctx: StepContext) -> Check:
        versions = {role.value: getattr(ctx.notes.get(role.value), "kafka_version", None) for role in Role}
        return Check(True, {"kafka_version": versions})


@step((OperationKind.PREFLIGHT, "check"), (OperationKind.FIX_FINDINGS, "check"))
class Preflight(Step):
    """Gather facts, run every check, keep the findings."""

    acts_always = True

    def act(self, ctx: StepContext) -> None:
        facts = gather(ctx.services)
        findings = marked(run_checks(facts), facts)
        gate.keep(ctx.journal, findings, facts)
        counts: dict[str, int] = {}
        for finding in findings:
            counts[finding.severity.value] = counts.get(finding.severity.value, 0) + 1
        ctx.notes["summary"] = counts

    def check(self, ctx: StepContext) -> Check:
        return Check(True, ctx.notes.get("summary", {}))


@step((OperationKind.PLAN, "write_plan"))
class WritePlan(Step):
    """Make batches of the last scan under the operator's rules and write plan.yml."""

    acts_always = True

    def act(self, ctx: StepContext) -> None:
        plan = make_plan(ctx.services)
        plan_file.write_plan(ctx.layout, plan, what="planned")
        ctx.notes["summary"] = {"batches": [batch.name for batch in plan.batches], "left_out": len(plan.left_out)}

    def check(self, ctx: StepContext) -> Check:
        return Check(ctx.layout.plan.exists(), ctx.notes.get("summary", {}))
