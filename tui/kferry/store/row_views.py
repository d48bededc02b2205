"""Rows of the journal as the views that the faces draw; nothing is asked here."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from kferry.domain.model import TaskSpec
from kferry.domain.runbook import OperationKind
from kferry.domain.runbooks import runbook_of
from kferry.domain.waivers import beyond
from kferry.store import views


def _json(text: str | None) -> Any:
    return json.loads(text) if text else None


def intent(row: sqlite3.Row) -> views.IntentView:
    return views.IntentView(
        intent_id=row["id"],
        kind=row["kind"],
        args=_json(row["args"]) or {},
        who=row["who"],
        created_at_ms=row["created_at_ms"],
        expires_at_ms=row["expires_at_ms"],
        status=row["status"],
        reason=row["reason"],
        operation_id=row["operation_id"],
        result=_json(row["result"]) or {},
    )


def run(row: sqlite3.Row) -> views.RunView:
    return views.RunView(
        run_id=row["run_id"],
        playbook=row["playbook"],
        operation_id=row["operation_id"],
        step=row["step"],
        status=row["status"],
        started_at_ms=row["started_at_ms"],
        finished_at_ms=row["finished_at_ms"],
        changed_count=row["changed_count"],
        failed_count=row["failed_count"],
        log=str(Path(row["directory"]) / "output.log"),
    )


def operation(row: sqlite3.Row, saved_steps: Iterable[sqlite3.Row], runs: Iterable[sqlite3.Row]) -> views.OperationView:
    """An operation with its steps, in their order, and the plays it started."""
    args = _json(row["args"]) or {}
    runbook = runbook_of(OperationKind(row["kind"]), args)
    steps = []
    for saved in saved_steps:
        definition = runbook.step(saved["name"])
        steps.append(
            views.StepView(
                name=saved["name"],
                kind=definition.kind.value,
                title=definition.title,
                gate=definition.gate,
                way_back=definition.way_back,
                hook=definition.hook,
                irreversible=definition.irreversible,
                status=saved["status"],
                attempt=saved["attempt"],
                started_at_ms=saved["started_at_ms"],
                finished_at_ms=saved["finished_at_ms"],
                evidence=_json(saved["evidence"]) or {},
                error=_json(saved["error"]),
            )
        )
    return views.OperationView(
        operation_id=row["id"],
        kind=row["kind"],
        title=runbook.title,
        subject=row["subject"],
        args=args,
        status=row["status"],
        created_at_ms=row["created_at_ms"],
        updated_at_ms=row["updated_at_ms"],
        steps=tuple(steps),
        error=_json(row["error"]),
        run_ids=tuple(run["run_id"] for run in runs),
    )


def task(
    row: sqlite3.Row,
    observed: tuple[int, Any] | None,
    *,
    phase: str,
    operation_id: str | None,
    newcomers: views.NewcomersView,
) -> views.TaskView:
    """A migration task; `observed` is when and what of it was measured last, `operation_id` what is under way."""
    spec = _json(row["spec"])
    names = TaskSpec(**{**spec, "workers": (), "topics": tuple(spec["topics"]), "groups": tuple(spec["groups"])})
    seen = observed[1] if observed else {}
    roles = {
        names.source_connector: "source",
        names.checkpoint_connector: "checkpoint",
        names.heartbeat_connector: "heartbeat",
    }
    connectors = tuple(
        views.ConnectorView(
            name=item["name"],
            role=roles.get(item["name"], "?"),
            state=item["state"],
            worker=item.get("worker", ""),
            trace=item.get("trace", ""),
            tasks=tuple((t["id"], t["state"], t.get("worker", ""), t.get("trace", "")) for t in item["tasks"]),
        )
        for item in seen.get("connectors", ())
    )
    alive = {item["name"]: item for item in seen.get("workers", ())}
    workers = tuple(
        views.WorkerView(
            name=item["name"],
            host=item["host"],
            rest_url=f"http://{item['rest_host']}:{item['rest_port']}",
            alive=alive.get(item["name"], {}).get("alive"),
            version=alive.get(item["name"], {}).get("version"),
            heap_bytes=item["heap_bytes"],
            heap_used_bytes=alive.get(item["name"], {}).get("heap_used_bytes"),
            heap_max_bytes=alive.get(item["name"], {}).get("heap_max_bytes"),
            cpu_ratio=alive.get(item["name"], {}).get("cpu_ratio"),
        )
        for item in spec["workers"]
    )
    figure = seen.get("figures", {})
    return views.TaskView(
        name=row["name"],
        batch=row["batch"],
        desired=spec["desired"],
        state=row["state"],
        state_reason=row["state_reason"],
        phase=phase,
        topics=tuple(spec["topics"]),
        groups=tuple(spec["groups"]),
        frozen_groups=tuple(spec.get("frozen_groups", ())),
        workers=workers,
        connectors=connectors,
        lag_records=figure.get("lag_records"),
        records_per_second=figure.get("records_per_second"),
        bytes_per_second=figure.get("bytes_per_second"),
        ingress_records_per_second=figure.get("ingress_records_per_second"),
        done_ratio=figure.get("done_ratio"),
        eta_seconds=figure.get("eta_seconds"),
        eta_text=figure.get("eta_text", "unknown"),
        seconds_since_data_moved=figure.get("seconds_since_data_moved"),
        measured_at_ms=observed[0] if observed else None,
        alarms=tuple(seen.get("alarms", ())),
        operation_id=operation_id,
        newcomers=newcomers,
    )


def event(row: sqlite3.Row) -> views.EventView:
    return views.EventView(
        seq=row["seq"],
        at_ms=row["at_ms"],
        kind=row["kind"],
        subject=row["subject"],
        operation_id=row["operation_id"],
        payload=_json(row["payload"]) or {},
        hash=row["hash"],
    )


def change(row: sqlite3.Row) -> views.ChangeView:
    return views.ChangeView(
        change_id=row["id"],
        at_ms=row["at_ms"],
        scope=row["scope"],
        resource=row["resource"],
        name=row["name"],
        key=row["key"],
        before=row["before"],
        after=row["after"],
        reason=row["reason"],
        status=row["status"],
        operation_id=row["operation_id"],
        can_undo=row["undo"] is not None and row["status"] == "applied",
    )


def finding_with_waiver(finding: views.FindingView, waiver: sqlite3.Row) -> views.FindingView:
    """A finding with what its waiver says; one that covers only a part of it does not hold."""
    kept = waiver["content"] if "content" in waiver.keys() else None  # noqa: SIM118 - a row's values, not its keys
    more = beyond(finding.content, _json(kept))
    if more:
        return replace(
            finding,
            outgrown=f"More than was waived: {more} of {len(finding.content)} are new since {waiver['who']} did.",
        )
    words = "Given before kferry kept what was waived: it holds however much this grows."
    return replace(
        finding,
        waived_by=waiver["who"],
        waived_why=waiver["why"],
        waived_until_ms=waiver["until_ms"],
        waived_words=words if finding.content and kept is None else "",
    )
