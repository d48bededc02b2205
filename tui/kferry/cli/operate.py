"""Asking the engine for an operation, following it on stderr, and ending with its result as the exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from kferry.cli import output
from kferry.cli.scan_line import ScanLine
from kferry.cli.state import State
from kferry.client import diagnostics, formats
from kferry.client.answers import Answers, current_step
from kferry.client.exit_codes import ExitCode, of_kind_name
from kferry.client.own_command import attach_command
from kferry.client.sanitize import clean
from kferry.domain.errors import KferryError

if TYPE_CHECKING:
    from kferry.client.session import Session
    from kferry.store.views import OperationView, StepView

_MARKS = {
    "done": "✓",
    "skipped": "-",
    "failed": "✗",
    "undone": "↩",
    "running": "▸",
    "waiting": "…",
    "needs operator": "!",
}
_STEP_OVER = ("done", "skipped", "failed", "undone")


@dataclass(slots=True)
class Wish:
    """What is asked for, how, and what may be answered without asking."""

    kind: str
    args: Mapping[str, Any] = field(default_factory=dict)
    dry_run: bool = False
    no_wait: bool = False
    run_hooks: bool = False
    uncommitted: str | None = None
    timeout_seconds: float | None = None
    expects: str | None = None  # the hash of the plan that the operator saw


def operate(state: State, wish: Wish) -> OperationView | None:
    """Ask, follow, and return the operation that ended well; None for --dry-run, --no-wait and what is done at once.

    Raises typer.Exit with the operation's exit code where it did not end well.
    """
    session = state.working_session(dry_run=wish.dry_run)
    answer = session.ask(wish.kind, wish.args, dry_run=wish.dry_run, expects=wish.expects, timeout_seconds=60)
    if wish.dry_run:
        show_plan(state, answer.result)
        return None
    if answer.operation_id is None:
        diagnostics.say(answer.reason or "Done.")
        return None
    if wish.no_wait:
        output.emit(state, {"operation_id": answer.operation_id}, headers=("OPERATION",), rows=[(answer.operation_id,)])
        diagnostics.say(f"The engine works on it; follow it with: kferry watch {answer.operation_id}")
        return None
    operation = follow(session, answer.operation_id, wish)
    raise_for(session, operation)
    return operation


def follow(session: Session, operation_id: str, wish: Wish | None = None) -> OperationView:
    """Follow an operation to its end or to where only the operator can help, with a line per step on stderr."""
    wish = wish or Wish("watch")
    printer, scan_line = StepPrinter(), ScanLine(session)

    def show(operation: OperationView) -> None:
        printer.show(operation)
        scan_line.show(operation)

    seen_ms = 0
    answers = Answers(run_hooks=wish.run_hooks, uncommitted=wish.uncommitted)
    try:
        while True:
            operation = session.follow(
                operation_id,
                on_change=show,
                on_look=scan_line.look,
                timeout_seconds=wish.timeout_seconds,
                ignore_until_ms=seen_ms,
            )
            if operation.status != "needs operator":
                return operation
            seen_ms = operation.updated_at_ms
            step = current_step(operation)
            body = answers.for_step(step) or (_ask_operator(operation, step) if _is_terminal() else None)
            if body is None:
                return operation
            if body.pop("abort", False):
                session.ask("abort", {"operation_id": operation_id})
                continue
            session.ask("answer", {"operation_id": operation_id, "step": step.name if step else "", "answer": body})
    except KeyboardInterrupt:
        diagnostics.say("")
        diagnostics.say("Interrupted: the engine goes on with it.")
        diagnostics.say(f"Attach again with: {attach_command(session.root)} watch {operation_id}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    finally:
        diagnostics.wipe()


def raise_for(session: Session, operation: OperationView) -> None:
    """Say how it ended; anything but `done` ends the command with its exit code."""
    if operation.status == "done":
        diagnostics.say(f"{operation.title}: done in {_took(operation)}.")
        return
    step = current_step(operation) or _failed(operation)
    told = (step.error if step and step.error else None) or operation.error
    if operation.status == "needs operator":
        diagnostics.error(
            KferryError.from_dict(dict(told)) if told else KferryError(f"{operation.title}: the operator is needed.")
        )
        for line in ways_on(session, operation, step):
            diagnostics.say(f"  {line}")
        raise typer.Exit(ExitCode.NOT_READY)
    if told:
        diagnostics.error(KferryError.from_dict(dict(told)))
    diagnostics.say(f"{operation.title}: {operation.status} after {_took(operation)}.")
    raise typer.Exit(of_kind_name(told.get("kind") if told else None))


def ways_on(session: Session, operation: OperationView, step: StepView | None) -> list[str]:
    """The commands that lead on from an operation that needs the operator."""
    base = f"kferry -C {session.root}"
    lines = []
    if step is not None and step.kind == "decide":
        lines.append(f"choose:    {base} answer {operation.operation_id} --uncommitted earliest|end")
    if step is not None and step.hook:
        lines.append(f"run hook:  {base} answer {operation.operation_id} --run-hook")
    lines.append(f"try again: {base} answer {operation.operation_id} --retry")
    lines.append(f"go back:   {base} abort {operation.operation_id}")
    return lines


def show_plan(state: State, plan: Mapping[str, Any], *, is_dry_run: bool = True) -> None:
    """What would be done, from a dry run's result. A dry run as such exits 6 where the plan found drift."""
    changes = plan.get("changes", [])
    lines = [str(plan.get("title", "")), ""]
    lines += [f"  {number}. {title}" for number, title in enumerate(plan.get("steps", []), start=1)]
    if changes:
        rows = [
            (
                change.get("action", ""),
                change.get("scope", ""),
                change.get("resource", ""),
                change.get("name", ""),
                change.get("key", ""),
                "" if change.get("before") is None else change["before"],
                "" if change.get("after") is None else change["after"],
            )
            for change in changes
        ]
        lines += ["", output.table(("ACTION", "WHERE", "WHAT", "NAME", "KEY", "BEFORE", "AFTER"), rows)]
    words = [str(word) for word in plan.get("words", [])]
    lines += ["", *words] if words else []
    output.emit(state, plan, text="\n".join(clean(line, keep_newlines=True) for line in lines))
    if not is_dry_run:
        return
    diagnostics.say("Nothing was changed (--dry-run).")
    if any(change.get("action") == "drift" for change in changes):
        raise typer.Exit(ExitCode.DRIFT)


class StepPrinter:
    """Writes a line when a step begins, waits, or is over; never the same line twice."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str, int, str]] = set()
        self._titled = False

    def show(self, operation: OperationView) -> None:
        if not self._titled:
            about = f": {operation.subject}" if operation.subject else ""
            diagnostics.say(f"{operation.title}{about}  ({operation.operation_id})")
            self._titled = True
        for step in operation.steps:
            if step.status in ("pending", "acted"):
                continue
            words = self._words(step)
            key = (step.name, step.status, step.attempt if step.status != "waiting" else 0, words)
            if key not in self._said:
                self._said.add(key)
                diagnostics.say(f"  {_MARKS.get(step.status, ' ')} {step.title}{words}")
                if step.kind == "owner" and step.status == "waiting":
                    self._say_how(operation, step)

    @staticmethod
    def _say_how(operation: OperationView, step: StepView) -> None:
        """What the operator can do about a step of the owners."""
        if operation.args.get("run_hooks"):
            return
        diagnostics.say(f"    ask the owners; when they say it is done: kferry answer {operation.operation_id} --done")
        if step.hook:
            diagnostics.say(f"    or run the hook {step.hook}: kferry answer {operation.operation_id} --run-hook")

    @staticmethod
    def _words(step: StepView) -> str:
        if step.status in _STEP_OVER and step.started_at_ms is not None and step.finished_at_ms is not None:
            took = formats.duration((step.finished_at_ms - step.started_at_ms) / 1000)
            return f"  ({took})" if step.status != "failed" else f"  (failed after {took})"
        if step.status == "waiting" and step.gate:
            return f": waits until {step.gate}"
        return f"  ({step.status})" if step.status not in ("running", *_STEP_OVER) else ""


def _ask_operator(operation: OperationView, step: StepView | None) -> dict[str, Any] | None:
    """Ask at the terminal; None means: leave it for later."""
    told = (step.error if step else None) or operation.error
    if told:
        diagnostics.error(KferryError.from_dict(dict(told)))
    if step is not None and step.kind == "decide":
        choices: dict[str, dict[str, Any]] = {"earliest": {"uncommitted": "earliest"}, "end": {"uncommitted": "end"}}
    else:
        choices = {"retry": {"retry": True}}
        if step is not None and step.hook:
            choices["hook"] = {"run_hook": True}
    names = [*choices, "abort", "later"]
    while True:
        typed = typer.prompt(f"What now? [{'/'.join(names)}]", err=True).strip().lower()
        if typed == "later":
            return None
        if typed == "abort":
            return {"abort": True}
        if typed in choices:
            return dict(choices[typed])


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _failed(operation: OperationView) -> StepView | None:
    return next((step for step in operation.steps if step.error), None)


def _took(operation: OperationView) -> str:
    return formats.duration((operation.updated_at_ms - operation.created_at_ms) / 1000)
