"""`kferry demo`: however a headless migration ends, it is stopped and removed, and the exit code tells."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kferry.cli.main import app
from kferry.client import demo as demos
from kferry.client import headless
from kferry.domain.errors import ErrorKind, KferryError


class Recorded(demos.Demo):
    """A demo that starts nothing and notes what is done to it."""

    done: list[str]

    def stop(self) -> int:
        self.done.append("stop")
        return 0

    def remove(self) -> None:
        self.done.append("remove")


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    monkeypatch.setenv("KFERRY_DEMO_HOME", str(tmp_path / "demo"))
    found = Recorded(tmp_path / "demo" / "headless-x")
    Recorded.done = []
    (found.migration / ".kferry").mkdir(parents=True)
    (found.migration / ".kferry" / "engine.log").write_text("words\n")
    (found.home / "owner.pid").write_text(f"{os.getpid()}\n")
    monkeypatch.setattr(demos, "headless", lambda: found)
    return found


def _run(monkeypatch: pytest.MonkeyPatch, migrate: Callable[[], headless.Outcome], *words: str) -> Result:
    monkeypatch.setattr(headless.Migration, "run", lambda _self: migrate())
    return CliRunner().invoke(app, ["demo", "--headless", *words])


def _fail() -> headless.Outcome:
    raise KferryError("The source went away.", kind=ErrorKind.CONNECT)


def _terminate() -> headless.Outcome:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
    raise AssertionError("SIGTERM did not interrupt")


def test_success_leaves_only_the_reports(demo: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run(monkeypatch, lambda: headless.Outcome(batches=["hr"], verdict={"ok": True}))
    assert result.exit_code == 0, result.stderr
    assert demo.done == ["stop", "remove"]


def test_keep_leaves_it_running(demo: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run(monkeypatch, headless.Outcome, "--keep")
    assert result.exit_code == 0
    assert demo.done == []
    assert str(demo.migration) in result.stderr


def test_a_failure_keeps_the_logs_and_ends_everything(demo: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run(monkeypatch, _fail)
    assert result.exit_code == 3
    assert demo.done == ["stop", "remove"]
    assert (demo.home.parent / "reports" / demo.home.name / "engine.log").read_text() == "words\n"


def test_sigterm_ends_everything_and_puts_the_handlers_back(demo: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    result = _run(monkeypatch, _terminate)
    assert result.exit_code == 130
    assert demo.done == ["stop", "remove"]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_without_a_terminal_the_demo_says_what_to_do(demo: Recorded) -> None:
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 2
    assert "--headless" in result.stderr
    assert CliRunner().invoke(app, ["demo", "--keep"]).exit_code == 2
