"""Ask machines for their host keys, without trusting them. `python -m kferry.ansible.host_keys` does it for the faces.

Standard input: `{"known_hosts": path, "targets": [{"host", "port", "jump": null or {"user", "host", "port",
"key_file"}}]}`; standard output: a list, one per target, of `{"host", "port", "keys": [{"host", "port", "type", "key",
"fingerprint", "line"}], "error": null or error dict}`.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.host_keys import DEFAULT_PORT, HostKey, host_pattern, is_address, parse_key

SCAN_SECONDS = 5
DEADLINE_SECONDS = 20.0
SCANS_AT_ONCE = 16
TYPES = "ed25519,ecdsa,rsa"


@dataclass(frozen=True, slots=True)
class JumpHost:
    """The machine through which others are reached; its own key must be pinned already."""

    user: str
    host: str
    port: int = DEFAULT_PORT
    key_file: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A machine to ask."""

    host: str
    port: int = DEFAULT_PORT
    jump: JumpHost | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """What one machine showed; `error` says why it showed nothing."""

    target: Target
    keys: tuple[HostKey, ...] = ()
    error: KferryError | None = None


def scan_all(targets: Iterable[Target], known_hosts: Path) -> list[Scan]:
    """Ask every machine, several at once; one that doesn't answer is named and the others go on."""
    with ThreadPoolExecutor(SCANS_AT_ONCE) as pool:
        return list(pool.map(lambda target: _scan(target, known_hosts), targets))


def scan(target: Target, known_hosts: Path) -> tuple[HostKey, ...]:
    """The keys that a machine shows now. Raises KferryError where it shows none."""
    for host, port in ((target.host, target.port), *([(target.jump.host, target.jump.port)] if target.jump else [])):
        if not is_address(host) or not 0 < port < 65536:
            raise KferryError(f"{host!r} port {port} is not the address of a machine.", kind=ErrorKind.USAGE)
    command = ["ssh-keyscan", "-T", str(SCAN_SECONDS), "-p", str(target.port), "-t", TYPES, target.host]
    through = f" through {target.jump.host}" if target.jump else ""
    done = _run(_over(target.jump, command, known_hosts) if target.jump else command, target, through)
    if target.jump and done.returncode == 255:  # ssh's own failure
        raise KferryError(
            f"The jump host {target.jump.host} cannot be used to ask {target.host} for its key.",
            cause=_last_line(done.stderr),
            next_step="Trust the jump host first (`kferry fleet trust`); SSH must log in there without a prompt.",
            kind=ErrorKind.CONNECT,
        )
    keys = tuple(parse(done.stdout, target))
    if not keys:
        raise KferryError(
            f"{host_pattern(target.host, target.port)} shows no host key{through}.",
            cause=_last_line(done.stderr) or f"No SSH answered within {SCAN_SECONDS} s.",
            next_step="Check address and port in inventory/hosts.yml, the firewall, and that sshd runs.",
            kind=ErrorKind.CONNECT,
        )
    return keys


def parse(text: str, target: Target) -> list[HostKey]:
    """The keys in what ssh-keyscan printed, as keys of the target whatever name stands there."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 3 and not line.startswith("#"):
            key = parse_key(target.host, target.port, words[1], words[2])
            if key is not None and key not in found:
                found.append(key)
    return sorted(found, key=lambda key: key.type)


def _over(jump: JumpHost, command: Sequence[str], known_hosts: Path) -> list[str]:
    """The command run on the jump host, whose key must be the pinned one."""
    if jump.user.startswith("-"):
        raise KferryError(f"{jump.user!r} is not an account.", kind=ErrorKind.USAGE)
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": f'"{known_hosts}"',
        "GlobalKnownHostsFile": "/dev/null",
        "ConnectTimeout": str(SCAN_SECONDS),
        "ControlPath": "none",
    }
    words = ["ssh", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    words += ["-i", jump.key_file] if jump.key_file else []
    return [*words, "-p", str(jump.port), "-l", jump.user, "--", jump.host, shlex.join(command)]


def _run(command: Sequence[str], target: Target, through: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise KferryError(
            f"{target.host} did not show a host key{through} within {DEADLINE_SECONDS:g} s.",
            next_step="Check the network between here and there, then try again.",
            kind=ErrorKind.TIMEOUT,
        ) from error
    except OSError as error:
        raise KferryError(
            f"{command[0]} cannot be started: {error.strerror}.",
            next_step="Install the OpenSSH client on this machine.",
            kind=ErrorKind.USAGE,
        ) from error


def _scan(target: Target, known_hosts: Path) -> Scan:
    try:
        return Scan(target, scan(target, known_hosts))
    except KferryError as error:
        return Scan(target, error=error)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    clean = "".join(character for character in (lines[-1] if lines else "") if character.isprintable())
    return f"{clean[:300].rstrip('.')}." if clean else ""


def _target(data: Mapping[str, Any]) -> Target:
    jump = data.get("jump")
    return Target(str(data["host"]), int(data.get("port") or DEFAULT_PORT), JumpHost(**jump) if jump else None)


def _as_dict(found: Scan) -> dict[str, Any]:
    keys = [
        {
            "host": key.host,
            "port": key.port,
            "type": key.type,
            "key": key.key,
            "fingerprint": key.fingerprint,
            "line": key.line,
        }
        for key in found.keys
    ]
    error = found.error.as_dict() if found.error else None
    return {"host": found.target.host, "port": found.target.port, "keys": keys, "error": error}


def main() -> int:
    """Read the question from standard input and print the answer."""
    question = json.load(sys.stdin)
    found = scan_all([_target(item) for item in question["targets"]], Path(question["known_hosts"]))
    json.dump([_as_dict(item) for item in found], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
