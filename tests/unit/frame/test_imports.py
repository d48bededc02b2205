"""What starting kferry loads: a help page must not wait for libraries that it doesn't need."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("textual", "sqlmodel", "sqlalchemy", "alembic", "confluent_kafka", "ansible_runner", "httpx2", "jgo")


def loaded_by(statement: str) -> set[str]:
    """Top-level names in sys.modules after running a statement in a fresh interpreter."""
    script = (
        f"import sys, json\ntry:\n    {statement}\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_the_help_page_loads_nothing_heavy() -> None:
    loaded = loaded_by("from kferry.cli.main import run; sys.argv = ['kferry', '--help']; run()")
    assert "typer" in loaded
    assert loaded & set(HEAVY) == set()


@pytest.mark.parametrize("reader", ["kferry.store.queries", "kferry.store.intents", "kferry.client.session"])
def test_the_faces_read_the_journal_without_an_object_mapper(reader: str) -> None:
    assert loaded_by(f"import {reader}") & {"sqlmodel", "sqlalchemy", "alembic", "confluent_kafka"} == set()


@pytest.mark.thorough
def test_a_heavy_import_is_noticed() -> None:
    assert "sqlmodel" in loaded_by("import sqlmodel")
