"""rotate.yml with certificates: brokers that know clients by theirs only, and workers on real hosts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)

from kferry.domain.model import ClusterConfig, ClusterKind
from kferry.domain.model import Role as End
from kferry.engine import pem
from support.certificates import CertificateAuthority
from support.secured_brokers import SecuredBrokers
from support.ssh_fleet import ROOT, SECRETS, Fleet, main_pid, remove_all, rest, shown
from support.test_hosts import TestHost
from support.waiting import wait_until

pytestmark = [pytest.mark.hosts, pytest.mark.wide, pytest.mark.timeout(1500)]

ONLY = ("-e", "kferry_task=shop")
OLD, NEW = "rotating-old", "rotating-new"
KEPT = f"{ROOT}/tasks/shop/secrets.properties"
RESOURCES = ((ResourceType.TOPIC, "*"), (ResourceType.GROUP, "*"), (ResourceType.BROKER, "kafka-cluster"))


def clusters(brokers: SecuredBrokers) -> tuple[ClusterConfig, ClusterConfig]:
    """Both ends by their listeners for certificates; where PEM files lie is the business of who runs the play."""
    source, target = (
        ClusterConfig(
            End(broker.role),
            ClusterKind.APACHE_KAFKA if broker.role == "source" else ClusterKind.AUTOMQ,
            broker.listener("SSL"),
            security_protocol="SSL",
            ssl_ca="ca.pem",
            ssl_certificate="client.pem",
            ssl_key="file:key.pem",
        )
        for broker in brokers.both
    )
    return source, target


def handed_over(certificate: Path, key: Path, *authorities: Path) -> dict[str, str]:
    """What kferry hands to a play: the PEM texts, made fit for Java as its engine does."""
    bundle = "".join(path.read_text(encoding="ascii") for path in authorities)
    texts = {
        "CA": pem.certificates(bundle, "the CA"),
        "CERTIFICATE": pem.certificates(certificate.read_text(encoding="ascii"), "the certificate"),
        "KEY": pem.private_key(key.read_text(encoding="ascii"), "the key"),
    }
    return SECRETS | {f"KFERRY_SECRET_{end.name}_{name}": text for end in End for name, text in texts.items()}


def body(path: Path) -> str:
    """A line of a PEM file that no other file has."""
    return path.read_text(encoding="ascii").splitlines()[2]


def is_moving(brokers: SecuredBrokers, hosts: list[TestHost]) -> None:
    """Each worker says that the connector runs, and what it writes arrives from now on."""
    (name,) = rest(hosts[0], "shop")
    for host in hosts:
        status = rest(host, "shop", f"/connectors/{name}/status")
        assert [task["state"] for task in status["tasks"]] == ["RUNNING"], status
    heartbeats = TopicPartition("heartbeats", 0)

    def written() -> int:
        asked = brokers.target.admin_client().list_offsets({heartbeats: OffsetSpec.latest()})
        return int(asked[heartbeats].result(15).offset)

    before = written()
    wait_until(lambda: written() > before, 90, "a heartbeat arrives")


def revoke(brokers: SecuredBrokers, user: str) -> None:
    every = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, f"User:{user}", None, AclOperation.ANY, AclPermissionType.ANY
    )
    for broker in brokers.both:
        for future in broker.admin_client().delete_acls([every]).values():
            future.result(15)


@pytest.fixture
def certified(fleet: Fleet, hosts: list[TestHost], secured_brokers: SecuredBrokers) -> Iterator[dict[str, str]]:
    """Task shop on both hosts with the certificate of OLD; yields what its plays were handed."""
    for host in hosts:
        remove_all(host)
    for broker in secured_brokers.both:
        for user in (OLD, NEW):
            for resource, name in RESOURCES:
                broker.allow(user, resource, name, AclOperation.ALL)
    fleet.use(hosts)
    fleet.write("shop", hosts, clusters=clusters(secured_brokers))
    given = handed_over(*secured_brokers.client_certificate(OLD), secured_brokers.ca_path)
    for playbook in ("workers", "task"):
        outcome = fleet.play(playbook, *ONLY, env=given)
        assert outcome.rc == 0, outcome.output
    yield given
    for host in hosts:
        remove_all(host)
    (fleet.root / "tasks" / "shop.json").unlink()


def test_certificates_and_authorities_are_rotated_one_worker_at_a_time(
    fleet: Fleet,
    hosts: list[TestHost],
    secured_brokers: SecuredBrokers,
    certified: dict[str, str],
    tmp_path: Path,
) -> None:
    other = CertificateAuthority(tmp_path, "another CA")
    before = {host.name: main_pid(host, f"shop-{host.name}") for host in hosts}
    is_moving(secured_brokers, hosts)

    # one that the brokers don't take: whichever worker comes first fails with it, the other one is left as it was
    foreign = handed_over(*other.for_client(NEW), secured_brokers.ca_path)
    refused = fleet.play("rotate", *ONLY, "-e", "kafka_connect_start_timeout_seconds=60", env=foreign)
    assert refused.rc != 0 and len(refused.failed) == 1, refused.output
    assert "SslAuthenticationException" in refused.output, refused.output
    (untouched,) = (host for host in hosts if host.name not in refused.failed)
    (failed,) = (host for host in hosts if host.name in refused.failed)
    assert main_pid(untouched, f"shop-{untouched.name}") == before[untouched.name]
    assert certified["KFERRY_SECRET_TARGET_CERTIFICATE"].splitlines()[2] in untouched.exec(["cat", KEPT]).stdout
    assert certified["KFERRY_SECRET_TARGET_KEY"].splitlines()[1] not in refused.output

    certificate, key = secured_brokers.client_certificate(NEW)
    rotated = fleet.play("rotate", *ONLY, env=handed_over(certificate, key, other.path, secured_brokers.ca_path))
    assert rotated.rc == 0, rotated.output
    for host in hosts:
        assert main_pid(host, f"shop-{host.name}") not in ("0", before[host.name])
        assert host.exec(["stat", "-c", "%a %U", KEPT]).stdout.split() == ["600", "kferry-shop"]
        kept = host.exec(["cat", KEPT]).stdout
        assert all(body(path) in kept for path in (certificate, key, other.path, secured_brokers.ca_path))
        assert certified["KFERRY_SECRET_TARGET_CERTIFICATE"].splitlines()[2] not in kept
        assert body(key) not in rotated.output
    # the failed one is mended first; the hosts share a kernel, and so its monotonic clock
    mended = int(shown(failed, f"shop-{failed.name}", "ActiveEnterTimestampMonotonic"))
    assert 0 < mended < int(shown(untouched, f"shop-{untouched.name}", "ActiveExitTimestampMonotonic"))

    # they are the new user by now: the old one may be shut out
    revoke(secured_brokers, OLD)
    is_moving(secured_brokers, hosts)
    again = fleet.play("rotate", *ONLY)
    assert (again.rc, again.changed) == (0, 0), again.output
