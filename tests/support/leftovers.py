"""Processes and containers that a test run has left behind, found by a marker that all of them carry."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

SESSION_VARIABLE = "KFERRY_TEST_SESSION"
CONTAINER_LABEL = "kferry.test.session"
_NAMES = ("KFERRY_MARK", "KFERRY_RUN_ID")


@dataclass(frozen=True, slots=True)
class Leftover:
    """One process that should be gone. `marks` are the kferry markers in its environment."""

    pid: int
    command: str
    marks: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.pid} {' '.join(self.marks)} {self.command[:160]}".replace("  ", " ")


def of_session(session_id: str) -> list[Leftover]:
    """Living processes whose environment names this test run, this process and its ancestors apart."""
    wanted = f"{SESSION_VARIABLE}={session_id}"
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        try:
            environment = (folder / "environ").read_bytes().decode("utf-8", "replace").split("\0")
            command = (folder / "cmdline").read_bytes().decode("utf-8", "replace").replace("\0", " ").strip()
            state = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
        except OSError:  # it ended while we looked, or belongs to somebody else
            continue
        if wanted in environment and state not in ("Z", "X"):
            marks = tuple(item for item in environment if item.partition("=")[0] in _NAMES)
            found.append(Leftover(int(folder.name), command, marks))
    return found


def gone_within(session_id: str, deadline_seconds: float) -> list[Leftover]:
    """What is still there after giving processes that are ending until the deadline."""
    ends = time.monotonic() + deadline_seconds
    while (left := of_session(session_id)) and time.monotonic() < ends:
        time.sleep(0.1)
    return left


def end(left: list[Leftover]) -> None:
    """Kill them one by one, each by its id."""
    for process in left:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def containers_of_session(session_id: str) -> list[str]:
    """The containers and networks of podman that carry this test run's label; removed at once, to be told of."""
    if not shutil.which("podman") or os.geteuid() != 0:
        return []
    marked = f"--filter=label={CONTAINER_LABEL}={session_id}"
    left = []
    for kind, listing, removal in (
        ("container", ["ps", "--all", "--format", "{{.Names}}"], ["rm", "--force", "--time", "0"]),
        ("network", ["network", "ls", "--format", "{{.Name}}"], ["network", "rm", "--force"]),
    ):
        listed = subprocess.run(["podman", *listing, marked], capture_output=True, text=True, timeout=60, check=False)
        for name in listed.stdout.split():
            left.append(f"{kind} {name}")
            subprocess.run(["podman", *removal, name], capture_output=True, timeout=60, check=False)
    return left
