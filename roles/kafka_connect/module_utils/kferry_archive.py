"""Folders that are made from an archive: named only when they are whole, so that a half-copied one is never used."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tarfile

MARK = ".sha256"


def is_installed(target, sha256):
    """Whether the folder was made, whole, from the archive with this hash."""
    try:
        return (target / MARK).read_text(encoding="utf-8").strip() == sha256
    except OSError:
        return False


def install(archive, sha256, target, fill):
    """Make the folder: hash the archive, `fill(content, staging)` a folder beside it, mark and rename.

    Raises ValueError where the archive is not the expected one or `fill` refuses what is in it, OSError and
    tarfile.TarError where it can't be read or written. Another play that is at it already is waited for.
    """
    os.umask(0o022)  # root unpacks, the accounts of several tasks read
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (target.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_installed(target, sha256):
            return
        found = sha256_of(archive)
        if found != sha256:
            raise ValueError(
                f"{archive} is not whole, its SHA-256 is {found[:16]}…, expected {sha256[:16]}…; run the play again"
            )
        shutil.rmtree(str(target), ignore_errors=True)
        staging = target.with_name(f".{target.name}.new")
        shutil.rmtree(str(staging), ignore_errors=True)
        try:
            staging.mkdir(parents=True)
            with tarfile.open(str(archive), "r:*") as content:
                fill(content, staging)
            # the mark goes last; a folder without it is not an installation
            (staging / MARK).write_text(sha256 + "\n", encoding="utf-8")
            staging.rename(target)
        finally:
            shutil.rmtree(str(staging), ignore_errors=True)


def prune(root, pattern, keep):
    """Remove older folders of this pattern that no worker below root links to; their names.

    The caller holds the host's claim, so that no other play is between unpacking a folder and linking to it.
    """
    linked = {
        os.path.realpath(str(link)) for name in ("current", "previous", "java") for link in root.glob(f"*/{name}")
    }
    removed = []
    for folder in sorted((root / "versions").glob(pattern)):
        path = os.path.realpath(str(folder))
        is_used = any(one == path or one.startswith(path + os.sep) for one in linked)
        if folder != keep and not is_used and not folder.is_symlink():
            # first the mark: half of a folder is not an installation
            (folder / MARK).unlink(missing_ok=True)
            shutil.rmtree(str(folder))
            removed.append(folder.name)
    return removed


def write_entry(content, entry, path):
    """Copy one file of the archive; of a hard link, the file it means."""
    source = content.extractfile(entry)
    if source is None:
        raise ValueError(f"{entry.name!r} cannot be read")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as copy:
        shutil.copyfileobj(source, copy)


def sha256_of(path):
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()
