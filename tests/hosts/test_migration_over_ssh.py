"""The whole path on real hosts and secured brokers: check, create, scale, rotate, upgrade and back, delete, tear down.

The account has the least rights that kferry names, its password and a group's name try to be templates and shell
lines, and records with numbers tell at the end whether anything was lost or came out of order.
"""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kferry.ansible.archive import hash_file
from kferry.domain import acls
from kferry.domain.model import Role
from kferry.store.settings_file import load_settings
from support.fleet_run import (
    CANARY,
    GROUPS,
    PARTITIONS,
    TOPIC,
    USER,
    CommandLines,
    FleetRun,
    Traffic,
    files_with,
    repeats_of,
    running,
    wait_active,
)
from support.test_hosts import TestHost, TestHosts
from support.waiting import wait_until

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(1500)]

TASK = "shop"
# part of the password that no quoting or escaping changes
CANARY_CORE = "Canary-7f3a"
CONNECT_TOPICS = ("configs", "offsets", "status")


@pytest.fixture(scope="module")
def run(host_factory: TestHosts) -> Iterator[FleetRun]:
    folder = Path(tempfile.mkdtemp(prefix="kff-"))  # short: Unix sockets lie below it
    hosts = host_factory.start("fleet-1", "fleet-2")
    try:
        with running(folder, host_factory, hosts) as found:
            yield found
    finally:
        for host in hosts:
            host_factory.remove(host)
        shutil.rmtree(folder, ignore_errors=True)


def listing(host: TestHost) -> str:
    """What kferry may leave on a machine: accounts, units, folders."""
    # Java stays, and with it what the package manager wrote about it
    logs = "ls -A /var/log | grep -vxF -e dpkg.log -e alternatives.log"
    words = f"cut -d: -f1 /etc/passwd /etc/group | sort; ls -A /opt; {logs}; find /etc/systemd | sort"
    return str(host.exec(["sh", "-c", words]).stdout)


def plan_of_one_batch(run: FleetRun) -> None:
    """The planner's batch under the name that this test uses."""
    document = yaml.safe_load(run.layout.plan.read_text(encoding="utf-8"))
    (batch,) = document["batches"]
    batch["name"] = TASK
    assert set(batch["groups"]) == set(GROUPS)
    run.layout.plan.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")


def rights(run: FleetRun) -> dict[str, list[dict[str, Any]]]:
    migration_id = load_settings(run.layout).migration_id
    return {
        role.value: acls.as_data(acls.least(acls.plan(role, migration_id, [TOPIC], GROUPS)), f"User:{USER}")  # type: ignore[misc]
        for role in Role
    }


def another_version(run: FleetRun, folder: Path) -> Path:
    """The distribution with one jar more: what an upgrade installs."""
    installed = json.loads(run.layout.task(TASK).read_text(encoding="utf-8"))["kafka"]
    unpacked, made = folder / "unpacked", folder / "other.tar"
    with tarfile.open(installed["archive"]) as archive:
        archive.extractall(unpacked, filter="data")
    with zipfile.ZipFile(unpacked / "libs" / "another-build-1.0.jar", "w") as jar:
        jar.writestr("another.txt", "build")
    with tarfile.open(made, "w") as archive:
        for path in sorted(unpacked.rglob("*")):
            if path.is_file():
                archive.add(path, path.relative_to(unpacked))
    return made


def document(run: FleetRun, kind: str, subject: str = "") -> Any:
    found = run.session.reader.document(kind, subject)
    assert found is not None, f"there is no document {kind}"
    return found[1]


def version_of(host: TestHost, worker: str) -> str:
    return str(host.exec(["readlink", f"/opt/kferry/{worker}/current"]).stdout.strip())


def test_a_migration_over_ssh(run: FleetRun, tmp_path: Path) -> None:
    first, second = run.hosts
    before = {host.name: listing(host) for host in run.hosts}
    traffic = Traffic(run.application("source"))
    with CommandLines(CANARY_CORE) as seen:
        try:
            _prepare(run)
            _create_and_scale(run)
            _rotate(run)
            _upgrade_and_back(run, tmp_path)
            _nothing_leaks(run)
        finally:
            traffic.stop()
        wait_until(lambda: run.task(TASK).lag_records == 0, 120, "everything was copied")
        copied = run.target_records()
        repeats = {number: repeats_of(copied[number], traffic.confirmed[number]) for number in range(PARTITIONS)}
        # while the new password is on its way workers can't save their positions: what they copied then comes again
        assert sum(repeats.values()) < sum(traffic.confirmed.values()) / 4, repeats

        run.kferry("task", "delete", TASK, "--yes")
        for host in run.hosts:
            run.kferry("fleet", "teardown", host.name, "--yes")
    assert seen.looks > 100
    assert not seen.found, "the password stood on a command line of this machine"
    assert {host.name: listing(host) for host in run.hosts} == before
    assert run.broken_link() is None
    assert first.name != second.name


def _prepare(run: FleetRun) -> None:
    for group_id in GROUPS:
        run.commit(group_id, 0)
    run.see_everything(True)
    run.session.ensure_engine()
    assert "fleet-2" in run.kferry("fleet", "check")
    fleet = document(run, "fleet")
    assert {host["name"]: host["usable"] for host in fleet["hosts"]} == {"fleet-1": True, "fleet-2": True}, fleet
    for kind in ("check_clusters", "scan", "plan"):
        run.do(kind)
    plan_of_one_batch(run)
    run.grant(rights(run))
    run.see_everything(False)
    for kind in ("scan", "preflight"):
        run.do(kind)
    run.waive_all()


def _create_and_scale(run: FleetRun) -> None:
    run.kferry("task", "create", TASK)
    run.caught_up(TASK)
    (only,) = run.workers(TASK)
    run.kferry("task", "scale", TASK, "2")
    assert {worker["host"] for worker in run.workers(TASK)} == {host.name for host in run.hosts}
    for host in run.hosts:
        wait_active(run, host, 1)
    run.caught_up(TASK)
    observed = document(run, "observation", TASK)
    busy = {task["worker"] for connector in observed["connectors"] for task in connector["tasks"]}
    assert len(busy) == 2, "connector tasks run on both workers"
    assert all(worker["heap_used_bytes"] and worker["cpu_ratio"] is not None for worker in observed["workers"])
    run.kferry("task", "scale", TASK, "--remove", only["name"])
    assert [worker["name"] for worker in run.workers(TASK)] == [f"{TASK}-2"]
    hosts = {host.name: host for host in run.hosts}
    assert run.units(hosts[only["host"]]) == []
    run.caught_up(TASK)


def _rotate(run: FleetRun) -> None:
    new = CANARY + "-rotated"
    run.brokers.add_user(USER, new)
    run.put_password(USER, new)
    run.kferry("task", "rotate", TASK)
    run.caught_up(TASK)


def _upgrade_and_back(run: FleetRun, folder: Path) -> None:
    (worker,) = run.workers(TASK)
    host = next(host for host in run.hosts if host.name == worker["host"])
    old, archive = version_of(host, worker["name"]), another_version(run, folder)
    settings = yaml.safe_load(run.layout.settings.read_text(encoding="utf-8"))
    settings["settings"]["distribution"] = {
        "source": "file",
        "path": str(archive),
        "sha256": hash_file(archive),
    }
    run.layout.settings.write_text(yaml.safe_dump(settings), encoding="utf-8")
    run.kferry("task", "upgrade", TASK)
    assert version_of(host, worker["name"]) != old
    run.caught_up(TASK)
    run.kferry("task", "upgrade", TASK, "--rollback")
    assert version_of(host, worker["name"]) == old
    run.caught_up(TASK)


def _nothing_leaks(run: FleetRun) -> None:
    run.kferry("diagnose", TASK)
    bundle = document(run, "diagnostics")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(bundle["path"]) as archive:
            archive.extractall(folder, filter="data")
        assert files_with(CANARY_CORE, Path(folder)) == []
        assert list(Path(folder).rglob("*worker*.log*")), "the bundle holds the workers' logs"
    assert files_with(CANARY_CORE, run.root) == []
    password = run.layout.rest_password(TASK).read_text(encoding="utf-8").strip()
    assert files_with(password, run.root, but=[run.layout.rest_password(TASK)]) == []
    for host in run.hosts:
        assert leaks_on(host) == [], host.name
    assert not Path("/tmp/PWNED").exists()
    assert not any(CANARY_CORE.encode() in text for text in run.records_of_connect())


def leaks_on(host: TestHost) -> list[str]:
    """Where the password stands on a machine, but in the one file that is made for it."""
    places = "/opt /etc /tmp /var /home /root /run"
    script = (
        f"grep -rlaF -- {CANARY_CORE} {places} 2>/dev/null; "
        f"journalctl --no-pager | grep -F -- {CANARY_CORE}; "
        f"for file in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do "
        f"tr '\\0' ' ' < $file 2>/dev/null | grep -v grep | grep -aF -- {CANARY_CORE} && echo $file; done; "
        "ls /tmp/PWNED 2>/dev/null"
    )
    found = host.exec(["sh", "-c", script], check=False).stdout.splitlines()
    return [line for line in found if line != f"/opt/kferry/tasks/{TASK}/secrets.properties"]
