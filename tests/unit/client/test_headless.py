"""The headless migration against an engine that says yes: the order of wishes, what is waived, and where it stops."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kferry.client.demo import Demo
from kferry.client.headless import Migration
from kferry.client.session import Session
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.runbook import OperationKind, OperationStatus, StepStatus
from kferry.store.tables import TaskRow
from support.fake_engine import Answer, FakeEngine

pytestmark = pytest.mark.thorough

WARNING = {"check": "size", "severity": "warn", "subject": "t", "title": "Big", "evidence": "E", "fix": "F"}


class YesEngine:
    """Makes every operation succeed at once and leaves the documents that the real engine would."""

    def __init__(self, engine: FakeEngine, session: Session) -> None:
        self.engine, self.layout = engine, session.layout
        self.findings: list[Mapping[str, str]] = [WARNING]
        self._numbers = itertools.count()
        for kind in ("check_clusters", "scan", "preflight", "plan", "create_task", "cutover", "verify"):
            engine.on(kind, lambda args, kind=kind: self._accept(OperationKind(kind), args))

    def _accept(self, kind: OperationKind, args: Mapping[str, Any]) -> Answer:
        batch = args.get("batch", "")
        if kind is OperationKind.PREFLIGHT:
            self.engine.journal.put_document("findings", "", json.dumps(self.findings))
        elif kind is OperationKind.PLAN:
            self.layout.plan.write_text(
                "schema: 1\nscan_id: s\nbatches:\n- {name: hr, topics: [a]}\n- {name: shop, topics: [b]}\n"
            )
        elif kind is OperationKind.CREATE_TASK:
            self._put_task(batch)
        elif kind is OperationKind.VERIFY:
            body = {"partitions": [], "missing": 0, "repeats": 3, "reordered": 0, "ok": True}
            self.engine.journal.put_document("verification", batch, json.dumps(body))
        name = f"op-{next(self._numbers)}"
        self.engine.operation(kind, OperationStatus.DONE, subject=batch, operation_id=name)
        return "accepted", {"operation_id": name}

    def _put_task(self, batch: str) -> None:
        spec = {
            "name": batch, "migration_id": "k3f9x2", "batch": batch, "incarnation": 1, "topics": [], "groups": [],
            "workers": [], "connector_tasks_max": 1, "desired": "running",
        }  # fmt: skip
        times = {"created_at_ms": 1, "updated_at_ms": 1}
        row = TaskRow(name=batch, batch=batch, incarnation=1, spec=json.dumps(spec), state="Running", **times)
        self.engine.journal.put_task(row)
        figures = {"connectors": [], "workers": [], "figures": {"lag_records": 5}, "alarms": []}
        self.engine.journal.put_document("observation", batch, json.dumps(figures))


@pytest.fixture
def yes(engine: FakeEngine, session: Session) -> YesEngine:
    return YesEngine(engine, session)


def _migration(session: Session, tmp_path: Path, verdict: Mapping[str, Any], said: list[str]) -> Migration:
    lab = SimpleNamespace(oracle=lambda: verdict, home=tmp_path / "lab")
    demo = SimpleNamespace(start=lambda: session, session=lambda: session, lab=lab, home=tmp_path / "headless-x")
    return Migration(cast(Demo, demo), said.append)


def test_the_whole_migration_in_the_order_of_the_plan(yes: YesEngine, session: Session, tmp_path: Path) -> None:
    said: list[str] = []
    outcome = _migration(session, tmp_path, {"ok": True}, said).run()
    assert outcome.ok
    assert outcome.batches == ["hr", "shop"]
    assert [(kind, args.get("batch", "")) for kind, args in yes.engine.seen] == [
        ("check_clusters", ""), ("scan", ""), ("preflight", ""), ("waive", ""), ("plan", ""),
        ("create_task", "hr"), ("create_task", "shop"), ("cutover", "hr"), ("cutover", "shop"),
        ("verify", "hr"), ("verify", "shop"),
    ]  # fmt: skip
    assert any("waived size:t" in line for line in said), "what is waived is said"
    assert set(outcome.seconds) >= {"Lab", "Scan", "Provision hr", "Cut over shop", "Ledger"}
    assert len([line for line in said if line.startswith("✓")]) == len(outcome.seconds)


def test_a_block_of_preflight_stops_it_before_the_plan(yes: YesEngine, session: Session, tmp_path: Path) -> None:
    yes.findings = [{**WARNING, "severity": "block"}]
    with pytest.raises(KferryError, match="Preflight blocks: Big") as caught:
        _migration(session, tmp_path, {"ok": True}, []).run()
    assert caught.value.kind is ErrorKind.NOT_READY
    assert "plan" not in [kind for kind, _ in yes.engine.seen]


def test_a_failed_step_is_told_in_its_own_words(yes: YesEngine, session: Session, tmp_path: Path) -> None:
    told = KferryError("Port 8083 is taken.", next_step="Free it.", kind=ErrorKind.CONNECT).as_dict()

    def failed(args: Mapping[str, Any]) -> Answer:
        yes.engine.operation(
            OperationKind.CREATE_TASK,
            OperationStatus.FAILED,
            subject=args["batch"],
            operation_id="op-bad",
            steps={"install_workers": StepStatus.FAILED},
            error=told,
            error_at="install_workers",
        )
        return "accepted", {"operation_id": "op-bad"}

    yes.engine.on("create_task", failed)
    with pytest.raises(KferryError) as caught:
        _migration(session, tmp_path, {"ok": True}, []).run()
    assert "hr" in caught.value.title
    assert "Port 8083 is taken." in caught.value.title
    assert caught.value.kind is ErrorKind.CONNECT
    assert "cutover" not in [kind for kind, _ in yes.engine.seen]


@pytest.mark.parametrize("verdict", [{"ok": False}, {}, {"ok": None}])
def test_only_a_ledger_that_says_ok_is_ok(
    yes: YesEngine, session: Session, tmp_path: Path, verdict: Mapping[str, Any]
) -> None:
    with pytest.raises(KferryError, match="ledger disagrees"):
        _migration(session, tmp_path, verdict, []).run()


def test_reports_outlive_the_demo(
    yes: YesEngine, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFERRY_DEMO_HOME", str(tmp_path / "home"))
    (session.layout.reports / "hr.md").write_text("# hr\n")
    migration = _migration(session, tmp_path, {"ok": True}, [])
    kept = migration.keep_reports()
    assert migration.outcome.certificates == [str(kept / "hr.md")]
    assert kept.is_relative_to(tmp_path / "home" / "reports")
