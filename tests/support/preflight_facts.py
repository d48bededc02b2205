"""Short ways to write the facts that preflight judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kferry.domain.acls import AclRule
from kferry.domain.acls import plan as acl_plan
from kferry.domain.model import (
    ClusterConfig,
    ClusterKind,
    Role,
    Scan,
    TlsNameWaiver,
    Topic,
    WorkerHost,
)
from kferry.domain.planning import plan_batches
from kferry.domain.preflight import PreflightFacts
from support.scans import DAY_MS, NOW_MS, group, scan, topic

HOST = WorkerHost("local-1", "127.0.0.1", True, 8 * 2**30, 20 * 2**30, "17.0.2")
LIMIT = {"retention.ms": "60000"}
LONGER = {"retention.ms": "240000"}
BIG = {"max.message.bytes": "10485760"}
SMALL = {"max.message.bytes": "1000"}


def facts(source: Scan | None = None, target: Scan | None = None, **fields: object) -> PreflightFacts:
    made = PreflightFacts(
        now_ms=NOW_MS,
        source=source or scan([topic("a.x")], [group("g", ["a.x"])]),
        target=target or scan(role=Role.TARGET),
        hosts=(HOST,),
        copy_bytes_per_second=20e6,
        rights={Role.TARGET: ("CREATE", "DESCRIBE")},
    )
    return replace(made, **fields)  # type: ignore[arg-type]


TLS = ClusterConfig(Role.SOURCE, ClusterKind.OTHER, "b:9093", "SSL", ssl_ca="/ca.pem")
IAM = replace(TLS, kind=ClusterKind.MSK, security_protocol="SASL_SSL", sasl_mechanism="AWS_MSK_IAM")


def waived(until_ms: int) -> ClusterConfig:
    return replace(TLS, tls_name_waiver=TlsNameWaiver("2026-12-31", until_ms, "no names in it"))


def granted(role: Role, changed: dict[str, bool | None]) -> dict[Role, dict[AclRule, bool | None]]:
    """Everything is granted but these operations."""
    return {role: {rule: changed.get(rule.operation, True) for rule in acl_plan(role, "abc123", ["a.x"], ["g"])}}


def source(*topics: Topic, **fields: object) -> PreflightFacts:
    return facts(scan(topics), **fields)


def target(*topics: Topic, **fields: object) -> PreflightFacts:
    return facts(target=scan(topics, role=Role.TARGET), **fields)


def groups(*found: object, **fields: object) -> PreflightFacts:
    return facts(scan([topic("a.x"), topic("a.y")], found), **fields)  # type: ignore[arg-type]


def cluster(role: Role, **fields: object) -> PreflightFacts:
    made = scan([topic("a.x")] if role is Role.SOURCE else [], role=role, **fields)  # type: ignore[arg-type]
    return facts(made) if role is Role.SOURCE else facts(target=made)


def planned(found: Scan, edit: Callable = lambda plan: plan, **fields: object) -> PreflightFacts:  # type: ignore[type-arg]
    return facts(found, plan=edit(plan_batches(found)), **fields)


def with_settings(made: PreflightFacts, **values: object) -> PreflightFacts:
    return replace(made, settings=replace(made.settings, **values))  # type: ignore[arg-type]


def hosts(**fields: object) -> PreflightFacts:
    return facts(hosts=(replace(HOST, **fields),))  # type: ignore[arg-type]


def remote(*usable: bool | None) -> PreflightFacts:
    """Machines w1, w2, ... reached over SSH, as the fleet check judged them."""
    reasons = ("no sudo",)
    made = [
        replace(HOST, name=f"w{number}", is_local=False, usable=one, reasons=() if one else reasons)
        for number, one in enumerate(usable, start=1)
    ]
    return facts(hosts=tuple(made))


OLD = {"first_timestamp_ms": NOW_MS - 30 * DAY_MS}
INTERNAL = scan([topic("a.x"), topic("b.internal")], [group("g", ["a.x", "b.internal"])])
TWO_TX = scan([topic("a.x", has_transactions=True), topic("b.y", has_transactions=True)], transactional_ids=None)
