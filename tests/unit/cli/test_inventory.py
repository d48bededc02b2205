"""`kferry inventory`: filters and sorting as on the screen, as a table and as JSON; leaving out what is unused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from kferry.cli.main import app
from kferry.domain import model
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


HOSTILE = "[/]\x1b[31m\u202e ../ {{ 1 }}"


def test_transactions_and_producers(layout: Layout) -> None:
    made = states.scan()
    hostile = model.TransactionalId(HOSTILE, frozenset({"shop.orders", HOSTILE}), HOSTILE)
    ids = (*(made.transactional_ids or ()), hostile)
    producers = (*(made.producers or ()), model.ActiveProducer(HOSTILE, 0, 9, None))
    states.put_scan(layout, replace(made, transactional_ids=ids, producers=producers))
    body = json.loads(run(layout, "transactions", "-o", "json"))
    assert {one["transactional_id"]: one["topics"] for one in body["transactional_ids"]} == {
        "shop-payments-1": ["shop.payments"],
        HOSTILE: sorted(["shop.orders", HOSTILE]),
    }
    (hanging,) = body["hanging_transactions"]
    assert (hanging["topic"], hanging["producer_id"], hanging["age_seconds"]) == ("shop.payments", 4712, 14400)
    table = run(layout, "transactions")
    assert "shop.payments-2 from offset 50,090 " in table and "nobody ends it" in table
    assert "\x1b" not in table and "\u202e" not in table
    assert yaml.safe_load(run(layout, "transactions", "--topic", "shop.payments", "-o", "yaml"))[
        "transactional_ids"
    ] == [{"transactional_id": "shop-payments-1", "topics": ["shop.payments"], "state": "CompleteCommit"}]

    found = json.loads(run(layout, "producers", "-o", "json"))["producers"]
    assert [(one["topic"], one["producer_id"]) for one in found] == [
        (HOSTILE, 9),
        ("shop.orders", 4711),
        ("shop.payments", 4712),
    ]
    table = run(layout, "producers")
    assert "\x1b" not in table and "\u202e" not in table
    assert "shop.orders" not in run(layout, "producers", "--topic", "shop.payments")


def test_what_could_not_be_asked_is_not_empty(layout: Layout) -> None:
    notes = ("Transactional ids are not known. Denied.", "Active producers are not available: denied.", "Quotas.")
    unknown = {"transactional_ids": None, "producers": None, "hanging_transactions": None, "notes": notes}
    states.put_scan(layout, states.scan(**unknown))
    body = json.loads(run(layout, "transactions", "-o", "json"))
    assert (body["transactional_ids"], body["hanging_transactions"]) == (None, None)
    assert json.loads(run(layout, "producers", "-o", "json"))["producers"] is None
    said = CliRunner().invoke(app, ["-C", str(layout.root), "inventory", "transactions"]).stderr
    assert "is not known" in said and notes[0] in said and notes[2] not in said


def test_how_idle_a_sampled_topic_is_stands_as_a_bound(layout: Layout) -> None:
    made = states.scan()
    first = made.topics[0]
    day_ms = 86_400_000
    old_ms = made.taken_at_ms - 30 * day_ms
    sampled = {"partitions": first.partitions * 4, "sampled_partitions": 8, "records_per_second": 0.0}
    topics = (
        replace(first, **sampled, name="quiet", last_timestamp_ms=old_ms, quiet_since_ms=made.taken_at_ms - 7 * day_ms),
        replace(first, **sampled, name="unknown", last_timestamp_ms=old_ms),
        replace(first, **sampled, name="yesterday", last_timestamp_ms=made.taken_at_ms - day_ms),
    )
    states.put_scan(layout, replace(made, topics=topics))
    words = ("topics", "--columns", "topic,idle,unused")
    found = json.loads(run(layout, *words, "-o", "json"))
    assert found == [
        {"topic": "quiet", "idle": 7 * 86_400.0, "unused": True},
        {"topic": "unknown", "idle": None, "unused": False},
        {"topic": "yesterday", "idle": 86_400.0, "unused": False},
    ]
    table = run(layout, *words)
    assert "≥7 d" in table and "≤1 d" in table


def test_never_scanned(tmp_path: Path) -> None:
    run(seeded.bare(tmp_path / "m"), "topics", code=5)
