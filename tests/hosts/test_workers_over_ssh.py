"""The playbooks on real hosts over SSH: install, isolate, restart, upgrade and remove workers under systemd."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import threading
import time
import urllib.error
from pathlib import Path

import pytest

from kferry.ansible.dist import Distribution
from kferry.ansible.java import find_java
from support.fleet_run import killed
from support.ssh_fleet import PORTS, ROOT, SECRETS, Fleet, main_pid, rest, shown
from support.test_hosts import ACCOUNT, TestHost, TestHosts
from support.waiting import wait_until

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(1500)]


@pytest.fixture
def installed(fleet: Fleet, hosts: list[TestHost]) -> list[TestHost]:
    """Task shop on both hosts and task hr on the first, whatever an earlier test left."""
    fleet.use(hosts)
    fleet.write("shop", hosts)
    fleet.write("hr", hosts[:1])
    outcome = fleet.play("workers", env=SECRETS)
    assert outcome.rc == 0, outcome.output
    assert "rest-canary" not in outcome.output
    return hosts


def link(host: TestHost, worker: str, name: str) -> str:
    return str(host.exec(["readlink", f"{ROOT}/{worker}/{name}"], check=False).stdout.strip())


@pytest.mark.wide
def test_two_tasks_are_installed_and_kept_apart(fleet: Fleet, installed: list[TestHost]) -> None:
    first, _ = installed
    again = fleet.play("workers")
    assert (again.rc, again.changed) == (0, 0), again.output
    assert fleet.play("workers", "--check", "--diff").changed == 0
    assert fleet.play("workers", "-e", "kferry_task=hr", "--limit", "w1", "--tags", "configure").rc == 0

    # hardened, at boot, with its own account
    for worker in ("shop-w1", "hr-w1"):
        unit = f"kferry-worker@{worker}.service"
        words = first.exec(["systemd-analyze", "security", "--no-pager", unit]).stdout
        exposure = re.search(r"exposure level for \S+: ([0-9.]+)", words)
        assert exposure is not None and float(exposure[1]) <= 3.0, words
        assert first.exec(["systemctl", "is-enabled", unit]).stdout.strip() == "enabled"
    owner = first.exec(["stat", "-c", "%U %a", f"{ROOT}/hr-w1", f"{ROOT}/tasks/hr/secrets.properties"]).stdout
    assert owner.split() == ["kferry-hr", "700", "kferry-hr", "600"]
    assert first.exec(["stat", "-c", "%U %a", ROOT, f"{ROOT}/tasks"]).stdout.split() == ["root", "755"] * 2

    # the account of one task can't read the other's files, and its process doesn't even see them
    for path in (f"{ROOT}/tasks/shop/secrets.properties", f"{ROOT}/shop-w1/worker.properties"):
        read = first.exec(["setpriv", "--reuid=kferry-hr", "--clear-groups", "cat", path], check=False)
        assert read.code != 0 and "Permission denied" in read.stderr
    mounts = [
        line.split(" - ")
        for line in first.exec(["cat", f"/proc/{main_pid(first, 'hr-w1')}/mountinfo"]).stdout.splitlines()
    ]
    kinds = {left.split()[4]: right.split()[0] for left, right in mounts if left.split()[4].startswith(ROOT)}
    assert kinds[ROOT] == "tmpfs", "what is not mounted below would be seen"
    assert {path.removeprefix(ROOT) for path in kinds} == {"", "/versions", "/hr-w1", "/hr-w1/logs", "/tasks/hr"}

    # REST only on its own address and only for its account; the password is in no command line
    assert rest(first, "hr") == []
    with pytest.raises(urllib.error.HTTPError, match="401"):
        rest(first, "hr", password="wrong")
    listening = first.exec(["ss", "-Hltn"]).stdout
    for port in (PORTS["hr"], PORTS["hr"] + 1317):
        assert re.findall(rf"(\S+):{port}\s", listening.replace("::ffff:", "").replace("[", "").replace("]", "")) == [
            first.address
        ]
    lines = first.exec(["sh", "-c", "cat /proc/[0-9]*/cmdline; cat /proc/[0-9]*/environ"], check=False).stdout
    assert "rest-canary" not in lines

    # killed, it comes back by itself
    before = main_pid(first, "hr-w1")
    first.exec(["kill", "-9", before])
    wait_until(lambda: main_pid(first, "hr-w1") not in ("0", before), 60, "the worker was not started again")


def test_a_host_that_another_play_holds_is_refused_by_name(fleet: Fleet, installed: list[TestHost]) -> None:
    first, _ = installed
    claim = {"run": "r-other", "holder": "ann@bastion (kferry's run r-other)", "until": time.time() + 3600}
    first.write_file(f"{ROOT}/.lock", json.dumps(claim))
    refused = fleet.play("workers", "-e", "kferry_task=shop", "-e", "kafka_connect_wait_seconds=1")
    assert refused.failed == {"w1"} and "ann@bastion (kferry's run r-other)" in refused.output, refused.output
    # a claim that has run out is taken over
    first.write_file(f"{ROOT}/.lock", json.dumps({**claim, "until": time.time() - 1}))
    assert fleet.play("workers", "-e", "kferry_task=shop", "--limit", "w1").rc == 0
    assert first.exec(["cat", f"{ROOT}/.lock"], check=False).code != 0, "the claim was not given back"

    # another migration's root
    first.write_file(f"{ROOT}/migration", "zzz999\n")
    try:
        refused = fleet.play("workers", "-e", "kferry_task=shop", "--limit", "w1")
        assert refused.rc != 0 and "belongs to migration 'zzz999'" in refused.output, refused.output
    finally:
        first.write_file(f"{ROOT}/migration", "k3f9x2\n")


def test_a_wrong_sudo_password_is_a_sentence(fleet: Fleet, installed: list[TestHost]) -> None:
    first, _ = installed
    first.add_account("careful", fleet.factory.public_key, sudo_password="right horse")
    fleet.use([first], ansible_user="careful")
    fleet.write("shop", [first])
    only = ("-e", "kferry_task=hr")
    for password in ("", "wrong"):
        refused = fleet.play("workers", *only, env={"KFERRY_BECOME_PASSWORD": password})
        assert refused.rc != 0 and "Set KFERRY_BECOME_PASSWORD to the right password" in refused.output, refused.output
    allowed = fleet.play("workers", *only, env={"KFERRY_BECOME_PASSWORD": "right horse"})
    assert (allowed.rc, allowed.changed) == (0, 0), allowed.output
    assert "right horse" not in allowed.output


@pytest.mark.wide
def test_a_rolling_restart_leaves_a_worker_that_answers(fleet: Fleet, installed: list[TestHost]) -> None:
    created = fleet.play("task", "-e", "kferry_task=shop")
    assert (created.rc, created.changed) == (0, 1), created.output
    before = [main_pid(host, f"shop-{host.name}") for host in installed]
    gaps, stop = [], threading.Event()

    def watch() -> None:
        while not stop.is_set():
            answered = 0
            for host in installed:
                try:
                    rest(host, "shop")
                    answered += 1
                except OSError:
                    continue
            if not answered:
                gaps.append(time.time())
            stop.wait(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        outcome = fleet.play("restart", "-e", "kferry_task=shop")
    finally:
        stop.set()
        watcher.join()
    assert outcome.rc == 0, outcome.output
    after = [main_pid(host, f"shop-{host.name}") for host in installed]
    assert not set(before) & set(after) and not gaps
    assert rest(installed[0], "shop", "/connectors/kferry-k3f9x2-shop-1-heartbeat/status")["connector"]["state"]


@pytest.mark.wide
def test_a_rolling_restart_begins_with_the_worker_that_is_dead(fleet: Fleet, installed: list[TestHost]) -> None:
    first, second = installed
    with killed(second, "shop-w2"):
        pass
    alive = main_pid(first, "shop-w1")
    only = ("-e", "kferry_task=shop")

    # where it can't be mended, the one that works is not taken down
    second.block(port=22)
    refused = fleet.play("restart", *only, "--timeout", "5")
    assert refused.rc != 0 and "w2 can't be changed. No worker was touched." in refused.output, refused.output
    assert main_pid(first, "shop-w1") == alive
    second.unblock()

    outcome = fleet.play("restart", *only)
    assert outcome.rc == 0, outcome.output
    assert main_pid(first, "shop-w1") not in ("0", alive)
    # the hosts share a kernel, and so its monotonic clock
    mended = int(shown(second, "shop-w2", "ActiveEnterTimestampMonotonic"))
    taken_down = int(shown(first, "shop-w1", "ActiveExitTimestampMonotonic"))
    assert 0 < mended < taken_down
    assert rest(first, "shop") == rest(second, "shop")


def state(hosts: list[TestHost]) -> str:
    """Everything of kferry on the machines with its time of writing, but for logs, and since when each worker runs."""
    script = (
        f"find {ROOT} /etc/systemd/system -not -path '*/logs/*' '(' -type d -printf '%p %m %u\\n' "
        "-o -printf '%p %m %u %T@ %l\\n' ')' | sort; cat /etc/passwd /etc/group; "
        "systemctl show --property=Id,ExecMainStartTimestampMonotonic,NRestarts,UnitFileState 'kferry-worker@*'"
    )
    return "".join(host.exec(["sh", "-c", script]).stdout for host in hosts)


@pytest.mark.wide
def test_what_has_nothing_to_do_and_what_only_looks_changes_nothing(fleet: Fleet, installed: list[TestHost]) -> None:
    only = ("-e", "kferry_task=shop")
    created = fleet.play("task", *only)
    assert created.rc == 0, created.output
    before = state(installed)
    assert before.count("ExecMainStartTimestampMonotonic=") == 3
    for playbook in ("scale", "rotate", "upgrade"):
        again = fleet.play(playbook, *only, env=SECRETS)
        assert (again.rc, again.changed) == (0, 0), again.output
        assert state(installed) == before, playbook
    for playbook in ("scale", "rotate", "upgrade", "restart"):
        dry = fleet.play(playbook, *only, "--check", "--diff", env=SECRETS)
        # a restart is work, whatever it finds
        assert (dry.rc, dry.changed > 0) == (0, playbook == "restart"), dry.output
        assert state(installed) == before, playbook


def repacked(distribution: Distribution, folder: Path) -> tuple[Path, str]:
    """The same jars under another hash: another version as far as hosts can tell."""
    archive = folder / "other.tar"
    with tarfile.open(distribution.archive) as old, tarfile.open(archive, "w") as new:
        for entry in old:
            source = old.extractfile(entry)
            assert source is not None
            data = source.read() + (b"# again\n" if entry.name == "VERSION" else b"")
            entry.size = len(data)
            new.addfile(entry, io.BytesIO(data))
    return archive, hashlib.sha256(archive.read_bytes()).hexdigest()


@pytest.mark.wide
def test_upgrade_and_back(fleet: Fleet, installed: list[TestHost], distribution: Distribution, tmp_path: Path) -> None:
    archive, sha256 = repacked(distribution, tmp_path)
    kafka = fleet.kafka | {"archive": str(archive), "sha256": sha256}
    only = ("-e", "kferry_task=shop")
    old, new = f"../versions/kafka-3.9.2-{distribution.sha256[:8]}", f"../versions/kafka-3.9.2-{sha256[:8]}"
    assert link(installed[0], "shop-w1", "current") == old

    # half an archive is never activated, and nothing that runs is touched
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    fleet.write("shop", installed, kafka=kafka)
    before = [main_pid(host, f"shop-{host.name}") for host in installed]
    refused = fleet.play("upgrade", *only)
    assert refused.rc != 0 and "is not whole" in refused.output, refused.output
    assert [main_pid(host, f"shop-{host.name}") for host in installed] == before
    assert sha256[:8] not in installed[0].exec(["ls", "-a", f"{ROOT}/versions", ROOT]).stdout
    archive.write_bytes(whole)

    upgraded = fleet.play("upgrade", *only)
    assert upgraded.rc == 0, upgraded.output
    for host in installed:
        worker = f"shop-{host.name}"
        assert (link(host, worker, "current"), link(host, worker, "previous")) == (new, old)
    assert fleet.play("workers", *only).changed == 0
    assert link(installed[0], "hr-w1", "current") == old

    back = fleet.play("upgrade", *only, "-e", "rollback=true")
    assert back.rc == 0, back.output
    for host in installed:
        worker = f"shop-{host.name}"
        assert (link(host, worker, "current"), link(host, worker, "previous")) == (old, new)
    repeated = fleet.play("upgrade", *only, "-e", "rollback=true")
    assert (repeated.rc, repeated.changed) == (0, 0), repeated.output


@pytest.mark.wide
def test_scaling_in_removes_what_the_worker_had(fleet: Fleet, installed: list[TestHost]) -> None:
    _, second = installed
    fleet.write("shop", installed, absent=("shop-w2",))
    outcome = fleet.play("scale", "-e", "kferry_task=shop")
    assert outcome.rc == 0, outcome.output
    left = second.exec(["sh", "-c", f"ls {ROOT} {ROOT}/tasks; ls /etc/systemd/system; ls {ROOT}/shop-w2"]).stdout
    assert "kferry-worker@shop-w2" not in left and "worker.properties" not in left
    assert second.exec(["test", "-e", f"{ROOT}/tasks/shop"], check=False).code != 0
    assert rest(installed[0], "shop") is not None
    assert fleet.play("scale", "-e", "kferry_task=shop").changed == 0


@pytest.mark.wide
def test_debian_13_is_a_worker_too(fleet: Fleet, host_factory: TestHosts) -> None:
    [host] = host_factory.start("w13", release="trixie")
    try:
        fleet.use([host])
        for path in (fleet.root / "tasks").glob("*.json"):
            path.unlink()
        fleet.write("iot", [host])
        outcome = fleet.play("workers", env=SECRETS)
        assert outcome.rc == 0, outcome.output
        assert rest(host, "iot") == []
        assert fleet.play("workers").changed == 0
    finally:
        host_factory.remove(host)


def java_archive(path: Path) -> Path:
    """This machine's Java as one archive without links, as a site without internet would bring it."""
    home = find_java().home
    with tarfile.open(path, "w") as made:
        for folder, _, names in os.walk(home, followlinks=True):
            for file in (Path(folder) / name for name in sorted(names)):
                if file.is_file():
                    made.add(file.resolve(), Path("jre") / file.relative_to(home), recursive=False)
    return path


def test_a_machine_without_internet_behind_a_jump_host_takes_a_given_java(
    fleet: Fleet, hosts: list[TestHost], host_factory: TestHosts, tmp_path: Path
) -> None:
    jump, [host] = hosts[0], host_factory.start("gapped", release="trixie")
    try:
        host.leave_internet()
        fleet.use([host], kferry_jump=f"{ACCOUNT}@{jump.address}")
        host_factory.write_known_hosts(fleet.root / "known_hosts", [jump, host])
        for path in (fleet.root / "tasks").glob("*.json"):
            path.unlink()
        install = fleet.write("iot", [host])["install"]
        fleet.write("iot", [host], install={**install, "jre_archive": str(java_archive(tmp_path / "jre.tar"))})
        host.block(port=22, address=host_factory.gateway)
        outcome = fleet.play("workers", env=SECRETS)
        assert outcome.rc == 0, outcome.output
        assert rest(host, "iot") == []
        assert link(host, "iot-gapped", "java").startswith(f"{ROOT}/versions/jre-")
        assert fleet.play("workers").changed == 0
    finally:
        host_factory.remove(host)
