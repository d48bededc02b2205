"""The invented records: keys, values and headers of each topic, cheap to make and different every time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from confluent_kafka import murmur2

from kferry.lab.ledger import ID_HEADER
from kferry.lab.systems import LabTopic

_FILLER = random.Random(7).randbytes(48 * 1024).hex().encode()
_RAW = random.Random(11).randbytes(64 * 1024)


class Payload(NamedTuple):
    """What one record carries, apart from its timestamp."""

    partition: int
    key: bytes
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]


class PayloadMaker:
    """Makes the records of one topic; keys go to partitions as a Java producer would send them."""

    def __init__(self, topic: LabTopic, seed: int) -> None:
        self._topic = topic
        self._random = random.Random(seed)
        self._value_of = _VALUES[topic.name]
        noun = topic.name.partition(".")[2]
        keys = [f"{noun}-{number:06d}".encode() for number in range(topic.key_count)]
        self._keys = [
            (key, partition)
            for key in keys
            if (partition := murmur2(key, topic.partitions)) not in topic.empty_partitions
        ]

    def make(self, record_id: str, number: int) -> Payload:
        """The record with this id."""
        chance = self._random
        key, partition = self._keys[int(chance.random() * len(self._keys))]
        headers: list[tuple[str, str | bytes | None]] = [(ID_HEADER, record_id.encode())]
        headers += _extra_headers(self._topic.name, chance)
        if self._topic.tombstone_share and chance.random() < self._topic.tombstone_share:
            return Payload(partition, key, None, headers)
        start = int(chance.random() * (len(_FILLER) - 4096))
        head = self._value_of(key.decode(), number, chance)
        filler = _FILLER[start : start + max(16, self._topic.record_bytes - len(head))]
        return Payload(partition, key, b'{%s,"data":"%s"}' % (head, filler), headers)


def _extra_headers(topic: str, chance: random.Random) -> list[tuple[str, str | bytes | None]]:
    if topic != "shop.orders":
        return [("content-type", b"application/json")]
    start = int(chance.random() * (len(_RAW) - 16))
    # Not UTF-8, the same name twice, and an empty value: all of it must arrive as it is.
    return [
        ("trace", _RAW[start : start + 16]),
        ("origin", b"\xff\xfe\x00shop\x80"),
        ("hop", b"web"),
        ("hop", b"cart"),
        ("coupon", b""),
    ]


def _order(key: str, number: int, chance: random.Random) -> bytes:
    return b'"order":%d,"customer":"%s","cents":%d' % (number, key.encode(), int(chance.random() * 90_000))


def _payment(key: str, number: int, chance: random.Random) -> bytes:
    return b'"payment":%d,"account":"%s","cents":%d' % (number, key.encode(), int(chance.random() * 90_000))


def _telemetry(key: str, number: int, chance: random.Random) -> bytes:
    return b'"sample":%d,"device":"%s","celsius":%.2f' % (number, key.encode(), chance.random() * 60)


def _heartbeat(key: str, number: int, chance: random.Random) -> bytes:
    return b'"beat":%d,"device":"%s","battery":%.2f' % (number, key.encode(), chance.random())


def _employee(key: str, number: int, chance: random.Random) -> bytes:
    return b'"revision":%d,"employee":"%s","grade":%d' % (number, key.encode(), int(chance.random() * 9))


def _audit(key: str, number: int, chance: random.Random) -> bytes:
    return b'"entry":%d,"actor":"%s","ok":%d' % (number, key.encode(), chance.random() < 0.97)


_VALUES: dict[str, Callable[[str, int, random.Random], bytes]] = {
    "shop.orders": _order,
    "shop.payments": _payment,
    "iot.telemetry": _telemetry,
    "iot.device-heartbeats": _heartbeat,
    "hr.employees": _employee,
    "hr.audit": _audit,
}
