"""workers.yml and task.yml against a real broker and a real Connect worker, as an operator runs them by hand."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from kferry.ansible.content import find_content
from kferry.ansible.dist import Distribution
from plays.harness import Broker, Migration, free_port, marked_pids, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]  # two dozen plays on a machine that may be busy

BYTES = "org.apache.kafka.connect.converters.ByteArrayConverter"
PAYLOAD = "{{ lookup('pipe', 'touch PWNED') }}"


def document(migration: Migration, broker: Broker, distribution: Distribution, port: int) -> dict[str, Any]:
    prefix = "kferry-k3f9x2-shop-1"
    connection = {"bootstrap.servers": broker.bootstrap_servers}
    common = {
        "source.cluster.alias": "src",
        "target.cluster.alias": "dst",
        "source.cluster.bootstrap.servers": broker.bootstrap_servers,
        "target.cluster.bootstrap.servers": broker.bootstrap_servers,
        "description": PAYLOAD,
        "topics": "shop.orders",
        "replication.factor": "1",
        "offset-syncs.topic.replication.factor": "1",
        "checkpoints.topic.replication.factor": "1",
        "heartbeats.topic.replication.factor": "1",
    }
    mirror = "org.apache.kafka.connect.mirror.Mirror"
    return {
        "schema": 1,
        "task": "shop",
        "migration_id": "k3f9x2",
        "incarnation": 1,
        "desired": "running",
        "spec": {"note": PAYLOAD},
        "install": {
            "root": str(migration.workers),
            "service_manager": "supervisor",
            "supervisor_socket": str(migration.runtime / "s.sock"),
        },
        "kafka": {
            "version": distribution.version,
            "archive": str(distribution.archive),
            "sha256": distribution.sha256,
        },
        "java": {"home": None, "min_version": 17},
        "workers": [
            {
                "name": "shop-1",
                "host": "local-1",
                "rest_host": "127.0.0.1",
                "rest_port": port,
                "heap_bytes": 384 * 1024 * 1024,
                "state": "started",
                "properties": {
                    **connection,
                    "group.id": prefix,
                    "config.storage.topic": f"{prefix}-configs",
                    "offset.storage.topic": f"{prefix}-offsets",
                    "status.storage.topic": f"{prefix}-status",
                    "config.storage.replication.factor": "1",
                    "offset.storage.replication.factor": "1",
                    "status.storage.replication.factor": "1",
                    "offset.storage.partitions": "1",
                    "status.storage.partitions": "1",
                    "key.converter": BYTES,
                    "value.converter": BYTES,
                    "header.converter": BYTES,
                    "plugin.discovery": "service_load",
                    "listeners": f"http://127.0.0.1:{port}",
                    "rest.advertised.host.name": "127.0.0.1",
                    "scheduled.rebalance.max.delay.ms": "0",
                    "config.providers": "file",
                    "config.providers.file.class": "org.apache.kafka.common.config.provider.FileConfigProvider",
                    "config.providers.file.param.allowed.paths": str(migration.workers),
                    # Resolved by the worker itself: proves the secrets file and the JVM's security flags together.
                    "client.id": f"${{file:{migration.workers}/tasks/shop/secrets.properties:worker_client}}",
                    "kferry.note": PAYLOAD,
                },
            }
        ],
        "rest_urls": [f"http://127.0.0.1:{port}"],
        "connectors": [
            {
                "name": f"{prefix}-checkpoint",
                "state": "running",
                "config": {"connector.class": f"{mirror}CheckpointConnector", "tasks.max": "1", **common},
            },
            {
                "name": f"{prefix}-source",
                "state": "running",
                "config": {"connector.class": f"{mirror}SourceConnector", "tasks.max": "1", **common},
            },
            {
                "name": f"{prefix}-heartbeat",
                "state": "running",
                "config": {"connector.class": f"{mirror}HeartbeatConnector", "tasks.max": "1", **common},
            },
        ],
    }


def get(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return json.load(answer)


def set_state(wanted: dict[str, Any], state: str) -> None:
    for connector in wanted["connectors"]:
        connector["state"] = state


def connector_states(port: int) -> dict[str, tuple[str, int]]:
    found = get(port, "/connectors?expand=status")
    return {
        name.rsplit("-", 1)[1]: (entry["status"]["connector"]["state"], len(entry["status"]["tasks"]))
        for name, entry in found.items()
    }


def payload_marks(migration: Migration) -> list[Path]:
    """What a payload would leave: lookups run in the playbook's folder, modules in the migration's or ours."""
    folders = (find_content().root / "playbooks", find_content().roles, migration.root, migration.runtime)
    return [path for folder in folders for path in folder.rglob("PWNED")] + list(Path.cwd().glob("PWNED"))


def worker_pids(migration: Migration) -> list[int]:
    return [pid for pid in marked_pids(migration.mark) if b"java.args" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_task_from_install_to_removal(migration: Migration, broker: Broker, distribution: Distribution) -> None:
    port = free_port()
    wanted = document(migration, broker, distribution, port)
    migration.write_task(wanted)
    only = ("-e", "kferry_task=shop")
    secrets = {"KFERRY_SECRET_WORKER_CLIENT": "told-in-secret"}

    # A secret that nobody gave stops the play before anything starts.
    refused = migration.play("workers", *only)
    assert refused.rc != 0 and not marked_pids(migration.mark), refused.output

    # A dry run on a bare host says what would happen and does nothing.
    dry = migration.play("workers", *only, "--check", "--diff", env=secrets)
    assert dry.rc == 0 and dry.changed > 0, dry.output
    assert not marked_pids(migration.mark) and not (migration.workers / "shop-1" / "worker.properties").exists()

    installed = migration.play("workers", *only, env=secrets)
    assert installed.rc == 0 and installed.changed > 0, installed.output
    assert "told-in-secret" not in installed.output
    first = worker_pids(migration)
    assert len(first) == 1

    # What was written: private, literal, and the secret only in its own file.
    folder = migration.workers / "shop-1"
    properties = folder / "worker.properties"
    assert properties.stat().st_mode & 0o777 == 0o600
    assert f"kferry.note={PAYLOAD}" in properties.read_text()
    assert "told-in-secret" not in properties.read_text()
    assert (migration.workers / "tasks" / "shop" / "secrets.properties").stat().st_mode & 0o777 == 0o600
    environment = Path(f"/proc/{first[0]}/environ").read_bytes()
    assert b"told-in-secret" not in environment and b"KFERRY_RUN_ID" not in environment

    # Again, without the secret at hand: nothing changes, nothing restarts, and the dry run agrees.
    again = migration.play("workers", *only)
    assert (again.rc, again.changed) == (0, 0), again.output
    assert migration.play("workers", *only, "--check", "--diff").changed == 0
    assert worker_pids(migration) == first

    # Connectors: a true dry run, then the real thing, then nothing left to do.
    dry = migration.play("task", *only, "--check", "--diff")
    assert dry.changed == 1 and "kferry-k3f9x2-shop-1-source: running" in dry.output, dry.output
    assert get(port, "/connectors") == []
    created = migration.play("task", *only)
    assert (created.rc, created.changed) == (0, 1), created.output
    assert {state for state, _ in connector_states(port).values()} == {"RUNNING"}
    config = get(port, "/connectors/kferry-k3f9x2-shop-1-source/config")
    assert config["description"] == PAYLOAD
    assert migration.play("task", *only).changed == 0
    assert migration.play("task", *only, "--check", "--diff").changed == 0

    # Pause really leaves no connector task behind; resume brings them back.
    set_state(wanted, "stopped")
    migration.write_task(wanted)
    assert migration.play("task", *only, "--check").changed == 1
    assert connector_states(port)["source"][0] == "RUNNING"
    stopped = migration.play("task", *only)
    assert (stopped.rc, stopped.changed) == (0, 1), stopped.output
    assert set(connector_states(port).values()) == {("STOPPED", 0)}
    assert migration.play("task", *only).changed == 0
    set_state(wanted, "running")
    wanted["connectors"][1]["config"]["topics"] = "shop.orders,shop.payments"
    migration.write_task(wanted)
    resumed = migration.play("task", *only, "--diff")
    assert (resumed.rc, resumed.changed) == (0, 1), resumed.output
    assert "+  topics = shop.orders,shop.payments" in resumed.output
    assert {state for state, _ in connector_states(port).values()} == {"RUNNING"}

    # Another worker config: this worker restarts, once.
    wanted["workers"][0]["properties"]["offset.flush.interval.ms"] = "5000"
    migration.write_task(wanted)
    assert migration.play("workers", *only, "--check", "--diff").changed > 0
    assert worker_pids(migration) == first
    changed = migration.play("workers", *only)
    assert changed.rc == 0 and changed.changed > 0, changed.output
    second = worker_pids(migration)
    assert len(second) == 1 and second != first
    assert migration.play("workers", *only).changed == 0

    # Delete.
    set_state(wanted, "absent")
    migration.write_task(wanted)
    deleted = migration.play("task", *only)
    assert (deleted.rc, deleted.changed) == (0, 1), deleted.output
    assert get(port, "/connectors") == []
    assert migration.play("task", *only).changed == 0

    wanted["workers"][0]["state"] = "absent"
    migration.write_task(wanted)
    removed = migration.play("workers", *only)
    assert removed.rc == 0 and removed.changed > 0, removed.output
    wait_until(lambda: not marked_pids(migration.mark), 30, "supervisord outlived its last worker")
    assert [path.name for path in folder.iterdir()] == ["logs"]
    assert migration.play("workers", *only).changed == 0

    assert not payload_marks(migration), "a payload was run"


def test_a_worker_that_cannot_start_shows_its_log(
    migration: Migration, broker: Broker, distribution: Distribution
) -> None:
    wanted = document(migration, broker, distribution, free_port())
    del wanted["workers"][0]["properties"]["client.id"]
    wanted["workers"][0]["properties"]["group.id"] = ""
    wanted["workers"][0]["properties"]["key.converter"] = "org.example.NoSuchConverter"
    migration.write_task(wanted)
    outcome = migration.play("workers", "-e", "kferry_task=shop")
    assert outcome.rc != 0
    assert "org.example.NoSuchConverter" in outcome.output, outcome.output


def test_a_busy_port_is_refused_before_the_worker_starts(
    migration: Migration, broker: Broker, distribution: Distribution
) -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        wanted = document(migration, broker, distribution, holder.getsockname()[1])
        del wanted["workers"][0]["properties"]["client.id"]
        migration.write_task(wanted)
        outcome = migration.play("workers", "-e", "kferry_task=shop")
    assert outcome.rc != 0 and "Address already in use" in outcome.output, outcome.output
    assert not marked_pids(migration.mark)


def test_only_a_task_name_is_taken_for_one(migration: Migration, broker: Broker, distribution: Distribution) -> None:
    # A template in `-e` is run by Ansible itself, before any play could look at it: such a name must be refused
    # earlier, see PlayRequest.validate. Here: names that would leave the folder of tasks.
    migration.write_task(document(migration, broker, distribution, free_port()))
    for name in ("../shop", "a b", "shop\n"):
        outcome = migration.play("task", "-e", json.dumps({"kferry_task": name}))
        assert outcome.rc != 0 and "a task's name" in outcome.output, outcome.output
