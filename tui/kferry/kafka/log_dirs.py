"""How many bytes each partition takes on the brokers' disks. Needs DESCRIBE on the cluster."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

from kferry.domain.model import Broker, ClusterConfig, TopicPartition
from kferry.kafka.broker_calls import Answers, each_broker, refused
from kferry.kafka.broker_link import BrokerLink, error_name
from kferry.kafka.wire import WireReader

_DESCRIBE_LOG_DIRS = 35
_DENIED = 31
_ALL_TOPICS = struct.pack(">i", -1)


def partition_bytes(
    cluster: ClusterConfig,
    brokers: Iterable[Broker],
    *,
    timeout_seconds: float = 20.0,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[dict[TopicPartition, int], Answers[dict[TopicPartition, int]]]:
    """Bytes per partition, of its largest replica; and what each broker answered."""
    answers = each_broker(cluster, brokers, _ask, timeout_seconds=timeout_seconds, cancelled=cancelled)
    sizes: dict[TopicPartition, int] = {}
    for found in answers.by_broker.values():
        for tp, size_bytes in found.items():
            sizes[tp] = max(size_bytes, sizes.get(tp, 0))
    return sizes, answers


def _ask(link: BrokerLink) -> dict[TopicPartition, int]:
    return parse(link.ask(_DESCRIBE_LOG_DIRS, link.version(_DESCRIBE_LOG_DIRS, 0, 1), _ALL_TOPICS, flexible=False))


def parse(answer: WireReader) -> dict[TopicPartition, int]:
    """A DescribeLogDirs response of version 0 or 1. Raises KferryError where the broker refuses."""
    answer.int32()  # throttled for
    folders = answer.array_length()
    if not folders:
        raise refused(_DENIED, "tell what its log directories hold")  # these versions say no by saying nothing
    sizes: dict[TopicPartition, int] = {}
    errors = set()
    for _ in range(folders):
        error = answer.int16()
        if error:
            errors.add(error_name(error))
        answer.string()  # its path
        for _ in range(answer.array_length()):
            topic = answer.string()
            for _ in range(answer.array_length()):
                tp = TopicPartition(topic, answer.int32())
                size_bytes = answer.int64()
                answer.int64()  # how far it lags
                is_future = answer.boolean()  # being moved to another disk: not whole yet
                if not is_future:
                    sizes[tp] = max(size_bytes, sizes.get(tp, 0))
    if errors and not sizes:
        raise refused(_DENIED, f"tell what its log directories hold ({', '.join(sorted(errors))})")
    return sizes
