"""Finding and ending what a migration on this machine left running: engine, plays, supervisor, workers, lab.

A process belongs to us where its environment carries our marker, or where it is a supervisor or a Java whose command
line names the migration's own folders. Ourselves and those who started us are never meant.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kferry.domain.errors import KferryError

# Set for everything that the demo starts; every child inherits it.
DEMO_MARK = "KFERRY_DEMO_HOME_MARK"

_CARRIERS = (b"java", b"supervisord", b"kferry.engine", b"kferry.ansible", b"kferry.lab", b"ansible-playbook")
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Belongings:
    """What marks a process as ours: lines of its environment, or folders in its command line."""

    environment: frozenset[str]
    folders: tuple[Path, ...] = ()


def find(ours: Belongings) -> list[int]:
    """The ids of living processes that belong to us."""
    spared = _ourselves()
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and int(entry.name) not in spared and _is_ours(entry, ours)
    ]


def end(ours: Belongings, *, patience_seconds: float = 10.0) -> int:
    """End them all, first politely; return how many there were. Raises KferryError where one stays."""
    found = find(ours)
    for number, seconds in ((signal.SIGTERM, patience_seconds), (signal.SIGKILL, 5.0)):
        left = find(ours)
        for pid in left:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + seconds
        while left and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            left = find(ours)
        if not left:
            return len(found)
    raise KferryError(
        f"Processes could not be ended: {', '.join(map(str, find(ours)))}.",
        cause="They did not go even after SIGKILL.",
        next_step="Look at them with ps, then try again.",
    )


def is_alive(pid: int) -> bool:
    """Whether a process of that id lives (a zombie does not)."""
    try:
        return (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() or ["Z"])[0] != "Z"
    except OSError:
        return False


def _is_ours(entry: Path, ours: Belongings) -> bool:
    try:
        if not is_alive(int(entry.name)):
            return False
        variables = (entry / "environ").read_bytes().split(b"\0")
        if any(os.fsencode(line) in variables for line in ours.environment):
            return True
        command = (entry / "cmdline").read_bytes()
    except OSError:
        return False  # it ended meanwhile, or belongs to somebody else
    names = [os.fsencode(folder) for folder in ours.folders]
    return any(carrier in command for carrier in _CARRIERS) and _names_any(command, names)


def _names_any(command: bytes, folders: Iterable[bytes]) -> bool:
    """Whether the command line names one of the folders or something in it (not merely one that begins alike)."""
    for folder in folders:
        start = command.find(folder)
        while start >= 0:
            if command[start + len(folder) : start + len(folder) + 1] in (b"", b"\0", b"/", b":", b",", b" "):
                return True
            start = command.find(folder, start + 1)
    return False


def _ourselves() -> set[int]:
    spared, pid = set(), os.getpid()
    while pid > 0:
        spared.add(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            break
    return spared
