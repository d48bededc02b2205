"""The record of a worker's metrics: from a real scrape, with gaps, and from things that are no metrics at all."""

from __future__ import annotations

import gzip
from pathlib import Path

import httpx2
import pytest

from kferry.connect import metrics
from kferry.connect.metrics import WANTED, WorkerMetrics, fetch_metrics, metrics_url, parse_metrics
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import TopicPartition, WorkerSpec
from support.metrics_worker import TOPICS
from support.recorded_scrape import RECORDED, names_in

SCRAPE = RECORDED.read_text(encoding="utf-8")
URL = "http://10.0.0.11:19400/metrics"


def without(*names: str) -> str:
    return "".join(f"{line}\n" for line in SCRAPE.splitlines() if not line.startswith(names))


def client(answer: httpx2.Response | Exception) -> httpx2.Client:
    def handle(request: httpx2.Request) -> httpx2.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return httpx2.Client(transport=httpx2.MockTransport(handle))


def test_a_real_scrape_is_read_whole() -> None:
    found = parse_metrics(SCRAPE, taken_at_ms=42)
    assert found.taken_at_ms == 42
    assert found.heap_used_bytes and found.heap_max_bytes and found.heap_used_bytes < found.heap_max_bytes < 500e6
    assert found.process_cpu_ratio is not None and 0 <= found.process_cpu_ratio <= 1
    assert (found.connector_tasks_running, found.connector_tasks_failed) == (3, 0)
    assert found.rebalancing is False
    assert found.heartbeat_age_seconds is not None and found.heartbeat_age_seconds < 10
    assert found.records_per_second and found.bytes_per_second and found.bytes_per_second > found.records_per_second
    assert found.record_age_seconds and found.record_age_seconds > 0


def test_lag_stands_under_the_topics_own_names() -> None:
    lag = parse_metrics(SCRAPE, taken_at_ms=0).records_lag
    # dots come back, and the alias that MirrorMaker puts before what looks like its heartbeats is gone
    assert set(lag) == {TopicPartition(topic, partition) for topic in TOPICS for partition in (0, 1)}
    behind = {key.topic for key, records in lag.items() if records > 0}
    assert behind == {"orders.v1"}


def test_a_lag_whose_topic_cannot_be_told_is_unknown() -> None:
    text = (
        'kferry_mirrored_records_per_second{source="s",topic="a.b",partition="0"} 1.0\n'
        'kferry_mirrored_records_per_second{source="s",topic="a_b",partition="0"} 1.0\n'
        'kferry_mirrored_records_per_second{source="s",topic="c.d",partition="0"} 1.0\n'
        'kferry_lag_records{topic="a_b",partition="0"} 5.0\n'
        'kferry_lag_records{topic="c_d",partition="0"} 6.0\n'
        'kferry_lag_records{topic="not_seen",partition="0"} 7.0\n'
        'kferry_lag_records{topic="plain",partition="0"} 8.0\n'
        'kferry_lag_records{topic="plain",partition="1"} NaN\n'
        'kferry_lag_records{topic="plain",partition="x"} 9.0\n'
    )
    assert parse_metrics(text, taken_at_ms=0).records_lag == {
        TopicPartition("c.d", 0): 6,
        TopicPartition("plain", 0): 8,
    }


def test_what_is_not_there_is_unknown_and_never_zero() -> None:
    only_heap = "".join(f"{line}\n" for line in SCRAPE.splitlines() if line.startswith("jvm_memory_used"))
    used_bytes = parse_metrics(SCRAPE, taken_at_ms=0).heap_used_bytes
    assert parse_metrics(only_heap, taken_at_ms=1) == WorkerMetrics(taken_at_ms=1, heap_used_bytes=used_bytes)
    unmeasured = 'kferry_process_cpu_ratio -1.0\njvm_memory_max_bytes{area="heap"} -1.0\nkferry_rebalancing NaN\n'
    assert parse_metrics(unmeasured, taken_at_ms=1) == WorkerMetrics(taken_at_ms=1)
    gone = parse_metrics(without("kferry_connector_tasks", "kferry_mirrored", "kferry_worker_tasks"), taken_at_ms=1)
    assert (gone.connector_tasks_running, gone.bytes_per_second) == (None, None)


def test_a_worker_without_work_copies_nothing() -> None:
    found = parse_metrics("kferry_worker_tasks 0.0\nkferry_rebalancing 1.0\n", taken_at_ms=1)
    assert (found.connector_tasks_running, found.connector_tasks_failed, found.bytes_per_second) == (0, 0, 0.0)
    assert found.rebalancing is True and found.record_age_seconds is None and found.records_lag == {}


def test_hostile_label_values_stay_values() -> None:
    written = r"{{ x }} ${y} [b] \" \\ # \n kferry-rebalancing 1.0 }"
    found = parse_metrics(f'kferry_lag_records{{topic="{written}",partition="3"}} 4.0\n', taken_at_ms=0)
    name = '{{ x }} ${y} [b] " \\ # \n kferry-rebalancing 1.0 }'
    assert found == WorkerMetrics(taken_at_ms=0, records_lag={TopicPartition(name, 3): 4})


@pytest.mark.parametrize(
    "text", ["", "<html>busy</html>", "other_metric 1\n", 'kferry_lag_records{topic="a 1\n', "\0\0", "a{" * 5000]
)
def test_what_is_no_scrape_of_a_worker_is_a_sentence(text: str) -> None:
    with pytest.raises(KferryError, match="cannot be read") as error:
        parse_metrics(text, taken_at_ms=0, origin=URL)
    assert URL in error.value.title and error.value.cause and error.value.next_step
    assert error.value.kind is ErrorKind.CONNECT


def test_only_what_is_used_is_asked_for() -> None:
    asked: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(200, content=gzip.compress(SCRAPE.encode()), headers={"content-encoding": "gzip"})

    with httpx2.Client(transport=httpx2.MockTransport(handle)) as http:
        found = fetch_metrics(http, URL)
    assert found.connector_tasks_running == 3 and found.taken_at_ms > 1_600_000_000_000
    assert asked[0].url.params.get_list("name[]") == list(WANTED)
    assert set(WANTED) <= names_in(SCRAPE)


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(500, text="no"),
        httpx2.Response(200, text="not metrics"),
        httpx2.Response(200, stream=httpx2.ByteStream(b"\x1f\x8bbroken"), headers={"content-encoding": "gzip"}),
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("slow"),
    ],
)
def test_a_worker_that_does_not_answer_well_is_a_sentence(answer: httpx2.Response | Exception) -> None:
    with client(answer) as http, pytest.raises(KferryError, match="cannot be read") as error:
        fetch_metrics(http, URL)
    assert error.value.cause and error.value.kind is ErrorKind.CONNECT


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_ANSWER_BYTES", 1000)
    with client(httpx2.Response(200, text=SCRAPE)) as http, pytest.raises(KferryError, match="cannot be read"):
        fetch_metrics(http, URL)


def test_a_worker_without_an_agent_has_no_address() -> None:
    worker = WorkerSpec("shop-1", "w1", "10.0.0.11", 18083, 1 << 30)
    assert metrics_url(worker) is None
    assert metrics_url(WorkerSpec("shop-1", "w1", "10.0.0.11", 18083, 1 << 30, metrics_port=19400)) == URL


def test_the_record_is_small_and_of_no_machine() -> None:
    assert Path(RECORDED).stat().st_size < 40_000
    assert "127.0.0.1" not in SCRAPE and "/" not in "".join(names_in(SCRAPE))
