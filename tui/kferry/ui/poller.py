"""Reading the journal off the loop: one thread that reads what the front screen shows and posts it as one message."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

from kferry.client.session import Session
from kferry.domain.errors import ErrorKind, KferryError
from kferry.ui.messages import Frame, ReadFailed, SnapshotRead

if TYPE_CHECKING:
    from kferry.ui.screens.base import KferryScreen

# How often the journal's version is looked at, how often ages are drawn anew, and how long to rest between two reads.
LOOK_SECONDS = 0.25
AGE_SECONDS = 2.0
REST_SECONDS = 0.5


class Poller:
    """Runs in a thread worker of the app. Touches no widget: it calls `screen.collect` and posts."""

    def __init__(self, session: Session, post: Callable[[Message], object], clock: Callable[[], int]) -> None:
        self._session = session
        self._post = post
        self._clock = clock
        self._wake = threading.Event()
        self._front: KferryScreen | None = None
        self._last_failure: str | None = None
        self._stopped = False

    def watch(self, screen: KferryScreen | None) -> None:
        """Read for this screen from now on; None pauses (a dialog is open)."""
        self._front = screen
        self._wake.set()

    def wake(self) -> None:
        """Read now: something was just asked for."""
        self._wake.set()

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()

    def run(self) -> None:
        version: int | None = None
        read_at = 0.0
        while not self._stopped:
            asked = self._wake.wait(LOOK_SECONDS)
            self._wake.clear()
            screen = self._front
            if self._stopped or screen is None:
                continue
            now = time.monotonic()
            seen = self._version()
            since = now - read_at
            if asked or (seen != version and since >= REST_SECONDS) or since >= AGE_SECONDS:
                version, read_at = seen, now
                self._read(screen)

    def _version(self) -> int | None:
        try:
            return self._session.reader.version()
        except Exception:
            return None  # the read that follows meets the same trouble and says so

    def _read(self, screen: KferryScreen) -> None:
        try:
            now_ms = self._clock()
            frame = Frame(now_ms, self._session.engine(), self._session.next_action())
            snapshot = screen.collect(self._session, frame)
        except KferryError as error:
            self._fail(error)
        except Exception as error:
            self._fail(
                KferryError(
                    f"The journal could not be read: {type(error).__name__}: {error}",
                    cause="Another version of kferry writes it, it is damaged, or this is a defect of kferry.",
                    next_step="kferry goes on trying; press r to try now, or run: kferry engine status",
                    log=str(self._session.layout.engine_log),
                    kind=ErrorKind.INTERNAL,
                )
            )
        else:
            self._last_failure = None
            self._post(SnapshotRead(screen, frame, snapshot))

    def _fail(self, error: KferryError) -> None:
        # the same trouble four times a second is one trouble
        if str(error) != self._last_failure:
            self._last_failure = str(error)
            self._post(ReadFailed(error))
