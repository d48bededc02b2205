"""What a scenario needs besides machines: two secured brokers, and the migration directory that the playbooks work on.

`start FOLDER GATEWAY` and `stop FOLDER` begin and end the brokers, and a producer of numbered records; `tasks FOLDER
shop=w1,w2 ...` writes what each task is to be; `copied FOLDER TOPIC` proves that records written to the source now
arrive on the target. `rotate FOLDER` gives kferry another user, `version FOLDER TASK` wants another version
of Kafka for a task, and `complete FOLDER` ends the producer and proves that its records arrived, all and in order.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AclOperation, NewTopic, ResourcePatternType, ResourceType

from kferry.ansible.archive import hash_file
from kferry.domain import acls
from kferry.domain.model import ClusterConfig, ClusterKind, Role, TaskSpec, WorkerSpec
from kferry.domain.planning.sizing import connector_tasks_max
from kferry.engine.secrets import jaas
from support.another_version import another_version
from support.remote_task import write_task_file
from support.secured_brokers import SecuredBrokers
from support.traffic import Traffic, numbered_records, repeats_of
from support.waiting import wait_until

MIGRATION_ID = "k3f9x2"
USER, NEXT_USER, APPLICATION = "kferry", "kferry-2", "app"
TOPICS = {"shop": "shop.orders", "hr": "hr.people"}
GROUPS = {"shop": ("billing",), "hr": ()}
REST_PORTS = {"shop": 18083, "hr": 18093}
METRICS_PORT_DISTANCE = 1317
HEAP_BYTES = 384 * 2**20
PARTITIONS, RECORDS = 4, 50
PROTOCOLS = {Role.SOURCE: "SASL_SSL", Role.TARGET: "SASL_PLAINTEXT"}
MECHANISM = "SCRAM-SHA-512"
# what a properties file, a shell or a template would take for more than characters
HOSTILE = " \\ ${x} {{ 7*7 }} 'ä\""

# the task that a producer with numbers writes to, from the start to `complete`
NUMBERED, NUMBERED_PER_SECOND = "shop", 100

READY = "stage.ready"
# what the running stage is asked for: a file that it takes away when that is done
ASKED, CONFIRMED = "stage.asked", "stage.confirmed.json"
START_SECONDS, STOP_SECONDS, COPY_SECONDS, ANSWER_SECONDS = 180.0, 40.0, 90.0, 60.0


def start(folder: Path, gateway: str) -> None:
    """Begin the brokers in a process of their own, and wait until all that plays need of them is written."""
    log = folder / "stage.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, __file__, "serve", str(folder), gateway],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    _write_private(folder / "stage.pid", f"{process.pid} {psutil.Process(process.pid).create_time()}")

    def is_ready() -> bool:
        if process.poll() is not None:
            raise SystemExit(f"The brokers could not be started:\n{log.read_text(errors='replace')[-4000:]}")
        return (folder / READY).is_file()

    wait_until(is_ready, START_SECONDS, f"the brokers are ready ({log})")


def serve(folder: Path, gateway: str) -> None:
    """Run the brokers until SIGTERM, or until the run that wanted them was killed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    owner = int(os.environ.get("KFERRY_MOLECULE_OWNER", "").partition("-")[0] or os.getpid())
    passwords = {USER: secrets.token_hex(8) + HOSTILE, APPLICATION: secrets.token_hex(8)}
    with SecuredBrokers(folder / "brokers", gateway, users=passwords) as brokers:
        _set_stage(brokers)
        _write_directory(folder, brokers)
        stage = _stage(folder)
        _commit(stage)
        traffic = Traffic(_client(stage, Role.SOURCE), TOPICS[NUMBERED], PARTITIONS, NUMBERED_PER_SECOND)
        try:
            (folder / READY).touch()
            while psutil.pid_exists(owner):
                _answer(folder, brokers, traffic)
                time.sleep(0.2)
        finally:
            traffic.stop()


def _answer(folder: Path, brokers: SecuredBrokers, traffic: Traffic) -> None:
    """Do what was asked of the stage; only this process may change the brokers' users or end the traffic."""
    asked = folder / ASKED
    if not asked.is_file():
        return
    if asked.read_text(encoding="utf-8") == "rotate":
        # beside the first one, as docs/security.md says: what is not restarted yet must still be able to log in
        brokers.add_user(NEXT_USER, secrets.token_hex(8) + HOSTILE)
        _grant(brokers, NEXT_USER)
        stage = _stage(folder) | {"user": NEXT_USER}
        _write_private(folder / "stage.json", json.dumps(stage))
        _write_secrets(folder, brokers, stage)
    else:
        traffic.stop()
        (folder / CONFIRMED).write_text(json.dumps(traffic.confirmed), encoding="utf-8")
    asked.unlink()


def ask(folder: Path, what: str) -> None:
    """Ask the running stage, and wait until it is done."""
    _write_private(folder / ASKED, what)
    wait_until(
        lambda: not (folder / ASKED).exists(), ANSWER_SECONDS, f"the stage does: {what} ({folder / 'stage.log'})"
    )


def stop(folder: Path) -> None:
    """End the brokers, if they were ever started."""
    try:
        pid, created = (folder / "stage.pid").read_text(encoding="utf-8").split()
        process = psutil.Process(int(pid))
        if process.create_time() != float(created):
            return
    except (FileNotFoundError, psutil.NoSuchProcess):
        return
    family = [process, *process.children(recursive=True)]
    process.terminate()
    _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
    for left in alive:
        left.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)


def _set_stage(brokers: SecuredBrokers) -> None:
    """Topics, and rights on them."""
    topics = list(TOPICS.values())
    for role in Role:
        broker = brokers.broker(role.value)
        new = [NewTopic(topic, PARTITIONS, 1) for topic in topics]
        for future in broker.admin_client().create_topics(new).values():
            future.result(30)
        broker.allow(APPLICATION, ResourceType.TOPIC, "*", AclOperation.READ, AclOperation.WRITE)
        broker.allow(APPLICATION, ResourceType.GROUP, "*", AclOperation.READ)
    _grant(brokers, USER)


def _grant(brokers: SecuredBrokers, user: str) -> None:
    """The least rights that kferry itself names for its user."""
    topics, groups = list(TOPICS.values()), [group for ids in GROUPS.values() for group in ids]
    for role in Role:
        for rule in acls.plan(role, MIGRATION_ID, topics, groups):
            resource = "BROKER" if rule.resource is acls.Resource.CLUSTER else rule.resource.name
            pattern = ResourcePatternType.PREFIXED if rule.is_prefixed else ResourcePatternType.LITERAL
            brokers.broker(role.value).allow(
                user, ResourceType[resource], rule.name, AclOperation[rule.operation], pattern=pattern
            )


def _write_directory(folder: Path, brokers: SecuredBrokers) -> None:
    """The migration directory, its secrets, and what this program itself wants to know later."""
    (folder / "tasks").mkdir(exist_ok=True)
    private = folder / ".kferry"
    private.mkdir(mode=0o700, exist_ok=True)
    settings = {"schema": 1, "migration_id": MIGRATION_ID, "name": "molecule", "settings": {}}
    (folder / "kferry.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    bootstrap = {role: brokers.broker(role.value).listener(protocol) for role, protocol in PROTOCOLS.items()}  # type: ignore[arg-type]
    request = {
        "schema": 1,
        "brokers": {role.value: [bootstrap[role]] for role in Role},
        "security": {
            role.value: {
                "protocol": PROTOCOLS[role],
                "mechanism": MECHANISM,
                "username": USER,
                "server_name_check": True,
            }
            for role in Role
        },
        "ports": sorted(REST_PORTS.values()),
    }
    (private / "fleet.json").write_text(json.dumps(request), encoding="utf-8")

    stage = {
        "bootstrap": {role.value: bootstrap[role] for role in Role},
        "ca": str(brokers.ca_path),
        "password": brokers.passwords[APPLICATION],
        "rest_password": secrets.token_hex(8) + HOSTILE,
        "user": USER,
    }
    _write_secrets(folder, brokers, stage)
    _write_private(folder / "stage.json", json.dumps(stage))


def _write_secrets(folder: Path, brokers: SecuredBrokers, stage: Mapping[str, Any]) -> None:
    """What the plays get in their environment, and the file that the task files' reference points at."""
    _write_private(folder / "kferry.password", brokers.passwords[stage["user"]])
    values = {"KFERRY_SECRET_REST_PASSWORD": stage["rest_password"]}
    for role in Role:
        values[f"KFERRY_SECRET_{role.name}_JAAS"] = jaas(_cluster(folder, stage, role))
        values[f"KFERRY_SECRET_{role.name}_PASSWORD"] = brokers.passwords[stage["user"]]
    values["KFERRY_SECRET_SOURCE_CA"] = brokers.ca_path.read_text(encoding="utf-8")
    _write_private(folder / "play-secrets.json", json.dumps(values))


def _commit(stage: Mapping[str, Any]) -> None:
    """Let the groups have read: only then does MirrorCheckpoint take them for groups of these topics."""
    for task, groups in GROUPS.items():
        for group in groups:
            consumer = Consumer({**_client(stage, Role.SOURCE), "group.id": group, "enable.auto.commit": False})
            try:
                places = [TopicPartition(TOPICS[task], partition, 0) for partition in range(PARTITIONS)]
                consumer.commit(offsets=places, asynchronous=False)
            finally:
                consumer.close()


def write_tasks(folder: Path, wanted: Mapping[str, Sequence[str]]) -> None:
    """The task files; a worker that an earlier file had, and that is no longer wanted, is to go."""
    stage = _stage(folder)
    inventory = yaml.safe_load((folder / "inventory" / "hosts.yml").read_text(encoding="utf-8"))
    addresses = {name: host["ansible_host"] for name, host in inventory["kferry_workers"]["hosts"].items()}
    for task, hosts in wanted.items():
        path = folder / "tasks" / f"{task}.json"
        before = json.loads(path.read_text(encoding="utf-8"))["workers"] if path.is_file() else []
        gone = [worker["host"] for worker in before if worker["host"] not in hosts]
        staying, leaving = (
            tuple(
                WorkerSpec(
                    f"{task}-{host}",
                    host,
                    addresses[host],
                    REST_PORTS[task],
                    HEAP_BYTES,
                    REST_PORTS[task] + METRICS_PORT_DISTANCE,
                )
                for host in names
            )
            for names in (hosts, gone)
        )
        tasks_max = connector_tasks_max(PARTITIONS, len(staying))
        spec = TaskSpec(
            task,
            MIGRATION_ID,
            task,
            1,
            (TOPICS[task],),
            GROUPS[task],
            staying,
            tasks_max,
            is_remote=True,
            leaving=leaving,
        )
        write_task_file(path, spec, _cluster(folder, stage, Role.SOURCE), _cluster(folder, stage, Role.TARGET))


def want_another_version(folder: Path, task: str) -> None:
    """Let the task file name another version of the distribution; its workers stay."""
    path = folder / "tasks" / f"{task}.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    archive = another_version(Path(document["kafka"]["archive"]), folder)
    document["kafka"] |= {"archive": str(archive), "sha256": hash_file(archive)}
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def complete(folder: Path) -> None:
    """End the producer; all its records must be on the target, in order. Says how many came again."""
    ask(folder, "end the traffic")
    stage, topic = _stage(folder), TOPICS[NUMBERED]
    confirmed = {int(number): count for number, count in json.loads((folder / CONFIRMED).read_text()).items()}

    def copies() -> dict[int, list[int]]:
        return numbered_records(_client(stage, Role.TARGET), topic, PARTITIONS)

    def all_are_there() -> bool:
        return all(len(set(numbers)) >= confirmed[number] for number, numbers in copies().items())

    wait_until(all_are_there, COPY_SECONDS, f"{sum(confirmed.values())} numbered records of {topic} arrive")
    repeats = sum(repeats_of(numbers, confirmed[number]) for number, numbers in copies().items())
    total = sum(confirmed.values())
    # a killed worker copies again what it copied since its last flush; nothing here is a kill, but for a rotation:
    # while the new password is on its way, workers can't save their positions
    if not total or repeats > total / 4:
        raise SystemExit(f"Of {total} records {repeats} came again.")
    sys.stdout.write(f"{total} records arrived in order, {repeats} of them again\n")


def copied(folder: Path, topic: str) -> None:
    """Write numbered records to the source and wait until the target has every one of them."""
    stage, mark = _stage(folder), uuid.uuid4().hex
    wanted = {f"{mark} {number}" for number in range(RECORDS)}
    producer = Producer(_client(stage, Role.SOURCE))
    for value in wanted:
        producer.produce(topic, value=value.encode())
    if producer.flush(30):
        raise SystemExit("The source did not take the records.")
    consumer = Consumer({**_client(stage, Role.TARGET), "group.id": "reader", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        ends = time.monotonic() + COPY_SECONDS
        while wanted and time.monotonic() < ends:
            message = consumer.poll(1)
            if message is not None and not message.error():
                wanted.discard(bytes(message.value()).decode())
    finally:
        consumer.close()
    if wanted:
        raise SystemExit(f"{len(wanted)} of {RECORDS} records of {topic} did not arrive in {COPY_SECONDS:g} s.")


def _cluster(folder: Path, stage: Mapping[str, Any], role: Role) -> ClusterConfig:
    is_source = role is Role.SOURCE
    return ClusterConfig(
        role,
        ClusterKind.APACHE_KAFKA if is_source else ClusterKind.AUTOMQ,
        stage["bootstrap"][role.value],
        PROTOCOLS[role],
        MECHANISM,
        stage["user"],
        f"file:{folder / 'kferry.password'}",
        stage["ca"] if is_source else None,
    )


def _client(stage: Mapping[str, Any], role: Role) -> dict[str, Any]:
    config = {
        "bootstrap.servers": stage["bootstrap"][role.value],
        "security.protocol": PROTOCOLS[role],
        "sasl.mechanism": MECHANISM,
        "sasl.username": APPLICATION,
        "sasl.password": stage["password"],
    }
    return config | ({"ssl.ca.location": stage["ca"]} if role is Role.SOURCE else {})


def _stage(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
    return found


def _write_private(path: Path, text: str) -> None:
    """At once and for nobody else: who sees the file sees all of it."""
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    partial.replace(path)


def main(arguments: Sequence[str]) -> None:
    command, folder, *rest = arguments
    place = Path(folder)
    if command == "start":
        start(place, *rest)
    elif command == "serve":
        serve(place, *rest)
    elif command == "stop":
        stop(place)
    elif command == "tasks":
        pairs = (item.partition("=") for item in rest)
        write_tasks(place, {task: hosts.split(",") for task, _, hosts in pairs})
    elif command == "copied":
        copied(place, *rest)
    elif command == "rotate":
        ask(place, "rotate")
    elif command == "version":
        want_another_version(place, *rest)
    elif command == "complete":
        complete(place)
    else:
        raise SystemExit(f"unknown command {command!r}; see the module's first lines")


if __name__ == "__main__":
    main(sys.argv[1:])
