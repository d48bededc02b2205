"""What machines show as their host keys against what is pinned, and pinning what the operator has compared."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.host_keys import HostKey, KeyState, compare, parse_key
from kferry.store import known_hosts
from kferry.store.hosts_file import HostEntry, Jump
from kferry.store.paths import Layout

# Machines are asked sixteen at a time, and each answers or is given up within 20 seconds.
_AT_ONCE, _EACH_SECONDS, _SPARE_SECONDS = 16, 20.0, 15.0


@dataclass(frozen=True, slots=True)
class Place:
    """An SSH server to be trusted: a machine, or a jump host. `names` are what hosts.yml calls it."""

    names: tuple[str, ...]
    address: str
    port: int
    jump: Jump | None = None
    key_file: str | None = None

    @property
    def name(self) -> str:
        return ", ".join(self.names)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a place shows now. state: pinned, new, changed, silent (then `error` says why)."""

    place: Place
    state: str
    shown: tuple[HostKey, ...] = ()
    pinned: tuple[HostKey, ...] = ()
    error: KferryError | None = None


def places(entries: Sequence[HostEntry], wanted: Iterable[str] = ()) -> tuple[list[Place], list[Place]]:
    """(jump hosts, machines) to be trusted: all of them, or those wanted with their jump hosts. Local ones need none.

    Raises KferryError for a name that hosts.yml does not have.
    """
    names = set(wanted)
    unknown = sorted(names - {entry.name for entry in entries})
    if unknown:
        raise KferryError(
            f"There is no machine {unknown[0]!r} in inventory/hosts.yml.",
            next_step=f"Machines: {', '.join(entry.name for entry in entries) or 'none'}.",
            kind=ErrorKind.USAGE,
        )
    jumps: dict[tuple[str, int], Place] = {}
    machines: dict[tuple[str, int], Place] = {}
    for entry in entries:
        if entry.is_local or (names and entry.name not in names):
            continue
        if entry.jump is not None:
            at = (entry.jump.address, entry.jump.port)
            jumps.setdefault(at, Place((f"jump host {entry.jump.address}",), *at))
        here = (entry.address, entry.port)
        before = machines[here].names if here in machines else ()
        machines[here] = Place((*before, entry.name), *here, entry.jump, entry.key_file)
    return list(jumps.values()), list(machines.values())


def ask(layout: Layout, asked: Sequence[Place]) -> list[Shown]:
    """Ask every place for its keys, without trusting any; those behind a jump host through it."""
    if not asked:
        return []
    answers = _scan(layout, asked)
    return [_judged(layout, place, answer) for place, answer in zip(asked, answers, strict=True)]


def pin(layout: Layout, place: Place, keys: Sequence[HostKey]) -> None:
    """Trust these keys of a place from now on, and no others."""
    if not keys or any((key.host, key.port) != (place.address, place.port) for key in keys):
        raise KferryError(f"These are not the keys of {place.name}; nothing was pinned.", kind=ErrorKind.INTERNAL)
    known_hosts.pin(layout, keys)


def changed(found: Shown) -> KferryError:
    """A machine that shows other keys than the pinned ones, with both, and what it may mean."""
    return KferryError(
        f"{found.place.name} ({found.place.address}) shows other host keys than the pinned ones; it is not trusted.",
        cause=f"Pinned: {fingerprints(found.pinned)}. Shown now: {fingerprints(found.shown)}. The machine was installed"
        " anew, another one has its address, or somebody is in between.",
        next_step=f"Find out which. If it is meant: kferry fleet trust {found.place.names[-1]} --replace",
        kind=ErrorKind.DRIFT,
    )


def fingerprints(keys: Iterable[HostKey]) -> str:
    return ", ".join(f"{key.type} {key.fingerprint}" for key in keys) or "none"


def _judged(layout: Layout, place: Place, answer: dict[str, Any]) -> Shown:
    pinned = tuple(known_hosts.keys_of(layout, place.address, place.port))
    if answer.get("error"):
        return Shown(place, "silent", pinned=pinned, error=KferryError.from_dict(answer["error"]))
    parsed = (parse_key(place.address, place.port, key["type"], key["key"]) for key in answer["keys"])
    shown = tuple(key for key in parsed if key is not None)
    state = compare(pinned, shown)
    if state is KeyState.PINNED:
        return Shown(place, "pinned", shown, pinned)
    # none of the pinned keys is shown: keys of other types alone would be an easy way around the pinned ones
    return Shown(place, "changed" if pinned else "new", shown, pinned)


def _scan(layout: Layout, asked: Sequence[Place]) -> list[dict[str, Any]]:
    """ssh-keyscan is driven by a process of its own: the faces know the adapters as processes only."""
    question = {"known_hosts": str(layout.known_hosts), "targets": [_target(place) for place in asked]}
    rounds = -(-len(asked) // _AT_ONCE)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "kferry.ansible.host_keys"],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=rounds * _EACH_SECONDS + _SPARE_SECONDS,
            check=False,
        )
        answers: list[dict[str, Any]] = json.loads(done.stdout) if done.returncode == 0 else []
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise _broken(str(error)) from error
    if len(answers) != len(asked):
        raise _broken(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "It ended without an answer.")
    return answers


def _broken(cause: str) -> KferryError:
    return KferryError(
        "The machines could not be asked for their host keys.",
        cause=cause,
        next_step="See whether ssh-keyscan works here: ssh-keyscan ADDRESS",
        kind=ErrorKind.INTERNAL,
    )


def _target(place: Place) -> dict[str, Any]:
    jump = None
    if place.jump is not None:
        via = place.jump
        jump = {"user": via.user, "host": via.address, "port": via.port, "key_file": place.key_file}
    return {"host": place.address, "port": place.port, "jump": jump}
