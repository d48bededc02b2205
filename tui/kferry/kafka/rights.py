"""Which of the rights that kferry needs its principal has, asked of the cluster itself; asking changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import KafkaError, TopicCollection
from confluent_kafka.admin import AclOperation, ConsumerGroupDescription, NewTopic, TopicDescription

from kferry.domain.acls import AclRule, Resource
from kferry.kafka import cluster, configs, topics
from kferry.kafka.connection import Connection

_PER_CALL = 200
_PROBE = "rights-probe"
_CREATABLE = (KafkaError.NO_ERROR, KafkaError.TOPIC_ALREADY_EXISTS)


@dataclass(frozen=True, slots=True)
class _Allowed:
    """What is known of one resource: the operations, or None where the cluster does not tell."""

    operations: frozenset[str] | None
    is_denied: bool = False


def measure(
    connection: Connection, rules: Iterable[AclRule], *, timeout_seconds: float = 30.0
) -> dict[AclRule, bool | None]:
    """Per rule whether it is granted; None where the cluster does not tell (old brokers, names that are not there)."""
    wanted = [rule for rule in dict.fromkeys(rules) if rule.allows]
    there = topics.topic_names(connection, include_internal=True, timeout_seconds=timeout_seconds)
    asked = {rule: _example(rule, there) for rule in wanted if rule.resource is Resource.TOPIC}
    groups = {_probe(rule) for rule in wanted if rule.resource is Resource.GROUP}
    on_topics = _topics(connection, {name for name in asked.values() if name} - {"*"}, timeout_seconds)
    on_groups = _groups(connection, groups - {"*"}, timeout_seconds)
    creatable = _creatable(
        connection,
        {_probe(rule) for rule in wanted if rule.resource is Resource.TOPIC and rule.operation == "CREATE"},
        timeout_seconds,
    )
    on_cluster = _cluster(connection, timeout_seconds)
    result: dict[AclRule, bool | None] = {}
    for rule in wanted:
        if rule.resource is Resource.CLUSTER:
            result[rule] = on_cluster.get(rule.operation)
        elif rule.resource is Resource.GROUP:
            result[rule] = _judge(on_groups.get(_probe(rule)), rule.operation)
        elif rule.operation == "CREATE" and _probe(rule) in creatable:
            result[rule] = creatable[_probe(rule)]
        else:
            result[rule] = _judge(on_topics.get(asked[rule] or ""), rule.operation)
    return result


def _example(rule: AclRule, there: Iterable[str]) -> str | None:
    """A topic to ask about: the one that is named, or the first that begins so."""
    if not rule.is_prefixed:
        return rule.name
    return next((name for name in there if name.startswith(rule.name)), None)


def _probe(rule: AclRule) -> str:
    """A name that the rule covers and that nothing has."""
    return f"{rule.name}{_PROBE}" if rule.is_prefixed else rule.name


def _judge(found: _Allowed | None, operation: str) -> bool | None:
    if found is None:
        return None
    if found.is_denied:
        return False
    return None if found.operations is None else operation in found.operations


def _cluster(connection: Connection, timeout_seconds: float) -> dict[str, bool | None]:
    """Rights on the cluster. It tells them only to who may describe it; reading a broker's configs tells one more."""
    found = cluster.rights(connection, timeout_seconds=timeout_seconds)
    if found is not None:
        return {operation.name: operation.name in found for operation in AclOperation}
    nodes = cluster.describe(connection, timeout_seconds=timeout_seconds).nodes
    seen = configs.broker_configs(connection, nodes[0].id, timeout_seconds=timeout_seconds) if nodes else None
    return {"DESCRIBE_CONFIGS": None if not nodes else seen is not None}


def _topics(connection: Connection, names: set[str], timeout_seconds: float) -> dict[str, _Allowed]:
    def start(chunk: list[str], left_seconds: float) -> dict[str, Future[TopicDescription]]:
        return connection.client.describe_topics(
            TopicCollection(chunk), include_authorized_operations=True, request_timeout=left_seconds
        )

    if not names:
        return {}
    found, errors = connection.ask_many(
        start, sorted(names), doing="read the rights on topics of", timeout_seconds=timeout_seconds, wave=_PER_CALL
    )
    return {name: _Allowed(_names(item.authorized_operations)) for name, item in found.items()} | _denied(errors)


def _groups(connection: Connection, names: set[str], timeout_seconds: float) -> dict[str, _Allowed]:
    def start(chunk: list[str], left_seconds: float) -> dict[str, Future[ConsumerGroupDescription]]:
        return connection.client.describe_consumer_groups(
            chunk, include_authorized_operations=True, request_timeout=left_seconds
        )

    if not names:
        return {}
    found, errors = connection.ask_many(
        start, sorted(names), doing="read the rights on groups of", timeout_seconds=timeout_seconds, wave=_PER_CALL
    )
    return {name: _Allowed(_names(item.authorized_operations)) for name, item in found.items()} | _denied(errors)


def _denied(errors: dict[str, KafkaError]) -> dict[str, _Allowed]:
    """Who may not even describe a thing may do nothing with it; other errors tell nothing."""
    return {name: _Allowed(None, "AUTHORIZATION_FAILED" in error.name()) for name, error in errors.items()}


def _names(operations: Iterable[object] | None) -> frozenset[str] | None:
    found = frozenset(str(getattr(operation, "name", operation)) for operation in operations or ())
    return found or None


def _creatable(connection: Connection, names: set[str], timeout_seconds: float) -> dict[str, bool]:
    """Whether topics of these names could be made, found out by requests that only validate."""

    def start(chunk: list[str], left_seconds: float) -> dict[str, Future[None]]:
        topics = [NewTopic(name, num_partitions=1, replication_factor=-1) for name in chunk]
        return connection.client.create_topics(topics, validate_only=True, request_timeout=left_seconds)

    if not names:
        return {}
    found, errors = connection.ask_many(
        start, sorted(names), doing="read the right to make topics in", timeout_seconds=timeout_seconds, wave=_PER_CALL
    )
    judged = dict.fromkeys(found, True)
    for name, error in errors.items():
        if error.code() in _CREATABLE:
            judged[name] = True
        elif "AUTHORIZATION_FAILED" in error.name():
            judged[name] = False
    return judged
