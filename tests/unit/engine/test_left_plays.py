"""A play that an earlier engine left is followed to its end, also where no step asks for it any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kferry.engine.plays import Plays
from kferry.store import schema
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.tables import RunRow


@pytest.mark.thorough
def test_no_ended_play_is_shown_as_running(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.prepare()
    schema.upgrade(layout.journal)
    journal = Journal(layout.journal)
    for run_id in ("ended", "killed"):
        folder = layout.runs / run_id
        folder.mkdir()
        journal.put_run(
            RunRow(
                run_id=run_id,
                playbook="task.yml",
                operation_id="pause-task-1",
                step="apply",
                status="running",
                directory=str(folder),
                started_at_ms=1,
            )
        )
    result = {"status": "successful", "rc": 0, "changed": 1, "failed": 0, "failures": []}
    (layout.runs / "ended" / "result.json").write_text(json.dumps(result))
    event = {"seq": 1, "at_ms": 1, "kind": "ok", "play": "p", "role": "", "step": "s", "host": "h", "message": "m"}
    (layout.runs / "ended" / "events.jsonl").write_text(json.dumps(event | {"diff": ""}) + "\n")

    Plays(layout, journal, dict).close_left()

    found = {
        row.run_id: (row.status, row.changed_count) for status in ("successful", "lost") for row in journal.runs(status)
    }
    journal.close()
    assert found == {"ended": ("successful", 1), "killed": ("lost", None)}
