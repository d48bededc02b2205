"""A migration between two secured brokers with workers on real hosts: its directory, its traffic, its oracle."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
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
from support.traffic import numbered_records, repeats_of
from support.waiting import wait_until

# Found anywhere but in the files made for it, this is a leak; its characters run where a value is taken for more.
CANARY = "Canary-7f3a{{7*7}}\"'$(touch /tmp/PWNED)\\n `id`"
TOPIC, PARTITIONS = "shop.orders", 6
# a legal name, and an option where it is not kept from being one
HOSTILE_TOPIC, HOSTILE_RECORDS = "-rf.--config", 20
TOPICS = (TOPIC, HOSTILE_TOPIC)
# what looks like a template, a shell line or an option is a name like any other
HOSTILE_GROUP = "{{ lookup('pipe', 'touch /tmp/PWNED') }} $(id) \"'\\ -x"
GROUPS = ("billing", HOSTILE_GROUP)
USER, APPLICATION = "kferry", "app"
MARK = "KFERRY_TEST_FLEET_RUN"


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
        hosts[self.hosts[-1].name]["kferry_rest"] = "direct"
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

    def kferry(self, *words: str, deadline_seconds: float = 900) -> str:
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
        """Topics and the applications' rights, on the source; the hostile topic gets its records."""
        every = (AclOperation.READ, AclOperation.WRITE, AclOperation.CREATE, AclOperation.DESCRIBE)
        for broker in self.brokers.both:
            broker.allow(APPLICATION, ResourceType.TOPIC, "*", *every)
            broker.allow(APPLICATION, ResourceType.GROUP, "*", AclOperation.READ)
        topics = [NewTopic(TOPIC, PARTITIONS, 1), NewTopic(HOSTILE_TOPIC, 1, 1)]
        for future in self.brokers.admin_client("source").create_topics(topics).values():
            future.result(30)
        producer = Producer(self.application("source"))
        for number in range(HOSTILE_RECORDS):
            producer.produce(HOSTILE_TOPIC, value=f"{number}")
        assert producer.flush(60) == 0

    def commit(self, group_id: str, offset: int) -> None:
        """Let a consumer group have committed this offset in every partition of both topics."""
        consumer = Consumer({**self.application("source"), "group.id": group_id, "enable.auto.commit": False})
        try:
            places = [TopicPartition(TOPIC, partition, offset) for partition in range(PARTITIONS)]
            places.append(TopicPartition(HOSTILE_TOPIC, 0, offset))
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
        return numbered_records(self.application("target"), TOPIC, PARTITIONS)

    def repeats(self) -> int:
        """How many records came to the target again so far; fails where one is missing or overtook another."""
        return sum(repeats_of(found, max(found, default=-1) + 1) for found in self.target_records().values())

    def hostile_records(self) -> int:
        """How many records of the hostile topic are on the target."""
        consumer = Consumer({**self.application("target"), "group.id": "reader"})
        try:
            return int(consumer.get_watermark_offsets(TopicPartition(HOSTILE_TOPIC, 0), 30)[1])
        finally:
            consumer.close()

    def rest_answers(self, task: str) -> dict[str, str]:
        """What a worker's REST says to the account, word for word: path -> body."""
        password = self.layout.rest_password(task).read_text(encoding="utf-8").strip()
        login = base64.b64encode(f"kferry:{password}".encode()).decode()
        (url, *_) = json.loads(self.layout.task(task).read_text(encoding="utf-8"))["rest_urls"]
        found = {}

        def ask(path: str) -> str:
            headers = {"Authorization": f"Basic {login}"}
            request = urllib.request.Request(f"{url}{path}", headers=headers)  # noqa: S310  (http, written by kferry)
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  (http, written by kferry)
                found[path] = answer.read().decode()
            return found[path]

        everything = json.loads(ask("/connectors?expand=info&expand=status"))
        for name in everything:
            for part in ("config", "tasks"):
                ask(f"/connectors/{name}/{part}")
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

    def host_of(self, worker: Mapping[str, Any]) -> TestHost:
        return next(host for host in self.hosts if host.name == worker["host"])

    def units(self, host: TestHost) -> list[str]:
        """Worker units that are active on a machine."""
        done = host.exec(["systemctl", "list-units", "--plain", "--no-legend", "--state=active", "kferry-worker@*"])
        return [line.split()[0] for line in done.stdout.splitlines() if line.strip()]


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


@contextmanager
def killed(host: TestHost, worker: str) -> Iterator[float]:
    """A worker's process gets SIGKILL, and systemd may not start it again until the end; when that was (monotonic)."""
    unit = f"kferry-worker@{worker}.service"
    host.exec(["systemctl", "mask", "--runtime", unit])
    try:
        at = time.monotonic()
        host.exec(["systemctl", "kill", "--signal=KILL", unit])
        state = ["systemctl", "show", "--property=ActiveState", "--value", unit]
        wait_until(lambda: host.exec(state).stdout.strip() == "failed", 20, f"{unit} is dead")
        yield at
    finally:
        host.exec(["systemctl", "unmask", "--runtime", unit])


def wait_active(run: FleetRun, host: TestHost, count: int, deadline_seconds: float = 60) -> None:
    """Wait until so many workers are active on a machine."""
    wait_until(lambda: len(run.units(host)) == count, deadline_seconds, f"{count} workers are active on {host.name}")
