"""Finding Java: JAVA_HOME, the path, the wheel; none is a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from kferry.ansible import java
from kferry.domain.errors import KferryError


def fake_java(folder: Path, version: str) -> Path:
    """An executable that says it is this version, as a real one does on stderr."""
    (folder / "bin").mkdir(parents=True)
    executable = folder / "bin" / "java"
    executable.write_text(f"#!/bin/sh\necho '    java.version = {version}' >&2\necho '    java.home = {folder}' >&2\n")
    executable.chmod(0o755)
    return executable


def test_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path / "home", "21.0.5")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    found = java.find_java()
    assert (found.home, found.version) == (tmp_path / "home", 21)


def test_an_old_java_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path / "old", "11.0.2")
    fake_java(tmp_path / "new", "17.0.9")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(tmp_path / "new" / "bin"))
    assert java.find_java().version == 17


def test_no_java_at_all_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path / "old", "11.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(java, "_candidates", lambda: [("JAVA_HOME", tmp_path / "old" / "bin" / "java")])
    with pytest.raises(KferryError) as caught:
        java.find_java()
    assert "17" in str(caught.value) and caught.value.next_step
