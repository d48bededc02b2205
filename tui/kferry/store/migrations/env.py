"""Alembic's entry: one SQLite file, batch mode, no log configuration of its own."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine
from sqlmodel import SQLModel

from kferry.store import tables  # noqa: F401 - fills the metadata

engine = create_engine(f"sqlite:///{context.config.attributes['database']}")
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=SQLModel.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
