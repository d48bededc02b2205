"""One lab and one migration directory for all end-to-end tests of a run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.lab_run import LabRun, running


@pytest.fixture(scope="session")
def lab_run() -> Iterator[LabRun]:
    """A lab with traffic whose migration is planned; each end-to-end file moves one batch of it."""
    folder = Path(tempfile.mkdtemp(prefix="kfe-"))  # short: Unix sockets lie below it
    try:
        with running(folder) as run:
            yield run
    finally:
        shutil.rmtree(folder, ignore_errors=True)
