"""The command that kferry prints for the operator to copy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kferry.client.own_command import attach_command, own_command


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kferry in a virtual environment of its own, whose folder has a space in its name."""
    folder = tmp_path / "my env" / "bin"
    folder.mkdir(parents=True)
    made = folder / "kferry"
    made.write_text("#!/bin/sh\n")
    made.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return made


def test_it_is_called_by_name_where_the_shell_finds_it(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(script.parent))
    assert attach_command(Path("/srv/move")) == "kferry -C /srv/move"


def test_elsewhere_by_its_path(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    assert own_command() == f"'{script}'"
    other = tmp_path / "other" / "kferry"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(other.parent))
    assert own_command() == f"'{script}'", "another kferry is first on the PATH"
    assert attach_command(Path("/srv/a b")) == f"'{script}' -C '/srv/a b'"


def test_without_a_script_it_is_the_name(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script.unlink()
    monkeypatch.setenv("PATH", "/usr/bin")
    assert own_command() == "kferry"
