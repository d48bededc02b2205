"""The least rights on real brokers: granted by the engine, enough for a migration, and each one shown to be needed."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import confluent_kafka as ck
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException
from confluent_kafka.admin import AclOperation, NewTopic, ResourceType

from kferry.domain import acls as rules
from kferry.domain import connectors, holds
from kferry.domain.acls import AclRule
from kferry.domain.errors import KferryError
from kferry.domain.model import (
    Batch,
    Capability,
    ClusterConfig,
    ClusterKind,
    CommittedOffset,
    Plan,
    Role,
    TaskSpec,
    TlsNameWaiver,
    TopicPartition,
    WorkerSpec,
)
from kferry.domain.runbook import Operation, OperationKind, OperationStatus
from kferry.engine import granting
from kferry.engine import secrets as play_secrets
from kferry.engine.clusters import Clusters
from kferry.engine.context import StepContext
from kferry.engine.ledger import Ledger
from kferry.engine.operations.acls import GrantRights
from kferry.kafka import acls, rights
from kferry.kafka.acls import Grant
from kferry.kafka.admin import ClusterAdmin, NewTopicSpec
from kferry.kafka.offset_syncs import read_offset_syncs
from kferry.kafka.scan import scan
from kferry.store import schema
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.plan_file import write_plan
from kferry.store.settings_file import load_settings
from support.broker import java_command, kafka_class_path
from support.connect_worker import ConnectWorker, properties_text, running_worker
from support.forwarder import forwarded
from support.secured_brokers import SecuredBrokers
from support.waiting import free_port, wait_until

pytestmark = pytest.mark.lab

# Everything that quotes, templates, providers of configs and line ends could stumble over.
HOSTILE = "pa\"ss'\\word ${file:/etc/hostname:x} {{ 1 }} $(id) ;#=:,\t ü€ end"
MIGRATION = "sec001"
TOPICS = ("shop.orders", "device-heartbeats")
GROUPS = ("billing", "it's; a {{ group }} --x")
PARTITIONS = 2
RECORDS = 50
MOVER = "mover"  # as the target knows the holder of the client certificate
PRINCIPALS = {Role.SOURCE: "User:kferry", Role.TARGET: f"User:{MOVER}"}
SETTLED_SECONDS = 20.0


@dataclass
class World:
    """Two brokers with data on the source, a migration directory, and kferry's parts that grant."""

    brokers: SecuredBrokers
    services: Any
    journal: Journal
    configs: dict[Role, ClusterConfig]

    def context(self, role: Role) -> StepContext:
        args = {"cluster": role.value, "principal": PRINCIPALS[role]}
        operation = Operation(
            f"grant-{role.value}", OperationKind.APPLY_ACLS, role.value, args, OperationStatus.RUNNING, ()
        )
        return StepContext(self.services, {operation.operation_id: operation}, operation.operation_id, "grant")

    def grants(self, role: Role) -> list[Grant]:
        return granting.needed_grants(self.services, role, PRINCIPALS[role])

    def measured(self, role: Role, rule: AclRule) -> bool | None:
        with ClusterAdmin(self.configs[role]) as admin:
            return rights.measure(admin.connection, [rule])[rule]


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as context:
        yield context


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Iterator[World]:
    home = tmp_path_factory.mktemp("least")
    patch.setenv("KFERRY_TEST_HOSTILE", HOSTILE)
    patch.setenv("KFERRY_TEST_GRANTER", "grant-it")
    with SecuredBrokers(home / "brokers", users={}) as brokers:
        for name, password in {"kferry": HOSTILE, "granter": "grant-it"}.items():
            brokers.add_user(name, password)
        for broker in brokers.both:
            operations = (AclOperation.ALTER, AclOperation.DESCRIBE)
            broker.allow("granter", ResourceType.BROKER, "kafka-cluster", *operations)
        _fill(brokers)
        layout = _migration(home / "migration", brokers)
        clusters, journal = Clusters(layout), Journal(layout.journal)
        services = SimpleNamespace(
            layout=layout,
            journal=journal,
            clusters=clusters,
            tasks=SimpleNamespace(all=list),
            ledger=Ledger(journal, clusters),
            settings=lambda: load_settings(layout),
        )
        certificate, key = brokers.client_certificate(MOVER)
        configs = {
            Role.SOURCE: dataclasses.replace(clusters.config(Role.SOURCE), admin_username=None),
            # the target is reached with a certificate: workers get it through the file of secrets
            Role.TARGET: ClusterConfig(
                Role.TARGET,
                ClusterKind.APACHE_KAFKA,
                brokers.target.listener("SSL"),
                security_protocol="SSL",
                ssl_ca=str(brokers.ca_path),
                ssl_certificate=str(certificate),
                ssl_key=str(key),
            ),
        }
        yield World(brokers, services, journal, configs)
        clusters.close()
        journal.close()


def _migration(root: Path, brokers: SecuredBrokers) -> Layout:
    layout = Layout(root)
    root.mkdir()
    layout.prepare()
    schema.upgrade(layout.journal)
    layout.settings.write_text(f"schema: 1\nmigration_id: {MIGRATION}\nname: least\n")
    write_plan(layout, Plan("scan", (Batch("shop", TOPICS, GROUPS),)))
    layout.clusters.parent.mkdir(parents=True, exist_ok=True)
    lines = ["kferry_clusters:"]
    for broker in brokers.both:
        lines += [
            f"  {broker.role}:",
            "    kind: apache_kafka",
            f"    bootstrap_servers: {broker.listener('SASL_SSL')}",
            "    security_protocol: SASL_SSL",
            "    sasl_mechanism: SCRAM-SHA-512",
            "    sasl_username: kferry",
            "    sasl_password: env:KFERRY_TEST_HOSTILE",
            f"    ssl_ca: {brokers.ca_path}",
            "    admin_username: granter",
            "    admin_password: env:KFERRY_TEST_GRANTER",
        ]
    layout.clusters.write_text("\n".join(lines) + "\n")
    return layout


def _fill(brokers: SecuredBrokers) -> None:
    """Topics with records, and groups that have read some of them; by the brokers' own admin."""
    admin = brokers.admin_client("source")
    for future in admin.create_topics([NewTopic(name, PARTITIONS) for name in TOPICS]).values():
        future.result(20)
    brokers.add_user("writer", "write-it", "source")
    for name in TOPICS:
        brokers.source.allow("writer", ResourceType.TOPIC, name, AclOperation.WRITE)
    producer = ck.Producer(brokers.source.client_config("SASL_SSL", user="writer", password="write-it"))
    for name in TOPICS:
        for number in range(RECORDS):
            producer.produce(name, key=b"%d" % number, value=b"v%d" % number, partition=number % PARTITIONS)
    assert producer.flush(30) == 0
    parts = [ck.TopicPartition(TOPICS[0], number, 10) for number in range(PARTITIONS)]

    def committed(group: str) -> bool:
        try:
            futures = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, parts)])
            return all(part.error is None for part in futures[group].result(20).topic_partitions)
        except KafkaException:
            return False  # the coordinator of a fresh cluster is not there at once

    for group in GROUPS:
        wait_until(lambda group=group: committed(group), SETTLED_SECONDS, f"offsets of {group}")


@pytest.mark.parametrize("role", list(Role))
def test_without_rights_kferry_is_told_so(world: World, role: Role) -> None:
    with ClusterAdmin(world.configs[role]) as admin:
        assert admin.topic_names(include_internal=True) == ()
        wanted = [grant.rule for grant in world.grants(role)]
        assert set(rights.measure(admin.connection, wanted).values()) <= {False, None}
        assert rights.measure(admin.connection, wanted)[wanted[0]] is False


@pytest.mark.parametrize("role", list(Role))
def test_the_engine_grants_each_right_once(world: World, role: Role) -> None:
    ctx, step = world.context(role), GrantRights()
    before = step.check(ctx)
    assert not before.holds and before.evidence["there"] == 0
    step.act(ctx)
    wait_until(lambda: step.check(ctx).holds, SETTLED_SECONDS, "the ACLs are there")
    rows = [row for row in world.journal.changes(status="applied") if row.scope == role.value]
    assert {row.resource for row in rows} == {"acl"}
    assert len(rows) == len(world.grants(role))
    step.act(ctx)  # again: nothing is left to do
    assert len([row for row in world.journal.changes() if row.scope == role.value]) == len(rows)


def test_who_may_not_grant_is_told_so(world: World) -> None:
    config = dataclasses.replace(world.configs[Role.SOURCE], admin_username=None)
    with ClusterAdmin(config) as admin, pytest.raises(KferryError) as caught:
        acls.create(admin.connection, world.grants(Role.SOURCE)[:2])
    assert "does not let kferry grant rights" in caught.value.title
    assert "admin_username" in caught.value.next_step


def test_the_source_can_be_scanned(world: World) -> None:
    found = scan(world.configs[Role.SOURCE])
    assert [topic.name for topic in found.topics] == sorted(TOPICS)
    assert not any(topic.error for topic in found.topics)
    assert all(topic.mean_record_bytes for topic in found.topics)
    assert {group.group_id: len(group.committed) for group in found.groups} == dict.fromkeys(GROUPS, PARTITIONS)
    assert found.cluster.broker_configs
    assert found.cluster.capabilities["transactional_ids"] is Capability.DENIED  # the one optional right


@pytest.fixture(scope="module")
def spec() -> TaskSpec:
    worker = WorkerSpec("shop-1", "local", "127.0.0.1", free_port(), 384 << 20)
    return TaskSpec("shop", MIGRATION, "shop", 1, TOPICS, GROUPS, (worker,), 2)


def test_a_task_replicates_and_offsets_are_written(world: World, spec: TaskSpec, tmp_path: Path) -> None:
    source, target = world.configs[Role.SOURCE], world.configs[Role.TARGET]
    with ClusterAdmin(target) as admin:
        made = [NewTopicSpec(name, PARTITIONS) for name in TOPICS]
        made.append(NewTopicSpec(spec.offset_syncs_topic, 1, configs=holds.offset_syncs_configs()))
        assert set(admin.create_topics(made).values()) == {None}
        wait_until(lambda: _described(admin, [item.name for item in made]), SETTLED_SECONDS, "topics are described")
        admin.alter_topic_configs(TOPICS[0], {"retention.ms": "-1"})
        with _worker(world, spec, tmp_path) as worker:
            secrets_file = str(tmp_path / "tasks" / "shop" / "secrets.properties")
            names = _start_connectors(worker, connectors.connectors(spec, source, target, secrets_file))
            tps = [TopicPartition(name, number) for name in TOPICS for number in range(PARTITIONS)]
            wanted = dict.fromkeys(tps, RECORDS // PARTITIONS)
            wait_until(lambda: admin.offsets(tps, "end") == wanted, 60, "everything is copied")
            wait_until(lambda: all(admin.committed(group) for group in GROUPS), 60, "MirrorMaker writes group offsets")
            for name in names:
                assert set(worker.states(name)) == {"RUNNING"}, worker.log_text()[-3000:]
            _host_names_are_checked_but_for_a_waiver(world, spec, worker, secrets_file)
            _iam_reaches_the_handshake(world, spec, worker, secrets_file)
        assert read_offset_syncs(target, spec.offset_syncs_topic)
        exact = CommittedOffset(TOPICS[0], 0, 7)
        assert admin.write_committed(GROUPS[1], [exact]) == {TopicPartition(TOPICS[0], 0): None}
        assert exact in admin.committed(GROUPS[1])
        assert admin.delete_group(GROUPS[1])
        admin.create_partitions(TOPICS[0], PARTITIONS + 1)
        assert admin.topics([TOPICS[0]])[TOPICS[0]].configs["retention.ms"] == "-1"
    with ClusterAdmin(source) as admin:  # the way back of a cutover
        assert admin.write_committed(GROUPS[0], [exact]) == {TopicPartition(TOPICS[0], 0): None}


def _described(admin: ClusterAdmin, names: list[str]) -> bool:
    try:
        return len(admin.topic_configs(names)) == len(names)
    except KferryError:
        return False


def _worker(world: World, spec: TaskSpec, home: Path) -> Any:
    source, target = world.configs[Role.SOURCE], world.configs[Role.TARGET]
    secrets_file = home / "tasks" / "shop" / "secrets.properties"
    properties = connectors.worker_properties(
        spec, spec.workers[0], source, target, str(secrets_file), offset_flush_interval_ms=1000
    )
    jars = sorted(Path(kafka_class_path().rstrip("*")).parent.glob("extras/msk-iam/*.jar"))
    return running_worker(home / "shop-1", properties, secrets_file, _values(world, spec), extra_jars=jars)


def _values(world: World, spec: TaskSpec) -> dict[str, str]:
    """What a play writes into the file of secrets."""
    clusters: Any = SimpleNamespace(config=world.configs.__getitem__)
    environment = play_secrets.play_environment(clusters, spec)
    assert set(environment) == {
        f"KFERRY_SECRET_{name}"
        for name in ("SOURCE_JAAS", "SOURCE_CA", "TARGET_CA", "TARGET_KEY", "TARGET_CERTIFICATE")
    }
    return {key.removeprefix("KFERRY_SECRET_").lower(): value for key, value in environment.items()}


def _start_connectors(worker: ConnectWorker, wanted: list[dict[str, Any]]) -> list[str]:
    for item in wanted:
        quick = {key: "1" for key in item["config"] if key.endswith("interval.seconds")}
        worker.put(item["name"], item["config"] | quick)
    return [item["name"] for item in wanted]


def _host_names_are_checked_but_for_a_waiver(
    world: World, spec: TaskSpec, worker: ConnectWorker, secrets_file: str
) -> None:
    """The source under a name that its certificate does not carry."""
    with forwarded(world.configs[Role.SOURCE].bootstrap_servers, "127.0.0.2") as elsewhere:
        source = dataclasses.replace(world.configs[Role.SOURCE], bootstrap_servers=elsewhere)
        waiver = TlsNameWaiver("2999-12-31", 32_503_680_000_000, "no names in the certificate")
        waived = dataclasses.replace(source, tls_name_waiver=waiver)
        other = dataclasses.replace(spec, name="waiver", topics=TOPICS[:1])
        worker.put("waived", connectors.source_config(other, waived, world.configs[Role.TARGET], secrets_file))
        wait_until(lambda: worker.states("waived")[1:2] == ["RUNNING"], 30, "a waived name is passed")
        assert "No subject alternative names" not in worker.log_text()
        worker.put("checked", connectors.source_config(other, source, world.configs[Role.TARGET], secrets_file))
        refused = "No subject alternative names matching IP address 127.0.0.2 found"
        wait_until(lambda: refused in worker.log_text(), 30, "a wrong name is refused")


def _iam_reaches_the_handshake(world: World, spec: TaskSpec, worker: ConnectWorker, secrets_file: str) -> None:
    """These brokers do not offer the mechanism: that they say so proves that jar, class and JAAS line are right."""
    iam = dataclasses.replace(
        world.configs[Role.SOURCE],
        sasl_mechanism="AWS_MSK_IAM",
        sasl_username=None,
        sasl_password=None,
        aws_role_arn="arn:aws:iam::123456789012:role/kferry-{task}",
        aws_region="eu-west-1",
    )
    if not list(Path(kafka_class_path().rstrip("*")).parent.glob("extras/msk-iam/*.jar")):
        pytest.skip("this Kafka distribution has no jar for MSK IAM")
    values = _values(world, spec) | {"source_jaas": play_secrets.iam_jaas(iam, spec)}
    Path(secrets_file).write_text(properties_text(values))
    config = connectors.source_config(spec, iam, world.configs[Role.TARGET], secrets_file)
    worker.put("iam", config)
    wait_until(lambda: "UnsupportedSaslMechanismException" in worker.log_text(), 30, "the brokers refuse AWS_MSK_IAM")
    assert "ClassNotFound" not in worker.log_text()
    key = "source.cluster.sasl.client.callback.handler.class"
    worker.put("bogus", config | {key: "no.such.Handler"})  # what a wrong class looks like
    wait_until(lambda: worker.states("bogus")[:1] == ["FAILED"], 30, "a class that there is not")
    assert "no.such.Handler could not be found" in worker.status("bogus")["connector"]["trace"]


def test_the_commands_do_the_same_as_the_engine(world: World, tmp_path: Path) -> None:
    """kafka-acls itself is given the lines as a shell would split them; the names are hostile ones."""
    broker = world.brokers.source
    settings = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required username=granter password=grant-it;"
        ),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(world.brokers.ca_path),
    }
    (tmp_path / "admin.properties").write_text(properties_text(settings))
    principal = "User:CN=it's $(me),O=x"
    wanted = [rule for rule in rules.plan(Role.SOURCE, MIGRATION, [], ["--x; a 'b' ${c}"]) if not rule.is_optional]
    wanted += [rule for rule in rules.plan(Role.TARGET, MIGRATION, [], []) if rule.is_prefixed][:1]
    wanted = rules.least(wanted)
    for line in rules.commands(wanted, principal, broker.listener("SASL_SSL")):
        _program, *arguments = shlex.split(line)
        done = subprocess.run(
            [java_command(), "-Xmx128m", "-cp", kafka_class_path(), "kafka.admin.AclCommand", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    with granting.as_admin(world.services.clusters.config(Role.SOURCE)) as admin:
        there = acls.granted(admin.connection, [Grant(principal, rule) for rule in wanted])
    assert len(there) == 3 and all(there.values()), there


@pytest.mark.parametrize("role", list(Role))
def test_each_right_that_is_taken_away_is_named(world: World, role: Role) -> None:
    grants = world.grants(role)
    with ClusterAdmin(world.configs[role]) as admin:
        before = rights.measure(admin.connection, [grant.rule for grant in grants])
    assert [rule.words for rule, allowed in before.items() if allowed is not True] == []
    with granting.as_admin(world.services.clusters.config(role)) as admin:
        for grant in grants:
            assert acls.delete(admin.connection, grant)
            wait_until(lambda grant=grant: world.measured(role, grant.rule) is False, 10, grant.rule.words)
            acls.create(admin.connection, [grant])
        for grant in grants:
            wait_until(lambda grant=grant: world.measured(role, grant.rule) is True, 10, grant.rule.words)


def test_undo_takes_back_what_was_granted_and_nothing_else(world: World) -> None:
    kept = Grant("User:somebody", world.grants(Role.SOURCE)[0].rule)
    with granting.as_admin(world.services.clusters.config(Role.SOURCE)) as admin:
        acls.create(admin.connection, [kept])
    step = GrantRights()
    for role in Role:
        taken = step.undo(world.context(role))
        assert taken == {"taken_back": len(world.grants(role)), "kept": []}
        wait_until(lambda role=role: step.check(world.context(role)).evidence["there"] == 0, SETTLED_SECONDS, "gone")
    assert {row.status for row in world.journal.changes()} == {"undone"}
    with granting.as_admin(world.services.clusters.config(Role.SOURCE)) as admin:
        assert acls.granted(admin.connection, [kept])[kept]
