"""How far a scan is, on stderr: one line that is drawn again at a terminal, else a line now and then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kferry.client import diagnostics, scan_progress

if TYPE_CHECKING:
    from kferry.client.scan_progress import ScanState
    from kferry.client.session import Session
    from kferry.store.views import OperationView

# Without a terminal a line is written for that much of the scan, and not more often than that.
_STEP_SHARE = 0.1
_STEP_SECONDS = 2.0


class ScanLine:
    """Follows the scans of one operation; of any other kind of operation it says nothing."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._operation: OperationView | None = None
        self._last: ScanState | None = None
        self._said_at = 0.0

    def show(self, operation: OperationView) -> None:
        """Takes the newest state of the operation that is followed."""
        self._operation = operation
        self.look()

    def look(self) -> None:
        """Draws the newest moment, if there is one."""
        operation = self._operation
        if operation is None or operation.kind != "scan" or operation.status != "running":
            return
        state = scan_progress.newest(self._session, since_ms=operation.created_at_ms)
        if state is None:
            return
        if diagnostics.draws():
            drawn = f"    {scan_progress.bar(state.share)} {self._words(state)}"
            diagnostics.draw(drawn)
        elif self._is_news(state):
            self._last, self._said_at = state, time.monotonic()
            diagnostics.say(f"    {self._words(state)}")

    def _is_news(self, state: ScanState) -> bool:
        last = self._last
        if last is None or last.role != state.role:
            return True
        if time.monotonic() - self._said_at < _STEP_SECONDS:
            return False
        return (state.share or 0.0) - (last.share or 0.0) >= _STEP_SHARE

    @staticmethod
    def _words(state: ScanState) -> str:
        share = scan_progress.share_words(state.share)
        return f"{share}, {state.left_words} · {state.role}: {state.step_words}"
