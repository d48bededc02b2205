"""Two real hosts for all tests of a run, more on demand; skipped with a reason where hosts cannot be started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from kferry.ansible.dist import Distribution, ensure_distribution
from kferry.ansible.java import find_java
from plays.harness import running_broker
from support import test_hosts
from support.secured_brokers import SecuredBrokers
from support.ssh_fleet import Fleet
from support.test_hosts import TestHost, TestHosts

_LEFT_OUT = pytest.StashKey[str]()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints a measurement that is to be seen where the test passes, too."""

    def line(words: str) -> None:
        with capsys.disabled():
            print(f"\n   {words}", end="", flush=True)  # noqa: T201

    return line


@pytest.fixture(scope="session")
def host_factory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestHosts]:
    """Starts hosts: `host_factory.start("w3", release="trixie")`; all are gone at the end of the run."""
    missing = test_hosts.what_is_missing()
    if missing and os.environ.get(test_hosts.REQUIRED_VARIABLE) == "1":
        pytest.fail(f"{test_hosts.REQUIRED_VARIABLE}=1, but {missing}")
    if missing:
        request.config.stash[_LEFT_OUT] = missing
        pytest.skip(missing)
    with TestHosts(tmp_path_factory.mktemp("test-hosts")) as factory:
        yield factory


@pytest.fixture(scope="session")
def _two_hosts(host_factory: TestHosts) -> list[TestHost]:
    return host_factory.start("w1", "w2")


@pytest.fixture
def hosts(_two_hosts: list[TestHost]) -> Iterator[list[TestHost]]:
    """Two Debian 12 hosts, `w1` and `w2`, shared by the tests of a run: what a test cuts off is mended after it."""
    yield _two_hosts
    for host in _two_hosts:
        host.unpause()
        if not host.is_running():
            host.start_again()
        host.unblock()


@pytest.fixture(scope="session")
def secured_brokers(
    host_factory: TestHosts, _two_hosts: list[TestHost], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecuredBrokers]:
    """A secured source and target that the hosts reach at `host_factory.gateway`; shared by the tests of a run."""
    with SecuredBrokers(tmp_path_factory.mktemp("secured-brokers"), host_factory.gateway) as brokers:
        yield brokers


@pytest.fixture(scope="session")
def distribution() -> Distribution:
    """Kafka as kferry installs it."""
    return ensure_distribution()


@pytest.fixture(scope="session")
def fleet(
    host_factory: TestHosts,
    _two_hosts: list[TestHost],  # the gateway is there with the first host
    distribution: Distribution,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    """A migration directory whose clusters are one plain broker that the hosts reach."""
    home = tmp_path_factory.mktemp("ssh-fleet")
    (home / "broker").mkdir()
    with running_broker(home / "broker", distribution, find_java(), host_factory.gateway) as broker:
        yield Fleet(home / "migration", host_factory, broker, distribution)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which part was left out, and how to run it."""
    missing = config.stash.get(_LEFT_OUT, None)
    if missing:
        terminalreporter.section("LEFT OUT: the tests on real hosts", yellow=True, bold=True)
        terminalreporter.line(f"{missing} (or KFERRY_TEST_REQUIRE_HOSTS=1 to make this an error)")
