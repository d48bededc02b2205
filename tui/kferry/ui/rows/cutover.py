"""A cutover as its head shows it: is data safe, what is next, where is no return, what is the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kferry.client import formats
from kferry.domain.runbook import OperationKind
from kferry.domain.runbooks import runbook_of
from kferry.store.views import OperationView, RunbookView, StepView, TaskView
from kferry.ui.bindings import first_key
from kferry.ui.cells import Cell, Line, line
from kferry.ui.rows.work import current_step, has_passed_no_return, way_back

_URGENCY = {"needs operator": 0, "aborting": 1, "running": 2, "failed": 3, "aborted": 4}


def most_urgent(names: Sequence[str], newest: Mapping[str, OperationView]) -> str | None:
    """The batch to show first: one that needs the operator, one under way, else the next that isn't switched."""
    begun = [name for name in names if name in newest and newest[name].status in _URGENCY]
    if begun:
        return min(begun, key=lambda name: (_URGENCY[newest[name].status], names.index(name)))
    waiting = [name for name in names if name not in newest]
    return waiting[0] if waiting else (names[-1] if names else None)


def runbook_view(batch: str, chosen: RunbookView = RunbookView()) -> OperationView:  # noqa: B008 - it is frozen
    """The steps of a cutover that has not begun, by the runbook that it would choose."""
    args = {"runbook": chosen.variant, "runbook_words": [*chosen.words, *chosen.warnings]}
    runbook = runbook_of(OperationKind.CUTOVER, args)
    steps = tuple(
        StepView(
            name=step.name,
            kind=step.kind.value,
            title=step.title,
            gate=step.gate,
            way_back=step.way_back,
            hook=step.hook,
            irreversible=step.irreversible,
            status="pending",
            attempt=0,
            started_at_ms=None,
            finished_at_ms=None,
            evidence={},
            error=None,
        )
        for step in runbook.steps
    )
    return OperationView("", "cutover", runbook.title, batch, args, "pending", 0, 0, steps, None)


def runbook_lines(operation: OperationView) -> list[Line]:
    """Which runbook it is and why, then what its owners have to know."""
    words: Sequence[str] = operation.args.get("runbook_words") or ()
    heads = ("runbook        ", *[" " * 15] * len(words))
    return [
        line(Cell(head, "dim"), Cell(one, "" if number == 0 else "warn"))
        for number, (head, one) in enumerate(zip(heads, words, strict=False))
    ]


def next_words(operation: OperationView, task: TaskView | None) -> str:
    """What the operator does now, or waits for, as one sentence with its key."""
    if operation.status == "pending":
        if task is None:
            return "the batch has no migration task yet: create it on the Plan (5)"
        lag = formats.records(task.lag_records, formats.UNKNOWN)
        return f"{first_key('start_cutover')} starts the switch; the lag is {lag} records"
    if operation.status == "done":
        return f"nothing: the batch is switched; {first_key('report')} shows the certificate"
    if operation.status == "aborted":
        return f"the cutover was aborted; {first_key('start_cutover')} starts a new one"
    if operation.status == "failed":
        return (operation.error or {}).get("next_step") or f"mend it, then {first_key('start_cutover')} starts anew"
    if operation.status == "aborting":
        return "wait: kferry goes back step by step"
    step = current_step(operation)
    return _step_words(step) if step else "wait: the last step is being written down"


def _step_words(step: StepView) -> str:
    if step.kind == "decide" and step.status != "pending":
        return f"{first_key('answer')} answers: {step.title.lower()}"
    if step.kind == "owner":
        hook = f"; {first_key('run_hook')} runs their hook" if step.hook else ""
        return f"{step.title[0].lower()}{step.title[1:]}{hook}"
    if step.status in ("needs operator", "failed"):
        what = (step.error or {}).get("next_step") or "look at the evidence"
        return f"{what.rstrip('.')}; {first_key('retry')} tries again, {first_key('abort')} goes back"
    if step.kind == "gate":
        return f"wait until {step.gate}"
    return f"wait: {step.title[0].lower()}{step.title[1:]}"


def head_lines(operation: OperationView, words: str, *, has_begun: bool) -> list[Line]:
    """The four questions of the night, answered."""
    passed = has_passed_no_return(operation) if has_begun else False
    last = next((step.title for step in operation.steps if step.irreversible), "")
    ahead = f"◆ ahead: when {last[:1].lower()}{last[1:]}" if last else formats.DASH
    return [
        line(Cell("is data safe?  ", "dim"), _data_verdict(operation, passed)),
        line(Cell("next           ", "dim"), Cell(words, "strong")),
        line(
            Cell("no return      ", "dim"),
            Cell("◆ passed", "warn") if passed else Cell(ahead, "ok"),
        ),
        line(Cell("way back       ", "dim"), _way_back(operation, passed)),
    ]


def _way_back(operation: OperationView, passed: bool | None) -> Cell:
    if operation.status == "done":
        return Cell("the switch is over", "dim")
    if operation.status == "aborted":
        return Cell("gone: the source is in charge again", "dim")
    if passed:
        return Cell("none from here: the point of no return is passed; go forward", "warn")
    back = way_back(operation)
    return Cell("; ".join(back) if back else "nothing was changed yet: an abort leaves all as it is")


def _data_verdict(operation: OperationView, passed: bool | None) -> Cell:
    certify = _status(operation, "certify")
    if operation.status == "done":
        return Cell("✓ yes: both ends were compared, see the certificate", "ok")
    if operation.status == "aborted" and not passed:
        return Cell("✓ yes: the source is in charge, and nothing was taken from it", "ok")
    if certify in ("failed", "needs operator"):
        return Cell("? not proven: the comparison did not pass; the source still holds its records", "bad")
    if certify == "done":
        return Cell("✓ yes: both ends were compared", "ok")
    if passed:
        return Cell("? not proven yet: the source holds its records until both ends are compared", "warn")
    if _status(operation, "stop_producers") in ("pending", ""):
        return Cell("✓ yes: the source still takes every record", "ok")
    return Cell("✓ yes: the source holds every record", "ok")


def _status(operation: OperationView, name: str) -> str:
    return next((step.status for step in operation.steps if step.name == name), "")
