"""Kept scans for both faces: which there are, what changed between two, what is unused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kferry.domain import clean_up, scan_diff
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Role, Scan

if TYPE_CHECKING:
    from kferry.client.session import Session
    from kferry.domain.clean_up import CleanUp
    from kferry.domain.scan_diff import ScanDiff
    from kferry.store.scan_files import KeptScan


@dataclass(frozen=True, slots=True)
class KeptScanView:
    """One kept scan; `number` counts back from the newest, which is 1."""

    number: int
    role: str
    scan_id: str
    taken_at_ms: int
    size_bytes: int


def kept(session: Session, roles: tuple[Role, ...] = tuple(Role)) -> list[KeptScanView]:
    """The kept scans of these clusters, the newest first."""
    from kferry.store import scan_files

    return [
        KeptScanView(number, item.role.value, item.scan_id, item.taken_at_ms, item.size_bytes)
        for role in roles
        for number, item in enumerate(scan_files.kept(session.layout, role), 1)
    ]


def difference(session: Session, role: Role, old: str = "", new: str = "") -> ScanDiff:
    """The newer of two kept scans against the older; without names the newest against the one before.

    With one name: the newest against that one.
    """
    from kferry.store import scan_files

    if not old:
        found = scan_files.kept(session.layout, role)
        if len(found) < 2:
            raise KferryError(
                f"There is nothing to compare: {len(found)} scan of the {role.value} cluster is kept.",
                next_step="Scan again (kferry scan), then compare.",
                kind=ErrorKind.NOT_READY,
            )
        pair = [found[1], found[0]]
    else:
        pair = [scan_files.find(session.layout, role, old), scan_files.find(session.layout, role, new or "newest")]
    pair.sort(key=_age)
    before, after = (scan_files.load(item) for item in pair)
    return scan_diff.compare(before, after)


def unused(session: Session, role: Role, *, now_ms: int, idle_days: int) -> CleanUp:
    """What the newest scan shows to be unused."""
    found: Scan | None = session.reader.scan(role.value)
    if found is None:
        raise KferryError(
            f"The {role.value} cluster was not scanned yet.", next_step="Run: kferry scan", kind=ErrorKind.NOT_READY
        )
    return clean_up.unused(found, now_ms=now_ms, idle_after_ms=idle_days * clean_up.DAY_MS)


def _age(item: KeptScan) -> int:
    return item.taken_at_ms
