"""Worker figures and record sizes for the observers: dear to read, so kept until they are old or changed."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from kferry.domain.model import TaskSpec, WorkerSpec

if TYPE_CHECKING:
    from kferry.connect.metrics import WorkerMetrics
    from kferry.engine.context import Services

# A worker of a thousand partitions needs 0.15 s of CPU to say and us to read it; heap and CPU move slowly.
METRICS_EVERY_SECONDS = 10.0


class Vitals:
    """Used by the observers' thread alone."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._metrics: dict[tuple[str, int], tuple[float, WorkerMetrics | None]] = {}
        self._scan_at_ms: int | None = None
        self._sizes: dict[str, tuple[int, float]] = {}

    def of_worker(self, worker: WorkerSpec, *, is_alive: bool, version: str | None) -> dict[str, Any]:
        """A worker as the document `observation` has it; what its agent doesn't say is null."""
        metrics = self._of(worker) if is_alive else None
        return {
            "name": worker.name,
            "host": worker.host,
            "alive": is_alive,
            "version": version,
            "heap_used_bytes": metrics.heap_used_bytes if metrics else None,
            "heap_max_bytes": metrics.heap_max_bytes if metrics else None,
            "cpu_ratio": metrics.process_cpu_ratio if metrics else None,
        }

    def mean_record_bytes(self, spec: TaskSpec) -> float | None:
        """Mean record size over the task's topics from the last scan, weighted by their records."""
        self._read_scan()
        found = [self._sizes[name] for name in spec.topics if name in self._sizes]
        records = sum(count for count, _ in found)
        return sum(count * mean for count, mean in found) / records if records else None

    def _of(self, worker: WorkerSpec) -> WorkerMetrics | None:
        key, now = (worker.host, worker.metrics_port), time.monotonic()
        asked_at, metrics = self._metrics.get(key, (-METRICS_EVERY_SECONDS, None))
        if now - asked_at >= METRICS_EVERY_SECONDS or key not in self._metrics:
            metrics = self._services.routes.metrics(worker)
            self._metrics[key] = (now, metrics)
        return metrics

    def _read_scan(self) -> None:
        at_ms = self._services.journal.document_at_ms("scan", "source")
        if at_ms == self._scan_at_ms:
            return
        self._scan_at_ms, self._sizes = at_ms, {}
        for topic in json.loads(self._services.journal.document("scan", "source") or '{"topics": []}')["topics"]:
            if topic.get("mean_record_bytes"):
                spans = [(part["end_offset"] or 0) - (part["log_start_offset"] or 0) for part in topic["partitions"]]
                self._sizes[topic["name"]] = (sum(spans), topic["mean_record_bytes"])
