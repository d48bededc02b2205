"""Every ACL of a cluster, whatever its resource and pattern: read, made and taken away one by one.

Asked directly, because the client library answers "none" both where there are none and where they may not be read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from kferry.domain.access import AclEntry
from kferry.domain.model import Capability, ClusterConfig
from kferry.kafka.direct import DirectSession
from kferry.kafka.told import CLUSTER_DENIED, SECURITY_DISABLED, Told, error_words, untold
from kferry.kafka.wire import WireReader, pack_nullable_string, pack_string

NEEDS = "DESCRIBE on the cluster"
NEEDS_TO_CHANGE = "ALTER on the cluster"

_DESCRIBE, _CREATE, _DELETE = 29, 30, 31
_ANY = 1
_PER_CALL = 500

RESOURCES = {2: "topic", 3: "group", 4: "cluster", 5: "transactional_id", 6: "delegation_token", 7: "user"}
PATTERNS = {3: "literal", 4: "prefixed"}
OPERATIONS = {
    2: "all", 3: "read", 4: "write", 5: "create", 6: "delete", 7: "alter", 8: "describe", 9: "cluster_action",
    10: "describe_configs", 11: "alter_configs", 12: "idempotent_write", 13: "create_tokens", 14: "describe_tokens",
}  # fmt: skip
PERMISSIONS = {2: "deny", 3: "allow"}
_CODES = {word: code for table in (RESOURCES, PATTERNS, OPERATIONS, PERMISSIONS) for code, word in table.items()}


def read(cluster: ClusterConfig, *, timeout_seconds: float = 30.0) -> Told[tuple[AclEntry, ...]]:
    """All ACLs, sorted. A cluster without an authorizer is UNSUPPORTED; one that denies the question says so."""
    with DirectSession(cluster, timeout_seconds=timeout_seconds) as session:
        return read_through(session)


def read_through(session: DirectSession) -> Told[tuple[AclEntry, ...]]:
    """As `read`, on a connection that is open already."""
    # brokers before 2.0 know no patterns: every name is literal there, and the request has no field for it
    version = 1 if session.speaks(_DESCRIBE, 1) else 0
    if not session.speaks(_DESCRIBE, version):
        return Told(None, Capability.UNSUPPORTED, "the brokers do not know this request")
    any_pattern = struct.pack(">b", _ANY) if version else b""
    body = struct.pack(">b", _ANY) + pack_nullable_string(None) + any_pattern
    body += pack_nullable_string(None) * 2 + struct.pack(">bb", _ANY, _ANY)
    answer = session.call(_DESCRIBE, version, body)
    answer.int32()  # throttled for
    error, message = answer.int16(), answer.nullable_string()
    if error == SECURITY_DISABLED:
        return Told((), Capability.UNSUPPORTED, error_words(error))  # there are none, and none can be made
    if error:
        return untold(error, message, NEEDS)
    found: list[AclEntry] = []
    for _ in range(answer.array_length()):
        resource, name = answer.int8(), answer.string()
        pattern = answer.int8() if version else 3
        for _ in range(answer.array_length()):
            principal, host = answer.string(), answer.string()
            found.append(_entry(resource, name, pattern, principal, host, answer.int8(), answer.int8()))
    return Told(tuple(sorted(found)), Capability.SUPPORTED)


def create(
    cluster: ClusterConfig, entries: Sequence[AclEntry], *, timeout_seconds: float = 60.0
) -> dict[AclEntry, str | None]:
    """Make ACLs, one that is there already stays; per ACL None, or why it was refused."""
    result: dict[AclEntry, str | None] = {}
    with DirectSession(cluster, timeout_seconds=timeout_seconds) as session:
        for chunk in _chunks(entries):
            body = struct.pack(">i", len(chunk)) + b"".join(_packed(entry) for entry in chunk)
            answer = session.call(_CREATE, 1, body)
            answer.int32()
            errors = [(answer.int16(), answer.nullable_string()) for _ in range(answer.array_length())]
            for entry, (error, message) in zip(chunk, errors, strict=False):
                result[entry] = _refusal(error, message)
    return {entry: result.get(entry, "the brokers did not answer to it") for entry in entries}


def delete(cluster: ClusterConfig, entry: AclEntry, *, timeout_seconds: float = 30.0) -> str | None:
    """Take away this very ACL and no other; None, or why it was refused. One that is gone is as wanted."""
    with DirectSession(cluster, timeout_seconds=timeout_seconds) as session:
        answer = session.call(_DELETE, 1, struct.pack(">i", 1) + _packed(entry))
        answer.int32()
        for _ in range(answer.array_length()):
            error, message = answer.int16(), answer.nullable_string()
            if error:
                return _refusal(error, message)
            for _ in range(answer.array_length()):
                error, message = answer.int16(), answer.nullable_string()
                _skip_entry(answer)
                if error:
                    return _refusal(error, message)
    return None


def _packed(entry: AclEntry) -> bytes:
    """An ACL as CreateAcls carries it; as a filter of DeleteAcls the same bytes match this ACL alone."""
    return (
        struct.pack(">b", _CODES[entry.resource])
        + pack_string(entry.name)
        + struct.pack(">b", _CODES[entry.pattern])
        + pack_string(entry.principal)
        + pack_string(entry.host)
        + struct.pack(">bb", _CODES[entry.operation], _CODES[entry.permission])
    )


def _entry(
    resource: int, name: str, pattern: int, principal: str, host: str, operation: int, permission: int
) -> AclEntry:
    return AclEntry(
        principal=principal,
        host=host,
        resource=RESOURCES.get(resource, f"resource {resource}"),
        name=name,
        pattern=PATTERNS.get(pattern, f"pattern {pattern}"),
        operation=OPERATIONS.get(operation, f"operation {operation}"),
        permission=PERMISSIONS.get(permission, f"permission {permission}"),
    )


def _skip_entry(answer: WireReader) -> None:
    answer.int8()
    answer.string()
    answer.int8()
    answer.string()
    answer.string()
    answer.int8()
    answer.int8()


def _refusal(error: int, message: str | None) -> str | None:
    if not error:
        return None
    words = error_words(error, message)
    return f"{words}: {NEEDS_TO_CHANGE} is missing" if error == CLUSTER_DENIED else words


def _chunks(entries: Iterable[AclEntry]) -> Iterable[list[AclEntry]]:
    items = list(entries)
    for start in range(0, len(items), _PER_CALL):
        yield items[start : start + _PER_CALL]
