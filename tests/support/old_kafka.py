"""A real broker of an old or new Kafka release on free ports of this machine; where it needs ZooKeeper, with that.

It has a listener without a login, and one that wants user and password.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from kferry.ansible import dist
from kferry.ansible.lockfile import Lock
from support import waiting
from support.broker import free_ports, java_command

LOCK_PATH = Path(__file__).with_name("old_kafka.lock.json")
USER, PASSWORD = "mover", "s3cret of mover"
_START_SECONDS = 90.0
_CLUSTER_ID = "kferryoldkafkaAAAAAAAA"
_LOG4J = (
    "log4j.rootLogger=WARN, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n"
    "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
    "log4j.appender.out.layout.ConversionPattern=%d %p %m (%c)%n\n"
)
# Kafka 4 logs with another library, which takes its settings in another form.
_LOG4J2 = (
    "rootLogger.level=WARN\nrootLogger.appenderRef.out.ref=out\nappender.out.type=Console\nappender.out.name=out\n"
    "appender.out.layout.type=PatternLayout\nappender.out.layout.pattern=%d %p %m (%c)%n\n"
)


# A file, because brokers before 1.1 do not take logins from their settings.
_LOGINS = f"""KafkaServer {{
  org.apache.kafka.common.security.plain.PlainLoginModule required
  username="broker" password="broker" user_broker="broker" user_{USER}="{PASSWORD}";
}};
"""


@dataclass(frozen=True, slots=True)
class OldBroker:
    """One running broker of one release: where it listens without a login, and where with one."""

    version: str
    bootstrap_servers: str
    with_login: str


def locks() -> dict[str, Lock]:
    """The jars of each release that is tested, by release."""
    found = (Lock.from_dict(entry) for entry in json.loads(LOCK_PATH.read_text(encoding="utf-8")))
    return {lock.kafka_version: lock for lock in found}


def numbers(version: str) -> tuple[int, ...]:
    """A release as numbers, to be compared."""
    return tuple(int(part) for part in version.split("."))


@contextmanager
def running_old_kafka(version: str, home: Path) -> Iterator[OldBroker]:
    """Start a broker of this release in `home` and end it again; its jars are fetched where they are not there yet.

    They are kept as kferry keeps its own distribution: checked one by one against the lock, in a folder of its cache.
    """
    libs = dist.ensure_distribution(dist.default_cache_dir() / "old-kafka", lock=locks()[version]).libs
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as started:
        has_zookeeper = numbers(version) < (3,)
        settings = _with_zookeeper(started, libs, home) if has_zookeeper else _with_kraft(libs, home, version)
        plain, with_login = (part.partition("://")[2] for part in settings["advertised.listeners"].split(","))
        config = _write(home / "server.properties", settings)
        broker = started.enter_context(_running(libs, home, "broker", "kafka.Kafka", str(config)))
        client = AdminClient({"bootstrap.servers": plain, "log_level": 0})
        _wait(lambda: _answers(client), broker, home / "broker.log", f"Kafka {version} answers")
        yield OldBroker(version, plain, with_login)


def _with_zookeeper(started: ExitStack, libs: Path, home: Path) -> dict[str, str]:
    """Start a ZooKeeper; the settings of a broker that keeps its metadata there."""
    (keeper,) = free_ports(1)
    settings = {
        "dataDir": str(home / "zookeeper"),
        "clientPort": str(keeper),
        "clientPortAddress": "127.0.0.1",
        "tickTime": "1000",
        "admin.enableServer": "false",
        "maxClientCnxns": "0",
    }
    config = _write(home / "zookeeper.properties", settings)
    main_class = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    process = started.enter_context(_running(libs, home, "zookeeper", main_class, str(config)))
    _wait(lambda: _listens(keeper), process, home / "zookeeper.log", "ZooKeeper listens")
    return _settings(home) | {
        "broker.id": "1",
        "zookeeper.connect": f"127.0.0.1:{keeper}",
    }


def _with_kraft(libs: Path, home: Path, version: str) -> dict[str, str]:
    """Format the folder; the settings of a broker that is its own controller."""
    (controller,) = free_ports(1)
    settings = _settings(home)
    settings |= {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": f"{settings['listener.security.protocol.map']},CONTROLLER:PLAINTEXT",
        "listeners": f"{settings['listeners']},CONTROLLER://127.0.0.1:{controller}",
    }
    arguments = ["format", "-t", _CLUSTER_ID, "-c", str(_write(home / "format.properties", settings))]
    if numbers(version) >= (4, 1):
        arguments += ["--feature", "share.version=1"]
    command = _java(libs, home, "kafka.tools.StorageTool", *arguments)
    subprocess.run(command, check=True, capture_output=True, timeout=_START_SECONDS)
    return settings


def _settings(home: Path) -> dict[str, str]:
    """What holds for every release; what one of them does not know is ignored there."""
    plain, with_login = free_ports(2)
    listeners = f"PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{with_login}"
    one_replica = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    return {
        "log.dirs": str(home / "data"),
        "listeners": listeners,
        "advertised.listeners": listeners,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        **{f"{name}.replication.factor": "1" for name in one_replica},
        **{f"{name}.num.partitions": "3" for name in one_replica},
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": "false",
        "delete.topic.enable": "true",
        "log.cleaner.dedupe.buffer.size": "8388608",
        "log.index.size.max.bytes": "1048576",
        "transactional.id.expiration.ms": "3600000",
    }


def _write(path: Path, settings: Mapping[str, str]) -> Path:
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
    return path


def _java(libs: Path, home: Path, main_class: str, *arguments: str) -> list[str]:
    (home / "log4j.properties").write_text(_LOG4J, encoding="utf-8")
    (home / "log4j2.properties").write_text(_LOG4J2, encoding="utf-8")
    (home / "logins.conf").write_text(_LOGINS, encoding="utf-8")
    options = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
    options += [f"-Dlog4j.configuration=file:{home / 'log4j.properties'}"]
    options += [f"-Dlog4j2.configurationFile={home / 'log4j2.properties'}", "-Dzookeeper.forceSync=no"]
    options += [f"-Djava.security.auth.login.config={home / 'logins.conf'}", "-Dzookeeper.sasl.client=false"]
    return [java_command(), *options, "-cp", f"{libs}/*", main_class, *arguments]


@contextmanager
def _running(libs: Path, home: Path, name: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    with (home / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(_java(libs, home, *command), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()  # nothing in its folder is wanted any more
        process.wait(timeout=15)


def _answers(client: AdminClient) -> bool:
    try:
        return bool(client.list_topics(timeout=1).brokers)
    except KafkaException:
        return False


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _wait(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, what: str) -> None:
    """Wait until it is so; a process that has ended meanwhile is told of at once, with the end of its log."""

    def has_come() -> bool:
        if process.poll() is not None:
            text = log.read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"Not so: {what}. The process ended with {process.returncode}: {text[-2000:]}")
        return condition()

    waiting.wait_until(has_come, _START_SECONDS, what)
