"""Asking a cluster, logged in as a principal, whether it may do things, with requests that leave nothing behind.

Brokers look at rights before anything else in a request, so each question is a request that cannot succeed, or that
changes nothing, once it is let through: a produce without records, a heartbeat of a member that does not exist, the end
of a transaction that nobody began, topics and configs that are only validated. InitProducerId is asked without a
transactional id: with one it would fence the application that uses it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kferry.domain.model import ClusterConfig
from kferry.kafka.direct import DirectSession
from kferry.kafka.told import error_words
from kferry.kafka.wire import WireReader, pack_bytes, pack_nullable_string, pack_string

_PRODUCE, _FETCH, _METADATA, _HEARTBEAT, _DESCRIBE_GROUPS = 0, 1, 3, 12, 15
_CREATE_TOPICS, _INIT_PRODUCER_ID, _END_TXN, _DESCRIBE_ACLS, _DESCRIBE_CONFIGS = 19, 22, 26, 29, 32
_CREATE_PARTITIONS, _INCREMENTAL_ALTER, _DESCRIBE_QUOTAS, _LIST_OFFSETS = 37, 44, 48, 2
_DENIED = frozenset({29, 30, 31, 53})
# Answers given before rights are looked at, or without an answer to the question.
_NO_ANSWER = frozenset({-1, 7, 35, 41})
_NOBODY = "kferry-probe-nobody"
_FETCH_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: an operation on a resource, in the words of `AclEntry`."""

    resource: str
    name: str
    operation: str


@dataclass(frozen=True, slots=True)
class Seen:
    """`allowed` None: it cannot be asked without doing it, or the cluster gave no answer."""

    allowed: bool | None
    words: str


def probe(cluster: ClusterConfig, questions: Iterable[Asked], *, timeout_seconds: float = 60.0) -> dict[Asked, Seen]:
    """Ask everything on one connection. Raises KferryError where the principal cannot log in at all."""
    with DirectSession(cluster, timeout_seconds=timeout_seconds) as session:
        asker = _Asker(session)
        return {question: asker.ask(question) for question in dict.fromkeys(questions)}


class _Asker:
    def __init__(self, session: DirectSession) -> None:
        self._session = session
        self._ways: dict[tuple[str, str], Callable[[str], Seen]] = {
            ("topic", "describe"): self._describe_topic,
            ("topic", "read"): self._fetch,
            ("topic", "write"): self._produce,
            ("topic", "describe_configs"): self._describe_configs,
            ("topic", "alter_configs"): self._alter_configs,
            ("topic", "create"): self._create_topic,
            ("topic", "alter"): self._grow_topic,
            ("group", "describe"): self._describe_group,
            ("group", "read"): self._heartbeat,
            ("transactional_id", "write"): self._end_transaction,
            ("cluster", "idempotent_write"): lambda _name: self._init_producer_id(),
            ("cluster", "describe"): lambda _name: self._describe_acls(),
            ("cluster", "describe_configs"): lambda _name: self._describe_quotas(),
        }

    def ask(self, question: Asked) -> Seen:
        way = self._ways.get((question.resource, question.operation))
        if way is None:
            return Seen(None, "cannot be asked without doing it")
        return way(question.name)

    def _call(self, api: int, version: int, body: bytes, read: Callable[[WireReader], int]) -> int | None:
        if not self._session.speaks(api, version):
            return None
        return read(self._session.call(api, version, body))

    # ---- topics -----------------------------------------------------------------------------------------------------

    def _describe_topic(self, name: str) -> Seen:
        body = struct.pack(">i", 1) + pack_string(name) + b"\0"  # never made by being asked about

        def read(answer: WireReader) -> int:
            answer.int32()
            for _ in range(answer.array_length()):
                answer.int32()
                answer.string()
                answer.int32()
                answer.nullable_string()
            answer.nullable_string()
            answer.int32()
            return answer.int16() if answer.array_length() else -1

        return _seen(self._call(_METADATA, 4, body, read), "described", {3: "allowed; the topic does not exist"})

    def _fetch(self, name: str) -> Seen:
        found: list[int] = []

        def read(answer: WireReader) -> int:
            answer.int32()
            for _ in range(answer.array_length()):
                answer.string()
                for _ in range(answer.array_length()):
                    answer.int32()
                    error: int = answer.int16()
                    answer.int64()
                    answer.int64()
                    for _ in range(answer.array_length()):
                        answer.int64()
                        answer.int64()
                    found.append(max(0, answer.int32()))
                    return error
            return -1

        start = self._start_of(name)
        partition = struct.pack(">iqi", 0, start, _FETCH_BYTES)
        body = struct.pack(">iiiib", -1, 0, 0, _FETCH_BYTES, 0)
        body += struct.pack(">i", 1) + pack_string(name) + struct.pack(">i", 1) + partition
        code = self._call(_FETCH, 4, body, read)
        words = f"fetched {found[0]} bytes from partition 0" if found and found[0] else "fetched; partition 0 gave none"
        return _seen(code, words, {3: "allowed; the topic does not exist", 6: "allowed; another broker leads it"})

    def _start_of(self, name: str) -> int:
        """Where partition 0 begins; 0 where this broker does not know."""

        def read(answer: WireReader) -> int:
            for _ in range(answer.array_length()):
                answer.string()
                for _ in range(answer.array_length()):
                    answer.int32()
                    error = answer.int16()
                    answer.int64()
                    offset: int = answer.int64()
                    return 0 if error else offset
            return 0

        body = struct.pack(">ii", -1, 1) + pack_string(name) + struct.pack(">iiq", 1, 0, -2)
        return max(0, self._call(_LIST_OFFSETS, 1, body, read) or 0)

    def _produce(self, name: str) -> Seen:
        """A produce of no record at all: refused as empty by who may write, and never written."""

        def read(answer: WireReader) -> int:
            for _ in range(answer.array_length()):
                answer.string()
                for _ in range(answer.array_length()):
                    answer.int32()
                    error: int = answer.int16()
                    return error
            return -1

        partition = struct.pack(">i", 0) + pack_bytes(b"")
        body = pack_nullable_string(None) + struct.pack(">hi", -1, 1000)
        body += struct.pack(">i", 1) + pack_string(name) + struct.pack(">i", 1) + partition
        known = {3: "allowed; the topic does not exist", 87: "let through; nothing was written"}
        return _seen(self._call(_PRODUCE, 3, body, read), "let through", known)

    def _describe_configs(self, name: str) -> Seen:
        body = struct.pack(">ib", 1, 2) + pack_string(name) + struct.pack(">i", 1) + pack_string("cleanup.policy")

        def read(answer: WireReader) -> int:
            answer.int32()
            return answer.int16() if answer.array_length() else -1

        known = {3: "allowed; the topic does not exist"}
        return _seen(self._call(_DESCRIBE_CONFIGS, 1, body + b"\0", read), "configs were read", known)

    def _alter_configs(self, name: str) -> Seen:
        body = struct.pack(">ib", 1, 2) + pack_string(name) + struct.pack(">i", 0) + b"\1"

        def read(answer: WireReader) -> int:
            answer.int32()
            return answer.int16() if answer.array_length() else -1

        return _seen(self._call(_INCREMENTAL_ALTER, 0, body, read), "let through; nothing was changed", {})

    def _create_topic(self, name: str) -> Seen:
        body = struct.pack(">i", 1) + pack_string(name) + struct.pack(">ihii", 1, 1, 0, 0) + struct.pack(">ib", 5000, 1)

        def read(answer: WireReader) -> int:
            answer.int32()
            if not answer.array_length():
                return -1
            answer.string()
            error: int = answer.int16()
            return error

        return _seen(self._call(_CREATE_TOPICS, 2, body, read), "validated; nothing was made", {36: "it exists"})

    def _grow_topic(self, name: str) -> Seen:
        body = struct.pack(">i", 1) + pack_string(name) + struct.pack(">ii", 1, -1) + struct.pack(">ib", 5000, 1)

        def read(answer: WireReader) -> int:
            answer.int32()
            if not answer.array_length():
                return -1
            answer.string()
            error: int = answer.int16()
            return error

        known = {3: "allowed; the topic does not exist", 37: "let through; nothing was changed"}
        return _seen(self._call(_CREATE_PARTITIONS, 0, body, read), "validated; nothing was changed", known)

    # ---- groups, transactions, cluster ------------------------------------------------------------------------------

    def _describe_group(self, name: str) -> Seen:
        def read(answer: WireReader) -> int:
            return answer.int16() if answer.array_length() else -1

        body = struct.pack(">i", 1) + pack_string(name)
        return _seen(self._call(_DESCRIBE_GROUPS, 0, body, read), "described", {})

    def _heartbeat(self, name: str) -> Seen:
        body = pack_string(name) + struct.pack(">i", 0) + pack_string(_NOBODY)

        def read(answer: WireReader) -> int:
            error: int = answer.int16()
            return error

        return _seen(self._call(_HEARTBEAT, 0, body, read), "let through", {25: "let through as an unknown member"})

    def _end_transaction(self, name: str) -> Seen:
        body = pack_string(name) + struct.pack(">qhb", -1, -1, 0)

        def read(answer: WireReader) -> int:
            answer.int32()
            error: int = answer.int16()
            return error

        return _seen(self._call(_END_TXN, 0, body, read), "let through", {49: "let through; there was nothing to end"})

    def _init_producer_id(self) -> Seen:
        def read(answer: WireReader) -> int:
            answer.int32()
            error: int = answer.int16()
            return error

        body = pack_nullable_string(None) + struct.pack(">i", 1000)
        return _seen(self._call(_INIT_PRODUCER_ID, 0, body, read), "a producer id was given", {})

    def _describe_acls(self) -> Seen:
        def read(answer: WireReader) -> int:
            answer.int32()
            error: int = answer.int16()
            return error

        body = struct.pack(">b", 1) + pack_nullable_string(None) + struct.pack(">b", 1)
        body += pack_string(f"User:{_NOBODY}") + pack_nullable_string(None) + struct.pack(">bb", 1, 1)
        return _seen(self._call(_DESCRIBE_ACLS, 1, body, read), "ACLs were read", {54: "there is no authorizer"})

    def _describe_quotas(self) -> Seen:
        def read(answer: WireReader) -> int:
            answer.int32()
            error: int = answer.int16()
            return error

        component = pack_string("user") + b"\0" + pack_nullable_string(_NOBODY)
        body = struct.pack(">i", 1) + component + b"\0"
        return _seen(self._call(_DESCRIBE_QUOTAS, 0, body, read), "quotas were read", {})


def _seen(code: int | None, words: str, known: dict[int, str]) -> Seen:
    """What an answer's error code says about the right alone."""
    if code is None:
        return Seen(None, "the brokers do not know this request")
    if code in _DENIED:
        return Seen(False, error_words(code))
    if code in known:
        return Seen(True, known[code])
    if code in _NO_ANSWER:
        return Seen(None, error_words(code))
    return Seen(True, words if code == 0 else f"let through ({error_words(code)})")
