"""Client quotas, for which the client library has no call: read, set, and taken away where there were none before."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kferry.domain.access import ClientQuota
from kferry.domain.model import Capability, ClusterConfig
from kferry.kafka.direct import DirectSession
from kferry.kafka.told import CLUSTER_DENIED, Told, error_words, untold
from kferry.kafka.wire import pack_nullable_string, pack_string

NEEDS = "DESCRIBE_CONFIGS on the cluster"
NEEDS_TO_CHANGE = "ALTER_CONFIGS on the cluster"

_DESCRIBE, _ALTER = 48, 49
_PER_CALL = 200


@dataclass(frozen=True, slots=True)
class QuotaChange:
    """One limit of one entity; `value` None takes the limit away."""

    entity: tuple[tuple[str, str | None], ...]
    key: str
    value: float | None

    @classmethod
    def of(cls, entity: Mapping[str, str | None], key: str, value: float | None) -> QuotaChange:
        return cls(tuple(sorted(entity.items())), key, value)


def read(cluster: ClusterConfig, *, timeout_seconds: float = 30.0) -> Told[tuple[ClientQuota, ...]]:
    """All client quotas. Brokers before 2.6 do not tell them this way."""
    with DirectSession(cluster, timeout_seconds=timeout_seconds) as session:
        return read_through(session)


def read_through(session: DirectSession) -> Told[tuple[ClientQuota, ...]]:
    """As `read`, on a connection that is open already."""
    if not session.speaks(_DESCRIBE, 0):
        return Told(None, Capability.UNSUPPORTED, "the brokers tell client quotas from 2.6 on")
    answer = session.call(_DESCRIBE, 0, struct.pack(">ib", 0, 0))  # no filter, not strict: all of them
    answer.int32()  # throttled for
    error, message = answer.int16(), answer.nullable_string()
    if error:
        return untold(error, message, NEEDS)
    found = []
    for _ in range(answer.array_length()):
        entity = {answer.string(): answer.nullable_string() for _ in range(answer.array_length())}
        limits = {answer.string(): answer.float64() for _ in range(answer.array_length())}
        found.append(ClientQuota(entity, limits))
    found.sort(key=lambda quota: sorted((kind, name or "") for kind, name in quota.entity.items()))
    return Told(tuple(found), Capability.SUPPORTED)


def alter(
    cluster: ClusterConfig, changes: Sequence[QuotaChange], *, check_only: bool = False, timeout_seconds: float = 60.0
) -> dict[QuotaChange, str | None]:
    """Change limits; per change None, or why it was refused. What is not named stays as it is."""
    by_entity: dict[tuple[tuple[str, str | None], ...], list[QuotaChange]] = {}
    for change in changes:
        by_entity.setdefault(change.entity, []).append(change)
    entities = list(by_entity)
    result: dict[QuotaChange, str | None] = {}
    with DirectSession(cluster, timeout_seconds=timeout_seconds) as session:
        if entities and not session.speaks(_ALTER, 0):
            return dict.fromkeys(changes, "the brokers take client quotas from 2.6 on")
        for start in range(0, len(entities), _PER_CALL):
            chunk = entities[start : start + _PER_CALL]
            body = struct.pack(">i", len(chunk))
            body += b"".join(_packed(entity, by_entity[entity]) for entity in chunk)
            answer = session.call(_ALTER, 0, body + struct.pack(">b", check_only))
            answer.int32()
            for _ in range(answer.array_length()):
                error, message = answer.int16(), answer.nullable_string()
                pairs = [(answer.string(), answer.nullable_string()) for _ in range(answer.array_length())]
                for change in by_entity.get(tuple(sorted(pairs)), ()):
                    result[change] = _refusal(error, message)
    return {change: result.get(change, "the brokers did not answer to it") for change in changes}


def _packed(entity: tuple[tuple[str, str | None], ...], changes: Sequence[QuotaChange]) -> bytes:
    packed = struct.pack(">i", len(entity))
    for kind, name in entity:
        packed += pack_string(kind) + pack_nullable_string(name)
    packed += struct.pack(">i", len(changes))
    for change in changes:
        packed += pack_string(change.key) + struct.pack(">db", change.value or 0.0, change.value is None)
    return packed


def _refusal(error: int, message: str | None) -> str | None:
    if not error:
        return None
    words = error_words(error, message)
    return f"{words}: {NEEDS_TO_CHANGE} is missing" if error == CLUSTER_DENIED else words
