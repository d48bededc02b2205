"""`kferry inventory`: filters and sorting as on the screen, as a table and as JSON; leaving out what is unused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kferry.cli.main import app
from kferry.store import rules_file
from kferry.store.paths import Layout
from support import seeded
from unit.ui import survey_states as states


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = seeded.bare(tmp_path / "m")
    states.put_scan(made)
    return made


def run(layout: Layout, *words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["-C", str(layout.root), "inventory", *words])
    assert result.exit_code == code, result.output
    return result.stdout


def test_filtered_and_sorted(layout: Layout) -> None:
    found = json.loads(run(layout, "topics", "--where", "size>1KiB", "--sort", "-size", "-o", "json"))
    assert [one["topic"] for one in found] == ["shop.orders", "shop.payments", "old.exports"]
    assert [one["unused"] for one in found] == [False, False, True]
    (group,) = json.loads(run(layout, "groups", "--where", "kind:connect", "--columns", "group,reads", "-o", "json"))
    assert group == {"group": "connect-sink", "reads": ["shop.orders", "shop.payments"]}


def test_unknown_comes_last_and_is_no_number(layout: Layout) -> None:
    for sort in ("size", "-size"):
        found = json.loads(
            run(layout, "topics", "--sort", sort, "--columns", "topic,size,parts,findings", "-o", "json")
        )
        assert found[-1] == {"topic": "secret.salaries", "size": None, "parts": None, "findings": None}
    assert "–" in run(layout, "topics", "--where", "failed=yes")


@pytest.mark.parametrize("words", [("--where", "size>much"), ("--sort", "nope"), ("--columns", "nope")])
def test_what_is_not_understood_is_refused(words: tuple[str, ...], layout: Layout) -> None:
    run(layout, "topics", *words, code=2)


def test_leaving_out(layout: Layout) -> None:
    body = json.loads(run(layout, "leave-out", "--unused", "--dry-run", "-o", "json"))
    assert body["added"] == ["group forgotten", "old.exports"]
    assert not layout.rules.exists()
    run(layout, "leave-out", "--unused")
    run(layout, "leave-out", "shop.orders", "--why", "stays with its owner")
    rules = rules_file.load_rules(layout)
    assert rules.leaves_out_group("forgotten") is not None
    assert rules.leaves_out_topic("old.exports") is not None
    left = rules.leaves_out_topic("shop.orders")
    assert left is not None
    assert left.why == "stays with its owner"
    assert json.loads(run(layout, "leave-out", "shop.orders", "-o", "json"))["present"] == ["shop.orders"]
    run(layout, "leave-out", code=2)


def test_never_scanned(tmp_path: Path) -> None:
    run(seeded.bare(tmp_path / "m"), "topics", code=5)
