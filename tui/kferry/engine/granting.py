"""Which rights are granted to whom on a cluster, by its admin's account; and how one of them is taken back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kferry.domain import acls as rules
from kferry.domain.acls import AclRule, Purpose, Resource
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Change, ClusterConfig, Role, TaskState
from kferry.domain.security import admin_settings
from kferry.kafka import acls
from kferry.kafka.acls import Grant
from kferry.kafka.admin import ClusterAdmin

if TYPE_CHECKING:
    from kferry.engine.context import Services


def needed_rules(services: Services, role: Role) -> list[AclRule]:
    """What kferry needs on one side for the topics and groups of the plan and of living tasks, by purpose."""
    from kferry.store.plan_file import load_plan

    topics: set[str] = set()
    groups: set[str] = set()
    if services.layout.plan.exists():
        for batch in load_plan(services.layout).batches:
            topics |= set(batch.topics)
            groups |= set(batch.groups)
    for task in services.tasks.all():
        if task.state is not TaskState.DELETED:
            topics |= set(task.spec.topics)
            groups |= set(task.spec.groups)
    return rules.plan(role, services.settings().migration_id, topics, groups)


def needed_grants(services: Services, role: Role, principal: str | None) -> list[Grant]:
    """The least rights for one principal, without those that are optional. Raises KferryError without a plan."""
    if not services.layout.plan.exists():
        raise KferryError(
            "Rights cannot be granted before there is a plan.",
            cause="They are given on the topics and groups that move, not on all.",
            next_step="Run `kferry plan make`. To scan, kferry needs DESCRIBE on topics and groups.",
            kind=ErrorKind.NOT_READY,
        )
    config = services.clusters.config(role)
    who = principal or rules.default_principal(config)
    if who is None:
        raise KferryError(
            f"It is not known as whom the {role.value} cluster sees kferry.",
            cause="clusters.yml has no sasl_username in plain words.",
            next_step="Name the principal, as the brokers log it: User:CN=kferry,O=Example.",
            kind=ErrorKind.USAGE,
        )
    needed = [rule for rule in needed_rules(services, role) if not rule.is_optional]
    return [Grant(rules.checked_principal(who), rule) for rule in rules.least(needed)]


@contextmanager
def as_admin(config: ClusterConfig) -> Iterator[ClusterAdmin]:
    """A connection of the account that may grant rights; used for that and closed at once."""
    with ClusterAdmin(admin_settings(config)) as admin:
        yield admin


def change_of(role: Role, grant: Grant) -> Change:
    """A grant as a line of the change ledger; its undo names all of the ACL, so that no other can be meant."""
    rule = grant.rule
    undo: dict[str, object] = {
        "action": "delete_acl",
        "principal": grant.principal,
        "resource": rule.resource.value,
        "name": rule.name,
        "is_prefixed": rule.is_prefixed,
        "operation": rule.operation,
    }
    return Change(role, "acl", rule.name, key_of(grant), None, rule.words, undo, rule.why)


def key_of(grant: Grant) -> str:
    """What tells apart the grants on one name."""
    rule = grant.rule
    pattern = "prefixed" if rule.is_prefixed else "literal"
    return f"{rule.resource.value} {pattern} {rule.operation} {grant.principal}"


def take_back(config: ClusterConfig, undo: Mapping[str, Any]) -> None:
    """Delete the ACL that an undo names; one that is gone already is as wanted."""
    rule = AclRule(
        config.role,
        Purpose.REPLICATE,
        Resource(undo["resource"]),
        undo["name"],
        undo["operation"],
        "",
        is_prefixed=bool(undo["is_prefixed"]),
    )
    with as_admin(config) as admin:
        acls.delete(admin.connection, Grant(undo["principal"], rule))
