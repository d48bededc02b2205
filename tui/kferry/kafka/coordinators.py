"""Which broker coordinates each group: asked for many groups at once, and remembered until it proves wrong."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import KafkaError

from kferry.domain.model import Broker, ClusterConfig
from kferry.kafka.broker_link import Unsupported
from kferry.kafka.direct import DirectSession
from kferry.kafka.wire import WireReader, pack_compact_array, pack_compact_string, pack_string

_FIND_COORDINATOR = 10
_VERSION = 4  # the first that takes many groups in one request: brokers since 3.0
_VERSION_OF_ONE = 1  # brokers since 0.11
_OF_GROUPS = 0
_GROUPS_PER_REQUEST = 500

# An engine runs for weeks, and some applications make a group with a new name each time.
_KEPT = 20_000
# A broker that could not be reached, or does not know the requests, is not tried again at each look.
_AVOIDED_SECONDS = 60.0
PAUSE_SECONDS = 0.3
_LEAST_SECONDS = 0.5
# Of the time that is left; the client library, which is asked where coordinators fail, needs some too.
_SHARE = 0.5
# A group's coordinator is to be looked up anew.
MOVED = {KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE}


class Coordinators:
    """What is known of one cluster between calls. Threads may share it."""

    def __init__(self) -> None:
        self._by_group: dict[str, Broker] = {}
        self._avoided_until = 0.0
        self._lock = threading.Lock()

    @property
    def avoided(self) -> bool:
        """Whether coordinators were asked in vain a moment ago."""
        return time.monotonic() < self._avoided_until

    def avoid(self) -> None:
        self._avoided_until = time.monotonic() + _AVOIDED_SECONDS

    def known(self, ids: Iterable[str]) -> dict[str, Broker]:
        """The coordinators of those of these groups that are remembered."""
        with self._lock:
            return {name: self._by_group[name] for name in ids if name in self._by_group}

    def remember(self, found: Mapping[str, Broker]) -> None:
        with self._lock:
            if len(self._by_group) + len(found) > _KEPT:
                self._by_group.clear()
            self._by_group.update(found)

    def forget(self, ids: Iterable[str]) -> None:
        with self._lock:
            for name in ids:
                self._by_group.pop(name, None)


def seconds_until(deadline: float) -> float:
    """How long a coordinator may take, so that the client library can still be asked before the deadline."""
    return max(_LEAST_SECONDS, _SHARE * (deadline - time.monotonic()))


def look_up(
    cluster: ClusterConfig, ids: Sequence[str], *, one_each: bool = False, timeout_seconds: float
) -> tuple[dict[str, Broker], dict[str, int]]:
    """The coordinator of each group, or the error number in its place.

    Raises Unsupported for older brokers, and KferryError where none can be asked. With `one_each`, brokers that take
    one group per request are asked so.
    """
    found: dict[str, Broker] = {}
    errors: dict[str, int] = {}
    with DirectSession(cluster, timeout_seconds=timeout_seconds) as session:
        if not session.speaks(_FIND_COORDINATOR, _VERSION):
            if not one_each or not session.speaks(_FIND_COORDINATOR, _VERSION_OF_ONE):
                raise Unsupported
            for name in ids:
                place = parse_one(session.call(_FIND_COORDINATOR, _VERSION_OF_ONE, pack_one(name)))
                if isinstance(place, Broker):
                    found[name] = place
                else:
                    errors[name] = place
            return found, errors
        for start in range(0, len(ids), _GROUPS_PER_REQUEST):
            body = pack_request(ids[start : start + _GROUPS_PER_REQUEST])
            located, refused = parse(session.call(_FIND_COORDINATOR, _VERSION, body, flexible=True))
            found.update(located)
            errors.update(refused)
    return found, errors


def pack_request(ids: Sequence[str]) -> bytes:
    """A FindCoordinator request of version 4."""
    return struct.pack(">b", _OF_GROUPS) + pack_compact_array(map(pack_compact_string, ids)) + b"\0"


def parse(answer: WireReader) -> tuple[dict[str, Broker], dict[str, int]]:
    """A FindCoordinator response of version 4: coordinators and error numbers, by group."""
    answer.int32()  # throttled for
    found: dict[str, Broker] = {}
    errors: dict[str, int] = {}
    brokers: dict[Broker, Broker] = {}  # thousands of groups share a few of them
    for _ in range(answer.compact_array_length()):
        group_id = answer.compact_string()
        broker = Broker(answer.int32(), answer.compact_string(), answer.int32())
        error = answer.int16()
        answer.compact_nullable_string()  # the error in words
        answer.tagged_fields()
        if error:
            errors[group_id] = error
        else:
            found[group_id] = brokers.setdefault(broker, broker)
    return found, errors


def pack_one(group_id: str) -> bytes:
    """A FindCoordinator request of version 1."""
    return pack_string(group_id) + struct.pack(">b", _OF_GROUPS)


def parse_one(answer: WireReader) -> Broker | int:
    """A FindCoordinator response of version 1: the coordinator, or the error number."""
    answer.int32()  # throttled for
    error = answer.int16()
    answer.nullable_string()  # the error in words
    broker = Broker(answer.int32(), answer.string(), answer.int32())
    return error or broker
