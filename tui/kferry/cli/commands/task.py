"""`kferry task`: create, look at, pause, resume, change, scale, restart and delete migration tasks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kferry.cli import options, state
from kferry.cli.groups import group

if TYPE_CHECKING:
    from kferry.store.views import NewcomerView, RunbookView, TaskView

app = group("Migration tasks: one per running batch, on workers of its own.", no_args_is_help=True)

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="The task's name (that of its batch).")]
Names = list[str] | None


def _run(context: typer.Context, kind: str, args: dict[str, Any], dry_run: bool, no_wait: bool) -> None:
    from kferry.cli.operate import Wish, operate

    operate(state.of(context), Wish(kind, args, dry_run=dry_run, no_wait=no_wait))


@app.command()
def create(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="The batch of plan.yml.")],
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="How many workers it begins with; else one a machine up to max_workers_per_task."
        ),
    ] = None,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Create target topics, workers and connectors for a batch, and see data move."""
    asked = {} if workers is None else {"workers": workers}
    _run(context, "create_task", {"batch": batch, **asked}, dry_run, no_wait)


@app.command()
def pause(
    context: typer.Context, task: TaskName, dry_run: options.DryRun = False, no_wait: options.NoWait = False
) -> None:
    """Stop the task's connectors; nothing is lost."""
    _run(context, "pause_task", {"task": task}, dry_run, no_wait)


@app.command()
def resume(
    context: typer.Context, task: TaskName, dry_run: options.DryRun = False, no_wait: options.NoWait = False
) -> None:
    """Let a paused task go on."""
    _run(context, "resume_task", {"task": task}, dry_run, no_wait)


@app.command()
def update(
    context: typer.Context,
    task: TaskName,
    add_topic: Annotated[Names, typer.Option(metavar="TOPIC", help="Add a topic; repeatable.")] = None,
    remove_topic: Annotated[Names, typer.Option(metavar="TOPIC", help="Take a topic out; repeatable.")] = None,
    add_group: Annotated[Names, typer.Option(metavar="GROUP", help="Add a group; repeatable.")] = None,
    remove_group: Annotated[Names, typer.Option(metavar="GROUP", help="Take a group out; repeatable.")] = None,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Add and remove topics and groups of a running task."""
    from kferry.domain.errors import ErrorKind, KferryError

    args: dict[str, Any] = {
        "task": task,
        "add_topics": add_topic or [],
        "remove_topics": remove_topic or [],
        "add_groups": add_group or [],
        "remove_groups": remove_group or [],
    }
    if not any(args[key] for key in args if key != "task"):
        raise KferryError("Nothing to change: name at least one topic or group to add or remove.", kind=ErrorKind.USAGE)
    _run(context, "update_task", args, dry_run, no_wait)


@app.command()
def delete(
    context: typer.Context,
    task: TaskName,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Delete the task's connectors, workers and internal topics; the copied data stays."""
    if not dry_run:
        what = f"Delete the migration task {task!r} with its connectors and workers"
        options.confirm_typed(what, task, yes=yes)
    _run(context, "delete_task", {"task": task}, dry_run, no_wait)


@app.command()
def scale(
    context: typer.Context,
    task: TaskName,
    workers: Annotated[int | None, typer.Argument(metavar="[N]", min=1, help="How many workers it is to have.")] = None,
    remove: Annotated[Names, typer.Option(metavar="WORKER", help="Take out this worker; repeatable.")] = None,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Add workers (kferry chooses the machines), or drain and take out named ones or the newest."""
    from kferry.domain.errors import ErrorKind, KferryError

    if (workers is None) == (not remove):
        raise KferryError(
            f"Say either how many workers there are to be, or which go: kferry task scale {task} 3, or "
            f"kferry task scale {task} --remove {task}-2.",
            kind=ErrorKind.USAGE,
        )
    args: dict[str, Any] = {"task": task, **({"remove": remove} if remove else {"workers": workers})}
    _run(context, "scale_task", args, dry_run, no_wait)


@app.command()
def restart(
    context: typer.Context, task: TaskName, dry_run: options.DryRun = False, no_wait: options.NoWait = False
) -> None:
    """Restart the workers one at a time, each behind the health gate."""
    _run(context, "restart_task", {"task": task}, dry_run, no_wait)


@app.command()
def rotate(
    context: typer.Context, task: TaskName, dry_run: options.DryRun = False, no_wait: options.NoWait = False
) -> None:
    """Bring changed passwords and certificates to the workers, one worker at a time."""
    _run(context, "rotate_task", {"task": task}, dry_run, no_wait)


@app.command()
def upgrade(
    context: typer.Context,
    task: TaskName,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the version of before.")] = False,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Change the workers' Kafka to the version of this kferry, one worker at a time."""
    _run(context, "upgrade_task", {"task": task, "rollback": rollback}, dry_run, no_wait)


@app.command("list")
def list_tasks(
    context: typer.Context,
    with_deleted: Annotated[bool, typer.Option("--all", help="Also those that are deleted.")] = False,
) -> None:
    """List the migration tasks with their state and figures."""
    from kferry.cli import output
    from kferry.client import formats

    current = state.of(context)
    tasks = [task for task in current.session().reader.tasks() if with_deleted or task.state != "Deleted"]
    now_ms = int(time.time() * 1000)
    output.emit(
        current,
        tasks,
        headers=("TASK", "STATE", "PHASE", "LAG", "RATE", "BYTES", "ETA", "MEASURED"),
        rows=[
            (
                task.name,
                task.state,
                task.phase,
                formats.records(task.lag_records),
                formats.record_rate(task.records_per_second),
                formats.byte_rate(task.bytes_per_second),
                task.eta_text,
                formats.age(task.measured_at_ms, now_ms),
            )
            for task in tasks
        ],
        empty="There are no migration tasks yet; create one with: kferry task create BATCH",
    )


@app.command()
def newcomers(
    context: typer.Context,
    task: Annotated[str, typer.Argument(metavar="[TASK]", help="The task; without it what belongs to none.")] = "",
) -> None:
    """What appeared on the source since the plan: what joins by itself, and what holds up the cutover."""
    from kferry.cli import output
    from kferry.cli.output import table
    from kferry.client import diagnostics, formats
    from kferry.domain.errors import ErrorKind, KferryError

    current = state.of(context)
    reader = current.session().reader
    if task and reader.task(task) is None:
        known = ", ".join(item.name for item in reader.tasks()) or "none"
        raise KferryError(f"There is no migration task {task!r}; there are: {known}.", kind=ErrorKind.USAGE)
    found = reader.newcomers(task)
    rows = [
        (item.kind, item.name, item.batch or formats.DASH, item.how, _what_happens(item), item.words)
        for item in found.items
    ]
    text = table(("KIND", "NAME", "BATCH", "BY", "WHAT HAPPENS", "WHY"), rows) if rows else "Nothing is new."
    output.emit(current, output.plain(found), text=text)
    age = formats.age(found.looked_at_ms, int(time.time() * 1000))
    diagnostics.say(f"looked: {age}{f'. {found.note}' if found.note else ''}")
    if found.error:
        diagnostics.say(f"The source could not be looked at since: {found.error}")


def _what_happens(item: NewcomerView) -> str:
    if item.joins:
        return "joins by itself"
    return "holds up the cutover" if item.blocks else "is announced"


@app.command()
def show(context: typer.Context, task: TaskName) -> None:
    """Show one task: state, workers, connectors, partitions."""
    from kferry.cli import output
    from kferry.domain.errors import ErrorKind, KferryError

    current = state.of(context)
    session = current.session()
    view = session.reader.task(task)
    if view is None:
        known = ", ".join(item.name for item in session.reader.tasks()) or "none"
        raise KferryError(f"There is no migration task {task!r}; there are: {known}.", kind=ErrorKind.USAGE)
    partitions = session.reader.partitions(task)
    runbook = session.reader.runbook(view.batch)
    data = {**output.plain(view), "runbook": output.plain(runbook), "partitions": output.plain(partitions)}
    output.emit(current, data, text=_text(view, partitions, runbook))


def _text(task: TaskView, partitions: list[Any], runbook: RunbookView) -> str:
    from kferry.cli.output import table
    from kferry.client import formats
    from kferry.client.sanitize import clean

    now_ms = int(time.time() * 1000)
    figures = (
        ("state", f"{task.state}  {task.state_reason}".rstrip()),
        ("phase", task.phase),
        ("lag", f"{formats.records(task.lag_records)} records"),
        ("rate", f"{formats.record_rate(task.records_per_second)}, {formats.byte_rate(task.bytes_per_second)}"),
        ("written on the source", formats.record_rate(task.ingress_records_per_second)),
        ("eta", task.eta_text),
        ("data last moved", formats.duration(task.seconds_since_data_moved)),
        ("measured", formats.age(task.measured_at_ms, now_ms)),
        *(("alarm", alarm) for alarm in task.alarms),
        *(("cutover", words) for words in (*runbook.words, *runbook.warnings)),
        *(("newcomer", item.words) for item in task.newcomers.items),
    )
    parts = ["\n".join(f"{name:<22} {clean(value)}" for name, value in figures)]
    parts.append(
        table(
            ("WORKER", "HOST", "REST", "ALIVE", "KAFKA", "CPU", "HEAP USED", "HEAP"),
            [
                (
                    w.name,
                    w.host,
                    w.rest_url,
                    formats.yes_no(w.alive),
                    w.version or formats.UNKNOWN,
                    formats.percent(w.cpu_ratio),
                    formats.byte_count(w.heap_used_bytes),
                    formats.byte_count(w.heap_bytes if w.heap_max_bytes is None else w.heap_max_bytes),
                )
                for w in task.workers
            ],
        )
    )
    parts.append(
        table(
            ("CONNECTOR", "ROLE", "STATE", "CONNECTOR TASKS"),
            [
                (c.name, c.role, c.state, ", ".join(f"{item[0]} {item[1]}" for item in c.tasks) or formats.DASH)
                for c in task.connectors
            ],
        )
    )
    parts.append(
        table(
            ("TOPIC", "PARTITION", "COPIED", "END", "LAG", "ALARM"),
            [
                (
                    p.topic,
                    p.partition,
                    formats.records(p.copied_offset),
                    formats.records(p.end_offset),
                    formats.records(p.lag_records),
                    p.alarm,
                )
                for p in partitions
            ],
        )
    )
    return "\n\n".join(parts)
