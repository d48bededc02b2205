"""The picture of the README, drawn by the real app: `python -m support.picture OUT.svg [DIR]`.

Without DIR the app opens a migration directory that is seeded through the real schema and journal, at a fixed time, so
that the picture changes only when the interface does.
"""

from __future__ import annotations

import asyncio
import fcntl
import re
import sys
import tempfile
from pathlib import Path

from kferry.ui import screenshot
from support import seeded

# The exporter asks for a web font by address, and numbers its style classes anew in each process.
_FONT_FACES = re.compile(r"@font-face\s*\{[^}]*\}\s*")
_CLASS_NUMBER = re.compile(r"terminal-\d+")


def plain(picture: str) -> str:
    """The same picture without addresses and without what differs from run to run."""
    without_fonts = _FONT_FACES.sub("", picture)
    lines = _CLASS_NUMBER.sub("terminal-kferry", without_fonts).splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


def draw(directory: Path | None = None, *, screen: str = "overview", size: tuple[int, int] = (120, 28)) -> str:
    """The SVG of one screen of a migration directory, or of the seeded one."""
    if directory is not None:
        return plain(asyncio.run(screenshot.take(directory, screen=screen, size=size)))
    with tempfile.TemporaryDirectory(prefix="kferry-picture-") as folder:
        layout = seeded.mid_migration(Path(folder) / "demo")
        with layout.lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # what a living engine holds
            taken = screenshot.take(layout.root, screen=screen, size=size, clock=lambda: seeded.NOW_MS)
            return plain(asyncio.run(taken))


def main(arguments: list[str]) -> int:
    out, *more = arguments
    Path(out).write_text(draw(Path(more[0]) if more else None), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
