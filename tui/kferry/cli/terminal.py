"""Handing over to the terminal interface: the only place where the command line knows the other face."""

from __future__ import annotations

from pathlib import Path


def open_terminal_interface(root: Path, *, read_only: bool) -> int:
    """Run the terminal interface on a migration directory until it is closed; return its exit code."""
    from kferry.ui.app import run

    return run(root, read_only)
