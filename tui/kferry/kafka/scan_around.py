"""What surrounds topics and groups in a scan: bytes on disk, access, transactions, producers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kferry.domain.access import Access
from kferry.domain.errors import KferryError
from kferry.domain.model import (
    ActiveProducer,
    Broker,
    Capability,
    ClusterFacts,
    HangingTransaction,
    Topic,
    TopicPartition,
    TransactionalId,
)
from kferry.domain.words import first_of
from kferry.kafka import acl_entries, log_dirs, producers, quotas, scram_users
from kferry.kafka.admin import ClusterAdmin
from kferry.kafka.broker_calls import Answers
from kferry.kafka.direct import DirectSession
from kferry.kafka.told import Told
from kferry.kafka.transactions import read_transactional_ids

_ACCESS_SECONDS = 20.0
_MAX_PRODUCERS = 100_000
_DEFAULT_MAX_TRANSACTION_MS = 900_000
_SLACK_MS = 300_000  # as Kafka's own search for hanging transactions allows


@dataclass(slots=True)
class Surroundings:
    """What is known, with a capability for each question and a note by name for each that has no (whole) answer."""

    capabilities: dict[str, Capability] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sizes: dict[TopicPartition, int] = field(default_factory=dict)
    access: Access = field(default_factory=Access)
    transactional_ids: tuple[TransactionalId, ...] | None = None
    is_log_read: bool = False
    are_records_read: bool = True
    producers: tuple[ActiveProducer, ...] | None = None
    hanging: tuple[HangingTransaction, ...] | None = None


class SurroundingsReader:
    """Asks one question after the other; none of them can end the scan, but for a cancel."""

    def __init__(self, admin: ClusterAdmin, facts: ClusterFacts, *, cancelled: Callable[[], bool]) -> None:
        self.found = Surroundings()
        self._admin = admin
        self._facts = facts
        self._cancelled = cancelled
        self._known: list[producers.KnownTransaction] | None = None
        self._unlisted = ""  # why they are not known

    def read_sizes(self) -> None:
        sizes, answers = log_dirs.partition_bytes(self._admin.config, self._facts.brokers, cancelled=self._cancelled)
        self.found.sizes = sizes
        self._judge("log_dirs", "Sizes on disk", answers, "DESCRIBE on the cluster")

    def read_access(self) -> None:
        asked: tuple[tuple[str, str, Callable[[DirectSession], Told[tuple[object, ...]]]], ...] = (
            ("acls", "ACLs", acl_entries.read_through),  # type: ignore[assignment]
            ("quotas", "Client quotas", quotas.read_through),
            ("scram_users", "SCRAM users", scram_users.read_through),
        )
        answered: dict[str, object] = {}
        for name, words, ask in asked:
            self._raise_if_cancelled()
            try:
                # a connection for each: a broker that breaks one off does not take the others along
                with DirectSession(self._admin.config, timeout_seconds=_ACCESS_SECONDS) as session:
                    told = ask(session)
            except (KferryError, OSError, ValueError) as error:
                reason = (error.cause or error.title) if isinstance(error, KferryError) else str(error)
                told = Told(None, Capability.UNKNOWN, reason.rstrip("."))
            self.found.capabilities[name] = told.capability
            answered[name] = told.value
            if told.value is None:
                grant = f" The right is missing: {told.grant}." if told.grant else ""
                self.found.notes.append(f"{words} are not available: {told.words.rstrip('.')}.{grant}")
        self.found.access = Access(**answered)  # type: ignore[arg-type]

    def read_transactions(self) -> None:
        """Ids from the coordinators' log, which keeps the topics; else those that the brokers list."""
        ids, reason = read_transactional_ids(self._admin.connection, cancelled=self._cancelled)
        self._raise_if_cancelled()
        answers = producers.transactions(self._admin.config, self._facts.brokers, cancelled=self._cancelled)
        listed = [item for found in answers.by_broker.values() for item in found]
        if not answers.failed:
            self._known = listed
        else:
            self._unlisted = f" ({'; '.join(sorted(set(answers.failed.values())))})"
        if ids is not None:
            self.found.is_log_read = True
            self.found.capabilities["transactional_ids"] = Capability.SUPPORTED
            self.found.transactional_ids = _merged(ids, listed)
            return
        denied = "AUTHORIZATION_FAILED" in reason
        self.found.capabilities["transactional_ids"] = Capability.DENIED if denied else Capability.UNKNOWN
        if listed:
            self.found.transactional_ids = _merged((), listed)
            self.found.notes.append(
                "Of the transactional ids only those that kferry may describe are known, without the topics of "
                f"transactions that are over. {reason}"
            )
        else:
            self.found.notes.append(f"Transactional ids are not known. {reason}")

    def read_producers(
        self,
        topics: Iterable[Topic],
        leader_of: Callable[[TopicPartition], int],
        *,
        hanging_after_ms: int | None = None,
    ) -> None:
        """Producers of the partitions that have any records, and transactions that nobody will end."""
        brokers = {broker.broker_id: broker for broker in self._facts.brokers}
        led_by: dict[Broker, list[TopicPartition]] = {}
        for topic in topics:
            for part in topic.partitions:
                tp = TopicPartition(topic.name, part.partition)
                if part.end_offset and leader_of(tp) in brokers:
                    led_by.setdefault(brokers[leader_of(tp)], []).append(tp)
        answers = producers.active_producers(self._admin.config, led_by, cancelled=self._cancelled)
        self._judge("producers", "Active producers", answers, "READ on the topics")
        if not answers.by_broker and led_by:
            self.found.notes.append("Hanging transactions are not available: they are found by their producers.")
            return
        errors: dict[TopicPartition, str] = {}
        found: list[ActiveProducer] = []
        for item in answers.by_broker.values():
            errors.update(item.errors)
            found += item.producers
        if errors:
            names = sorted({tp.topic for tp in errors})
            self.found.notes.append(
                f"Active producers of {len(names)} topics are not available: {first_of(names, 3)} "
                f"({', '.join(sorted(set(errors.values())))})."
            )
        self._note_hanging(found, hanging_after_ms)
        if len(found) > _MAX_PRODUCERS:
            self.found.notes.append(f"Of {len(found)} active producers the newest {_MAX_PRODUCERS} are kept.")
            found = sorted(found, key=lambda item: item.last_timestamp_ms or 0)[-_MAX_PRODUCERS:]
        self.found.producers = tuple(found)

    def _note_hanging(self, found: list[ActiveProducer], older_than_ms: int | None) -> None:
        if self._known is None:
            self.found.notes.append(
                f"Hanging transactions are not available: not every coordinator lists its transactions{self._unlisted}."
            )
            return
        if older_than_ms is None:
            limit = self._facts.broker_configs.get("transaction.max.timeout.ms", "")
            older_than_ms = (int(limit) if limit.isdigit() else _DEFAULT_MAX_TRANSACTION_MS) + _SLACK_MS
        now_ms = time.time_ns() // 1_000_000
        self.found.hanging = producers.hanging(found, self._known, now_ms=now_ms, older_than_ms=older_than_ms)

    def _judge(self, name: str, words: str, answers: Answers[Any], grant: str) -> None:
        """Sets the capability; names the brokers that gave no answer."""
        if not answers.failed:
            self.found.capabilities[name] = Capability.SUPPORTED
            return
        reasons = sorted(set(answers.failed.values()))
        denied = all("AUTHORIZATION_FAILED" in reason for reason in reasons)
        if answers.by_broker:
            self.found.capabilities[name] = Capability.SUPPORTED
            missing = ", ".join(str(broker) for broker in sorted(answers.failed))
            self.found.notes.append(f"{words} of broker {missing} are not available: {'; '.join(reasons)}.")
            return
        self.found.capabilities[name] = (
            Capability.UNSUPPORTED if answers.unsupported else Capability.DENIED if denied else Capability.UNKNOWN
        )
        missing_right = f" The right is missing: {grant}." if denied else ""
        self.found.notes.append(f"{words} are not available: {'; '.join(reasons)}.{missing_right}")

    def _raise_if_cancelled(self) -> None:
        if self._cancelled():
            raise KferryError("The scan was cancelled.", next_step="Go on with it: kferry scan --resume.")


def with_size(topic: Topic, sizes: Mapping[TopicPartition, int]) -> Topic:
    """The topic with its bytes on disk; None where one of its partitions was not told."""
    found = [sizes.get(TopicPartition(topic.name, part.partition)) for part in topic.partitions]
    known = [size for size in found if size is not None]
    return replace(topic, size_bytes=sum(known) if found and len(known) == len(found) else None)


def with_transactions(topics: Iterable[Topic], around: Surroundings) -> list[Topic]:
    """The topics with what the coordinators and their producers say of transactions in them."""
    written = {name for item in around.transactional_ids or () for name in item.topics}
    written |= {item.topic for item in around.producers or () if item.transaction_start_offset is not None}
    return [topic if topic.is_internal else _judged(topic, around, written) for topic in topics]


def _judged(topic: Topic, around: Surroundings, written: set[str]) -> Topic:
    has = topic.has_transactions
    if topic.name in written:
        has = True
    elif has is None and around.is_log_read and around.are_records_read and "records:" not in (topic.error or ""):
        has = False  # neither its newest records nor the coordinators' log know of any
    return topic if has is topic.has_transactions else replace(topic, has_transactions=has)


def _merged(
    logged: tuple[TransactionalId, ...], listed: Iterable[producers.KnownTransaction]
) -> tuple[TransactionalId, ...]:
    found = {item.transactional_id: item for item in logged}
    for item in listed:
        topics = frozenset(tp.topic for tp in item.partitions)
        old = found.get(item.transactional_id)
        found[item.transactional_id] = (
            TransactionalId(item.transactional_id, topics, item.state)
            if old is None
            else replace(old, topics=old.topics | topics)
        )
    return tuple(found[name] for name in sorted(found))
