"""Who this play is, so that a host can be claimed for it; and whether the play of an older claim is dead."""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: kferry_run
author: The kferry authors
short_description: Identity of this play
description:
  - Without a term, a dictionary with C(run), C(holder), C(controller), C(pid) and C(started).
  - With a claim (such a dictionary) as term, its C(run) if that play ran on this machine and is gone.
options:
  _terms: {description: Nothing, or a claim of another play}
"""

PROGRAM = "ansible-playbook"


def words(pid: int) -> list[str]:
    """The command line of a process; empty where it is gone or this system has no /proc."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def stat_fields(pid: int) -> list[str]:
    """What /proc says after the command's name: state, parent, ...; empty where it says nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def play_pid() -> int:
    """The process of the whole play: the outermost ansible-playbook above us."""
    found, pid = os.getppid(), os.getpid()
    while pid > 1:
        if any(Path(word).name == PROGRAM for word in words(pid)[:3]):
            found = pid
        fields = stat_fields(pid)
        pid = int(fields[1]) if len(fields) > 1 else 0
    return found


def started(pid: int) -> str:
    """When the process was started, in ticks of this boot: tells a process from a later one with its number."""
    fields = stat_fields(pid)
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


def controller() -> str:
    """A word for this boot of this machine."""
    for path in ("/proc/sys/kernel/random/boot_id", "/etc/machine-id"):
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        return hashlib.sha256(f"{text} {Path('/proc/self/ns/pid').readlink()}".encode()).hexdigest()[:16]
    return ""


def identity() -> dict[str, Any]:
    pid = play_pid()
    run = os.environ.get("KFERRY_RUN_ID") or f"{controller() or socket.gethostname()}-{pid}-{started(pid)}"
    name = f"kferry's run {run}" if os.environ.get("KFERRY_RUN_ID") else f"process {pid}"
    try:
        who = getpass.getuser()
    except (KeyError, OSError):
        who = str(os.getuid())
    holder = f"{who}@{socket.gethostname()} ({name})"
    return {"run": run, "holder": holder, "controller": controller(), "pid": pid, "started": started(pid)}


def dead_run(claim: dict[str, Any]) -> str:
    """The claim's run if it was of this boot of this machine and its process is gone."""
    if not claim.get("controller") or claim["controller"] != controller() or not claim.get("started"):
        return ""
    try:
        alive = started(int(claim["pid"])) == claim["started"]
    except (KeyError, ValueError):
        return ""
    return "" if alive else str(claim.get("run", ""))


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[Any]:
        return [dead_run(term or {}) for term in terms] if terms else [identity()]
