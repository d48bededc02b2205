"""Records with numbers: what a producer wrote, and whether a copy is complete and in order."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

# Records of others may be in the topic; those with this key carry numbers.
KEY = b"k"
RECORDS_PER_SECOND = 400


class Traffic:
    """A producer that numbers its records per partition and remembers which of them the broker has confirmed."""

    def __init__(
        self, config: Mapping[str, Any], topic: str, partitions: int, records_per_second: int = RECORDS_PER_SECOND
    ) -> None:
        self.confirmed: dict[int, int] = defaultdict(int)  # partition -> records
        self._topic, self._partitions = topic, partitions
        self._producer = Producer({**config, "enable.idempotence": True, "linger.ms": 20})
        self._pause_seconds = 1 / records_per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic")
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            partition, sequence = number % self._partitions, number // self._partitions
            self._producer.produce(
                self._topic, value=f"{sequence}".encode(), key=KEY, partition=partition, on_delivery=self._delivered
            )
            self._producer.poll(0)
            number += 1
            time.sleep(self._pause_seconds)
        self._producer.flush(30)

    def _delivered(self, error: Any, message: Any) -> None:
        assert error is None, error
        self.confirmed[message.partition()] += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)


class Arrivals:
    """Reads a topic from its present end on, and tells when records arrive."""

    def __init__(self, config: Mapping[str, Any], topic: str, partitions: int) -> None:
        own = {"group.id": "arrivals", "enable.auto.commit": False, "fetch.wait.max.ms": 50}
        self._consumer = Consumer({**config, **own})
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        ends = [self._consumer.get_watermark_offsets(place, 30)[1] for place in places]
        self._consumer.assign(
            [TopicPartition(topic, place.partition, end) for place, end in zip(places, ends, strict=True)]
        )

    def first_from(self, numbers: Mapping[int, int], deadline_seconds: float) -> dict[int, float]:
        """When (monotonic) each of these partitions got the first record with this number or a later one."""
        found: dict[int, float] = {}
        deadline = time.monotonic() + deadline_seconds
        while set(found) != set(numbers):
            missing = sorted(set(numbers) - set(found))
            assert time.monotonic() < deadline, f"nothing new in partitions {missing} within {deadline_seconds:g} s"
            for message in self._consumer.consume(500, 0.1):
                if message.error() or message.key() != KEY:
                    continue
                partition = message.partition()
                if int(message.value()) >= numbers.get(partition, 0):
                    found.setdefault(partition, time.monotonic())
        return found

    def __enter__(self) -> Arrivals:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._consumer.close()


def numbered_records(config: Mapping[str, Any], topic: str, partitions: int) -> dict[int, list[int]]:
    """The numbers of all records of that kind, per partition, in their order."""
    consumer = Consumer({**config, "group.id": "reader", "enable.auto.commit": False, "enable.partition.eof": True})
    found: dict[int, list[int]] = {partition: [] for partition in range(partitions)}
    try:
        places = [TopicPartition(topic, partition, 0) for partition in range(partitions)]
        consumer.assign(places)
        ends = {place.partition: consumer.get_watermark_offsets(place, 30)[1] for place in places}
        left = {partition for partition, end in ends.items() if end}
        deadline = time.monotonic() + 120
        while left and time.monotonic() < deadline:
            for message in consumer.consume(5000, 0.2):
                partition, offset = message.partition(), message.offset()
                if message.error() or offset >= ends[partition]:
                    continue
                if message.key() == KEY:
                    found[partition].append(int(message.value()))
                if offset == ends[partition] - 1:
                    left.discard(partition)
        assert not left, f"partitions {sorted(left)} could not be read to their ends"
    finally:
        consumer.close()
    return found


def repeats_of(records: Sequence[int], count: int) -> int:
    """How many records came again; fails where one is missing or a new one came before an older one."""
    assert set(records) == set(range(count)), f"missing: {sorted(set(range(count)) - set(records))[:10]}"
    seen = -1
    for number in records:  # a repeat goes back; what is new must be the next one
        assert number <= seen + 1, f"{number} came right after {seen}"
        seen = max(seen, number)
    return len(records) - count
