"""A real Connect worker with the metrics agent, copying between two real brokers; for recording what it exposes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from kferry.ansible.content import find_content
from kferry.ansible.dist import ensure_distribution
from kferry.domain.connectors import connectors, worker_properties
from kferry.domain.model import ClusterConfig, ClusterKind, Role, TaskSpec, WorkerSpec
from support.broker import TestBroker, free_ports, java_command, running_broker
from support.waiting import wait_until

EXPORTER_CONFIG = find_content().roles / "kafka_connect" / "files" / "jmx_exporter.yml"

# Topic names that brokers accept and that are easily taken for something else: an option, a boolean, a number, names
# that MirrorMaker renames and whose dots Kafka's consumer reports as underscores, a very long one.
TOPICS = ("orders.v1", "--rm", "true", "007", "_a.b_c-d", "device.heartbeats", "x" * 200)
RECORDS = 40
MANY_RECORDS = 100_000


@dataclass(frozen=True)
class ExporterRun:
    """Addresses of a running worker."""

    metrics_url: str
    rest_url: str
    spec: TaskSpec
    source: TestBroker
    process: subprocess.Popen[bytes]

    def scrape(self) -> str:
        return httpx2.get(self.metrics_url, timeout=10, trust_env=False).raise_for_status().text

    def create_connector(self, name: str, config: dict[str, str]) -> None:
        body = json.dumps({"name": name, "config": config})
        headers = {"content-type": "application/json"}

        def created() -> bool:
            url = f"{self.rest_url}/connectors"
            return httpx2.post(url, content=body, headers=headers, timeout=30, trust_env=False).status_code in (
                201,
                409,
            )

        wait_until(created, 60, f"{name} is created")

    def create_failing_connector(self) -> None:
        """A copy of the source connector whose transform takes no record."""
        answer = httpx2.get(f"{self.rest_url}/connectors/{self.spec.source_connector}", timeout=10, trust_env=False)
        config = answer.raise_for_status().json()["config"] | {
            "tasks.max": "1",
            "transforms": "broken",
            "transforms.broken.type": "org.apache.kafka.connect.transforms.Cast$Value",
            "transforms.broken.spec": "int8",
        }
        self.create_connector("broken", config | {"name": "broken"})

    def wait_for_lag(self) -> str:
        """Give the worker more than it can copy at once, and return what it exposes meanwhile."""
        partitions = 2 * len(TOPICS)
        wait_until(lambda: self.scrape().count("\nkferry_lag_records{") == partitions, 60, "every partition is read")
        make_records(self.source, "orders.v1", MANY_RECORDS)

        def lagging() -> str:
            text = self.scrape()
            lags = [line for line in text.splitlines() if line.startswith("kferry_lag_records{")]
            return text if len(lags) == partitions and any(not line.endswith(" 0.0") for line in lags) else ""

        return wait_until(lagging, 60, "the worker lags")


@contextmanager
def running_worker(home: Path, config: Path = EXPORTER_CONFIG) -> Iterator[ExporterRun]:
    """Start two brokers and a worker, and create the connectors of a task."""
    with running_broker(home / "source") as source, running_broker(home / "target") as target:
        make_topics(source)
        make_topics(target)  # as kferry does: MirrorMaker would not make the one that it renames
        for topic in TOPICS:
            make_records(source, topic, RECORDS)
        rest_port, metrics_port = free_ports(2)
        worker = WorkerSpec("shop-1", "local-1", "127.0.0.1", rest_port, 400 * 1024 * 1024)
        spec = TaskSpec("shop", "k3f9x2", "shop", 1, TOPICS, (), (worker,), 2)
        with _process(home, spec, source, target, f"127.0.0.1:{metrics_port}:{config}") as process:
            run = ExporterRun(f"http://127.0.0.1:{metrics_port}/metrics", worker.rest_url, spec, source, process)
            _create_connectors(run, source, target)
            yield run


def make_topics(broker: TestBroker) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    for created in admin.create_topics([NewTopic(topic, 2, 1) for topic in TOPICS]).values():
        created.result()


def make_records(source: TestBroker, topic: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": source.bootstrap_servers, "queue.buffering.max.messages": 2 * count})
    for number in range(count):
        producer.produce(topic, f"record {number}", partition=number % 2)
    assert producer.flush(30) == 0


def _cluster(role: Role, broker: TestBroker) -> ClusterConfig:
    return ClusterConfig(role, ClusterKind.APACHE_KAFKA, broker.bootstrap_servers)


@contextmanager
def _process(
    home: Path, spec: TaskSpec, source: TestBroker, target: TestBroker, agent: str
) -> Iterator[subprocess.Popen[bytes]]:
    libs = ensure_distribution().libs
    (jar,) = (libs.parent / "agents").glob("jmx_prometheus_javaagent-*.jar")
    properties = worker_properties(
        spec,
        spec.workers[0],
        _cluster(Role.SOURCE, source),
        _cluster(Role.TARGET, target),
        "/nowhere/secrets",
        offset_flush_interval_ms=1000,
    )
    (home / "worker.properties").write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    (home / "log4j.properties").write_text(
        "log4j.rootLogger=WARN, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n"
        "log4j.appender.out.layout=org.apache.log4j.SimpleLayout\n"
    )
    command = [java_command(), "-Xmx400m", "-XX:+UseSerialGC", f"-javaagent:{jar}={agent}"]
    command += [f"-Dlog4j.configuration=file:{home}/log4j.properties", "-cp", f"{libs}/*"]
    command += ["org.apache.kafka.connect.cli.ConnectDistributed", str(home / "worker.properties")]
    with (home / "worker.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.kill()


def _create_connectors(run: ExporterRun, source: TestBroker, target: TestBroker) -> None:
    def answers() -> bool:
        assert run.process.poll() is None, "the worker ended"
        try:
            return httpx2.get(f"{run.rest_url}/connectors", timeout=5, trust_env=False).status_code == 200
        except httpx2.TransportError:
            return False

    wait_until(answers, 60, "the worker answers")
    for connector in connectors(
        run.spec, _cluster(Role.SOURCE, source), _cluster(Role.TARGET, target), "/nowhere/secrets"
    ):
        if connector["name"] == run.spec.checkpoint_connector:
            continue  # it has no groups to do anything for
        # one record at a time, so that a worker can be seen lagging
        run.create_connector(connector["name"], connector["config"] | {"source.consumer.max.poll.records": "1"})
