"""`kferry access`: the plan and its traps, applying only what was seen, the probe's verdict, and exports."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Callable

import pytest
import yaml
from typer.testing import CliRunner, Result

from kferry.cli.main import app
from kferry.domain.runbook import OperationKind, OperationStatus
from kferry.store.access_file import load_access
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.queries import Reader
from support import access_docs
from support.fake_engine import FakeEngine

Run = Callable[..., Result]
HOSTILE = "-x'; $(touch /tmp/x) [b]\u202e"


@pytest.fixture
def run(layout: Layout) -> Run:
    def call(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, ["-C", str(layout.root), "access", *words], input=stdin)

    return call


@pytest.fixture
def planned(layout: Layout) -> None:
    journal = Journal(layout.journal)
    access_docs.put_plan(journal, access_docs.a_plan(), 1000)
    journal.close()


def data(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.stderr
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_plan_asks_the_engine_and_shows_what_it_found(run: Run, engine: FakeEngine) -> None:
    def answer(_args: object) -> tuple[str, dict[str, object]]:
        access_docs.put_plan(engine.journal, access_docs.a_plan(), 1000)
        engine.operation(OperationKind.PLAN_ACCESS, OperationStatus.DONE)
        return "accepted", {"operation_id": "op-1"}

    engine.on("plan_access", answer)
    result = run("plan")
    assert result.exit_code == 0, result.stderr
    assert "allow READ on topic shop.orders for User:app" in result.stdout
    assert "covers nothing that plan.yml moves" in result.stdout
    assert "Quotas hold per broker" in result.stderr
    assert "5 create, 2 drift, 1 present, 2 skipped." in result.stderr


@pytest.mark.usefixtures("planned")
def test_plan_is_narrowed_and_told_as_data(run: Run) -> None:
    found = data(run("plan", "--last", "--only", "drift", "-o", "json"))
    assert {item["action"] for item in found["items"]} == {"drift"}  # type: ignore[attr-defined]
    found = data(run("plan", "--last", "--what", "quotas", "--what", "scram_users", "-o", "json"))
    assert {item["what"] for item in found["items"]} == {"quotas", "scram_users"}  # type: ignore[attr-defined]
    assert run("plan", "--last", "--fail-on-drift").exit_code == 6


def test_before_any_comparison_it_says_how_to_make_one(run: Run) -> None:
    for words in (("plan", "--last"), ("export",)):
        result = run(*words)
        assert result.exit_code == 5
        assert "kferry access plan" in result.stderr
    assert run("probe", "target", "User:app", "--last").exit_code == 5


def test_apply_shows_the_plan_asks_and_creates_what_was_seen(run: Run, engine: FakeEngine, layout: Layout) -> None:
    change = {
        "scope": "target", "resource": "acl", "name": "User:app", "key": "topic shop.orders", "before": None,
        "after": "allow READ on topic shop.orders for User:app", "action": "create",
    }  # fmt: skip
    plan = {"title": "Bring", "steps": [], "changes": [change], "words": ["Nothing is removed."], "hash": "h7"}

    def answer(args: object) -> tuple[str, dict[str, object]]:
        if isinstance(args, dict) and args.get("dry_run"):
            return "done", {"result": plan}
        engine.operation(OperationKind.APPLY_ACCESS, OperationStatus.DONE)
        return "accepted", {"operation_id": "op-1"}

    engine.on("apply_access", answer)
    refused = run("apply")
    assert refused.exit_code == 2
    assert "allow READ on topic shop.orders" in refused.stdout
    assert [args.get("dry_run") for _, args in engine.seen] == [True]
    done = run("apply", "--what", "acls", "--yes")
    assert done.exit_code == 0, done.stderr
    assert engine.seen[-1] == ("apply_access", {"what": ["acls"]})
    expected = [row["expects"] for row in Reader(layout.root).rows("select expects from intent order by rowid")]
    assert expected == [None, None, "h7"]
    plan["changes"] = [{**change, "action": "drift"}]
    nothing = run("apply", "--yes")
    assert "Nothing is missing" in nothing.stderr
    assert engine.seen[-1][1].get("dry_run") is True
    assert run("apply", "--dry-run").exit_code == 6


def test_a_probe_that_misses_a_right_exits_5(run: Run, engine: FakeEngine) -> None:
    def answer(_args: object) -> tuple[str, dict[str, object]]:
        access_docs.put_probe(engine.journal, "target User:app", 1000)
        engine.operation(OperationKind.PROBE_PRINCIPAL, OperationStatus.DONE, subject="target User:app")
        return "accepted", {"operation_id": "op-1"}

    engine.on("probe_principal", answer)
    result = run("probe", "target", "User:app")
    assert result.exit_code == 5
    assert engine.seen[-1] == ("probe_principal", {"cluster": "target", "principal": "User:app"})
    assert "1 rights are missing" in result.stderr
    assert "cannot be asked without doing it" in result.stdout
    rows = json.loads(run("probe", "target", "User:app", "--last", "-o", "json").stdout)
    assert [row["allowed"] for row in rows] == [True, False, None]


def test_commands_hold_hostile_names_as_one_word_and_no_password(run: Run, layout: Layout) -> None:
    journal = Journal(layout.journal)
    access_docs.put_plan(journal, access_docs.a_plan("it's $(id)", "-x'; $(id)"), 1000)
    journal.close()
    result = run("export")
    assert result.exit_code == 0, result.stderr
    lines = [shlex.split(line) for line in result.stdout.splitlines()]
    assert {line[0] for line in lines} == {"kafka-acls.sh", "kafka-configs.sh"}
    assert any("--topic=-x'; $(id)" in line and "--allow-principal=User:it's $(id)" in line for line in lines)
    assert ["--entity-type=clients", "--entity-default"] in [line[-2:] for line in lines]
    assert any("--add-config=SCRAM-SHA-512=[iterations=8192,password=NEW_PASSWORD]" in line for line in lines)


def test_what_a_terminal_would_hide_is_no_command(run: Run, layout: Layout) -> None:
    journal = Journal(layout.journal)
    access_docs.put_plan(journal, access_docs.a_plan(topic=HOSTILE), 1000)
    journal.close()
    result = run("export")
    assert any(line.startswith("# ") and "kferry access apply" in line for line in result.stdout.splitlines())
    assert "\u202e" not in result.stdout
    rows = list(csv.reader(io.StringIO(run("export", "--form", "csv").stdout)))
    assert rows[0][:3] == ["what", "action", "subject"]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)


@pytest.mark.usefixtures("planned")
def test_a_starter_is_an_access_yml_that_can_be_read(run: Run, layout: Layout) -> None:
    result = run("export", "--form", "starter")
    body = yaml.safe_load(result.stdout)
    assert body["principals"]["map"] == {"User:app": "User:app"}
    (layout.root / "access.yml").write_text(result.stdout)
    assert load_access(layout).mapping.of("User:app") == "User:app"
    assert json.loads(run("export", "--form", "json").stdout)["scope"] == "plan"
