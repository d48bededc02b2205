"""`kferry preflight`: reports, fixes that were seen, waivers with a reason, the list of checks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from kferry.cli.main import app
from kferry.domain.preflight import checks
from kferry.domain.runbook import OperationKind, OperationStatus
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from support.fake_engine import FakeEngine

Run = Callable[..., Result]
FINDING = {
    "check": "record-size",
    "severity": "block",
    "subject": "t",
    "title": "T may hold records that the target refuses",
    "evidence": "E.",
    "fix": "F.",
    "family": "records",
    "why": "W.",
    "fixable": True,
}
CHANGE = {
    "action": "change",
    "scope": "target",
    "resource": "topic_config",
    "name": "t",
    "key": "max.message.bytes",
    "before": "1",
    "after": "2",
}


@pytest.fixture
def run(layout: Layout) -> Run:
    def call(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, ["-C", str(layout.root), "preflight", *words], input=stdin)

    return call


@pytest.fixture
def found(layout: Layout) -> None:
    journal = Journal(layout.journal)
    journal.put_document("findings", "", json.dumps([FINDING]))
    journal.close()


def plan_of(*changes: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], tuple[str, Mapping[str, Any]]]:
    def answer(_args: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        return "done", {"result": {"title": "Close findings", "steps": [], "changes": list(changes), "hash": "h1"}}

    return answer


@pytest.mark.usefixtures("found")
@pytest.mark.parametrize(
    ("name", "words"), [("r.json", '"actions_needed"'), ("r.md", "## Actions needed"), ("r.xml", "<testsuites")]
)
def test_a_report_is_written_in_the_format_of_its_name(run: Run, tmp_path: Path, name: str, words: str) -> None:
    result = run("--show", "--report", str(tmp_path / name))
    assert result.exit_code == 5
    assert words in (tmp_path / name).read_text()
    assert "Actions needed: 1 finding stops" in result.stdout


@pytest.mark.usefixtures("found")
def test_a_report_to_stdout_is_nothing_but_the_report(run: Run) -> None:
    result = run("--show", "--report", "-", "--format", "json")
    assert (result.exit_code, json.loads(result.stdout)["exit_code"]) == (5, 5)


def test_a_wrong_format_is_refused_before_anything_runs(run: Run, engine: FakeEngine) -> None:
    for words in (["--report", "r.pdf"], ["--format", "html"]):
        assert run(*words).exit_code == 2
    assert engine.seen == []


@pytest.mark.usefixtures("found")
def test_the_table_ends_in_every_way_to_close_what_stops(run: Run) -> None:
    lines = run("--show").stdout.splitlines()
    assert lines[-1].strip() == "- Let kferry do it: kferry preflight fix record-size:t"


def test_a_fix_is_shown_then_asked_for_with_the_plan_that_was_seen(run: Run, engine: FakeEngine) -> None:
    engine.on("fix_findings", plan_of(CHANGE))
    refused = run("fix", "record-size:t")
    assert refused.exit_code == 2, "without a terminal --yes is needed"
    assert "max.message.bytes" in refused.stdout
    assert [args.get("dry_run") for _, args in engine.seen] == [True]

    def answer(args: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        if args.get("dry_run"):
            return plan_of(CHANGE)(args)
        return "done", {"operation_id": engine.operation(OperationKind.FIX_FINDINGS, OperationStatus.DONE)}

    engine.on("fix_findings", answer)
    assert run("fix", "record-size:t", "--yes").exit_code == 0
    kind, args = engine.seen[-1]
    assert (kind, args["findings"], args.get("dry_run")) == ("fix_findings", ["record-size:t"], None)
    rows = engine.journal.waiting_intents()
    assert rows == []


def test_a_plan_without_changes_is_shown_and_asks_for_nothing(run: Run, engine: FakeEngine) -> None:
    engine.on("fix_findings", plan_of({**CHANGE, "action": "present"}))
    assert run("fix", "name-heartbeats:topics").exit_code == 0
    assert len(engine.seen) == 1


def test_a_dry_run_changes_nothing(run: Run, engine: FakeEngine) -> None:
    engine.on("fix_findings", plan_of(CHANGE))
    result = run("fix", "--dry-run", "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)["changes"]) == (0, [CHANGE])
    assert [(kind, args["dry_run"], args["findings"]) for kind, args in engine.seen] == [("fix_findings", True, [])]


def test_waivers_need_a_reason_and_are_taken_back(run: Run, engine: FakeEngine) -> None:
    assert run("waive", "a:b").exit_code == 2
    assert engine.seen == []
    assert run("waive", "a:b", "c:d", "--why", "it is a test", "--days", "3").exit_code == 0
    assert run("unwaive", "a:b").exit_code == 0
    assert [(kind, args["finding_id"]) for kind, args in engine.seen] == [
        ("waive", "a:b"),
        ("waive", "c:d"),
        ("unwaive", "a:b"),
    ]
    assert engine.seen[0][1]["why"] == "it is a test"


def test_the_list_of_checks_is_that_of_the_registry(run: Run) -> None:
    listed = json.loads(run("checks", "-o", "json").stdout)
    assert {one["check"] for one in listed} == set(checks())
    assert all(one["why"] and one["fix"] and one["severities"] for one in listed)
    text = run("checks", "record-size").stdout
    assert "kferry preflight fix" in text and "Why it matters" in text
    assert run("checks", "no-such-check").exit_code == 2
