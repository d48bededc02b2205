"""The journal: one transaction for rows and event, a chain that shows tampering, a schema that is never guessed."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import SQLModel

from kferry.domain import machine
from kferry.domain.errors import KferryError
from kferry.domain.model import Change, Role
from kferry.domain.runbook import OperationKind
from kferry.store import intents, schema
from kferry.store.chain import first_broken_link
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.queries import Reader
from kferry.store.tables import Sample


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.prepare()
    schema.upgrade(layout.journal)
    return layout


@pytest.fixture
def journal(layout: Layout) -> Iterator[Journal]:
    journal = Journal(layout.journal)
    yield journal
    journal.close()


@pytest.fixture
def reader(layout: Layout) -> Iterator[Reader]:
    reader = Reader(layout.root)
    yield reader
    reader.close()


def test_the_schema_is_what_the_tables_say(layout: Layout) -> None:
    """A column added to a table without a migration is found here."""
    connection = sqlite3.connect(layout.journal)
    for table in SQLModel.metadata.sorted_tables:
        columns = {row[1] for row in connection.execute(f"pragma table_info({table.name})")}
        assert columns == {column.name for column in table.columns}, table.name
    connection.close()


def test_head_is_the_newest_migration() -> None:
    files = sorted(
        path.name[:4] for path in (Path(schema.__file__).parent / "migrations" / "versions").glob("[0-9]*.py")
    )
    assert files[-1] == schema.HEAD


def test_a_journal_of_the_first_schema_keeps_its_waivers(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    old = Layout(tmp_path)
    old.prepare()
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    config.attributes["database"] = str(old.journal)
    command.upgrade(config, "0001")
    connection = sqlite3.connect(old.journal)
    connection.execute("insert into waiver values ('record-size:a', 'ada', 'why', 1, 9)")
    connection.commit()
    connection.close()
    schema.upgrade(old.journal)
    assert schema.current_revision(old.journal) == schema.HEAD
    journal = Journal(old.journal)
    (row,) = journal.waivers(2)
    journal.close()
    assert (row.finding_id, row.who, row.content) == ("record-size:a", "ada", None)


def test_an_upgrade_of_an_old_journal_keeps_a_backup_and_the_private_mode(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = sqlite3.connect(layout.journal)
    connection.execute("update alembic_version set version_num='0000'")
    connection.commit()
    connection.close()
    monkeypatch.setattr("alembic.command.upgrade", lambda *_: None)
    schema.upgrade(layout.journal)
    backups = list((layout.private / "backups").glob("journal-0000-*.db"))
    assert len(backups) == 1
    assert layout.journal.stat().st_mode & 0o077 == 0


def test_a_newer_and_a_damaged_journal_are_refused_and_left_as_they_are(layout: Layout) -> None:
    connection = sqlite3.connect(layout.journal)
    connection.execute("update alembic_version set version_num='9999'")
    connection.commit()
    connection.close()
    with pytest.raises(KferryError, match="knows only up to"):
        schema.upgrade(layout.journal)
    layout.journal.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    before = layout.journal.read_bytes()
    with pytest.raises(KferryError, match="damaged"):
        schema.upgrade(layout.journal)
    assert layout.journal.read_bytes() == before


def test_the_chain_holds_and_shows_every_kind_of_tampering(layout: Layout, journal: Journal, reader: Reader) -> None:
    for number in range(5):
        journal.event("something", subject=f"s{number}", payload={"n": number})
    assert first_broken_link(reader.chain_rows()) is None
    for tampering, broken in (
        ("update event set payload='{}' where seq=3", 3),
        ("update event set subject='x' where seq=2", 2),
        ("delete from event where seq=4", 5),
    ):
        copy = layout.root / "copy.db"
        source = sqlite3.connect(layout.journal)
        target = sqlite3.connect(copy)
        source.backup(target)
        target.row_factory = sqlite3.Row
        target.execute(tampering)
        assert first_broken_link(target.execute("select * from event order by seq").fetchall()) == broken
        target.close()
        source.close()


def test_rows_and_their_event_are_saved_together_or_not_at_all(journal: Journal, reader: Reader) -> None:
    state, _ = machine.step({}, machine.OperationAsked("op", OperationKind.SCAN, ""))
    with pytest.raises(RuntimeError), journal.transaction() as session:
        journal.save_operation(session, state["op"])
        journal.append(session, "operation_asked", operation_id="op")
        raise RuntimeError("the engine dies here")
    assert reader.operations() == [] and reader.events() == []


def test_a_face_sees_what_the_engine_wrote_without_holding_it_up(journal: Journal, reader: Reader) -> None:
    before = reader.version()
    journal.event("one")
    assert reader.version() != before
    assert [event.kind for event in reader.events()] == ["one"]


def test_many_threads_keep_one_chain(journal: Journal, reader: Reader) -> None:
    threads = [threading.Thread(target=lambda: [journal.event("e") for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = reader.chain_rows()
    assert len(rows) == 80 and first_broken_link(rows) is None


def test_an_intent_of_a_face_reaches_the_engine_literally(layout: Layout, journal: Journal, reader: Reader) -> None:
    hostile = "'); drop table intent; -- {{ 7*7 }} [/] \x1b"
    intent_id = intents.insert(layout.journal, "waive", {"finding_id": hostile})
    waiting = journal.waiting_intents()
    assert [row.id for row in waiting] == [intent_id]
    seen = reader.intent(intent_id)
    assert seen is not None and seen.args["finding_id"] == hostile and seen.status == "waiting"


def test_the_ledger_has_one_line_per_change_in_force(journal: Journal, reader: Reader) -> None:
    change = Change(Role.TARGET, "topic_config", "orders", "retention.ms", None, "-1", {"action": "x"}, "held")
    for _ in range(3):
        with journal.transaction() as session:
            journal.record_change(change, "op", session)
    assert [(row.name, row.key, row.status, row.can_undo) for row in reader.changes()] == [
        ("orders", "retention.ms", "applied", True)
    ]


def test_samples_are_thinned_but_the_newest_stay(journal: Journal, reader: Reader) -> None:
    for at_ms in range(0, 600_000, 10_000):
        journal.add_sample(Sample(task="t", at_ms=at_ms, lag_records=1))
    journal.thin_samples("t", before_ms=300_000, keep_every_ms=60_000)
    kept = [sample.at_ms for sample in reader.samples("t")]
    assert len([at for at in kept if at < 300_000]) == 5
    assert len([at for at in kept if at >= 300_000]) == 30


def test_private_folders_have_mode_0700(layout: Layout) -> None:
    for folder in (layout.private, layout.runs, layout.reports, layout.tasks, layout.runtime):
        assert folder.stat().st_mode & 0o777 == 0o700
