"""Kept scans: one compressed file each, the newest of each cluster, so that a scan can be told from an earlier one."""

from __future__ import annotations

import gzip
import os
import re
import tempfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Role, Scan
from kferry.store import codec
from kferry.store.paths import Layout

KEPT = 20
_NAME = re.compile(r"(\d{1,16})-([0-9a-f]{1,32})\.json\.gz")
_NOT_IN_A_NAME = re.compile(r"[^0-9a-f]")


@dataclass(frozen=True, slots=True)
class KeptScan:
    """A file of a kept scan."""

    role: Role
    scan_id: str
    taken_at_ms: int
    path: Path
    size_bytes: int


def folder(layout: Layout, role: Role) -> Path:
    return layout.private / "scans" / role.value


def keep(layout: Layout, role: Role, scan: Scan) -> Path:
    """Write a scan, whole or not at all, and remove the oldest ones beyond those that are kept."""
    home = folder(layout, role)
    scan_id = _NOT_IN_A_NAME.sub("", scan.scan_id.lower())[:32] or "0"
    path = home / f"{scan.taken_at_ms}-{scan_id}.json.gz"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".scan-", dir=home)  # of mode 0600
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(gzip.compress(codec.dump(scan).encode(), compresslevel=5))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        for old in kept(layout, role)[KEPT:]:
            old.path.unlink(missing_ok=True)
    except OSError as error:
        raise KferryError(
            f"The scan could not be kept in {home}.",
            cause=f"{error.strerror or error}.",
            next_step="Make room or set the permissions right, then scan again.",
        ) from error
    return path


def kept(layout: Layout, role: Role) -> list[KeptScan]:
    """The kept scans of a cluster, the newest first."""
    found = []
    with suppress(FileNotFoundError):
        for path in folder(layout, role).iterdir():
            match = _NAME.fullmatch(path.name)
            if match:
                with suppress(FileNotFoundError):  # removed this moment, to make room for a newer one
                    found.append(KeptScan(role, match[2], int(match[1]), path, path.stat().st_size))
    return sorted(found, key=lambda item: (item.taken_at_ms, item.scan_id), reverse=True)


def load(item: KeptScan) -> Scan:
    """The scan of a file."""
    try:
        return codec.load(Scan, gzip.decompress(item.path.read_bytes()))
    except (OSError, EOFError, zlib.error, ValidationError) as error:
        raise KferryError(
            f"The kept scan {item.path} cannot be read.",
            cause="It is damaged, or was written by another version of kferry."
            if not isinstance(error, FileNotFoundError)
            else "It is gone.",
            next_step="Delete the file; the other scans are not affected.",
        ) from error


def find(layout: Layout, role: Role, word: str) -> KeptScan:
    """The kept scan that a word means: the beginning of its id, `newest`, or a number counted back (1 = the newest)."""
    scans = kept(layout, role)
    if word == "newest" and scans:
        return scans[0]
    if word.isdigit() and 1 <= int(word) <= len(scans) and len(word) <= 2:
        return scans[int(word) - 1]
    matches = [item for item in scans if item.scan_id.startswith(word.lower())] if word else []
    if len(matches) == 1:
        return matches[0]
    ids = ", ".join(item.scan_id for item in scans[:5])
    raise KferryError(
        f"{'More than one' if matches else 'No'} kept scan of the {role.value} cluster is meant by {word!r}.",
        cause=f"Kept are: {ids}{' and older ones' if len(scans) > 5 else ''}." if scans else "None is kept yet.",
        next_step="See: kferry scan list",
        kind=ErrorKind.USAGE,
    )
