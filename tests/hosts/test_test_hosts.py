"""The hosts and brokers of these tests are what they claim to be: otherwise no test on them proves anything."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support import leftovers, test_hosts, waiting
from support.test_hosts import TestHost, TestHosts

pytestmark = pytest.mark.hosts


def _inventory(folder: Path, factory: TestHosts, hosts: list[TestHost], known_hosts: Path) -> Path:
    ssh = f"-o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes -o ControlPath=none"
    lines = {host.name: factory.variables(host) | {"ansible_ssh_common_args": ssh} for host in hosts}
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": lines}}), encoding="utf-8")
    return path


def _ansible(checkout: Path, inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("ansible")), "-i", str(inventory), "all", *arguments]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=120, check=False)


def test_two_hosts_boot_systemd_each_with_a_key_of_its_own(hosts: list[TestHost]) -> None:
    for host in hosts:
        assert host.exec(["cat", "/proc/1/comm"]).stdout.strip() == "systemd"
        assert host.exec(["systemctl", "is-active", "ssh"]).stdout.strip() == "active"
        assert host.exec(["hostname"]).stdout.strip() == host.name
    assert hosts[0].host_key != hosts[1].host_key
    assert hosts[0].exec(["cat", "/etc/machine-id"]).stdout != hosts[1].exec(["cat", "/etc/machine-id"]).stdout


def test_the_gateway_keeps_its_hardware_address_when_other_hosts_leave(
    host_factory: TestHosts, hosts: list[TestHost]
) -> None:
    def seen() -> str | None:
        hosts[0].forget_neighbours()
        hosts[0].exec(["bash", "-c", f"exec 3<>/dev/udp/{host_factory.gateway}/9 && echo >&3"])
        return waiting.wait_until(lambda: neighbour().get("lladdr"), 10, "the gateway answers")

    def neighbour() -> dict[str, str]:
        found = json.loads(hosts[0].exec(["ip", "-json", "neigh", "show", host_factory.gateway]).stdout or "[]")
        return found[0] if found else {}

    before = seen()
    others = host_factory.start("w3", "w4")
    assert seen() == before
    for host in others:
        host_factory.remove(host)
    assert seen() == before


def test_ansible_reaches_both_and_becomes_root(
    checkout: Path, host_factory: TestHosts, hosts: list[TestHost], tmp_path: Path
) -> None:
    known = host_factory.write_known_hosts(tmp_path / "known_hosts", hosts)
    inventory = _inventory(tmp_path, host_factory, hosts, known)
    ping = _ansible(checkout, inventory, "-m", "ansible.builtin.ping", "-b")
    assert ping.returncode == 0, ping.stdout + ping.stderr
    who = _ansible(checkout, inventory, "-b", "-m", "ansible.builtin.command", "-a", "id -un")
    assert [line for line in who.stdout.splitlines() if line.strip() == "root"] == ["root", "root"], who.stdout


def test_a_host_whose_key_has_changed_is_refused(
    checkout: Path, host_factory: TestHosts, hosts: list[TestHost], tmp_path: Path
) -> None:
    first, second = hosts
    known = tmp_path / "known_hosts"
    known.write_text(f"{first.address} {second.host_key}\n{second.address} {second.host_key}\n", encoding="utf-8")
    answer = host_factory.ssh(first, known, "true")
    assert answer.code == 255
    assert "Host key verification failed" in answer.stderr
    ping = _ansible(checkout, _inventory(tmp_path, host_factory, hosts, known), "-m", "ansible.builtin.ping")
    assert f"{first.name} | UNREACHABLE" in ping.stdout
    assert f"{second.name} | SUCCESS" in ping.stdout


def test_sudo_of_another_account_asks_for_its_password(
    host_factory: TestHosts, hosts: list[TestHost], tmp_path: Path
) -> None:
    host = hosts[0]
    host.add_account("careful", host_factory.public_key, sudo_password="right horse")
    try:
        known = host_factory.write_known_hosts(tmp_path / "known_hosts", hosts)
        wrong = host_factory.ssh(host, known, "echo wrong | sudo -S -k id -un", account="careful")
        assert wrong.code != 0
        right = host_factory.ssh(host, known, "echo 'right horse' | sudo -S -k id -un", account="careful")
        assert (right.code, right.stdout.strip()) == (0, "root"), right.stderr
    finally:
        host.exec(["sh", "-c", "rm /etc/sudoers.d/careful; userdel --remove careful"], check=False)


def test_a_blocked_port_is_blocked_until_it_is_unblocked(
    host_factory: TestHosts, hosts: list[TestHost], tmp_path: Path
) -> None:
    host, other = hosts
    known = host_factory.write_known_hosts(tmp_path / "known_hosts", hosts)
    connects = ["timeout", "3", "bash", "-c", f"exec 3<>/dev/tcp/{other.address}/22"]
    assert host.exec(connects, check=False).code == 0
    host.block(port=22, address=other.address)
    assert host.exec(connects, check=False).code == 124  # nothing comes back
    assert host_factory.ssh(host, known, "true").code == 0  # from elsewhere it is reached
    host.unblock()
    host.block(port=22, refuse=True)
    assert host.exec(connects, check=False).code == 1  # refused at once
    assert host_factory.ssh(host, known, "true").code == 255
    host.unblock()
    assert host.exec(connects, check=False).code == 0
    assert host_factory.ssh(host, known, "true").code == 0


def test_a_killed_host_comes_back_with_its_address_and_key(host_factory: TestHosts, hosts: list[TestHost]) -> None:
    host = hosts[1]
    key, address = host.host_key, host.address
    host.kill()
    assert not host.is_running()
    host.start_again()
    assert (host.host_key, host.address) == (key, address)
    host.pause()
    assert not host.is_running()
    host.unpause()
    waiting.wait_until(lambda: host.exec(["true"], check=False).code == 0, 10, "the host goes on")


def test_debian_13_starts_too(host_factory: TestHosts) -> None:
    (host,) = host_factory.start("deb13", release="trixie")
    try:
        assert "trixie" in host.exec(["cat", "/etc/os-release"]).stdout
        host_key_before = host.host_key
        host.change_host_key()
        host.wait_ready()
        assert host.host_key != host_key_before
    finally:
        host_factory.remove(host)


def test_what_a_test_run_leaves_is_found_and_removed(host_factory: TestHosts, tmp_path: Path) -> None:
    with TestHosts(tmp_path / "own", session_id="leftover-check") as own:
        (host,) = own.start("w1")
        network = own.network
        left = leftovers.containers_of_session("leftover-check")
        assert left == [f"container {host.container}", f"network {network}"]
        assert leftovers.containers_of_session("leftover-check") == []  # telling of it removes it


def test_machines_of_a_killed_test_run_are_removed_by_the_next(
    host_factory: TestHosts, hosts: list[TestHost], tmp_path: Path
) -> None:
    # a run of its own, killed as soon as its host is up: it has no chance to clean up
    script = (
        "import os, signal, sys; from pathlib import Path; from support.test_hosts import TestHosts\n"
        "(host,) = TestHosts(Path(sys.argv[1]), session_id='killed-run').start('w1')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "killed")], cwd=Path(test_hosts.__file__).parents[1], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    test_hosts.remove_orphans()
    assert leftovers.containers_of_session("killed-run") == []
    assert all(host.is_running() for host in hosts)


def test_a_machine_without_the_images_is_told_the_command() -> None:
    said = test_hosts.what_is_missing(["no-such-release"])
    assert said is not None
    assert ".ci/test-hosts" in said
