"""A migration between two secured brokers with workers on real hosts: its directory, its traffic, its oracle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from kferry.client import processes
from kferry.store.settings_file import write_new
from support.engine_run import EngineRun
from support.secured_brokers import SecuredBrokers
from support.test_hosts import TestHost, TestHosts
from support.waiting import wait_until

# Found anywhere but in the files made for it, this is a leak; its characters run where a value is taken for more.
CANARY = "Canary-7f3a{{7*7}}\"'$(touch /tmp/PWNED)\\n `id`"
TOPIC, PARTITIONS = "shop.orders", 6
# what looks like a template, a shell line or an option is a name like any other
HOSTILE_GROUP = "{{ lookup('pipe', 'touch /tmp/PWNED') }} $(id) \"'\\ -x"
GROUPS = ("billing", HOSTILE_GROUP)
USER, APPLICATION = "kferry", "app"
MARK = "KFERRY_TEST_FLEET_RUN"


class Traffic:
    """A producer that numbers its records per partition and remembers which of them the broker has confirmed."""

    def __init__(self, config: Mapping[str, Any], records_per_second: int = 400) -> None:
        self.confirmed: dict[int, int] = defaultdict(int)  # partition -> records
        self._producer = Producer({**config, "enable.idempotence": True, "linger.ms": 20})
        self._pause_seconds = 1 / records_per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic")
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            partition, sequence = number % PARTITIONS, number // PARTITIONS
            self._producer.produce(
                TOPIC, value=f"{sequence}".encode(), key=b"k", partition=partition, on_delivery=self._delivered
            )
            self._producer.poll(0)
            number += 1
            time.sleep(self._pause_seconds)
        self._producer.flush(30)

    def _delivered(self, error: Any, message: Any) -> None:
        assert error is None, error
        self.confirmed[message.partition()] += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)


class FleetRun(EngineRun):
    """The migration directory; the engine logs in as an account with the least rights."""

    def __init__(self, root: Path, brokers: SecuredBrokers, factory: TestHosts, hosts: Sequence[TestHost]) -> None:
        super().__init__(root)
        self.brokers = brokers
        self.hosts = list(hosts)
        self._factory = factory
        self._passwords = root.parent / "passwords"
        self._passwords.mkdir(mode=0o700)
        self.write_files()

    def write_files(self) -> None:
        """kferry.yml, clusters.yml, hosts.yml and the pinned host keys, as an operator would have them."""
        write_new(self.layout, "fleet", settings={"still_seconds": 2.5, "heap_bytes": 384 * 1024 * 1024})
        self.put_password(USER, self.brokers.passwords[USER])
        clusters = {
            "source": {
                "kind": "apache_kafka",
                "bootstrap_servers": self.brokers.source.listener("SASL_SSL"),
                "security_protocol": "SASL_SSL",
                "ssl_ca": str(self.brokers.ca_path),
            },
            "target": {
                "kind": "automq",
                "bootstrap_servers": self.brokers.target.listener("SASL_PLAINTEXT"),
                "security_protocol": "SASL_PLAINTEXT",
            },
        }
        for cluster in clusters.values():
            cluster |= {
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_username": USER,
                "sasl_password": f"file:{self._passwords / USER}",
            }
        hosts = {
            host.name: {**self._factory.variables(host), "kferry_zone": f"zone-{host.name}"} for host in self.hosts
        }
        self.layout.clusters.parent.mkdir(parents=True)
        self.layout.clusters.write_text(yaml.safe_dump({"kferry_clusters": clusters}), encoding="utf-8")
        (self.layout.inventory / "hosts.yml").write_text(
            yaml.safe_dump({"kferry_workers": {"hosts": hosts}}), encoding="utf-8"
        )
        self._factory.write_known_hosts(self.layout.known_hosts, self.hosts)

    def put_password(self, name: str, password: str) -> None:
        path = self._passwords / name
        path.touch(mode=0o600)
        path.write_text(password, encoding="utf-8")

    def kferry(self, *words: str, deadline_seconds: float = 420) -> str:
        """Run a command line as an operator does in a script; it must end well. What it printed as data."""
        command = [str(Path(sys.executable).with_name("kferry")), "-C", str(self.root), *words]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=deadline_seconds, check=False
        )
        assert done.returncode == 0, (
            f"kferry {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}"
        )
        return done.stdout

    # ---- the stage ------------------------------------------------------------------------------------------------

    def application(self, role: str) -> dict[str, Any]:
        """How the applications log in."""
        broker = self.brokers.broker(role)  # type: ignore[arg-type]
        protocol = "SASL_SSL" if role == "source" else "SASL_PLAINTEXT"
        return broker.client_config(protocol, user=APPLICATION, password=self.brokers.passwords[APPLICATION])  # type: ignore[arg-type]

    def set_stage(self) -> None:
        """Topic, applications' rights and a consumer group that has committed, on the source."""
        every = (AclOperation.READ, AclOperation.WRITE, AclOperation.CREATE, AclOperation.DESCRIBE)
        for broker in self.brokers.both:
            broker.allow(APPLICATION, ResourceType.TOPIC, "*", *every)
            broker.allow(APPLICATION, ResourceType.GROUP, "*", AclOperation.READ)
        topic = NewTopic(TOPIC, PARTITIONS, 1)
        for future in self.brokers.admin_client("source").create_topics([topic]).values():
            future.result(30)

    def commit(self, group_id: str, offset: int) -> None:
        """Let a consumer group have committed this offset in every partition of the topic."""
        consumer = Consumer({**self.application("source"), "group.id": group_id, "enable.auto.commit": False})
        try:
            places = [TopicPartition(TOPIC, partition, offset) for partition in range(PARTITIONS)]
            consumer.commit(offsets=places, asynchronous=False)
        finally:
            consumer.close()

    def see_everything(self, allowed: bool) -> None:
        """The owner lets kferry look around before there is a plan, and takes that back once it stands."""
        resources = [
            (ResourceType.TOPIC, AclOperation.DESCRIBE),
            (ResourceType.TOPIC, AclOperation.DESCRIBE_CONFIGS),
            (ResourceType.GROUP, AclOperation.DESCRIBE),
        ]
        for broker in self.brokers.both:
            for resource, operation in resources:
                if allowed:
                    broker.allow(USER, resource, "*", operation)
                    continue
                found = AclBindingFilter(
                    resource, "*", ResourcePatternType.LITERAL, f"User:{USER}", "*", operation, AclPermissionType.ALLOW
                )
                for future in broker.admin_client().delete_acls([found]).values():
                    assert len(future.result(15)) == 1

    def grant(self, bindings: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """The owner grants exactly the rights that `kferry acls show` has named, per cluster."""
        for role, rows in bindings.items():
            made = [
                AclBinding(
                    ResourceType[{"cluster": "BROKER"}.get(row["resource"], row["resource"].upper())],
                    row["name"],
                    ResourcePatternType[row["pattern"]],
                    row["principal"],
                    "*",
                    AclOperation[row["operation"]],
                    AclPermissionType[row["permission"]],
                )
                for row in rows
            ]
            for future in self.brokers.admin_client(role).create_acls(made).values():  # type: ignore[arg-type]
                future.result(15)

    # ---- what is true ---------------------------------------------------------------------------------------------

    def target_records(self) -> dict[int, list[int]]:
        """The numbers of all records on the target, per partition, in their order."""
        consumer = Consumer({**self.application("target"), "group.id": "reader", "enable.partition.eof": True})
        found: dict[int, list[int]] = {partition: [] for partition in range(PARTITIONS)}
        try:
            places = [TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)]
            consumer.assign(places)
            ends = {place.partition: consumer.get_watermark_offsets(place, 30)[1] for place in places}
            left = {partition for partition, end in ends.items() if end}
            deadline = time.monotonic() + 60
            while left and time.monotonic() < deadline:
                message = consumer.poll(1)
                if message is None or message.error():
                    continue
                found[message.partition()].append(int(message.value()))
                if message.offset() >= ends[message.partition()] - 1:
                    left.discard(message.partition())
            assert not left, f"partitions {sorted(left)} could not be read to their ends"
        finally:
            consumer.close()
        return found

    def records_of_connect(self) -> list[bytes]:
        """Every record in Connect's own topics, as an application with rights on them would see it."""
        consumer = Consumer({**self.application("target"), "group.id": "reader", "auto.offset.reset": "earliest"})
        found = []
        try:
            known = consumer.list_topics(timeout=15).topics
            own = [name for name in known if name.startswith("kferry-")]
            assert any(name.endswith("-configs") for name in own)
            places = [TopicPartition(name, partition, 0) for name in own for partition in known[name].partitions]
            left = {(place.topic, place.partition): consumer.get_watermark_offsets(place, 30)[1] for place in places}
            left = {place: end for place, end in left.items() if end}
            consumer.assign([TopicPartition(*place, 0) for place in left])
            deadline = time.monotonic() + 30
            while left and time.monotonic() < deadline:
                message = consumer.poll(1)
                if message is None or message.error():
                    continue
                found.append(bytes(message.key() or b"") + bytes(message.value() or b""))
                place = (message.topic(), message.partition())
                if message.offset() >= left.get(place, 0) - 1:
                    left.pop(place, None)
        finally:
            consumer.close()
        assert found
        return found

    def workers(self, task: str) -> list[dict[str, Any]]:
        """The workers of a task as its file has them."""
        document = json.loads(self.layout.task(task).read_text(encoding="utf-8"))
        return [worker for worker in document["workers"] if worker["state"] == "started"]

    def units(self, host: TestHost) -> list[str]:
        """Worker units that are active on a machine."""
        done = host.exec(["systemctl", "list-units", "--plain", "--no-legend", "--state=active", "kferry-worker@*"])
        return [line.split()[0] for line in done.stdout.splitlines() if line.strip()]


def repeats_of(records: Sequence[int], count: int) -> int:
    """How many records came again; fails where one is missing or a new one came before an older one."""
    assert set(records) == set(range(count)), f"missing: {sorted(set(range(count)) - set(records))[:10]}"
    seen = -1
    for number in records:  # a repeat goes back; what is new must be the next one
        assert number <= seen + 1, f"{number} came right after {seen}"
        seen = max(seen, number)
    return len(records) - count


class CommandLines(threading.Thread):
    """Looks through the arguments of every process again and again, for as long as it is open."""

    def __init__(self, needle: str) -> None:
        super().__init__(name="command lines", daemon=True)
        self.found: set[str] = set()
        self.looks = 0
        self._needle = needle.encode()
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.1):
            self.looks += 1
            for folder in Path("/proc").iterdir():
                if folder.name.isdigit():
                    try:
                        line = (folder / "cmdline").read_bytes()
                    except OSError:
                        continue
                    if self._needle in line and b"grep" not in line:  # the test itself looks for it, too
                        self.found.add(line.replace(b"\0", b" ").decode(errors="replace"))

    def __enter__(self) -> CommandLines:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        self.join()


def files_with(needle: str, folder: Path, *, but: Sequence[Path] = ()) -> list[str]:
    """Files below a folder that hold this text."""
    excluded = [str(path) for path in but]
    found = subprocess.run(["grep", "-rlaF", "--", needle, str(folder)], capture_output=True, text=True, check=False)
    assert found.returncode in (0, 1), found.stderr
    return [line for line in found.stdout.splitlines() if not any(line.startswith(path) for path in excluded)]


@contextmanager
def running(root: Path, factory: TestHosts, hosts: Sequence[TestHost]) -> Iterator[FleetRun]:
    """Secured brokers and a migration directory; at the end nothing of it runs here."""
    mark = f"{MARK}={root}"
    os.environ[MARK] = str(root)
    users = {USER: CANARY, APPLICATION: "application-password"}
    with SecuredBrokers(root / "brokers", factory.gateway, users=users) as brokers:
        run = FleetRun(root / "m", brokers, factory, hosts)
        try:
            run.set_stage()
            yield run
        finally:
            try:
                run.session.stop_engine()
            finally:
                run.session.close()
                os.environ.pop(MARK, None)
                processes.end(processes.Belongings(frozenset({mark}), (run.root,)))


def wait_active(run: FleetRun, host: TestHost, count: int, deadline_seconds: float = 60) -> None:
    """Wait until so many workers are active on a machine."""
    wait_until(lambda: len(run.units(host)) == count, deadline_seconds, f"{count} workers are active on {host.name}")
