"""The topics of the lab's source, and waiting for a broker to answer."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from kferry.domain.errors import ErrorKind, KferryError
from kferry.lab.brokers import Broker
from kferry.lab.reader import partition_counts, unreachable
from kferry.lab.systems import TOPICS

_CREATE_SECONDS = 30.0


def wait_for_broker(broker: Broker, timeout_seconds: float, check: Callable[[], None]) -> None:
    """Return when the broker answers; raise where it ended or does not answer in time."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    deadline = time.monotonic() + timeout_seconds
    while True:
        check()
        broker.check_alive()
        try:
            if admin.list_topics(timeout=0.5).brokers:
                return
        except KafkaException as error:
            if time.monotonic() > deadline:
                raise KferryError(
                    f"The lab's {broker.cluster} broker did not answer within {timeout_seconds:.0f} seconds.",
                    cause=str(error),
                    log=str(broker.log),
                    kind=ErrorKind.TIMEOUT,
                ) from error


def create_source_topics(bootstrap_servers: str) -> None:
    """Create what is missing; safe to repeat."""
    present = partition_counts(bootstrap_servers)
    missing = [
        NewTopic(topic.name, num_partitions=topic.partitions, replication_factor=1, config=dict(topic.configs))
        for topic in TOPICS.values()
        if topic.name not in present
    ]
    if not missing:
        return
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    try:
        for future in admin.create_topics(missing, operation_timeout=_CREATE_SECONDS).values():
            future.result(_CREATE_SECONDS)
    except KafkaException as error:
        raise unreachable(bootstrap_servers, error) from error
