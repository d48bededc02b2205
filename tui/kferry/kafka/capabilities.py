"""What can be asked of a cluster, probed one by one: one that is missing is a line, never the end of the test.

Each probe asks the smallest question that needs the right: one topic, one group, one name that nobody has.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation

from kferry.domain.errors import KferryError
from kferry.domain.model import Capability, Role, TopicPartition
from kferry.kafka import causes, cluster, configs, groups, offsets, topics
from kferry.kafka.check_lines import counted
from kferry.kafka.connection import Connection
from kferry.kafka.direct import DirectSession
from kferry.kafka.told import SECURITY_DISABLED, error_words, since
from kferry.kafka.wire import (
    WireError,
    WireReader,
    pack_compact_array,
    pack_compact_string,
    pack_nullable_string,
    pack_string,
)

_PROBE = "kferry-rights-probe"  # a name that nobody has
_AT_ONCE = 4
_BROKERS_ASKED = 3
_DENIED_CODES = (29, 30, 31, 53)
_TRANSACTION_STATE = "__transaction_state"
_MAX_PRODUCER_ID = (1 << 63) - 1
_LOG_DIRS, _DESCRIBE_ACLS, _QUOTAS, _SCRAM, _PRODUCERS, _TRANSACTIONS = 35, 29, 48, 50, 61, 66


@dataclass(frozen=True, slots=True)
class Found:
    """How one capability stands; `grant` names the ACL that would give it, "" where none would."""

    state: Capability
    words: str
    grant: str = ""

    def as_body(self) -> dict[str, str]:
        return {"state": self.state.value, "words": self.words, "grant": self.grant}


def _supported(words: str) -> Found:
    return Found(Capability.SUPPORTED, words)


def _unknown(words: str, grant: str = "") -> Found:
    return Found(Capability.UNKNOWN, words, grant)


class UnsupportedError(Exception):
    """The broker does not know this request; its text says from which release on one does."""


class Prober:
    """Probes one cluster. Every probe has its own time; what does not answer is unknown."""

    def __init__(self, connection: Connection, *, timeout_seconds: float = 6.0) -> None:
        self._connection = connection
        self._timeout_seconds = timeout_seconds
        self._topic: str | None = None  # one that is there, for questions about a topic
        self._topic_count: int | None = None
        self._group: str | None = None

    def probe(self, *, cancelled: Callable[[], bool] = lambda: False) -> dict[str, Found]:
        """Every capability by name. Never raises for what a cluster says or does not say."""
        found: dict[str, Found] = {}
        for name, ask in (("topics", self._topics), ("groups", self._groups)):
            if cancelled():
                return found
            found[name] = self._safely(ask)
        wanted = self._probes()
        pool = ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="capability")
        try:
            futures = {name: pool.submit(self._safely, ask) for name, ask in wanted.items()}
            end = time.monotonic() + self._timeout_seconds * (len(wanted) / _AT_ONCE + 1)
            while not cancelled() and time.monotonic() < end:
                if not wait_for(futures.values(), timeout=0.2).not_done:
                    break
            for name, future in futures.items():
                found[name] = future.result() if future.done() else _unknown("No answer in time.")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return found

    def _probes(self) -> Mapping[str, Callable[[], Found]]:
        wanted: dict[str, Callable[[], Found]] = {
            "topic_configs": self._topic_configs,
            "broker_configs": self._broker_configs,
            "offsets": self._offsets,
            "read_records": self._read_records,
            "group_offsets": self._group_offsets,
            "log_dirs": self._log_dirs,
            "acls": self._acls,
            "quotas": self._quotas,
            "scram_users": self._scram_users,
            "transactions": self._transactions,
            "transactional_ids": self._transactional_ids,
            "producers": self._producers,
        }
        if self._connection.cluster.role is Role.TARGET:
            wanted |= {"create_topics": self._create_topics, "alter_configs": self._alter_configs}
        return wanted

    def _safely(self, ask: Callable[[], Found]) -> Found:
        try:
            return ask()
        except UnsupportedError as unknown:
            return Found(Capability.UNSUPPORTED, f"This cluster does not know the request{unknown}.")
        except KafkaException as exception:
            error = causes.kafka_error(exception)
            return _unknown(causes.error_words(error) if error else type(exception).__name__)
        except KferryError as error:
            return _unknown(str(error.cause or error.title))
        except (OSError, WireError) as error:
            return _unknown(f"Not answered: {error or type(error).__name__}.")

    # ---- with the client library ----

    def _topics(self) -> Found:
        names = topics.topic_names(self._connection, include_internal=True, timeout_seconds=self._timeout_seconds)
        own = [name for name in names if not topics.is_internal_name(name)]
        self._topic, self._topic_count = next(iter(own or names), None), len(own)
        if not own:
            return _unknown("No topic is seen: there is none, or none may be described.", "DESCRIBE on topic *")
        return _supported(f"{counted(len(own), 'topic')} seen; brokers hide those that may not be described.")

    def _groups(self) -> Found:
        ids = groups.group_ids(self._connection, timeout_seconds=self._timeout_seconds)
        self._group = next(iter(ids), None)
        if not ids:
            return _unknown("No group is seen: there is none, or none may be described.", "DESCRIBE on group *")
        return _supported(f"{counted(len(ids), 'group')} seen; brokers hide those that may not be described.")

    def _topic_configs(self) -> Found:
        if self._topic is None:
            return _unknown("There is no topic to ask about.")
        found, errors = configs.topic_configs(self._connection, [self._topic], timeout_seconds=self._timeout_seconds)
        if self._topic in found:
            return _supported(f"Asked of {self._topic}.")
        return _refusal(errors.get(self._topic), "DESCRIBE_CONFIGS on topic *")

    def _broker_configs(self) -> Found:
        nodes = cluster.describe(self._connection, timeout_seconds=self._timeout_seconds).nodes
        if not nodes:
            return _unknown("No broker is advertised.")
        last: KferryError | None = None
        for node in nodes[:_BROKERS_ASKED]:  # a broker tells only its own: one that is away must not stand for all
            try:
                seen = configs.broker_configs(self._connection, node.id, timeout_seconds=self._timeout_seconds / 2)
            except KferryError as error:
                last = error
                continue
            if seen is None:
                grant = "DESCRIBE_CONFIGS on the cluster"
                return Found(Capability.DENIED, "The brokers' defaults are not shown.", grant)
            return _supported(f"{len(seen)} settings of broker {node.id}.")
        raise last or KferryError("No broker told its settings.")

    def _offsets(self) -> Found:
        if self._topic is None:
            return _unknown("There is no topic to ask about.")
        asked = TopicPartition(self._topic, 0)
        end = offsets.offsets(self._connection, [asked], "end", timeout_seconds=self._timeout_seconds).get(asked)
        if end is None:
            return Found(
                Capability.DENIED, f"The end of {self._topic} is not told.", f"DESCRIBE on topic {self._topic}"
            )
        return _supported(f"Asked of {self._topic}.")

    def _read_records(self) -> Found:
        if self._topic is None:
            return _unknown("There is no topic to ask about.")
        return self._right_on(self._topic, AclOperation.READ)

    def _transactional_ids(self) -> Found:
        found = self._right_on(_TRANSACTION_STATE, AclOperation.READ)
        if found.state is Capability.UNKNOWN and "UNKNOWN_TOPIC" in found.words:
            return _supported("There is no __transaction_state: no transaction was ever begun.")
        return found

    def _right_on(self, topic: str, operation: AclOperation) -> Found:
        """A right on a topic, as the brokers tell it when asked who we are to them."""
        asked = self._connection.client.describe_topics(
            TopicCollection([topic]), include_authorized_operations=True, request_timeout=self._timeout_seconds
        )
        grant = f"{operation.name} on topic {'*' if topic == self._topic else topic}"
        try:
            allowed = asked[topic].result(self._timeout_seconds).authorized_operations
        except KafkaException as exception:
            return _refusal(causes.kafka_error(exception), grant)
        if not allowed:
            return _unknown("The brokers do not tell rights (they are older than 2.3, or have no authorizer).")
        if operation in allowed:
            return _supported(f"{operation.name} on {topic}.")
        return Found(Capability.DENIED, f"{operation.name} on {topic} is not given.", grant)

    def _group_offsets(self) -> Found:
        if self._group is None:
            return _unknown("There is no group to ask about.")
        _found, errors = groups.committed_many(
            self._connection, [self._group], stable=False, timeout_seconds=self._timeout_seconds
        )
        error = errors.get(self._group)
        if error is None:
            return _supported(f"Asked of {self._group}.")
        if "AUTHORIZATION_FAILED" in error:
            return Found(Capability.DENIED, error, "DESCRIBE on group *")
        return _unknown(error)

    def _create_topics(self) -> Found:
        spec = topics.NewTopicSpec(_PROBE, 1)
        error = topics.create_topics(
            self._connection, [spec], validate_only=True, timeout_seconds=self._timeout_seconds
        ).get(_PROBE)
        if error is None or error.startswith("TOPIC_ALREADY_EXISTS"):
            return _supported("Validated, nothing was made.")
        if "AUTHORIZATION_FAILED" in error:
            return Found(
                Capability.DENIED,
                "Topics of other names than granted cannot be made; the plan's own are looked at by preflight.",
                "CREATE on the topics that move",
            )
        return _unknown(error)

    def _alter_configs(self) -> Found:
        if self._topic is None:
            return _unknown("There is no topic to ask about.")
        return self._right_on(self._topic, AclOperation.ALTER_CONFIGS)

    # ---- on a connection of our own: the library has no call, or dies of the answer ----

    def _ask(
        self, api: int, newest: int, body: Callable[[int], bytes], *, flexible: bool = False
    ) -> tuple[WireReader, int]:
        """Ask in the newest version that both sides know, on a connection of its own."""
        with DirectSession(self._connection.cluster, timeout_seconds=self._timeout_seconds) as session:
            version = next((one for one in range(newest, -1, -1) if session.speaks(api, one)), None)
            if version is None:
                raise UnsupportedError(since(api))
            return session.call(api, version, body(version), flexible=flexible), version

    def _log_dirs(self) -> Found:
        asked = struct.pack(">i", 1) + pack_string(self._topic or _PROBE) + struct.pack(">ii", 1, 0)
        answer, _version = self._ask(_LOG_DIRS, 1, lambda _: asked)
        answer.int32()  # throttled for
        grant = "DESCRIBE on the cluster"
        if answer.array_length() == 0:  # up to version 2 an empty list stands for "you may not"
            return Found(Capability.DENIED, "Sizes on disk are not shown.", grant)
        return _by_code(answer.int16(), "Sizes on disk are shown.", grant)

    def _acls(self) -> Found:
        def body(version: int) -> bytes:
            pattern = struct.pack(">b", 1) if version else b""
            nobody = pack_nullable_string(f"User:{_PROBE}") + pack_nullable_string(None)
            return struct.pack(">b", 4) + pack_nullable_string("kafka-cluster") + pattern + nobody + b"\x01\x01"

        answer, _version = self._ask(_DESCRIBE_ACLS, 1, body)
        answer.int32()
        code = answer.int16()
        if code == SECURITY_DISABLED:
            return Found(Capability.UNSUPPORTED, "The brokers have no authorizer: anyone may do anything.")
        return _by_code(code, "ACLs are shown.", "DESCRIBE on the cluster")

    def _quotas(self) -> Found:
        entity = pack_string("user") + b"\x00" + pack_nullable_string(_PROBE)
        answer, _version = self._ask(_QUOTAS, 0, lambda _: struct.pack(">i", 1) + entity + b"\x00")
        answer.int32()
        return _by_code(answer.int16(), "Client quotas are shown.", "DESCRIBE_CONFIGS on the cluster")

    def _scram_users(self) -> Found:
        users = pack_compact_array([pack_compact_string(_PROBE) + b"\0"]) + b"\0"
        answer, _version = self._ask(_SCRAM, 0, lambda _: users, flexible=True)
        answer.int32()
        return _by_code(answer.int16(), "SCRAM users are shown.", "DESCRIBE on the cluster")

    def _transactions(self) -> Found:
        nobody = pack_compact_array([]) + pack_compact_array([struct.pack(">q", _MAX_PRODUCER_ID)]) + b"\0"
        answer, _version = self._ask(_TRANSACTIONS, 0, lambda _: nobody, flexible=True)
        answer.int32()
        words = "Open transactions are listed, of the ids that may be described."
        return _by_code(answer.int16(), words, "DESCRIBE on transactional id *")

    def _producers(self) -> Found:
        if self._topic is None:
            return _unknown("There is no topic to ask about.")
        partitions = pack_compact_array([struct.pack(">i", 0)])
        topic = pack_compact_array([pack_compact_string(self._topic) + partitions + b"\0"]) + b"\0"
        answer, _version = self._ask(_PRODUCERS, 0, lambda _: topic, flexible=True)
        return _by_code(_producer_code(answer), "Active producers are shown.", f"READ on topic {self._topic}")


def _producer_code(answer: WireReader) -> int:
    """The error of the one partition; another broker being its leader (6) still means that we may ask."""
    answer.int32()
    answer.compact_array_length()
    answer.compact_string()
    answer.compact_array_length()
    answer.int32()
    code = answer.int16()
    return 0 if code in (3, 6) else code


def _by_code(code: int, words: str, grant: str) -> Found:
    if code == 0:
        return _supported(words)
    if code in _DENIED_CODES:
        return Found(Capability.DENIED, f"The brokers say: {error_words(code)}.", grant)
    if code in (35, 42):
        return Found(Capability.UNSUPPORTED, f"The brokers say: {error_words(code)}.")
    return _unknown(f"The brokers say: {error_words(code)}.")


def _refusal(error: KafkaError | None, grant: str) -> Found:
    if error is None:
        return _unknown("The brokers did not answer.")
    words = causes.error_words(error)
    if "AUTHORIZATION_FAILED" in error.name():
        return Found(Capability.DENIED, words, grant)
    if error.code() in (KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION):
        return Found(Capability.UNSUPPORTED, words)
    return _unknown(words)
