"""The engine's lock, looked at from outside."""

from __future__ import annotations

import fcntl
from pathlib import Path


def engine_holds_lock(lock: Path) -> bool:
    """Whether a living engine holds the flock: the one meaning of "alive"."""
    try:
        with lock.open("r") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            fcntl.flock(handle, fcntl.LOCK_UN)
            return False
    except OSError:
        return False
