"""Who writes: producers that partition leaders know, transactions that coordinators know, and those that hang."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from kferry.domain.model import ActiveProducer, Broker, ClusterConfig, HangingTransaction, TopicPartition
from kferry.kafka.broker_calls import Answers, each_broker, refused
from kferry.kafka.broker_link import BrokerLink, error_name, pack_topic
from kferry.kafka.wire import WireReader, pack_compact_array, pack_compact_string, pack_uvarint

_DESCRIBE_PRODUCERS, _DESCRIBE_TRANSACTIONS, _LIST_TRANSACTIONS = 61, 65, 66
_PARTITIONS_PER_REQUEST = 1000
_IDS_PER_REQUEST = 500
_NO_TRANSACTION = -1


@dataclass(frozen=True, slots=True)
class ProducersFound:
    """Producers of the partitions of one broker, and the error of each partition that would not tell."""

    producers: tuple[ActiveProducer, ...]
    errors: Mapping[TopicPartition, str]


@dataclass(frozen=True, slots=True)
class KnownTransaction:
    """A transaction as its coordinator knows it; `partitions` are those it is open in."""

    transactional_id: str
    producer_id: int
    state: str
    partitions: frozenset[TopicPartition] = frozenset()


def active_producers(
    cluster: ClusterConfig,
    led_by: Mapping[Broker, Iterable[TopicPartition]],
    *,
    timeout_seconds: float = 30.0,
    cancelled: Callable[[], bool] = lambda: False,
) -> Answers[ProducersFound]:
    """Producers per broker, asked of each partition's leader. Needs READ on the topics (brokers since 2.8)."""

    def ask(link: BrokerLink) -> ProducersFound:
        version = link.version(_DESCRIBE_PRODUCERS, 0, 0)
        wanted = list(led_by[link.broker])
        producers: list[ActiveProducer] = []
        errors: dict[TopicPartition, str] = {}
        for start in range(0, len(wanted), _PARTITIONS_PER_REQUEST):
            body = _pack_partitions(wanted[start : start + _PARTITIONS_PER_REQUEST]) + b"\0"
            parse_producers(link.ask(_DESCRIBE_PRODUCERS, version, body, flexible=True), producers, errors)
        return ProducersFound(tuple(producers), errors)

    return each_broker(cluster, led_by, ask, timeout_seconds=timeout_seconds, cancelled=cancelled)


def transactions(
    cluster: ClusterConfig,
    brokers: Iterable[Broker],
    *,
    timeout_seconds: float = 20.0,
    cancelled: Callable[[], bool] = lambda: False,
) -> Answers[tuple[KnownTransaction, ...]]:
    """Transactions per coordinator (brokers since 3.0). Ids that kferry may not describe are left out by the broker."""

    def ask(link: BrokerLink) -> tuple[KnownTransaction, ...]:
        version = link.version(_LIST_TRANSACTIONS, 0, 0)
        no_filters = pack_uvarint(1) * 2 + b"\0"
        listed = parse_listing(link.ask(_LIST_TRANSACTIONS, version, no_filters, flexible=True))
        described: dict[str, frozenset[TopicPartition]] = {}
        names = [item.transactional_id for item in listed]
        for start in range(0, len(names), _IDS_PER_REQUEST):
            body = pack_compact_array(map(pack_compact_string, names[start : start + _IDS_PER_REQUEST])) + b"\0"
            described.update(parse_description(link.ask(_DESCRIBE_TRANSACTIONS, 0, body, flexible=True)))
        return tuple(
            KnownTransaction(
                item.transactional_id,
                item.producer_id,
                item.state,
                described.get(item.transactional_id, frozenset()),
            )
            for item in listed
        )

    return each_broker(cluster, brokers, ask, timeout_seconds=timeout_seconds, cancelled=cancelled)


def hanging(
    producers: Iterable[ActiveProducer],
    known: Iterable[KnownTransaction],
    *,
    now_ms: int,
    older_than_ms: int,
) -> tuple[HangingTransaction, ...]:
    """Transactions that are open in a partition, that no coordinator knows to be open there, and that are old enough.

    A young one may have begun after the coordinators were asked.
    """
    open_in = {(item.producer_id, tp) for item in known for tp in item.partitions}
    found = []
    for item in producers:
        tp = TopicPartition(item.topic, item.partition)
        if item.transaction_start_offset is None or (item.producer_id, tp) in open_in:
            continue
        age_ms = None if item.last_timestamp_ms is None else now_ms - item.last_timestamp_ms
        if age_ms is not None and age_ms >= older_than_ms:
            found.append(
                HangingTransaction(
                    item.topic, item.partition, item.producer_id, item.transaction_start_offset, age_ms / 1000
                )
            )
    return tuple(found)


def _pack_partitions(tps: Iterable[TopicPartition]) -> bytes:
    by_topic: dict[str, list[int]] = {}
    for tp in tps:
        by_topic.setdefault(tp.topic, []).append(tp.partition)
    return pack_compact_array(pack_topic(name, numbers) for name, numbers in by_topic.items())


def parse_producers(answer: WireReader, producers: list[ActiveProducer], errors: dict[TopicPartition, str]) -> None:
    """A DescribeProducers response of version 0, added to what is known."""
    answer.int32()  # throttled for
    for _ in range(answer.compact_array_length()):
        topic = answer.compact_string()
        for _ in range(answer.compact_array_length()):
            tp = TopicPartition(topic, answer.int32())
            error = answer.int16()
            answer.compact_nullable_string()
            for _ in range(answer.compact_array_length()):
                producers.append(_producer(answer, tp))
            answer.tagged_fields()
            if error:
                errors[tp] = error_name(error)
        answer.tagged_fields()
    answer.tagged_fields()


def _producer(answer: WireReader, tp: TopicPartition) -> ActiveProducer:
    producer_id = answer.int64()
    answer.int32()  # its epoch
    answer.int32()  # its last sequence number
    last_ms = answer.int64()
    answer.int32()  # the coordinator's epoch
    start = answer.int64()
    answer.tagged_fields()
    return ActiveProducer(
        tp.topic,
        tp.partition,
        producer_id,
        last_ms if last_ms >= 0 else None,
        start if start > _NO_TRANSACTION else None,
    )


def parse_listing(answer: WireReader) -> list[KnownTransaction]:
    """A ListTransactions response of version 0."""
    answer.int32()  # throttled for
    error = answer.int16()
    if error:
        raise refused(error, "list its transactions")
    for _ in range(answer.compact_array_length()):
        answer.compact_string()  # states it does not know: none were given
    found = []
    for _ in range(answer.compact_array_length()):
        name = answer.compact_string()
        producer_id = answer.int64()
        found.append(KnownTransaction(name, producer_id, answer.compact_string()))
        answer.tagged_fields()
    return found


def parse_description(answer: WireReader) -> dict[str, frozenset[TopicPartition]]:
    """A DescribeTransactions response of version 0: where each transaction is open."""
    answer.int32()  # throttled for
    found = {}
    for _ in range(answer.compact_array_length()):
        error = answer.int16()
        name = answer.compact_string()
        answer.compact_string()  # its state
        answer.int32()  # its timeout
        answer.int64()  # when it began
        answer.int64()  # its producer's id
        answer.int16()  # its producer's epoch
        partitions = set()
        for _ in range(answer.compact_array_length()):
            topic = answer.compact_string()
            for _ in range(answer.compact_array_length()):
                partitions.add(TopicPartition(topic, answer.int32()))
            answer.tagged_fields()
        answer.tagged_fields()
        if not error:
            found[name] = frozenset(partitions)
    return found
