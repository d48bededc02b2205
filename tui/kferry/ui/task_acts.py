"""Wishes about one migration task, and the dialogs that change its topics, its workers and their version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kferry.client import actions
from kferry.store.views import TaskView
from kferry.ui import wishes
from kferry.ui.cells import Cell, line
from kferry.ui.modals.ask import ChoiceDialog, TextDialog
from kferry.ui.rows import tasks

if TYPE_CHECKING:
    from kferry.ui.app import KferryApp


def args_for_task(action_id: str, task: TaskView) -> dict[str, Any] | None:
    """The arguments of a wish about a task; None where the action isn't one of those."""
    if action_id in ("pause_task", "resume_task", "delete_task", "restart_task", "rotate_task", "diagnose"):
        return {"task": task.name}
    if action_id in ("start_cutover", "verify"):
        return {"batch": task.batch}
    return None


def parse_update(text: str) -> dict[str, list[str]] | str:
    """`+topic -topic +group:id -group:id` as the arguments of `update_task`; a sentence where it cannot be read."""
    found: dict[str, list[str]] = {"add_topics": [], "remove_topics": [], "add_groups": [], "remove_groups": []}
    for word in text.split():
        verb = {"+": "add", "-": "remove"}.get(word[0])
        if verb is None or len(word) == 1:
            return f"“{word}” begins with neither + nor -."
        name = word[1:]
        kind = "groups" if name.startswith("group:") else "topics"
        name = name.removeprefix("group:")
        if not name:
            return f"“{word}” names nothing."
        found[f"{verb}_{kind}"].append(name)
    return found if any(found.values()) else "Nothing to add or remove was named."


async def ask_update(app: KferryApp, task: TaskView, text: str = "") -> None:
    """Ask what to add and remove, then show the plan of it before it is done."""

    def told(answer: str | None) -> None:
        if answer is None:
            return
        args = parse_update(answer)
        if isinstance(args, str):
            app.front.say(args)
            app.run_worker(ask_update(app, task, answer))
        else:
            wishes.ask(app, actions.BY_ID["update_task"], {"task": task.name, **args}, subject=task.name)

    lines = (
        line(Cell("topics  ", "dim"), ", ".join(task.topics) or "none"),
        line(Cell("groups  ", "dim"), ", ".join(task.groups) or "none"),
        *tasks.newcomer_lines(task.newcomers),
        line(""),
        line("Write + before what to add and - before what to remove; a group as group:ID."),
    )
    await app.push_dialog(
        TextDialog(f"Change {task.name}", lines, "+shop.returns -shop.old +group:billing", text), told
    )


def parse_scale(text: str, names: Sequence[str]) -> dict[str, Any] | str:
    """A number of workers, or `-worker` for each to take out, as the arguments of `scale_task`; else a sentence."""
    words = text.split()
    if len(words) == 1 and words[0].isdecimal():
        wanted = int(words[0])
        if wanted == 0:
            return "A task needs a worker: pause it (p) or delete it (D) instead."
        return {"workers": wanted} if wanted != len(names) else f"It has {wanted} workers already."
    if not words or not all(word.startswith("-") and len(word) > 1 for word in words):
        return "Write how many workers there should be, or -NAME for each that goes."
    leaving = [word[1:] for word in words]
    unknown = [name for name in leaving if name not in names]
    if unknown:
        return f"There is no worker {unknown[0]}; there are {', '.join(names)}."
    if set(leaving) == set(names):
        return "That takes out the last worker: pause the task (p) or delete it (D) instead."
    return {"remove": sorted(set(leaving))}


async def ask_scale(app: KferryApp, task: TaskView, text: str = "", wrong: str = "") -> None:
    """Ask how many workers there should be or which go, then show the plan of it before it is done.

    `wrong` says what was not understood of `text`.
    """
    names = [worker.name for worker in task.workers]

    def told(answer: str | None) -> None:
        if answer is None:
            return
        args = parse_scale(answer, names)
        if isinstance(args, str):
            app.run_worker(ask_scale(app, task, answer, args))
        else:
            wishes.ask(app, actions.BY_ID["scale_task"], {"task": task.name, **args}, subject=task.name)

    lines = (
        *tasks.worker_lines(task.workers),
        line(""),
        line(f"There are {len(names)} now. Write how many there should be; kferry chooses the machines."),
        line("Or write - before the name of each worker that goes: it is drained first."),
        *((line(Cell(f"✗ {wrong}", "bad")),) if wrong else ()),
    )
    example = f"{len(names) + 1}" + (f"   or   -{names[-1]}" if len(names) > 1 else "")
    await app.push_dialog(TextDialog(f"Workers of {task.name}", lines, example, text), told)


async def ask_upgrade(app: KferryApp, task: TaskView) -> None:
    """Ask whether to go to this kferry's Kafka version or back to the one before, then show the plan."""
    versions = ", ".join(sorted({worker.version or "unknown" for worker in task.workers})) or "unknown"
    choices = (
        ("forward", "upgrade", "to the version that this kferry carries"),
        ("back", "go back", "to the version each worker had before"),
    )

    def chosen(way: str | None) -> None:
        if way is not None:
            args = {"task": task.name, "rollback": way == "back"}
            wishes.ask(app, actions.BY_ID["upgrade_task"], args, subject=task.name)

    lines = (line(f"The workers run Kafka {versions}."),)
    await app.push_dialog(ChoiceDialog(f"Kafka version of {task.name}", lines, choices), chosen)
