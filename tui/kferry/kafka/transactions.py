"""Transactional ids and the topics they wrote, read from the log that transaction coordinators keep.

The client library has no request for this; the log `__transaction_state` can be read by who has READ on it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import confluent_kafka as ck
from confluent_kafka import KafkaError, TopicCollection
from confluent_kafka.admin import TopicDescription

from kferry.domain.errors import KferryError
from kferry.domain.model import TopicPartition, TransactionalId
from kferry.kafka import causes, offsets
from kferry.kafka.connection import Connection
from kferry.kafka.reader import read_ranges
from kferry.kafka.wire import WireError, WireReader

TOPIC = "__transaction_state"

_STATES = (
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
)
# A busy cluster's log can be long; its tail names everything that is alive.
_MAX_OFFSETS_PER_PARTITION = 500_000


@dataclass(frozen=True, slots=True)
class LoggedTransaction:
    """One entry of the log: the state of a transactional id and the topics in its transaction."""

    state: str
    topics: frozenset[str]


@dataclass(slots=True)
class _Seen:
    state: str | None = None
    topics: set[str] = field(default_factory=set)


def read_transactional_ids(
    connection: Connection,
    *,
    deadline_seconds: float = 60.0,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[tuple[TransactionalId, ...] | None, str]:
    """The transactional ids, or None and the reason why they cannot be told.

    A finished transaction is logged without its topics, so topics come from every entry that is still retained; an
    id can have none.
    """
    try:
        described, error = _describe(connection, deadline_seconds)
        if error is not None and error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            return (), ""  # made by the first transaction: there was none
        if error is not None or described is None:
            words = causes.error_words(error) if error is not None else "no answer"
            return None, f"{TOPIC} cannot be read: {words}."
        tps = [TopicPartition(TOPIC, part.id) for part in described.partitions]
        starts = offsets.offsets(connection, tps, "start", timeout_seconds=deadline_seconds)
        ends = offsets.offsets(connection, tps, "end", timeout_seconds=deadline_seconds)
        ranges = {}
        for tp in tps:
            start, stop = offsets.known_range(connection.cluster, tp, starts[tp], ends[tp])
            ranges[tp] = (max(start, stop - _MAX_OFFSETS_PER_PARTITION), stop)
        seen: dict[str, _Seen] = {}
        read_ranges(
            connection.cluster,
            ranges,
            lambda _tp, message: _note(seen, message),
            read_committed=False,
            deadline_seconds=deadline_seconds,
            cancelled=cancelled,
        )
    except KferryError as problem:
        return None, str(problem)
    return tuple(
        TransactionalId(name, frozenset(found.topics), found.state) for name, found in sorted(seen.items())
    ), ""


def _describe(connection: Connection, timeout_seconds: float) -> tuple[TopicDescription | None, KafkaError | None]:
    def start(chunk: list[str], left_seconds: float) -> dict[str, Future[TopicDescription]]:
        return connection.client.describe_topics(TopicCollection(chunk), request_timeout=left_seconds)

    found, errors = connection.ask_many(
        start, [TOPIC], doing="read the transaction log of", timeout_seconds=timeout_seconds
    )
    return found.get(TOPIC), errors.get(TOPIC)


def _note(seen: dict[str, _Seen], message: ck.Message) -> None:
    name = parse_key(message.key())
    if name is None:
        return
    if message.value() is None:
        seen.pop(name, None)  # the id has expired
        return
    logged = parse_value(message.value())
    entry = seen.setdefault(name, _Seen())
    if logged is not None:
        entry.state = logged.state
        entry.topics |= logged.topics


def parse_key(key: bytes | None) -> str | None:
    """The transactional id of an entry; None for a key of another version."""
    if key is None:
        return None
    reader = WireReader(key)
    try:
        return reader.string() if reader.int16() == 0 else None
    except WireError:
        return None


def parse_value(value: bytes | None) -> LoggedTransaction | None:
    """State and topics of an entry (versions 0 and 1); None where it cannot be read."""
    if value is None:
        return None
    reader = WireReader(value)
    try:
        version = reader.int16()
        if version not in (0, 1):
            return None
        flexible = version == 1
        reader.int64()  # producer id
        reader.int16()  # producer epoch
        reader.int32()  # timeout
        status = reader.int8()
        topics = set()
        for _ in range(reader.compact_array_length() if flexible else reader.array_length()):
            topics.add(reader.compact_string() if flexible else reader.string())
            for _ in range(reader.compact_array_length() if flexible else reader.array_length()):
                reader.int32()
            if flexible:
                reader.tagged_fields()
    except WireError:
        return None
    state = _STATES[status] if 0 <= status < len(_STATES) else f"state {status}"
    return LoggedTransaction(state, frozenset(topics))
