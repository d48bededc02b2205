"""A real broker and a migration directory for the playbooks to work on."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kferry.ansible.dist import Distribution, ensure_distribution
from kferry.ansible.java import Java, find_java
from plays.harness import Broker, Migration, marked_pids, running_broker


@pytest.fixture(scope="session")
def distribution() -> Distribution:
    return ensure_distribution()


@pytest.fixture(scope="session")
def java() -> Java:
    return find_java()


@pytest.fixture(scope="session")
def broker(distribution: Distribution, java: Java, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A single-node KRaft broker."""
    with running_broker(tmp_path_factory.mktemp("broker"), distribution, java) as broker:
        yield broker


@pytest.fixture
def migration(tmp_path: Path) -> Iterator[Migration]:
    """A fresh migration directory; whatever a play left running on it is ended afterwards."""
    mark = f"plays-{os.getpid()}-{tmp_path.name}"
    with tempfile.TemporaryDirectory(prefix="kf-plays-") as runtime:
        yield Migration(tmp_path / "migration", Path(runtime), mark)
        for number, seconds in ((signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0)):
            for pid in marked_pids(mark):
                os.kill(pid, number)
            deadline = time.monotonic() + seconds
            while marked_pids(mark) and time.monotonic() < deadline:
                time.sleep(0.1)
        assert not marked_pids(mark)
