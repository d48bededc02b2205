"""Reads ranges of many partitions with one consumer, fast, without ever belonging to a consumer group."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import confluent_kafka as ck
from confluent_kafka import KafkaError

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig, TopicPartition
from kferry.kafka import auth, causes

Handle = Callable[[TopicPartition, ck.Message], None]
OnProgress = Callable[[int, int], None]  # offsets passed, offsets in all ranges

_BATCH = 10_000
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 4.0
_PROGRESS_SECONDS = 0.5
# librdkafka wants a group id in every consumer; with assign() and without commits none is ever made.
_GROUP_ID = "kferry-reader-without-group"
_DENIED = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._AUTHENTICATION}
_GONE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
_CUT = {KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET}


@dataclass(slots=True)
class _Range:
    position: int
    stop: int


def read_ranges(
    cluster: ClusterConfig,
    ranges: Mapping[TopicPartition, tuple[int, int]],
    handle: Handle,
    *,
    read_committed: bool = True,
    deadline_seconds: float,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> None:
    """Hand over every data record with start <= offset < stop, in order within each partition.

    Returns when each position has passed its stop, also where the last offsets hold no data records (transaction
    markers, aborted or compacted records). Raises KferryError at the deadline, where a start has been removed by
    retention, or where the cluster cannot be reached.
    """
    _Reading(cluster, ranges, handle, read_committed, deadline_seconds, on_progress, cancelled).run()


class _Reading:
    def __init__(
        self,
        cluster: ClusterConfig,
        ranges: Mapping[TopicPartition, tuple[int, int]],
        handle: Handle,
        read_committed: bool,
        deadline_seconds: float,
        on_progress: OnProgress | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self._cluster = cluster
        self._open = {
            (tp.topic, tp.partition): _Range(start, stop) for tp, (start, stop) in ranges.items() if start < stop
        }
        self._names = {(tp.topic, tp.partition): tp for tp in ranges}
        self._handle = handle
        self._read_committed = read_committed
        self._deadline_seconds = deadline_seconds
        self._started = time.monotonic()
        self._on_progress = on_progress
        self._told = self._started
        self._total = sum(part.stop - part.position for part in self._open.values())
        self._cancelled = cancelled
        self._ear = causes.ErrorEar()

    def run(self) -> None:
        if self._open:
            consumer = ck.Consumer(self._config())
            try:
                consumer.assign([ck.TopicPartition(*key, part.position) for key, part in self._open.items()])
                while self._open:
                    self._step(consumer)
            finally:
                consumer.close()
        if self._on_progress:
            self._on_progress(self._total, self._total)

    def _config(self) -> dict[str, object]:
        return {
            **auth.client_config(self._cluster, client_id="kferry-reader"),
            "error_cb": self._ear,
            "group.id": _GROUP_ID,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            # A start that is gone must be seen, not skipped.
            "auto.offset.reset": "error",
            "isolation.level": "read_committed" if self._read_committed else "read_uncommitted",
            "allow.auto.create.topics": False,
            "check.crcs": True,
            "fetch.wait.max.ms": 100,
            "fetch.error.backoff.ms": 100,
            "fetch.message.max.bytes": 8 << 20,
            "fetch.max.bytes": 64 << 20,
            "receive.message.max.bytes": 256 << 20,
            "queued.min.messages": 500_000,
            "queued.max.messages.kbytes": 128 << 10,
        }

    def _step(self, consumer: ck.Consumer) -> None:
        messages = consumer.consume(num_messages=_BATCH, timeout=_POLL_SECONDS)
        finished: list[tuple[str, int]] = []
        open_ranges, names, handle = self._open, self._names, self._handle
        moved = False
        for message in messages:
            error = message.error()
            key = (message.topic(), message.partition())
            part = open_ranges.get(key)  # type: ignore[arg-type]
            offset = message.offset()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    self._judge(error, key)
                elif part is not None and offset is not None:
                    # The end of the log is also the end of its markers and holes: none of them is a message.
                    part.position = max(part.position, offset)
            elif part is not None and offset is not None:
                if part.position <= offset < part.stop:
                    handle(names[key], message)  # type: ignore[index]
                part.position = max(part.position, offset + 1)
            moved = moved or error is None
            if part is not None and part.position >= part.stop:
                del open_ranges[key]  # type: ignore[arg-type]
                finished.append(key)  # type: ignore[arg-type]
        if finished and open_ranges:
            consumer.pause([ck.TopicPartition(*key) for key in finished])
        self._look_at_the_clock(moved)

    def _look_at_the_clock(self, moved: bool) -> None:
        now = time.monotonic()
        if self._on_progress and now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            left = sum(part.stop - part.position for part in self._open.values())
            self._on_progress(self._total - left, self._total)
        if not self._open:
            return
        if self._cancelled and self._cancelled():
            raise KferryError("Reading records was cancelled.", next_step="Start it again when it is wanted.")
        if not moved:
            if self._ear.hopeless_for_seconds(self._started) >= _GRACE_SECONDS:
                heard = self._ear.since(self._started)
                raise causes.unreachable(self._cluster, heard, "read records of", now - self._started)
        else:
            self._ear.clear()
        if now - self._started >= self._deadline_seconds:
            raise self._late()

    def _late(self) -> KferryError:
        (topic, partition), part = next(iter(self._open.items()))
        where = f"{topic}-{partition} is at {part.position} of {part.stop}"
        heard = self._ear.since(0)
        cause = f"{len(self._open)} partitions are not at their end: {where}."
        if heard:
            cause += f" The client reported: {heard[-1].text}."
        elif self._read_committed:
            cause += " An open transaction holds back committed reading at its first record."
        return KferryError(
            f"Records of the {self._cluster.role} cluster were not read to the end within "
            f"{self._deadline_seconds:.0f} s.",
            cause=cause,
            next_step="Try again; if it stays there, look for a hanging transaction (kafka-transactions find-hanging).",
            kind=ErrorKind.TIMEOUT,
        )

    def _judge(self, error: KafkaError, key: tuple[str | None, int | None]) -> None:
        """Most errors of a running consumer pass by themselves; these do not."""
        place = f"{key[0]}-{key[1]}"
        code = error.code()
        if code in _CUT:
            raise KferryError(
                f"Records of {place} in the {self._cluster.role} cluster are gone before they were read.",
                cause="Retention (or a deletion) removed the offsets where reading was to start.",
                next_step="Read the offsets again and start over.",
                kind=ErrorKind.DRIFT,
            )
        if code in _GONE:
            raise KferryError(
                f"{place} does not exist in the {self._cluster.role} cluster.",
                cause=causes.error_words(error),
                next_step="Scan the cluster again.",
                kind=ErrorKind.DRIFT,
            )
        if code in _DENIED:
            raise causes.refused(self._cluster, error, f"read {place} of")
