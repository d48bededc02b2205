"""Writing a file so that a reader, or a crash, sees either the old content or the new, never half of it."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from kferry.domain.errors import ErrorKind, KferryError


def write_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace `path` by `text`; an existing file keeps its mode."""
    write_bytes(path, text.encode(), mode=mode)


def write_bytes(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace what is in `path`; an existing file keeps its mode."""
    try:
        _write(path, content, mode)
    except OSError as error:
        raise KferryError(
            f"{path} could not be written; it is as it was.",
            cause=f"{error.strerror or error}.",
            next_step="Make room or set the permissions right, then try again.",
            kind=ErrorKind.FAILED,
        ) from error


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        mode = path.stat().st_mode & 0o777
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
