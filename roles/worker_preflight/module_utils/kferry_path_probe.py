"""What a connection that is logged in carries: large packets, and how many bytes a second. Standard library only.

Nothing is written to the cluster. What goes to a broker is padding that it skips (a tagged field of a request for its
versions, Kafka 2.4 and newer); what comes from it is an echo, and records that are there already.
"""

from __future__ import annotations

import socket
import struct
import time

from ansible.module_utils.kferry_kafka_wire import API_VERSIONS, METADATA, RefusedError, address, text

FETCH, LIST_OFFSETS = 1, 2
EARLIEST = -2
LARGE_BYTES = 9200  # more than a jumbo frame carries
LARGE_SECONDS = 2.5
# Each probe of the speed is larger than the one before, until one takes long enough to be told from the way there.
SIZES_BYTES = (65536, 262144, 1048576, 4194304)
LONG_ENOUGH_SECONDS = 0.4
SPEED_SECONDS = 2.5
MOST_PARTITIONS = 8
PADDING_TAG = 9999  # no tag of Kafka's own


class BlockedError(Exception):
    """Small packets come through and large ones don't: the sentence says in which direction."""


def large_packets(talk, versions):
    """Send and receive more than one packet carries. Raises BlockedError; says nothing where it can't be tried."""
    for direction, is_known, act in (
        ("to", versions.get(API_VERSIONS, 0) >= 3, lambda: _send_padding(talk, LARGE_BYTES)),
        ("from", versions.get(METADATA, 0) >= 4, lambda: _receive_echo(talk, LARGE_BYTES)),
    ):
        if not is_known:
            continue
        try:
            with talk.within(LARGE_SECONDS):
                act()
        except socket.timeout as error:  # noqa: UP041  (Python 3.8)
            raise BlockedError(direction) from error


def bytes_per_second(talk, versions, role, server, topics):
    """How fast bytes go to a broker of the target, or come from one of the source; None where it can't be measured."""
    try:
        with talk.within(SPEED_SECONDS):
            if role == "target":
                return _best(lambda size: _send_padding(talk, size)) if versions.get(API_VERSIONS, 0) >= 3 else None
            places = _places(talk, versions, server, topics)
            return _best(lambda size: _fetch(talk, places, size)) if places else None
    except (OSError, RefusedError):
        return None


def _best(move):
    """The highest speed of growing probes; `move` gets a size and returns how many bytes went."""
    best = None
    try:
        for size in SIZES_BYTES:
            started = time.monotonic()
            moved = move(size)
            took = max(1e-6, time.monotonic() - started)
            if not moved:
                break
            best = max(best or 0.0, moved / took)
            if took > LONG_ENOUGH_SECONDS or moved < size // 2:
                break
    except (OSError, RefusedError):
        pass  # what was measured until then still holds
    return best


def _send_padding(talk, size):
    """A request for the versions (3) with a tagged field that brokers don't know and skip."""
    name = b"\x07kferry"
    padding = _varint(PADDING_TAG) + _varint(size) + bytes(size)
    talk.call(API_VERSIONS, 3, name + b"\x021" + b"\x01" + padding, flexible=True)
    return size


def _receive_echo(talk, size):
    """Ask for a topic that can't exist, by a name that no topic may have: the answer repeats it."""
    talk.call(METADATA, 4, struct.pack(">i", 1) + text("~" * size) + b"\0")


def _places(talk, versions, server, topics):
    """(topic, partition, oldest offset) of partitions that this broker leads."""
    if not topics or versions.get(METADATA, 0) < 4 or versions.get(FETCH, 0) < 4:
        return []
    led = _led_by(talk, server, topics)[:MOST_PARTITIONS]
    if not led:
        return []
    body = struct.pack(">ii", -1, len(led))
    for topic, partition in led:
        body += text(topic) + struct.pack(">iiq", 1, partition, EARLIEST)
    answer = talk.call(LIST_OFFSETS, 1, body)
    found = []
    for _ in range(answer.count()):
        topic = answer.text()
        for _ in range(answer.count()):
            partition, error = answer.number(">i"), answer.number(">h")
            _timestamp, offset = answer.number(">q"), answer.number(">q")
            if not error and offset >= 0:
                found.append((topic, partition, offset))
    return found


def _led_by(talk, server, topics):
    body = struct.pack(">i", len(topics)) + b"".join(text(topic) for topic in topics) + b"\0"
    answer = talk.call(METADATA, 4, body)
    answer.number(">i")  # how long the broker held us back
    own = None
    for _ in range(answer.count()):
        node, host, port = answer.number(">i"), answer.text(), answer.number(">i")
        answer.text()
        if address(host, port) == server:
            own = node
    answer.text()
    answer.number(">i")
    led = []
    for _ in range(answer.count()):
        error, topic = answer.number(">h"), answer.text()
        answer.number(">b")
        for _ in range(answer.count()):
            answer.number(">h")
            partition, leader = answer.number(">i"), answer.number(">i")
            for _ in range(2):
                for _ in range(answer.count()):
                    answer.number(">i")
            if not error and leader == own:
                led.append((topic, partition))
    return led


def _fetch(talk, places, size):
    """Read from the oldest records on and return how many bytes came; 0 where the broker refuses."""
    each = max(1, size // len(places))
    body = struct.pack(">iiiibi", -1, 100, 1, size, 0, len(places))
    for topic, partition, offset in places:
        body += text(topic) + struct.pack(">iiqi", 1, partition, offset, each)
    answer = talk.call(FETCH, 4, body)
    answer.number(">i")
    moved = 0
    for _ in range(answer.count()):
        answer.text()
        for _ in range(answer.count()):
            answer.number(">i")
            error = answer.number(">h")
            answer.number(">q")
            answer.number(">q")
            for _ in range(answer.count()):
                answer.number(">q")
                answer.number(">q")
            moved += 0 if error else len(answer.data())
    return moved


def _varint(number):
    """An unsigned variable-length integer, as Kafka's flexible requests have it."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
