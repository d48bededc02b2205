"""What producers and consumers have in common: a thread that is started, becomes ready, and is stopped."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from confluent_kafka import KafkaException

from kferry.domain.errors import ErrorKind, KferryError

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


class Worker:
    """A thread that runs sessions until it is stopped; a session that fails is tried again.

    Until a worker is ready a missing precondition is final: whoever started it is told.
    """

    def __init__(self, name: str, cluster: str) -> None:
        self.name = name
        self.cluster = cluster
        self.last_error = ""
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._failure: KferryError | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait_ready(self, timeout_seconds: float) -> None:
        """Return when the worker does its work; raise what keeps it from it."""
        deadline = time.monotonic() + timeout_seconds
        while not self._ready.wait(0.1):
            if not self._thread.is_alive() or time.monotonic() > deadline:
                break
        if self._failure is not None:
            raise self._failure
        if not self._ready.is_set():
            raise KferryError(
                f"{self.name} did not start on the {self.cluster} within {timeout_seconds:.0f} seconds.",
                cause=self.last_error,
                kind=ErrorKind.TIMEOUT,
            )

    def ask_to_stop(self) -> None:
        self._stopping.set()

    def wait_stopped(self, timeout_seconds: float) -> None:
        """Return when the thread has ended well; raise where it has not."""
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            raise KferryError(
                f"{self.name} on the {self.cluster} did not stop within {timeout_seconds:.0f} seconds.",
                cause=self.last_error,
                kind=ErrorKind.TIMEOUT,
            )
        if self._failure is not None and self._ready.is_set():
            raise self._failure

    def status(self) -> dict[str, Any]:
        """Counters for `status`."""
        raise NotImplementedError

    def _session(self) -> None:
        """Work until `_stopping` is set."""
        raise NotImplementedError

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._session()
            except (KferryError, KafkaException, OSError, BufferError) as error:
                self.last_error = str(error)
                log.warning("%s on the %s: %s", self.name, self.cluster, error)
                failure = error if isinstance(error, KferryError) else self._as_error(error)
                hopeless = failure.kind is ErrorKind.NOT_READY and not self._ready.is_set()
                if self._stopping.is_set() or hopeless:
                    self._failure = failure
                    return
                self._stopping.wait(RETRY_SECONDS)

    def _as_error(self, error: Exception) -> KferryError:
        return KferryError(f"{self.name} on the {self.cluster} failed.", cause=str(error))
