"""An application that reads one topic, writes another, and commits both in one transaction: read, process, write."""

from __future__ import annotations

import threading
from types import TracebackType

from confluent_kafka import Consumer, KafkaException, Producer

_TRANSACTION_SECONDS = 30.0


class TransactionalApp:
    """Copies every record of `reads` to `writes` under the same key and value, exactly once, while it is entered."""

    def __init__(self, bootstrap_servers: str, group_id: str, reads: str, writes: str) -> None:
        self._group_id, self._reads, self._writes = group_id, reads, writes
        self._bootstrap_servers = bootstrap_servers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=group_id, daemon=True)
        self.processed = 0
        self.error: BaseException | None = None

    def __enter__(self) -> TransactionalApp:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(60)
        assert self.error is None and not self._thread.is_alive(), self.error

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error

    def _work(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap_servers,
                "group.id": self._group_id,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "topic.metadata.refresh.interval.ms": 1000,
            }
        )
        producer = Producer(
            {"bootstrap.servers": self._bootstrap_servers, "transactional.id": f"{self._group_id}-1", "linger.ms": 5}
        )
        try:
            producer.init_transactions(_TRANSACTION_SECONDS)
            consumer.subscribe([self._reads])
            while not self._stop.is_set():
                self._one_batch(consumer, producer)
        finally:
            consumer.close()

    def _one_batch(self, consumer: Consumer, producer: Producer) -> None:
        messages = consumer.consume(20, timeout=0.3)
        if not messages:
            return
        producer.begin_transaction()
        for message in messages:
            if (error := message.error()) is not None:
                raise KafkaException(error)
            producer.produce(self._writes, key=message.key(), value=message.value())
        producer.send_offsets_to_transaction(
            consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), _TRANSACTION_SECONDS
        )
        producer.commit_transaction(_TRANSACTION_SECONDS)
        self.processed += len(messages)
