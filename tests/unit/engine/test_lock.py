"""The lock that means "an engine lives here": refused to a second engine, but not because somebody looks at it."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from kferry.domain.errors import KferryError
from kferry.engine import process
from kferry.store.engine_lock import engine_holds_lock
from kferry.store.paths import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.prepare()
    return made


def test_a_second_engine_is_refused(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOOKING_SECONDS", 0.05)
    with process.take_lock(layout):
        assert engine_holds_lock(layout.lock)
        with pytest.raises(KferryError, match="An engine runs already"):
            process.take_lock(layout)
    assert not engine_holds_lock(layout.lock)


def test_a_face_that_looks_at_the_same_moment_is_waited_for(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOOKING_SECONDS", 30.0)
    layout.lock.touch()
    with layout.lock.open("r") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        done = threading.Timer(0.2, fcntl.flock, (looking, fcntl.LOCK_UN))
        done.start()
        with process.take_lock(layout):
            assert engine_holds_lock(layout.lock)
        done.join()
