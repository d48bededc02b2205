"""Looks at a few records of each topic: their ages, their size, and whether offsets have holes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import confluent_kafka as ck

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig, Topic, TopicPartition
from kferry.kafka.reader import Handle, read_ranges
from kferry.kafka.records import message_headers

_TAIL_OFFSETS = 40
MAX_PARTITIONS_PER_TOPIC = 8
_PARTITIONS_PER_PASS = 400
_Ranges = dict[TopicPartition, tuple[int, int]]

_DENIED = "TOPIC_AUTHORIZATION_FAILED"


@dataclass(frozen=True, slots=True)
class TopicSample:
    """What a few records told. `has_transactions` is None where too little was seen to say no.

    `partitions` is how many of its partitions the timestamps are of: all of them, or only the fullest.
    """

    first_timestamp_ms: int | None = None
    last_timestamp_ms: int | None = None
    mean_record_bytes: float | None = None
    has_transactions: bool | None = None
    error: str | None = None
    partitions: int | None = None


@dataclass(slots=True)
class _Tally:
    first_ms: list[int] = field(default_factory=list)
    head_bytes: int = 0
    head_records: int = 0
    last_ms: list[int] = field(default_factory=list)
    record_bytes: int = 0
    records: int = 0
    span: int = 0
    seen_all: bool = True
    open_transaction: bool = False
    newest_of: set[int] = field(default_factory=set)  # partitions whose newest record is looked for
    told: set[int] = field(default_factory=set)  # partitions of which a record with a timestamp was seen near the end
    unseen: bool = False  # a partition may hold newer records, and is not looked into
    errors: list[str] = field(default_factory=list)


def sample_topic(cluster: ClusterConfig, topic: Topic, *, deadline_seconds: float = 20.0) -> TopicSample:
    """A sample of one topic, whose offsets must be fresh."""
    return sample_topics(cluster, [topic], deadline_seconds=deadline_seconds)[topic.name]


def sample_topics(
    cluster: ClusterConfig,
    topics: Iterable[Topic],
    *,
    deadline_seconds: float = 30.0,
    max_partitions_per_topic: int = MAX_PARTITIONS_PER_TOPIC,
    leader_of: Callable[[TopicPartition], int] = lambda _tp: 0,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, TopicSample]:
    """Samples of many topics. The deadline holds for each pass over some hundred partitions, not for all.

    Where a pass is late, its partitions are read again broker by broker, so that one that is silent hides no other.
    """
    wanted = {topic.name: topic for topic in topics}
    tallies = {name: _Tally() for name in wanted}
    heads: _Ranges = {}
    tails: _Ranges = {}
    for topic in wanted.values():
        _plan(topic, tallies[topic.name], heads, tails, max_partitions_per_topic)

    def handle_head(tp: TopicPartition, message: ck.Message) -> None:
        tally = tallies[tp.topic]
        tally.first_ms.append(message.timestamp()[1])
        tally.head_records += 1
        tally.head_bytes += _size_bytes(message)

    def handle_tail(tp: TopicPartition, message: ck.Message) -> None:
        tally = tallies[tp.topic]
        tally.records += 1
        tally.record_bytes += _size_bytes(message)
        tally.last_ms.append(message.timestamp()[1])
        if message.timestamp()[1] >= 0:
            tally.told.add(tp.partition)
        if tp not in heads:  # its tail is all of it
            tally.first_ms.append(message.timestamp()[1])

    reading = _Reading(cluster, tallies, leader_of, deadline_seconds, cancelled)
    reading.run(heads, handle_head, _forget_heads)
    reading.run(tails, handle_tail, _forget_tails)
    return {name: _result(wanted[name], tally) for name, tally in tallies.items()}


class _Reading:
    """Reads in passes, and remembers the brokers that were waited for in vain."""

    def __init__(
        self,
        cluster: ClusterConfig,
        tallies: dict[str, _Tally],
        leader_of: Callable[[TopicPartition], int],
        deadline_seconds: float,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self._cluster = cluster
        self._tallies = tallies
        self._leader_of = leader_of
        self._deadline_seconds = deadline_seconds
        self._cancelled = cancelled
        self._silent: dict[int, str] = {}

    def run(self, ranges: _Ranges, handle: Handle, forget: Callable[[_Tally], None]) -> None:
        waiting = list(_passes(ranges))
        while waiting:
            part = waiting.pop()
            leaders = {self._leader_of(tp) for tp in part}
            if leaders <= self._silent.keys():
                self._note(part, self._silent[min(leaders)])
                continue
            try:
                read_ranges(
                    self._cluster, part, handle, deadline_seconds=self._deadline_seconds, cancelled=self._cancelled
                )
            except KferryError as error:
                if self._cancelled and self._cancelled():
                    raise
                pieces = _pieces(part, self._leader_of, str(error))
                if len(pieces) > 1:
                    for tp in part:
                        forget(self._tallies[tp.topic])
                    waiting += pieces
                    continue
                if len(leaders) == 1 and error.kind is ErrorKind.TIMEOUT:
                    self._silent[min(leaders)] = str(error)
                self._note(part, str(error))

    def _note(self, part: _Ranges, error: str) -> None:
        for name in {tp.topic for tp in part}:
            self._tallies[name].errors.append(error)


def _pieces(part: _Ranges, leader_of: Callable[[TopicPartition], int], error: str) -> list[_Ranges]:
    """What to read instead of a pass that failed; one piece means that there is nothing to gain."""
    names = sorted({tp.topic for tp in part})
    if _DENIED in error:
        # one topic that may not be read hides the others of its pass: halves come down to it soon
        first = set(names[: len(names) // 2])
        halves = ({tp: part[tp] for tp in part if (tp.topic in first) is wanted} for wanted in (True, False))
        return [half for half in halves if half]
    by_leader: dict[int, _Ranges] = {}
    for tp, span in part.items():
        by_leader.setdefault(leader_of(tp), {})[tp] = span
    return list(by_leader.values())


def _forget_heads(tally: _Tally) -> None:
    tally.first_ms, tally.head_records, tally.head_bytes = [], 0, 0


def _forget_tails(tally: _Tally) -> None:
    tally.records, tally.record_bytes, tally.last_ms, tally.told = 0, 0, [], set()


def _plan(
    topic: Topic,
    tally: _Tally,
    heads: _Ranges,
    tails: _Ranges,
    max_partitions: int,
) -> None:
    filled = []
    for part in topic.partitions:
        start, end, stable = part.log_start_offset, part.end_offset, part.last_stable_offset
        if start is None or end is None:
            tally.seen_all, tally.unseen = False, True
            continue
        stop = end if stable is None else min(end, stable)
        tally.open_transaction |= stop < end
        tally.unseen |= stop < end  # what is in an open transaction is not read
        if start < stop:
            filled.append((part.partition, start, stop))
    # The fullest partitions tell most; a handful is enough.
    filled.sort(key=lambda item: item[1] - item[2])
    tally.seen_all &= len(filled) <= max_partitions
    tally.unseen |= len(filled) > max_partitions
    for number, start, stop in filled[:max_partitions]:
        tp = TopicPartition(topic.name, number)
        tally.newest_of.add(number)
        tail = max(start, stop - _TAIL_OFFSETS)
        if tail > start:
            heads[tp] = (start, min(tail, start + _TAIL_OFFSETS))
        tails[tp] = (tail, stop)
        tally.span += stop - tail
        tally.seen_all &= tail == start


def _result(topic: Topic, tally: _Tally) -> TopicSample:
    records = tally.head_records + tally.records
    transactions: bool | None = None
    if tally.open_transaction:
        transactions = True
    elif not topic.is_compacted and not tally.errors:
        if tally.records < tally.span:
            transactions = True  # without compaction only transaction markers and aborted records leave holes
        elif tally.seen_all:
            transactions = False
    return TopicSample(
        first_timestamp_ms=min((ms for ms in tally.first_ms if ms >= 0), default=None),
        last_timestamp_ms=max((ms for ms in tally.last_ms if ms >= 0), default=None),
        mean_record_bytes=(tally.head_bytes + tally.record_bytes) / records if records else None,
        has_transactions=transactions,
        error="; ".join(dict.fromkeys(tally.errors)) or None,
        partitions=_partitions(topic, tally),
    )


def _partitions(topic: Topic, tally: _Tally) -> int:
    """How many partitions the timestamps are of; all of them only where none may hold a newer record."""
    if not tally.unseen and tally.told == tally.newest_of:
        return topic.partition_count
    return min(len(tally.told), topic.partition_count - 1)


def _size_bytes(message: ck.Message) -> int:
    size = len(message.key() or b"") + len(message.value() or b"")
    for name, content in message_headers(message):
        size += len(name) + len(content or b"")
    return size


def _passes(
    ranges: _Ranges,
) -> Iterable[_Ranges]:
    """Portions that keep each topic whole: what is read again is forgotten by topic."""
    by_topic: dict[str, _Ranges] = {}
    for tp, span in ranges.items():
        by_topic.setdefault(tp.topic, {})[tp] = span
    portion: _Ranges = {}
    for spans in by_topic.values():
        if portion and len(portion) + len(spans) > _PARTITIONS_PER_PASS:
            yield portion
            portion = {}
        portion.update(spans)
    if portion:
        yield portion
