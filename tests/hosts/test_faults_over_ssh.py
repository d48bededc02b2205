"""What goes wrong on real machines: silence, a broken line in mid-play, a full disk, a locked package manager."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kferry.ansible.dist import Distribution
from support.fleet_run import FleetRun
from support.secured_brokers import SecuredBrokers
from support.ssh_fleet import ROOT, SECRETS, Fleet, Outcome, remove_all
from support.test_hosts import TestHost, TestHosts
from support.waiting import wait_until

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900)]


@pytest.fixture
def migration(host_factory: TestHosts, hosts: list[TestHost], secured_brokers: SecuredBrokers) -> Iterator[FleetRun]:
    """A migration directory for both hosts, with an engine of its own."""
    folder = Path(tempfile.mkdtemp(prefix="kff-"))  # short: Unix sockets lie below it
    run = FleetRun(folder / "m", secured_brokers, host_factory, hosts)
    try:
        run.session.ensure_engine()
        yield run
    finally:
        run.session.stop_engine()
        run.session.close()
        shutil.rmtree(folder, ignore_errors=True)


def checked(run: FleetRun) -> dict[str, tuple[bool | None, str]]:
    """Check the machines; of each whether it can be used, and why not."""
    run.do("fleet_check", deadline_seconds=120)
    found = run.session.reader.document("fleet", "")
    assert found is not None
    return {host["name"]: (host["usable"], " ".join(host["reasons"])) for host in found[1]["hosts"]}


def test_machines_that_cannot_be_used_are_named_and_the_others_go_on(
    migration: FleetRun, hosts: list[TestHost], host_factory: TestHosts
) -> None:
    _, second = hosts
    second.block(port=22)
    seen = checked(migration)
    assert seen["w1"] == (True, "")
    assert seen["w2"][0] is None and "timed out" in seen["w2"][1].lower(), seen
    second.unblock()

    second.exec(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", "/opt"])
    try:
        usable, why = checked(migration)["w2"]
        assert usable is False and "disk are free" in why, why
    finally:
        second.exec(["umount", "/opt"])

    second.change_host_key()
    usable, why = checked(migration)["w2"]
    assert usable is None and "not the pinned one" in why and "--replace" in why, why
    migration.layout.known_hosts.write_text(f"{hosts[0].address} {hosts[0].host_key}\n", encoding="utf-8")
    usable, why = checked(migration)["w2"]
    assert usable is None and "kferry fleet trust w2" in why, why
    host_factory.write_known_hosts(migration.layout.known_hosts, hosts)
    assert checked(migration) == {"w1": (True, ""), "w2": (True, "")}


class Playing(threading.Thread):
    """A play in the background."""

    def __init__(self, fleet: Fleet, *arguments: str) -> None:
        super().__init__(name="play")
        self.outcome: Outcome | None = None
        self._play: Any = lambda: fleet.play(*arguments, env=SECRETS)

    def run(self) -> None:
        self.outcome = self._play()


def test_a_line_that_breaks_in_mid_play_fails_that_machine_only(fleet: Fleet, hosts: list[TestHost]) -> None:
    first, second = hosts
    for host in hosts:
        remove_all(host)
    fleet.use(hosts)
    fleet.write("shop", hosts)
    play = Playing(fleet, "workers", "-e", "kferry_task=shop", "--timeout", "5")
    play.start()
    arriving = f"{ROOT}/incoming-*"
    wait_until(
        lambda: second.exec(["sh", "-c", f"ls {arriving} {ROOT}/versions/.kafka* 2>/dev/null"], check=False).stdout,
        120,
        "the archive is arriving",
    )
    second.block(port=22)
    play.join()
    assert play.outcome is not None and play.outcome.failed == {"w2"}, play.outcome and play.outcome.output
    assert first.exec(["systemctl", "is-active", "kferry-worker@shop-w1.service"]).stdout.strip() == "active"
    folders = second.exec(["sh", "-c", f"ls {ROOT}/versions/*/.sha256 2>/dev/null"], check=False).stdout.split()
    whole = second.exec(["sh", "-c", f"ls -d {ROOT}/versions/kafka-* 2>/dev/null"], check=False).stdout.split()
    assert len(folders) == len(whole), "a version that is not whole has its name"
    second.unblock()

    again = fleet.play("workers", "-e", "kferry_task=shop", env=SECRETS)
    assert again.rc == 0, again.output
    assert second.exec(["systemctl", "is-active", "kferry-worker@shop-w2.service"]).stdout.strip() == "active"


@pytest.mark.wide
def test_connectors_are_reached_over_the_machine_that_answers(fleet: Fleet, hosts: list[TestHost]) -> None:
    first, second = hosts
    for host in hosts:
        remove_all(host)
    fleet.use(hosts)
    fleet.write("shop", hosts)
    assert fleet.play("workers", "-e", "kferry_task=shop", env=SECRETS).rc == 0

    def paused(state: str) -> Outcome:
        document = fleet.write("shop", hosts)
        connectors = [{**one, "state": state} for one in document["connectors"]]
        fleet.write("shop", hosts, connectors=connectors)
        return fleet.play("task", "-e", "kferry_task=shop", "--timeout", "5", env=SECRETS)

    made = paused("running")
    assert made.rc == 0 and made.changed == 1, made.output
    first.block(port=22)
    stopped = paused("stopped")
    assert stopped.rc == 0 and stopped.changed == 1, stopped.output
    second.block(port=22)
    refused = paused("running")
    assert refused.rc != 0 and "None of the machines with a worker of shop can be reached" in refused.output, (
        refused.output
    )
    first.unblock()
    second.unblock()
    again = paused("running")
    assert again.rc == 0 and again.changed == 1, again.output


def test_a_full_disk_is_a_sentence_and_nothing_is_activated(fleet: Fleet, hosts: list[TestHost]) -> None:
    _, second = hosts
    remove_all(second)
    fleet.use([second])
    fleet.write("shop", [second])
    second.exec(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", "/opt"])
    try:
        refused = fleet.play("workers", "-e", "kferry_task=shop", env=SECRETS)
        assert refused.rc != 0 and "No space left" in refused.output, refused.output
        assert second.exec(["sh", "-c", f"ls -d {ROOT}/versions/kafka-*"], check=False).stdout == ""
    finally:
        second.exec(["umount", "/opt"])
    assert fleet.play("workers", "-e", "kferry_task=shop", env=SECRETS).rc == 0


def test_a_locked_package_manager_is_waited_for_and_named(
    fleet: Fleet, host_factory: TestHosts, distribution: Distribution
) -> None:
    (host,) = host_factory.start("locked")  # a new one: there is no Java on it
    try:
        fleet.use([host])
        fleet.write("shop", [host])
        holder = "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(f, fcntl.LOCK_EX); "
        done = host.exec(["systemd-run", "--unit=holder", "python3", "-c", holder + "time.sleep(600)"])
        assert done.code == 0
        waits = ("-e", "java_lock_timeout_seconds=3")
        refused = fleet.play("workers", "-e", "kferry_task=shop", *waits, env=SECRETS)
        assert refused.rc != 0 and "Another package manager has held the lock" in refused.output, refused.output
        host.exec(["systemctl", "stop", "holder"])
        outcome = fleet.play("workers", "-e", "kferry_task=shop", "--tags", "java", env=SECRETS)
        assert outcome.rc == 0, outcome.output
    finally:
        host_factory.remove(host)


@pytest.mark.wide
def test_nobody_asks_for_a_password(fleet: Fleet, hosts: list[TestHost]) -> None:
    """A machine that wants a password of SSH fails at once instead of waiting for somebody to type it."""
    fleet.use(hosts[:1], ansible_user="nobody-here")
    fleet.write("shop", hosts[:1])
    try:
        refused = fleet.play("workers", "-e", "kferry_task=shop", env=SECRETS)
    except subprocess.TimeoutExpired:
        pytest.fail("ssh waited for a password")
    assert refused.rc != 0 and "Permission denied" in refused.output, refused.output
