"""A play told host by host: who is at work, who failed, who was caught, and what comes next."""

from __future__ import annotations

from pathlib import Path

import pytest

from kferry.client import play
from kferry.store.views import OperationView, RunStepView, RunView, StepView

Event = tuple[str, str, str]  # kind, host, message; a step's title is its message


def view(status: str = "running", step: str = "scale", run_id: str = "r1") -> RunView:
    return RunView(run_id, "scale.yml", "op-1", step, status, 0, None, None, None, "")


def events(*rows: Event) -> list[RunStepView]:
    title = ""
    found = []
    for seq, (kind, host, message) in enumerate(rows, 1):
        if kind == "step":
            title, message = message, ""
        found.append(RunStepView(seq, seq * 1000, kind, "Workers", "role", title, host, message))
    return found


def states(rows: list[RunStepView], status: str = "running") -> dict[str, str]:
    return {host.host: host.state for host in play.hosts_of(rows, view(status))}


def test_a_host_is_at_work_until_its_outcome() -> None:
    rows = events(("play", "", ""), ("step", "", "one"), ("ok", "a", ""), ("ok", "b", ""), ("step", "", "two"))
    assert states(rows) == {"a": "working", "b": "working"}
    rows += [RunStepView(9, 9000, "changed", "Workers", "role", "two", "a", "")]
    found = {host.host: host for host in play.hosts_of(rows, view())}
    assert (found["a"].state, found["a"].ok, found["a"].changed) == ("waiting", 1, 1)
    assert found["b"].step_seconds(12_000) == 7.0
    assert found["a"].step_seconds(12_000) is None
    assert found["a"].seconds(60_000) == 7.0, "from the step it began with to its last outcome"


def test_a_failed_host_is_out_though_the_play_goes_on() -> None:
    rows = events(
        ("play", "", ""), ("step", "", "one"), ("ok", "a", ""), ("failed", "b", "No room."),
        ("unreachable", "c", "No route."), ("step", "", "two"),
    )  # fmt: skip
    assert states(rows) == {"b": "failed", "c": "unreachable", "a": "working"}
    hosts = play.hosts_of(rows, view())
    assert [host.host for host in hosts] == ["b", "c", "a"], "what failed comes first"
    failure = play.last_failure(hosts)
    assert failure is not None and failure.message == "No route."


def test_a_failure_that_the_play_caught_is_told_apart() -> None:
    rows = events(("play", "", ""), ("step", "", "one"), ("failed", "a", "x"), ("step", "", "rescue"), ("ok", "a", ""))
    assert states(rows) == {"a": "went on"}
    assert states(rows, "successful") == {"a": "went on"}


def test_hosts_of_another_batch_wait() -> None:
    rows = events(
        ("play", "", ""), ("step", "", "one"), ("ok", "a", ""), ("play", "", ""), ("step", "", "one"), ("ok", "b", ""),
        ("step", "", "two"),
    )  # fmt: skip
    assert states(rows) == {"a": "waiting", "b": "working"}


@pytest.mark.parametrize(("status", "wanted"), [("successful", "done"), ("failed", "done"), ("lost", "ended")])
def test_when_a_play_is_over_nobody_works(status: str, wanted: str) -> None:
    rows = events(("play", "", ""), ("step", "", "one"), ("ok", "a", ""), ("step", "", "two"))
    assert states(rows, status) == {"a": wanted}


def test_retries_are_counted_and_are_no_outcome() -> None:
    rows = events(("play", "", ""), ("step", "", "one"), ("retry", "a", "not yet"), ("retry", "a", "not yet"))
    [host] = play.hosts_of(rows, view())
    assert (host.state, host.retries, host.ok) == ("working", 2, 0)
    assert host.step_seconds(10_000) == 8.0


def operation(status: str, *, error: dict[str, str] | None = None, runs: tuple[str, ...] = ("r1",)) -> OperationView:
    def step(name: str, state: str, title: str) -> StepView:
        told = error if name == "scale" else None
        return StepView(name, "act", title, "", "", "", False, state, 1, None, None, {}, told)

    steps = (
        step("assign", "done", "Assign"),
        step("scale", "running", "Scale"),
        step("moving", "pending", "See it move"),
    )
    return OperationView("op-1", "scale_task", "Scale", "shop", {}, status, 0, 0, steps, None, runs)


def test_what_comes_next() -> None:
    assert play.next_words(view(), operation("running")) == "then: see it move"
    told = {"title": "No room.", "next_step": "Make room, then try again."}
    assert play.next_words(view("failed"), operation("needs operator", error=told)) == "Make room, then try again."
    assert "r2" in play.next_words(view("failed"), operation("running", runs=("r1", "r2")))
    assert play.next_words(view("successful"), operation("done")) == "nothing: the operation is done"
    assert play.next_words(view(step="moving"), operation("running")) == "then the operation is over"


def test_only_the_end_of_a_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    log.write_bytes(b"first line\n" + b"x" * 200 * 1024 + b"\n\x1b[0;31mfatal: \x1b]52;c;YQ==\x07\xff\x1b[0m\n")
    lines, why = play.log_tail(str(log))
    assert lines == ["fatal: \x1b]52;c;YQ==\x07\ufffd"]
    assert why == ""
    log.write_text("".join(f"{number}\n" for number in range(5000)))
    lines, _ = play.log_tail(str(log))
    assert len(lines) == play.TAIL_LINES
    assert lines[-1] == "4999"


def test_a_log_that_is_not_there_or_empty_says_so(tmp_path: Path) -> None:
    assert play.log_tail(str(tmp_path / "none")) == ([], "There is no log yet.")
    (tmp_path / "log").touch()
    assert play.log_tail(str(tmp_path / "log")) == ([], "The log is empty.")
    assert play.log_tail(str(tmp_path))[1].startswith("The log cannot be read")
