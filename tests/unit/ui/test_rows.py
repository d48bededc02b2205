"""Rows and lines: pure functions from views to cells."""

from __future__ import annotations

from dataclasses import replace

from kferry.store.views import PartitionView, RunStepView, TaskView
from kferry.ui.cells import content, line, plain
from kferry.ui.rows import common, cutover, tasks, work
from kferry.ui.task_acts import parse_update

NOW = 1_000_000_000

TASK = TaskView(
    name="shop", batch="shop", desired="running", state="Running", state_reason="copied offsets advance",
    phase="replicating", topics=("a",), groups=(), frozen_groups=(), workers=(), connectors=(), lag_records=None,
    records_per_second=None, bytes_per_second=None, ingress_records_per_second=None, done_ratio=None,
    eta_seconds=None, eta_text="unknown", seconds_since_data_moved=None, measured_at_ms=NOW - 3000, alarms=(),
    operation_id=None,
)  # fmt: skip


def part(partition: int, lag: int | None, alarm: str = "") -> PartitionView:
    return PartitionView("t", partition, 0, 10, 10, None if lag is None else 9 - lag, lag, None, alarm)


def test_unknown_is_never_zero() -> None:
    (row,) = tasks.task_rows([TASK], NOW, True)
    texts = [cell.text for cell in row.cells]
    assert "0" not in texts
    assert texts[2:6] == ["–", "–", "–", "–"]


def test_old_figures_and_those_without_an_engine_are_said_to_be_stale() -> None:
    assert common.age(NOW - 3000, NOW).text == "3 s ago"
    assert common.age(NOW - 3000, NOW, alive=False).text == "3 s ago, stale"
    assert common.age(NOW - common.STALE_AFTER_MS - 1000, NOW).text == "21 s ago, stale"
    assert common.age(None, NOW).text == "never measured"


def test_every_state_has_a_symbol_and_its_word() -> None:
    for word in ("Running", "Service Exception", "needs operator", "switched", "block", "FAILED"):
        cell = common.state(word)
        assert cell.text.endswith(word)
        assert len(cell.text) > len(word) + 1
    assert common.state(None).text == "? unknown"
    assert common.state("made up").text == "? made up"


def test_partitions_in_trouble_come_first_then_unknown_then_the_furthest_behind() -> None:
    rows = tasks.partition_rows([part(0, 1), part(1, 5), part(2, None), part(3, 0, "retention is near")], False)
    assert [row.cells[1].text for row in rows] == ["3", "2", "1", "0"]


def test_a_play_is_a_tree_with_the_message_of_its_failure() -> None:
    def step(seq: int, kind: str, **more: str) -> RunStepView:
        fields = {"play": "Workers", "role": "java", "step": "Find a Java", "host": "", "message": "", "diff": ""}
        return RunStepView(seq=seq, at_ms=0, kind=kind, **{**fields, **more})

    text = plain(work.run_tree([step(1, "step"), step(2, "failed", host="h1", message="no Java\nin /opt")]))
    assert text.splitlines() == [
        "▾ Workers",
        "  java",
        "    Find a Java",
        "      ✗ failed  h1  ",
        "        no Java",
        "        in /opt",
    ]


def test_before_the_producers_stop_data_is_safe_and_the_way_back_is_named() -> None:
    operation = cutover.runbook_view("shop")
    begun = {"ready", "stop_consumers", "copied_past_commits", "freeze_groups"}
    steps = tuple(replace(step, status="done" if step.name in begun else "pending") for step in operation.steps)
    running = replace(operation, status="running", steps=steps)
    text = plain(cutover.head_lines(running, "wait", has_begun=True))
    assert "✓ yes: the source still takes every record" in text
    assert "the checkpoint connector runs again; owners start the consumers on the source again" in text
    assert work.has_passed_no_return(running) is False


def test_after_the_irreversible_step_there_is_no_way_back() -> None:
    operation = cutover.runbook_view("shop")
    at = next(at for at, step in enumerate(operation.steps) if step.irreversible)
    steps = tuple(
        replace(step, status="done" if number <= at else "pending") for number, step in enumerate(operation.steps)
    )
    text = plain(cutover.head_lines(replace(operation, status="running", steps=steps), "wait", has_begun=True))
    assert "◆ passed" in text
    assert "none from here" in text


def test_a_comparison_that_failed_is_not_called_safe() -> None:
    operation = cutover.runbook_view("shop")
    steps = tuple(replace(step, status="failed" if step.name == "certify" else "done") for step in operation.steps)
    text = plain(cutover.head_lines(replace(operation, status="needs operator", steps=steps), "wait", has_begun=True))
    assert "? not proven" in text
    assert "✓ yes" not in text


def test_cells_are_taken_literally() -> None:
    made = content([line("[b]x[/b] \x1b[31m")])
    assert made.plain == "[b]x[/b] \\x1b[31m"
    assert not made.spans


def test_update_words_are_read_or_refused() -> None:
    assert parse_update("+a -b +group:g") == {
        "add_topics": ["a"],
        "remove_topics": ["b"],
        "add_groups": ["g"],
        "remove_groups": [],
    }
    assert isinstance(parse_update("a"), str)
    assert isinstance(parse_update("+"), str)
    assert isinstance(parse_update(""), str)
