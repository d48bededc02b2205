"""What the tests put into a broker of any release: topics, records, a transaction, and groups of several kinds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient, NewTopic

from support.old_kafka import OldBroker
from support.waiting import wait_until

AGE_SECONDS = 600
ORDERS, STATE, PAID, EMPTY = "orders", "state", "paid", "empty"
LATE, LIVE, ASSIGNED = "late", "live", "assigned"
# As many as make kferry ask for the offsets of many groups at once, where the brokers know how.
MANY = tuple(f"many-{number:02}" for number in range(12))
NEW, SHARED = "new", "shared"
TRANSACTIONAL_ID = "till"
_SECONDS = 40.0


@contextmanager
def filled(broker: OldBroker) -> Iterator[None]:
    """Fill the broker; the group `live` keeps reading until the end."""
    client = settings(broker)
    admin = AdminClient(client)
    _make_topics(admin)
    _produce(client)
    _trim(admin)
    _commit(client)
    with running_member(client | {"group.id": LIVE, "client.id": "app"}, ORDERS, at(10)):
        yield


def settings(broker: OldBroker) -> dict[str, Any]:
    """Settings of librdkafka for the listener without a login."""
    return {"bootstrap.servers": broker.bootstrap_servers, "log_level": 0}


def at(offset: int) -> list[ck.TopicPartition]:
    """This offset in each partition of the orders."""
    return [ck.TopicPartition(ORDERS, number, offset) for number in range(3)]


def _make_topics(admin: AdminClient) -> None:
    new = [
        NewTopic(ORDERS, 3, 1, config={"retention.ms": "3600000", "max.message.bytes": "2000000"}),
        NewTopic(STATE, 1, 1, config={"cleanup.policy": "compact"}),
        NewTopic(PAID, 1, 1),
        NewTopic(EMPTY, 2, 1),
    ]
    for future in admin.create_topics(new).values():
        future.result(_SECONDS)


def _produce(client: dict[str, Any]) -> None:
    """Ten orders per partition, ten minutes old; six records of two keys; a transaction, and one that is aborted."""
    then_ms = int((time.time() - AGE_SECONDS) * 1000)
    producer = ck.Producer(client)
    for number in range(30):
        key, headers = f"k{number}".encode(), [("kind", b"test"), ("none", None)]
        producer.produce(ORDERS, b"x" * 100, key, partition=number % 3, headers=headers, timestamp=then_ms + number)
    for number in range(6):
        producer.produce(STATE, b"value", f"k{number % 2}".encode())
    assert producer.flush(_SECONDS) == 0
    paying = ck.Producer(client | {"transactional.id": TRANSACTIONAL_ID})
    paying.init_transactions(_SECONDS)
    paying.begin_transaction()
    paying.produce(PAID, b"paid")
    paying.commit_transaction(_SECONDS)
    paying.begin_transaction()
    paying.produce(PAID, b"never")
    assert paying.flush(_SECONDS) == 0
    paying.abort_transaction(_SECONDS)


def _trim(admin: AdminClient) -> None:
    """The first four orders of partition 0 go, as retention lets them go."""
    for future in admin.delete_records([ck.TopicPartition(ORDERS, 0, 4)]).values():
        assert future.result(_SECONDS).low_watermark == 4


def _commit(client: dict[str, Any]) -> None:
    late = [ck.TopicPartition(ORDERS, 0, 5), ck.TopicPartition(ORDERS, 1, 7, "a note")]
    with running_member(client | {"group.id": LATE}, ORDERS, [*late, ck.TopicPartition(ORDERS, 2, 10)]):
        pass  # it has been there, and has left
    for number, group_id in enumerate((ASSIGNED, *MANY)):
        alone = ck.Consumer(client | {"group.id": group_id})
        alone.commit(offsets=[ck.TopicPartition(STATE, 0, number % 7)], asynchronous=False)
        alone.close()


@contextmanager
def running_member(client: dict[str, Any], topic: str, commits: list[ck.TopicPartition]) -> Iterator[None]:
    """A consumer that has joined its group and committed this; a thread polls it until the end."""
    consumer = ck.Consumer(client | {"enable.auto.commit": False, "auto.offset.reset": "latest"})
    ended = threading.Event()

    def has_partitions() -> bool:
        consumer.poll(0.05)
        return bool(consumer.assignment())

    def poll() -> None:
        while not ended.is_set():
            consumer.poll(0.05)

    thread = threading.Thread(target=poll, name="member")
    try:
        consumer.subscribe([topic])
        wait_until(has_partitions, _SECONDS, "the member has its partitions")
        consumer.commit(offsets=commits, asynchronous=False)
        # only now: the library's calls of two threads can wait for each other without an end
        thread.start()
        yield
    finally:
        ended.set()
        if thread.is_alive():
            thread.join()
        consumer.close()


@contextmanager
def share_member(client: dict[str, Any], topic: str) -> Iterator[ck.ShareConsumer]:
    """A member of a share group; whoever wants it to join has to poll it."""
    consumer = ck.ShareConsumer(client | {"group.id": SHARED})
    try:
        consumer.subscribe([topic])
        yield consumer
    finally:
        consumer.close()
