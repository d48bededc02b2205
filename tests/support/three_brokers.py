"""Three real brokers of one cluster on this machine, of which two can be killed: the first is the controller too."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from support import waiting
from support.broker import free_ports, java_command, kafka_class_path

_CLUSTER_ID = "kferrythreeAAAAAAAAAAA"
_START_SECONDS = 90.0
_LOG4J = (
    "log4j.rootLogger=WARN, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n"
    "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
    "log4j.appender.out.layout.ConversionPattern=%d %p %m (%c)%n\n"
)


class ThreeBrokers:
    """Brokers 1, 2 and 3. Broker 1 must stay alive."""

    def __init__(self, home: Path) -> None:
        self._home = home
        ports = free_ports(4)
        self.controller = f"127.0.0.1:{ports[3]}"
        self.addresses: Mapping[int, str] = {number: f"127.0.0.1:{ports[number - 1]}" for number in (1, 2, 3)}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(self.addresses.values())

    def client_config(self) -> dict[str, Any]:
        """Settings of librdkafka for a client that may do everything."""
        return {"bootstrap.servers": self.bootstrap_servers, "log_level": 0}

    def start(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        (self._home / "log4j.properties").write_text(_LOG4J)
        for number in self.addresses:
            folder = self._home / str(number)
            folder.mkdir()
            config = folder / "server.properties"
            config.write_text("".join(f"{key}={value}\n" for key, value in self._settings(number, folder).items()))
            arguments = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(config)]
            subprocess.run(self._java(*arguments), check=True, capture_output=True, timeout=90)
            with (folder / "broker.log").open("wb") as log:
                self._processes[number] = subprocess.Popen(
                    self._java("kafka.Kafka", str(config)), stdout=log, stderr=log, stdin=subprocess.DEVNULL
                )
        client = AdminClient(self.client_config())
        waiting.wait_until(lambda: self._are_all_there(client), _START_SECONDS, "three brokers")

    def kill(self, number: int) -> None:
        process = self._processes.pop(number)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes = {}

    def _are_all_there(self, client: AdminClient) -> bool:
        ended = [number for number, process in self._processes.items() if process.poll() is not None]
        if ended:
            log = (self._home / str(ended[0]) / "broker.log").read_text(errors="replace")
            raise RuntimeError(f"Broker {ended[0]} ended: {log[-2000:]}")
        try:
            return len(client.list_topics(timeout=2).brokers) == len(self.addresses)
        except KafkaException:
            return False

    def _java(self, *arguments: str) -> list[str]:
        options = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        options.append(f"-Dlog4j.configuration=file:{self._home / 'log4j.properties'}")
        return [java_command(), *options, "-cp", kafka_class_path(), *arguments]

    def _settings(self, number: int, folder: Path) -> dict[str, str]:
        is_controller = number == 1
        listeners = f"PLAINTEXT://{self.addresses[number]}"
        return {
            "process.roles": "broker,controller" if is_controller else "broker",
            "node.id": str(number),
            "controller.quorum.voters": f"1@{self.controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{listeners},CONTROLLER://{self.controller}" if is_controller else listeners,
            "advertised.listeners": listeners,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(folder / "data"),
            "offsets.topic.num.partitions": "6",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "3",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
            "log.cleaner.dedupe.buffer.size": "8388608",
            "log.index.size.max.bytes": "1048576",
            # a killed broker stays in the metadata for a while: what a scan meets in the middle of an outage
            "broker.session.timeout.ms": "9000",
        }


@contextmanager
def three_brokers(home: Path) -> Iterator[ThreeBrokers]:
    """Start the three and end them again."""
    brokers = ThreeBrokers(home)
    try:
        brokers.start()
        yield brokers
    finally:
        brokers.stop()
