"""What travels inside the app: one message for each thing that happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.message import Message

from kferry.domain.errors import KferryError
from kferry.store.views import EngineView, IntentView

if TYPE_CHECKING:
    from kferry.ui.screens.base import KferryScreen


@dataclass(frozen=True, slots=True)
class Frame:
    """What every screen shows around itself, read together with the screen's own snapshot."""

    now_ms: int
    engine: EngineView
    next_action: tuple[str, str, str]

    @property
    def alive(self) -> bool:
        return self.engine.alive


class SnapshotRead(Message):
    """The poller has read everything the front screen shows."""

    def __init__(self, screen: KferryScreen, frame: Frame, snapshot: Any) -> None:
        super().__init__()
        self.screen = screen
        """The screen it was read for: it may no longer be in front."""
        self.frame = frame
        """What surrounds every screen."""
        self.snapshot = snapshot
        """The screen's own frozen snapshot."""


class ReadFailed(Message):
    """The poller could not read; it goes on trying."""

    def __init__(self, error: KferryError) -> None:
        super().__init__()
        self.error = error
        """Why."""


class Failed(Message):
    """Something the operator asked for did not work out."""

    def __init__(self, error: KferryError, *, for_plan: bool = False) -> None:
        super().__init__()
        self.error = error
        """What to show until it is read."""
        self.for_plan = for_plan
        """Whether a dry run failed: then the open dialog shows it."""


class Answered(Message):
    """The engine has answered a wish."""

    def __init__(self, intent: IntentView, action_id: str, for_plan: bool) -> None:
        super().__init__()
        self.intent = intent
        """The wish with its answer."""
        self.action_id = action_id
        """Which action sent it."""
        self.for_plan = for_plan
        """Whether it was a dry run, made to show its plan before acting."""


class Said(Message):
    """A short word for the status line: not an error, gone with the next one."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words
        """One sentence."""
