"""The rail of a migration: gathers the facts from files and journal; `domain.rail` decides."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kferry.client import files
from kferry.client.answers import current_step
from kferry.domain import rail
from kferry.domain.errors import KferryError
from kferry.domain.progress import Closeness
from kferry.domain.runbook import OperationKind
from kferry.store import views

if TYPE_CHECKING:
    from kferry.client.session import Session


def facts(session: Session) -> rail.RailFacts:
    """What the files and the journal say now."""
    reader = session.reader
    plan = session.plan_view()
    found = reader.findings(int(time.time() * 1000))
    stopping = [finding for finding in found or () if finding.stops]
    blocks = [finding for finding in stopping if finding.severity == "block"]
    tasks = {task.batch: task for task in reader.tasks() if task.state != "Deleted"}
    scanned = all(
        reader.rows("select 1 from document where kind='scan' and subject=?", r) for r in ("source", "target")
    )
    return rail.RailFacts(
        engine_alive=session.engine().alive,
        clusters=tuple(_cluster(view) for view in session.cluster_views()),
        has_scan=scanned,
        blocks=None if found is None else len(blocks),
        open_warnings=None if found is None else len(stopping) - len(blocks),
        waived=sum(finding.waived_by is not None for finding in found or ()),
        has_plan=bool(plan.revision) and plan.error is None,
        plan_problem=plan.error["title"] if plan.error else "",
        batches=tuple(_batch(view, tasks.get(view.name)) for view in plan.batches),
        operations=tuple(_operations(session)),
        closeness=closeness(session),
    )


def phases(session: Session) -> list[views.PhaseView]:
    return [
        views.PhaseView(phase.name, phase.state.value, phase.words, phase.next.action_id, phase.next.sentence)
        for phase in rail.phases(facts(session))
    ]


def next_action(session: Session) -> tuple[str, str, str]:
    """(action id, sentence, subject)."""
    chosen = rail.next_action(facts(session))
    return chosen.action_id, chosen.sentence, chosen.subject


def closeness(session: Session) -> Closeness:
    """When a batch counts as ready to switch; the engine's own gate decides in the end."""
    try:
        settings = files.settings(session.layout).settings
    except KferryError:
        return Closeness()
    return Closeness(settings.lag_threshold_records, settings.lag_threshold_seconds)


def _operations(session: Session) -> list[rail.OperationFact]:
    """The newest operation of each kind and subject; older ones say nothing about now."""
    newest: dict[tuple[str, str], rail.OperationFact] = {}
    for kind in OperationKind:
        for operation in session.reader.operations(kind=kind.value, limit=50):
            newest.setdefault((operation.kind, operation.subject), _operation(operation))
    return list(newest.values())


def _operation(operation: views.OperationView) -> rail.OperationFact:
    step = current_step(operation)
    error = (step.error if step else None) or operation.error or {}
    return rail.OperationFact(
        operation_id=operation.operation_id,
        kind=operation.kind,
        subject=operation.subject,
        status=operation.status,
        step_title=step.title if step else "",
        problem=error.get("title", ""),
        waits_for_owners=_waits_for_owners(operation, step),
    )


def _waits_for_owners(operation: views.OperationView, step: views.StepView | None) -> bool:
    """Whether the owners' turn has come and nobody has run their hook or said that it is done."""
    if step is None or step.kind != "owner" or step.status != "waiting" or operation.args.get("run_hooks"):
        return False
    given = (operation.args.get("answers") or {}).get(step.name, {})
    return not (given.get("run_hook") or given.get("confirmed"))


def _cluster(view: views.ClusterView) -> rail.ClusterFact:
    return rail.ClusterFact(
        role=view.role,
        is_configured=bool(view.bootstrap_servers),
        reachable=view.reachable,
        problem=view.error.get("title", "") if view.error else "",
    )


def _batch(view: views.BatchView, task: views.TaskView | None) -> rail.BatchFact:
    return rail.BatchFact(
        name=view.name,
        phase=view.phase,
        has_task=task is not None,
        task_state=task.state if task else "",
        task_reason=task.state_reason if task else "",
        lag_records=task.lag_records if task else None,
        ingress_records_per_second=task.ingress_records_per_second if task else None,
        eta_text=task.eta_text if task else "",
        has_certificate=view.certificate is not None,
    )
