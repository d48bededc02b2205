"""Everything is known before anything moves, by the command line: three secured brokers, least rights, odd names."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from kferry.ansible.dist import ensure_distribution
from kferry.ansible.java import find_java
from kferry.domain import acls as rules
from kferry.domain.model import Role
from kferry.kafka import acls
from kferry.kafka.acls import Grant
from kferry.kafka.admin import ClusterAdmin
from plays.harness import running_broker
from support import waiting
from support.three_secured_brokers import ThreeSecuredBrokers, three_secured_brokers

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

USER = "kferry"
# a group's id is free text: markup, a template, a way out of a cell, colours of a terminal
HOSTILE = "[/][@click=app.quit]x[/] {{ 7*7 }} =cmd() | \x1b[31mred ‮rtl"
TOPICS = {
    "shop.orders": 3,
    "shop.payments": 2,
    "iot.telemetry": 6,
    "hr.people": 1,
    "hr.old": 1,
    "secret.vault": 2,  # may be described, not read
}
GROUPS = {
    "billing": ("shop.orders", "shop.payments"),
    "alerts": ("iot.telemetry",),
    "archive-sink": ("shop.orders", "iot.telemetry"),
    HOSTILE: ("hr.people",),
}
READABLE = [name for name in TOPICS if name != "secret.vault"]
RECORDS = 60


class Line:
    """The command line on one migration directory."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root = root
        self._environment = {**os.environ, **environment}

    def run(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "kferry", "-C", str(self.root), *words],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            env=self._environment,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "\x1b" not in done.stdout + done.stderr, "text of a cluster drives no terminal"
        return done.stdout

    def data(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.run("-o", "json", *words, code=code))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeSecuredBrokers]:
    with three_secured_brokers(tmp_path_factory.mktemp("three"), [USER]) as brokers:
        admin = AdminClient(brokers.client_config())
        made = admin.create_topics([NewTopic(name, count, 2) for name, count in TOPICS.items()])
        for future in made.values():
            future.result(20)
        producer = Producer(brokers.client_config())
        for name in READABLE:
            for number in range(0 if name == "hr.old" else RECORDS):
                producer.produce(name, key=str(number), value=f"{name} {number}")
        assert producer.flush(30) == 0
        for group_id, names in GROUPS.items():
            commit(admin, group_id, names)
        yield brokers


def commit(admin: AdminClient, group_id: str, names: tuple[str, ...]) -> None:
    parts = [TopicPartition(name, number, 1) for name in names for number in range(TOPICS[name])]
    wanted = [ConsumerGroupTopicPartitions(group_id, parts)]
    waiting.wait_until(lambda: _committed(admin, wanted), 30, f"{group_id} has committed")


def _committed(admin: AdminClient, wanted: list[ConsumerGroupTopicPartitions]) -> bool:
    try:
        for future in admin.alter_consumer_group_offsets(wanted).values():
            answer = future.result(10)
            assert all(part.error is None for part in answer.topic_partitions)
    except Exception:
        return False
    return True


@pytest.fixture(scope="module")
def line(source: ThreeSecuredBrokers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    home = tmp_path_factory.mktemp("know")
    with running_broker(home, ensure_distribution(), find_java()) as target, pytest.MonkeyPatch.context() as patch:
        environment = {source.variable(name): password for name, password in source.passwords.items()}
        for name, value in environment.items():
            patch.setenv(name, value)
        found = Line(home / "m", environment)
        found.run(
            *("init", str(found.root), "--name", "know", "--no-ask"),
            *("--source-kind", "apache_kafka", "--source-way", "sasl", "--source-mechanism", "PLAIN"),
            *("--source-bootstrap", source.bootstrap_servers, "--source-user", USER),
            *("--source-password", f"env:{source.variable(USER)}"),
            *("--target-kind", "automq", "--target-way", "plaintext", "--target-bootstrap", target.bootstrap_servers),
        )
        migration_id = yaml.safe_load((found.root / "kferry.yml").read_text())["migration_id"]
        wanted = rules.least(rules.plan(Role.SOURCE, migration_id, READABLE, list(GROUPS)))
        with ClusterAdmin(source.cluster()) as admin:
            acls.create(admin.connection, [Grant(f"User:{USER}", rule) for rule in wanted])
        try:
            yield found
        finally:
            found.run("engine", "stop")


def scan_of(line: Line) -> dict[str, Any]:
    newest = max((line.root / ".kferry" / "scans" / "source").glob("*.json.gz"))
    found: dict[str, Any] = json.loads(gzip.decompress(newest.read_bytes()))
    return found


def test_the_connection_is_told_line_by_line(line: Line, source: ThreeSecuredBrokers) -> None:
    line.run("check")
    shown = line.run("clusters", "show", "source")
    for address in source.addresses.values():
        assert address in shown
    assert source.passwords[USER] not in shown


def test_a_scan_with_least_rights_knows_everything_but_what_it_may_not(line: Line) -> None:
    line.run("scan")
    found = scan_of(line)
    topics = {topic["name"]: topic for topic in found["topics"] if not topic["is_internal"]}
    assert set(READABLE) <= set(topics)
    assert "secret.vault" not in topics or topics["secret.vault"]["error"]
    for name in READABLE:
        assert topics[name]["error"] is None and len(topics[name]["partitions"]) == TOPICS[name]
        assert sum(part["end_offset"] for part in topics[name]["partitions"]) == (0 if name == "hr.old" else RECORDS)
    groups = {group["group_id"]: group for group in found["groups"]}
    assert set(groups) == set(GROUPS)
    assert {commit["topic"] for commit in groups[HOSTILE]["committed"]} == {"hr.people"}
    # what may not be asked is unknown by name, never empty
    assert found["access"]["acls"] is None and found["cluster"]["capabilities"]["acls"] != "supported"
    unused = json.dumps(line.data("scan", "unused", "--days", "0"))
    assert "hr.old" in unused and "shop.orders" not in unused


def test_preflight_reports_are_whole_in_every_form(line: Line, tmp_path: Path) -> None:
    line.run("plan", "make")
    line.run("preflight", "run", code=5)
    for kind, name in (("junit", "r.xml"), ("md", "r.md"), ("json", "r.json")):
        line.run("preflight", "run", "--report", str(tmp_path / name), "--format", kind, code=5)
    root = ElementTree.parse(tmp_path / "r.xml").getroot()  # noqa: S314  (our own file)
    assert {suite.tag for suite in root.iter()} >= {"testsuite", "testcase", "failure"}
    findings = json.loads((tmp_path / "r.json").read_text())
    assert findings
    text = (tmp_path / "r.md").read_text()
    assert "ctions needed" in text and "\x1b" not in text


def test_the_plan_names_what_glues_it_and_how_to_cut_it(line: Line, tmp_path: Path) -> None:
    bridges = json.dumps(line.data("plan", "bridges"))
    assert "archive-sink" in bridges
    together = line.data("plan", "explain", "iot.telemetry")
    assert "shop.orders" in json.dumps(together)
    line.run("plan", "cut", "archive-sink", "--why", "it can read from both sides")
    line.run("plan", "make", "--overwrite")
    line.run("plan", "export", "--to", str(tmp_path / "plan.csv"))
    rows = list(csv.reader(io.StringIO((tmp_path / "plan.csv").read_text())))
    assert len(rows) > 3
    assert not any(cell[:1] in "=+@" for row in rows for cell in row if cell), "a table runs no formula"
    plan = yaml.safe_load((line.root / "plan.yml").read_text())
    homes = {topic: batch["name"] for batch in plan["batches"] for topic in batch["topics"]}
    assert homes["shop.orders"] == homes["shop.payments"] != homes["iot.telemetry"]
    moved = [group for batch in plan["batches"] for group in batch["groups"]]
    assert HOSTILE in moved


def test_what_changed_since_is_told_by_name_also_with_a_broker_gone(line: Line, source: ThreeSecuredBrokers) -> None:
    admin = AdminClient(source.client_config())
    admin.delete_topics(["hr.old"])["hr.old"].result(20)
    waiting.wait_until(lambda: "hr.old" not in admin.list_topics(timeout=10).topics, 30, "hr.old is gone")

    def made_again() -> bool:
        try:
            admin.create_topics([NewTopic("hr.old", 1, 2)])["hr.old"].result(20)
        except Exception:
            return False
        return True

    waiting.wait_until(made_again, 30, "hr.old is made again")
    line.run("scan")
    found = json.dumps(line.data("scan", "diff"))
    assert "hr.old" in found and "recreated" in found
    source.kill(3)
    line.run("scan")
    topics = {topic["name"]: topic for topic in scan_of(line)["topics"]}
    assert set(READABLE) <= set(topics), "two of three brokers still know every topic"
