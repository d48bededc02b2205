"""ACLs, quotas and SCRAM users on real secured brokers: plan, apply, drift, undo; and what a probe proves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import confluent_kafka as ck
import pytest
from confluent_kafka.admin import AclOperation, NewTopic, OffsetSpec, ResourceType

from kferry.domain.access import AclEntry, ScramUser
from kferry.domain.access_items import AccessPlan, Action, What
from kferry.domain.errors import KferryError
from kferry.domain.model import Batch, Capability, ClusterConfig, ClusterKind, Plan, Role
from kferry.domain.runbook import Operation, OperationKind, OperationStatus
from kferry.engine import access, dryrun
from kferry.engine.clusters import Clusters
from kferry.engine.context import StepContext
from kferry.engine.ledger import Ledger
from kferry.engine.operations import access as _steps  # noqa: F401 - registers the steps
from kferry.engine.steps import STEPS, Check
from kferry.kafka import acl_entries, quotas, scram_users
from kferry.kafka.quotas import QuotaChange
from kferry.store import schema
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.plan_file import write_plan
from kferry.store.settings_file import load_settings
from support.broker import running_broker
from support.engine_run import EngineRun
from support.secured_brokers import SecuredBroker, SecuredBrokers
from support.waiting import wait_until

pytestmark = pytest.mark.lab

SETTLED_SECONDS = 20.0
TOPIC, PREFIXED, GROUP = "shop.orders", "shop.items", "bill'ing; {{ x }}"
NEW_PASSWORD = 'p"a,=s\\s'  # all that quoting could stumble over
PLAIN_USER = "shop-app"
ACCESS_YML = """
schema: 1
principals:
  map: {User:app: User:shop-app}
users:
  shop-app: {password: env:KFERRY_TEST_NEW, mechanisms: [SCRAM-SHA-512]}
probes:
- {principal: User:app, cluster: source, sasl_username: app, sasl_password: env:KFERRY_TEST_APP}
"""
ON_SOURCE = (
    AclEntry("User:app", "*", "topic", TOPIC, "literal", "read", "allow"),
    AclEntry("User:app", "*", "topic", "shop.", "prefixed", "describe_configs", "allow"),
    AclEntry("User:app", "*", "topic", PREFIXED, "literal", "write", "allow"),
    AclEntry("User:app", "10.9.9.9", "topic", TOPIC, "literal", "read", "deny"),
    AclEntry("User:app", "*", "group", GROUP, "literal", "read", "allow"),
    AclEntry("User:app", "*", "transactional_id", "shop-", "prefixed", "all", "allow"),
    AclEntry("User:app", "*", "cluster", "kafka-cluster", "literal", "idempotent_write", "allow"),
    AclEntry("User:other", "*", "topic", "hr.people", "literal", "read", "allow"),
)


@dataclass
class World:
    brokers: SecuredBrokers
    services: Any
    journal: Journal

    @property
    def target(self) -> ClusterConfig:
        config: ClusterConfig = self.services.clusters.config(Role.TARGET)
        return config

    def plan(self) -> AccessPlan:
        return access.make_plan(self.services)

    def run(self, kind: OperationKind, name: str, **args: object) -> Check:
        """One step as the engine's runner does it: look, act if need be, look until it holds."""
        operation = Operation(f"op-{kind.value}", kind, "", args, OperationStatus.RUNNING, ())
        ctx = StepContext(self.services, {operation.operation_id: operation}, operation.operation_id, name)
        step = STEPS[kind, name]
        seen = None if step.acts_always else step.check(ctx)
        if not (isinstance(seen, Check) and seen.holds):
            step.act(ctx)
        last: list[Check] = []

        def holds() -> bool:
            found = step.check(ctx)
            assert isinstance(found, Check)
            last[:] = [found]
            return found.holds

        wait_until(holds, SETTLED_SECONDS, f"{kind.value} {name} holds")
        return last[0]

    def apply(self, *what: str) -> None:
        for name in ("scram_users", "quotas", "acls"):
            self.run(OperationKind.APPLY_ACCESS, name, what=list(what))

    def probe(self, cluster: Role, principal: str) -> dict[tuple[str, str, str], dict[str, Any]]:
        self.run(OperationKind.PROBE_PRINCIPAL, "ask", cluster=cluster.value, principal=principal)
        rows = json.loads(self.journal.document("probe", f"{cluster.value} {principal}") or "[]")
        return {(row["resource"], row["name"], row["operation"]): row for row in rows}


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as context:
        yield context


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Iterator[World]:
    home = tmp_path_factory.mktemp("access")
    for name, value in {
        "NEW": NEW_PASSWORD,
        "APP": "app-it",
        "KFERRY": "kferry-it",
        "GRANTER": "grant-it",
        "LOOKER": "look-it",
    }.items():
        patch.setenv(f"KFERRY_TEST_{name}", value)
    with SecuredBrokers(home / "brokers", users={}) as brokers:
        brokers.add_user("kferry", "kferry-it")
        brokers.add_user("granter", "grant-it")
        brokers.add_user("app", "app-it", "source")
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
        yield World(brokers, services, journal)
        clusters.close()
        journal.close()


def _fill(brokers: SecuredBrokers) -> None:
    """Topics on both sides, records and rights on the source: by the brokers' own admin."""
    for broker in brokers.both:
        admin = broker.admin_client()
        for future in admin.create_topics([NewTopic(name, 2) for name in (TOPIC, PREFIXED, "hr.people")]).values():
            future.result(20)
        rights = (AclOperation.ALTER, AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS, AclOperation.ALTER_CONFIGS)
        broker.allow("granter", ResourceType.BROKER, "kafka-cluster", *rights)
    granter = login(brokers.source, "granter", "env:KFERRY_TEST_GRANTER", brokers)
    assert set(acl_entries.create(granter, ON_SOURCE).values()) == {None}
    limits = [
        QuotaChange.of({"user": "app"}, "producer_byte_rate", 1_000_000),
        QuotaChange.of({"user": "app", "client-id": "c"}, "request_percentage", 12.5),
        QuotaChange.of({"client-id": None}, "consumer_byte_rate", 2_000_000),
    ]
    assert set(quotas.alter(granter, limits).values()) == {None}
    producer = ck.Producer(brokers.source.client_config("SASL_SSL", user="app", password="app-it"))
    producer.produce(PREFIXED, b"v" * 40, partition=0)
    assert producer.flush(30) == 0


def login(broker: SecuredBroker, user: str, reference: str, brokers: SecuredBrokers) -> ClusterConfig:
    return ClusterConfig(
        Role(broker.role),
        ClusterKind.APACHE_KAFKA,
        broker.listener("SASL_SSL"),
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username=user,
        sasl_password=reference,
        ssl_ca=str(brokers.ca_path),
    )


def _migration(root: Path, brokers: SecuredBrokers) -> Layout:
    layout = Layout(root)
    root.mkdir()
    layout.prepare()
    schema.upgrade(layout.journal)
    layout.settings.write_text("schema: 1\nmigration_id: acc001\nname: access\n")
    write_plan(layout, Plan("scan", (Batch("shop", (TOPIC, PREFIXED), (GROUP,)),)))
    (root / "access.yml").write_text(ACCESS_YML)
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
            "    sasl_password: env:KFERRY_TEST_KFERRY",
            f"    ssl_ca: {brokers.ca_path}",
            "    admin_username: granter",
            "    admin_password: env:KFERRY_TEST_GRANTER",
        ]
    layout.clusters.write_text("\n".join(lines) + "\n")
    return layout


# The tests follow each other, as an operator would go.


def test_the_plan_names_every_kind_and_changes_nothing(world: World) -> None:
    plan = world.plan()
    counts = plan.counts()
    assert counts["acls"]["create"] == len(ON_SOURCE) - 1
    assert counts["quotas"] == {"create": 3, "present": 0, "drift": 0, "skipped": 0}
    assert [item.user and (item.user.name, item.user.mechanism) for item in plan.to_create([What.SCRAM_USERS])] == [
        (PLAIN_USER, "SCRAM-SHA-512")
    ]
    assert {item.subject for item in plan.to_create([What.ACLS])} == {f"User:{PLAIN_USER}"}
    skipped = {item.reason for item in plan.items if item.action is Action.SKIPPED}
    assert any("hr.people covers nothing" in reason for reason in skipped)
    assert any("kferry's own" in reason for reason in skipped)
    dry = dryrun.plan(world.services, OperationKind.APPLY_ACCESS, "", {"what": ["acls"]})
    assert {change["action"] for change in dry["changes"]} == {"create"}
    granter = login(world.brokers.target, "granter", "env:KFERRY_TEST_GRANTER", world.brokers)
    assert {entry.principal for entry in acl_entries.read(granter).value or ()} == {"User:granter"}


def test_what_the_account_may_not_ask_is_denied_by_name_and_not_taken_for_none(world: World) -> None:
    told: list[Any] = [module.read(world.target) for module in (acl_entries, quotas, scram_users)]
    assert [answer.value for answer in told] == [None] * 3
    assert {answer.capability for answer in told} == {Capability.DENIED}
    assert [answer.grant for answer in told] == [
        "DESCRIBE on the cluster", "DESCRIBE_CONFIGS on the cluster", "DESCRIBE on the cluster"
    ]  # fmt: skip


def test_without_rights_nothing_is_planned_and_the_missing_right_is_named(world: World) -> None:
    """The account is kferry's own, without an admin: what the target has is unknown, so nothing is made."""
    clusters = world.services.clusters
    weak = replace(clusters.config(Role.TARGET), admin_username=None, admin_password=None)
    configs = {Role.SOURCE: clusters.config(Role.SOURCE), Role.TARGET: weak}
    world.services.clusters = SimpleNamespace(config=configs.__getitem__, admin=clusters.admin)
    try:
        plan = world.plan()
    finally:
        world.services.clusters = clusters
    assert plan.to_create() == ()
    assert any("DESCRIBE on the cluster is missing" in words for words in plan.warnings)


def test_what_the_target_refuses_is_said_and_the_ledger_offers_nothing_to_undo(world: World) -> None:
    """An account that may look and not change."""
    world.brokers.add_user("looker", "look-it", "target")
    rights = (AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS)
    world.brokers.target.allow("looker", ResourceType.BROKER, "kafka-cluster", *rights)
    text = world.services.layout.clusters.read_text()
    head, target = text.split("  target:")
    world.services.layout.clusters.write_text(
        f"{head}  target:{target.replace('granter', 'looker').replace('KFERRY_TEST_GRANTER', 'KFERRY_TEST_LOOKER')}"
    )
    try:
        for name in ("scram_users", "quotas", "acls"):
            with pytest.raises(KferryError) as caught:
                world.run(OperationKind.APPLY_ACCESS, name, what=[])
            assert "The target refused" in caught.value.title
            assert "on the cluster is missing" in caught.value.title
    finally:
        world.services.layout.clusters.write_text(text)
    assert world.journal.changes(status="applied") == []


def test_applied_once_all_is_present_and_applied_twice_nothing_happens(world: World) -> None:
    world.apply("acls", "quotas", "scram_users")
    plan = world.plan()
    assert plan.to_create() == ()
    counts = plan.counts()
    assert counts["acls"]["present"] == len(ON_SOURCE) - 1
    assert counts["quotas"]["present"] == 3
    assert counts["scram_users"]["present"] == 1
    assert counts["acls"]["drift"] == counts["quotas"]["drift"] == 0
    lines = len(world.journal.changes(status="applied"))
    assert lines == len(ON_SOURCE) - 1 + 3 + 1
    world.apply("acls", "quotas", "scram_users")
    assert len(world.journal.changes(status="applied")) == lines


def test_the_probe_proves_what_is_allowed_and_what_is_denied(world: World) -> None:
    """As the new user, with its new password; nothing is written, committed or made by asking."""
    admin = world.brokers.target.admin_client()
    before = (_ends(admin), sorted(admin.list_topics().topics), sorted(_groups(admin)))
    found = world.probe(Role.TARGET, f"User:{PLAIN_USER}")
    assert all(row["is_proven"] for row in found.values()), found
    allowed = {key for key, row in found.items() if row["allowed"]}
    assert ("topic", TOPIC, "read") in allowed
    assert ("topic", PREFIXED, "write") in allowed
    assert ("topic", PREFIXED, "describe_configs") in allowed
    assert ("group", GROUP, "read") in allowed
    assert ("transactional_id", "shop-kferry-probe", "write") in allowed
    assert ("cluster", "kafka-cluster", "idempotent_write") in allowed
    denied = {key for key, row in found.items() if row["allowed"] is False}
    assert denied == {("topic", TOPIC, "write"), ("topic", PREFIXED, "read")}
    assert not any(row["is_missing"] or row["is_more"] for row in found.values())
    assert before == (_ends(admin), sorted(admin.list_topics().topics), sorted(_groups(admin)))


def test_the_source_is_probed_with_a_login_of_access_yml(world: World) -> None:
    found = world.probe(Role.SOURCE, "User:app")
    assert found["topic", TOPIC, "read"]["is_proven"]
    assert found["topic", TOPIC, "read"]["allowed"] is True
    assert found["topic", PREFIXED, "read"]["allowed"] is False


def test_the_holder_of_a_certificate_is_probed_on_its_own_listener(world: World) -> None:
    """Mutual TLS on the source, where clusters.yml itself logs in by SCRAM."""
    certificate, key = world.brokers.client_certificate("mtls")
    world.brokers.source.allow("mtls", ResourceType.TOPIC, TOPIC, AclOperation.WRITE)
    file = world.services.layout.root / "access.yml"
    file.write_text(
        f"{ACCESS_YML}- principal: User:mtls\n  security_protocol: SSL\n"
        f"  bootstrap_servers: {world.brokers.source.listener('SSL')}\n"
        f"  ssl_certificate: {certificate}\n  ssl_key: {key}\n"
    )
    try:
        found = world.probe(Role.SOURCE, "User:mtls")
    finally:
        file.write_text(ACCESS_YML)
    assert found["topic", TOPIC, "write"]["allowed"] is True
    assert found["topic", TOPIC, "read"]["allowed"] is False
    assert all(row["is_proven"] for row in found.values())


def test_without_a_login_it_is_computed_and_says_so(world: World) -> None:
    world.services.layout.root.joinpath("access.yml").write_text(
        "schema: 1\nprincipals:\n  map: {User:app: User:shop-app}\n"
    )
    try:
        found = world.probe(Role.TARGET, f"User:{PLAIN_USER}")
    finally:
        world.services.layout.root.joinpath("access.yml").write_text(ACCESS_YML)
    assert not any(row["is_proven"] for row in found.values())
    assert found["group", GROUP, "read"]["allowed"] is True
    assert found["topic", TOPIC, "write"]["allowed"] is False
    assert all("not proven" in row["words"] for row in found.values())


def test_drift_is_shown_and_left_alone_and_a_lost_right_is_found(world: World) -> None:
    granter = login(world.brokers.target, "granter", "env:KFERRY_TEST_GRANTER", world.brokers)
    extra = AclEntry(f"User:{PLAIN_USER}", "*", "topic", TOPIC, "literal", "delete", "allow")
    lost = AclEntry(f"User:{PLAIN_USER}", "*", "group", GROUP, "literal", "read", "allow")
    limit = QuotaChange.of({"user": PLAIN_USER}, "producer_byte_rate", 77)
    assert acl_entries.create(granter, [extra]) == {extra: None}
    assert acl_entries.delete(granter, lost) is None
    assert quotas.alter(granter, [limit]) == {limit: None}

    def drifted() -> bool:
        found = [item for item in world.plan().items if item.action is Action.DRIFT]
        return [item.acl for item in found if item.acl] == [extra] and [i.before for i in found if i.quota] == ["77"]

    wait_until(drifted, SETTLED_SECONDS, "the drift is seen")
    wait_until(
        lambda: world.probe(Role.TARGET, f"User:{PLAIN_USER}")["group", GROUP, "read"]["is_missing"],
        SETTLED_SECONDS,
        "the probe proves that the right is gone",
    )
    world.apply("acls", "quotas", "scram_users")
    assert drifted(), "what drifted stays as it is"
    assert lost in (acl_entries.read(granter).value or ())
    assert acl_entries.delete(granter, extra) is None


def test_each_change_can_be_undone_and_what_others_changed_is_not(world: World) -> None:
    rows = world.journal.changes(status="applied")
    refused = []
    for row in rows:
        try:
            world.services.ledger.undo(row)
        except KferryError as error:
            refused.append((row.name, str(error)))
    assert [name for name, _ in refused] == [f"user {PLAIN_USER}"]
    assert "is 77 by now, not 1000000" in refused[0][1]
    granter = login(world.brokers.target, "granter", "env:KFERRY_TEST_GRANTER", world.brokers)

    def gone() -> bool:
        acls = {entry.principal for entry in acl_entries.read(granter).value or ()}
        limits = [dict(quota.entity) for quota in quotas.read(granter).value or ()]
        users = {user.name for user in scram_users.read(granter).value or ()}
        return f"User:{PLAIN_USER}" not in acls and limits == [{"user": PLAIN_USER}] and PLAIN_USER not in users

    wait_until(gone, SETTLED_SECONDS, "all that was made is taken back")
    assert world.probe(Role.SOURCE, "User:app"), "the source was never touched"
    on_source = acl_entries.read(login(world.brokers.source, "granter", "env:KFERRY_TEST_GRANTER", world.brokers))
    assert set(ON_SOURCE) <= set(on_source.value or ())


def test_a_wrong_password_is_said_and_is_no_denial(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFERRY_TEST_APP", "wrong")
    with pytest.raises(KferryError) as caught:
        world.probe(Role.SOURCE, "User:app")
    assert "refuses the login" in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_users_are_read_as_another_tool_wrote_them(world: World) -> None:
    told = scram_users.read(login(world.brokers.source, "granter", "env:KFERRY_TEST_GRANTER", world.brokers))
    assert ScramUser("app", ("SCRAM-SHA-256", "SCRAM-SHA-512"), 4096) in (told.value or ())


def test_brokers_without_an_authorizer_say_so(tmp_path: Path) -> None:
    with running_broker(tmp_path / "open") as broker:
        open_cluster = ClusterConfig(Role.TARGET, ClusterKind.AUTOMQ, broker.bootstrap_servers)
        told = acl_entries.read(open_cluster)
        assert (told.value, told.capability) == ((), Capability.UNSUPPORTED)
        refused = acl_entries.create(open_cluster, ON_SOURCE[:1])
        assert "authorizer" in (refused[ON_SOURCE[0]] or "")
        assert quotas.read(open_cluster).value == ()
        assert scram_users.read(open_cluster).value == ()


def _ends(admin: Any) -> list[int]:
    wanted = {ck.TopicPartition(name, part): OffsetSpec.latest() for name in (TOPIC, PREFIXED) for part in range(2)}
    return [future.result(15).offset for future in admin.list_offsets(wanted).values()]


def _groups(admin: Any) -> list[str]:
    return [group.group_id for group in admin.list_consumer_groups().result(15).valid]


# ---- the whole way: command line, engine, brokers -------------------------------------------------------------------


def kferry(world: World, *words: str, expect: int = 0, **variables: str) -> str:
    """A command as an operator types it; its stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "kferry", "-C", str(world.services.layout.root), "access", *words],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **variables},
        check=False,
    )
    assert done.returncode == expect, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_from_the_command_line_through_an_engine_that_dies_in_between(world: World) -> None:
    run = EngineRun(world.services.layout.root)
    try:
        found = json.loads(kferry(world, "plan", "-o", "json", KFERRY_KILL_AT="acls:acted"))
        created = [item for item in found["items"] if item["what"] == "acls" and item["action"] == "create"]
        assert sum(item["subject"] == f"User:{PLAIN_USER}" for item in created) == len(ON_SOURCE) - 1
        commands = kferry(world, "export")
        assert "--transactional-id=shop-" in commands
        assert NEW_PASSWORD not in commands
        kferry(world, "apply", "--dry-run", expect=6)  # the quota that somebody else changed
        kferry(world, "apply", expect=2)  # nobody to ask
        kferry(world, "apply", "--yes", expect=1)  # the engine dies right after the ACLs were made
        assert not run.engine_lives()
        run.session.ensure_engine(30)
        last = run.session.reader.operations(kind="apply_access", limit=1)[0]
        run.done(last.operation_id)
        assert run.doubled_changes() == []
        again = json.loads(kferry(world, "plan", "-o", "json"))
        assert {kind: counts["create"] for kind, counts in again["counts"].items()} == {
            "acls": 0, "quotas": 0, "scram_users": 0
        }  # fmt: skip
        kferry(world, "plan", "--last", "--fail-on-drift", expect=6)
        rows = json.loads(kferry(world, "probe", "target", f"User:{PLAIN_USER}", "-o", "json"))
        assert all(row["is_proven"] and not row["is_missing"] for row in rows)
        applied = run.session.reader.changes(status="applied")
        assert {change.resource for change in applied} == {"acl", "quota", "scram_user"}
        one = next(change for change in applied if change.resource == "acl" and change.name == GROUP)
        run.do("undo_change", {"change_id": one.change_id})
        wait_until(lambda: _exit(world, "probe", "target", f"User:{PLAIN_USER}") == 5, SETTLED_SECONDS, "it is missing")
        journal = world.services.layout.journal.read_bytes() + world.services.layout.engine_log.read_bytes()
        assert NEW_PASSWORD.encode() not in journal
        assert run.broken_link() is None
    finally:
        run.session.stop_engine()
        run.session.close()


def _exit(world: World, *words: str) -> int:
    try:
        kferry(world, *words)
    except AssertionError:
        kferry(world, *words, expect=5)
        return 5
    return 0
