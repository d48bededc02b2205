"""The engine as a process: alone by a flock, detached from the terminal, ended by a signal or a wish."""

from __future__ import annotations

import fcntl
import logging
import logging.handlers
import os
import signal
import sys
import time
from pathlib import Path
from typing import IO

from kferry.domain.errors import ErrorKind, KferryError
from kferry.store.paths import Layout

# Longer than a look at the lock takes, also on a busy machine.
LOOKING_SECONDS = 1.0
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "ceph", "glusterfs"}


def take_lock(layout: Layout) -> IO[str]:
    """Hold the flock that means "alive". Raises KferryError if another engine has it.

    A face that looks whether an engine lives holds the lock for a moment itself; an engine has it for good.
    """
    handle = layout.lock.open("a+")
    layout.lock.chmod(0o600)
    deadline = time.monotonic() + LOOKING_SECONDS
    while not _locks(handle):
        if time.monotonic() < deadline:
            time.sleep(LOOKING_SECONDS / 50)
            continue
        handle.close()
        raise KferryError(
            f"An engine runs already for {layout.root}.",
            next_step="Nothing to do: faces find it by themselves. `kferry engine status` shows it.",
            kind=ErrorKind.USAGE,
        )
    handle.truncate(0)
    handle.write(f"{os.getpid()}\n")
    handle.flush()
    return handle


def _locks(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def refuse_network_file_system(root: Path) -> None:
    """SQLite's locks don't hold on network file systems."""
    best, kind = "", ""
    with Path("/proc/self/mounts").open(encoding="utf-8", errors="replace") as mounts:
        for line in mounts:
            _device, point, file_system, *_ = line.split(" ")
            inside = str(root).startswith(point.rstrip("/") + "/") or point == "/"
            if inside and len(point) >= len(best):
                best, kind = point, file_system
    if kind in NETWORK_FILE_SYSTEMS:
        raise KferryError(
            f"{root} lies on a network file system ({kind}).",
            cause="The journal's locks are not safe there.",
            next_step="Move the migration directory to a local disk.",
            kind=ErrorKind.USAGE,
        )


def detach() -> None:
    """Leave the terminal: a new session, no standard streams. Returns in the grandchild only."""
    if os.fork() > 0:
        os._exit(0)
    os.setsid()
    if os.fork() > 0:
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)


def log_to(path: Path, *, also_terminal: bool) -> None:
    """Write the log to a rotating file of mode 0600."""
    path.touch(mode=0o600, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.handlers.RotatingFileHandler(path, maxBytes=5_000_000, backupCount=3, encoding="utf-8")
    ]
    if also_terminal:
        handlers.append(logging.StreamHandler(sys.stderr))
    logging.basicConfig(
        level=logging.INFO, handlers=handlers, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    logging.getLogger("httpx2").setLevel(logging.WARNING)


def on_signals(stop: object) -> None:
    """End in order on SIGTERM and SIGINT; a lost terminal (SIGHUP) is nothing to an engine."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())  # type: ignore[operator]
