"""The files between the engine and preflight.yml."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kferry.store.fleet_files import (
    BrokerSecurity,
    FleetRequest,
    forget_report,
    load_report,
    load_reports,
    write_request,
)
from kferry.store.paths import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.fleet.mkdir(parents=True)
    return layout


def test_the_request_is_private_and_as_the_playbook_reads_it(layout: Layout) -> None:
    security = {"source": BrokerSecurity("SASL_SSL", "PLAIN", "me")}
    write_request(layout, FleetRequest({"source": ["b1:9093"], "target": []}, security, [18083], {"source": ["a"]}))
    assert layout.fleet_request.stat().st_mode & 0o777 == 0o600
    assert json.loads(layout.fleet_request.read_text()) == {
        "schema": 1,
        "brokers": {"source": ["b1:9093"], "target": []},
        "security": {
            "source": {"protocol": "SASL_SSL", "mechanism": "PLAIN", "username": "me", "server_name_check": True}
        },
        "ports": [18083],
        "samples": {"source": ["a"]},
    }


def test_a_report_is_read_and_forgotten(layout: Layout) -> None:
    (layout.fleet / "w1.json").write_text('{"schema": 1, "host": "w1", "measured_at_ms": 5, "facts": {"os": "debian"}}')
    report = load_report(layout, "w1")
    assert report is not None and (report.measured_at_ms, report.facts.os, report.facts.sudo) == (5, "debian", None)
    assert load_reports(layout, ["w2", "w1"]) == {"w2": None, "w1": report}
    forget_report(layout, "w1")
    forget_report(layout, "w1")
    assert load_report(layout, "w1") is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"schema": 2, "host": "w1"}', '{"schema": 1, "host": "w2"}', "\udcff"]
)
def test_a_file_that_is_no_report_counts_as_not_measured(layout: Layout, text: str) -> None:
    (layout.fleet / "w1.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert load_report(layout, "w1") is None
