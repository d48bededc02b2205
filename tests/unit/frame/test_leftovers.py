"""The end of a test run: a process that a test left running fails the run, is named, and is ended."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support import leftovers
from support.waiting import until, wait_until

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[3]


def run_pytest(folder: Path, test: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run a test file of its own under our conftest, as a session of its own."""
    (folder / "test_it.py").write_text(textwrap.dedent(test), "utf-8")
    session_id = f"inner{os.getpid()}{folder.name}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    own = {
        "PYTHONPATH": str(ROOT / "tests"),
        leftovers.SESSION_VARIABLE: session_id,
        "KFERRY_TEST_END_DEADLINE_SECONDS": "1",
    }
    plain = ["-p", "no:xdist", "-p", "no:cacheprovider", "-p", "conftest"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *plain,
            "--rootdir",
            str(folder),
            "-c",
            os.devnull,
            str(folder / "test_it.py"),
        ],
        env={**environment, **own},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done, session_id


@pytest.mark.slow
def test_a_process_left_running_fails_the_run_is_named_and_ended(tmp_path: Path) -> None:
    done, session_id = run_pytest(
        tmp_path,
        """
        import os, subprocess, sys

        def test_leaves_something():
            subprocess.Popen(
                [sys.executable, "-c", "import time; time.sleep(600)"],
                env={**os.environ, "KFERRY_MARK": "mark-of-the-test"},
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        """,
    )
    assert "1 passed" in done.stdout
    assert done.returncode == 1, done.stdout
    assert "KFERRY_MARK=mark-of-the-test" in done.stdout
    assert leftovers.of_session(session_id) == []


@pytest.mark.slow
def test_a_run_that_cleans_up_passes(tmp_path: Path) -> None:
    done, _ = run_pytest(
        tmp_path,
        """
        import subprocess, sys

        def test_cleans_up():
            subprocess.run([sys.executable, "-c", "pass"], check=True)
        """,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_operators_settings_do_not_reach_a_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFERRY_DIR", "/the/operators/own")
    monkeypatch.setenv("XDG_STATE_HOME", "/the/operators/own")
    done, _ = run_pytest(
        tmp_path,
        """
        import os

        def test_sees_nothing():
            assert "KFERRY_DIR" not in os.environ
            assert "operators" not in os.environ["XDG_STATE_HOME"]
        """,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_waiting_returns_the_answer_and_names_what_never_came() -> None:
    answers = iter([None, 0, "there"])
    assert wait_until(lambda: next(answers), deadline_seconds=5) == "there"
    with pytest.raises(AssertionError, match=r"not within 0.05 s: the lag is zero \(last answer: 0\)"):
        wait_until(lambda: 0, deadline_seconds=0.05, what="the lag is zero")


async def test_waiting_on_a_loop_returns_the_answer() -> None:
    answers = iter([None, "there"])
    assert await until(lambda: next(answers), deadline_seconds=5) == "there"
