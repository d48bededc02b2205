"""`kferry acls`: what is needed and why, commands for a cluster's owner, and granting only what was seen."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from kferry.cli.main import app
from kferry.domain.runbook import OperationKind, OperationStatus
from kferry.store.paths import Layout
from kferry.store.queries import Reader
from support.fake_engine import FakeEngine

Run = Callable[..., Result]
CLUSTERS = """kferry_clusters:
  source:
    kind: apache_kafka
    bootstrap_servers: a:9092
    security_protocol: SASL_PLAINTEXT
    sasl_mechanism: SCRAM-SHA-512
    sasl_username: mover
    sasl_password: env:SOURCE_PASSWORD
  target:
    kind: automq
    bootstrap_servers: b:9092
"""
GROUP = "bill'ing; $(touch /tmp/x)"


@pytest.fixture
def run(layout: Layout) -> Run:
    layout.clusters.write_text(CLUSTERS)
    layout.plan.write_text(
        f"schema: 1\nscan_id: s\nbatches:\n- name: shop\n  topics: [shop.orders]\n  groups: [{json.dumps(GROUP)}]\n"
    )

    def call(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, ["-C", str(layout.root), "acls", *words], input=stdin)

    return call


def rows(result: Result) -> list[dict[str, str]]:
    assert result.exit_code == 0, result.stderr
    found: list[dict[str, str]] = json.loads(result.stdout)
    return found


def test_each_right_has_its_reason_and_the_user_of_clusters_yml(run: Run) -> None:
    found = rows(run("show", "source", "-o", "json"))
    assert {row["principal"] for row in found} == {"User:mover"}
    assert all(row["why"].endswith(".") for row in found)
    assert ("READ", "shop.orders") in {(row["operation"], row["name"]) for row in found}
    assert not [row for row in found if row["permission"] == "DENY"], "the fence is shown only where asked for"
    table = run("show", "source").stdout.splitlines()
    assert table[0].split()[:3] == ["PURPOSE", "PERMISSION", "OPERATION"]


def test_one_purpose_alone(run: Run) -> None:
    assert {row["purpose"] for row in rows(run("show", "target", "--role", "scan", "-o", "json"))} == {"scan"}
    fence = rows(run("show", "source", "--role", "fence", "-o", "json"))
    assert [(row["permission"], row["principal"], row["name"]) for row in fence] == [("DENY", "User:*", "shop.orders")]


@pytest.mark.parametrize(
    "words",
    [["show", "middle"], ["show", "source", "--role", "all"], ["show", "target", "--role", "fence"],
     ["show", "source", "--principal", "*"], ["show", "target", "-o", "commands"]],
)  # fmt: skip
def test_usage(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code == 2, result.stdout
    assert "Traceback" not in result.stderr


def test_commands_hold_hostile_names_as_one_word(run: Run) -> None:
    result = run("show", "source", "--principal", "User:CN=k f", "-o", "commands")
    assert result.exit_code == 0, result.stderr
    lines = [shlex.split(line) for line in result.stdout.splitlines()]
    assert all(line[0] == "kafka-acls.sh" and "--bootstrap-server=a:9092" in line for line in lines)
    assert all("--allow-principal=User:CN=k f" in line for line in lines)
    assert any(f"--group={GROUP}" in line for line in lines)


def test_commands_are_for_acls_only(layout: Layout) -> None:
    assert CliRunner().invoke(app, ["-C", str(layout.root), "task", "list", "-o", "commands"]).exit_code == 2


def test_without_a_plan_it_is_what_a_scan_needs(run: Run, layout: Layout) -> None:
    layout.plan.unlink()
    result = run("show", "source", "-o", "json")
    assert {row["name"] for row in rows(result)} == {"*"}
    assert "no plan yet" in result.stderr


def test_apply_shows_the_plan_asks_and_grants_what_was_seen(run: Run, engine: FakeEngine, layout: Layout) -> None:
    change = {
        "scope": "source", "resource": "acl", "name": "shop.orders", "key": "", "before": None,
        "after": "READ on topic shop.orders", "action": "create",
    }  # fmt: skip
    plan = {"title": "Grant what kferry needs", "steps": [], "changes": [change], "words": [], "hash": "h7"}

    def answer(args: object) -> tuple[str, dict[str, object]]:
        if isinstance(args, dict) and args.get("dry_run"):
            return "done", {"result": plan}
        engine.operation(OperationKind.APPLY_ACLS, OperationStatus.DONE, subject="source")
        return "accepted", {"operation_id": "op-1"}

    engine.on("apply_acls", answer)
    refused = run("apply", "source")
    assert refused.exit_code == 2
    assert "READ on topic shop.orders" in refused.stdout
    assert [args.get("dry_run") for _, args in engine.seen] == [True]
    done = run("apply", "source", "--principal", "User:mover", "--yes")
    assert done.exit_code == 0, done.stderr
    assert engine.seen[-1] == ("apply_acls", {"cluster": "source", "principal": "User:mover"})
    expected = [row["expects"] for row in Reader(layout.root).rows("select expects from intent order by rowid")]
    assert expected == [None, None, "h7"]
