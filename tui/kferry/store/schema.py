"""Bringing the journal's schema up to date: the engine alone does it, after a backup. Newer journals are refused."""

from __future__ import annotations

import shutil
import sqlite3
import time
from pathlib import Path

from kferry.domain.errors import ErrorKind, KferryError

# The newest revision this version knows; a test holds it equal to the head of store/migrations.
HEAD = "0002"


def current_revision(database: Path) -> str | None:
    """The revision the file is at; None for a file without any table. Raises KferryError for a corrupt file."""
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            tables = {row[0] for row in connection.execute("select name from sqlite_master where type='table'")}
            if "alembic_version" not in tables:
                if tables:
                    raise sqlite3.DatabaseError("no alembic_version table")
                return None
            row = connection.execute("select version_num from alembic_version").fetchone()
            return str(row[0]) if row else None
    except sqlite3.DatabaseError as error:
        raise KferryError(
            f"The journal {database} cannot be read: {error}.",
            cause="The file is damaged, or it is not a kferry journal.",
            next_step=f"Keep the file, and restore the newest copy from {database.parent}/backups. "
            "kferry never makes a new journal over an old one.",
            kind=ErrorKind.USAGE,
        ) from error
    finally:
        # sqlite3's context manager commits but leaves the connection open
        if "connection" in locals():
            connection.close()


def _use_wal(database: Path) -> None:
    """Write-ahead log, kept in the file: set once, since the switch needs the file for itself."""
    connection = sqlite3.connect(database, timeout=30)
    try:
        connection.execute("pragma journal_mode=wal")
    finally:
        connection.close()


def check_integrity(database: Path) -> None:
    """Raise KferryError where SQLite itself finds damage."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        verdict = connection.execute("pragma quick_check(1)").fetchone()
        damage = None if verdict and verdict[0] == "ok" else str(verdict)
    except sqlite3.DatabaseError as error:
        damage = str(error)
    finally:
        connection.close()
    if damage:
        raise KferryError(
            f"The journal {database} is damaged: {damage}.",
            cause="The disk was full or failed, or something else wrote into the file.",
            next_step=f"Keep the file, and restore the newest copy from {database.parent}/backups.",
            kind=ErrorKind.USAGE,
        )


def refuse_newer(database: Path) -> None:
    """Raise KferryError if the journal was written by a newer kferry."""
    revision = current_revision(database)
    if revision is not None and revision > HEAD:
        raise KferryError(
            f"The journal {database} has schema {revision}; this kferry knows only up to {HEAD}.",
            cause="The migration directory was used by a newer version of kferry.",
            next_step="Install that version again (pip install -U kferry); nothing was changed.",
            kind=ErrorKind.USAGE,
        )


def upgrade(database: Path) -> None:
    """Create the journal, or bring it to HEAD after a backup. Called by the engine under its lock."""
    from alembic import command
    from alembic.config import Config

    if database.exists() and database.stat().st_size:
        check_integrity(database)
        refuse_newer(database)
        revision = current_revision(database)
        if revision == HEAD:
            return
        backups = database.parent / "backups"
        backups.mkdir(mode=0o700, exist_ok=True)
        shutil.copy2(database, backups / f"journal-{revision}-{int(time.time())}.db")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["database"] = str(database)
    command.upgrade(config, "head")
    _use_wal(database)
    database.chmod(0o600)
