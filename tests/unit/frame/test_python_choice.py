"""Choosing a Python for .venv: by running it, and with a sentence for what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BASE = Path(getattr(sys, "_base_executable", None) or sys.executable)


def fake(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)
    return path


def claims(version: str, missing: str = "") -> str:
    """A Python of the given version that lacks modules. It is asked by `-c` for its version, by stdin for modules."""
    return f'if [ "$1" = -c ]; then echo "{version}"; else cat >/dev/null; printf "%s" "{missing}"; fi'


def choose(*folders: Path, named: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": ":".join([*map(str, folders), "/nonexistent"])}
    if named is not None:
        environment["KFERRY_PYTHON"] = named
    # The shell itself needs `cat` for our fakes; it is given by a function-free absolute PATH at the end.
    environment["PATH"] += ":" + str(_tools())
    return subprocess.run(
        ["/bin/sh", str(ROOT / ".ci" / "python")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _tools() -> Path:
    return _TOOLS[0]


_TOOLS: list[Path] = []


@pytest.fixture(autouse=True)
def _only_cat(tmp_path: Path) -> None:
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "cat").symlink_to("/bin/cat")
    _TOOLS[:] = [folder]


def test_a_shim_that_fails_is_passed_over(tmp_path: Path) -> None:
    fake(tmp_path / "shims", "python3.13", "echo 'command not found' >&2; exit 127")
    fake(tmp_path / "shims", "python3", "exit 1")
    fake(tmp_path / "real", "python3", f'exec "{BASE}" "$@"')
    done = choose(tmp_path / "shims", tmp_path / "real")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).resolve() == BASE.resolve()


def test_the_second_of_the_same_name_is_tried(tmp_path: Path) -> None:
    fake(tmp_path / "one", "python3.11", "exit 127")
    fake(tmp_path / "two", "python3.11", f'exec "{BASE}" "$@"')
    assert choose(tmp_path / "one", tmp_path / "two").returncode == 0


def test_an_old_python_is_refused_by_name(tmp_path: Path) -> None:
    fake(tmp_path / "bin", "python3", claims("3.9"))
    done = choose(tmp_path / "bin")
    assert done.returncode == 2
    assert "needs Python 3.11, 3.12 or 3.13; found only" in done.stderr
    assert "(3.9)" in done.stderr


def test_a_python_that_is_too_new_is_refused(tmp_path: Path) -> None:
    fake(tmp_path / "bin", "python3", claims("3.14"))
    assert choose(tmp_path / "bin").returncode == 2


def test_a_missing_ensurepip_names_the_package(tmp_path: Path) -> None:
    fake(tmp_path / "bin", "python3.11", claims("3.11", "ensurepip "))
    done = choose(tmp_path / "bin")
    assert done.returncode == 2
    assert "sudo apt install python3.11-venv" in done.stderr


def test_a_complete_python_is_taken_before_an_incomplete_one(tmp_path: Path) -> None:
    fake(tmp_path / "bin", "python3.13", claims("3.13", "ensurepip "))
    fake(tmp_path / "bin", "python3.11", f'exec "{BASE}" "$@"')
    assert choose(tmp_path / "bin").returncode == 0


def test_a_module_left_out_of_the_build_is_named(tmp_path: Path) -> None:
    fake(tmp_path / "bin", "python3.12", claims("3.12", "sqlite3 "))
    done = choose(tmp_path / "bin")
    assert done.returncode == 2
    assert "built without: sqlite3" in done.stderr


def test_no_python_at_all_is_a_sentence(tmp_path: Path) -> None:
    done = choose(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("No Python was found.")


@pytest.mark.parametrize(
    ("version", "words"), [("3.9", "which is Python 3.9"), ("", "does not run")], ids=["old", "broken"]
)
def test_a_named_python_is_the_only_one_tried(tmp_path: Path, version: str, words: str) -> None:
    fake(tmp_path / "bin", "python3.11", f'exec "{BASE}" "$@"')
    named = fake(tmp_path / "own", "mine", claims(version) if version else "exit 1")
    done = choose(tmp_path / "bin", named=str(named))
    assert done.returncode == 2
    assert words in done.stderr
