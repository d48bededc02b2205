"""The daemon's side of one traffic process: start it, ask it, end it."""

from __future__ import annotations

import itertools
import json
import logging
import subprocess
import sys
import threading
from queue import Empty, SimpleQueue
from typing import IO, Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.lab.home import LabHome
from kferry.lab.processes import marked_environment

log = logging.getLogger(__name__)

STOP_SECONDS = 45.0

Answer = dict[str, Any]


class TrafficChild:
    """One traffic process; a new object is made for each start."""

    def __init__(self, home: LabHome, system: str, mark: str) -> None:
        self.system = system
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kferry.lab", "traffic", "--home", str(home.root), "--system", system],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=marked_environment(mark),
            text=True,
            start_new_session=True,
        )
        self._numbers = itertools.count(1)
        self._writing = threading.Lock()
        self._answers: dict[int, SimpleQueue[Answer]] = {}
        assert self.process.stdout is not None  # noqa: S101 - said by PIPE
        threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True).start()

    def ask(self, timeout_seconds: float, **command: Any) -> Answer:
        """Send a command and return its answer; an error in it is raised."""
        number = next(self._numbers)
        queue: SimpleQueue[Answer] = SimpleQueue()
        self._answers[number] = queue
        try:
            self._send({"id": number, **command})
            answer = queue.get(timeout=timeout_seconds)
        except (Empty, OSError) as error:
            ended = self.process.poll() is not None or isinstance(error, OSError)
            raise KferryError(
                f"The traffic of {self.system} {'ended' if ended else 'did not answer'}.",
                cause="The lab starts it again by itself." if ended else "It may be waiting for a broker.",
                next_step="Try again in a few seconds.",
                kind=ErrorKind.NOT_READY if ended else ErrorKind.TIMEOUT,
            ) from error
        finally:
            self._answers.pop(number, None)
        if "error" in answer:
            raise KferryError.from_dict(answer["error"])
        return answer

    def begin_stop(self) -> None:
        """Close its stdin: it commits, flushes and ends."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except OSError:
                log.debug("the traffic of %s had ended", self.system)

    def wait_stopped(self) -> None:
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("the traffic of %s did not end in time and is killed", self.system)
            self.process.kill()
            self.process.wait()

    def _send(self, command: dict[str, Any]) -> None:
        stream = self.process.stdin
        if stream is None or stream.closed:
            raise BrokenPipeError
        with self._writing:
            stream.write(json.dumps(command) + "\n")
            stream.flush()

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            answer = json.loads(line)
            queue = self._answers.get(answer["id"])
            if queue is not None:
                queue.put(answer)
        # It ended: nobody must wait for the rest of a timeout.
        for queue in list(self._answers.values()):
            queue.put({"error": KferryError(f"The traffic of {self.system} ended.").as_dict()})
