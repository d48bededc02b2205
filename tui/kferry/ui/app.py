"""The app: navigation, wishes, errors, and the one poller. Every screen lives in a module of its own."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from kferry.client import actions, files
from kferry.client.own_command import attach_command
from kferry.client.session import Session
from kferry.domain.errors import ErrorKind, KferryError
from kferry.ui import wishes
from kferry.ui.messages import Answered, Failed, ReadFailed, Said, SnapshotRead
from kferry.ui.modals.confirm import ConfirmDialog
from kferry.ui.palette import ActionProvider
from kferry.ui.poller import Poller
from kferry.ui.screens.base import KferryScreen
from kferry.ui.theme import DARK, LIGHT

# How long a thread that reads the journal may keep the interpreter while a key waits, in seconds.
SWITCH_SECONDS = 0.001


def _now_ms() -> int:
    return int(time.time() * 1000)


class KferryApp(App[None], inherit_bindings=False):
    """Draws one migration and takes wishes for it. It acts on no cluster: that is the engine's."""

    TITLE = "kferry"
    # Textual loads the style file of a pushed screen, but not of the default one: the overview's stands here
    CSS_PATH = ["styles/base.tcss", "screens/overview.tcss"]  # noqa: RUF012
    ENABLE_COMMAND_PALETTE = False  # Textual's own key for it; ours come from the registry
    COMMANDS: ClassVar[set[Any]] = {ActionProvider}
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "leave_hint", "Leave", show=False, system=True)]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-high")]  # noqa: RUF012

    def __init__(
        self,
        session: Session,
        *,
        clock: Callable[[], int] = _now_ms,
        start_engine: bool = False,
    ) -> None:
        # slow links: nothing moves unless something is said by it; an operator's own setting wins
        os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
        super().__init__()
        self.animation_level = "none"
        self.use_command_palette = True
        self.session = session
        self.clock = clock
        self.errors: list[KferryError] = []
        self.migration_name = session.layout.root.name
        self.poller = Poller(session, self.post_message, clock)
        self._start_engine = start_engine
        self._screens: dict[str, KferryScreen] = {}
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = DARK.name

    # ---- life -----------------------------------------------------------------------------------------------------

    def get_default_screen(self) -> Screen[Any]:
        return self.main_screen("overview")

    def on_mount(self) -> None:
        self.run_worker(self.poller.run, thread=True, group="poller", name="poller", exit_on_error=True)
        self.run_worker(self._read_name, thread=True, group="name", name="name")
        if self._start_engine and not self.session.read_only:
            wishes.start_engine(self, quietly=True)

    def on_unmount(self) -> None:
        self.poller.stop()

    def _read_name(self) -> None:
        try:
            name = str(files.settings(self.session.layout).name)
        except (KferryError, AttributeError) as error:
            if isinstance(error, KferryError):
                self.post_message(Failed(error))
            return
        self.call_from_thread(self._set_name, name)

    def _set_name(self, name: str) -> None:
        self.migration_name = name

    # ---- navigation -----------------------------------------------------------------------------------------------

    def main_screen(self, name: str) -> KferryScreen:
        """The screen of that name, made at its first use and kept: cursor and filter stay where they were."""
        if name not in self._screens:
            from kferry.ui import screens

            self._screens[name] = screens.make(name)
            if name != "overview":  # an installed screen is not taken apart when it is left
                self.install_screen(self._screens[name], name)
        return self._screens[name]

    @property
    def front(self) -> KferryScreen:
        """The screen in front, or the one below the open dialog."""
        return next(screen for screen in reversed(self.screen_stack) if isinstance(screen, KferryScreen))

    async def go_to(self, name: str, subject: str = "") -> None:
        """Show a main screen over the overview, with the cursor on `subject`."""
        while len(self.screen_stack) > 1 and self.screen is not self.main_screen(name):
            await self.pop_screen()
        if name != "overview" and self.screen is not self.main_screen(name):
            await self.push_screen(self.main_screen(name))
        if subject:
            self.main_screen(name).select(subject)

    async def drawn(self, name: str, subject: str = "", *, within_seconds: float = 10.0) -> None:
        """Go to a screen and wait until a snapshot read for it is drawn; for pictures and tests. `task` and `run`
        take their subject."""
        if name in actions.DETAIL_SCREENS:
            module = import_module(f"kferry.ui.screens.{name}")
            await self.open_detail(getattr(module, f"{name.title()}Screen")(subject))
        else:
            await self.go_to(name, subject)
        front = self.front
        front.snapshot = None
        self.poller.wake()
        deadline = time.monotonic() + within_seconds
        while front.snapshot is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    async def open_detail(self, screen: KferryScreen) -> None:
        await self.push_screen(screen)

    def go_back(self) -> None:
        if len(self.screen_stack) > 1:
            self.pop_screen()

    # ---- what arrives ---------------------------------------------------------------------------------------------

    @property
    def closing(self) -> bool:
        """Whether the app is being left: a thread may still post what it found, and no screen is there to show it."""
        return not self.screen_stack

    @on(SnapshotRead)
    def _snapshot_read(self, message: SnapshotRead) -> None:
        if message.screen in self.screen_stack:
            message.screen.receive(message.snapshot, message.frame)

    @on(ReadFailed)
    def _read_failed(self, message: ReadFailed) -> None:
        if not self.closing:
            self.show_error(message.error)

    @on(Failed)
    def _failed(self, message: Failed) -> None:
        if self.closing:
            return
        if message.for_plan and isinstance(self.screen, ConfirmDialog):
            self.screen.refuse(message.error)
        else:
            self.show_error(message.error)

    @on(Said)
    def _said(self, message: Said) -> None:
        if not self.closing:
            self.front.say(message.words)
            self.poller.wake()

    @on(Answered)
    def _answered(self, message: Answered) -> None:
        if not self.closing:
            wishes.answered(self, message)

    # ---- errors stay until read -----------------------------------------------------------------------------------

    def show_error(self, error: KferryError) -> None:
        if not self.errors or str(self.errors[-1]) != str(error):
            self.errors.append(error)
        self.front.show_errors()

    def dismiss_error(self) -> None:
        if self.errors:
            self.errors.pop()
        self.front.show_errors()

    # ---- actions --------------------------------------------------------------------------------------------------

    def may(self, action: actions.Action) -> bool:
        """Whether this session may do it; says so where not."""
        if self.session.read_only and action.changes:
            self.show_error(
                KferryError(
                    f"This session is read-only: “{action.title}” is not done.",
                    next_step="Leave kferry and start it without --read-only to change something.",
                    kind=ErrorKind.USAGE,
                )
            )
            return False
        return True

    async def call_own(self, own: Callable[[], Any]) -> None:
        """Call a screen's own way to carry out an action."""
        result = own()
        if inspect.isawaitable(result):
            await result

    async def perform(self, action: actions.Action) -> None:
        """Carry out an action that no screen does in a way of its own."""
        if action.id.startswith("goto_"):
            await self.go_to(action.id.removeprefix("goto_"))
        elif (handler := getattr(self, f"do_{action.id}", None)) is not None:
            if self.may(action):
                await self.call_own(handler)
        elif action.intent is not None and self.may(action):
            args = self.front.args_for(action.id)
            if args is None:
                self.front.say(f"{action.title}: nothing under the cursor that this can be done with.")
            else:
                wishes.ask(self, action, args)

    async def perform_by_id(self, action_id: str, subject: str = "") -> None:
        """Carry out an action from the palette or the rail: first go to where it belongs."""
        action = actions.BY_ID[action_id]
        if not action.is_on(self.front.NAME) and (home := actions.screen_of(action_id)) is not None:
            await self.go_to(home, subject)
        args = wishes.args_of_subject(action, subject) if subject or action_id in wishes.WITHOUT_SUBJECT else None
        if args is not None and self.may(action):
            wishes.ask(self, action, args)
        else:
            await self.front.action_act(action_id)

    async def do_next(self) -> None:
        frame = self.front.frame
        if frame is None or not frame.next_action[0]:
            self.front.say("Nothing waits for you.")
            return
        action_id, _, subject = frame.next_action
        if action_id.startswith("goto_"):
            await self.go_to(action_id.removeprefix("goto_"), subject)
        elif action_id == "waive" and self.front.NAME != "preflight":
            await self.go_to("preflight")  # a warning is read before it is waived
        else:
            await self.perform_by_id(action_id, subject)

    async def do_help(self) -> None:
        from kferry.ui.modals.help import HelpDialog

        await self.push_dialog(HelpDialog(self.front))

    def do_palette(self) -> None:
        self.action_command_palette()

    def do_dismiss(self) -> None:
        self.dismiss_error()

    def do_quit(self) -> None:
        self.exit()

    def action_leave_hint(self) -> None:
        self.front.say("q leaves kferry; the engine and the migration go on.")

    def do_start_engine(self) -> None:
        if self.front.frame is not None and self.front.frame.alive:
            self.front.say("The engine is running.")
        else:
            wishes.start_engine(self)

    def do_restart_engine(self) -> None:
        wishes.confirm_engine(self, actions.BY_ID["restart_engine"], self.session.restart_engine)

    def do_stop_engine(self) -> None:
        wishes.confirm_engine(self, actions.BY_ID["stop_engine"], self.session.stop_engine)

    async def do_open_access(self) -> None:
        from kferry.ui.screens.access import AccessScreen

        await self.open_detail(AccessScreen())

    async def do_report(self) -> None:
        from kferry.ui.screens.report import ReportScreen

        await self.open_detail(ReportScreen(self.front.batch_under_cursor()))

    async def push_dialog(self, dialog: Screen[Any], then: Callable[[Any], None] | None = None) -> None:
        self.poller.watch(None)
        await self.push_screen(dialog, then)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        yield SystemCommand("Light or dark", "Switch between the day and the night theme", self._other_theme)

    def _other_theme(self) -> None:
        self.theme = LIGHT.name if self.theme == DARK.name else DARK.name


def run(root: Path, read_only: bool = False) -> int:
    """Open the TUI on a migration directory; return the exit code. Closing it harms nothing."""
    session = Session(root, read_only=read_only)
    try:
        session.check()
        app = KferryApp(session, start_engine=True)
        sys.setswitchinterval(SWITCH_SECONDS)
        app.run()
        code = app.return_code or 0
    finally:
        session.close()
    sys.stdout.write(
        f"The migration goes on without this terminal. Attach again with: {attach_command(session.root)}\n"
    )
    return code
