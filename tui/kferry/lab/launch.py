"""Start and stop a lab from outside: the caller's side of the daemon."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.lab import control
from kferry.lab.home import LabHome, new_facts
from kferry.lab.processes import end_marked, find_marked, marked_environment, wait_gone

START_SECONDS = 1200.0
STOP_SECONDS = 120.0
_ASK_SECONDS = 25.0
_POLL_SECONDS = 0.3

Say = Callable[[str], None]


def start(home: LabHome, *, rate_bytes_per_second: int, backlog_records: int, say: Say) -> bool:
    """Start the lab and return when traffic flows; False where it ran already."""
    home.prepare()
    if home.has_facts() and _phase(home) is not None:
        _wait_until_running(home)
        return False
    _require_room(home, backlog_records)
    _write_facts(home, rate_bytes_per_second, backlog_records, say)
    previous = {signum: signal.signal(signum, _interrupt) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        if _launch(home, say):
            return True
        _wait_until_running(home)  # somebody else was quicker
        return False
    except BaseException:
        # Ctrl-C included: a lab that did not get ready must not stay behind half started.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stop(home)
        raise
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def stop(home: LabHome) -> int:
    """End every process of the lab and check that they are gone; return how many there were."""
    if not home.has_facts():
        return 0
    mark = home.read_facts()["id"]
    count = len(find_marked(mark))
    try:
        asked = control.ask(home.control, _ASK_SECONDS, do="stop") is not None
    except KferryError:
        asked = False
    if not (asked and wait_gone(mark, STOP_SECONDS)):
        count = max(count, end_marked(mark, 30.0))
    home.control.unlink(missing_ok=True)  # a killed daemon leaves it behind
    with contextlib.suppress(OSError):  # kept where something else lies in it
        home.runtime.rmdir()
    return count


def status(home: LabHome) -> dict[str, Any]:
    """What runs, and how much it did."""
    facts = home.read_facts()
    answer = control.ask(home.control, 3 * _ASK_SECONDS, do="status")
    return {
        "running": answer is not None and answer["phase"] == "running",
        **facts,
        **(answer or {"phase": "stopped", "state": home.read_state(), "producers": {}, "consumers": {}}),
    }


def _write_facts(home: LabHome, rate_bytes_per_second: int, backlog_records: int, say: Say) -> None:
    # Imported here: only a start needs the distribution.
    from kferry.ansible.dist import ensure_distribution
    from kferry.ansible.java import find_java

    facts = home.read_facts() if home.has_facts() else new_facts(home)
    java = find_java()
    distribution = ensure_distribution(on_progress=_download_words(say))
    say(f"Kafka {distribution.version}, Java {java.version_text}")
    facts |= {
        "control": str(home.control),
        "java": str(java.executable),
        "libs": str(distribution.libs),
        "rate_bytes_per_second": rate_bytes_per_second,
        "backlog_records": backlog_records,
    }
    home.write_facts(facts)


def _download_words(say: Say) -> Callable[[int, int, str], None]:
    next_words = [0.0]

    def tell(done_bytes: int, total_bytes: int, name: str) -> None:
        if time.monotonic() >= next_words[0] or done_bytes == total_bytes:
            next_words[0] = time.monotonic() + 1
            percent = 100 * done_bytes // total_bytes if total_bytes else 0
            say(f"Fetching Kafka: {percent} % of {total_bytes / 1e6:.0f} MB")

    return tell


def _launch(home: LabHome, say: Say) -> bool:
    """Start the daemon and follow its progress; False where another daemon holds the lock."""
    from kferry.lab.daemon import log_descriptor

    reading, writing = os.pipe()
    log = log_descriptor(home.log)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "kferry.lab", "serve", "--home", str(home.root), "--progress", str(writing)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home.root,
            env=marked_environment(home.read_facts()["id"]),
            pass_fds=(writing,),
            start_new_session=True,
        )
    finally:
        os.close(log)
        os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as stream:
        for line in stream:
            body = json.loads(line)
            if "error" in body:
                process.wait(STOP_SECONDS)
                raise KferryError.from_dict(body["error"])
            if body.get("ready"):
                return True
            if body.get("busy"):
                process.wait(STOP_SECONDS)
                return False
            say(body["words"])
    code = process.wait(STOP_SECONDS)
    raise KferryError(
        "The lab ended while it started.",
        cause=f"Its daemon ended with code {code}." if code else "It was told to stop.",
        log=str(home.log),
    )


def _phase(home: LabHome) -> str | None:
    answer = control.ask(home.control, 3 * _ASK_SECONDS, do="status")
    return None if answer is None else str(answer["phase"])


def _wait_until_running(home: LabHome) -> None:
    deadline = time.monotonic() + START_SECONDS
    while (phase := _phase(home)) != "running":
        if phase in (None, "stopping") or time.monotonic() > deadline:
            raise KferryError(
                "The lab that was being started did not get ready.",
                next_step="Start it again.",
                log=str(home.log),
                kind=ErrorKind.NOT_READY,
            )
        time.sleep(_POLL_SECONDS)


def _require_room(home: LabHome, backlog_records: int) -> None:
    # Both brokers hold the backlog; the rest is for live traffic and logs.
    needed_bytes = 2 * backlog_records * 1000 + 500_000_000
    free_bytes = shutil.disk_usage(home.root).free
    if free_bytes < needed_bytes:
        raise KferryError(
            f"There is not enough room for the lab in {home.root}.",
            cause=f"It needs {needed_bytes / 1e9:.1f} GB, {free_bytes / 1e9:.1f} GB are free.",
            next_step="Make room, or choose another folder with --home, or a smaller --backlog.",
            kind=ErrorKind.NOT_READY,
        )


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
