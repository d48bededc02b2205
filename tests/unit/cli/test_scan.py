"""`kferry scan`: what it asks of the engine, and what it shows of kept scans."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from kferry.cli.commands.scan import _newest
from kferry.cli.main import app
from kferry.domain.clean_up import DAY_MS
from kferry.domain.model import GroupState, Role, Scan
from kferry.store import codec, scan_files
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.rules_file import load_rules
from support.fake_engine import FakeEngine
from support.scans import NOW_MS, group, scan, topic

Run = Callable[..., Result]
HOSTILE = "[/]\x1b[31m‮ ../ g"


@pytest.fixture
def run(layout: Layout) -> Run:
    return lambda *words: CliRunner().invoke(app, ["-C", str(layout.root), *words], prog_name="kferry")


def keep(layout: Layout, scan_id: str, minutes: int, *topics: Any, groups: tuple[Any, ...] = ()) -> Scan:
    made = replace(scan(topics, groups), scan_id=scan_id, taken_at_ms=NOW_MS + minutes * 60_000)
    scan_files.keep(layout, Role.SOURCE, made)
    return made


@pytest.mark.parametrize(
    ("words", "args"),
    [
        ((), {}),
        (("--resume",), {"resume": True}),
        (("--role", "target"), {"role": "target"}),
        (("run", "--role", "source", "--resume"), {"role": "source", "resume": True}),
    ],
)
def test_what_is_asked_of_the_engine(
    run: Run, engine: FakeEngine, words: tuple[str, ...], args: dict[str, Any]
) -> None:
    asked: list[dict[str, Any]] = []

    def answer(given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        asked.append(given)
        return "accepted", {"operation_id": "op-1"}

    engine.on("scan", answer)
    result = run("scan", *words, "--no-wait", "-o", "json")
    assert result.exit_code == 0, result.stderr
    assert asked == [args]


def test_kept_scans_are_listed_the_newest_first(run: Run, layout: Layout) -> None:
    assert "No scan is kept yet" in run("scan", "list").stderr
    keep(layout, "aaa", 0, topic("a"))
    keep(layout, "bbb", 1, topic("a"))
    rows = json.loads(run("scan", "list", "-o", "json").stdout)
    assert [(row["number"], row["scan_id"], row["role"]) for row in rows] == [
        (1, "bbb", "source"),
        (2, "aaa", "source"),
    ]


@pytest.mark.thorough
def test_the_difference_of_the_last_two_and_of_those_that_are_named(run: Run, layout: Layout) -> None:
    result = run("scan", "diff")
    assert result.exit_code != 0
    assert "There is nothing to compare: 0 scan" in result.stderr
    keep(layout, "aaa", 0, topic("same", topic_id="one"), topic("gone"))
    keep(layout, "bbb", 1, topic("same", topic_id="two"))
    keep(layout, "ccc", 2, topic("same", topic_id="two"), topic(HOSTILE))
    last = json.loads(run("scan", "diff", "-o", "json").stdout)
    assert (last["before_id"], last["after_id"]) == ("bbb", "ccc")
    assert (last["topics_appeared"], last["topics_recreated"]) == ([HOSTILE], [])
    for words in (("aaa", "bbb"), ("bbb", "aaa"), ("3", "2")):
        named = json.loads(run("scan", "diff", *words, "-o", "json").stdout)
        assert (named["before_id"], named["after_id"]) == ("aaa", "bbb")
        assert (named["topics_recreated"], named["topics_vanished"]) == (["same"], ["gone"])
    table = run("scan", "diff", "aaa")
    assert "made anew" in table.stdout and "gone" in table.stdout
    assert "\x1b" not in table.stdout and "‮" not in table.stdout
    unknown = run("scan", "diff", "zzz")
    assert unknown.exit_code == 2
    assert "kferry scan list" in unknown.stderr


def test_the_newest_record_is_claimed_only_of_partitions_that_were_looked_into() -> None:
    assert _newest(topic("whole", 12)) == "2027-01-15 07:59:59Z"
    assert _newest(topic("wide", 12, sampled_partitions=8)) == (
        "2027-01-15 07:59:59Z or later (of 8 of 12 partitions, the fullest)"
    )
    assert _newest(topic("kept long ago", 12, sampled_partitions=None)).endswith("or later (not of all partitions)")
    assert _newest(topic("unknown", 12, sampled_partitions=0, last_timestamp_ms=None)) == "–"


def test_what_is_unused_is_listed_and_left_out_by_a_rule(run: Run, layout: Layout) -> None:
    assert "was not scanned yet" in run("scan", "unused").stderr
    idle = topic("idle", last_timestamp_ms=1, records_per_second=0.0)
    dead = group(HOSTILE, members=0, state=GroupState.EMPTY)
    made = scan([idle, topic("used")], [dead, group("reader", ["used"])])
    Journal(layout.journal).put_document("scan", "source", codec.dump(made))
    found = json.loads(run("scan", "unused", "-o", "json").stdout)
    assert [(item["what"], item["name"]) for item in found["found"]] == [("topic", "idle"), ("group", HOSTILE)]
    assert found["found"][0]["idle_ms"] > 7 * DAY_MS

    dry = run("scan", "unused", "--leave-out", "--dry-run")
    assert dry.exit_code == 0, dry.stderr
    assert "2 would be left out" in dry.stderr
    assert load_rules(layout).leave_out == ()
    done = run("scan", "unused", "--leave-out")
    assert done.exit_code == 0, done.stderr
    rules = load_rules(layout)
    assert rules.leaves_out_topic("idle") is not None
    assert rules.leaves_out_group(HOSTILE) is not None
    assert rules.leaves_out_topic("used") is None
    assert "0 are left out by a rule in rules.yml, 2 were already" in run("scan", "unused", "--leave-out").stderr
    assert run("--read-only", "scan", "unused", "--leave-out").exit_code == 2
