"""Read partitions of a topic to where they ended at the start of the read, with a plain consumer.

The lab reads by itself and not through kferry's adapter, so that it can judge what kferry did.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from kferry.domain.errors import ErrorKind, KferryError

STALL_SECONDS = 30.0
REQUEST_SECONDS = 10.0

_PASSING_ERRORS = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._TRANSPORT,
)

Partition = tuple[str, int]


def open_reader(bootstrap_servers: str) -> Consumer:
    """A consumer for `assign`: it commits nothing and sees committed records only."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"lab-reader-{uuid.uuid4().hex[:8]}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "check.crcs": True,
            "queued.max.messages.kbytes": 32_768,
            "allow.auto.create.topics": False,
        }
    )


def partition_counts(bootstrap_servers: str, timeout_seconds: float = REQUEST_SECONDS) -> dict[str, int]:
    """Every topic of a cluster with its number of partitions."""
    try:
        metadata = AdminClient({"bootstrap.servers": bootstrap_servers}).list_topics(timeout=timeout_seconds)
    except KafkaException as error:
        raise unreachable(bootstrap_servers, error) from error
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}


def read_to_end(
    bootstrap_servers: str, starts: Mapping[Partition, int], on_record: Callable[[Message], None]
) -> dict[Partition, int]:
    """Hand every committed record from the given offsets on to `on_record`; return the end offsets read to.

    In each partition the records come in order. Records appended after the call began are left out.
    """
    reader = open_reader(bootstrap_servers)
    try:
        ends, wanted = _bounds(reader, starts)
        if not wanted:
            return ends
        reader.assign([TopicPartition(topic, number, start) for (topic, number), start in wanted.items()])
        _drain(reader, {partition: ends[partition] for partition in wanted}, on_record)
        return ends
    except KafkaException as error:
        raise unreachable(bootstrap_servers, error) from error
    finally:
        reader.close()


def unreachable(bootstrap_servers: str, error: KafkaException) -> KferryError:
    """The sentence for a broker of the lab that does not answer as it should."""
    return KferryError(
        f"The lab's broker at {bootstrap_servers} did not answer.",
        cause=str(error.args[0]) if error.args else str(error),
        next_step="See `python -m kferry.lab status`; start the lab if it is not running.",
        kind=ErrorKind.CONNECT,
    )


def _bounds(reader: Consumer, starts: Mapping[Partition, int]) -> tuple[dict[Partition, int], dict[Partition, int]]:
    ends: dict[Partition, int] = {}
    wanted: dict[Partition, int] = {}
    for (topic, number), start in starts.items():
        low, high = _watermarks(reader, TopicPartition(topic, number))
        ends[(topic, number)] = high
        if max(start, low) < high:
            wanted[(topic, number)] = max(start, low)
    return ends, wanted


def _watermarks(reader: Consumer, partition: TopicPartition) -> tuple[int, int]:
    deadline = time.monotonic() + REQUEST_SECONDS
    while True:
        try:
            low, high = reader.get_watermark_offsets(partition, timeout=REQUEST_SECONDS)
        except KafkaException as error:
            # Just after a topic was made or a broker came up, leaders are not known everywhere yet.
            if error.args[0].code() not in _PASSING_ERRORS or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return low, high


def _drain(reader: Consumer, ends: dict[Partition, int], on_record: Callable[[Message], None]) -> None:
    open_ends = dict(ends)
    last_progress = time.monotonic()
    while open_ends:
        messages = reader.consume(2000, timeout=0.5)
        if messages:
            last_progress = time.monotonic()
        elif time.monotonic() - last_progress > STALL_SECONDS:
            raise _stalled(open_ends)
        for message in messages:
            _take(message, open_ends, on_record)


def _take(message: Message, open_ends: dict[Partition, int], on_record: Callable[[Message], None]) -> None:
    partition = (message.topic() or "", message.partition() or 0)
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    end = open_ends.get(partition)
    if end is None:
        return
    offset = message.offset() or 0
    if error is None and offset < end:
        on_record(message)
    # At the end of the partition the offset is that of the next record, else that of this one.
    if (offset if error is not None else offset + 1) >= end:
        del open_ends[partition]


def _stalled(open_ends: Iterable[Partition]) -> KferryError:
    names = ", ".join(f"{topic}-{number}" for topic, number in sorted(open_ends)[:5])
    return KferryError(
        f"Reading stopped before the end of {names}.",
        cause="A transaction is still open there, or the broker does not answer.",
        next_step="Stop the producers and try again.",
        kind=ErrorKind.TIMEOUT,
    )


def read_first(bootstrap_servers: str, starts: Mapping[Partition, int], on_record: Callable[[Message], None]) -> None:
    """Hand on the first committed record at or after each offset; nothing for a partition that has none."""
    reader = open_reader(bootstrap_servers)
    try:
        ends, wanted = _bounds(reader, starts)
        for partition, start in wanted.items():
            reader.assign([TopicPartition(*partition, start)])
            _first_of(reader, partition, ends[partition], on_record)
    except KafkaException as error:
        raise unreachable(bootstrap_servers, error) from error
    finally:
        reader.close()


def _first_of(reader: Consumer, partition: Partition, end: int, on_record: Callable[[Message], None]) -> None:
    deadline = time.monotonic() + STALL_SECONDS
    while time.monotonic() < deadline:
        message = reader.poll(0.5)
        if message is None or (message.topic(), message.partition()) != partition:
            continue
        error = message.error()
        if error is None:
            on_record(message)
            return
        if error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        if (message.offset() or 0) >= end:
            return
    raise _stalled([partition])
