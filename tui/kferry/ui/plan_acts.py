"""Edits of the plan from a screen: done in a thread, told in one line with what they break; and the task of a batch."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from kferry.client import actions, fleet
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.words import counted
from kferry.ui import plan_edit, wishes
from kferry.ui.cells import Cell, line
from kferry.ui.messages import Failed, Said
from kferry.ui.modals.ask import TextDialog
from kferry.ui.plan_facts import PlanFacts, of_key

if TYPE_CHECKING:
    from kferry.ui.app import KferryApp


def named(cards: Collection[str]) -> str:
    """Cards in words: the one by its name, more by their number."""
    if len(cards) == 1:
        return of_key(next(iter(cards)))[1]
    topics, groups = plan_edit.split_keys(cards)
    parts = [f"{len(names)} {noun}" for names, noun in ((topics, "topics"), (groups, "groups")) if names]
    return " and ".join(parts)


async def ask_name(app: KferryApp, title: str, example: str, then: Callable[[str | None], None]) -> None:
    """Ask for the name of a new batch."""
    lines = (line("Small letters, digits and hyphens; it becomes part of names in both clusters."),)
    await app.push_dialog(TextDialog(title, lines, f"e.g. {example}"), then)


async def ask_create(app: KferryApp, facts: PlanFacts, batch: str | None, text: str = "", wrong: str = "") -> None:
    """Ask how many workers a new task begins with, where there is more than one machine; then show the plan of it.

    `wrong` says what was not understood of `text`.
    """
    if not batch:
        app.front.say("Put the cursor on a batch to create its task.")
        return
    try:
        machines = len(fleet.hosts(app.session.layout))
    except KferryError:
        machines = 0  # the engine says what is wrong with hosts.yml
    action = actions.BY_ID["create_task"]
    if machines < 2:
        wishes.ask(app, action, {"batch": batch})
        return

    def told(answer: str | None) -> None:
        if answer is None:
            return
        if answer.isdecimal() and int(answer) > 0:
            wishes.ask(app, action, {"batch": batch, "workers": int(answer)})
        else:
            app.run_worker(ask_create(app, facts, batch, answer, "Write a number, 1 or more."))

    figures = facts.figures.get(batch)
    proposed = (figures.workers if figures else None) or 1
    number = str(min(proposed, machines))
    lines = (
        line(f"There are {machines} machines; the plan reckons with {counted(proposed, 'worker')}."),
        line("Write with how many workers the task begins; kferry chooses the machines."),
        *((line(Cell(f"✗ {wrong}", "bad")),) if wrong else ()),
    )
    await app.push_dialog(TextDialog(f"Workers of {batch}", lines, number, text or number), told)


def edit(
    app: KferryApp, facts: PlanFacts, change: plan_edit.Edit, words: str, then: Callable[[], None] | None = None
) -> None:
    """Edit plan.yml as it was shown, and say what came of it; `then` is called on the loop once it is written."""
    revision, index = facts.view.revision, facts.index

    def work() -> str:
        outcome = plan_edit.apply(app.session, revision, change, index, words.rstrip("."))
        if then is not None:
            app.call_from_thread(then)
        return f"{words} {outcome.words}".rstrip()

    run(app, work)


def undo(app: KferryApp, facts: PlanFacts) -> None:
    """Take the last edit back."""
    revision = facts.view.revision

    def work() -> str:
        what, outcome = plan_edit.undo(app.session, revision)
        return f"{what[0].upper()}{what[1:]}. {outcome.words}".rstrip()

    run(app, work)


def run(app: KferryApp, work: Callable[[], str]) -> None:
    """Do something to a file in a thread; say what `work` returns, show what went wrong until it is read."""

    def body() -> None:
        try:
            words = work()
        except KferryError as error:
            app.post_message(Failed(error))
        except OSError as error:
            app.post_message(Failed(unwritable(error)))
        else:
            app.post_message(Said(words))

    app.run_worker(body, thread=True, group="plan", name="edit plan")


def unwritable(error: OSError) -> KferryError:
    return KferryError(
        f"The file could not be written: {error.strerror or error}.",
        cause=f"{error.filename or 'It'} belongs to another user, or the disk is full.",
        next_step="Check its owner and the space left; then do your edit again.",
        kind=ErrorKind.USAGE,
    )
