"""What is dear to read is read once, and unknown stays unknown."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from kferry.connect.metrics import WorkerMetrics
from kferry.domain.model import TaskSpec, WorkerSpec
from kferry.engine import vitals
from kferry.engine.vitals import Vitals

WORKER = WorkerSpec("shop-1", "w1", "10.0.0.1", 18083, 1 << 30, 19400)
SPEC = TaskSpec("shop", "k3f9x2", "shop", 1, ("orders", "payments"), (), (WORKER,), 1)


def topic(name: str, end_offset: int | None, mean: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "mean_record_bytes": mean,
        "partitions": [{"partition": 0, "log_start_offset": 0, "end_offset": end_offset}],
    }


class Fakes:
    """A journal with one scan and a worker's agent that count how often they are read."""

    def __init__(self) -> None:
        self.scan: tuple[int, str] | None = None
        self.scans_read = self.metrics_read = 0
        self.journal = SimpleNamespace(document=self._document, document_at_ms=self._at_ms)
        self.routes = SimpleNamespace(metrics=self._metrics)

    def write_scan(self, at_ms: int, *topics: dict[str, Any]) -> None:
        self.scan = (at_ms, json.dumps({"topics": topics}))

    def _document(self, _kind: str, _subject: str) -> str | None:
        self.scans_read += 1
        return self.scan[1] if self.scan else None

    def _at_ms(self, _kind: str, _subject: str) -> int | None:
        return self.scan[0] if self.scan else None

    def _metrics(self, _worker: WorkerSpec) -> WorkerMetrics | None:
        self.metrics_read += 1
        return WorkerMetrics(0, heap_used_bytes=self.metrics_read)


def test_the_mean_is_weighted_by_records_and_a_scan_is_read_once() -> None:
    fakes = Fakes()
    found = Vitals(fakes)  # type: ignore[arg-type]
    assert found.mean_record_bytes(SPEC) is None
    fakes.write_scan(1, topic("orders", 30, 100.0), topic("payments", 10, 500.0), topic("other", 1000, 9.0))
    assert found.mean_record_bytes(SPEC) == 200.0
    read = fakes.scans_read
    assert found.mean_record_bytes(SPEC) == 200.0
    assert fakes.scans_read == read
    fakes.write_scan(2, topic("orders", 30, None))
    assert found.mean_record_bytes(SPEC) is None


def test_metrics_are_fetched_again_only_when_they_are_old(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = Fakes()
    found = Vitals(fakes)  # type: ignore[arg-type]

    def heap() -> object:
        return found.of_worker(WORKER, is_alive=True, version="3.9.2")["heap_used_bytes"]

    assert [heap(), heap()] == [1, 1]
    assert found.of_worker(WORKER, is_alive=False, version=None)["heap_used_bytes"] is None
    monkeypatch.setattr(vitals, "METRICS_EVERY_SECONDS", 0.0)
    assert [heap(), heap()] == [2, 3]
