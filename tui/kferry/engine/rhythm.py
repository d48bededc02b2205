"""A thread that looks at something at intervals, whatever one look meets."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from kferry.domain.errors import KferryError

log = logging.getLogger(__name__)


class Rhythm:
    """Calls `look` every `interval_seconds()`, measured from begin to begin, with `least_pause_seconds` in between.

    `usual_seconds` is the interval where the wanted one cannot be read.
    """

    def __init__(
        self,
        name: str,
        look: Callable[[], None],
        interval_seconds: Callable[[], float],
        *,
        usual_seconds: float,
        least_pause_seconds: float,
    ) -> None:
        self._name = name
        self._look = look
        self._interval_seconds = interval_seconds
        self._usual_seconds = usual_seconds
        self._least_pause_seconds = least_pause_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_ending(self) -> bool:
        """Whether a look that has several parts should leave the rest."""
        return self._stop.is_set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.is_set():
            began, interval_seconds = time.monotonic(), self._usual_seconds
            try:
                interval_seconds = self._interval_seconds()
                self._look()
            except KferryError as error:
                log.warning("%s: %s", self._name, error)
            except Exception:  # the rhythm must outlive whatever one look meets
                log.exception("%s", self._name)
            self._stop.wait(max(self._least_pause_seconds, interval_seconds - (time.monotonic() - began)))
