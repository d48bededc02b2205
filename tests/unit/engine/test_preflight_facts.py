"""What preflight is told: brokers as each machine saw them, and topics that kferry changed since the scan."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kferry.domain.access import Access, ScramUser
from kferry.domain.access_items import Side
from kferry.domain.errors import KferryError
from kferry.domain.model import Batch, Change, Role, Topic, WorkerHost
from kferry.domain.planning import Estimator
from kferry.domain.preflight import CONTROLLER, PreflightFacts, run_checks
from kferry.engine import preflight_facts, preflight_hosts
from kferry.store import schema
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.tables import Sample, TaskRow
from support.preflight_facts import facts
from support.scans import NOW_MS, scan, topic

BROKERS = [
    {"role": "source", "server": "b1:9092", "step": "resolve", "ok": True, "words": "10.0.0.1", "seconds": 0.1},
    {"role": "source", "server": "b1:9092", "step": "tcp", "ok": True, "words": "connected", "seconds": 0.2},
    {"role": "source", "server": "b2:9092", "step": "tcp", "ok": False, "words": "no route", "seconds": 3.0},
    {"role": "elsewhere", "server": "x:1", "step": "tcp", "ok": False, "words": "?", "seconds": None},
]
FLEET = {
    "checked_at_ms": 1,
    "hosts": [
        {"name": "w1", "usable": True, "reasons": [], "facts": {"clock_offset_seconds": 4.5}, "brokers": BROKERS},
        {"name": "w2", "usable": None, "reasons": [], "facts": None, "brokers": None},
    ],
}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Any]:
    layout = Layout(tmp_path)
    layout.prepare()
    schema.upgrade(layout.journal)
    journal = Journal(layout.journal)
    journal.put_document("fleet", "", json.dumps(FLEET))
    yield SimpleNamespace(journal=journal, layout=layout, clusters=SimpleNamespace())
    journal.close()


def test_each_machine_says_of_each_broker_how_far_it_came(services: Any) -> None:
    found = preflight_hosts.worker_probes(services)
    assert [(probe.vantage, probe.server, probe.step, probe.ok) for probe in found] == [
        ("w1", "b1:9092", "tcp", True),
        ("w1", "b2:9092", "tcp", False),
    ]
    assert preflight_hosts.clock_offsets_seconds(services) == {"w1": 4.5, "w2": None}


def test_findings_name_the_machine_from_which_a_broker_is_out_of_reach(services: Any) -> None:
    made = PreflightFacts(
        now_ms=NOW_MS,
        hosts=(WorkerHost("w1", "10.0.0.9", is_local=False, usable=True),),
        probes=tuple(preflight_hosts.worker_probes(services)),
        clock_offsets_seconds=preflight_hosts.clock_offsets_seconds(services),
    )
    found = {one.finding_id: one for one in run_checks(made, only=["broker-from-worker", "worker-clock"])}
    assert set(found) == {"broker-from-worker:w1 source", "broker-from-worker:w1 target", "worker-clock:w1"}
    assert found["broker-from-worker:w1 source"].title.startswith("From w1, 1 of 2 brokers")
    assert found["broker-from-worker:w1 target"].severity == "unknown"


def test_the_connection_test_is_the_controllers_view() -> None:
    lines = [
        ["DNS b1:9092", "ok", "10.0.0.1", 0.1],
        ["TLS b1:9092", "warn", "ends in 3 days", 0.2],
        ["broker 2 b2:9092", "failed", "TCP: refused", None],
        ["clock", "unknown", "not told", None],
        ["rights on the cluster", "unknown", "not told", None],
        ["capabilities", "warn", "denied: acls", None],
        ["broker b3:9092", "ok", "of an older engine"],
    ]
    found = preflight_hosts.controller_probes(Role.SOURCE, lines)
    assert {probe.vantage for probe in found} == {CONTROLLER}
    assert [(probe.server, probe.ok, probe.is_warning) for probe in found] == [
        ("DNS b1:9092", True, False),
        ("TLS b1:9092", True, True),
        ("broker 2 b2:9092", False, False),
        ("clock", None, False),
        ("broker b3:9092", True, False),
    ]
    assert found[0].seconds == 0.1 and found[-1].seconds is None


class Target:
    def __init__(self, now: dict[str, Topic] | None) -> None:
        self.now = now
        self.asked: list[str] = []

    def topics(self, names: list[str]) -> dict[str, Topic]:
        self.asked += names
        if self.now is None:
            raise KferryError("away")
        return {name: self.now[name] for name in names if name in self.now}


def changed(services: Any, *names: str) -> None:
    with services.journal.transaction() as session:
        for name in names:
            change = Change(Role.TARGET, "topic", name, "", None, "x", {"action": "delete_topic"}, "r")
            services.journal.record_change(change, None, session)


def test_topics_that_kferry_changed_since_the_scan_are_looked_at_again(services: Any) -> None:
    there = scan([topic("old"), topic("gone"), topic("same")], role=Role.TARGET)
    there = replace(there, taken_at_ms=1)
    changed(services, "old", "gone", "new")
    target = Target({"old": topic("old", 7), "new": topic("new", 3)})
    services.clusters.admin = lambda _role: target
    found = preflight_facts._target(services, there, {})
    assert found is not None
    assert [(one.name, one.partition_count) for one in found.topics] == [("new", 3), ("old", 7), ("same", 2)]
    assert target.asked == ["gone", "new", "old"]


def test_without_changes_nothing_is_asked_and_a_target_that_is_away_leaves_the_scan(services: Any) -> None:
    there = replace(scan([topic("old")], role=Role.TARGET), taken_at_ms=1)
    target = Target(None)
    services.clusters.admin = lambda _role: target
    assert preflight_facts._target(services, there, {}) is there
    assert target.asked == []
    changed(services, "old")
    assert preflight_facts._target(services, there, {Role.TARGET: "no route"}) is there
    assert preflight_facts._target(services, there, {}) is there
    assert preflight_facts._target(services, None, {}) is None


def copied(services: Any, *speeds: float, lag: int = 10**8) -> None:
    """A task shop of two workers that copied at these speeds."""
    with services.journal.transaction() as session:
        session.add(
            TaskRow(
                name="shop",
                batch="shop",
                spec=json.dumps({"workers": [{}, {}]}),
                state="Running",
                incarnation=1,
                created_at_ms=1,
                updated_at_ms=1,
            )
        )
        for at_ms, speed in enumerate(speeds, start=1):
            session.add(
                Sample(
                    task="shop", at_ms=at_ms, lag_records=lag, records_per_second=speed / 1000, bytes_per_second=speed
                )
            )


def test_a_slow_measured_copy_counts_whatever_is_assumed(services: Any) -> None:
    assert preflight_facts._rates(services, 20e6).bytes_per_second_per_worker == 20e6
    copied(services, 6e6, 6e6, 90e6)
    rates = preflight_facts._rates(services, 20e6)
    assert (rates.bytes_per_second_per_worker, rates.measured_in) == (3e6, "shop")
    big = topic("shop.orders", 1, end=10**6, effective={"retention.ms": "160000"}, records_per_second=0.0)
    found = scan([big])
    made = facts(found, copy_bytes_per_second=rates.bytes_per_second_per_worker, copy_speed_measured=True)
    (race,) = run_checks(made, only=["retention-race"])
    assert race.severity == "block" and "2.8 minutes" in race.evidence
    (planned,) = (
        time for time in Estimator(found, rates).of(Batch("shop", ("shop.orders",), ())).copy_times if time.workers == 1
    )
    assert planned.hours is not None and planned.hours * 60 == pytest.approx(2.79, abs=0.02), "as the plan reckons"


def test_a_copy_that_has_caught_up_says_nothing_of_the_speed(services: Any) -> None:
    copied(services, 1e3, 1e3, 1e3, 1e3, lag=2)
    assert preflight_facts._rates(services, 20e6).measured_in == ""


def test_access_that_kferry_wrote_since_the_scan_is_read_again(services: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    there = replace(scan([topic("same")], role=Role.TARGET), taken_at_ms=1)
    now = Access(acls=(), quotas=(), scram_users=(ScramUser("new", ("SCRAM-SHA-512",)),))
    monkeypatch.setattr("kferry.engine.access.read_side", lambda _services, _role: Side(now))
    found = preflight_facts._target(services, there, {})
    assert found is there, "nothing was written"
    with services.journal.transaction() as session:
        change = Change(Role.TARGET, "scram_user", "new", "SCRAM-SHA-512", None, "x", None, "r")
        services.journal.record_change(change, None, session)
    found = preflight_facts._target(services, there, {})
    assert found is not None and (found.access, found.topics) == (now, there.topics)
