"""The recorded scrape of a real worker; `KFERRY_TEST_RECORD_METRICS=1 pytest -k what_was_recorded` records it anew."""

from __future__ import annotations

from pathlib import Path

RECORDED = Path(__file__).parents[1] / "unit" / "connect" / "data" / "worker_metrics.txt"


def names_in(text: str) -> set[str]:
    """Names of all metrics in a scrape."""
    return {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}
