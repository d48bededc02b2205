"""Asking before topics and groups are dropped from the scope, then doing it in a thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kferry.client import actions, leaving_out
from kferry.domain.errors import KferryError
from kferry.ui.messages import Failed, Said
from kferry.ui.modals.confirm import ConfirmDialog

if TYPE_CHECKING:
    from kferry.ui.screens.base import KferryScreen

_SHOWN_NAMES = 30


async def ask(screen: KferryScreen, reasons: Mapping[str, str]) -> None:
    """`reasons` by topic, or by `group ID`."""
    app = screen.app
    names = sorted(reasons)
    words = [f"{name}{f': {reasons[name]}' if reasons[name] else ''}" for name in names[:_SHOWN_NAMES]]
    if len(names) > _SHOWN_NAMES:
        words.append(f"… and {len(names) - _SHOWN_NAMES:,} more")
    words.append("A rule in rules.yml keeps them out of every plan from now on. Nothing is deleted anywhere.")
    action = actions.BY_ID["leave_out" if len(names) == 1 else "leave_out_unused"]

    def work() -> None:
        try:
            done = leaving_out.leave_out(app.session, reasons)
        except KferryError as error:
            app.post_message(Failed(error))
            return
        said = f"✓ {len(done.added):,} left out." if done.added else "They were left out already."
        app.post_message(Said(" ".join((said, *done.words))))

    def confirmed(answer: str | None) -> None:
        if answer is not None:
            app.run_worker(work, thread=True, group="rules", name="leave out")

    subject = names[0] if len(names) == 1 else f"{len(names):,} names"
    await app.push_dialog(ConfirmDialog(action, subject, words=tuple(words), waits_for_plan=False), confirmed)
