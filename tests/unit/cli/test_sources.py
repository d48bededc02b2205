"""`kferry clusters` and `kferry init`: the same drafts as the form, with the same refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kferry.cli.main import app
from kferry.domain.model import Role
from kferry.domain.runbook import OperationKind, OperationStatus
from kferry.domain.sources import KINDS
from kferry.store.clusters_file import load_clusters
from kferry.store.paths import Layout
from support.fake_engine import FakeEngine

SCRAM = ["--kind", "msk", "--way", "scram", "--bootstrap", "b-1.x:9096,b-2.x:9096", "--user", "mover"]
LINES = [["TCP b-1.x:9096", "ok", "Connected.", 0.004], ["login", "failed", "It says no \x1b[2J.", 0.2]]


def _run(layout: Layout, *words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["-C", str(layout.root), *words])
    return result.exit_code, result.stdout, result.stderr


def _answers(engine: FakeEngine, *, reachable: bool) -> None:
    body = {"reachable": reachable, "lines": LINES, "operation_id": "op-1", "running": False, "capabilities": {}}
    body["error"] = None if reachable else {"title": "Cannot reach it.", "cause": "No.", "next_step": "Try.", "log": ""}

    def answer(_args: object) -> tuple[str, dict[str, str]]:
        engine.journal.put_document("cluster_check", "draft", json.dumps(body))
        return "accepted", {"operation_id": engine.operation(OperationKind.CHECK_DRAFT, OperationStatus.DONE)}

    engine.on("check_draft", answer)


def test_kinds_lists_every_way(layout: Layout) -> None:
    code, out, _ = _run(layout, "clusters", "kinds", "-o", "json")
    assert code == 0 and len(json.loads(out)) == sum(len(kind.ways) for kind in KINDS.values())
    assert "ckafka" not in out or code == 0
    assert "9098, 9198, 20098" in _run(layout, "clusters", "kinds")[1]


def test_a_draft_is_tested_and_only_then_written(layout: Layout, engine: FakeEngine) -> None:
    before = layout.clusters.read_text()
    _answers(engine, reachable=False)
    words = ["clusters", "set", "source", *SCRAM, "--password", "env:P"]
    code, out, err = _run(layout, *words)
    assert code == 3 and "✗ 200 ms  login" in out and "\x1b" not in out and "Cannot reach it." in err
    assert layout.clusters.read_text() == before
    _answers(engine, reachable=True)
    assert _run(layout, *words)[0] == 0
    found = load_clusters(layout)[Role.SOURCE]
    assert (found.sasl_mechanism, found.sasl_username, found.sasl_password) == ("SCRAM-SHA-512", "mover", "env:P")
    assert engine.seen[-1][1]["config"]["sasl_password"] == "env:P"


def test_a_dry_run_writes_nothing_and_asks_nobody(layout: Layout) -> None:
    before = layout.clusters.read_text()
    code, out, err = _run(layout, "clusters", "set", "source", *SCRAM, "--password", "env:P", "--dry-run")
    assert code == 0 and "sasl_username: mover" in out and "Nothing was written" in err
    code, out, _ = _run(layout, "clusters", "test", "source", *SCRAM, "--dry-run", "-o", "json")
    assert code == 0 and [row["field"] for row in json.loads(out) if row["stops"]] == ["password"]
    assert layout.clusters.read_text() == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["elsewhere"], "neither source nor target"),
        (["source", "--kind", "rabbit"], "Kinds: apache_kafka"),
        (["source", "--way", "iam"], "Its ways: plaintext"),
        (["source", *SCRAM, "--password", "hunter2"], "not a reference"),
        (["source", *SCRAM], "password's reference is missing"),
    ],
)
def test_what_makes_no_sense_is_refused(layout: Layout, words: list[str], says: str) -> None:
    code, _, err = _run(layout, "--no-start", "clusters", "set", *words, "--untested")
    assert code == 2 and says in err and "hunter2" not in err


def test_show_repeats_the_last_test(layout: Layout, engine: FakeEngine) -> None:
    body = {"reachable": True, "kafka_version": "3.9", "cluster_id": "x", "broker_count": 1, "lines": LINES[:1]}
    engine.journal.put_document("cluster_check", "source", json.dumps({**body, "error": None}))
    code, out, _ = _run(layout, "clusters", "show", "source")
    assert code == 0 and "✓   4 ms  TCP b-1.x:9096: Connected." in out
    assert "never tested" in _run(layout, "clusters", "show", "target")[1]


def test_init_takes_ways_users_and_references(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    words = ["init", str(folder), "--source-kind", "tencent", "--source-way", "sasl", "--source-bootstrap", "x:50001"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2 and "instance id and user" in result.stderr and not folder.exists()
    words += ["--source-user", "ckafka-12ab34cd#u", "--source-password", "env:P", "--target-bootstrap", "t:9092"]
    assert CliRunner().invoke(app, words).exit_code == 0
    found = load_clusters(Layout(folder))
    assert found[Role.SOURCE].sasl_username == "ckafka-12ab34cd#u" and found[Role.SOURCE].sasl_mechanism == "PLAIN"
    assert found[Role.TARGET].bootstrap_servers == "t:9092"


def test_init_asks_until_nothing_is_missing(tmp_path: Path) -> None:
    source = ["msk", "kerberos", "scram", "b-1.x:9096,b-2.x:9096", "mover", "hunter2", ""]
    again = ["", "", "", "", "env:P", ""]
    target = ["", "", "t:9092"]
    result = CliRunner().invoke(
        app, ["init", str(tmp_path / "new"), "--ask"], input="\n".join([*source, *again, *target, ""])
    )
    assert result.exit_code == 0, result.output
    assert "has no way called 'kerberos'" in result.stderr and "This is not a reference" in result.stderr
    assert "[hunter2]" not in result.output, "what may be a secret is not shown again"
    found = load_clusters(Layout(tmp_path / "new"))
    assert found[Role.SOURCE].sasl_password == "env:P" and found[Role.SOURCE].sasl_username == "mover"
    assert found[Role.TARGET].kind.value == "automq"
    for path in (tmp_path / "new").rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes()
