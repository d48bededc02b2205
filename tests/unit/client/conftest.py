"""A migration directory with a journal, and an engine that is only a lock and a thread that answers."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kferry.client.session import Session
from kferry.store import schema
from kferry.store.paths import Layout
from support.fake_engine import FakeEngine


@pytest.fixture(scope="session")
def empty_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty journal at the newest schema, made once."""
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    schema.upgrade(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode=wal")  # now, while nobody else has it open
    return path


@pytest.fixture
def layout(tmp_path: Path, empty_journal: Path) -> Layout:
    found = Layout(tmp_path / "m")
    found.prepare()
    found.settings.write_text("schema: 1\nmigration_id: k3f9x2\nname: demo\nsettings: {}\n")
    found.clusters.parent.mkdir(parents=True)
    found.clusters.write_text(
        "kferry_clusters:\n  source:\n    kind: apache_kafka\n    bootstrap_servers: a:9092\n"
        "  target:\n    kind: automq\n    bootstrap_servers: b:9092\n"
    )
    shutil.copy(empty_journal, found.journal)
    return found


@pytest.fixture
def session(layout: Layout) -> Iterator[Session]:
    found = Session(layout.root)
    yield found
    found.close()


@pytest.fixture
def engine(layout: Layout) -> Iterator[FakeEngine]:
    with FakeEngine(layout) as found:
        yield found
