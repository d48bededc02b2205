"""A logged-in connection to one broker of a cluster, for requests that the client library does not have."""

from __future__ import annotations

import struct
from dataclasses import replace
from types import TracebackType

from kferry.domain.errors import KferryError
from kferry.domain.model import Broker, ClusterConfig
from kferry.kafka.direct import DirectSession
from kferry.kafka.told import since
from kferry.kafka.wire import WireReader, pack_compact_array, pack_compact_string

# The protocol's error numbers that these requests meet, as Kafka names them.
_ERROR_NAMES = {
    -1: "UNKNOWN_SERVER_ERROR",
    3: "UNKNOWN_TOPIC_OR_PARTITION",
    6: "NOT_LEADER_OR_FOLLOWER",
    7: "REQUEST_TIMED_OUT",
    14: "COORDINATOR_LOAD_IN_PROGRESS",
    15: "COORDINATOR_NOT_AVAILABLE",
    16: "NOT_COORDINATOR",
    29: "TOPIC_AUTHORIZATION_FAILED",
    30: "GROUP_AUTHORIZATION_FAILED",
    31: "CLUSTER_AUTHORIZATION_FAILED",
    35: "UNSUPPORTED_VERSION",
    42: "INVALID_REQUEST",
    53: "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    54: "SECURITY_DISABLED",
    56: "KAFKA_STORAGE_ERROR",
    57: "LOG_DIR_NOT_FOUND",
    105: "TRANSACTIONAL_ID_NOT_FOUND",
}


class Unsupported(Exception):  # noqa: N818 - an answer, not a failure
    """The broker does not know this request; `since` says from which release on one does."""

    def __init__(self, since: str = "") -> None:
        super().__init__(since)
        self.since = since


def error_name(code: int) -> str:
    return _ERROR_NAMES.get(code, f"error {code}")


def words(error: BaseException) -> str:
    """Why a broker could not be asked, without a place: the place is named by who says it."""
    if isinstance(error, Unsupported):
        return f"it does not know this request{error.since}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, KferryError):
        return (error.cause or error.title).rstrip(".")
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) or type(error).__name__


def pack_topic(name: str, partitions: list[int]) -> bytes:
    """A topic with partitions as flexible requests carry it."""
    numbers = pack_compact_array(struct.pack(">i", number) for number in partitions)
    return pack_compact_string(name) + numbers + b"\0"


class BrokerLink:
    """One connection, opened by `with`. Every call ends by the deadline: with an answer or an error."""

    def __init__(self, cluster: ClusterConfig, broker: Broker, *, timeout_seconds: float) -> None:
        self.broker = broker
        host = f"[{broker.host}]" if ":" in broker.host else broker.host
        alone = replace(cluster, bootstrap_servers=f"{host}:{broker.port}")
        self._session = DirectSession(alone, timeout_seconds=timeout_seconds)

    def __enter__(self) -> BrokerLink:
        self._session.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def version(self, api: int, oldest: int, newest: int) -> int:
        """The newest version of a request that both sides know. Raises Unsupported where there is none."""
        for version in range(newest, oldest - 1, -1):
            if self._session.speaks(api, version):
                return version
        raise Unsupported(since(api))

    def ask(self, api: int, version: int, body: bytes, *, flexible: bool) -> WireReader:
        """One request and its answer, placed behind the header. `flexible` versions have tagged fields."""
        return self._session.call(api, version, body, flexible=flexible)
