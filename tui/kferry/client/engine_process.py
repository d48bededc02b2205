"""Starting and ending the engine of one migration as a process of its own, which outlives the terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kferry.domain.errors import ErrorKind, KferryError
from kferry.store import schema
from kferry.store.engine_lock import engine_holds_lock
from kferry.store.queries import Reader
from kferry.store.views import EngineView

_POLL_SECONDS = 0.05
_LOG_LINES = 8
# An engine writes its process id just after it has migrated the journal; one that never does is taken as it is.
_ID_SECONDS = 10.0


def last_lines(path: Path, count: int = _LOG_LINES) -> str:
    """The last lines of a text file; "" where there is none."""
    try:
        with path.open("rb") as handle:
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - 64 * 1024))
            lines = handle.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(line for line in lines[-count:] if line.strip())


def start(reader: Reader, timeout_seconds: float) -> EngineView:
    """Start the engine unless one lives, and wait until it holds the lock and the journal is ready."""
    layout = reader.layout
    if _is_up(reader):
        return reader.engine()
    layout.prepare()
    # stderr goes into a file, not a pipe: the engine's children may inherit it and would hold a pipe open
    with tempfile.TemporaryFile() as stderr:
        child: subprocess.Popen[bytes] | None = None
        if not engine_holds_lock(layout.lock):
            child = subprocess.Popen(
                [sys.executable, "-m", "kferry.engine", str(layout.root), "--detach"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
                cwd=layout.root,
            )
        deadline = time.monotonic() + timeout_seconds
        up_since: float | None = None
        while time.monotonic() < deadline:
            if _is_up(reader):
                up_since = up_since or time.monotonic()
                if _has_written_its_id(reader) or time.monotonic() - up_since > _ID_SECONDS:
                    _reap(child)
                    return reader.engine()
            if child is not None and child.poll() not in (None, 0) and not engine_holds_lock(layout.lock):
                break
            time.sleep(_POLL_SECONDS)
        stderr.seek(0)
        said = stderr.read().decode("utf-8", "replace").strip().splitlines()[-_LOG_LINES:]
    over_time = child is None or child.poll() in (None, 0)
    _reap(child)
    words = "\n".join(said) or last_lines(layout.engine_log)
    raise KferryError(
        f"The engine of {layout.root} did not start" + (f" within {timeout_seconds:g} seconds." if over_time else "."),
        cause=f"Its last words:\n{words}" if words else "It left no message.",
        next_step=f"Mend what it says and run: kferry -C {layout.root} engine start",
        log=str(layout.engine_log),
        kind=ErrorKind.TIMEOUT if over_time else ErrorKind.FAILED,
    )


def _has_written_its_id(reader: Reader) -> bool:
    """Whether the journal names a living engine: right after a restart it still names the one before."""
    pid = reader.engine().pid
    return pid is not None and is_engine(pid)


def _is_up(reader: Reader) -> bool:
    if not engine_holds_lock(reader.layout.lock):
        return False
    revision = reader.schema_revision()
    return revision is not None and revision >= schema.HEAD


def _reap(child: subprocess.Popen[bytes] | None) -> None:
    """Collect the launcher, which ends by itself once the engine is detached."""
    if child is not None:
        try:
            child.wait(timeout=2)
        except subprocess.TimeoutExpired:
            child.returncode = 0  # still at work; it belongs to its own session and is left alone


def stop(reader: Reader, ask: Callable[[], object], timeout_seconds: float) -> None:
    """Ask the engine to stop, then signal it, until the lock is free. Safe to call when none lives."""
    lock = reader.layout.lock
    if not engine_holds_lock(lock):
        return
    pid = reader.engine().pid
    with suppress(KferryError):  # a journal of another version: the signal does it
        ask()
    for number, seconds in (
        (None, timeout_seconds * 0.5),
        (signal.SIGTERM, timeout_seconds * 0.3),
        (signal.SIGKILL, 5.0),
    ):
        if number is not None and pid is not None and is_engine(pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not engine_holds_lock(lock):
                return
            time.sleep(_POLL_SECONDS)
    raise KferryError(
        f"The engine of {reader.layout.root} still holds its lock.",
        cause=f"Process {pid or 'unknown'} does not end.",
        next_step=f"See which process holds {lock} (fuser {lock}) and end it.",
        log=str(reader.layout.engine_log),
        kind=ErrorKind.TIMEOUT,
    )


def is_engine(pid: int) -> bool:
    """Whether that process id is (still) an engine: ids are reused."""
    try:
        return b"kferry.engine" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
