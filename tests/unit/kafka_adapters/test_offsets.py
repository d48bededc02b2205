"""Offsets of topics that the client library remembers wrongly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import ListOffsetsResultInfo

from kferry.domain.model import TopicPartition
from kferry.kafka import offsets
from kferry.kafka.connection import Connection

NEW, OLD = TopicPartition("new", 0), TopicPartition("old", 0)


class Remembering:
    """A connection whose first client goes on saying that there is no leader; every client knows `old`."""

    def __init__(self, error: int, known_by_clients: int) -> None:
        self.closed = 0
        self._error, self._known_by_clients = error, known_by_clients

    def close(self) -> None:
        self.closed += 1

    def ask_many(
        self, _start: Callable[..., Any], keys: Iterable[TopicPartition], **_limits: Any
    ) -> tuple[dict[TopicPartition, ListOffsetsResultInfo], dict[TopicPartition, KafkaError]]:
        found = {tp for tp in keys if tp == OLD or self.closed >= self._known_by_clients}
        info = ListOffsetsResultInfo(7, -1, -1)
        return dict.fromkeys(found, info), {tp: KafkaError(self._error) for tp in keys if tp not in found}


@pytest.mark.parametrize("error", sorted(offsets._MAYBE_STALE))
def test_a_new_client_is_asked_once_more(error: int) -> None:
    connection = Remembering(error, known_by_clients=1)
    found = offsets.offsets(cast(Connection, connection), [NEW, OLD], "end", timeout_seconds=5)
    assert found == {NEW: 7, OLD: 7}
    assert connection.closed == 1


def test_what_a_new_client_does_not_know_either_is_unknown() -> None:
    connection = Remembering(KafkaError._NOENT, known_by_clients=9)
    found, errors = offsets.offsets_or_why(cast(Connection, connection), [NEW, OLD], "end", timeout_seconds=5)
    assert found == {OLD: 7}
    assert errors[NEW].code() == KafkaError._NOENT
    assert connection.closed == 1


def test_other_errors_are_taken_as_they_are() -> None:
    connection = Remembering(KafkaError.TOPIC_AUTHORIZATION_FAILED, known_by_clients=1)
    found, errors = offsets.offsets_or_why(cast(Connection, connection), [NEW, OLD], "end", timeout_seconds=5)
    assert (found, list(errors), connection.closed) == ({OLD: 7}, [NEW], 0)
