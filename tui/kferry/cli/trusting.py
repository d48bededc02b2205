"""Asking the operator about host keys, and pinning those that were compared: the steps of `kferry fleet trust`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer

from kferry.cli import output
from kferry.cli.state import State
from kferry.client import diagnostics, fleet, host_keys
from kferry.client.exit_codes import ExitCode
from kferry.client.host_keys import Place, Shown
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.host_keys import HostKey
from kferry.store.paths import Layout

# What is worse comes first: it decides the exit code.
_CODES = (("changed", ExitCode.DRIFT), ("silent", ExitCode.CONNECT), ("not trusted", ExitCode.NOT_READY))


@dataclass(frozen=True, slots=True)
class Trust:
    """What the operator asked for. `fingerprints` are keys known to be right from elsewhere."""

    hosts: tuple[str, ...] = ()
    fingerprints: frozenset[str] = frozenset()
    replace: bool = False
    yes: bool = False
    dry_run: bool = False


@dataclass(slots=True)
class _Asking:
    """The questions of one call; `all` once the operator has said so."""

    trust: Trust
    layout: Layout
    all: bool = False


def trust_all(state: State, trust: Trust) -> ExitCode:
    """Ask every machine for its keys, jump hosts first, let the operator decide, and say how each stands."""
    if trust.yes and not trust.fingerprints:
        raise KferryError(
            "--yes alone would trust whoever answers.",
            next_step="Name the keys that are right: --fingerprint SHA256:... (repeatable), or leave out --yes.",
            kind=ErrorKind.USAGE,
        )
    wrong = sorted(item for item in trust.fingerprints if not item.startswith("SHA256:"))
    if wrong:
        raise KferryError(
            f"{wrong[0]!r} is no fingerprint.",
            next_step="Write it as ssh-keygen -lf prints it: SHA256:...",
            kind=ErrorKind.USAGE,
        )
    layout = state.session().layout
    jumps, machines = host_keys.places(fleet.hosts(layout), trust.hosts)
    asking = _Asking(trust, layout)
    rows: list[tuple[Shown, str]] = []
    for group in (jumps, machines):  # machines behind a jump host can be asked once that is trusted
        rows += [(found, _decide(asking, found)) for found in host_keys.ask(layout, group)]
    _emit(state, rows)
    if trust.dry_run and rows:
        diagnostics.say("Nothing was pinned (--dry-run).")
    ends = {end for _, end in rows}
    return next((code for end, code in _CODES if end in ends), ExitCode.OK)


def _decide(asking: _Asking, found: Shown) -> str:
    """How one place stands in the end: pinned, trusted, would be trusted, not trusted, changed, silent."""
    trust = asking.trust
    if found.state == "pinned":
        return "pinned"
    if found.error is not None:
        diagnostics.error(found.error)
        return "silent"
    if found.state == "changed" and not trust.replace:
        diagnostics.error(host_keys.changed(found))
        return "changed"
    _show(found)
    keys = _right_keys(trust, found)
    if not keys:
        diagnostics.warn(f"None of the fingerprints given is one of {found.place.name}'s; it is not trusted.")
        return "not trusted"
    if trust.dry_run:
        return "would be trusted"
    if not trust.yes and not _agrees(asking, found):
        return "not trusted"
    host_keys.pin(asking.layout, found.place, keys)
    return "trusted"


def _right_keys(trust: Trust, found: Shown) -> Sequence[HostKey]:
    """The keys to pin: those the operator named, else all that are shown and compared by eye."""
    if not trust.fingerprints:
        return found.shown
    return [key for key in found.shown if key.fingerprint in trust.fingerprints]


def _show(found: Shown) -> None:
    place = found.place
    through = f" through {place.jump.address}" if place.jump else ""
    diagnostics.tell(f"{place.name} ({place.address} port {place.port}{through}) shows keys that are not pinned:")
    for key in found.shown:
        diagnostics.tell(f"  {key.type:<20} {key.fingerprint}")
    for key in found.pinned:
        diagnostics.tell(f"  pinned until now: {key.type} {key.fingerprint}")


def _agrees(asking: _Asking, found: Shown) -> bool:
    if asking.all and found.state == "new":
        return True
    if not sys.stdin.isatty():
        raise KferryError(
            "Nobody can be asked whether these keys are right; nothing more was pinned.",
            next_step="Compare them on the machine (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then: "
            "kferry fleet trust --yes --fingerprint SHA256:...",
            kind=ErrorKind.USAGE,
        )
    diagnostics.tell("Compare them with the machine's console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
    if found.state == "changed":
        name = found.place.names[-1]
        typed: str = typer.prompt(f"Type {name!r} to pin the new keys instead of the old ones", err=True)
        return typed.strip() == name
    answer: str = typer.prompt(f"Trust {found.place.name}? [y/n/all]", default="n", show_default=False, err=True)
    asking.all = answer.strip().lower() == "all"
    return asking.all or answer.strip().lower() in ("y", "yes")


def _emit(state: State, rows: Sequence[tuple[Shown, str]]) -> None:
    output.emit(
        state,
        [_data(found, end) for found, end in rows],
        headers=("MACHINE", "ADDRESS", "PORT", "KEYS", "SHOWN"),
        rows=[
            (found.place.name, found.place.address, found.place.port, end, host_keys.fingerprints(found.shown))
            for found, end in rows
        ],
        empty="No machine is reached over SSH; nothing needs to be trusted.",
    )


def _data(found: Shown, end: str) -> dict[str, Any]:
    place: Place = found.place
    return {
        "names": place.names,
        "address": place.address,
        "port": place.port,
        "jump": place.jump.address if place.jump else None,
        "state": end,
        "shown": [{"type": key.type, "fingerprint": key.fingerprint} for key in found.shown],
        "pinned_before": [{"type": key.type, "fingerprint": key.fingerprint} for key in found.pinned],
        "error": found.error.as_dict() if found.error else None,
    }
