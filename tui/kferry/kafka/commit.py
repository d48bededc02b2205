"""Committed offsets written by Kafka's own protocol, with their metadata as it is.

The client library ends metadata with a zero byte, which is kept with the commit and seen by the application.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Sequence

from confluent_kafka import KafkaError

from kferry.domain.errors import KferryError
from kferry.domain.model import Broker, CommittedOffset, TopicPartition
from kferry.kafka import causes, coordinators
from kferry.kafka.broker_link import BrokerLink, Unsupported
from kferry.kafka.connection import Connection
from kferry.kafka.wire import WireError, WireReader, pack_nullable_string, pack_string

_OFFSET_COMMIT = 8
_OLDEST, _NEWEST = 2, 7  # 4.0 knows none before 2, and from 8 on they are flexible
_UNTIL_RETENTION, _SINCE_THROTTLE, _SINCE_EPOCH, _SINCE_INSTANCE = 4, 3, 6, 7
_NOT_A_MEMBER = struct.pack(">i", -1) + pack_string("")
_RETENTION_OF_THE_BROKER = struct.pack(">q", -1)
_NO_EPOCH = struct.pack(">i", -1)
_MOST_BYTES = 0x7FFF  # of a string in these versions

Answered = dict[TopicPartition, KafkaError | None]


def write_to_coordinator(
    connection: Connection, group_id: str, commits: Iterable[CommittedOffset], *, doing: str, deadline: float
) -> Answered:
    """Commit for a group without members; per partition None when written, else the error. "Not yet" is tried again.

    Partitions that are missing could not be written this way, by brokers before 0.11 or for want of a connection.
    Raises KferryError where the cluster does not tell the group's coordinator.
    """
    answered: Answered = {}
    pending: list[CommittedOffset] = []
    for commit in commits:
        if len(commit.metadata.encode("utf-8")) > _MOST_BYTES:
            answered[_partition(commit)] = KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE)
        else:
            pending.append(commit)
    looked_up = False
    while pending:
        broker: Broker | KafkaError | None = connection.coordinators.known([group_id]).get(group_id)
        if broker is None:
            looked_up = True
            broker = _look_up(connection, group_id, deadline)
        if broker is None:
            break
        if isinstance(broker, KafkaError):
            if not _again(connection, broker, deadline):
                raise causes.refused(connection.cluster, broker, doing)
            continue
        found = _ask(connection, broker, group_id, pending, deadline)
        if found is None:
            connection.coordinators.forget([group_id])
            if looked_up:
                break
            continue  # the one that was remembered is gone
        answered.update(found)
        later = {tp: error for tp, error in found.items() if error is not None and connection.passes(error)}
        if any(error.code() in coordinators.MOVED for error in later.values()):
            connection.coordinators.forget([group_id])
        pending = [commit for commit in pending if _partition(commit) in later]
        if not pending or not _again(connection, next(iter(later.values())), deadline):
            break
    return answered


def _again(connection: Connection, error: KafkaError, deadline: float) -> bool:
    """Whether it is worth another try, after a pause."""
    if not connection.passes(error) or time.monotonic() + coordinators.PAUSE_SECONDS >= deadline:
        return False
    time.sleep(coordinators.PAUSE_SECONDS)
    return True


def _look_up(connection: Connection, group_id: str, deadline: float) -> Broker | KafkaError | None:
    """The group's coordinator or the error in its place; None where no broker can be asked."""
    try:
        found, errors = coordinators.look_up(
            connection.cluster, [group_id], one_each=True, timeout_seconds=coordinators.seconds_until(deadline)
        )
    except (Unsupported, KferryError):
        return None
    connection.coordinators.remember(found)
    return KafkaError(errors[group_id]) if group_id in errors else found.get(group_id)


def _ask(
    connection: Connection, broker: Broker, group_id: str, commits: Sequence[CommittedOffset], deadline: float
) -> Answered | None:
    """What the broker says; None where it says nothing, or does not know the request."""
    try:
        with BrokerLink(connection.cluster, broker, timeout_seconds=coordinators.seconds_until(deadline)) as link:
            version = link.version(_OFFSET_COMMIT, _OLDEST, _NEWEST)
            body = pack_request(group_id, commits, version)
            answers = parse(link.ask(_OFFSET_COMMIT, version, body, flexible=False), version)
    except (Unsupported, KferryError, OSError, WireError):
        return None
    wanted = {_partition(commit) for commit in commits}
    return {tp: KafkaError(code) if code else None for tp, code in answers.items() if tp in wanted}


def _partition(commit: CommittedOffset) -> TopicPartition:
    return TopicPartition(commit.topic, commit.partition)


def pack_request(group_id: str, commits: Iterable[CommittedOffset], version: int) -> bytes:
    """An OffsetCommit request of versions 2 to 7, as of one who is no member. Empty metadata goes as Java writes it."""
    topics: dict[str, list[CommittedOffset]] = {}
    for commit in commits:
        topics.setdefault(commit.topic, []).append(commit)
    head = pack_string(group_id) + _NOT_A_MEMBER
    if version >= _SINCE_INSTANCE:
        head += pack_nullable_string(None)
    if version <= _UNTIL_RETENTION:
        head += _RETENTION_OF_THE_BROKER
    epoch = _NO_EPOCH if version >= _SINCE_EPOCH else b""
    packed = [
        pack_string(topic)
        + struct.pack(">i", len(parts))
        + b"".join(
            struct.pack(">iq", part.partition, part.offset) + epoch + pack_string(part.metadata) for part in parts
        )
        for topic, parts in topics.items()
    ]
    return head + struct.pack(">i", len(packed)) + b"".join(packed)


def parse(answer: WireReader, version: int) -> dict[TopicPartition, int]:
    """An OffsetCommit response of versions 2 to 7: by partition its error number, 0 where it was written."""
    if version >= _SINCE_THROTTLE:
        answer.int32()  # throttled for
    found: dict[TopicPartition, int] = {}
    for _ in range(answer.array_length()):
        topic = answer.string()
        for _ in range(answer.array_length()):
            partition = answer.int32()
            found[TopicPartition(topic, partition)] = answer.int16()
    return found
