"""What holds for every test: a home of its own, nothing of the operator's settings, nothing left running at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from support import leftovers, waiting

# Settings a developer may want to reach the tests; every other KFERRY_ variable is taken out of the environment.
_KEPT = ("KFERRY_CACHE_DIR", "KFERRY_MAVEN_BASE", "KFERRY_DEBUG", "KFERRY_PYTHON", leftovers.SESSION_VARIABLE)
_KEPT_PREFIX = "KFERRY_TEST_"
_ALONE = ("lab", "hosts")
# No test asserts how fast a machine is: an example may take as long as it takes.
hypothesis.settings.register_profile("kferry", deadline=None)
hypothesis.settings.load_profile("kferry")
_END_DEADLINE_SECONDS = float(os.environ.get("KFERRY_TEST_END_DEADLINE_SECONDS", "15"))


def pytest_configure(config: pytest.Config) -> None:
    """Mark this run for its children, forget the caller's settings, and make a short folder for sockets."""
    for name in list(os.environ):
        if name.startswith("KFERRY_") and name not in _KEPT and not name.startswith(_KEPT_PREFIX):
            del os.environ[name]
    os.environ.setdefault(leftovers.SESSION_VARIABLE, uuid.uuid4().hex)
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
        os.environ.pop(name, None)
    # Short, because the path of a Unix socket must stay below about 100 characters; the same for the whole process,
    # because an engine of one fixture and the faces of one test must find the same folder.
    runtime = tempfile.mkdtemp(prefix="kft-")
    os.environ["XDG_RUNTIME_DIR"] = runtime
    config.add_cleanup(lambda: shutil.rmtree(runtime, ignore_errors=True))


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, state and data of a test lie in folders of its own; only the cache of distributions is shared."""
    home = tmp_path_factory.mktemp("xdg")
    for name in ("CONFIG", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives a free port of the loopback interface at each call."""
    return waiting.free_port


@pytest.fixture
def wait_until() -> Callable[..., object]:
    """Waits until a predicate is true: `wait_until(lambda: ..., deadline_seconds=10)`."""
    return waiting.wait_until


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the source checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A temporary folder with a short path, for migration directories whose sockets lie below it."""
    folder = Path(tempfile.mkdtemp(prefix="kft-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Whatever runs the whole terminal interface has the marker `thorough`."""
    if "make_app" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.thorough)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on real brokers and hosts share two cores: beside others they are skipped, and the reason is shown."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    for name in _ALONE:
        alone = pytest.mark.skip(reason=f"needs the machine for itself: pytest -p no:xdist -m {name}")
        for item in items:
            if item.get_closest_marker(name):
                item.add_marker(alone)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run when a process started by it is still there; xdist's own have ended by now."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    left = leftovers.gone_within(os.environ[leftovers.SESSION_VARIABLE], _END_DEADLINE_SECONDS)
    containers: list[str] = []
    if any(item.get_closest_marker("hosts") for item in getattr(session, "items", [])):
        containers = leftovers.containers_of_session(os.environ[leftovers.SESSION_VARIABLE])
    session.config.stash[_LEFT] = [*map(str, left), *containers]
    if left or containers:
        leftovers.end(left)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


_LEFT = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the processes and containers that were left running."""
    left = config.stash.get(_LEFT, [])
    if left:
        terminalreporter.section("left running by this test run (ended now; a test must end what it starts)", red=True)
        for line in left:
            terminalreporter.line(line)
