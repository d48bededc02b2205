"""Find and end the lab's processes by the mark in their environment, whoever started them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil

from kferry.domain.errors import KferryError

MARK = "KFERRY_MARK"
_POLL_SECONDS = 0.1


def marked_environment(mark: str) -> dict[str, str]:
    """Our environment with the lab's mark, for a child."""
    return {**os.environ, MARK: mark}


def find_marked(mark: str) -> list[psutil.Process]:
    """Every living process that carries the mark, without ourselves and those who started us."""
    needle = f"{MARK}={mark}".encode()
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in own:
            continue
        try:
            if needle in (entry / "environ").read_bytes().split(b"\0"):
                found.append(psutil.Process(int(entry.name)))
        except (OSError, psutil.Error):
            continue  # it ended meanwhile, or belongs to somebody else
    return found


def end_marked(mark: str, patience_seconds: float) -> int:
    """End every marked process, first politely; return how many there were. Raises where one stays."""
    processes = find_marked(mark)
    for signum, seconds in ((signal.SIGTERM, patience_seconds), (signal.SIGKILL, 10.0)):
        for process in find_marked(mark):
            try:
                process.send_signal(signum)
            except psutil.Error:
                continue
        if wait_gone(mark, seconds):
            return len(processes)
    left = ", ".join(str(process.pid) for process in find_marked(mark))
    raise KferryError(
        f"Processes of the lab could not be ended: {left}.",
        cause="They did not go even after SIGKILL.",
        next_step="Look at them with ps, then run stop again.",
    )


def wait_gone(mark: str, timeout_seconds: float) -> bool:
    """Whether no marked process is left, waiting for it."""
    deadline = time.monotonic() + timeout_seconds
    while find_marked(mark):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
