"""The TUI takes an operator through a whole migration by keys alone, against a real lab and a real engine."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from kferry.client.session import Session
from kferry.ui.app import KferryApp
from kferry.ui.modals.ask import ChoiceDialog
from kferry.ui.modals.confirm import ConfirmDialog
from support.lab_run import LabRun, running
from support.ui_app import screen_text

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1500)]

DEADLINE_SECONDS = 1200.0
# How long the operator waits for the next action to change before pressing the same key again.
PATIENCE_SECONDS = 30.0


@pytest.fixture
def fresh_lab() -> Iterator[LabRun]:
    """A lab of its own, with a migration directory that nobody has scanned or planned yet."""
    folder = Path(tempfile.mkdtemp(prefix="kft-"))
    try:
        with running(folder, backlog_records=6_000, planned=False) as run:
            yield run
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Operator:
    """Presses keys; looks only at what the screen and its next action say."""

    def __init__(self, app: KferryApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot
        self.done: list[str] = []
        self.acted_on = ("", 0.0)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause(0.05)

    async def turn(self) -> bool:
        """Do one thing; False when the rail says that the migration is finished."""
        screen = self.app.screen
        if isinstance(screen, ConfirmDialog):
            await self._confirm(screen)
        elif isinstance(screen, ChoiceDialog):
            await self.press("enter")  # the first choice: earliest
        elif self.app.errors:
            raise AssertionError(f"the TUI shows an error: {self.app.errors[-1]}")
        else:
            return await self._go_on()
        return True

    async def _confirm(self, dialog: ConfirmDialog) -> None:
        if dialog.query("#typed") and not dialog.is_ready:
            if dialog.query_one("#typed").disabled:
                return  # the plan is still being made
            await self.press(*dialog.subject)
        if dialog.is_ready:
            self.acted_on = (self.acted_on[0], asyncio.get_running_loop().time())
            await self.press("enter")

    async def _go_on(self) -> bool:
        frame = self.app.front.frame
        if frame is None:
            return True
        action, sentence, _ = frame.next_action
        if action == "report":
            return False
        if not self.done or self.done[-1] != action:
            self.done.append(action)
        now = asyncio.get_running_loop().time()
        if sentence == self.acted_on[0] and now < self.acted_on[1] + PATIENCE_SECONDS:
            return True  # pressed already: a person looks what came of it before pressing again
        if action == "goto_cutover" and self.app.front.NAME == "cutover":
            # a step that waits for owners or asks something: its keys are o and a
            key = "o" if "ask them" in sentence else "a" if "never committed" in sentence else ""
            if key:
                self.acted_on = (sentence, now)
                await self.press(key)
        elif not action.startswith("goto_") or action.removeprefix("goto_") != self.app.front.NAME:
            self.acted_on = (sentence, now)
            await self.press("n")
        return True


async def test_the_whole_migration_by_keys(fresh_lab: LabRun) -> None:
    session = Session(fresh_lab.root)
    app = KferryApp(session, start_engine=True)
    async with app.run_test(size=(100, 30)) as pilot:
        operator = Operator(app, pilot)
        deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
        while await operator.turn():
            assert asyncio.get_running_loop().time() < deadline, f"{operator.done}\n{screen_text(app)}"
            await asyncio.sleep(0.3)
        await pilot.press("R")
    for action in ("check_clusters", "scan", "preflight", "plan", "create_task", "start_cutover", "delete_task"):
        assert action in operator.done, operator.done
    assert {name: fresh_lab.phase(name) for name in ("hr", "iot", "shop")} == dict.fromkeys(
        ("hr", "iot", "shop"), "finished"
    )
    for batch in ("hr", "iot", "shop"):
        certificate = session.reader.certificate(batch)
        assert certificate is not None and certificate["verdict"] == "complete"
    assert fresh_lab.broken_link() is None
    assert all(not fresh_lab.worker_jvms(batch) for batch in ("hr", "iot", "shop"))
    assert fresh_lab.data("oracle")["ok"], fresh_lab.data("oracle")
    session.close()
