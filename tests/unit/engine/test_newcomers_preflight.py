"""Newcomers are checked as everything else is: the real checks, on fresh measurements, with waivers and limits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kferry.domain.model import (
    Batch,
    ClusterFacts,
    Group,
    GroupKind,
    GroupState,
    PartitionOffsets,
    Plan,
    Role,
    Scan,
    TaskSpec,
    Topic,
)
from kferry.domain.model import CommittedOffset as Commit
from kferry.domain.planning.rules import BatchPattern, Limits, PlanningRules
from kferry.domain.preflight import PreflightFacts
from kferry.engine import newcomers_preflight
from kferry.engine.newcomers_preflight import stopped_newcomers
from kferry.kafka.sample import TopicSample
from kferry.store import plan_file, schema
from kferry.store.journal import Journal, now_ms
from kferry.store.paths import Layout
from kferry.store.tables import WaiverRow

SPEC = TaskSpec("shop", "abc123", "shop", 1, ("shop.orders",), ("billing",), (), 2)
PLAN = Plan("s", (Batch("shop", ("shop.orders",), ("billing",)),))
RULES = PlanningRules(patterns=(BatchPattern("shop", ("shop.*",), ("shop-*",)),))


def topic(name: str, records: int = 10, error: str | None = None) -> Topic:
    parts = (PartitionOffsets(0, 0, records, records),)
    effective = {"cleanup.policy": "delete", "retention.ms": "604800000", "message.timestamp.type": "CreateTime"}
    return Topic(name, None, 1, parts, effective=effective, error=error)


def scan(role: Role, *topics: Topic) -> Scan:
    return Scan("s", now_ms(), ClusterFacts(role, "c", "3.9", 1, ()), topics, ())


class Side:
    def __init__(self) -> None:
        self.found: dict[str, Topic] = {}
        self.readers: dict[str, Group] = {}

    def topics(self, names: Any) -> dict[str, Topic]:
        return {name: self.found[name] for name in names if name in self.found}

    def groups(self, ids: Any, *, with_committed: bool) -> dict[str, Group]:
        assert with_committed
        return {name: self.readers[name] for name in ids}


class World:
    def __init__(self, layout: Layout) -> None:
        self.journal = Journal(layout.journal)
        self.sides = {role: Side() for role in Role}
        clusters = SimpleNamespace(admin=self.sides.__getitem__, config=lambda role: role)
        self.services: Any = SimpleNamespace(layout=layout, journal=self.journal, clusters=clusters)
        self.sides[Role.SOURCE].found = {"shop.orders": topic("shop.orders")}
        plan_file.write_plan(layout, PLAN)

    def new(self, *topics: Topic) -> None:
        self.sides[Role.SOURCE].found |= {item.name: item for item in topics}

    def stopped(self, *topics: str, groups: tuple[str, ...] = (), rules: PlanningRules = RULES) -> Mapping[str, str]:
        return stopped_newcomers(self.services, SPEC, topics, groups, rules)


@pytest.fixture
def world(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    layout = Layout(short_path)
    layout.prepare()
    schema.upgrade(layout.journal)
    made = World(layout)

    def gather(_services: object) -> PreflightFacts:
        source, target = scan(Role.SOURCE, topic("shop.orders")), scan(Role.TARGET)
        return PreflightFacts(now_ms=now_ms(), source=source, target=target, plan=PLAN)

    def sample(_config: object, topics: Any) -> dict[str, TopicSample]:
        at = now_ms()
        return {item.name: TopicSample(at - 60_000, at, 100.0, False) for item in topics}

    monkeypatch.setattr(newcomers_preflight, "gather", gather)
    monkeypatch.setattr(newcomers_preflight, "sample_topics", sample)
    yield made
    made.journal.close()


def test_an_ordinary_topic_and_its_group_may_join(world: World) -> None:
    world.new(topic("shop.returns"))
    commits = (Commit("shop.returns", 0, 5),)
    world.sides[Role.SOURCE].readers["shop-returns"] = Group(
        "shop-returns", GroupState.EMPTY, GroupKind.PLAIN, committed=commits
    )
    assert world.stopped("shop.returns", groups=("shop-returns",)) == {}


def test_what_can_not_be_read_or_is_gone_again_may_not(world: World) -> None:
    world.new(topic("shop.secret", error="TOPIC_AUTHORIZATION_FAILED"))
    found = world.stopped("shop.secret", "shop.gone")
    assert "TOPIC_AUTHORIZATION_FAILED" in found["shop.secret"] and found["shop.gone"] == "it is gone again"


def test_a_target_topic_that_holds_records_already_stops_and_the_finding_is_kept(world: World) -> None:
    world.journal.put_document("findings", "", json.dumps([{"check": "x", "subject": "other", "severity": "info"}]))
    world.new(topic("shop.returns"))
    world.sides[Role.TARGET].found["shop.returns"] = topic("shop.returns", records=7)
    found = world.stopped("shop.returns")
    assert found["shop.returns"].startswith("preflight "), found
    kept = json.loads(world.journal.document("findings", "") or "[]")
    assert {item["subject"] for item in kept} == {"other", "shop.returns"}
    stopping = [item for item in kept if item["subject"] == "shop.returns" and item["severity"] in ("warn", "unknown")]
    blocking = [item for item in kept if item["subject"] == "shop.returns" and item["severity"] == "block"]
    with world.journal.transaction() as session:
        for item in stopping:
            row = WaiverRow(
                finding_id=f"{item['check']}:{item['subject']}", who="me", why="ok", at_ms=1, until_ms=now_ms() + 60_000
            )
            world.journal.put_waiver(row, session)
    assert ("shop.returns" in world.stopped("shop.returns")) is bool(blocking), "a waiver lets in, a block never"


def test_the_limit_of_bytes_counts_in_the_order_of_names(world: World) -> None:
    world.new(topic("shop.a", records=10), topic("shop.b", records=10), topic("shop.c", records=0))
    rules = PlanningRules(patterns=(BatchPattern("shop", ("shop.*",), limits=Limits(bytes=1500)),))
    found = world.stopped("shop.a", "shop.b", "shop.c", rules=rules)
    assert set(found) == {"shop.b"} and "limit of 1500 bytes" in found["shop.b"]
