"""Tests on real hosts are left out only where a machine can't have hosts; what merely failed fails the run."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SAYS = 'test:\n\t@echo "required=$$KFERRY_TEST_REQUIRE_HOSTS"\n'
CANNOT, FAILED = 3, 1


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other accounts can enter too."""
    path = Path(tempfile.mkdtemp(prefix="kfci-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("made", "asked", "required", "code"),
    [
        (0, None, "1", 0),
        (0, "0", "0", 0),
        (CANNOT, None, "0", 0),
        (CANNOT, "1", "1", CANNOT),
        (CANNOT, "0", "0", 0),
        (FAILED, None, "1", FAILED),
        (FAILED, "1", "1", FAILED),
        (FAILED, "0", "0", 0),
        (127, None, "1", 127),
    ],
)
def test_what_the_run_does_without_hosts(folder: Path, made: int, asked: str | None, required: str, code: int) -> None:
    (folder / "Makefile").write_text(SAYS, encoding="utf-8")
    script(folder / ".ci" / "test-hosts", f"echo 'why not'; exit {made}")
    for name in ("python", "venv"):
        script(folder / ".ci" / name, "true")
    for name in ("git", "tmux", "ps"):
        script(folder / "bin" / name, "true")
    shutil.copy(ROOT / ".ci" / "run", folder / ".ci" / "run")
    environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    if asked is not None:
        environment["KFERRY_TEST_REQUIRE_HOSTS"] = asked
    done = subprocess.run([folder / ".ci" / "run"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, f"required={required}" in done.stdout) == (code, True), done.stdout + done.stderr
    assert ("LEFT OUT" in done.stdout) is (made != 0 and required == "0")
    assert "why not" in done.stdout


def make_hosts(folder: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """The script with an apt that always fails and a machine on which nothing is installed."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "test-hosts", folder / ".ci" / "test-hosts")
    script(folder / "bin" / "apt-get", f"echo called >>{folder}/calls; echo 'no archive answers' >&2; exit 100")
    script(folder / "bin" / "dpkg-query", "exit 1")
    script(folder / "bin" / "sleep", "true")
    environment = {"PATH": f"{folder / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin", "KFERRY_CACHE_DIR": f"{folder}/cache"}
    command = [*before, str(folder / ".ci" / "test-hosts")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="as root only")
def test_archives_that_fail_twice_are_a_failure_of_hosts(folder: Path) -> None:
    done = make_hosts(folder)
    assert done.returncode == FAILED, done.stdout + done.stderr
    assert "apt-get could not install podman" in done.stderr and "no archive answers" in done.stderr
    assert (folder / "calls").read_text(encoding="utf-8").split() == ["called"] * 2


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
def test_without_root_there_can_be_no_hosts(folder: Path) -> None:
    other = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    done = make_hosts(folder, *other)
    assert done.returncode == CANNOT and "root is needed" in done.stderr, done.stdout + done.stderr
