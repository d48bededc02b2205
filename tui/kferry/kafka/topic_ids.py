"""Topic ids, which tell a topic from another one made later under the same name; and kferry's rights on each topic."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import TopicCollection, Uuid
from confluent_kafka.admin import TopicDescription

from kferry.domain.errors import KferryError
from kferry.kafka.connection import Connection

_TOPICS_PER_CALL = 200


@dataclass(frozen=True, slots=True)
class TopicSight:
    """A topic's id, and what kferry's principal may do there; None where the brokers do not tell."""

    topic_id: str | None = None
    operations: frozenset[str] | None = None

    def allows(self, operation: str) -> bool | None:
        return None if self.operations is None else operation in self.operations


def topic_sights(connection: Connection, names: Iterable[str], *, timeout_seconds: float) -> dict[str, TopicSight]:
    """Id and rights of each topic (rights since 2.3); a topic that is not described has neither."""
    wanted = list(dict.fromkeys(names))
    found = _describe(connection, wanted, timeout_seconds, with_rights=True)
    return {
        name: TopicSight(_text(item.topic_id), _operations(item.authorized_operations)) for name, item in found.items()
    }


def topic_ids(connection: Connection, names: Iterable[str], *, timeout_seconds: float) -> dict[str, str | None]:
    """Topic ids as Kafka prints them; None where the brokers do not know ids (up to 2.7) or would not tell."""
    wanted = list(dict.fromkeys(names))
    try:
        found = _describe(connection, wanted, timeout_seconds, with_rights=False)
    except KferryError:
        return dict.fromkeys(wanted)
    return {name: _text(found[name].topic_id) if name in found else None for name in wanted}


def _describe(
    connection: Connection, wanted: list[str], timeout_seconds: float, *, with_rights: bool
) -> dict[str, TopicDescription]:
    def start(chunk: list[str], left_seconds: float) -> dict[str, Future[TopicDescription]]:
        return connection.client.describe_topics(
            TopicCollection(chunk), include_authorized_operations=with_rights, request_timeout=left_seconds
        )

    found, _errors = connection.ask_many(
        start, wanted, doing="describe topics of", timeout_seconds=timeout_seconds, wave=_TOPICS_PER_CALL
    )
    return found


def _operations(found: Iterable[object] | None) -> frozenset[str] | None:
    return frozenset(str(getattr(item, "name", item)) for item in found or ()) or None


def _text(topic_id: Uuid | None) -> str | None:
    if topic_id is None:
        return None
    text = str(topic_id)
    return None if text.strip("A=") == "" else text  # sixteen zero bytes stand for "no id"
