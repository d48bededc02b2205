"""`kferry fleet`, and what the command line does to workers: the table, the exit codes, typed names, dry runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from kferry.cli.main import app
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.runbook import OperationKind, OperationStatus, StepStatus
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from support import seeded_fleet
from support.fake_engine import FakeEngine

pytestmark = pytest.mark.thorough

Run = Callable[..., Result]
PLAN = {"title": "T", "steps": ["One"], "changes": [], "words": [], "hash": "h"}


@pytest.fixture
def run(layout: Layout) -> Run:
    (layout.inventory / "hosts.yml").write_text(seeded_fleet.HOSTS_YML)

    def call(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, ["-C", str(layout.root), *words], input=stdin)

    return call


@pytest.fixture
def journal(layout: Layout) -> Journal:
    return Journal(layout.journal)


def machines(result: Result) -> dict[str, Mapping[str, Any]]:
    return {item["name"]: item for item in json.loads(result.stdout)["machines"]}


def test_list_before_any_check_calls_every_machine_unknown(run: Run) -> None:
    result = run("fleet", "list")
    assert result.exit_code == 0
    assert "fleet check" in result.stderr
    rows = result.stdout.splitlines()[1:]
    assert [row.split()[:2] for row in rows] == [[f"w{at}", "unknown"] for at in range(1, 6)]


def test_list_shows_verdicts_workers_and_reasons(run: Run, journal: Journal) -> None:
    seeded_fleet.put_check(journal, seeded_fleet.hosts())
    seeded_fleet.put_task(journal)
    result = run("fleet", "list")
    words = {row.split()[0]: row for row in result.stdout.splitlines()}
    assert "left out" in words["w3"] and "381.5 MiB" in words["w3"]
    assert "silent" in words["w4"]
    assert "unknown" in words["w5"]
    assert "shop-2 (shop, unknown)" in words["w2"]
    assert "w3: Source: The certificate of old-2:9093 ended" in result.stderr
    assert "w2: note: Its clock is 1.4 s ahead" in result.stderr
    assert "2 usable, 1 left out, 1 silent, 1 unknown" in result.stderr
    found = machines(run("fleet", "list", "-o", "json"))
    assert found["w5"]["usable"] is None
    assert found["w2"]["workers"][0]["cpu_ratio"] is None


def test_a_hosts_file_that_cannot_be_read_is_usage(run: Run, layout: Layout) -> None:
    (layout.inventory / "hosts.yml").write_text("kferry_workers:\n  hosts:\n    w[1:9]:\n")
    result = run("fleet", "list")
    assert result.exit_code == 2
    assert "w[1:9]" in result.stderr


def _checks(engine: FakeEngine, hosts: list[dict[str, Any]]) -> None:
    def check(_args: object) -> tuple[str, dict[str, str]]:
        seeded_fleet.put_check(engine.journal, hosts)
        engine.operation(OperationKind.FLEET_CHECK, OperationStatus.DONE)
        return "accepted", {"operation_id": "op-1"}

    engine.on("fleet_check", check)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ([], 0),
        ([seeded_fleet.host("w5", False, reasons=["No room."])], 5),
        ([seeded_fleet.host("w5", None, reasons=["Its memory is not known."])], 5),
        ([seeded_fleet.host("w5", None, facts={"os": None}), seeded_fleet.host("w4", False)], 3),
    ],
)
def test_check_ends_with_the_code_of_the_worst_machine(
    run: Run, engine: FakeEngine, more: list[dict[str, Any]], code: int
) -> None:
    good = {f"w{at}": seeded_fleet.host(f"w{at}", True) for at in range(1, 6)}
    _checks(engine, list((good | {item["name"]: item for item in more}).values()))
    result = run("fleet", "check", "-o", "json")
    assert result.exit_code == code, result.stderr
    assert len(machines(result)) == 5


def test_a_machine_that_was_never_checked_is_no_success(run: Run, engine: FakeEngine) -> None:
    _checks(engine, [seeded_fleet.host("w1", True)])
    assert run("fleet", "check").exit_code == 5


def test_control_characters_of_machines_never_reach_the_terminal(run: Run, journal: Journal) -> None:
    seeded_fleet.put_check(journal, seeded_fleet.hosts("\x1b]0;x\x07evil\u202e[/]"))
    for form in ("table", "json", "yaml"):
        result = run("fleet", "list", "-o", form)
        assert "evil" in result.stderr + result.stdout
        assert not {"\x1b", "\x07", "\u202e"} & set(result.stdout + result.stderr)


def test_teardown_wants_the_name_or_yes(run: Run, engine: FakeEngine) -> None:
    engine.on("teardown_host", lambda args: ("done", {"result": PLAN}))
    assert run("fleet", "teardown", "w1").exit_code == 2
    assert engine.seen == []
    assert run("fleet", "teardown", "w1", "--dry-run").exit_code == 0
    assert run("fleet", "teardown", "w1", "--keep-logs", "--yes").exit_code == 0
    assert engine.seen == [
        ("teardown_host", {"host": "w1", "keep_logs": False, "dry_run": True}),
        ("teardown_host", {"host": "w1", "keep_logs": True}),
    ]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["scale", "shop", "3"], ("scale_task", {"task": "shop", "workers": 3})),
        (
            ["scale", "shop", "--remove", "shop-1", "--remove", "shop-2"],
            ("scale_task", {"task": "shop", "remove": ["shop-1", "shop-2"]}),
        ),
        (["restart", "shop"], ("restart_task", {"task": "shop"})),
        (["rotate", "shop"], ("rotate_task", {"task": "shop"})),
        (["upgrade", "shop"], ("upgrade_task", {"task": "shop", "rollback": False})),
        (["upgrade", "shop", "--rollback"], ("upgrade_task", {"task": "shop", "rollback": True})),
    ],
)
def test_what_is_done_to_workers_can_be_looked_at_first(
    run: Run, engine: FakeEngine, words: list[str], wanted: tuple[str, dict[str, Any]]
) -> None:
    kind, args = wanted
    engine.on(kind, lambda given: ("done", {"result": PLAN}) if given.get("dry_run") else ("done", {}))
    assert run("task", *words, "--dry-run").exit_code == 0
    assert run("task", *words).exit_code == 0
    assert engine.seen == [(kind, {**args, "dry_run": True}), (kind, args)]


@pytest.mark.parametrize("words", [["shop"], ["shop", "3", "--remove", "shop-1"], ["shop", "0"], ["shop", "many"]])
def test_a_scale_that_says_nothing_or_two_things_is_usage(run: Run, engine: FakeEngine, words: list[str]) -> None:
    assert run("task", "scale", *words).exit_code == 2
    assert engine.seen == []


def test_a_refused_scale_says_the_engines_reason(run: Run, engine: FakeEngine) -> None:
    told = KferryError("No machine has room for one more worker.", kind=ErrorKind.NOT_READY).as_dict()
    engine.on("scale_task", lambda _: ("refused", {"reason": "x", "result": {"error": told}}))
    result = run("task", "scale", "shop", "9")
    assert result.exit_code == 5
    assert "No machine has room" in result.stderr


def test_diagnose_prints_where_the_archive_is_and_who_is_missing(run: Run, engine: FakeEngine) -> None:
    def collect(_args: object) -> tuple[str, dict[str, str]]:
        body = {
            "path": "/m/.kferry/reports/op-1.tar.gz",
            "bytes": 2048,
            "hosts": ["w1", "w2"],
            "failed": {"w2": "no \x1broute"},
        }
        engine.journal.put_document("diagnostics", "", json.dumps(body))
        engine.operation(OperationKind.DIAGNOSE, OperationStatus.DONE)
        return "accepted", {"operation_id": "op-1"}

    engine.on("diagnose", collect)
    result = run("diagnose", "shop")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "/m/.kferry/reports/op-1.tar.gz\n"
    assert "w2 is missing from it: no \\x1broute" in result.stderr
    assert engine.seen == [("diagnose", {"task": "shop"})]
    assert json.loads(run("diagnose", "-o", "json").stdout)["bytes"] == 2048
    assert engine.seen[-1] == ("diagnose", {})


def test_a_failed_play_of_a_machine_ends_with_its_words(run: Run, engine: FakeEngine) -> None:
    told = KferryError("w2: No space left on device.", next_step="Make room.", kind=ErrorKind.FAILED).as_dict()
    engine.on("restart_task", lambda _: ("accepted", {"operation_id": "op-1"}))
    engine.operation(
        OperationKind.RESTART_TASK,
        OperationStatus.NEEDS_OPERATOR,
        subject="shop",
        steps={"restart": StepStatus.NEEDS_OPERATOR},
        error=told,
        error_at="restart",
    )
    result = run("task", "restart", "shop")
    assert result.exit_code == 5
    assert "No space left on device" in result.stderr
    assert "answer op-1 --retry" in result.stderr
