"""`kferry task newcomers` in its forms, and the runbook of a cutover as the engine is asked for it."""

from __future__ import annotations

import json

from kferry.store.journal import Journal, now_ms
from support.fake_engine import FakeEngine

from .test_commands import Run, _put_task, journal, run  # noqa: F401 - fixtures

LATE = {
    "kind": "group",
    "name": "auditor\x1b[2J",
    "batch": "shop",
    "how": "planner",
    "joins": False,
    "blocks": True,
    "partitions": None,
    "reads": ["orders"],
    "why": "it reads orders of batch shop but is not of it",
    "words": "Group auditor\x1b[2J appeared: it reads orders of batch shop but is not of it.",
}


def put(journal: Journal, subject: str = "shop", error: str | None = None) -> None:  # noqa: F811
    body = {"looked_at_ms": now_ms(), "items": [LATE], "note": "", "error": error}
    journal.put_document("newcomers", subject, json.dumps(body))


def test_newcomers_as_a_table_and_as_data(run: Run, journal: Journal) -> None:  # noqa: F811
    _put_task(journal)
    put(journal, error="The source does not answer.")
    shown = run("task", "newcomers", "shop")
    assert shown.exit_code == 0 and "holds up the cutover" in shown.stdout and "\x1b" not in shown.stdout
    assert "looked:" in shown.stderr and "does not answer" in shown.stderr
    data = json.loads(run("task", "newcomers", "shop", "-o", "json").stdout)
    assert data["items"][0]["reads"] == ["orders"] and data["items"][0]["blocks"] is True
    body = {"variant": "stop-drain-switch", "words": ["Runbook stop-drain-switch: x."], "warnings": ["wipe it"]}
    journal.put_document("runbook", "shop", json.dumps(body))
    shown = run("task", "show", "shop", "-o", "json")
    assert json.loads(shown.stdout)["newcomers"]["items"][0]["kind"] == "group"
    assert json.loads(shown.stdout)["runbook"]["variant"] == "stop-drain-switch"
    assert "wipe it" in run("task", "show", "shop").stdout


def test_no_newcomers_is_said_and_an_unknown_task_is_usage(run: Run, journal: Journal) -> None:  # noqa: F811
    _put_task(journal)
    assert run("task", "newcomers", "shop").stdout.strip() == "Nothing is new."
    assert run("task", "newcomers").exit_code == 0
    wrong = run("task", "newcomers", "shup")
    assert wrong.exit_code == 2 and "shop" in wrong.stderr


def test_the_runbook_goes_to_the_engine_and_a_wrong_one_does_not(run: Run, engine: FakeEngine) -> None:  # noqa: F811
    engine.on("cutover", lambda _args: ("done", {"result": {"title": "x", "steps": [], "changes": [], "words": []}}))
    done = run("cutover", "start", "shop", "--runbook", "stop-drain-switch", "--rebuild-state", "--dry-run")
    assert done.exit_code == 0, done.stderr
    kind, args = engine.seen[-1]
    assert (kind, args["runbook"], args["rebuild_state"]) == ("cutover", "stop-drain-switch", True)
    wrong = run("cutover", "start", "shop", "--runbook", "quick", "--dry-run")
    assert wrong.exit_code == 2 and "consumers-first" in wrong.stderr
