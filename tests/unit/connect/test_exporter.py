"""What a real worker's metrics agent exposes is what the recorded scrape says; the other tests stand on the record."""

from __future__ import annotations

import os
import re
from pathlib import Path

import httpx2
import pytest

from kferry.connect.metrics import fetch_metrics
from support.metrics_worker import TOPICS, running_worker
from support.recorded_scrape import RECORDED, names_in
from support.waiting import wait_until


def kept_small(text: str) -> str:
    """Of what the agent tells of the JVM only what kferry, the alert rules and the dashboard use; no address, no id."""
    wanted = re.compile(r"(?:# \w+ )?(?:kferry_|jvm_memory_(?:used|max)_bytes)")
    return "".join(f"{line}\n" for line in text.splitlines() if wanted.match(line))


@pytest.mark.slow
def test_a_real_worker_exposes_what_was_recorded(tmp_path: Path) -> None:
    with running_worker(tmp_path) as run:
        text = run.wait_for_lag()
        with httpx2.Client(trust_env=False, timeout=10) as http:
            metrics = fetch_metrics(http, run.metrics_url)
            assert metrics.connector_tasks_failed == 0
            # the alert for failed connector tasks stands on this count
            run.create_failing_connector()
            wait_until(lambda: fetch_metrics(http, run.metrics_url).connector_tasks_failed == 1, 60, "a task failed")
        assert 'kferry_task_status{connector="broken",status="failed",task="0"} 1.0' in run.scrape().splitlines()
    if os.environ.get("KFERRY_TEST_RECORD_METRICS"):
        RECORDED.write_text(kept_small(text), encoding="utf-8")
    assert names_in(kept_small(text)) == names_in(RECORDED.read_text(encoding="utf-8"))
    assert {(key.topic, key.partition) for key in metrics.records_lag} == {(t, p) for t in TOPICS for p in (0, 1)}
    assert metrics.connector_tasks_running == 3
    assert metrics.heap_used_bytes and metrics.heap_max_bytes and metrics.heap_used_bytes < metrics.heap_max_bytes
    assert metrics.bytes_per_second and metrics.rebalancing is False
    assert metrics.process_cpu_ratio is not None and 0 <= metrics.process_cpu_ratio <= 1
