"""Every step of every runbook is carried out by something, and the runner looks before it acts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kferry.domain import machine
from kferry.domain.runbook import OperationKind
from kferry.engine import operations  # noqa: F401 - registers the steps
from kferry.engine.runner import StepRun
from kferry.engine.steps import STEPS, Check, Question, Step, all_places

PLACE = (OperationKind.UPDATE_TASK, "apply")


class FakeContext:
    """What a runner needs of a context."""

    def __init__(self, tmp_path: Path, place: tuple[OperationKind, str]) -> None:
        self.operation_id, self.step = "op", place[1]
        self.operation = machine.step({}, machine.OperationAsked("op", place[0], "t"))[0]["op"]
        self.cancelled = threading.Event()
        self.notes: dict[str, Any] = {}

        class Layout:
            engine_log = tmp_path / "engine.log"

        self.layout = Layout

    def close(self) -> None: ...

    def raise_if_cancelled(self) -> None: ...

    def pause(self, _seconds: float) -> None: ...


def run(step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, undo: bool = False) -> list[machine.Event]:
    monkeypatch.setitem(STEPS, PLACE, step)
    said: list[machine.Event] = []
    StepRun(FakeContext(tmp_path, PLACE), said.append, undo=undo, after=None).run()  # type: ignore[arg-type]
    return said


class Scripted(Step):
    """Checks answer one after the other."""

    def __init__(self, *answers: bool | Question) -> None:
        self.answers, self.acted = list(answers), 0

    def act(self, _ctx: object) -> None:  # type: ignore[override]
        self.acted += 1

    def check(self, _ctx: object) -> Check | Question:  # type: ignore[override]
        answer = self.answers.pop(0)
        return answer if isinstance(answer, Question) else Check(answer, {"left": len(self.answers)})

    def undo(self, _ctx: object) -> Mapping[str, Any]:  # type: ignore[override]
        return {"undone": True}


def test_every_step_of_every_runbook_is_registered_and_nothing_else() -> None:
    assert set(STEPS) == set(all_places())


def test_what_holds_already_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Scripted(True, True)
    said = run(step, tmp_path, monkeypatch)
    assert step.acted == 0
    assert [type(event).__name__ for event in said] == ["StepBegun", "StepVerified"]


def test_a_step_acts_and_waits_until_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Scripted(False, False, True)
    said = run(step, tmp_path, monkeypatch)
    assert step.acted == 1
    assert [type(event).__name__ for event in said] == ["StepBegun", "StepActed", "StepMeasured", "StepVerified"]


def test_a_question_goes_to_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = run(Scripted(True, Question("Which?", "Say so.")), tmp_path, monkeypatch)
    assert isinstance(said[-1], machine.StepAsks) and said[-1].error["title"] == "Which?"


def test_an_unforeseen_error_is_a_sentence_with_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Step):
        def check(self, _ctx: object) -> Check:  # type: ignore[override]
            raise ZeroDivisionError("boom")

    said = run(Broken(), tmp_path, monkeypatch)
    assert isinstance(said[-1], machine.StepFailed)
    assert "boom" in said[-1].error["title"] and said[-1].error["log"].endswith("engine.log")


def test_undo_speaks_of_undoing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(Scripted(), tmp_path, monkeypatch, undo=True) == [machine.StepUndone("op", "apply", {"undone": True})]


def test_what_was_seen_before_a_hook_is_saved_before_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was running is known only before consumers are stopped; losing it would leave them stopped."""
    place = (OperationKind.CUTOVER, "stop_consumers")
    said: list[machine.Event] = []

    class Owners(Step):
        ran = False

        def will_act(self, _ctx: object) -> bool:  # type: ignore[override]
            return not self.ran

        def act(self, _ctx: object) -> None:  # type: ignore[override]
            assert said[-1] == machine.StepMeasured("op", "stop_consumers", {"had_members": ["billing"]})
            self.ran = True

        def check(self, _ctx: object) -> Check:  # type: ignore[override]
            return Check(self.ran, {"had_members": [] if self.ran else ["billing"]})

    monkeypatch.setitem(STEPS, place, Owners())
    StepRun(FakeContext(tmp_path, place), said.append, undo=False, after=None).run()  # type: ignore[arg-type]
    assert isinstance(said[-1], machine.StepVerified)
