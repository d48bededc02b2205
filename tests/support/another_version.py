"""A second version of the Kafka distribution, for tests of upgrades."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path


def another_version(archive: Path, folder: Path) -> Path:
    """The distribution with one jar more, as a new archive below `folder`."""
    unpacked, made = folder / "unpacked", folder / "other.tar"
    with tarfile.open(archive) as given:
        given.extractall(unpacked, filter="data")
    with zipfile.ZipFile(unpacked / "libs" / "another-build-1.0.jar", "w") as jar:
        jar.writestr("another.txt", "build")
    with tarfile.open(made, "w") as tar:
        for path in sorted(unpacked.rglob("*")):
            if path.is_file():
                tar.add(path, path.relative_to(unpacked))
    return made
