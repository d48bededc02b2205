"""Ways through SSH to ports of machines that the controller can't or shouldn't reach directly."""

from __future__ import annotations

import contextlib
import hashlib
import shlex
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from kferry.domain.errors import ErrorKind, KferryError

OPEN_DEADLINE_SECONDS = 12.0
END_DEADLINE_SECONDS = 5.0
# after a way could not be opened it is not tried again for so long: observers ask every two seconds
RETRY_AFTER_SECONDS = 30.0
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class SshTarget:
    """A machine as SSH reaches it. `jump` is user, address and port of the machine in between."""

    address: str
    port: int = 22
    user: str | None = None
    key_file: str | None = None
    jump: tuple[str, str, int] | None = None


def ssh_arguments(target: SshTarget, known_hosts: Path) -> list[str]:
    """Options of ssh that accept pinned host keys only and never ask; the machine's name is not among them."""
    pinned = [
        "-o", f"UserKnownHostsFile={_quoted(str(known_hosts))}",
        "-o", "GlobalKnownHostsFile=/dev/null",
        "-o", "StrictHostKeyChecking=yes",
        "-o", "BatchMode=yes",
        "-o", "ConnectTimeout=5",
        "-o", "ServerAliveInterval=5",
        "-o", "ServerAliveCountMax=3",
        *(["-i", target.key_file, "-o", "IdentitiesOnly=yes"] if target.key_file else []),
    ]  # fmt: skip
    arguments = [*pinned, "-p", str(target.port), *(["-l", target.user] if target.user else [])]
    if target.jump is not None:
        user, address, port = target.jump
        # -J would not take the options over: the jump host's key must be pinned too
        through = ["ssh", *pinned, "-p", str(port), "-l", user, "-W", "[%h]:%p", "--", address]
        arguments += ["-o", f"ProxyCommand={shlex.join(through)}"]
    return arguments


def _quoted(path: str) -> str:
    """A file name as ssh's options want it: they split at spaces, and expand % and ~."""
    return '"' + path.replace("%", "%%") + '"'


class Tunnel:
    """One ssh process that leads a Unix socket here to one port there.

    ssh runs `cat` there and reads from a pipe of ours, so that both ends go when this process goes.
    """

    def __init__(self, target: SshTarget, known_hosts: Path, socket: Path, host: str, port: int) -> None:
        self.socket = socket
        self._label = f"{target.address}:{target.port}"
        self._command = [
            "ssh", "-T", *ssh_arguments(target, known_hosts),
            "-o", "ExitOnForwardFailure=yes", "-o", "ControlPath=none", "-o", "StreamLocalBindUnlink=yes",
            "-o", "StreamLocalBindMask=0177", "-o", "LogLevel=ERROR",
            "-L", f"{socket}:{f'[{host}]' if ':' in host else host}:{port}",
            "--", target.address, "cat",
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self._failed_at = 0.0
        self._failure: KferryError | None = None
        self._lock = threading.Lock()

    def open(self) -> Path:
        """The socket, with ssh behind it. Raises KferryError with ssh's own words where the way can't be opened."""
        with self._lock:
            if self._process is not None and self._process.poll() is None and self.socket.exists():
                return self.socket
            if self._failure is not None and time.monotonic() - self._failed_at < RETRY_AFTER_SECONDS:
                raise self._failure
            self._end()
            try:
                self._start()
            except KferryError as error:
                self._failed_at, self._failure = time.monotonic(), error
                raise
            self._failure = None
            return self.socket

    def close(self) -> None:
        with self._lock:
            self._end()

    def _start(self) -> None:
        self.socket.unlink(missing_ok=True)
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._process = process
        deadline = time.monotonic() + OPEN_DEADLINE_SECONDS
        while not self.socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                words = (process.stderr.read() if process.stderr else b"").decode(errors="replace").strip()
                raise self._refused(words or f"no answer within {OPEN_DEADLINE_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)

    def _refused(self, words: str) -> KferryError:
        return KferryError(
            f"No way through SSH to {self._label}.",
            cause=words.splitlines()[-1],
            next_step="See `kferry fleet check`: it names what is wrong with the machine.",
            kind=ErrorKind.CONNECT,
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        process.terminate()
        try:
            process.wait(END_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.socket.unlink(missing_ok=True)


class Tunnels:
    """The open ways of one engine, one per machine and port, opened when first asked for."""

    def __init__(self, folder: Path, known_hosts: Path) -> None:
        self._folder = folder
        self._known_hosts = known_hosts
        self._open: dict[tuple[SshTarget, str, int], Tunnel] = {}
        self._lock = threading.Lock()

    def socket(self, target: SshTarget, host: str, port: int) -> Path:
        """A Unix socket that leads to `host:port` as seen from the machine. Raises KferryError."""
        key = (target, host, port)
        with self._lock:
            if key not in self._open:
                name = hashlib.sha256(repr(key).encode()).hexdigest()[:10]
                self._open[key] = Tunnel(target, self._known_hosts, self._folder / f"t-{name}", host, port)
            tunnel = self._open[key]
        return tunnel.open()

    def close(self) -> None:
        """End every ssh."""
        with self._lock:
            for tunnel in self._open.values():
                tunnel.close()
            self._open.clear()
