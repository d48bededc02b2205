"""The whole path on real hosts and secured brokers: check, create, scale, a worker's death, rotate, upgrade, tear down.

The account has the least rights that kferry names, its password and a group's name try to be templates and shell
lines, and records with numbers tell what was lost (nothing), what came out of order (nothing), and what came twice.
"""

from __future__ import annotations

import json
import shlex
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from kferry.ansible.archive import hash_file
from kferry.domain import acls
from kferry.domain.model import Role
from kferry.store.settings_file import load_settings
from support.another_version import another_version
from support.fleet_run import (
    CANARY,
    GROUPS,
    HOSTILE_RECORDS,
    HOSTILE_TOPIC,
    PARTITIONS,
    TOPIC,
    TOPICS,
    USER,
    CommandLines,
    FleetRun,
    files_with,
    killed,
    running,
    wait_active,
)
from support.test_hosts import TestHost, TestHosts
from support.traffic import RECORDS_PER_SECOND, Arrivals, Traffic, repeats_of
from support.waiting import wait_until

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(2400)]

TASK = "shop"
# part of the password that no quoting or escaping changes
CANARY_CORE = "Canary-7f3a"
# the session timeout of a worker is 6 s; the rest is for a machine that has other things to do
GO_ON_DEADLINE_SECONDS = 90
# of an interval between two saved positions: who stops in good order has saved them
FEW = 0.25


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
    assert set(batch["topics"]) == set(TOPICS)
    run.layout.plan.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")


def rights(run: FleetRun) -> dict[str, list[dict[str, Any]]]:
    migration_id = load_settings(run.layout).migration_id
    return {
        role.value: acls.as_data(acls.least(acls.plan(role, migration_id, TOPICS, GROUPS)), f"User:{USER}")  # type: ignore[misc]
        for role in Role
    }


def next_version(run: FleetRun, folder: Path) -> Path:
    """What an upgrade installs."""
    installed = json.loads(run.layout.task(TASK).read_text(encoding="utf-8"))["kafka"]
    return another_version(Path(installed["archive"]), folder)


def document(run: FleetRun, kind: str, subject: str = "") -> Any:
    found = run.session.reader.document(kind, subject)
    assert found is not None, f"there is no document {kind}"
    return found[1]


def version_of(host: TestHost, worker: str) -> str:
    return str(host.exec(["readlink", f"/opt/kferry/{worker}/current"]).stdout.strip())


class Repeats:
    """What comes twice is counted and bounded for each thing that is done; nothing may be lost or overtaken."""

    def __init__(self, run: FleetRun, say: Callable[[str], None]) -> None:
        self._run, self._say = run, say
        self._seen = run.repeats()

    @contextmanager
    def of(self, what: str, *, flushes: float, meanwhile: bool = False) -> Iterator[None]:
        """At most what is written in so many intervals at which workers save their positions.

        `meanwhile`: what was written in the whole time comes on top.
        """
        began = time.monotonic()
        yield
        seconds = load_settings(self._run.layout).settings.offset_flush_interval_ms / 1000 * flushes
        seconds += time.monotonic() - began if meanwhile else 0
        before, self._seen = self._seen, self._run.repeats()
        repeated, limit = self._seen - before, int(RECORDS_PER_SECOND * seconds)
        self._say(f"{what}: {repeated} records came again; allowed are {limit}")
        assert repeated <= limit, what


def test_a_migration_over_ssh(run: FleetRun, tmp_path: Path, say: Callable[[str], None]) -> None:
    first, second = run.hosts
    before = {host.name: listing(host) for host in run.hosts}
    traffic = Traffic(run.application("source"), TOPIC, PARTITIONS)
    with CommandLines(CANARY_CORE) as seen:
        try:
            _prepare(run)
            run.kferry("task", "create", TASK)
            run.caught_up(TASK)
            repeats = Repeats(run, say)
            with repeats.of("scaling out", flushes=FEW):
                _scale_out(run)
            with repeats.of("a killed worker", flushes=3):
                _kill_one(run, traffic, say)
            with repeats.of("restarts", flushes=FEW):
                _restart(run)
            with repeats.of("scaling in", flushes=FEW):
                _scale_in(run)
            # while the new password is on its way, workers can't save positions: what they copy then may come again
            with repeats.of("rotation", flushes=3, meanwhile=True):
                _rotate(run)
            with repeats.of("upgrade and back", flushes=FEW):
                _upgrade_and_back(run, tmp_path)
            _nothing_leaks(run)
        finally:
            traffic.stop()
        wait_until(lambda: run.task(TASK).lag_records == 0, 120, "everything was copied")
        for number, records in run.target_records().items():
            repeats_of(records, traffic.confirmed[number])  # fails where one is missing
        assert run.hostile_records() == HOSTILE_RECORDS

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
    commands = run.kferry("acls", "show", "source", "-o", "commands")
    assert HOSTILE_TOPIC in {
        word.removeprefix("--topic=") for line in commands.splitlines() for word in shlex.split(line)
    }
    run.grant(rights(run))
    run.see_everything(False)
    for kind in ("scan", "preflight"):
        run.do(kind)
    run.waive_all()


def _both_work(run: FleetRun) -> None:
    for host in run.hosts:
        wait_active(run, host, 1)
    run.caught_up(TASK)
    wait_until(lambda: len(_busy(run)) == 2, 60, "connector tasks run on both workers")


def _busy(run: FleetRun) -> set[str]:
    """Workers that have connector tasks, as kferry sees it."""
    observed = document(run, "observation", TASK)
    return {task["worker"] for connector in observed["connectors"] for task in connector["tasks"]}


def _scale_out(run: FleetRun) -> None:
    run.kferry("task", "scale", TASK, "2")
    assert {worker["host"] for worker in run.workers(TASK)} == {host.name for host in run.hosts}
    _both_work(run)
    workers = document(run, "observation", TASK)["workers"]
    assert all(worker["heap_used_bytes"] and worker["cpu_ratio"] is not None for worker in workers)


def _kill_one(run: FleetRun, traffic: Traffic, say: Callable[[str], None]) -> None:
    """What it copied goes on elsewhere, within the session timeout."""
    worker = run.workers(TASK)[-1]
    host = run.host_of(worker)
    with Arrivals(run.application("target"), TOPIC, PARTITIONS) as arrivals, killed(host, worker["name"]) as at:
        # what is sent from here on can only come from the other one
        goes_on = arrivals.first_from(dict(traffic.confirmed), GO_ON_DEADLINE_SECONDS)
        pauses = sorted(round(seen - at, 1) for seen in goes_on.values())
        say(f"a worker was killed: its partitions went on after {pauses[-1]} s (each: {pauses})")
        assert run.units(host) == [], "it was not started again"
        run.caught_up(TASK)


def _restart(run: FleetRun) -> None:
    """kferry starts the dead one again, too."""
    run.kferry("task", "restart", TASK)
    _both_work(run)


def _scale_in(run: FleetRun) -> None:
    first, second = run.workers(TASK)
    run.kferry("task", "scale", TASK, "--remove", first["name"])
    assert run.workers(TASK) == [second]
    assert run.units(run.host_of(first)) == []
    run.caught_up(TASK)


def _rotate(run: FleetRun) -> None:
    new = CANARY + "-rotated"
    run.brokers.add_user(USER, new)
    run.put_password(USER, new)
    run.kferry("task", "rotate", TASK)
    run.caught_up(TASK)


def _upgrade_and_back(run: FleetRun, folder: Path) -> None:
    (worker,) = run.workers(TASK)
    host = run.host_of(worker)
    old, archive = version_of(host, worker["name"]), next_version(run, folder)
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
    kept, users = (f"/opt/kferry/tasks/{TASK}/{name}" for name in ("secrets.properties", "rest.users"))
    assert set[str]().union(*(places_on(host, CANARY_CORE) for host in run.hosts)) == {kept}
    places = set[str]().union(*(places_on(host, password) for host in run.hosts))
    assert places and places <= {kept, users}, places
    assert not Path("/tmp/PWNED").exists()
    assert not any(CANARY_CORE.encode() in text for text in run.records_of_connect())
    answers = run.rest_answers(TASK)
    assert [path for path, text in answers.items() if CANARY_CORE in text or password in text] == []
    assert "${file:" in "".join(answers.values()), "configs refer to the file"


def places_on(host: TestHost, secret: str) -> set[str]:
    """Where a secret stands on a machine: files, the journal, command lines and environments."""
    script = (
        'grep -rlaF -- "$1" /opt /etc /tmp /var /home /root /run 2>/dev/null; '
        'journalctl --no-pager | grep -F -- "$1"; '
        "for file in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do "
        "tr '\\0' ' ' < $file 2>/dev/null | grep -v grep | grep -qaF -- \"$1\" && echo $file; done; "
        "ls /tmp/PWNED 2>/dev/null"
    )
    return set(host.exec(["sh", "-c", script, "sh", secret], check=False).stdout.splitlines())
