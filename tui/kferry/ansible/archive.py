"""Make the Kafka archive: the same jars always give the same bytes."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

CHUNK_BYTES = 1 << 20


def hash_file(path: Path, algorithm: str = "sha256") -> str:
    """The hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def write_archive(target: Path, *, version: str, jars: Mapping[str, Path]) -> str:
    """Write `VERSION` and the jars, each under its path in the archive, into a plain tar and return its SHA-256.

    Times, owners and order are fixed. Jars are compressed already, so the archive isn't.
    """
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        text = f"{version}\n".encode()
        archive.addfile(_entry("VERSION", len(text)), io.BytesIO(text))
        for archive_path in sorted(jars):
            with jars[archive_path].open("rb") as stream:
                archive.addfile(_entry(archive_path, jars[archive_path].stat().st_size), stream)
    return hash_file(target)


def _entry(name: str, size_bytes: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size_bytes
    entry.mode = 0o644
    entry.mtime = 0
    return entry
