"""The lab's home folder: where everything lies, its facts (lab.json) and its wanted state (state.json)."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.store.paths import Layout

CLUSTERS = ("source", "target")
HOST = "127.0.0.1"
DEFAULT_RATE_BYTES_PER_SECOND = 1_000_000
DEFAULT_BACKLOG_RECORDS = 300_000
# Below the usual range of outgoing connections, so that no client takes a broker's port while it is down.
_FIRST_PORT, _LAST_PORT = 20_000, 31_999


@dataclass(frozen=True, slots=True)
class LabHome:
    """The paths of one lab."""

    root: Path

    @property
    def facts_file(self) -> Path:
        return self.root / "lab.json"

    @property
    def state_file(self) -> Path:
        return self.root / "state.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def log(self) -> Path:
        return self.root / "lab.log"

    @property
    def runtime(self) -> Path:
        return Layout(self.root).runtime

    @property
    def control(self) -> Path:
        return self.runtime / "lab.sock"

    def broker(self, cluster: str) -> Path:
        return self.root / "brokers" / cluster

    def ledger(self, cluster: str, topic: str) -> Path:
        return self.root / "ledger" / cluster / f"{topic}.bin"

    def consumed(self, cluster: str, group_id: str) -> Path:
        return self.root / "consumed" / cluster / f"{group_id}.bin"

    def prepare(self) -> None:
        """Make the folders, private to this user; safe to repeat."""
        folders = [self.root, self.runtime]
        for cluster in CLUSTERS:
            folders += [self.broker(cluster), self.ledger(cluster, "x").parent, self.consumed(cluster, "x").parent]
        try:
            for folder in folders:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.runtime.stat().st_uid != os.getuid():
                raise KferryError(
                    f"The folder {self.runtime} belongs to another user.",
                    next_step="Remove it, or set XDG_RUNTIME_DIR to a folder of your own.",
                )
            self.root.chmod(0o700)
            self.runtime.chmod(0o700)
        except OSError as error:
            raise KferryError(
                f"The lab's home {self.root} cannot be written.",
                cause=f"{error.strerror}: {error.filename}.",
                next_step="Choose another folder with --home, or make room.",
                kind=ErrorKind.USAGE,
            ) from error

    def read_facts(self) -> dict[str, Any]:
        """lab.json, or an error that says there is no lab here."""
        facts = _read_json(self.facts_file)
        if facts is None:
            raise KferryError(
                f"There is no lab in {self.root}.",
                next_step=f"Start one: python -m kferry.lab start --home {self.root}",
                kind=ErrorKind.USAGE,
            )
        return facts

    def has_facts(self) -> bool:
        return self.facts_file.exists()

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        _write_json(self.facts_file, facts)

    def read_state(self) -> dict[str, dict[str, str | None]]:
        """Which cluster each producer (by topic) and each group should work on; None = stopped."""
        state = _read_json(self.state_file) or {}
        return {"producers": state.get("producers", {}), "consumers": state.get("consumers", {})}

    def write_state(self, state: Mapping[str, Any]) -> None:
        _write_json(self.state_file, state)

    def take_lock(self) -> int | None:
        """The lock's descriptor, or None where another daemon holds it; it is free again when its holder ends."""
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor


def new_facts(home: LabHome) -> dict[str, Any]:
    """Facts of a new lab: its id and four free ports, which are kept from now on."""
    ports = free_ports(2 * len(CLUSTERS))
    facts: dict[str, Any] = {"id": f"lab-{secrets.token_hex(4)}", "control": str(home.control), "pids": {}}
    for number, cluster in enumerate(CLUSTERS):
        facts[cluster] = {
            "bootstrap_servers": f"{HOST}:{ports[2 * number]}",
            "port": ports[2 * number],
            "controller_port": ports[2 * number + 1],
        }
    return facts


def free_ports(count: int) -> list[int]:
    """Ports on the loopback that nothing listens on now, all different."""
    found: list[int] = []
    for _ in range(1000):
        port = _FIRST_PORT + secrets.randbelow(_LAST_PORT - _FIRST_PORT + 1)
        if port not in found and is_port_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise KferryError("No free ports were found for the lab.", cause="Too many ports are in use on this machine.")


def is_port_free(port: int) -> bool:
    """Whether a broker could listen here now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise KferryError(
            f"{path} cannot be read.",
            cause=str(error),
            next_step="Stop the lab's processes, remove its home and start it anew.",
        ) from error
    if not isinstance(data, dict):
        raise KferryError(f"{path} is damaged.", next_step="Remove the lab's home and start it anew.")
    return data


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    # One writer per file and a rename: a reader sees the old or the new text, never half of it.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
