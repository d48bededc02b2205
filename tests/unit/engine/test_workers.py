"""More and fewer workers: which machines and ports they get, which ones leave, and what is refused before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kferry.domain import heap
from kferry.domain.errors import KferryError
from kferry.domain.model import (
    Batch,
    ClusterConfig,
    ClusterKind,
    PartitionOffsets,
    Plan,
    Role,
    TaskSpec,
    TaskState,
    Topic,
    WorkerSpec,
)
from kferry.domain.runbook import OperationKind
from kferry.engine import dryrun, intents_fleet, play_environment, task_making
from kferry.engine.context import Services
from kferry.engine.ledger import Ledger
from kferry.engine.operations.workers import wanted_workers
from kferry.engine.placement import fleet_is_remote, place
from kferry.engine.routes import Routes
from kferry.engine.tasks import Tasks
from kferry.store import plan_file, schema
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.settings_file import write_new

GIB = 1024**3
REMOTE = """\
kferry_workers:
  hosts:
    w1: {ansible_host: 10.0.0.1, kferry_zone: a}
    w2: {ansible_host: 10.0.0.2, kferry_zone: b}
    w3: {ansible_host: 10.0.0.3, kferry_zone: b, kferry_private_address: 192.168.0.3}
"""


class FakeClusters:
    """A source with one topic of twelve partitions."""

    mechanism: str | None = None
    role_arn: str | None = None

    def config(self, role: Role) -> ClusterConfig:
        return ClusterConfig(role, ClusterKind.MSK, "b:9098", sasl_mechanism=self.mechanism, aws_role_arn=self.role_arn)

    def admin(self, role: Role) -> Any:
        assert role is Role.SOURCE
        parts = tuple(PartitionOffsets(number, 0, 10) for number in range(12))
        return SimpleNamespace(topics=lambda names: {name: Topic(name, None, 1, parts) for name in names})


@pytest.fixture
def services(short_path: Path) -> Iterator[Services]:
    layout = Layout(short_path)
    layout.prepare()
    layout.inventory.mkdir()
    write_new(layout, "t", settings={"remote_port_first": 20000, "heap_bytes": GIB}, migration_id="abc123")
    schema.upgrade(layout.journal)
    journal, clusters = Journal(layout.journal), FakeClusters()
    yield Services(
        layout=layout,
        journal=journal,
        clusters=clusters,  # type: ignore[arg-type]
        plays=None,  # type: ignore[arg-type]
        tasks=Tasks(layout, journal, clusters),  # type: ignore[arg-type]
        ledger=Ledger(journal, clusters),  # type: ignore[arg-type]
        routes=Routes(layout),
    )
    journal.close()


def inventory(services: Services, text: str) -> None:
    (services.layout.inventory / "hosts.yml").write_text(text)


def measured(services: Services, **memory_gib: float | None) -> None:
    """What the last check found: usable machines with so much memory, None: not usable."""
    hosts = [
        {
            "name": name,
            "usable": value is not None,
            "facts": {"memory_bytes": int((value or 0) * GIB), "busy_ports": []},
        }
        for name, value in memory_gib.items()
    ]
    hosts[0]["facts"]["busy_ports"] = [20000, 20002]  # type: ignore[index]
    services.journal.put_document("fleet", "", json.dumps({"checked_at_ms": 1, "hosts": hosts}))


def spec(*workers: WorkerSpec, name: str = "shop", is_remote: bool = True) -> TaskSpec:
    return TaskSpec(name, "abc123", name, 1, ("orders",), (), workers, 2, is_remote=is_remote)


def test_workers_are_spread_over_zones_and_get_free_ports(services: Services) -> None:
    inventory(services, REMOTE)
    measured(services, w1=8, w2=8, w3=8)
    found = place(services, spec(), 3)
    assert [(worker.name, worker.host, worker.rest_host) for worker in found] == [
        ("shop-1", "w1", "10.0.0.1"),
        ("shop-2", "w2", "10.0.0.2"),
        ("shop-3", "w3", "192.168.0.3"),
    ]
    assert (found[0].rest_port, found[0].metrics_port) == (20001, 20003), "20000 and 20002 were busy on w1"
    assert (found[1].rest_port, found[1].metrics_port) == (20000, 20001)


def test_tasks_on_one_machine_never_share_a_port(services: Services) -> None:
    inventory(services, REMOTE)
    measured(services, w1=8)
    services.tasks.put(
        spec(WorkerSpec("iot-1", "w1", "10.0.0.1", 20001, GIB, 20003), name="iot"), TaskState.RUNNING, ""
    )
    (worker,) = place(services, spec(), 1)
    assert {worker.rest_port, worker.metrics_port}.isdisjoint({20000, 20001, 20002, 20003})


def test_a_cloud_role_of_a_machine_serves_one_task(services: Services) -> None:
    inventory(services, REMOTE)
    measured(services, w1=8, w2=8)
    services.tasks.put(spec(WorkerSpec("iot-1", "w1", "10.0.0.1", 20001, GIB), name="iot"), TaskState.RUNNING, "")
    services.clusters.mechanism = "AWS_MSK_IAM"  # type: ignore[attr-defined]
    assert [worker.host for worker in place(services, spec(), 1)] == ["w2"]
    with pytest.raises(KferryError, match="no machine for 1 of 5") as error:
        place(services, spec(), 5)
    assert "w1: its cloud role serves iot already." in str(error.value)
    services.clusters.role_arn = "arn:aws:iam::1:role/{task}"  # type: ignore[attr-defined]
    assert {worker.host for worker in place(services, spec(), 2)} == {"w1", "w2"}


def test_no_room_is_a_sentence_with_every_machine(services: Services) -> None:
    inventory(services, REMOTE)
    measured(services, w1=3, w2=None)
    with pytest.raises(KferryError, match="no machine for 1 of 2 workers") as error:
        place(services, spec(), 2)
    assert "w2: can't be used" in str(error.value) and "w3: not known" in str(error.value)


def test_local_and_remote_machines_are_not_mixed(services: Services) -> None:
    inventory(services, "kferry_workers:\n  hosts:\n    here: {ansible_connection: local}\n    w1:\n")
    with pytest.raises(KferryError, match="mixes this machine"):
        fleet_is_remote(services)
    inventory(services, "kferry_workers:\n  hosts:\n    here: {ansible_connection: local}\n")
    with pytest.raises(KferryError, match="of another kind"):
        place(services, spec(), 1)
    two = place(services, spec(is_remote=False), 2)
    assert [worker.name for worker in two] == ["shop-1", "shop-2"] and two[0].rest_port != two[1].rest_port


def test_the_newest_leave_unless_others_are_named(services: Services) -> None:
    inventory(services, REMOTE)
    measured(services, w1=8, w2=8, w3=8)
    three = spec(*place(services, spec(), 3))
    fewer = wanted_workers(services, three, {"workers": 1})
    assert [worker.name for worker in fewer.workers] == ["shop-1"]
    assert [worker.name for worker in fewer.leaving] == ["shop-2", "shop-3"]
    named = wanted_workers(services, three, {"remove": ["shop-1"]})
    assert [worker.name for worker in named.workers] == ["shop-2", "shop-3"]
    assert [worker.name for worker in named.leaving] == ["shop-1"]


def test_a_replacement_gets_a_name_of_its_own(services: Services) -> None:
    inventory(services, REMOTE)
    measured(services, w1=8, w2=8, w3=8)
    one = spec(*place(services, spec(), 1))
    wanted = wanted_workers(services, one, {"remove": ["shop-1"], "workers": 1})
    assert [worker.name for worker in wanted.workers] == ["shop-2"]
    assert [worker.name for worker in wanted.leaving] == ["shop-1"]


def test_connector_tasks_follow_the_workers(services: Services) -> None:
    inventory(services, REMOTE)
    measured(services, w1=8, w2=8, w3=8)
    assert wanted_workers(services, spec(), {"workers": 1}).connector_tasks_max == 2
    assert wanted_workers(services, spec(), {"workers": 3}).connector_tasks_max == 6


def without_heap(services: Services) -> None:
    path = services.layout.settings
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "heap_bytes" not in line))


def test_without_a_setting_the_heap_follows_connector_tasks_and_machines(services: Services) -> None:
    inventory(services, REMOTE)
    measured(services, w1=16, w2=16, w3=32)
    without_heap(services)
    (one,) = place(services, replace(spec(), connector_tasks_max=25), 1)
    assert one.heap_bytes / GIB == pytest.approx(6, abs=0.07) and one.host == "w3", (
        "half of a machine is left to other tasks"
    )
    measured(services, w1=16, w2=2.5, w3=2.5)
    assert {worker.heap_bytes for worker in place(services, spec(), 3)} == {GIB // 2}, "the smallest machine decides"


def test_scaling_reckons_heap_and_buffers_again_and_leaves_the_others_running(services: Services) -> None:
    inventory(services, REMOTE)
    measured(services, w1=16, w2=16, w3=16)
    without_heap(services)
    before = spec(WorkerSpec("shop-1", "w1", "10.0.0.1", 20001, GIB // 2, 20003))
    after = wanted_workers(services, before, {"workers": 3})
    assert after.workers[0] == before.workers[0] and after.connector_tasks_max == 6
    assert [round(worker.heap_bytes / GIB, 2) for worker in after.workers] == [0.5, 1.62, 1.62]
    assert heap.buffers_of(after) == heap.buffers(GIB // 2, 3, after.max_record_bytes)
    assert heap.buffers_of(after).buffer < heap.buffers_of(before).buffer
    fewer = wanted_workers(services, after, {"remove": ["shop-1"]})
    assert heap.buffers_of(fewer) == heap.full(after.max_record_bytes)


def test_workers_of_this_machine_keep_the_heap_they_had(services: Services) -> None:
    inventory(services, "kferry_workers:\n  hosts:\n    here: {ansible_connection: local}\n")
    without_heap(services)
    assert [worker.heap_bytes for worker in place(services, spec(is_remote=False), 2)] == [GIB // 2] * 2


def test_a_heap_of_the_operators_wins(services: Services) -> None:
    inventory(services, REMOTE)
    measured(services, w1=16, w2=16, w3=16)
    (one,) = place(services, replace(spec(), connector_tasks_max=25), 1)
    assert one.heap_bytes == GIB


@pytest.mark.parametrize("asked", [0, 4, True, "two", -1])
def test_a_task_cannot_begin_with_workers_that_there_is_no_machine_for(services: Services, asked: object) -> None:
    inventory(services, REMOTE)
    with pytest.raises(KferryError, match="cannot begin with") as error:
        task_making.check_workers(services, asked)
    assert "3 machines" in error.value.cause and "Ask for 1 to 3" in error.value.next_step


def test_a_task_begins_with_the_workers_asked_for(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory(services, REMOTE)
    measured(services, w1=16, w2=16, w3=16)
    batch = Batch("shop", ("orders",), ("billing",))
    assert len(task_making.new_spec(services, batch).workers) == 1, "max_workers_per_task is 1"
    for asked in (1, 2, 3):
        task_making.check_workers(services, asked)
        made = task_making.new_spec(services, batch, asked)
        assert len(made.workers) == len({worker.host for worker in made.workers}) == asked
        assert made.connector_tasks_max == 2 * asked and made.incarnation == 1
    monkeypatch.setenv("KFERRY_SETTINGS__MAX_WORKERS_PER_TASK", "5")
    task_making.check_workers(services, 5)
    assert len(task_making.new_spec(services, batch).workers) == 3, "one a machine"


def test_the_plan_of_a_new_task_shows_its_workers_and_their_heap(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory(services, REMOTE)
    measured(services, w1=16, w2=16, w3=16)
    without_heap(services)
    batch = Batch("shop", ("orders",), ())
    plan_file.write_plan(services.layout, Plan("scan-1", (batch,)))
    monkeypatch.setattr(dryrun, "_topics", lambda *_: [])
    found = dryrun.plan(services, OperationKind.CREATE_TASK, "shop", {"workers": 2})
    made = [(change["name"], change["after"]) for change in found["changes"] if change["resource"] == "worker"]
    assert made == [("shop-1", "w1"), ("shop-2", "w2")]
    assert "2 workers with a heap of 1856 MiB for 4 connector tasks" in found["words"][-1]
    again = dryrun.plan(services, OperationKind.CREATE_TASK, "shop", {"workers": 2})
    assert again["hash"] == found["hash"] != dryrun.plan(services, OperationKind.CREATE_TASK, "shop", {})["hash"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"workers": 0}, "0 is not a number of workers"),
        ({"workers": "two"}, "is not a number"),
        ({"workers": True}, "is not a number"),
        ({}, "is not a number"),
        ({"remove": ["shop-1"]}, "is not a number"),
        ({"remove": ["shop-9"]}, "has no worker shop-9"),
        ({"workers": 1}, "has 1 workers already"),
    ],
)
def test_what_cannot_be_is_refused(services: Services, args: dict[str, Any], words: str) -> None:
    with pytest.raises(KferryError, match=words):
        intents_fleet.check_scale(services, spec(WorkerSpec("shop-1", "w1", "10.0.0.1", 1, GIB)), args)


def test_a_machine_that_works_is_not_torn_down(services: Services) -> None:
    inventory(services, REMOTE)
    services.tasks.put(spec(WorkerSpec("shop-1", "w1", "10.0.0.1", 1, GIB)), TaskState.RUNNING, "")
    with pytest.raises(KferryError, match="w1 carries workers of shop"):
        intents_fleet.checked(services, {"host": "w1"}, kind="teardown_host")
    with pytest.raises(KferryError, match="no machine 'w9'"):
        intents_fleet.checked(services, {"host": "w9"}, kind="teardown_host")
    assert intents_fleet.checked(services, {"host": "w2"}, kind="teardown_host")[1] == "w2"


def test_the_password_of_rest_is_made_once_and_private(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    services.tasks.put(spec(), TaskState.RUNNING, "")
    monkeypatch.setattr(play_environment.secrets, "play_environment", lambda *_: {})
    monkeypatch.setenv("SUDO", "open sesame")
    environment = play_environment.PlayEnvironment(services.layout, services.clusters, services.tasks, services.routes)
    monkeypatch.setenv("KFERRY_SETTINGS__BECOME_PASSWORD", "env:SUDO")
    first = environment("shop")
    assert first["KFERRY_SECRET_REST_PASSWORD"] == environment("shop")["KFERRY_SECRET_REST_PASSWORD"]
    assert len(first["KFERRY_SECRET_REST_PASSWORD"]) >= 24
    assert first["KFERRY_BECOME_PASSWORD"] == "open sesame"
    path = services.layout.rest_password("shop")
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
