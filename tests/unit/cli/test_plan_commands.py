"""`kferry plan`: shown, explained, checked, edited, undone and exported without an engine."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kferry.cli.main import app
from kferry.client import plan_export
from kferry.domain.applications import ApplicationClass
from kferry.domain.model import GroupKind, Scan, TransactionalId
from kferry.domain.planning import PlanningRules, plan_batches
from kferry.domain.planning.rules import BusinessSystem
from kferry.store import codec
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.plan_file import load_plan, write_plan
from kferry.store.rules_file import load_rules, write_rules
from kferry.store.tables import BatchRow, Sample, TaskRow
from support.scans import group, scan, topic

pytestmark = pytest.mark.thorough

Run = Callable[..., Result]
EVIL = "=cmd|' /C calc'!A1"
MARKUP = "[bold red]\x1b[31mx\u202e|y"


def source(*more: str) -> Scan:
    names = [f"{system}.{name}" for system in ("shop", "iot", "hr") for name in ("a", "b")]
    return scan(
        [*(topic(name, 4, end=1_000_000) for name in names), *(topic(name) for name in more), topic("__internal")],
        [
            group("shop-app", ["shop.a", "shop.b"]),
            group("iot-app", ["iot.a", "iot.b"]),
            group("hr-sync", ["hr.a"], members=0),
            group("connect-s3", ["iot.a"], kind=GroupKind.CONNECT),
            group(EVIL, ["hr.b"]),
            group(MARKUP, ["hr.b"]),
        ],
        transactional_ids=[TransactionalId("shop-app-1", frozenset({"shop.b"}))],
    )


@pytest.fixture
def run(layout: Layout) -> Run:
    def call(*words: str) -> Result:
        return CliRunner().invoke(app, ["-C", str(layout.root), "--no-start", "plan", *words])

    return call


def put_scan(layout: Layout, found: Scan) -> None:
    journal = Journal(layout.journal)
    journal.put_document("scan", "source", codec.dump(found))
    journal.close()


@pytest.fixture(autouse=True)
def planned(layout: Layout) -> None:
    put_scan(layout, source())
    write_plan(layout, plan_batches(source()), what="planned")


def batches(run: Run) -> dict[str, dict[str, object]]:
    return {one["name"]: one for one in json.loads(run("show", "-o", "json").stdout)["batches"]}


def test_show_tells_everything_of_one_batch(run: Run) -> None:
    assert batches(run)["shop"]["estimate"]
    found = json.loads(run("show", "shop", "-o", "json").stdout)
    assert found["cutover"] == "stop-drain-switch"
    assert found["estimate"]["partitions"] == 8
    assert found["estimate"]["hours_by_workers"]["1"] > 0
    text = run("show", "shop").stdout
    assert "Warning: shop-app (read-process-write)" in text
    assert "group shop-app: read-process-write, repeats 0" in text
    assert "There are: " in run("show", "nothing").stderr


def test_explain_says_why(run: Run) -> None:
    text = run("explain", "shop.a").stdout
    assert "Group shop-app reads shop.a and shop.b, so they move together." in text
    assert "It is in batch shop, number" in text
    data = json.loads(run("explain", "shop-app", "-o", "json").stdout)
    assert data["moves_with"]["topics"] == ["shop.a", "shop.b"]
    assert data["applications"][0]["class"] == "read-process-write"
    assert "stays behind: " in run("explain", "__internal").stdout
    wrong = run("explain", "shop.aa")
    assert wrong.exit_code == 2
    assert "Did you mean 'shop.a'?" in wrong.stderr


def test_edits_and_undo(run: Run, layout: Layout) -> None:
    before = layout.plan.read_bytes()
    assert run("check").exit_code == 0
    split = run("split", "shop", "shop.b", "--to", "pay")
    assert split.exit_code == 0
    assert "Group shop-app moves in batch shop, but it also reads shop.b (batch pay)." in split.stderr
    assert run("check").exit_code == 5
    merged = run("merge", "shop", "pay")
    assert "It mends" in merged.stderr
    assert run("check").exit_code == 0
    assert run("pin", "shop").exit_code == 0
    assert batches(run)["shop"]["pinned"] is True
    assert run("pin", "shop", "--off").exit_code == 0
    assert run("canary", "iot").exit_code == 0
    assert next(iter(batches(run))) == "iot"
    assert run("rename", "iot", "things").exit_code == 0
    assert run("note", "things", "ask Ann").exit_code == 0
    assert run("order", "shop").exit_code == 0
    assert run("drop", "hr.a", "--why", "an archive").exit_code == 0
    assert load_plan(layout).left_out["hr.a"] == "left out by the operator: an archive"
    for _ in range(9):
        assert run("undo").exit_code == 0
    assert layout.plan.read_bytes() == before
    assert run("undo").exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("move", "hr.a", "--to", "shop"),
        ("drop", "hr.a"),
        ("split", "shop", "shop.b"),
        ("merge", "shop", "iot"),
        ("pin", "shop"),
        ("canary", "shop"),
        ("rename", "shop", "x"),
        ("order", "shop"),
        ("note", "shop", "x"),
        ("cut", "shop-app"),
        ("class", "shop-app", "streams"),
        ("newcomers", "--apply"),
    ],
)
def test_a_dry_run_changes_nothing(run: Run, layout: Layout, words: tuple[str, ...]) -> None:
    put_scan(layout, source("shop.c"))
    before = layout.plan.read_bytes()
    result = run(*words, "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "Would be done" in result.stderr
    assert layout.plan.read_bytes() == before
    assert not layout.rules.exists()
    assert run(*words, "--read-only").exit_code == 2


def test_a_batch_that_has_begun_is_not_edited(run: Run, layout: Layout) -> None:
    journal = Journal(layout.journal)
    with journal.transaction() as session:
        session.add(BatchRow(name="shop", phase="replicating", updated_at_ms=1))
    journal.close()
    before = layout.plan.read_bytes()
    for words in (("split", "shop", "shop.b"), ("merge", "iot", "shop"), ("drop", "shop.a"), ("rename", "shop", "x")):
        result = run(*words)
        assert result.exit_code == 5, words
        assert "the plan no longer decides" in result.stderr
    assert layout.plan.read_bytes() == before
    assert run("order", "shop").exit_code == 0


def test_a_split_takes_along_the_groups_that_read_nothing_else(run: Run) -> None:
    assert run("split", "iot", "iot.a").exit_code == 0
    assert batches(run)["iot-2"]["groups"] == ["connect-s3"]


def test_newcomers_are_shown_and_placed(run: Run, layout: Layout) -> None:
    put_scan(layout, source("shop.c", "zoo.x"))
    found = {one["name"]: one for one in json.loads(run("newcomers", "-o", "json").stdout)}
    assert (found["shop.c"]["batch"], found["zoo.x"]["is_new_batch"]) == ("shop", True)
    assert "shop.c" not in batches(run)["shop"]["topics"]  # type: ignore[operator]
    assert run("newcomers", "--apply").exit_code == 0
    assert "shop.c" in load_plan(layout).batch("shop").topics  # type: ignore[union-attr]
    assert run("check").exit_code == 0
    assert json.loads(run("newcomers", "-o", "json").stdout) == []


def test_cutting_says_what_it_means_and_can_be_taken_back(run: Run, layout: Layout) -> None:
    names = [one.name for one in source().topics if not one.name.startswith("__")]
    glued = replace(source(), groups=(*source().groups, group("archive", names)))
    put_scan(layout, glued)
    assert [one["name"] for one in json.loads(run("bridges", "-o", "json").stdout)] == ["archive"]
    done = run("cut", "archive", "--why", "for the auditors")
    assert "could move at different times" in done.stderr
    assert "Planning again makes" in done.stderr
    assert load_rules(layout).cut("archive").why == "for the auditors"  # type: ignore[union-attr]
    assert run("bridges", "-o", "json").stdout.strip() == "[]"
    assert "cut it" in run("explain", "archive").stdout
    assert run("uncut", "archive").exit_code == 0
    assert run("uncut", "archive").exit_code == 2
    assert run("cut", "nobody").exit_code == 2
    assert "can't be cut" in run("cut", "shop-app-1").stderr


def test_the_class_of_an_application_is_the_operators(run: Run, layout: Layout) -> None:
    assert run("class", "hr-sync", "read_process_write").exit_code == 0
    assert run("class", "hr-sync", "flink or spark").exit_code == 0
    assert [(one.name, one.class_) for one in load_rules(layout).applications] == [
        ("hr-sync", ApplicationClass.FLINK_OR_SPARK)
    ]
    found = {one["name"]: one for one in json.loads(run("applications", "-o", "json").stdout)}
    assert found["hr-sync"]["set_by_operator"] is True
    assert found["hr-sync"]["cutover"] == "stop-drain-switch"
    assert "Classes: " in run("class", "hr-sync", "nonsense").stderr


def test_export_to_files_by_their_names(run: Run, tmp_path: Path) -> None:
    for name, start in (
        ("plan.md", "# Plan of the migration demo"),
        ("plan.json", "{"),
        ("plan.csv", "position,batch"),
    ):
        assert run("export", "--to", str(tmp_path / name)).exit_code == 0
        assert (tmp_path / name).read_text().startswith(start)
    assert run("export", "--format", "csv").stdout.startswith("position,")
    assert json.loads(run("export", "-o", "json").stdout)["batches"]
    assert run("export", "--format", "xls").exit_code == 2


def test_no_export_runs_in_a_spreadsheet_or_draws_on_a_terminal(run: Run, layout: Layout) -> None:
    write_rules(layout, PlanningRules(systems=(BusinessSystem("hr", ("hr.*",), owner="@SUM(1+1)", tags=("-2+3",)),)))
    rows = list(csv.DictReader(io.StringIO(run("export", "--format", "csv").stdout)))
    (evil,) = [row for row in rows if "calc" in row["name"]]
    assert evil["name"] == f"'{EVIL}"
    assert evil["expected repeats"] == "0"
    (owned,) = [row for row in rows if row["name"] == "hr.b"]
    assert (owned["owner"], owned["tags"]) == ("'@SUM(1+1)", "'-2+3")
    for form in ("md", "csv"):
        text = run("export", "--format", form).stdout
        assert "\x1b" not in text
        assert "\u202e" not in text
    markdown = run("export", "--format", "md").stdout
    assert "\\[bold red\\]" in markdown
    assert "\\|y" in markdown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@x", "'@x"), ("  =1", "'  =1"), ("\t=1", "'\\x09=1"),
        ("shop.a", "shop.a"), (None, ""), (-5, -5), (1.5, 1.5), ("a=b", "a=b"), ("", ""),
    ],
)  # fmt: skip
def test_cells(value: object, expected: object) -> None:
    assert plan_export.cell(value) == expected


def test_the_speed_is_that_of_the_tasks_of_this_migration(run: Run, layout: Layout) -> None:
    journal = Journal(layout.journal)
    spec = {"workers": [{}, {}]}
    journal.put_task(
        TaskRow(
            name="iot",
            batch="iot",
            incarnation=1,
            spec=json.dumps(spec),
            state="Running",
            created_at_ms=1,
            updated_at_ms=1,
        )
    )
    for number in range(5):
        journal.add_sample(
            Sample(task="iot", at_ms=number, lag_records=10**7, records_per_second=1000.0, bytes_per_second=84e6)
        )
    journal.close()
    assert json.loads(run("export", "-o", "json").stdout)["rates"] == "42 MB/s a worker, measured in iot"


def test_without_a_scan_nothing_is_made_up(run: Run, layout: Layout) -> None:
    journal = Journal(layout.journal)
    with journal.transaction() as session:
        from sqlalchemy import text

        session.connection().execute(text("delete from document"))
    journal.close()
    body = json.loads(run("export", "-o", "json").stdout)
    assert body["violations"] is None
    assert body["batches"][0]["estimate"] is None
    assert "The source was not scanned" in run("export").stdout
    assert run("check").exit_code == 5
    assert "unknown" in run("move", "hr.a", "--to", "shop").stderr


def test_the_editor_is_checked_before_its_file_counts(
    run: Run, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = layout.plan.read_bytes()
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "sed -i s/shop.b/shop.z/")
    done = run("edit")
    assert done.exit_code == 0, done.stderr
    assert "shop.z is in batch shop, but the source no longer has it." in done.stderr
    assert b"shop.z" in layout.plan.read_bytes()
    assert run("undo").exit_code == 0
    assert layout.plan.read_bytes() == before
    monkeypatch.setenv("EDITOR", "sed -i s/batches:/batch:/")
    refused = run("edit")
    assert refused.exit_code == 2
    assert "Did you mean 'batches'?" in refused.stderr
    assert "plan-refused.yml" in refused.stderr
    assert layout.plan.read_bytes() == before
    monkeypatch.setenv("EDITOR", "true")
    assert "was not changed" in run("edit").stderr
    monkeypatch.setenv("EDITOR", "/no/such/editor")
    assert "can't be started" in run("edit").stderr
