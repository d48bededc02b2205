"""The session: wishes only for an engine that is there, answers as sentences, operations followed to their end."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from kferry.client import engine_process
from kferry.client.session import Session
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.runbook import OperationKind, OperationStatus, StepStatus
from kferry.store.paths import Layout
from kferry.store.views import OperationView
from support.fake_engine import FakeEngine


def _intent_count(session: Session) -> int:
    return len(session.reader.intents())


def test_nothing_is_queued_for_a_dead_engine(session: Session) -> None:
    with pytest.raises(KferryError) as caught:
        session.send("scan")
    assert "not running" in caught.value.title
    assert "Nothing is queued" in caught.value.cause
    assert "engine start" in caught.value.next_step
    assert caught.value.kind is ErrorKind.NOT_READY
    assert _intent_count(session) == 0


def test_a_read_only_session_sends_only_dry_runs(layout: Layout, engine: FakeEngine) -> None:
    session = Session(layout.root, read_only=True)
    with pytest.raises(KferryError) as caught:
        session.send("scan")
    assert caught.value.kind is ErrorKind.USAGE
    assert session.ask("scan", dry_run=True).status == "done"
    assert engine.seen == [("scan", {"dry_run": True})]


@pytest.mark.parametrize(("revision", "kind"), [("9999", ErrorKind.USAGE), ("0000", ErrorKind.NOT_READY)])
def test_a_journal_of_another_version_gets_no_wish(
    layout: Layout, engine: FakeEngine, revision: str, kind: ErrorKind
) -> None:
    with sqlite3.connect(layout.journal) as connection:
        connection.execute("update alembic_version set version_num=?", (revision,))
    connection.close()
    session = Session(layout.root)
    with pytest.raises(KferryError) as caught:
        session.send("scan")
    assert caught.value.kind is kind
    assert engine.seen == []


def test_a_refusal_carries_the_engines_own_error(session: Session, engine: FakeEngine) -> None:
    told = KferryError("shop is busy.", next_step="Wait.", kind=ErrorKind.DRIFT)
    engine.on("pause_task", lambda _: ("refused", {"reason": str(told), "result": {"error": told.as_dict()}}))
    with pytest.raises(KferryError) as caught:
        session.ask("pause_task", {"task": "shop"})
    assert caught.value.as_dict() == told.as_dict()


def test_a_refusal_without_an_error_is_its_reason(session: Session, engine: FakeEngine) -> None:
    engine.on("scan", lambda _: ("refused", {"reason": "Not now."}))
    with pytest.raises(KferryError, match=r"^Not now\.$"):
        session.ask("scan")


def test_an_operation_that_failed_at_once_is_still_followed(session: Session, engine: FakeEngine) -> None:
    engine.on("scan", lambda _: ("failed", {"reason": "connect", "operation_id": "op-1"}))
    assert session.ask("scan").operation_id == "op-1"


def test_no_answer_is_a_timeout_that_says_so(session: Session, engine: FakeEngine) -> None:
    engine.on("scan", lambda _: ("waiting", {}))
    with pytest.raises(KferryError) as caught:
        session.wait_answer(session.send("scan"), timeout_seconds=0.3)
    assert caught.value.kind is ErrorKind.TIMEOUT


def test_follow_reports_each_state_once_and_returns_the_end(session: Session, engine: FakeEngine) -> None:
    engine.operation(OperationKind.SCAN, OperationStatus.RUNNING, steps={"scan_source": StepStatus.RUNNING})
    seen: list[OperationView] = []

    def on_change(operation: OperationView) -> None:
        seen.append(operation)
        if len(seen) == 1:
            engine.operation(OperationKind.SCAN, OperationStatus.DONE)

    end = session.follow("op-1", on_change=on_change, timeout_seconds=5)
    assert end.status == "done"
    assert [item.status for item in seen] == ["running", "done"]


def test_follow_stops_where_the_operator_is_needed_but_not_twice(session: Session, engine: FakeEngine) -> None:
    engine.operation(OperationKind.SCAN, OperationStatus.NEEDS_OPERATOR)
    stopped = session.follow("op-1", on_change=lambda _: None, timeout_seconds=5)
    assert stopped.status == "needs operator"
    with pytest.raises(KferryError) as caught:
        session.follow("op-1", on_change=lambda _: None, timeout_seconds=0.3, ignore_until_ms=stopped.updated_at_ms)
    assert caught.value.kind is ErrorKind.TIMEOUT


def test_follow_notices_that_the_engine_went(
    session: Session, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kferry.client.session._ENGINE_AWAY_SECONDS", 0.2)
    engine.operation(OperationKind.SCAN, OperationStatus.RUNNING)
    session.layout.engine_log.write_text("disk full\n")
    engine.end()
    with pytest.raises(KferryError) as caught:
        session.follow("op-1", on_change=lambda _: None, timeout_seconds=10)
    assert "engine ended" in caught.value.title
    assert "disk full" in caught.value.cause


def test_stop_engine_returns_when_the_lock_is_free(session: Session, engine: FakeEngine) -> None:
    assert session.engine().alive
    session.stop_engine(timeout_seconds=5)
    assert not session.engine().alive
    assert engine.seen == [("stop_engine", {})]


def test_an_engine_that_does_not_start_is_quoted(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = tmp_path / "python"
    launcher.write_text("#!/bin/sh\necho 'no such module' >&2\nexit 1\n")
    launcher.chmod(0o755)
    monkeypatch.setattr(engine_process.sys, "executable", str(launcher))
    with pytest.raises(KferryError) as caught:
        session.ensure_engine(timeout_seconds=10)
    assert "did not start" in caught.value.title
    assert "no such module" in caught.value.cause
    assert caught.value.kind is ErrorKind.FAILED


def test_ensure_engine_leaves_a_living_one_alone(
    session: Session, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_process.sys, "executable", "/nonexistent")
    assert session.ensure_engine(timeout_seconds=5).alive


def test_a_read_only_session_neither_starts_nor_stops_an_engine(layout: Layout) -> None:
    session = Session(layout.root, read_only=True)
    with pytest.raises(KferryError, match="read-only"):
        session.ensure_engine()
    with pytest.raises(KferryError, match="read-only"):
        session.stop_engine()


def test_a_plan_that_cannot_be_read_is_told_in_the_view(session: Session) -> None:
    assert session.plan_view().revision == ""
    session.layout.plan.write_text("batches: [\n")
    view = session.plan_view()
    assert view.revision
    assert view.error is not None
    assert "plan.yml" in str(view.error)


def test_clusters_that_cannot_be_read_are_told_in_each_view(session: Session) -> None:
    session.layout.clusters.write_text("kferry_clusters:\n  sorce: {}\n")
    views = session.cluster_views()
    assert [view.role for view in views] == ["source", "target"]
    assert all(view.error and "sorce" in str(view.error) for view in views)
    assert all(view.reachable is None for view in views)


def test_the_rail_of_a_new_migration_starts_with_the_connection(session: Session, engine: FakeEngine) -> None:
    rail = session.rail()
    assert [phase.name for phase in rail] == [
        "Connect", "Scan", "Preflight", "Plan", "Provision", "Replicate", "Cut over", "Finish",
    ]  # fmt: skip
    assert {phase.state for phase in rail} == {"todo"}
    assert session.next_action()[0] == "check_clusters"


def test_the_next_action_of_a_dead_engine_is_to_start_it(session: Session) -> None:
    assert session.next_action()[0] == "start_engine"
