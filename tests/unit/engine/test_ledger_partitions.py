"""Partitions in the change ledger: grown once, and taken back only by making an empty topic anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kferry.domain.errors import KferryError
from kferry.domain.model import PartitionOffsets, Role, Topic
from kferry.engine.ledger import Ledger
from kferry.kafka.admin import NewTopicSpec
from kferry.store import schema
from kferry.store.journal import Journal
from kferry.store.paths import Layout


class FakeAdmin:
    """Topics in memory; `busy` deletions take that many tries until the name is free again."""

    def __init__(self) -> None:
        self.made: dict[str, Topic] = {}
        self.busy = 0
        self.refuses = ""

    def put(self, name: str, partitions: int, *, end: int = 0, configs: dict[str, str] | None = None) -> None:
        parts = tuple(PartitionOffsets(number, 0, end) for number in range(partitions))
        self.made[name] = Topic(name, None, 1, parts, configs=configs or {})

    def topics(self, names: list[str]) -> dict[str, Topic]:
        return {name: self.made[name] for name in names if name in self.made}

    def topic_configs(self, names: list[str]) -> dict[str, Any]:
        return {name: {} for name in names}

    def create_partitions(self, name: str, total: int) -> None:
        self.put(name, total, configs=dict(self.made[name].configs))

    def delete_topics(self, names: list[str]) -> dict[str, str | None]:
        if self.refuses:
            return dict.fromkeys(names, self.refuses)
        for name in names:
            del self.made[name]
        return dict.fromkeys(names)

    def create_topics(self, specs: list[NewTopicSpec]) -> dict[str, str | None]:
        if self.busy:
            self.busy -= 1
            return {spec.name: "TOPIC_ALREADY_EXISTS" for spec in specs}
        for spec in specs:
            self.put(spec.name, spec.partitions, configs=dict(spec.configs))
        return {spec.name: None for spec in specs}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Ledger, FakeAdmin, Journal]]:
    layout = Layout(tmp_path)
    layout.prepare()
    schema.upgrade(layout.journal)
    journal, admin = Journal(layout.journal), FakeAdmin()
    clusters: Any = SimpleNamespace(admin=lambda _role: admin)
    yield Ledger(journal, clusters), admin, journal
    journal.close()


def grow(ledger: Ledger, total: int) -> None:
    ledger.grow_topic(Role.TARGET, "t", total, reason="r", operation_id="op")


def test_a_topic_grows_once(world: tuple[Ledger, FakeAdmin, Journal]) -> None:
    ledger, admin, journal = world
    admin.put("t", 2)
    for _ in range(2):
        grow(ledger, 4)
    assert admin.made["t"].partition_count == 4
    assert [(row.resource, row.before, row.after) for row in journal.changes()] == [("topic_partitions", "2", "4")]


def test_a_topic_that_is_large_enough_or_not_there_is_left_alone(world: tuple[Ledger, FakeAdmin, Journal]) -> None:
    ledger, admin, journal = world
    grow(ledger, 4)
    admin.put("t", 5)
    grow(ledger, 4)
    assert (journal.changes(), admin.made["t"].partition_count) == ([], 5)


@pytest.mark.parametrize("busy", [0, 2])
def test_partitions_are_taken_back_while_nothing_was_ever_written(
    world: tuple[Ledger, FakeAdmin, Journal], busy: int
) -> None:
    ledger, admin, journal = world
    admin.put("t", 2, configs={"retention.ms": "5"})
    grow(ledger, 4)
    admin.busy = busy
    ledger.undo(journal.changes()[0])
    assert (admin.made["t"].partition_count, dict(admin.made["t"].configs)) == (2, {"retention.ms": "5"})
    assert journal.changes()[0].status == "undone"
    ledger.undo(journal.changes()[0])
    assert admin.made["t"].partition_count == 2


@pytest.mark.parametrize("part", [PartitionOffsets(0, 0, 1), PartitionOffsets(0, 7, 7), PartitionOffsets(0, 0, None)])
def test_a_topic_that_was_written_to_keeps_its_partitions(
    world: tuple[Ledger, FakeAdmin, Journal], part: PartitionOffsets
) -> None:
    ledger, admin, journal = world
    admin.put("t", 2)
    grow(ledger, 4)
    admin.made["t"] = replace(admin.made["t"], partitions=(part, *admin.made["t"].partitions[1:]))
    with pytest.raises(KferryError, match="was written to"):
        ledger.undo(journal.changes()[0])
    assert (admin.made["t"].partition_count, journal.changes()[0].status) == (4, "applied")


def test_a_deletion_that_is_refused_is_told_and_nothing_is_lost(world: tuple[Ledger, FakeAdmin, Journal]) -> None:
    ledger, admin, journal = world
    admin.put("t", 2)
    grow(ledger, 4)
    admin.refuses = "TOPIC_AUTHORIZATION_FAILED"
    with pytest.raises(KferryError, match="not made anew: TOPIC_AUTHORIZATION_FAILED"):
        ledger.undo(journal.changes()[0])
    assert (admin.made["t"].partition_count, journal.changes()[0].status) == (4, "applied")
