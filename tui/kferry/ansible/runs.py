"""Start plays in processes of their own, follow what they write, find those that outlived an engine, end them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kferry.ansible.events import PlayEvent
from kferry.domain.errors import ErrorKind, KferryError

RUN_ID_VARIABLE = "KFERRY_RUN_ID"
CHILD_MODULE = "kferry.ansible.run"
GRACE_SECONDS = 5.0
POLL_SECONDS = 0.05
NAME_PATTERN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
# what a playbook may be told besides its task
OPTIONS = frozenset({"rollback", "kferry_keep_logs", "kferry_bundle"})
OPTION_PATTERN = re.compile(r"[A-Za-z0-9/._-]{1,4096}")

_children: dict[int, subprocess.Popen[bytes]] = {}  # ours, kept so that they are reaped when they end


@dataclass(frozen=True, slots=True)
class PlayRequest:
    """One play to run. `task` None = all tasks found; `check` = change nothing, show what would change.

    `options` are further variables of the playbook: plain words that kferry chose itself, never data of a cluster.
    """

    playbook: str
    inventory: Path
    task: str | None = None
    check: bool = False
    tags: tuple[str, ...] = ()
    limit: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self, run_id: str) -> dict[str, Any]:
        return {**asdict(self), "inventory": str(self.inventory), "tags": list(self.tags), "run_id": run_id}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PlayRequest:
        return cls(
            playbook=str(data["playbook"]),
            inventory=Path(data["inventory"]),
            task=data.get("task"),
            check=bool(data.get("check")),
            tags=tuple(data.get("tags") or ()),
            limit=data.get("limit"),
            options=dict(data.get("options") or {}),
        )

    def validate(self) -> None:
        """Refuse what must not reach a command line."""
        for what, value in (("task", self.task), ("limit", self.limit), *(("tag", tag) for tag in self.tags)):
            if value is not None and not NAME_PATTERN.fullmatch(value):
                raise KferryError(f"{value!r} is not a name for a {what}.", kind=ErrorKind.USAGE)
        for key, value in self.options.items():
            if key not in OPTIONS or OPTION_PATTERN.fullmatch(value) is None:
                raise KferryError(f"{key}={value!r} is not an option of a playbook.", kind=ErrorKind.USAGE)
        if not self.inventory.exists():
            raise KferryError(
                f"There is no inventory {self.inventory}.",
                next_step="Create inventory/hosts.yml, or run `kferry init`.",
                kind=ErrorKind.USAGE,
            )


@dataclass(frozen=True, slots=True)
class PlayFailure:
    """A failed or unreachable host, with the module's own message."""

    host: str
    step: str
    message: str


@dataclass(frozen=True, slots=True)
class PlayResult:
    """How a play ended. status: successful, failed, canceled. `changed` and `failed` count over all hosts."""

    status: str
    rc: int
    changed: int
    failed: int
    failures: tuple[PlayFailure, ...] = field(default=())

    @property
    def ok(self) -> bool:
        return self.status == "successful"


def start(run_dir: Path, run_id: str, request: PlayRequest, env: Mapping[str, str]) -> int:
    """Start a play and return its child's pid.

    `env` comes on top of this process's environment and is stored nowhere. The child has a session of its own:
    it outlives us and is found again by its run id.
    """
    request.validate()
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    run_dir.chmod(0o700)
    _write_private(run_dir / "request.json", json.dumps(request.as_dict(run_id)))
    environment = {**os.environ, **env, RUN_ID_VARIABLE: run_id}
    with _open_private(run_dir / "child.log") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", CHILD_MODULE, str(run_dir)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    _children[child.pid] = child
    return child.pid


class EventTail:
    """Reads a run's events as they come; a half-written last line waits for the next read."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / "events.jsonl"
        self._offset_bytes = 0

    def read(self) -> list[PlayEvent]:
        """The events written since the last read."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offset_bytes)
                data = stream.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset_bytes += len(whole)
        return [PlayEvent.from_dict(json.loads(line)) for line in whole.splitlines()]


def result(run_dir: Path) -> PlayResult | None:
    """How the run ended, or None while it runs and where it was killed."""
    try:
        data = json.loads((run_dir / "result.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    failures = tuple(PlayFailure(f["host"], f["step"], f["message"]) for f in data["failures"])
    return PlayResult(data["status"], data["rc"], data["changed"], data["failed"], failures)


def survivors() -> dict[str, int]:
    """Runs whose child lives now: run id to the child's pid, whoever started it."""
    _reap()
    found: dict[str, int] = {}
    for pid, run_id in _marked():
        if CHILD_MODULE in _command_line(pid):
            # the child forks once to start Ansible; the fork looks the same until it becomes ansible-playbook
            found[run_id] = min(pid, found.get(run_id, pid))
    return found


def kill(run_id: str, *, grace_seconds: float = GRACE_SECONDS) -> int:
    """End a run and all it started; returns how many processes had to be killed hard.

    Workers are not among them: the play starts them without the run's marker.
    """
    child = survivors().get(run_id)
    if child is not None:
        _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        while run_id in survivors() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    killed: set[int] = set()
    deadline = time.monotonic() + grace_seconds
    while time.monotonic() < deadline:  # again until none is left: one may have forked while we looked
        left = [pid for pid, found in _marked() if found == run_id and pid != os.getpid()]
        if not left:
            break
        for pid in left:
            _signal(pid, signal.SIGKILL)
            killed.add(pid)
        time.sleep(POLL_SECONDS)
    _reap()
    return len(killed)


def _marked() -> Iterator[tuple[int, str]]:
    """Living processes of ours that carry a run id."""
    marker = f"{RUN_ID_VARIABLE}=".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:  # ended meanwhile, or another user's
            continue
        for entry in environment.split(b"\0"):
            if entry.startswith(marker):
                yield int(folder.name), entry[len(marker) :].decode(errors="replace")


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _reap() -> None:
    for pid in [pid for pid, child in _children.items() if child.poll() is not None]:
        del _children[pid]


def _open_private(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(text)
    temporary.replace(path)
