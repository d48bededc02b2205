"""The producers: one per topic, first the backlog at full speed, then live traffic at its rate.

What is delivered (and, in a transaction, committed) goes into the ledger. A session begins by reading what the last
one may have left behind it, so that the ledger is complete even after a kill.
"""

from __future__ import annotations

import functools
import random
import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from kferry.domain.errors import ErrorKind, KferryError
from kferry.lab import reader
from kferry.lab.home import LabHome
from kferry.lab.ledger import (
    ABORTED,
    RECONCILED,
    TOMBSTONE,
    Entry,
    Ledger,
    content_digest,
    key_digest,
    parse_record_id,
    record_id,
)
from kferry.lab.payloads import PayloadMaker
from kferry.lab.systems import LabTopic
from kferry.lab.worker import Worker

TICK_SECONDS = 0.1
TRANSACTION_SECONDS = 0.5
ABORT_SHARE = 0.15
BACKLOG_SPAN_MS = 2 * 3600 * 1000
_BACKLOG_CHUNK = 500
_FLUSH_SECONDS = 60.0


class TopicProducer(Worker):
    """Writes one topic on one cluster."""

    def __init__(
        self,
        home: LabHome,
        topic: LabTopic,
        cluster: str,
        bootstrap_servers: str,
        *,
        bytes_per_second: float,
        backlog_records: int,
    ) -> None:
        super().__init__(f"The producer of {topic.name}", cluster)
        self._home = home
        self._topic = topic
        self._bootstrap_servers = bootstrap_servers
        self._records_per_second = bytes_per_second * topic.rate_share / topic.record_bytes
        self._backlog_wanted = topic.backlog_records(backlog_records) if cluster == "source" else 0
        self._maker = PayloadMaker(topic, seed=time.time_ns())
        self._transaction: list[Entry] | None = None
        self._delivery_error: KafkaError | None = None
        self._next_number = 0
        self._ledger: Ledger | None = None
        self.records = 0
        self.bytes = 0
        self.backlog_left = self._backlog_wanted

    def status(self) -> dict[str, Any]:
        return {
            "cluster": self.cluster,
            "records": self.records,
            "bytes": self.bytes,
            "backlog_left": self.backlog_left,
            "error": self.last_error,
        }

    def _session(self) -> None:
        self._require_topic()
        producer = Producer(self._settings())
        ledger = Ledger(self._home.ledger(self.cluster, self._topic.name))
        self._ledger, self._transaction, self._delivery_error = ledger, None, None
        try:
            if self._topic.transactional_id:
                # Also ends what an earlier process left open, so that the tail read next is final.
                producer.init_transactions(30)
            if self.cluster == "source" or not ledger.is_new:
                self._reconcile(ledger)
            # Unique over all sessions: 4096 numbers per millisecond are far more than a session ever writes.
            self._next_number = max(int(time.time() * 1000) << 12, ledger.last_number + 1)
            self._write_backlog(producer, ledger)
            self._write_live(producer, ledger)
        finally:
            producer.flush(_FLUSH_SECONDS if self._delivery_error is None else 0)
            ledger.close()
            self._ledger = None

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "bootstrap.servers": self._bootstrap_servers,
            "client.id": f"lab-{self._topic.name}",
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 50,
            "queue.buffering.max.messages": 20_000,
            "compression.type": "lz4",
            "allow.auto.create.topics": False,
            "message.timeout.ms": 30_000,
        }
        if self._topic.transactional_id:
            settings |= {"transactional.id": self._topic.transactional_id, "transaction.timeout.ms": 30_000}
        return settings

    def _require_topic(self) -> None:
        counts = reader.partition_counts(self._bootstrap_servers)
        found = counts.get(self._topic.name)
        if found != self._topic.partitions:
            raise KferryError(
                f"{self._topic.name} cannot be written on the {self.cluster}.",
                cause="The topic does not exist there."
                if found is None
                else f"It has {found} partitions instead of {self._topic.partitions}.",
                kind=ErrorKind.NOT_READY,
            )

    def _reconcile(self, ledger: Ledger) -> None:
        """Add what stands in the topic but not in the ledger: delivered just before the last process was killed."""

        def add(message: Message) -> None:
            headers = message.headers()
            found = parse_record_id(headers)
            if found is None or found[0] != self.cluster:
                return  # copied here by somebody else
            key, value = message.key(), message.value()
            flags = RECONCILED | (TOMBSTONE if value is None else 0)
            timestamp_ms = message.timestamp()[1]
            digest = content_digest(timestamp_ms, key, value, headers)
            partition, offset = message.partition() or 0, message.offset() or 0
            ledger.append(Entry(partition, flags, offset, found[2], timestamp_ms, digest, key_digest(key)))

        starts = {
            (self._topic.name, number): ledger.last_offsets.get(number, -1) + 1
            for number in range(self._topic.partitions)
        }
        reader.read_to_end(self._bootstrap_servers, starts, add)
        ledger.flush()

    def _write_backlog(self, producer: Producer, ledger: Ledger) -> None:
        now_ms = int(time.time() * 1000)
        self.backlog_left = max(0, self._backlog_wanted - ledger.committed_records)
        while self.backlog_left and not self._stopping.is_set():
            count = min(_BACKLOG_CHUNK, self.backlog_left)
            age_ms = BACKLOG_SPAN_MS * self.backlog_left // self._backlog_wanted
            if self._topic.transactional_id:
                committed = self._write_transaction(producer, ledger, count, now_ms - age_ms)
                self.backlog_left -= count if committed else 0
            else:
                self._write(producer, count, now_ms - age_ms)
                self.backlog_left -= count
            self._after_write(producer, ledger)
        producer.flush(_FLUSH_SECONDS)
        self._after_write(producer, ledger)

    def _write_live(self, producer: Producer, ledger: Ledger) -> None:
        if not self._records_per_second:
            self._ready.set()  # an idle topic: all it ever gets is its backlog
            self._stopping.wait()
            return
        tick_seconds = TRANSACTION_SECONDS if self._topic.transactional_id else TICK_SECONDS
        owed, last = 1.0, time.monotonic()
        while not self._stopping.wait(tick_seconds):
            now = time.monotonic()
            # After a pause of the machine at most one second is caught up, not a burst of minutes.
            owed = min(owed + (now - last) * self._records_per_second, self._records_per_second + 1)
            last = now
            count = int(owed)
            owed -= count
            if count and self._topic.transactional_id:
                self._write_transaction(producer, ledger, count, int(time.time() * 1000))
            elif count:
                self._write(producer, count, int(time.time() * 1000))
            self._after_write(producer, ledger)

    def _after_write(self, producer: Producer, ledger: Ledger) -> None:
        producer.poll(0)
        ledger.flush()
        if self._delivery_error is not None:
            raise KafkaException(self._delivery_error)

    def _write(self, producer: Producer, count: int, timestamp_ms: int) -> None:
        for _ in range(count):
            number = self._next_number
            self._next_number += 1
            payload = self._maker.make(record_id(self.cluster, self._topic.name, number), number)
            partition, key, value, headers = payload
            flags = TOMBSTONE if value is None else 0
            digest = content_digest(timestamp_ms, key, value, headers)
            on_delivery = functools.partial(
                self._delivered, flags, number, timestamp_ms, digest, key_digest(key), len(value or b"")
            )
            while True:
                try:
                    producer.produce(
                        self._topic.name,
                        value=value,
                        key=key,
                        partition=partition,
                        on_delivery=on_delivery,
                        timestamp=timestamp_ms,
                        headers=headers,
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.poll(0)

    def _write_transaction(self, producer: Producer, ledger: Ledger, count: int, timestamp_ms: int) -> bool:
        """One transaction, whether it was committed; a share is aborted after its records were delivered."""
        abort = random.random() < ABORT_SHARE
        self._transaction = []
        producer.begin_transaction()
        self._write(producer, count, timestamp_ms)
        producer.flush(_FLUSH_SECONDS)
        if self._delivery_error is not None:
            raise KafkaException(self._delivery_error)
        if abort:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
        for entry in self._transaction:
            ledger.append(entry._replace(flags=entry.flags | ABORTED) if abort else entry)
        self._transaction = None
        return not abort

    def _delivered(
        self,
        flags: int,
        number: int,
        timestamp_ms: int,
        digest: bytes,
        key: bytes,
        size_bytes: int,
        error: KafkaError | None,
        message: Message,
    ) -> None:
        if error is not None:
            self._delivery_error = error
            return
        partition, offset = message.partition() or 0, message.offset() or 0
        entry = Entry(partition, flags, offset, number, timestamp_ms, digest, key)
        if self._transaction is not None:
            self._transaction.append(entry)
        elif self._ledger is not None:
            self._ledger.append(entry)
        self.records += 1
        self.bytes += size_bytes
        self._ready.set()
