"""The committed offsets of many groups, a hundred of them per request, asked of their coordinators.

The client library takes one group per call and looks for its coordinator each time: two requests for each group.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from confluent_kafka import KafkaError

from kferry.domain.errors import KferryError
from kferry.domain.model import Broker, CommittedOffset, TopicPartition
from kferry.kafka import coordinators
from kferry.kafka.broker_calls import Answers, each_broker, in_background
from kferry.kafka.broker_link import BrokerLink, Unsupported
from kferry.kafka.connection import Connection
from kferry.kafka.wire import WireReader, pack_compact_array, pack_compact_string, pack_string, pack_uvarint

_OFFSET_FETCH = 9
_VERSION = 8  # the first that takes many groups in one request: brokers since 3.0
_VERSION_OF_ONE = 7  # the first that can tell unstable offsets: brokers since 2.5
_OLDEST, _NEWEST = 2, 5  # before that; from 6 on they are flexible
_SINCE_THROTTLE, _SINCE_EPOCH = 3, 5
_GROUPS_PER_REQUEST = 100
# topic, partition, offset, metadata, error number
_Row = tuple[str, int, int, str | None, int]
_ALL_TOPICS = pack_uvarint(0)  # a null list
_ALL_TOPICS_PLAIN = struct.pack(">i", -1)


@dataclass(frozen=True, slots=True)
class GroupOffsets:
    """What one group has committed, and the partitions of which it was not told. `count` is all of them."""

    commits: tuple[CommittedOffset, ...] = ()
    failed: tuple[tuple[TopicPartition, KafkaError], ...] = ()
    count: int = 0


@dataclass(slots=True)
class Told:
    """Offsets per group, and the error of each group as a whole."""

    offsets: dict[str, GroupOffsets] = field(default_factory=dict)
    errors: dict[str, KafkaError] = field(default_factory=dict)

    def missing(self, ids: Iterable[str]) -> list[str]:
        return [name for name in ids if name not in self.offsets and name not in self.errors]


def ask_coordinators(
    connection: Connection, ids: Iterable[str], *, stable: bool, one_each: bool = False, deadline: float
) -> Told:
    """What the coordinators say until the deadline, "not yet" being asked again.

    Groups that are missing could not be asked this way, by older brokers or for want of a connection. With `one_each`,
    brokers that take one group per request are asked so, and all of them also when it was in vain a moment ago.
    """
    told, looked_up = Told(), set[str]()
    pending = list(dict.fromkeys(ids))
    while pending:
        for name in pending:
            told.errors.pop(name, None)
        if connection.coordinators.avoided and not one_each:
            break
        by_broker = _located(connection, pending, looked_up, told, one_each, deadline)
        answers = _fetched(connection, by_broker, stable, one_each, deadline)
        lost = _sorted_in(connection, by_broker, answers, told)
        again = [name for name in lost if name not in looked_up]
        if len(again) < len(lost):
            # just looked up, and not to be talked to: the client library shall say why
            connection.coordinators.avoid()
        pending = [*again, *(name for name, error in told.errors.items() if connection.passes(error))]
        if not pending or time.monotonic() + coordinators.PAUSE_SECONDS >= deadline:
            break
        time.sleep(coordinators.PAUSE_SECONDS)
    return told


def _located(
    connection: Connection, pending: Sequence[str], looked_up: set[str], told: Told, one_each: bool, deadline: float
) -> dict[Broker, list[str]]:
    """The groups by coordinator. Those that are not remembered are looked up; refusals go into `told`."""
    places = connection.coordinators.known(pending)
    unknown = [name for name in pending if name not in places]
    if unknown:
        work = partial(
            coordinators.look_up,
            connection.cluster,
            unknown,
            one_each=one_each,
            timeout_seconds=coordinators.seconds_until(deadline),
        )
        try:
            found, refused = in_background(work, cancelled=connection.cancelled)
        except (Unsupported, KferryError):
            if connection.cancelled():
                raise
            connection.coordinators.avoid()
            found, refused = {}, {}
        connection.coordinators.remember(found)
        looked_up.update(found)
        told.errors.update({name: KafkaError(code) for name, code in refused.items()})
        places |= found
    by_broker: dict[Broker, list[str]] = {}
    for name, broker in places.items():
        by_broker.setdefault(broker, []).append(name)
    return by_broker


def _fetched(
    connection: Connection, by_broker: Mapping[Broker, Sequence[str]], stable: bool, one_each: bool, deadline: float
) -> Answers[dict[str, GroupOffsets | KafkaError]]:
    def ask(link: BrokerLink) -> dict[str, GroupOffsets | KafkaError]:
        wanted, found = by_broker[link.broker], dict[str, GroupOffsets | KafkaError]()
        version = link.version(_OFFSET_FETCH, _OLDEST if one_each else _VERSION, _VERSION)
        if version < _VERSION:
            version = version if version == _VERSION_OF_ONE else min(version, _NEWEST)
            for name in wanted:
                body = pack_one(name, version, stable=stable)
                found[name] = parse_one(link.ask(_OFFSET_FETCH, version, body, flexible=version > _NEWEST), version)
            return found
        for start in range(0, len(wanted), _GROUPS_PER_REQUEST):
            body = pack_request(wanted[start : start + _GROUPS_PER_REQUEST], stable=stable)
            found.update(parse(link.ask(_OFFSET_FETCH, version, body, flexible=True)))
        return found

    return each_broker(
        connection.cluster,
        by_broker,
        ask,
        timeout_seconds=coordinators.seconds_until(deadline),
        cancelled=connection.cancelled,
    )


def _sorted_in(
    connection: Connection,
    by_broker: Mapping[Broker, Sequence[str]],
    answers: Answers[dict[str, GroupOffsets | KafkaError]],
    told: Told,
) -> list[str]:
    """Put the answers where they belong; returns the groups whose coordinator could not be asked."""
    moved: list[str] = []
    for answered in answers.by_broker.values():
        for name, answer in answered.items():
            if isinstance(answer, GroupOffsets):
                told.offsets[name] = answer
            else:
                told.errors[name] = answer
                if answer.code() in coordinators.MOVED:
                    moved.append(name)
    lost = [name for broker, names in by_broker.items() if broker.broker_id in answers.failed for name in names]
    connection.coordinators.forget([*moved, *lost])
    return lost


def pack_request(ids: Sequence[str], *, stable: bool) -> bytes:
    """An OffsetFetch request of version 8, for all partitions of these groups."""
    groups = pack_compact_array(pack_compact_string(name) + _ALL_TOPICS + b"\0" for name in ids)
    return groups + (b"\x01" if stable else b"\0") + b"\0"


def parse(answer: WireReader) -> dict[str, GroupOffsets | KafkaError]:
    """An OffsetFetch response of version 8: by group, its offsets or the error of the group as a whole."""
    answer.int32()  # throttled for
    found: dict[str, GroupOffsets | KafkaError] = {}
    for _ in range(answer.compact_array_length()):
        group_id = answer.compact_string()
        offsets = _parse_offsets(answer)
        error = answer.int16()
        answer.tagged_fields()
        found[group_id] = KafkaError(error) if error else offsets
    return found


def _parse_offsets(answer: WireReader) -> GroupOffsets:
    rows: list[_Row] = []
    for _ in range(answer.compact_array_length()):
        topic = answer.compact_string()
        for _ in range(answer.compact_array_length()):
            partition, offset = answer.int32(), answer.int64()
            answer.int32()  # the leader's epoch: true of this cluster only, so it is nowhere kept
            metadata = answer.compact_nullable_string()
            rows.append((topic, partition, offset, metadata, answer.int16()))
            answer.tagged_fields()
        answer.tagged_fields()
    return _offsets(rows)


def _parse_plain_offsets(answer: WireReader, version: int) -> GroupOffsets:
    rows: list[_Row] = []
    for _ in range(answer.array_length()):
        topic = answer.string()
        for _ in range(answer.array_length()):
            partition, offset = answer.int32(), answer.int64()
            if version >= _SINCE_EPOCH:
                answer.int32()
            metadata = answer.nullable_string()
            rows.append((topic, partition, offset, metadata, answer.int16()))
    return _offsets(rows)


def _offsets(rows: Sequence[_Row]) -> GroupOffsets:
    commits: list[CommittedOffset] = []
    failed: list[tuple[TopicPartition, KafkaError]] = []
    for topic, partition, offset, metadata, error in rows:
        if error:
            failed.append((TopicPartition(topic, partition), KafkaError(error)))
        elif offset >= 0:  # -1: nothing committed here
            # a zero byte is where the client library ends what it writes
            commits.append(CommittedOffset(topic, partition, offset, (metadata or "").partition("\0")[0]))
    return GroupOffsets(tuple(sorted(commits)), tuple(failed), len(rows))


def pack_one(group_id: str, version: int, *, stable: bool) -> bytes:
    """An OffsetFetch request of version 7, or of versions 2 to 5: for all partitions of one group."""
    if version == _VERSION_OF_ONE:
        return pack_compact_string(group_id) + _ALL_TOPICS + (b"\x01" if stable else b"\0") + b"\0"
    return pack_string(group_id) + _ALL_TOPICS_PLAIN


def parse_one(answer: WireReader, version: int) -> GroupOffsets | KafkaError:
    """An OffsetFetch response of version 7, or of versions 2 to 5: the group's offsets, or its error."""
    if version >= _SINCE_THROTTLE:
        answer.int32()  # throttled for
    offsets = _parse_offsets(answer) if version == _VERSION_OF_ONE else _parse_plain_offsets(answer, version)
    error = answer.int16()
    return KafkaError(error) if error else offsets
