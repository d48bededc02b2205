"""A migration directory for the playbooks to work on, and small helpers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kferry.ansible.content import find_content
from kferry.ansible.dist import Distribution
from kferry.ansible.java import Java


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], Any], seconds: float, words: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, words
        time.sleep(0.1)
    return found


BROKER_START_SECONDS = 90.0


@contextmanager
def running_broker(home: Path, distribution: Distribution, java: Java, address: str = "127.0.0.1") -> Iterator[Broker]:
    """A single-node KRaft broker that listens on this address."""
    port, controller_port = free_port(), free_port()
    properties = home / "server.properties"
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://{address}:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{address}:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(home / "data"),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
    }
    properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    (home / "log4j.properties").write_text(
        "log4j.rootLogger=WARN, stdout\nlog4j.appender.stdout=org.apache.log4j.ConsoleAppender\n"
        "log4j.appender.stdout.layout=org.apache.log4j.SimpleLayout\n"
    )
    command = [
        str(java.executable),
        "-Xmx384m",
        f"-Dlog4j.configuration=file:{home}/log4j.properties",
        "-cp",
        f"{distribution.libs}/*",
    ]
    cluster_id = "kferry-plays-test-0001"
    subprocess.run(
        [*command, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(properties)],
        check=True,
        capture_output=True,
    )
    log = home / "broker.log"
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, "kafka.Kafka", str(properties)], stdout=stream, stderr=stream)
    try:

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            with socket.socket() as probe:
                return probe.connect_ex((address, port)) == 0

        wait_until(answers, BROKER_START_SECONDS, "the broker did not start")
        yield Broker(f"{address}:{port}", log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Broker:
    bootstrap_servers: str
    log: Path


@dataclass
class PlayOutcome:
    """What `ansible-playbook` said."""

    rc: int
    output: str
    stats: dict[str, int] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        return self.stats["changed"]


class Migration:
    """A migration directory with one local worker host, and the plain command line on it."""

    def __init__(self, root: Path, runtime: Path, mark: str) -> None:
        self.root = root
        self.runtime = runtime
        self.mark = mark
        (root / "inventory").mkdir(parents=True)
        (root / "tasks").mkdir()
        (root / "inventory" / "hosts.yml").write_text(
            "kferry_workers:\n  hosts:\n    local-1:\n      ansible_connection: local\n"
        )

    @property
    def workers(self) -> Path:
        return self.root / ".kferry" / "workers"

    def write_task(self, document: dict[str, Any]) -> None:
        (self.root / "tasks" / f"{document['task']}.json").write_text(json.dumps(document))

    def play(self, playbook: str, *arguments: str, env: dict[str, str] | None = None) -> PlayOutcome:
        content = find_content()
        environment = content.environment({**os.environ, "KFERRY_MARK": self.mark, **(env or {})})
        answer = subprocess.run(
            ["ansible-playbook", "-i", str(self.root / "inventory"), str(content.playbook(playbook)), *arguments],
            capture_output=True,
            text=True,
            env=environment,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            timeout=240,
        )
        output = answer.stdout + answer.stderr
        stats: dict[str, int] = {}
        for line in output.splitlines():
            if line.startswith("local-1 ") and "changed=" in line:
                stats = {k: int(v) for k, v in (word.split("=") for word in line.split(":")[1].split())}
        return PlayOutcome(answer.returncode, output, stats)


def marked_pids(mark: str) -> list[int]:
    """Processes that carry the mark in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue
            if f"KFERRY_MARK={mark}".encode() in environment.split(b"\0"):
                found.append(int(folder.name))
    return found
