"""Finding the migration directory: -C, then KFERRY_DIR, then upward from here, then the demo."""

from __future__ import annotations

import os
import re
from pathlib import Path

from kferry.domain.errors import ErrorKind, KferryError

SETTINGS_NAME = "kferry.yml"


def checkout(start: Path | None = None) -> Path | None:
    """The source checkout of kferry that this code runs from, or None for an installed kferry."""
    here = (start or Path(__file__)).resolve()
    for folder in here.parents:
        project = folder / "pyproject.toml"
        if project.is_file():
            named = re.search(r'(?m)^name\s*=\s*"kferry"', project.read_text("utf-8", "replace"))
            return folder if named else None
    return None


def demo_home() -> Path:
    """Where the demo lives: KFERRY_DEMO_HOME, .demo in a checkout, else the XDG state directory."""
    named = os.environ.get("KFERRY_DEMO_HOME")
    if named:
        return Path(named).absolute()
    source = checkout()
    if source is not None and os.access(source, os.W_OK):
        return source / ".demo"
    import platformdirs

    return Path(platformdirs.user_state_dir("kferry")) / "demo"


def upward(start: Path) -> Path | None:
    """The nearest folder at or above `start` that holds kferry.yml."""
    for folder in (start, *start.parents):
        if (folder / SETTINGS_NAME).is_file():
            return folder
    return None


def migration_directory(named: Path | None = None) -> Path:
    """The migration directory to work on. A named one need not hold kferry.yml yet; the caller checks."""
    if named is not None:
        return _existing(named, "-C")
    from_environment = os.environ.get("KFERRY_DIR")
    if from_environment:
        return _existing(Path(from_environment), "KFERRY_DIR")
    found = upward(Path.cwd())
    if found is not None:
        return found
    demo = demo_home() / "migration"
    if (demo / SETTINGS_NAME).is_file():
        return demo
    raise KferryError(
        "There is no migration directory here or in a folder above.",
        next_step="Make one with: kferry init DIR, name one with: kferry -C DIR, or see it all work: kferry demo",
        kind=ErrorKind.USAGE,
    )


def _existing(folder: Path, how: str) -> Path:
    if not folder.is_dir():
        raise KferryError(
            f"The migration directory {folder} ({how}) does not exist.",
            next_step="Make it with: kferry init DIR",
            kind=ErrorKind.USAGE,
        )
    return folder.absolute()
