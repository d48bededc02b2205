"""The Connect client against an invented REST interface."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from kferry.connect.client import ConnectClient, ConnectorTask
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import TopicPartition

Answer = Callable[[httpx2.Request], httpx2.Response]
W1, W2 = "http://w1:8083", "http://w2:8083/"


def _client(answer: Answer, urls: tuple[str, ...] = (W1, W2), deadline_seconds: float = 5.0) -> ConnectClient:
    return ConnectClient(urls, deadline_seconds=deadline_seconds, transport=httpx2.MockTransport(answer))


def test_status_with_trace_and_tasks() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.url.raw_path == b"/connectors/a%2Fb/status"
        body = {
            "name": "a/b",
            "connector": {"state": "RUNNING", "worker_id": "w1:8083"},
            "tasks": [
                {"id": 1, "state": "FAILED", "worker_id": "w2:8083", "trace": "boom"},
                {"id": 0, "state": "RUNNING", "worker_id": "w1:8083"},
            ],
        }
        return httpx2.Response(200, json=body)

    with _client(answer) as client:
        status = client.status("a/b")
    assert status is not None
    assert (status.state, status.worker, status.trace) == ("RUNNING", "w1:8083", None)
    assert status.tasks == (
        ConnectorTask(0, "RUNNING", "w1:8083"),
        ConnectorTask(1, "FAILED", "w2:8083", "boom"),
    )


def test_what_is_not_there_is_none() -> None:
    with _client(lambda _request: httpx2.Response(404, json={"error_code": 404, "message": "no"})) as client:
        assert client.status("gone") is None
        assert client.config("gone") is None
        assert client.offsets("gone") is None


def test_offsets_are_last_copied_records_and_foreign_entries_are_left_out() -> None:
    body = {
        "offsets": [
            {"partition": {"cluster": "s", "partition": 3, "topic": "t"}, "offset": {"offset": 41}},
            {"partition": {"filename": "x"}, "offset": {"position": 3}},
            {"partition": {"cluster": "s", "partition": 4, "topic": "t"}, "offset": None},
        ]
    }
    with _client(lambda _request: httpx2.Response(200, json=body)) as client:
        assert client.offsets("c") == {TopicPartition("t", 3): 41}


@pytest.mark.parametrize("status", [409, 500, 503])
def test_an_answer_that_passes_is_asked_again(status: int) -> None:
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.host)
        if len(asked) <= 3:
            return httpx2.Response(status, json={"error_code": status, "message": "not now"})
        return httpx2.Response(200, json=["b", "a"])

    with _client(answer) as client:
        assert client.connectors() == ["a", "b"]
    assert asked == ["w1", "w2", "w1", "w2"]


def test_the_next_worker_is_asked_and_remembered() -> None:
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.host)
        if request.url.host == "w1":
            raise httpx2.ConnectError("refused", request=request)
        return httpx2.Response(200, json={"k": "v"})

    with _client(answer) as client:
        assert client.config("c") == {"k": "v"}
        assert client.config("c") == {"k": "v"}
    assert asked == ["w1", "w2", "w2"]


def test_no_worker_in_reach_is_a_sentence() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("Connection refused", request=request)

    with _client(answer, deadline_seconds=0.5) as client, pytest.raises(KferryError) as caught:
        client.connectors()
    assert caught.value.kind is ErrorKind.CONNECT
    assert "Connection refused" in caught.value.cause
    assert caught.value.next_step


def test_a_refusal_is_not_repeated() -> None:
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(401, text="Unauthorized")

    with _client(answer) as client, pytest.raises(KferryError) as caught:
        client.connectors()
    assert len(asked) == 1
    assert "401" in caught.value.cause


def test_alive_means_a_connect_worker_and_nothing_else() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "w1":
            return httpx2.Response(200, json={"version": "3.9.2", "commit": "x", "kafka_cluster_id": "abc"})
        return httpx2.Response(200, text="<html>")

    with _client(answer) as client:
        assert client.alive(W1)
        assert not client.alive(W2)
        roots = client.root()
    assert roots["http://w2:8083"] is None
    first = roots[W1]
    assert first is not None
    assert (first.version, first.kafka_cluster_id) == ("3.9.2", "abc")
