"""Choosing the runbook of a cutover by hand: consumers first, or everything stops, drains and switches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kferry.client import actions
from kferry.ui import wishes
from kferry.ui.cells import line
from kferry.ui.modals.ask import ChoiceDialog

if TYPE_CHECKING:
    from kferry.ui.app import KferryApp

_REBUILD = "stop-drain-switch, rebuild state"
CHOICES = (
    ("auto", "automatic", "by the class of the batch's applications"),
    ("consumers-first", "consumers first", "producers go on until consumers read on the target; little standstill"),
    ("stop-drain-switch", "stop, drain, switch", "for applications that write what they read; nothing runs meanwhile"),
    (_REBUILD, "the same, new state", "Streams applications make their state anew on the target"),
)


def args_of(choice: str, batch: str) -> dict[str, object]:
    """The arguments of the wish `cutover` for a choice of the dialog."""
    if choice == _REBUILD:
        return {"batch": batch, "runbook": "stop-drain-switch", "rebuild_state": True}
    return {"batch": batch, "runbook": choice}


async def ask_runbook(app: KferryApp, batch: str) -> None:
    """Ask for the runbook, then show the plan of the switch and let it be confirmed by name."""

    def chosen(choice: str | None) -> None:
        if choice is not None:
            wishes.ask(app, actions.BY_ID["start_cutover"], args_of(choice, batch), subject=batch)

    lines = (line("The plan that follows says why kferry would choose which, and what your choice costs."),)
    await app.push_dialog(ChoiceDialog(f"Runbook of {batch}", lines, CHOICES), chosen)
