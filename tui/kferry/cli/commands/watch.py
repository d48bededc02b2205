"""`kferry watch`: live lines of tasks, or follow one operation; and `kferry answer`, `kferry abort` for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kferry.cli import options, state

if TYPE_CHECKING:
    from kferry.client.session import Session
    from kferry.store.views import TaskView

OperationId = Annotated[str, typer.Argument(metavar="OPERATION", help="The operation's id.")]


def register(app: typer.Typer) -> None:
    app.command("watch")(watch)
    app.command("answer")(answer)
    app.command("abort")(abort)


def watch(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[TASK|OPERATION]", help="Else: all tasks.")] = None,
    once: Annotated[bool, typer.Option("--once", help="One line per task, then end.")] = False,
    until_lag: Annotated[
        int | None, typer.Option(metavar="RECORDS", min=0, help="End when every task's lag is known and at most this.")
    ] = None,
    timeout: options.Timeout = None,
) -> None:
    """Print a line whenever a task is measured anew, or follow an operation to its end. Ctrl-C ends only this."""
    from kferry.cli import output
    from kferry.client.exit_codes import ExitCode
    from kferry.domain.errors import ErrorKind, KferryError

    current = state.of(context)
    session = current.session()
    if name is not None and session.reader.operation(name) is not None:
        _follow_operation(session, name, timeout)
        return
    if name is not None and session.reader.task(name) is None:
        raise KferryError(f"There is no migration task and no operation {name!r}.", kind=ErrorKind.USAGE)
    started = time.monotonic()
    seen: dict[str, int | None] = {}
    try:
        for tasks in _snapshots(session, name):
            for task in tasks:
                if task.name not in seen or seen[task.name] != task.measured_at_ms:
                    seen[task.name] = task.measured_at_ms
                    output.emit_line(current, task, _line(task))
            if once or (until_lag is not None and tasks and all(_is_within(task, until_lag) for task in tasks)):
                return
            if timeout is not None and time.monotonic() - started > timeout:
                raise KferryError(f"Not reached within {timeout:g} seconds.", kind=ErrorKind.TIMEOUT)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _snapshots(session: Session, name: str | None) -> Iterator[list[TaskView]]:
    """The tasks each time the journal was written."""
    version = -1
    while True:
        found = session.reader.version()
        if found != version:
            version = found
            tasks = [task for task in session.reader.tasks() if name in (None, task.name)]
            yield [task for task in tasks if task.state != "Deleted" or name]
        else:
            yield []
        time.sleep(0.25)


def _is_within(task: TaskView, lag: int) -> bool:
    return task.lag_records is not None and task.lag_records <= lag


def _line(task: TaskView) -> str:
    from kferry.client import formats

    alarms = f"  ! {'; '.join(task.alarms)}" if task.alarms else ""
    return (
        f"{formats.clock(task.measured_at_ms)}  {task.name:<16} {task.state:<17}"
        f" lag {formats.records(task.lag_records):>11}"
        f"  {formats.record_rate(task.records_per_second):>10}  {formats.byte_rate(task.bytes_per_second):>12}"
        f"  eta: {task.eta_text}{alarms}"
    )


def _follow_operation(session: Session, operation_id: str, timeout: float | None) -> None:
    from kferry.cli.operate import Wish, follow, raise_for

    raise_for(session, follow(session, operation_id, Wish("watch", timeout_seconds=timeout)))


def answer(
    context: typer.Context,
    operation: OperationId,
    run_hook: Annotated[bool, typer.Option("--run-hook", help="Run the owner's hook of this step.")] = False,
    confirmed: Annotated[bool, typer.Option("--done", help="The owners say that it is done.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Do or measure this step again.")] = False,
    uncommitted: Annotated[
        str | None, typer.Option(metavar="earliest|end", help="Where groups start that never committed.")
    ] = None,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Answer an operation that needs you, and follow it on."""
    from kferry.domain.errors import ErrorKind, KferryError

    given: list[dict[str, Any]] = []
    if run_hook:
        given.append({"run_hook": True})
    if confirmed:
        given.append({"confirmed": True})
    if retry:
        given.append({"retry": True})
    if uncommitted is not None:
        if uncommitted not in ("earliest", "end"):
            raise KferryError(f"--uncommitted is earliest or end, not {uncommitted!r}.", kind=ErrorKind.USAGE)
        given.append({"uncommitted": uncommitted})
    if len(given) != 1:
        raise KferryError("Give one answer: --run-hook, --done, --retry or --uncommitted.", kind=ErrorKind.USAGE)
    current = state.of(context)
    session = current.working_session(dry_run=dry_run)
    found = session.reader.operation(operation)
    if found is None:
        raise KferryError(f"There is no operation {operation!r}.", kind=ErrorKind.USAGE)
    step = next((s.name for s in found.steps if s.status not in ("done", "skipped", "undone")), "")
    _send(session, "answer", {"operation_id": operation, "step": step, "answer": given[0]}, found, dry_run, no_wait)


def abort(
    context: typer.Context,
    operation: OperationId,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Let an operation go back as far as its way back reaches."""
    abort_operation(state.of(context), operation, yes=yes, dry_run=dry_run, no_wait=no_wait)


def abort_operation(current: state.State, operation: str, *, yes: bool, dry_run: bool, no_wait: bool) -> None:
    """Show the way back, confirm, abort and follow."""
    from kferry.client import diagnostics
    from kferry.client.exit_codes import ExitCode
    from kferry.domain.errors import ErrorKind, KferryError

    session = current.working_session(dry_run=dry_run)
    found = session.reader.operation(operation)
    if found is None:
        raise KferryError(f"There is no operation {operation!r}.", kind=ErrorKind.USAGE)
    diagnostics.say(f"{found.title}: {found.subject}. The way back:")
    done = [step for step in reversed(found.steps) if step.status not in ("pending", "skipped") and step.way_back]
    for step in done:
        diagnostics.say(f"  ↩ {step.way_back}")
    if not done:
        diagnostics.say("  nothing has to be put back")
    if not dry_run:
        options.confirm_typed(f"Abort {found.title!r}", found.subject or operation, yes=yes)
    try:
        _send(session, "abort", {"operation_id": operation}, found, dry_run, no_wait)
    except typer.Exit as end:
        ended = session.reader.operation(operation)
        raise typer.Exit(ExitCode.OK if ended and ended.status == "aborted" else end.exit_code) from None


def _send(session: Session, kind: str, args: dict[str, Any], found: Any, dry_run: bool, no_wait: bool) -> None:
    from kferry.cli.operate import StepPrinter, raise_for

    session.ask(kind, args, dry_run=dry_run)
    if dry_run or no_wait:
        return
    raise_for(
        session,
        session.follow(found.operation_id, on_change=StepPrinter().show, ignore_until_ms=found.updated_at_ms),
    )
