"""The least rights kferry needs on both clusters, split by what they are needed for, each with its reason.

A role per purpose: `scan` looks, `replicate` copies, `write_offsets` moves the groups. `fence` is no right of kferry's:
it is what a cluster's owner may set on the source once its producers have been stopped.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig, Role

EVERYBODY = "User:*"
_HEARTBEATS = "heartbeats"
_ANY = "*"  # as a literal name it stands for every name
_CLUSTER = "kafka-cluster"  # the one name of the resource "cluster"
# What a right carries with it on the same resource.
_CARRIED = {
    "DESCRIBE": ("READ", "WRITE", "DELETE", "ALTER"),
    "DESCRIBE_CONFIGS": ("ALTER_CONFIGS",),
}


class Purpose(StrEnum):
    """What a right is needed for."""

    SCAN = "scan"
    REPLICATE = "replicate"
    WRITE_OFFSETS = "write_offsets"
    FENCE = "fence"


class Resource(StrEnum):
    """What a right is about."""

    TOPIC = "topic"
    GROUP = "group"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class AclRule:
    """One right on one cluster. `is_prefixed`: on every name that begins so. `is_optional`: kferry works without it."""

    cluster: Role
    purpose: Purpose
    resource: Resource
    name: str
    operation: str
    why: str
    is_prefixed: bool = False
    is_optional: bool = False
    allows: bool = True

    @property
    def right(self) -> tuple[Resource, str, bool, str, bool]:
        """What is granted, whatever for."""
        return (self.resource, self.name, self.is_prefixed, self.operation, self.allows)

    @property
    def words(self) -> str:
        """The right in a few words: `READ on topic shop.orders`."""
        if self.resource is Resource.CLUSTER:
            return f"{self.operation} on the cluster"
        return f"{self.operation} on {self.resource.value} {self.name}{'…' if self.is_prefixed else ''}"


def plan(cluster: Role, migration_id: str, topics: Iterable[str], groups: Iterable[str]) -> list[AclRule]:
    """Every right kferry needs on one side to move these topics and groups, by purpose. The fence is not among them.

    Raises KferryError for a group whose name would open all groups.
    """
    names, ids = sorted(set(topics)), sorted(set(groups))
    if _ANY in ids:
        raise KferryError(
            "A right on the group '*' alone cannot be given.",
            cause="In an ACL this name stands for every group.",
            next_step="Leave this group out of the plan and move it by hand.",
            kind=ErrorKind.USAGE,
        )
    if cluster is Role.SOURCE:
        return _on_source(names, ids)
    return _on_target(migration_id, names, ids)


def fence(topics: Iterable[str], principal_words: str = "applications") -> list[AclRule]:
    """What keeps producers from writing to the source after they were stopped; for everybody, set by its owner."""
    why = f"{principal_words.capitalize()} that missed the switch can no longer write to the old topic."
    return [
        AclRule(Role.SOURCE, Purpose.FENCE, Resource.TOPIC, name, "WRITE", why, allows=False)
        for name in sorted(set(topics))
    ]


def discovery(cluster: Role) -> list[AclRule]:
    """What a scan needs before there is a plan that names topics and groups: sight of all, of nothing inside them."""
    why = "To find what there is before a plan names it; take it back once the plan stands."
    rows = [(Resource.TOPIC, "DESCRIBE"), (Resource.TOPIC, "DESCRIBE_CONFIGS"), (Resource.GROUP, "DESCRIBE")]
    return [
        AclRule(cluster, Purpose.SCAN, resource, _ANY, operation, why, is_optional=True) for resource, operation in rows
    ]


def _on_source(topics: list[str], groups: list[str]) -> list[AclRule]:
    side, rules = Role.SOURCE, [_broker_defaults(Role.SOURCE)]
    for name in topics:
        rules += [
            _topic(side, Purpose.SCAN, name, "READ", "To sample records, and to verify the copy against the original."),
            _topic(side, Purpose.SCAN, name, "DESCRIBE_CONFIGS", "To make the target's topic with the same configs."),
            _topic(side, Purpose.REPLICATE, name, "READ", "MirrorMaker copies the records."),
        ]
    for group in groups:
        rules += [
            _group(side, Purpose.SCAN, group, "DESCRIBE", "To see its members and where it stands."),
            _group(side, Purpose.REPLICATE, group, "DESCRIBE", "MirrorMaker follows its progress."),
            _group(side, Purpose.WRITE_OFFSETS, group, "READ", "The way back of a cutover writes its progress here."),
        ]
    rules.append(
        AclRule(
            side,
            Purpose.SCAN,
            Resource.TOPIC,
            "__transaction_state",
            "READ",
            "To know the transactional ids; without it preflight says that they are unknown.",
            is_optional=True,
        )
    )
    return rules


def _on_target(migration_id: str, topics: list[str], groups: list[str]) -> list[AclRule]:
    side, rules = Role.TARGET, [_broker_defaults(Role.TARGET)]
    for name in topics:
        rules += [
            _topic(side, Purpose.SCAN, name, "DESCRIBE", "To see whether it is there, and with how many partitions."),
            _topic(side, Purpose.SCAN, name, "DESCRIBE_CONFIGS", "To compare its configs."),
            _topic(side, Purpose.SCAN, name, "READ", "To verify the copy, and to find exact offsets."),
            _topic(side, Purpose.REPLICATE, name, "CREATE", "The topic is made here."),
            _topic(side, Purpose.REPLICATE, name, "WRITE", "MirrorMaker writes the records."),
            _topic(side, Purpose.REPLICATE, name, "ALTER", "It grows when its original grows; else the copy stalls."),
            _topic(side, Purpose.REPLICATE, name, "ALTER_CONFIGS", "Retention is held while copying, then released."),
            _topic(side, Purpose.REPLICATE, name, "DELETE", "An aborted task takes back the empty topics it made."),
            _topic(
                side, Purpose.WRITE_OFFSETS, name, "READ", "Kafka asks for it where offsets of a group are written."
            ),
        ]
    for group in groups:
        rules += [
            _group(side, Purpose.SCAN, group, "DESCRIBE", "To see whether it is at work here already."),
            _group(side, Purpose.REPLICATE, group, "READ", "MirrorMaker keeps its progress here until the cutover."),
            _group(side, Purpose.WRITE_OFFSETS, group, "READ", "The cutover writes its exact position."),
            _group(side, Purpose.WRITE_OFFSETS, group, "DELETE", "The way back of a cutover takes its offsets away."),
        ]
    return rules + _own_names(migration_id, _HEARTBEATS in topics)


def _own_names(migration_id: str, moves_heartbeats: bool) -> list[AclRule]:
    """Rights on what kferry, Connect and MirrorMaker make for themselves on the target."""
    own, syncs = f"kferry-{migration_id}-", f"mm2-offset-syncs.kferry-{migration_id}-"
    connect = "Connect keeps its configs, offsets and states, and MirrorMaker its checkpoints, in topics named so"
    rows = [
        (Resource.TOPIC, own, "CREATE", f"{connect}: they are made at the first start."),
        (Resource.TOPIC, own, "READ", f"{connect}: workers read them when they start."),
        (Resource.TOPIC, own, "WRITE", f"{connect}: workers write them."),
        (Resource.TOPIC, own, "DELETE", f"{connect}: they go with the task."),
        (Resource.GROUP, own, "READ", "The workers of a task find each other in a group named so."),
        (Resource.TOPIC, syncs, "CREATE", "The log of which source offset became which target offset is made."),
        (Resource.TOPIC, syncs, "DESCRIBE_CONFIGS", "It is looked whether this log keeps its history."),
        (Resource.TOPIC, syncs, "WRITE", "MirrorMaker writes this log."),
        (Resource.TOPIC, syncs, "READ", "This log is read for exact offsets, by MirrorMaker too."),
        (Resource.TOPIC, syncs, "DELETE", "This log goes with the task."),
    ]
    rules = [
        AclRule(Role.TARGET, Purpose.REPLICATE, resource, name, operation, why, is_prefixed=True)
        for resource, name, operation, why in rows
    ]
    beats = [
        ("CREATE", "MirrorHeartbeat makes its topic."),
        ("WRITE", "MirrorHeartbeat writes every few seconds."),
        ("DELETE", "The topic goes with the last task."),
    ]
    if not moves_heartbeats:
        rules += [_topic(Role.TARGET, Purpose.REPLICATE, _HEARTBEATS, operation, why) for operation, why in beats]
    return rules


def _broker_defaults(cluster: Role) -> AclRule:
    why = "To know the brokers' defaults, which decide for topics that set nothing themselves."
    return AclRule(cluster, Purpose.SCAN, Resource.CLUSTER, _CLUSTER, "DESCRIBE_CONFIGS", why)


def _topic(cluster: Role, purpose: Purpose, name: str, operation: str, why: str) -> AclRule:
    return AclRule(cluster, purpose, Resource.TOPIC, name, operation, why)


def _group(cluster: Role, purpose: Purpose, name: str, operation: str, why: str) -> AclRule:
    return AclRule(cluster, purpose, Resource.GROUP, name, operation, why)


def least(rules: Iterable[AclRule]) -> list[AclRule]:
    """The rights for one principal: each once, without those that another right carries with it."""
    found = {rule.right: rule for rule in reversed(list(rules))}
    given = set(found)
    return [
        rule
        for right, rule in reversed(found.items())
        if not any((*right[:3], carrier, rule.allows) in given for carrier in _CARRIED.get(rule.operation, ()))
    ]


def default_principal(cluster: ClusterConfig) -> str | None:
    """Whom the brokers see, as far as clusters.yml tells: the user name of a SASL login."""
    name = cluster.sasl_username
    if not name or name.startswith(("env:", "file:", "command:", "vault:")):
        return None
    return f"User:{name}"


def checked_principal(text: str) -> str:
    """A principal as ACLs name it. Raises KferryError for anything else, and for everybody."""
    kind, _, name = text.partition(":")
    if not kind.isalnum() or not name.strip() or name != name.strip() or "\n" in text or name == _ANY:
        raise KferryError(
            f"{text!r} is not a principal that rights can be given to.",
            cause="It is a kind and a name; everybody (*) is never given rights.",
            next_step="Write it as the brokers log it: User:kferry, or User:CN=kferry,O=Example for a certificate.",
            kind=ErrorKind.USAGE,
        )
    return text


def commands(rules: Sequence[AclRule], principal: str, bootstrap_servers: str) -> list[str]:
    """The rights as command lines of kafka-acls for the cluster's owner; names are quoted, they may hold anything.

    Each line is given as `--option=value`, so that a name that begins with a hyphen is no option.
    """
    return [_command(rule, principal, bootstrap_servers) for rule in rules]


def _command(rule: AclRule, principal: str, bootstrap_servers: str) -> str:
    if rule.name != rule.name.strip() or not rule.name.isprintable():
        # the tool trims names, and a terminal hides characters: the right would be on another name
        return f"# {rule.words!r}: such a name cannot be given with kafka-acls; `kferry acls apply` can"
    who = ("--allow-principal", principal) if rule.allows else ("--deny-principal", EVERYBODY)
    arguments = [
        "kafka-acls.sh",
        f"--bootstrap-server={bootstrap_servers}",
        "--command-config=admin.properties",
        "--add",
        f"{who[0]}={who[1]}",
        f"--operation={_TOOL_NAMES[rule.operation]}",
    ]
    if rule.resource is Resource.CLUSTER:
        arguments.append("--cluster")
    else:
        arguments.append(f"--{rule.resource.value}={rule.name}")
        if rule.is_prefixed:
            arguments.append("--resource-pattern-type=prefixed")
    return shlex.join(arguments)


_TOOL_NAMES = {
    "READ": "Read",
    "WRITE": "Write",
    "CREATE": "Create",
    "DELETE": "Delete",
    "ALTER": "Alter",
    "DESCRIBE": "Describe",
    "DESCRIBE_CONFIGS": "DescribeConfigs",
    "ALTER_CONFIGS": "AlterConfigs",
}


def as_data(rules: Iterable[AclRule], principal: str) -> list[dict[str, object]]:
    """The rights as rows of JSON."""
    return [
        {
            "cluster": rule.cluster.value,
            "purpose": rule.purpose.value,
            "principal": principal if rule.allows else EVERYBODY,
            "permission": "ALLOW" if rule.allows else "DENY",
            "operation": rule.operation,
            "resource": rule.resource.value,
            "name": rule.name,
            "pattern": "PREFIXED" if rule.is_prefixed else "LITERAL",
            "optional": rule.is_optional,
            "why": rule.why,
        }
        for rule in rules
    ]


def as_json(rules: Iterable[AclRule], principal: str) -> str:
    """The rights as JSON text."""
    return json.dumps(as_data(rules, principal), indent=1)
