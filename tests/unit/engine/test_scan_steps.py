"""What the engine says of a scan that goes on: what was taken over counts as done, and tells nothing of the speed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kferry.domain.model import Role, Scan
from kferry.domain.runbook import Operation, OperationKind, OperationStatus, StepState
from kferry.engine.context import StepContext
from kferry.engine.operations.scans import ScanSource, _Progress
from kferry.store import schema
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from support.scans import group, scan, topic


@pytest.fixture
def context(tmp_path: Path) -> Iterator[StepContext]:
    layout = Layout(tmp_path)
    layout.prepare()
    schema.upgrade(layout.journal)
    services: Any = SimpleNamespace(layout=layout, journal=Journal(layout.journal))
    steps = (StepState("scan_source", attempt=1),)
    operation = Operation("scan-1", OperationKind.SCAN, "", {}, OperationStatus.RUNNING, steps)
    yield StepContext(services, {"scan-1": operation}, "scan-1", "scan_source")
    services.journal.close()


def cut_off(well: int, failed: int) -> Scan:
    broken = [topic(f"failed-{number}", error="no answer") for number in range(failed)]
    return replace(scan([*(topic(f"t-{number}") for number in range(well)), *broken], [group("g")]), complete=False)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ({"what": "topics", "done": 40, "total": 100}, {"topics": 0.3, "groups": 1.0}),
        ({"what": "lag", "done": 1, "total": 4000}, {"topics": 0.75, "groups": 1.0}),
        ({"what": "groups", "done": 1, "total": 4}, {"topics": 0.75, "groups": 0.25}),
        ({}, {"topics": 0.75, "groups": 1.0}),
    ],
)
def test_the_share_that_is_taken_over(
    context: StepContext, last: dict[str, object], expected: dict[str, float]
) -> None:
    context.journal.put_document("scan_progress", "source", json.dumps(last))
    assert ScanSource()._already(context, cut_off(30, 10)) == pytest.approx(expected)
    assert ScanSource()._already(context, None) == {}


def test_a_scan_that_goes_on_begins_where_it_was_and_knows_no_eta_yet(context: StepContext) -> None:
    progress = _Progress(context, Role.SOURCE, {"topics": 0.5})
    progress("cluster", 0, 1)
    body = json.loads(context.journal.document("scan_progress", "source") or "")
    assert body["share"] == pytest.approx(0.3)
    assert body["eta_seconds"] is None
