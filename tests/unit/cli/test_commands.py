"""The command line as scripts use it: data on stdout, words on stderr, exit codes, nothing changed by a dry run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from kferry.cli.main import app
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Change, Role
from kferry.domain.runbook import OperationKind, OperationStatus, StepStatus
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.tables import TaskRow
from support.fake_engine import FakeEngine

Run = Callable[..., Result]

PLAN_RESULT = {
    "title": "Create a migration task: shop",
    "steps": ["Reserve names", "Create the target topics"],
    "changes": [
        {
            "scope": "target", "resource": "topic", "name": "shop.\x1b[31morders", "key": "",
            "before": None, "after": "12 partitions", "action": "create",
        }
    ],
    "words": ["About 4 minutes."],
    "hash": "abc",
}  # fmt: skip


@pytest.fixture
def run(layout: Layout) -> Run:
    def call(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, ["-C", str(layout.root), *words], input=stdin)

    return call


@pytest.fixture
def journal(layout: Layout) -> Journal:
    return Journal(layout.journal)


def _put_task(journal: Journal, *, lag: int | None = 1234, state: str = "Running") -> None:
    spec = {
        "name": "shop", "migration_id": "k3f9x2", "batch": "shop", "incarnation": 1, "topics": ["shop.orders"],
        "groups": ["billing"], "workers": [], "connector_tasks_max": 4, "desired": "running",
    }  # fmt: skip
    journal.put_task(
        TaskRow(
            name="shop",
            batch="shop",
            incarnation=1,
            spec=json.dumps(spec),
            state=state,
            created_at_ms=1,
            updated_at_ms=1,
        )
    )
    journal.put_document(
        "observation",
        "shop",
        json.dumps({"connectors": [], "workers": [], "partitions": [], "figures": {"lag_records": lag}, "alarms": []}),
    )


# ---- without an engine ----------------------------------------------------------------------------------------------


def test_nothing_is_queued_for_a_dead_engine(run: Run) -> None:
    result = run("--no-start", "scan")
    assert result.exit_code == 5
    assert result.stdout == ""
    assert "is not running" in result.stderr
    assert "Nothing is queued" in result.stderr
    assert "engine start" in result.stderr


def test_engine_status_of_a_dead_engine_exits_5(run: Run) -> None:
    result = run("engine", "status", "-o", "json")
    assert result.exit_code == 5
    assert json.loads(result.stdout)["alive"] is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schema: 1\nmigration_id: k3f9x2\n", "name"),
        ("schema: 99\n", "newer"),
        ("a: [\n", "kferry.yml"),
        ("", "kferry.yml"),
    ],
)
def test_a_malformed_kferry_yml_exits_2(run: Run, layout: Layout, text: str, words: str) -> None:
    layout.settings.write_text(text)
    for command in (["scan"], ["task", "list"], []):
        result = run(*command)
        assert result.exit_code == 2, result.stderr
        assert words in result.stderr
        assert "Traceback" not in result.stderr


def test_a_malformed_clusters_yml_exits_2_and_names_the_key(run: Run, layout: Layout) -> None:
    layout.clusters.write_text("kferry_clusters:\n  source:\n    kind: apache_kafka\n    bootstrap_server: a:1\n")
    result = run("scan")
    assert result.exit_code == 2
    assert "clusters.yml" in result.stderr
    assert "bootstrap_servers" in result.stderr
    assert "4" in result.stderr


def test_a_corrupt_journal_exits_2(run: Run, layout: Layout) -> None:
    layout.journal.write_bytes(b"not a database at all, and long enough to be looked at" * 20)
    result = run("task", "list")
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


def test_a_newer_journal_exits_2(run: Run, layout: Layout) -> None:
    connection = sqlite3.connect(layout.journal)
    connection.execute("update alembic_version set version_num='9999'")
    connection.commit()
    connection.close()
    result = run("task", "list")
    assert result.exit_code == 2
    assert "newer" in result.stderr


def test_a_folder_that_is_no_migration_exits_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["-C", str(tmp_path), "task", "list"])
    assert result.exit_code == 2
    assert "no kferry.yml" in result.stderr
    assert CliRunner().invoke(app, ["-C", str(tmp_path / "none"), "task", "list"]).exit_code == 2


def test_without_a_terminal_there_is_no_terminal_interface(run: Run) -> None:
    result = run()
    assert result.exit_code == 2
    assert "needs a terminal" in result.stderr


def test_a_wrong_command_is_usage(run: Run) -> None:
    assert run("scann").exit_code == 2


def test_a_defect_is_a_sentence_and_a_traceback_only_on_request(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("kferry.client.session.Session.engine", broken)
    result = run("engine", "status")
    assert result.exit_code == 1
    assert "RuntimeError: boom" in result.stderr
    assert "Traceback" not in result.stderr
    monkeypatch.setenv("KFERRY_DEBUG", "1")
    assert "Traceback" in run("engine", "status").stderr


# ---- reading --------------------------------------------------------------------------------------------------------


def test_task_list_in_three_forms(run: Run, journal: Journal) -> None:
    _put_task(journal)
    assert json.loads(run("task", "list", "-o", "json").stdout)[0]["lag_records"] == 1234
    assert yaml.safe_load(run("-o", "yaml", "task", "list").stdout)[0]["name"] == "shop"
    table = run("task", "list").stdout.splitlines()
    assert table[0].split()[:3] == ["TASK", "STATE", "PHASE"]
    assert "1,234" in table[1]


def test_unknown_lag_is_not_shown_as_nothing(run: Run, journal: Journal) -> None:
    _put_task(journal, lag=None)
    assert json.loads(run("task", "list", "-o", "json").stdout)[0]["lag_records"] is None
    assert " 0 " not in run("task", "list").stdout


def test_an_unknown_task_is_named_with_those_there_are(run: Run, journal: Journal) -> None:
    _put_task(journal)
    result = run("task", "show", "shopp")
    assert result.exit_code == 2
    assert "shop" in result.stderr.partition("there are")[2]


def test_an_empty_list_says_why_on_stderr(run: Run) -> None:
    result = run("task", "list")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "no migration tasks yet" in result.stderr
    assert run("--quiet", "task", "list").stderr == ""


def test_watch_writes_one_json_object_per_line(run: Run, journal: Journal) -> None:
    _put_task(journal)
    result = run("watch", "--once", "-o", "json")
    assert [json.loads(line)["name"] for line in result.stdout.splitlines()] == ["shop"]


def test_watch_ends_when_the_lag_is_small_enough(run: Run, journal: Journal) -> None:
    _put_task(journal, lag=7)
    assert run("watch", "shop", "--until-lag", "10").exit_code == 0
    assert run("watch", "shop", "--until-lag", "5", "--timeout", "0.1").exit_code == 4


def test_watch_of_something_unknown_is_usage(run: Run) -> None:
    assert run("watch", "nothing").exit_code == 2


def test_control_characters_of_clusters_never_reach_the_terminal(run: Run, journal: Journal) -> None:
    with journal.transaction() as session:
        change = Change(Role.TARGET, "topic", "evil\x1b]0;x\x07\nname", "", None, "\u202e1", {}, "because")
        journal.record_change(change, None, session)
    for form in ("table", "json", "yaml"):
        out = run("changes", "-o", form).stdout
        assert "evil" in out
        assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert len(run("changes").stdout.splitlines()) == 2


def test_journal_verify_tells_a_rewritten_event(run: Run, journal: Journal, layout: Layout) -> None:
    for number in range(3):
        journal.event("noted", payload={"number": number})
    assert run("journal", "--verify").exit_code == 0
    connection = sqlite3.connect(layout.journal)
    connection.execute("update event set payload='{}' where seq=2")
    connection.commit()
    connection.close()
    result = run("journal", "--verify", "-o", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["first_broken"] == 2


def test_preflight_show_exits_5_while_a_finding_stops(run: Run, journal: Journal) -> None:
    assert run("preflight", "--show").exit_code == 5
    finding = {"check": "size", "severity": "warn", "subject": "t", "title": "T", "evidence": "E", "fix": "F"}
    journal.put_document("findings", "", json.dumps([finding]))
    result = run("preflight", "--show", "-o", "json")
    assert result.exit_code == 5
    assert json.loads(result.stdout)[0]["stops"] is True
    journal.put_document("findings", "", json.dumps([{**finding, "severity": "info"}]))
    assert run("preflight", "--show").exit_code == 0


def test_report_of_a_batch_needs_its_certificate(run: Run, journal: Journal) -> None:
    assert run("report", "shop").exit_code == 5
    journal.put_document(
        "certificate", "shop", json.dumps({"batch": "shop", "partitions": [{"topic": "t", "missing": 0}]})
    )
    assert run("report", "shop").stdout.startswith("# Certificate of shop")
    assert json.loads(run("report", "shop", "-o", "json").stdout)["batch"] == "shop"
    assert run("report").stdout.startswith("# Migration demo")


# ---- asking the engine ----------------------------------------------------------------------------------------------


def test_a_dry_run_prints_the_plan_and_follows_nothing(run: Run, engine: FakeEngine) -> None:
    engine.on("create_task", lambda _: ("done", {"result": PLAN_RESULT}))
    result = run("task", "create", "shop", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert engine.seen == [("create_task", {"batch": "shop", "dry_run": True})]
    assert "1. Reserve names" in result.stdout
    assert "12 partitions" in result.stdout
    assert "\x1b" not in result.stdout
    assert json.loads(run("task", "create", "shop", "--dry-run", "-o", "json").stdout)["hash"] == "abc"


def test_a_task_may_be_asked_to_begin_with_several_workers(run: Run, engine: FakeEngine) -> None:
    engine.on("create_task", lambda _: ("done", {"result": PLAN_RESULT}))
    assert run("task", "create", "shop", "--workers", "3", "--dry-run").exit_code == 0
    assert engine.seen == [("create_task", {"batch": "shop", "workers": 3, "dry_run": True})]
    assert run("task", "create", "shop", "--workers", "0").exit_code == 2


def test_drift_in_a_dry_run_exits_6(run: Run, engine: FakeEngine) -> None:
    changes = [{**PLAN_RESULT["changes"][0], "action": "drift"}]  # type: ignore[index, dict-item]
    engine.on("pause_task", lambda _: ("done", {"result": {**PLAN_RESULT, "changes": changes}}))
    assert run("task", "pause", "shop", "--dry-run").exit_code == 6


def test_a_dry_run_works_read_only_and_nothing_else_does(run: Run, engine: FakeEngine) -> None:
    engine.on("scan", lambda _: ("done", {"result": PLAN_RESULT}))
    assert run("--read-only", "scan", "--dry-run").exit_code == 0
    assert run("--read-only", "scan").exit_code == 2
    assert run("plan", "move", "t", "--to", "b", "--read-only").exit_code == 2
    assert len(engine.seen) == 1


def test_no_wait_prints_the_operation(run: Run, engine: FakeEngine) -> None:
    engine.on("scan", lambda _: ("accepted", {"operation_id": "op-1"}))
    result = run("scan", "--no-wait", "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"operation_id": "op-1"}
    assert "kferry watch op-1" in result.stderr


def test_an_operation_is_followed_step_by_step_on_stderr(run: Run, engine: FakeEngine) -> None:
    engine.on("pause_task", lambda _: ("accepted", {"operation_id": "op-1"}))
    engine.operation(OperationKind.PAUSE_TASK, OperationStatus.DONE, subject="shop")
    result = run("task", "pause", "shop")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert "✓ Stop the connectors" in result.stderr


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (ErrorKind.CONNECT, 3),
        (ErrorKind.TIMEOUT, 4),
        (ErrorKind.NOT_READY, 5),
        (ErrorKind.DRIFT, 6),
        (ErrorKind.FAILED, 1),
    ],
)
def test_a_failed_operation_ends_with_the_code_of_its_error(
    run: Run, engine: FakeEngine, kind: ErrorKind, code: int
) -> None:
    told = KferryError("The source went away.", next_step="Look.", kind=kind).as_dict()
    engine.on("scan", lambda _: ("accepted", {"operation_id": "op-1"}))
    engine.operation(
        OperationKind.SCAN,
        OperationStatus.FAILED,
        steps={"scan_source": StepStatus.FAILED},
        error=told,
        error_at="scan_source",
    )
    result = run("scan")
    assert result.exit_code == code
    assert "The source went away." in result.stderr
    assert "Look." in result.stderr


def test_where_the_operator_is_needed_and_nobody_can_be_asked_exits_5(run: Run, engine: FakeEngine) -> None:
    told = KferryError("The consumers still run.", next_step="Stop them.", kind=ErrorKind.NOT_READY).as_dict()
    engine.on("cutover", lambda _: ("accepted", {"operation_id": "op-1"}))
    engine.operation(
        OperationKind.CUTOVER,
        OperationStatus.NEEDS_OPERATOR,
        subject="shop",
        steps={"ready": StepStatus.DONE, "stop_consumers": StepStatus.NEEDS_OPERATOR},
        error=told,
        error_at="stop_consumers",
    )
    result = run("cutover", "shop", "--yes")
    assert result.exit_code == 5
    assert "The consumers still run." in result.stderr
    assert "answer op-1 --run-hook" in result.stderr
    assert "abort op-1" in result.stderr


def test_uncommitted_is_answered_from_the_command_line(run: Run, engine: FakeEngine) -> None:
    done = dict.fromkeys(("ready", "stop_consumers", "copied_past_commits", "freeze_groups"), StepStatus.DONE)
    engine.on("cutover", lambda _: ("accepted", {"operation_id": "op-1"}))
    engine.operation(
        OperationKind.CUTOVER,
        OperationStatus.NEEDS_OPERATOR,
        subject="shop",
        steps={**done, "translate_offsets": StepStatus.DONE, "choose_uncommitted": StepStatus.NEEDS_OPERATOR},
    )

    def answered(_args: object) -> tuple[str, dict[str, str]]:
        engine.operation(OperationKind.CUTOVER, OperationStatus.DONE, subject="shop")
        return "done", {}

    engine.on("answer", answered)
    result = run("cutover", "shop", "--yes", "--uncommitted", "end")
    assert result.exit_code == 0, result.stderr
    assert engine.seen[-1] == (
        "answer",
        {"operation_id": "op-1", "step": "choose_uncommitted", "answer": {"uncommitted": "end"}},
    )
    assert "shop.md" in result.stdout


def test_dangerous_commands_need_yes_where_nobody_can_be_asked(run: Run, engine: FakeEngine) -> None:
    for words in (["cutover", "shop"], ["task", "delete", "shop"]):
        result = run(*words)
        assert result.exit_code == 2
        assert "--yes" in result.stderr
    assert engine.seen == []


def test_cutover_abort_without_a_cutover_is_usage(run: Run, engine: FakeEngine) -> None:
    result = run("cutover", "abort", "shop", "--yes")
    assert result.exit_code == 2
    assert "No cutover of 'shop'" in result.stderr


def test_cutover_abort_that_went_back_is_a_success(run: Run, engine: FakeEngine) -> None:
    steps = {"ready": StepStatus.DONE, "stop_consumers": StepStatus.NEEDS_OPERATOR}
    engine.operation(OperationKind.CUTOVER, OperationStatus.NEEDS_OPERATOR, subject="shop", steps=steps)

    def aborted(_args: object) -> tuple[str, dict[str, str]]:
        engine.operation(OperationKind.CUTOVER, OperationStatus.ABORTED, subject="shop", steps=steps)
        return "done", {}

    engine.on("abort", aborted)
    result = run("cutover", "abort", "shop", "--yes")
    assert result.exit_code == 0, result.stderr
    assert "owners start the consumers on the source again" in result.stderr


def test_a_waiver_needs_a_reason(run: Run, engine: FakeEngine, journal: Journal) -> None:
    assert run("preflight", "--waive", "size:t").exit_code == 2
    journal.put_document("findings", "", "[]")
    assert run("preflight", "--waive", "size:t", "--why", "small enough").exit_code == 0
    kind, args = engine.seen[0]
    assert (kind, args["finding_id"], args["why"]) == ("waive", "size:t", "small enough")


def test_ctrl_c_while_following_leaves_the_engine_working(
    run: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.on("scan", lambda _: ("accepted", {"operation_id": "op-1"}))

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kferry.client.session.Session.follow", interrupted)
    result = run("scan")
    assert result.exit_code == 130
    assert "the engine goes on" in result.stderr
    assert "watch op-1" in result.stderr


def test_verify_fails_where_a_record_is_missing(run: Run, engine: FakeEngine) -> None:
    engine.on("verify", lambda _: ("accepted", {"operation_id": "op-1"}))
    engine.operation(OperationKind.VERIFY, OperationStatus.DONE, subject="shop")
    row = {"topic": "t", "partition": 0, "source_records": 5, "target_records": 4, "missing": 1}
    body = {"partitions": [row], "missing": 1, "repeats": 0, "reordered": 0, "ok": False}
    engine.journal.put_document("verification", "shop", json.dumps(body))
    result = run("verify", "shop")
    assert result.exit_code == 1
    assert "1 missing" in result.stderr
    assert "t" in result.stdout


# ---- making and editing files ---------------------------------------------------------------------------------------


def test_init_makes_a_directory_that_can_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    words = ["init", str(folder), "--source-bootstrap", "a:9092", "--target-bootstrap", "b:9092"]
    assert CliRunner().invoke(app, [*words, "--dry-run"]).exit_code == 0
    assert not folder.exists()
    assert CliRunner().invoke(app, words).exit_code == 0
    assert CliRunner().invoke(app, ["-C", str(folder), "task", "list"]).exit_code == 0
    settings = (folder / "kferry.yml").read_text()
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2
    assert (folder / "kferry.yml").read_text() == settings


@pytest.mark.parametrize(
    "words", [["--source-kind", "rabbit"], ["--source-bootstrap", "no port", "--target-bootstrap", "b:1"]]
)
def test_init_refuses_what_it_could_not_read_again(tmp_path: Path, words: list[str]) -> None:
    result = CliRunner().invoke(app, ["init", str(tmp_path / "new"), *words])
    assert result.exit_code == 2
    assert not (tmp_path / "new" / "kferry.yml").exists()


def test_plan_move_edits_the_file_as_the_operators(run: Run, layout: Layout) -> None:
    layout.plan.write_text(
        "schema: 1\nscan_id: s\nbatches:\n- {name: hr, topics: [a, b], groups: [g]}\n- {name: shop, topics: [c]}\n"
    )
    assert run("plan", "move", "b", "--to", "shop", "--dry-run").exit_code == 0
    assert "name: hr, topics: [a, b]" in layout.plan.read_text()
    assert run("plan", "move", "b", "--to", "shop").exit_code == 0
    batches = json.loads(run("plan", "show", "-o", "json").stdout)["batches"]
    assert {batch["name"]: batch["topics"] for batch in batches} == {"hr": ["a"], "shop": ["b", "c"]}
    assert "written_by: operator" in layout.plan.read_text()
    assert run("plan", "move", "nothing", "--to", "shop").exit_code == 2


def test_a_batch_that_has_begun_is_not_edited(run: Run, layout: Layout, journal: Journal) -> None:
    layout.plan.write_text("schema: 1\nscan_id: s\nbatches:\n- {name: hr, topics: [a]}\n- {name: shop, topics: [c]}\n")
    with journal.transaction() as session:
        journal.put_batch(session, "hr", "replicating")
    before = layout.plan.read_text()
    assert run("plan", "move", "a", "--to", "shop").exit_code == 5
    assert layout.plan.read_text() == before


def test_global_options_may_stand_anywhere(layout: Layout) -> None:
    for words in (
        ["task", "list", "-o", "json", "-C", str(layout.root)],
        ["task", "-C", str(layout.root), "list", "--output=json"],
        [f"--dir={layout.root}", "-o", "json", "task", "list"],
    ):
        result = CliRunner().invoke(app, words)
        assert result.stdout == "[]\n", (words, result.stderr)
