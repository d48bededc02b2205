"""The lab itself: its traffic is real, its ledger is the truth even after kills, and its oracle can fail."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from kferry.lab import reader
from kferry.lab.consumers import read_processed
from kferry.lab.home import LabHome, new_facts
from kferry.lab.processes import find_marked
from kferry.lab.systems import TOPICS

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

BACKLOG_RECORDS = 6000


class Lab:
    """A lab driven as its users do: through the command."""

    def __init__(self, root: Path) -> None:
        self.home = LabHome(root.resolve())
        self._admins: dict[str, AdminClient] = {}  # kept: a client that is collected never answers

    def run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, input=text, check=False, timeout=300
        )

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "kferry.lab", *arguments, "--home", str(self.home.root)]

    def start(self) -> subprocess.CompletedProcess[str]:
        return self.run("start", "--rate", "300000", "--backlog", str(BACKLOG_RECORDS))

    def data(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments).stdout)

    def tell(self, action: str, cluster: str, *names: str) -> subprocess.CompletedProcess[str]:
        key = "groups" if "consumers" in action else "topics"
        return self.run("tell", text=json.dumps({"action": action, "cluster": cluster, key: names}))

    def told(self, action: str, cluster: str, *names: str) -> None:
        done = self.tell(action, cluster, *names)
        assert done.returncode == 0, done.stderr

    @property
    def mark(self) -> str:
        return str(self.home.read_facts()["id"])

    def bootstrap(self, cluster: str) -> str:
        return str(self.home.read_facts()[cluster]["bootstrap_servers"])

    def admin(self, cluster: str) -> AdminClient:
        if cluster not in self._admins:
            self._admins[cluster] = AdminClient({"bootstrap.servers": self.bootstrap(cluster)})
        return self._admins[cluster]

    def committed(self, cluster: str, group_id: str) -> dict[tuple[str, int], int]:
        future = self.admin(cluster).list_consumer_group_offsets([ConsumerGroupTopicPartitions(group_id)])
        parts = future[group_id].result(60).topic_partitions
        return {(part.topic, part.partition): part.offset for part in parts if part.offset >= 0}

    def ends(self, topic: str) -> dict[tuple[str, int], int]:
        starts = {(topic, number): 0 for number in range(TOPICS[topic].partitions)}
        return reader.read_to_end(self.bootstrap("source"), starts, lambda message: None)


def eventually(check: Callable[[], bool], timeout_seconds: float = 180) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not check():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="kferry-lab-test-") as folder:
        made = Lab(Path(folder) / "lab")
        try:
            done = made.start()
            assert done.returncode == 0, done.stderr + made.home.log.read_text()
            yield made
        finally:
            made.run("stop")


def copy(lab: Lab, topic: str) -> Producer:
    """A true copy of a topic on the target, as a mirror would make it; returns the producer for more."""
    spec = TOPICS[topic]
    new = NewTopic(topic, num_partitions=spec.partitions, replication_factor=1, config=dict(spec.configs))
    lab.admin("target").create_topics([new])[topic].result(30)
    producer = Producer({"bootstrap.servers": lab.bootstrap("target"), "enable.idempotence": True})

    def again(message: Message) -> None:
        send(producer, topic, message)

    starts = {(topic, number): 0 for number in range(spec.partitions)}
    reader.read_to_end(lab.bootstrap("source"), starts, again)
    assert producer.flush(30) == 0
    return producer


def send(producer: Producer, topic: str, message: Message, **changes: Any) -> None:
    fields = {
        "key": message.key(),
        "value": message.value(),
        "partition": message.partition(),
        "timestamp": message.timestamp()[1],
        "headers": message.headers(),
    }
    producer.produce(topic, **{**fields, **changes})
    producer.poll(0)


def first_record(lab: Lab, cluster: str, topic: str) -> Message:
    found: list[Message] = []
    starts = {(topic, number): 0 for number in range(TOPICS[topic].partitions)}
    reader.read_first(lab.bootstrap(cluster), starts, found.append)
    return found[0]


def test_a_second_start_changes_nothing(lab: Lab) -> None:
    pids = lab.data("status")["pids"]
    done = lab.start()
    assert done.returncode == 0
    assert "already running" in done.stderr
    assert lab.data("status")["pids"] == pids
    assert {process.pid for process in find_marked(lab.mark)} == set(pids.values())


def test_traffic_flows_and_groups_commit(lab: Lab) -> None:
    before = lab.data("status")
    assert before["running"]

    def moved() -> bool:
        now = lab.data("status")
        return all(
            now[kind][name][count] > before[kind][name][count]
            for kind, count in (("producers", "records"), ("consumers", "processed"))
            for name in before[kind]
            if name != "hr.audit"
        )

    eventually(moved)
    eventually(lambda: len(lab.committed("source", "telemetry-agg")) == 22)
    # Two partitions never get a record, so nothing is committed there.
    assert {number for _, number in lab.committed("source", "telemetry-agg")} == set(range(22))
    assert {topic for topic, _ in lab.committed("source", "connect-s3-sink")} == {
        "iot.telemetry",
        "iot.device-heartbeats",
    }
    assert set(lab.ends("hr.audit").values()) != {0}


def test_the_ledger_is_the_source_while_traffic_flows(lab: Lab) -> None:
    done = lab.run("oracle", "--cluster", "source")
    verdict = json.loads(done.stdout)
    assert done.returncode == 0, verdict["examples"]
    assert verdict["ok"]
    for name, found in verdict["topics"].items():
        assert found["expected"] >= TOPICS[name].backlog_records(BACKLOG_RECORDS), name
    assert verdict["topics"]["shop.payments"]["read"] == verdict["topics"]["shop.payments"]["expected"]
    eventually(lambda: lab.data("ledger")["source"]["shop.payments"]["aborted"] > 0)


def test_stopped_consumers_have_committed_all_they_processed(lab: Lab) -> None:
    groups = ("billing", "fraud-check", "hr-sync")
    lab.told("stop_consumers", "source", *groups)
    lab.told("stop_consumers", "source", *groups)  # a repeated hook is no error
    for group_id in groups:
        described = lab.admin("source").describe_consumer_groups([group_id])[group_id].result(60)
        assert described.state == ConsumerGroupState.EMPTY
        processed: dict[tuple[str, int], int] = {}
        for record in read_processed(lab.home.consumed("source", group_id)):
            processed[(record.topic, record.partition)] = record.offset + 1
        assert processed == lab.committed("source", group_id), group_id
    reading = lab.data("next", "--cluster", "source", "--groups", ",".join(groups))
    assert set(reading["fraud-check"]) == {"shop.orders", "shop.payments"}
    named = [name for parts in reading["hr-sync"].values() for name in parts.values()]
    assert any(name and name.startswith("source/hr.employees/") for name in named)  # it is far behind
    lab.told("start_consumers", "source", *groups)
    eventually(lambda: all(name in lab.data("status")["consumers"] for name in groups))


def test_stopped_producers_leave_no_open_transaction(lab: Lab) -> None:
    topics = ("shop.orders", "shop.payments")
    lab.told("stop_producers", "source", *topics)
    ends = {topic: lab.ends(topic) for topic in topics}  # reads committed records up to the end: none is open
    done = lab.run("oracle", "--cluster", "source", "--topics", ",".join(topics))
    assert done.returncode == 0, done.stdout
    assert {topic: lab.ends(topic) for topic in topics} == ends
    lab.told("start_producers", "source", *topics)
    eventually(lambda: all(lab.ends(topic) != ends[topic] for topic in topics))


def test_the_hook_refuses_what_it_does_not_know(lab: Lab) -> None:
    unknown = lab.tell("stop_consumers", "source", "nobody")
    assert unknown.returncode == 2
    assert "'nobody'" in unknown.stderr
    missing = lab.tell("start_producers", "target", "iot.telemetry")
    assert missing.returncode == 1
    assert "does not exist there" in missing.stderr
    # It ran on the source and was told to move: it is stopped until somebody says otherwise.
    assert lab.data("status")["state"]["producers"]["iot.telemetry"] is None
    lab.told("start_producers", "source", "iot.telemetry")


def test_a_group_and_its_producer_move_and_nothing_is_lost(lab: Lab) -> None:
    lab.told("stop_consumers", "source", "billing", "fraud-check")
    lab.told("stop_producers", "source", "shop.orders")
    copy(lab, "shop.orders")
    reading = lab.data("next", "--cluster", "source", "--groups", "billing")
    offsets = [TopicPartition(*part, offset) for part, offset in lab.committed("source", "billing").items()]
    request = ConsumerGroupTopicPartitions("billing", offsets)  # a true copy of a topic without gaps: equal offsets

    def written() -> bool:  # the target's coordinator may still be coming up: it has served no group yet
        future = lab.admin("target").alter_consumer_group_offsets([request])["billing"]
        try:
            return all(part.error is None for part in future.result(20).topic_partitions)
        except KafkaException:
            return False

    eventually(written)
    assert lab.data("next", "--cluster", "target", "--groups", "billing") == reading
    assert lab.run("oracle", "--topics", "shop.orders").returncode == 0
    lab.told("start_consumers", "target", "billing")
    lab.told("start_producers", "target", "shop.orders")
    eventually(lambda: lab.data("handover", "--groups", "billing")["groups"]["billing"]["processed_on_target"] > 50)
    verdict = lab.data("handover", "--groups", "billing")["groups"]["billing"]
    assert (verdict["skipped"], verdict["repeated"]) == (0, 0)
    lab.told("stop_producers", "target", "shop.orders")
    done = lab.run("oracle", "--topics", "shop.orders")
    assert done.returncode == 0, done.stdout[:2000]
    assert lab.data("ledger")["target"]["shop.orders"]["records"] > 0


def test_the_handover_verdict_sees_a_skipped_record(lab: Lab) -> None:
    lab.told("stop_consumers", "target", "billing")
    path = lab.home.consumed("target", "billing")
    whole = path.read_bytes()
    source_path = lab.home.consumed("source", "billing")
    source_whole = source_path.read_bytes()
    try:
        source_path.write_bytes(source_whole[20:])  # as if the first record had never been processed
        verdict = lab.data("handover", "--groups", "billing")
        assert not verdict["ok"]
        assert verdict["groups"]["billing"]["skipped"] == 1
    finally:
        source_path.write_bytes(source_whole)
    assert path.read_bytes() == whole


def test_the_oracle_finds_what_is_wrong_on_the_target(lab: Lab) -> None:
    topic = "hr.audit"
    assert lab.run("oracle", "--topics", topic).returncode == 3  # the topic is not there yet
    producer = copy(lab, topic)
    assert lab.run("oracle", "--topics", topic).returncode == 0
    message = first_record(lab, "source", topic)
    headers = message.headers()
    send(producer, topic, message, headers=[*headers, ("x", b"")])
    send(producer, topic, message, headers=[("lab-id", b"source/hr.audit/1")])
    send(producer, topic, message, headers=None)
    assert producer.flush(30) == 0
    done = lab.run("oracle", "--topics", topic)
    verdict = json.loads(done.stdout)
    assert done.returncode == 3
    found = {name: verdict[name] for name in ("missing", "repeats", "altered", "unexpected")}
    assert found == {"missing": 0, "repeats": 1, "altered": 1, "unexpected": 2}
    request = [TopicPartition(topic, message.partition(), 3)]
    for future in lab.admin("target").delete_records(request).values():
        future.result(60)
    verdict = lab.data("oracle", "--topics", topic)
    assert verdict["missing"] == 2  # three deleted, one of which is still there as the altered repeat
    assert not verdict["ok"]


def test_the_oracle_finds_records_lost_on_the_source(lab: Lab) -> None:
    topic = "hr.audit"
    for future in lab.admin("source").delete_records([TopicPartition(topic, 0, 5)]).values():
        future.result(60)
    done = lab.run("oracle", "--cluster", "source", "--topics", topic)
    assert done.returncode == 3
    assert json.loads(done.stdout)["missing"] == 5


def test_killed_traffic_comes_back_and_the_ledger_is_complete(lab: Lab) -> None:
    pids = lab.data("status")["pids"]
    for name in ("shop", "iot"):
        os.kill(pids[name], signal.SIGKILL)
    eventually(lambda: all(lab.data("status")["pids"][name] != pids[name] for name in ("shop", "iot")))
    eventually(lambda: {"shop.payments", "iot.telemetry"} <= set(lab.data("status")["producers"]))
    topics = "shop.payments,iot.telemetry,iot.device-heartbeats"
    eventually(lambda: lab.run("oracle", "--cluster", "source", "--topics", topics).returncode == 0)


def test_a_killed_daemon_is_replaced_and_its_leftovers_end(lab: Lab) -> None:
    pids = lab.data("status")["pids"]
    state = lab.data("status")["state"]
    bootstrap = lab.bootstrap("source")
    os.kill(pids["daemon"], signal.SIGKILL)
    eventually(lambda: not lab.data("status")["running"])
    assert psutil.pid_exists(pids["source"])  # the broker lives on, until a start or stop finds it by its mark
    done = lab.start()
    assert done.returncode == 0, done.stderr
    now = lab.data("status")
    assert not set(pids.values()) & set(now["pids"].values())
    assert not any(psutil.pid_exists(pid) for pid in pids.values())
    assert now["state"] == state
    assert lab.bootstrap("source") == bootstrap
    done = lab.run("oracle", "--cluster", "source", "--topics", "shop.payments,iot.telemetry,hr.employees")
    assert done.returncode == 0, done.stdout[:2000]


def test_stop_leaves_nothing(lab: Lab) -> None:
    mark = lab.mark
    assert find_marked(mark)
    done = lab.run("stop")
    assert done.returncode == 0, done.stderr
    assert find_marked(mark) == []
    assert not lab.home.runtime.exists()
    assert lab.data("status")["phase"] == "stopped"
    assert "was not running" in lab.run("stop").stderr


def test_a_busy_port_is_said_before_anything_runs(tmp_path: Path) -> None:
    busy = Lab(tmp_path / "lab")
    busy.home.prepare()
    facts = new_facts(busy.home)
    busy.home.write_facts(facts)
    with socket.create_server(("127.0.0.1", facts["source"]["port"])):
        done = busy.start()
    assert done.returncode == 1
    assert f"Port {facts['source']['port']} of the lab's source broker is taken." in done.stderr
    assert "Traceback" not in done.stderr
    assert find_marked(facts["id"]) == []
    assert not busy.home.runtime.exists()


def test_an_interrupted_start_leaves_nothing(tmp_path: Path) -> None:
    cut = Lab(tmp_path / "lab")
    process = subprocess.Popen(cut.command("start"), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "Waiting for both brokers" in line:
            break
    assert find_marked(cut.mark)
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(60) == 130, rest
    assert find_marked(cut.mark) == []
    assert not cut.home.runtime.exists()
