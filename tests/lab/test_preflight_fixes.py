"""Preflight on real brokers: what it finds is there, and what kferry says it can fix is fixed, seen, and undone."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import confluent_kafka as ck
import pytest
import yaml
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from typer.testing import CliRunner, Result

from kferry.cli.main import app
from kferry.domain.errors import KferryError
from kferry.store.paths import Layout
from support.broker import TestBroker, running_broker
from support.engine_run import EngineRun
from support.waiting import wait_until

pytestmark = pytest.mark.lab

DAY_MS = 86_400_000
LIMIT_MS = 3 * DAY_MS
PARTITIONS = {"shop.orders": 4, "old.events": 2, "iot.device-heartbeats": 1, "heartbeats": 2}
JAAS = (
    'org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="a-secret"'
    ' user_admin="a-secret" user_kferry="k-secret";'
)
TARGET_PROPERTIES = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS;User:admin",
    "sasl.enabled.mechanisms": "PLAIN",
    "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.sasl.plain.sasl.jaas.config": JAAS,
    "log.message.timestamp.before.max.ms": str(LIMIT_MS),
    "group.min.session.timeout.ms": "7000",
}
# What a scan needs; nothing that changes anything.
SEES = [
    (ResourceType.TOPIC, "*", AclOperation.DESCRIBE),
    (ResourceType.TOPIC, "*", AclOperation.DESCRIBE_CONFIGS),
    (ResourceType.GROUP, "*", AclOperation.DESCRIBE),
    (ResourceType.BROKER, "kafka-cluster", AclOperation.DESCRIBE),
    (ResourceType.BROKER, "kafka-cluster", AclOperation.DESCRIBE_CONFIGS),
]


@dataclass
class World:
    run: EngineRun
    source: AdminClient
    target: AdminClient

    def findings(self) -> dict[str, str]:
        """Severity by id, of the last preflight."""
        found = self.run.session.reader.findings(int(time.time() * 1000)) or ()
        return {finding.finding_id: finding.severity for finding in found}

    def fixable(self) -> set[str]:
        found = self.run.session.reader.findings(int(time.time() * 1000)) or ()
        return {finding.finding_id for finding in found if finding.fixable}

    def partitions(self, name: str) -> int | None:
        topics = self.target.list_topics(timeout=10).topics
        return len(topics[name].partitions) if name in topics else None

    def cli(self, *words: str) -> Result:
        return CliRunner().invoke(app, ["-C", str(self.run.root), *words])


def made(client: AdminClient, topics: list[NewTopic]) -> None:
    for future in client.create_topics(topics, operation_timeout=20).values():
        future.result()


def fill(broker: TestBroker) -> AdminClient:
    client = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    configs = {"shop.orders": {"max.message.bytes": "2000000"}}
    made(client, [NewTopic(name, count, 1, config=configs.get(name, {})) for name, count in PARTITIONS.items()])
    producer = ck.Producer({"bootstrap.servers": broker.bootstrap_servers})
    for name in PARTITIONS:
        age_ms = 10 * DAY_MS if name == "old.events" else 1000
        for number in range(20):
            producer.produce(name, f"{name} {number}".encode(), timestamp=int(time.time() * 1000) - age_ms)
    assert producer.flush(30) == 0
    return client


def written(root: Path, source: TestBroker, target: TestBroker) -> EngineRun:
    layout = Layout(root)
    layout.clusters.parent.mkdir(parents=True)
    (root / "k").write_text("k-secret")
    (root / "a").write_text("a-secret")
    layout.settings.write_text("schema: 1\nmigration_id: pre001\nname: fixes\n")
    hosts = {"local-1": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
    (layout.inventory / "hosts.yml").write_text(yaml.safe_dump({"kferry_workers": {"hosts": hosts}}))
    clusters = {
        "source": {"kind": "apache_kafka", "bootstrap_servers": source.bootstrap_servers},
        "target": {
            "kind": "apache_kafka",
            "bootstrap_servers": target.addresses["SASL"],
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_username": "kferry",
            "sasl_password": f"file:{root / 'k'}",
            "admin_username": "admin",
            "admin_password": f"file:{root / 'a'}",
        },
    }
    layout.clusters.write_text(yaml.safe_dump({"kferry_clusters": clusters}))
    return EngineRun(root)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="kfp-"))  # short: Unix sockets lie below it
    try:
        with (
            running_broker(folder / "s") as source,
            running_broker(
                folder / "t", properties=TARGET_PROPERTIES, extra_listeners={"SASL": "SASL_PLAINTEXT"}
            ) as target,
        ):
            here = fill(source)
            there = AdminClient({"bootstrap.servers": target.bootstrap_servers})
            made(there, [NewTopic("shop.orders", 2, 1, config={"max.message.bytes": "1000"})])
            allow = AclPermissionType.ALLOW
            sees = [
                AclBinding(kind, name, ResourcePatternType.LITERAL, "User:kferry", "*", operation, allow)
                for kind, name, operation in SEES
            ]
            for future in there.create_acls(sees).values():
                future.result()
            run = written(folder / "m", source, target)
            run.session.ensure_engine()
            try:
                for kind in ("scan", "plan", "preflight"):
                    run.do(kind)
                yield World(run, here, there)
            finally:
                run.session.stop_engine()
                run.session.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_it_finds_what_was_put_there(world: World) -> None:
    found = world.findings()
    wanted = {
        "record-size:shop.orders": "block",
        "target-partitions:shop.orders": "block",
        "record-timestamp:old.events": "block",
        "name-is-heartbeats:heartbeats": "block",
        "name-heartbeats:topics": "info",
        "target-topics-missing:topics": "info",
        "worker-session-timeout:target": "block",
        "rights-missing:target CREATE topic": "block",
        "record-age:topics": "info",
        "connection-warnings:target": "warn",  # the files of its secrets can be read by others
    }
    assert {name: found.get(name) for name in wanted} == wanted
    assert not {"broker-from-controller:source", "connection-warnings:source"} & set(found)
    assert "kferry" not in {name.partition(":")[2] for name in found}, "no check broke"
    assert world.fixable() >= {
        "record-size:shop.orders",
        "target-partitions:shop.orders",
        "record-timestamp:old.events",
        "target-topics-missing:topics",
        "rights-missing:target CREATE topic",
    }
    by_hand = {"name-is-heartbeats:heartbeats", "worker-session-timeout:target", "name-heartbeats:topics"}
    assert not world.fixable() & by_hand


def test_reports_are_written_and_the_exit_code_follows_the_worst(world: World, tmp_path: Path) -> None:
    for suffix in ("xml", "json", "md", "txt"):
        result = world.cli("preflight", "--show", "--report", str(tmp_path / f"r.{suffix}"))
        assert result.exit_code == 5, result.output
    root = ElementTree.fromstring((tmp_path / "r.xml").read_text())  # noqa: S314 - written just now
    failed = {case.get("name") for case in root.iter("testcase") if case.find("failure") is not None}
    assert "record-size:shop.orders" in failed
    needed = json.loads((tmp_path / "r.json").read_text())["actions_needed"]
    assert "kferry preflight fix record-size:shop.orders" in " ".join(
        way for one in needed if one["finding_id"] == "record-size:shop.orders" for way in one["ways"]
    )
    assert "## Actions needed" in (tmp_path / "r.md").read_text()
    assert (tmp_path / "r.txt").stat().st_mode & 0o777 == 0o600


def test_a_finding_that_kferry_cannot_close_is_refused_with_what_to_do(world: World) -> None:
    with pytest.raises(KferryError, match="kferry cannot close worker-session-timeout:target"):
        world.run.ask("fix_findings", {"findings": ["worker-session-timeout:target"]})
    with pytest.raises(KferryError, match="There is no finding"):
        world.run.ask("fix_findings", {"findings": ["record-size:nothing"]})


def test_the_plan_is_shown_and_changes_nothing(world: World) -> None:
    ids = ["record-size:shop.orders", "target-partitions:shop.orders", "record-timestamp:old.events"]
    result = world.cli("preflight", "fix", *ids, "--dry-run", "-o", "json")
    assert result.exit_code == 0, result.output
    rows = {(row["action"], row["name"], row["key"]): row for row in json.loads(result.stdout)["changes"]}
    assert set(rows) == {
        ("change", "shop.orders", "max.message.bytes"),
        ("change", "shop.orders", "partitions"),
        ("create", "old.events", ""),
    }
    assert (rows["change", "shop.orders", "partitions"]["before"], world.partitions("shop.orders")) == ("2", 2)
    assert world.partitions("old.events") is None
    shown = world.cli("preflight", "fix", "name-heartbeats:topics")
    assert shown.exit_code == 0 and "RegexRouter" in shown.output, shown.output


def test_what_was_seen_is_applied_read_back_and_closes_the_findings(world: World) -> None:
    result = world.cli("preflight", "fix", "--yes")
    assert result.exit_code == 0, result.output
    assert world.partitions("iot.device-heartbeats") is None, "what stops nothing is done only where it is named"
    result = world.cli("preflight", "fix", "target-topics-missing:topics", "--yes")
    assert result.exit_code == 0, result.output
    assert world.partitions("iot.device-heartbeats") == 1
    assert world.partitions("shop.orders") == PARTITIONS["shop.orders"]
    assert world.partitions("old.events") == PARTITIONS["old.events"]
    closed = {
        "record-size:shop.orders",
        "target-partitions:shop.orders",
        "record-timestamp:old.events",
        "target-topics-missing:topics",
        "rights-missing:target CREATE topic",
    }
    assert not closed & set(world.findings())
    rows = world.run.session.reader.rows("select * from change where status='applied'")
    assert all(row["undo"] for row in rows)
    assert {row["resource"] for row in rows} == {"topic", "topic_partitions", "topic_config", "acl"}
    assert all(row["scope"] == "target" for row in rows)
    # rights on topics that were made now can be told only now: another round closes them
    while world.fixable():
        before = world.findings()
        assert world.cli("preflight", "fix", "--yes").exit_code == 0
        assert world.findings() != before
    assert "rights-missing:target WRITE topic" not in world.findings()
    assert world.run.doubled_changes() == []


def test_a_second_time_nothing_is_to_be_done(world: World) -> None:
    result = world.cli("preflight", "fix", "--yes")
    assert result.exit_code in (0, 5), result.output
    count = len(world.run.session.reader.rows("select * from change"))
    world.cli("preflight", "fix", "--yes")
    assert len(world.run.session.reader.rows("select * from change")) == count


def test_every_change_can_be_undone(world: World) -> None:
    rows = world.run.session.reader.rows(
        "select id, resource, name, key from change where status='applied' and resource != 'acl' order by id desc"
    )
    for row in rows:
        world.run.do("undo_change", {"change_id": row["id"]})
    wait_until(lambda: world.partitions("shop.orders") == 2, 20, "shop.orders is as it was")
    assert world.partitions("old.events") is None
    resource = ck.admin.ConfigResource(ck.admin.ConfigResource.Type.TOPIC, "shop.orders")
    (future,) = world.target.describe_configs([resource]).values()
    assert future.result()["max.message.bytes"].value == "1000"
