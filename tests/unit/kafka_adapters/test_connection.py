"""How long one attempt of a request waits: short where a broker is known not to answer, and longer each time."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from kferry.domain.model import ClusterConfig, ClusterKind, Role
from kferry.kafka import connection as connecting
from kferry.kafka.connection import Connection


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Connection:
    """A connection whose requests are never sent."""
    monkeypatch.setattr(Connection, "client", SimpleNamespace(poll=lambda _seconds: 0))
    monkeypatch.setattr(connecting, "_PAUSE_SECONDS", 0.0)
    return Connection(ClusterConfig(Role.SOURCE, ClusterKind.APACHE_KAFKA, "127.0.0.1:1"))


def asked(connection: Connection, silences: int, **more: Any) -> list[int]:
    """The seconds that each attempt was given, when the first `silences` of them are not answered."""
    waits: list[int] = []

    def start(left_seconds: float) -> Future[str]:
        waits.append(round(left_seconds))
        future: Future[str] = Future()
        if len(waits) <= silences:
            future.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
        else:
            future.set_result("there")
        return future

    assert connection.ask(start, doing="ask", timeout_seconds=100, **more) == "there"
    return waits


def test_a_healthy_cluster_gets_its_time(connection: Connection) -> None:
    assert asked(connection, 0) == [15]


def test_after_silence_attempts_are_short_and_grow(connection: Connection) -> None:
    assert asked(connection, 4) == [15, 6, 12, 15, 15]
    assert asked(connection, 2) == [3, 6, 12]


def test_a_complaint_or_a_word_of_somebody_else_is_enough(connection: Connection) -> None:
    connection.ear(KafkaError(KafkaError._TRANSPORT))
    assert asked(connection, 0) == [3]
    assert asked(connection, 0) == [3]  # the answer cleared the complaint; the broker may still be dead


def test_a_small_request_is_short_at_first_and_an_unrepeatable_one_never(connection: Connection) -> None:
    assert asked(connection, 1, small=True) == [3, 6]
    connection.note_trouble()
    assert asked(connection, 0, repeatable=False) == [100]
