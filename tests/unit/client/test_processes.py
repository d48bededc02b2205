"""Ending what a demo left: everything that carries the mark or names its folders, and nothing beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kferry.client import demo as demos
from kferry.client import find, processes
from kferry.client.processes import Belongings
from kferry.domain.errors import KferryError

Start = Callable[..., subprocess.Popen[bytes]]

_WAIT = "import sys, time; print('up', flush=True); time.sleep(120)"
_STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + _WAIT


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def call(*words: str, code: str = _WAIT, **environment: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, env={**os.environ, **environment}
        )
        started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        return child

    yield call
    for child in started:
        child.kill()
        child.communicate()


def test_a_marked_process_is_ended_and_another_is_not(start: Start) -> None:
    ours, other = start(MARK_OF_TEST="mine"), start(MARK_OF_TEST="mine-too")
    belongings = Belongings(frozenset({"MARK_OF_TEST=mine"}))
    assert processes.find(belongings) == [ours.pid]
    assert processes.end(belongings) == 1
    assert ours.wait(5) != 0
    assert other.poll() is None


def test_one_that_ignores_sigterm_is_killed(start: Start) -> None:
    ours = start(code=_STUBBORN, MARK_OF_TEST="stubborn")
    assert processes.end(Belongings(frozenset({"MARK_OF_TEST=stubborn"})), patience_seconds=0.3) == 1
    assert ours.wait(5) == -9


def test_only_carriers_are_found_by_folder(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "migration"
    worker = start("java", "-cp", f"{folder}/workers/libs/*")
    editor = start("vi", f"{folder}/plan.yml")
    neighbour = start("java", "-cp", f"{folder}-two/libs/*")
    belongings = Belongings(frozenset(), (folder,))
    assert processes.find(belongings) == [worker.pid]
    assert processes.end(belongings) == 1
    assert editor.poll() is None
    assert neighbour.poll() is None


def test_ourselves_and_our_starters_are_spared() -> None:
    """pytest's own environment is named, and still neither it nor the shell above it is meant."""
    line = f"PATH={os.environ['PATH']}"
    found = processes.find(Belongings(frozenset({line})))
    assert os.getpid() not in found
    assert os.getppid() not in found


def test_a_zombie_is_not_alive(start: Start) -> None:
    child = start()
    assert processes.is_alive(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not processes.is_alive(child.pid)


# ---- the demo's folders ---------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KFERRY_DEMO_HOME", str(tmp_path / "demo"))
    return tmp_path / "demo"


def test_stopping_the_demo_spares_a_headless_one_beside_it(home: Path, start: Start) -> None:
    beside = demos.headless()
    worker = start("java", str(beside.migration / "workers"), **{processes.DEMO_MARK: str(beside.home)})
    own = start("java", str(home / "migration" / "workers"))
    assert demos.interactive().stop() == 1
    assert own.poll() is not None
    assert worker.poll() is None
    assert demos.abandoned() == []
    assert beside.stop() == 1
    assert worker.wait(5) != 0
    beside.remove()
    assert not beside.home.exists()


def test_a_headless_demo_whose_owner_was_killed_is_swept(home: Path, start: Start) -> None:
    left = demos.headless()
    owner = start()
    (left.home / "owner.pid").write_text(f"{owner.pid}\n")
    worker = start(**{processes.DEMO_MARK: str(left.home)})
    assert demos.abandoned() == []
    owner.kill()
    owner.wait(5)
    said: list[str] = []
    demos.sweep(said.append)
    assert worker.wait(5) != 0
    assert not left.home.exists()
    assert len(said) == 1


# ---- where the migration is -----------------------------------------------------------------------------------------


def test_the_directory_is_found_in_the_order_of_nearness(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KFERRY_DIR", raising=False)
    here, named, environment = tmp_path / "here" / "below", tmp_path / "named", tmp_path / "environment"
    for folder in (here, named, environment, home / "migration"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    with pytest.raises(KferryError, match="no migration directory"):
        find.migration_directory()
    (home / "migration" / "kferry.yml").touch()
    assert find.migration_directory() == home / "migration"
    (here.parent / "kferry.yml").touch()
    assert find.migration_directory() == here.parent
    monkeypatch.setenv("KFERRY_DIR", str(environment))
    assert find.migration_directory() == environment
    assert find.migration_directory(named) == named
    with pytest.raises(KferryError, match="does not exist"):
        find.migration_directory(tmp_path / "gone")


def test_the_demo_lies_in_the_checkout_or_else_in_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KFERRY_DEMO_HOME", raising=False)
    project = tmp_path / "checkout"
    (project / "tui" / "kferry").mkdir(parents=True)
    (project / "pyproject.toml").write_text('[project]\nname = "kferry"\n')
    assert find.checkout(project / "tui" / "kferry" / "find.py") == project
    assert find.checkout(tmp_path / "site-packages" / "find.py") is None
    monkeypatch.setattr(find, "checkout", lambda: None)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert find.demo_home() == tmp_path / "state" / "kferry" / "demo"
