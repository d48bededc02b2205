"""The consumers: real groups with `subscribe`, a commit every second, and a log of what they processed.

The log is written before the commit, and a stop commits all that was processed before it leaves the group.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from kferry.domain.errors import KferryError
from kferry.lab.home import LabHome
from kferry.lab.ledger import parse_record_id
from kferry.lab.systems import TOPICS, LabGroup
from kferry.lab.worker import Worker

COMMIT_SECONDS = 1.0
_COMMIT_TRIES = 5
_BATCH_RECORDS = 500
_ENTRY = struct.Struct("<BBHqq")
_TOPIC_NAMES = tuple(TOPICS)
_CLUSTER_NAMES = ("", "source", "target")


class Processed(NamedTuple):
    """One record a group has processed; `produced_on` is empty where the record carried no readable id."""

    produced_on: str
    topic: str
    partition: int
    offset: int
    number: int


def read_processed(path: Path) -> Iterator[Processed]:
    """All of one group's log on one cluster, in the order of processing."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    whole = len(data) - len(data) % _ENTRY.size
    for cluster, topic, partition, offset, number in _ENTRY.iter_unpack(memoryview(data)[:whole]):
        yield Processed(_CLUSTER_NAMES[cluster], _TOPIC_NAMES[topic], partition, offset, number)


class GroupConsumer(Worker):
    """The one member of one group on one cluster."""

    def __init__(self, home: LabHome, group: LabGroup, cluster: str, bootstrap_servers: str) -> None:
        super().__init__(f"The consumer of {group.group_id}", cluster)
        self._group = group
        self._bootstrap_servers = bootstrap_servers
        self._path = home.consumed(cluster, group.group_id)
        self._positions: dict[tuple[str, int], int] = {}
        self._log: int | None = None
        self._unlogged: list[bytes] = []
        self.processed = 0

    def status(self) -> dict[str, Any]:
        return {"cluster": self.cluster, "processed": self.processed, "error": self.last_error}

    def _session(self) -> None:
        self._positions.clear()
        self._unlogged.clear()
        self._log = _open_log(self._path)
        consumer = Consumer(self._settings())
        try:
            consumer.subscribe(list(self._group.topics), on_assign=self._on_assign, on_revoke=self._on_revoke)
            self._consume(consumer)
            self._commit(consumer)
        finally:
            consumer.close()
            os.close(self._log)

    def _settings(self) -> dict[str, Any]:
        return {
            "bootstrap.servers": self._bootstrap_servers,
            "group.id": self._group.group_id,
            "client.id": f"{self._group.group_id}-1",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed" if self._group.read_committed else "read_uncommitted",
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 2_000,
            # Fewer, larger fetches: the lab must leave the machine to those who use it.
            "fetch.min.bytes": 65_536,
            "fetch.wait.max.ms": 500,
            "queued.max.messages.kbytes": 8_192,
            "allow.auto.create.topics": False,
            "topic.metadata.refresh.interval.ms": 10_000,
        }

    def _consume(self, consumer: Consumer) -> None:
        rate = self._group.records_per_second
        next_commit = time.monotonic() + COMMIT_SECONDS
        while not self._stopping.is_set():
            messages = consumer.consume(1 if rate else _BATCH_RECORDS, timeout=0.5)
            self._process(messages)
            if time.monotonic() >= next_commit:
                self._commit(consumer)
                next_commit = time.monotonic() + COMMIT_SECONDS
            if rate and messages:
                self._stopping.wait(1 / rate)

    def _process(self, messages: list[Message]) -> None:
        for message in messages:
            error = message.error()
            if error is not None:
                if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    self.last_error = error.str()
                    continue
                raise KafkaException(error)
            topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
            cluster, _, number = parse_record_id(message.headers()) or ("", "", -1)
            known = _CLUSTER_NAMES.index(cluster) if cluster in _CLUSTER_NAMES else 0
            self._unlogged.append(_ENTRY.pack(known, _TOPIC_NAMES.index(topic), partition, offset, number))
            self._positions[(topic, partition)] = offset + 1
            self.processed += 1

    def _commit(self, consumer: Consumer) -> None:
        """Log and commit all that was processed."""
        self._write_log()
        if not self._positions:
            return
        wanted = [
            TopicPartition(topic, number, offset, metadata=self._group.commit_metadata)
            for (topic, number), offset in self._positions.items()
        ]
        for attempt in range(_COMMIT_TRIES):
            try:
                for done in consumer.commit(offsets=wanted, asynchronous=False) or ():
                    if done.error is not None:
                        raise KafkaException(done.error)
            except KafkaException as error:
                if attempt == _COMMIT_TRIES - 1:
                    raise KferryError(
                        f"{self._group.group_id} could not commit on the {self.cluster}.", cause=str(error)
                    ) from error
                time.sleep(0.5)
            else:
                self._positions.clear()
                return

    def _write_log(self) -> None:
        if self._unlogged and self._log is not None:
            os.write(self._log, b"".join(self._unlogged))
            self._unlogged.clear()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if partitions:
            self.last_error = ""
            self._ready.set()

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._commit(consumer)


def _open_log(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    size = os.fstat(descriptor).st_size
    if size % _ENTRY.size:  # a kill in the middle of a write
        os.ftruncate(descriptor, size - size % _ENTRY.size)
    return descriptor
