"""An app on a seeded migration, with the clock stopped."""

from __future__ import annotations

import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from kferry.client import rail
from kferry.client.session import Session
from kferry.store.paths import Layout
from kferry.ui.app import KferryApp
from support import seeded
from support.ui_app import engine_lock

HOSTILE = "[/][@click=app.quit]x[b] \x1b]52;c;YQ==\x07\u202e{{ 1 }}"


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeding takes a while under load: done once, copied for each test."""
    return seeded.mid_migration(tmp_path_factory.mktemp("seeded") / "m").root


@pytest.fixture
def layout(_template: Path, tmp_path: Path) -> Layout:
    import shutil

    root = tmp_path / "m"
    shutil.copytree(_template, root)
    return Layout(root)


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder whose path is as long in every run: errors name it, and where their lines wrap depends on it."""
    with tempfile.TemporaryDirectory(prefix="kferry-pictures-", dir="/tmp") as folder:
        yield Path(folder) / "m"


@pytest.fixture
def hostile_layout(tmp_path: Path) -> Layout:
    return seeded.mid_migration(tmp_path / "m", hostile=HOSTILE)


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rail asks the time by itself."""
    monkeypatch.setattr(rail, "time", types.SimpleNamespace(time=lambda: seeded.NOW_MS / 1000))


@pytest.fixture
def engine_alive(layout: Layout) -> Iterator[None]:
    with engine_lock(layout):
        yield


@pytest.fixture
def make_app(stopped_clock: None) -> Iterator[Callable[..., KferryApp]]:
    sessions = []

    def make(layout: Layout, *, read_only: bool = False) -> KferryApp:
        session = Session(layout.root, read_only=read_only)
        sessions.append(session)
        return KferryApp(session, clock=lambda: seeded.NOW_MS)

    yield make
    for session in sessions:
        session.close()


class SvgExtension(SingleFileSnapshotExtension):
    """One SVG file for each picture."""

    _write_mode = WriteMode.TEXT
    file_extension = "svg"


@pytest.fixture
def svg(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(SvgExtension)
