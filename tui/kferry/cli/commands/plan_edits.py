"""The commands of `kferry plan` that edit plan.yml; each can be undone."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kferry.cli import options, state

if TYPE_CHECKING:
    from kferry.client.plan_edit import Edit, EditResult
    from kferry.client.session import Session
    from kferry.domain.model import Plan

Names = Annotated[list[str], typer.Argument(metavar="TOPIC_OR_GROUP...")]
Batch = Annotated[str, typer.Argument(metavar="BATCH")]


def register(app: typer.Typer) -> None:
    """Add the commands to `kferry plan`."""
    for name, command in _COMMANDS.items():
        app.command(name)(command)


def move(
    context: typer.Context,
    names: Names,
    to: Annotated[str, typer.Option("--to", metavar="BATCH", help="The batch to move into; a new name makes one.")],
    dry_run: options.DryRun = False,
) -> None:
    """Move topics or groups into another batch of plan.yml."""
    from kferry.client import plan_edit

    _do(context, lambda plan: plan_edit.moved(plan, names, to), f"moved {_some(names)} to {to}", dry_run)


def drop(
    context: typer.Context,
    names: Names,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why they stay behind; it is kept.")] = "",
    dry_run: options.DryRun = False,
) -> None:
    """Leave topics or groups behind; planning again leaves them out too."""
    from kferry.client import plan_edit

    _do(context, lambda plan: plan_edit.dropped(plan, names, why), f"left {_some(names)} out", dry_run)


def split(
    context: typer.Context,
    batch: Batch,
    names: Names,
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="The name of the new batch.")] = "",
    dry_run: options.DryRun = False,
) -> None:
    """Take topics of a batch into a new one right after it; groups that read nothing else go along."""
    from kferry.client import plan_edit
    from kferry.domain import planning

    session = state.of(context).session()
    scan = session.reader.scan("source")

    def edit(plan: Plan) -> Plan:
        found = plan.batch(batch)
        topics = [name for name in names if found is None or name in found.topics]
        groups = [name for name in names if name not in topics]
        along = plan_edit.groups_going_along(plan, scan, batch, topics)
        return planning.split_batch(plan, batch, topics, sorted({*groups, *along}), to)

    _do(context, edit, f"split {_some(names)} off {batch}", dry_run, session)


def merge(
    context: typer.Context,
    into: Annotated[str, typer.Argument(metavar="BATCH", help="Keeps its name and place.")],
    others: Annotated[list[str], typer.Argument(metavar="OTHER...")],
    dry_run: options.DryRun = False,
) -> None:
    """Put everything of other batches into one."""
    from kferry.domain import planning

    _do(
        context, lambda plan: planning.merge_batches(plan, into, others), f"merged {_some(others)} into {into}", dry_run
    )


def pin(
    context: typer.Context,
    batch: Batch,
    off: Annotated[bool, typer.Option("--off", help="Release it.")] = False,
    dry_run: options.DryRun = False,
) -> None:
    """Pin a batch: planning again and newcomers leave it as it is."""
    from kferry.domain import planning

    verb = "released" if off else "pinned"
    _do(context, lambda plan: planning.pin(plan, batch, not off), f"{verb} {batch}", dry_run)


def canary(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="Moves first, as a rehearsal.")],
    off: Annotated[bool, typer.Option("--off", help="No batch is the canary.")] = False,
    dry_run: options.DryRun = False,
) -> None:
    """Make a batch the canary and put it first."""
    from kferry.domain import planning

    what = "no batch is the canary" if off else f"made {batch} the canary"
    _do(context, lambda plan: planning.set_canary(plan, None if off else batch), what, dry_run)


def rename(
    context: typer.Context,
    batch: Batch,
    new: Annotated[str, typer.Argument(metavar="NEW_NAME")],
    dry_run: options.DryRun = False,
) -> None:
    """Give a batch another name."""
    from kferry.domain import planning

    _do(context, lambda plan: planning.rename_batch(plan, batch, new), f"renamed {batch} to {new}", dry_run)


def order(
    context: typer.Context,
    batches: Annotated[list[str], typer.Argument(metavar="BATCH...", help="In the order in which they move.")],
    dry_run: options.DryRun = False,
) -> None:
    """Put batches first, in this order; the others follow as they were."""
    from kferry.domain import planning

    _do(context, lambda plan: planning.reorder(plan, batches), f"put {_some(batches)} first", dry_run)


def note(
    context: typer.Context,
    batch: Batch,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Your words; empty takes the note away.")],
    dry_run: options.DryRun = False,
) -> None:
    """Write your own words at a batch."""
    from kferry.domain import planning

    _do(context, lambda plan: planning.set_note(plan, batch, text), f"wrote a note at {batch}", dry_run)


def undo(context: typer.Context, dry_run: options.DryRun = False) -> None:
    """Take back the last change that kferry made to plan.yml; again takes back the one before."""
    from kferry.client import plan_edit

    current = state.of(context)
    session = current.session()
    _tell(current, session, plan_edit.undo(session, dry_run=dry_run))


def edit(context: typer.Context) -> None:
    """Open plan.yml in your editor; it is checked before it takes the place of the one that was."""
    from kferry.client import plan_edit
    from kferry.domain.errors import ErrorKind, KferryError

    current = state.of(context)
    session = current.session()
    if current.read_only:
        raise KferryError("This session is read-only; plan.yml was not changed.", kind=ErrorKind.USAGE)
    before = session.layout.plan.read_bytes() if session.layout.plan.exists() else b""
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    handle, name = tempfile.mkstemp(prefix="plan-", suffix=".yml")
    copy = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(before)
        try:
            ended = subprocess.run([*command, name], check=False).returncode
        except OSError as error:
            raise KferryError(
                f"The editor {command[0]!r} can't be started: {error.strerror}.",
                next_step="Name one in VISUAL or EDITOR.",
                kind=ErrorKind.USAGE,
            ) from error
        content = copy.read_bytes()
        if ended != 0 or content == before:
            raise KferryError("plan.yml was not changed.", kind=ErrorKind.USAGE)
        try:
            done = plan_edit.replace_file(session, before, content)
        except KferryError:
            saved = session.layout.private / "plan-refused.yml"
            saved.write_bytes(content)
            from kferry.client import diagnostics

            diagnostics.say(f"What you wrote is in {saved}.")
            raise
    finally:
        copy.unlink(missing_ok=True)
    _tell(current, session, done)


_COMMANDS: dict[str, Callable[..., None]] = {
    "move": move,
    "drop": drop,
    "split": split,
    "merge": merge,
    "pin": pin,
    "canary": canary,
    "rename": rename,
    "order": order,
    "note": note,
    "edit": edit,
    "undo": undo,
}


def _do(context: typer.Context, edit: Edit, what: str, dry_run: bool, session: Session | None = None) -> None:
    from kferry.client import plan_edit

    current = state.of(context)
    session = session or current.session()
    _tell(current, session, plan_edit.apply(session, edit, what, dry_run=dry_run))


def _tell(current: state.State, session: Session, done: EditResult) -> None:
    """What was done goes to stderr; the plan as it stands now is the data."""
    from kferry.cli.commands.plan import emit_plan
    from kferry.client import diagnostics

    for line in done.lines:
        diagnostics.say(line)
    emit_plan(current, session)


def _some(names: list[str]) -> str:
    from kferry.domain.planning import listed_in_words

    return listed_in_words(list(names))
