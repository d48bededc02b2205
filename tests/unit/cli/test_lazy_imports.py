"""`kferry --help` is quick because it imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("textual", "sqlmodel", "sqlalchemy", "alembic", "confluent_kafka", "ansible_runner", "httpx2")


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], (*HEAVY, "pydantic")),
        (["--version"], (*HEAVY, "pydantic")),
        # typer itself checks the values of options with pydantic before it looks at a command's --help
        (["task", "--help"], HEAVY),
        (["demo", "--help"], HEAVY),
        (["cutover", "--help"], HEAVY),
        (["fleet", "--help"], HEAVY),
        (["acls", "--help"], HEAVY),
    ],
)
def test_help_imports_nothing_heavy(words: list[str], heavy: tuple[str, ...]) -> None:
    code = (
        "import sys\n"
        "from kferry.cli.main import app\n"
        "try:\n"
        "    app(sys.argv[1:], prog_name='kferry')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0, end.code\n"
        f"found = [name for name in {heavy!r} if name in sys.modules]\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "kferry" in done.stdout
