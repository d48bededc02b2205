"""A mirror on this machine: numbered records at a steady rate, Connect workers, and a reader of what arrives."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from kferry.domain.connectors import source_config, worker_properties
from kferry.domain.model import ClusterConfig, ClusterKind, Role, TaskSpec, WorkerSpec
from support.broker import TestBroker, free_ports, java_command, kafka_class_path
from support.connect_worker import properties_text
from support.waiting import wait_until

PARTITIONS = 8
CONNECTOR_TASKS = 6
RECORDS_PER_SECOND = 500
WORKER_HEAP = "-Xmx256m"
START_DEADLINE_SECONDS = 90.0
_TICK_SECONDS = 0.01
_LOGGING = """\
log4j.rootLogger=WARN, out
log4j.logger.org.apache.kafka.connect.runtime.distributed.DistributedHerder=INFO
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %m (%c)%n
"""
_LEADER = re.compile(r"leaderUrl='http://127\.0\.0\.1:(\d+)/'")


class Traffic:
    """Numbers the records of each partition and remembers how many the broker has confirmed."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self.confirmed = [0] * PARTITIONS
        self.problem: str | None = None
        self._topic = topic
        self._producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "linger.ms": 5, "log_level": 0}
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        began, made = time.monotonic(), 0
        while not self._stop.wait(_TICK_SECONDS):
            due = int((time.monotonic() - began) * RECORDS_PER_SECOND)
            for number in range(made, due):
                sequence, partition = divmod(number, PARTITIONS)
                self._producer.produce(
                    self._topic, str(sequence).encode(), partition=partition, on_delivery=self._delivered
                )
            made = due
            self._producer.poll(0)
        self._producer.flush(30)

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self.problem = str(error)
        else:
            self.confirmed[message.partition()] += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)


class Arrivals:
    """Reads the target as records arrive: the longest time without a new one, and repeats, since `begin`."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap_servers, "group.id": "arrivals", "fetch.wait.max.ms": 50, "log_level": 0}
        )
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        self._lock = threading.Lock()
        self._highest = [-1] * PARTITIONS
        self._numbers: list[set[int]] = [set() for _ in range(PARTITIONS)]
        self._last_new = [time.monotonic()] * PARTITIONS
        self._longest = [0.0] * PARTITIONS
        self._repeats = [0] * PARTITIONS
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arrivals", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            messages = self._consumer.consume(500, 0.05)
            now = time.monotonic()
            with self._lock:
                for message in messages:
                    if message.error():
                        continue
                    partition, number = message.partition() or 0, int(message.value() or b"-1")
                    if number in self._numbers[partition]:
                        self._repeats[partition] += 1
                        continue
                    self._numbers[partition].add(number)
                    self._highest[partition] = max(self._highest[partition], number)
                    self._longest[partition] = max(self._longest[partition], now - self._last_new[partition])
                    self._last_new[partition] = now
        self._consumer.close()

    def begin(self) -> None:
        """Forget pauses and repeats; what arrived stays known."""
        with self._lock:
            now = time.monotonic()
            self._last_new = [now] * PARTITIONS
            self._longest, self._repeats = [0.0] * PARTITIONS, [0] * PARTITIONS

    def pauses(self) -> list[float]:
        """The longest time without a new record of each partition, the one that lasts now included."""
        with self._lock:
            now = time.monotonic()
            pairs = zip(self._longest, self._last_new, strict=True)
            return [max(longest, now - last) for longest, last in pairs]

    def repeats(self) -> int:
        with self._lock:
            return sum(self._repeats)

    def behind(self, confirmed: list[int]) -> int:
        """How many confirmed records have not arrived in the partition that is furthest behind."""
        with self._lock:
            return max(sent - len(seen) for sent, seen in zip(confirmed, self._numbers, strict=True))

    def lost(self, confirmed: list[int]) -> int:
        """Confirmed records that have not arrived at all."""
        with self._lock:
            return sum(len(set(range(sent)) - seen) for sent, seen in zip(confirmed, self._numbers, strict=True))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)


class Worker:
    """One Connect worker process that can be ended in both ways and started again."""

    def __init__(self, folder: Path, name: str, port: int, properties: Mapping[str, str]) -> None:
        self.name, self.port, self.url = name, port, f"http://127.0.0.1:{port}"
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self.log = self._folder / "worker.log"
        self._properties = self._folder / "worker.properties"
        self._properties.write_text(properties_text(properties), encoding="utf-8")
        self._logging = self._folder / "log4j.properties"
        self._logging.write_text(_LOGGING, encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        argv = [java_command(), WORKER_HEAP, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        argv += [f"-Dlog4j.configuration=file:{self._logging}", "-cp", kafka_class_path()]
        argv += ["org.apache.kafka.connect.cli.ConnectDistributed", str(self._properties)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def answers(self) -> bool:
        if not self.lives:
            raise RuntimeError(f"{self.name} ended: {self.log.read_text(errors='replace')[-2000:]}")
        try:
            return bool(httpx2.get(f"{self.url}/connectors", timeout=5, trust_env=False).is_success)
        except httpx2.HTTPError:
            return False

    def kill(self) -> None:
        """As when the machine loses its power."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(30)

    def ask_to_stop(self) -> None:
        if self._process is not None and self.lives:
            self._process.terminate()

    def wait_stopped(self, seconds: float = 60) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()


class Mirror:
    """The workers of one task between two brokers, with settings of their own laid over kferry's."""

    def __init__(
        self,
        folder: Path,
        name: str,
        source: TestBroker,
        target: TestBroker,
        settings: Mapping[str, str],
        workers: int,
    ) -> None:
        self.name = name
        self._topic = f"{name}.records"
        self._target = target.bootstrap_servers
        self._began = time.monotonic()
        clusters = [
            ClusterConfig(role, kind, broker.bootstrap_servers)
            for role, kind, broker in (
                (Role.SOURCE, ClusterKind.APACHE_KAFKA, source),
                (Role.TARGET, ClusterKind.AUTOMQ, target),
            )
        ]
        specs = tuple(
            WorkerSpec(f"{name}-{number + 1}", "local", "127.0.0.1", port, 256 * 1024 * 1024)
            for number, port in enumerate(free_ports(workers))
        )
        self.spec = TaskSpec(name, "bench1", name, 1, (self._topic,), (), specs, CONNECTOR_TASKS)
        self._config = source_config(self.spec, clusters[0], clusters[1], "/nowhere/secrets")
        self.workers = []
        for spec in specs:
            properties = worker_properties(
                self.spec, spec, clusters[0], clusters[1], "/nowhere/secrets", offset_flush_interval_ms=5000
            )
            self.workers.append(Worker(folder, spec.name, spec.rest_port, {**properties, **settings}))
        for broker in (source, target):
            admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
            admin.create_topics([NewTopic(self._topic, PARTITIONS, 1)])[self._topic].result(30)
        self.traffic = Traffic(source.bootstrap_servers, self._topic)
        self.arrivals = Arrivals(target.bootstrap_servers, self._topic)

    def begin(self, count: int) -> None:
        """Start so many workers and the connector, and wait until records flow."""
        self.start(self.workers[:count])
        wait_until(self._put, START_DEADLINE_SECONDS, "the connector is made")
        self.settle()

    def start(self, workers: list[Worker]) -> None:
        for worker in workers:
            worker.start()
        for worker in workers:
            wait_until(worker.answers, START_DEADLINE_SECONDS, f"{worker.name} answers")

    def _put(self) -> bool:
        url = f"{self.workers[0].url}/connectors/{self.spec.source_connector}/config"
        return bool(httpx2.put(url, json=self._config, timeout=60, trust_env=False).is_success)

    def settle(self, deadline_seconds: float = START_DEADLINE_SECONDS, *, on_all: bool = True) -> None:
        """Wait until every partition flows again and connector tasks run on every worker that lives."""
        wait_until(lambda: self.flows() and (not on_all or self.is_spread()), deadline_seconds, f"{self.name} flows")

    def flows(self) -> bool:
        if self.traffic.problem:
            raise RuntimeError(f"the traffic of {self.name} has stopped: {self.traffic.problem}")
        # as many as arrive in a second and a half: batches wait, and so does the reader
        return self.arrivals.behind(self.traffic.confirmed) < 1.5 * RECORDS_PER_SECOND / PARTITIONS

    def is_spread(self) -> bool:
        """Whether all connector tasks run, on living workers, and each living worker has its share."""
        living = [worker for worker in self.workers if worker.lives]
        try:
            url = f"{living[0].url}/connectors/{self.spec.source_connector}/status"
            answer = httpx2.get(url, timeout=5, trust_env=False)
        except httpx2.HTTPError:
            return False
        if not answer.is_success:
            return False
        tasks = answer.json()["tasks"]
        running = [task["worker_id"] for task in tasks if task["state"] == "RUNNING"]
        share = CONNECTOR_TASKS // len(living)
        return len(running) == CONNECTOR_TASKS and all(
            running.count(f"127.0.0.1:{worker.port}") in (share, share + 1) for worker in living
        )

    def leader(self) -> Worker:
        """The worker that shares out the work, as a living worker has logged last."""
        living = [worker for worker in self.workers if worker.lives]
        ports = _LEADER.findall(living[0].log.read_text(errors="replace"))
        return next(worker for worker in living if str(worker.port) == ports[-1])

    def follower(self) -> Worker:
        leader = self.leader()
        return next(worker for worker in self.workers if worker.lives and worker is not leader)

    def lost(self) -> int:
        """Stop the traffic, wait until what it wrote has arrived, and count what has not."""
        self.traffic.stop()
        ends = time.monotonic() + 30
        while (lost := self.arrivals.lost(self.traffic.confirmed)) and time.monotonic() < ends:
            time.sleep(0.2)
        return lost

    def bookkeeping(self) -> dict[str, float]:
        """Records per second that the task has written for itself: saved positions and offset syncs."""
        seconds = time.monotonic() - self._began
        client = Consumer({"bootstrap.servers": self._target, "group.id": "bookkeeping", "log_level": 0})
        try:
            known = client.list_topics(timeout=30).topics
            written = {"positions": self.spec.connect_topics[1], "syncs": self.spec.offset_syncs_topic}
            return {
                what: sum(
                    client.get_watermark_offsets(TopicPartition(topic, part), 30)[1] for part in known[topic].partitions
                )
                / seconds
                for what, topic in written.items()
            }
        finally:
            client.close()

    def end(self) -> None:
        """End all of it."""
        self.traffic.stop()
        self.arrivals.stop()
        for worker in self.workers:
            worker.kill()
