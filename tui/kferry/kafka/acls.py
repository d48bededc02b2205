"""ACLs of a cluster: read, made and taken away. Who does this needs ALTER on the cluster itself."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import KafkaError
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from kferry.domain.acls import AclRule, Resource
from kferry.domain.errors import ErrorKind, KferryError
from kferry.kafka import causes
from kferry.kafka.connection import Connection

_ACLS_PER_CALL = 100
_KINDS = {Resource.TOPIC: ResourceType.TOPIC, Resource.GROUP: ResourceType.GROUP, Resource.CLUSTER: ResourceType.BROKER}


@dataclass(frozen=True, slots=True)
class Grant:
    """A rule given to a principal, from any host."""

    principal: str
    rule: AclRule


def granted(connection: Connection, grants: Iterable[Grant], *, timeout_seconds: float = 30.0) -> dict[Grant, bool]:
    """Whether each of these very ACLs is there.

    A cluster answers with nothing both where there is none and where it may not be asked: False is no proof, True is.
    """
    wanted = list(dict.fromkeys(grants))
    result: dict[Grant, bool] = {}
    there: dict[str, set[tuple[object, ...]]] = {}
    for principal in dict.fromkeys(grant.principal for grant in wanted):
        there[principal] = {_identity(found) for found in _describe(connection, principal, timeout_seconds)}
    for grant in wanted:
        result[grant] = _identity(_binding(grant)) in there[grant.principal]
    return result


def _describe(connection: Connection, principal: str, timeout_seconds: float) -> list[AclBinding]:
    wanted = AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]
        ResourcePatternType.ANY,
        principal,
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )

    def start(left_seconds: float) -> Future[list[AclBinding]]:
        return connection.client.describe_acls(wanted, request_timeout=left_seconds)

    return connection.ask(start, doing="read the ACLs of", timeout_seconds=timeout_seconds)


def create(connection: Connection, grants: Iterable[Grant], *, timeout_seconds: float = 30.0) -> None:
    """Make ACLs; one that is there already stays. Raises KferryError naming the first that was refused."""
    bindings = {_binding(grant): grant for grant in grants}

    def start(chunk: list[AclBinding], left_seconds: float) -> dict[AclBinding, Future[None]]:
        return connection.client.create_acls(chunk, request_timeout=left_seconds)

    _done, errors = connection.ask_many(
        start, bindings, doing="make ACLs in", timeout_seconds=timeout_seconds, wave=_ACLS_PER_CALL
    )
    for binding, error in errors.items():
        raise _refused(connection, error, f"{bindings[binding].rule.words} for {bindings[binding].principal}")


def delete(connection: Connection, grant: Grant, *, timeout_seconds: float = 30.0) -> bool:
    """Take one ACL away, and no other; False if there was none."""
    binding = _binding(grant)
    wanted = AclBindingFilter(
        binding.restype,
        binding.name,
        binding.resource_pattern_type,
        binding.principal,
        binding.host,
        binding.operation,
        binding.permission_type,
    )

    def start(left_seconds: float) -> Future[list[AclBinding]]:
        futures = connection.client.delete_acls([wanted], request_timeout=left_seconds)
        return next(iter(futures.values()))

    results, errors = connection.ask_many(
        lambda _keys, left_seconds: {"": start(left_seconds)},
        [""],
        doing="delete an ACL of",
        timeout_seconds=timeout_seconds,
    )
    if errors:
        raise _refused(connection, errors[""], f"{grant.rule.words} for {grant.principal}")
    return bool(results[""])


def _binding(grant: Grant) -> AclBinding:
    rule = grant.rule
    return AclBinding(
        _KINDS[rule.resource],
        rule.name,
        ResourcePatternType.PREFIXED if rule.is_prefixed else ResourcePatternType.LITERAL,
        grant.principal,
        "*",
        AclOperation[rule.operation],
        AclPermissionType.ALLOW if rule.allows else AclPermissionType.DENY,
    )


def _identity(binding: AclBinding) -> tuple[object, ...]:
    return (
        binding.restype,
        binding.name,
        binding.resource_pattern_type,
        binding.principal,
        binding.host,
        binding.operation,
        binding.permission_type,
    )


def _refused(connection: Connection, error: KafkaError, what: str) -> KferryError:
    role = connection.cluster.role.value
    if error.code() == KafkaError.SECURITY_DISABLED:
        return KferryError(
            f"The {role} cluster has no ACLs.",
            cause="Its brokers run without an authorizer: whoever reaches them may do everything.",
            next_step="Nothing has to be granted. If it should, set authorizer.class.name on the brokers.",
            kind=ErrorKind.NOT_READY,
        )
    if "AUTHORIZATION_FAILED" in error.name():
        return KferryError(
            f"The {role} cluster does not let kferry grant rights: {what}.",
            cause="The principal lacks ALTER on the cluster.",
            next_step=(
                f"Set admin_username and admin_password of kferry_clusters.{role} in clusters.yml to an account "
                "that may, or hand the commands to the cluster's owner."
            ),
            kind=ErrorKind.CONNECT,
        )
    return KferryError(
        f"The {role} cluster refused the ACL {what}.",
        cause=f"It answered {causes.error_words(error)}.",
        next_step="See the brokers' log for the reason, then retry.",
    )
