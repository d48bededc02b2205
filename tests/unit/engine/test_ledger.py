"""The change ledger: written before the change, undone exactly, and never a topic with records deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kferry.domain.errors import KferryError
from kferry.domain.model import CommittedOffset, PartitionOffsets, Role, Topic, TopicPartition
from kferry.engine.ledger import Ledger
from kferry.kafka.admin import ConfigValue, NewTopicSpec
from kferry.store import schema
from kferry.store.journal import Journal
from kferry.store.paths import Layout


class FakeAdmin:
    """A cluster in memory, with the few calls the ledger makes; it can fail once."""

    def __init__(self) -> None:
        self.topics_: dict[str, dict[str, str]] = {}
        self.records: dict[str, int] = {}
        self.offsets: dict[tuple[str, str, int], tuple[int, str]] = {}
        self.fail = False

    def _maybe_fail(self) -> None:
        if self.fail:
            raise KferryError("the broker went away")

    def create_topics(self, specs: list[NewTopicSpec]) -> dict[str, str | None]:
        self._maybe_fail()
        for spec in specs:
            self.topics_[spec.name] = dict(spec.configs)
        return {spec.name: None for spec in specs}

    def delete_topics(self, names: list[str]) -> dict[str, str | None]:
        for name in names:
            del self.topics_[name]
        return dict.fromkeys(names)

    def topics(self, names: list[str]) -> dict[str, Topic]:
        return {
            name: Topic(name, None, 1, (PartitionOffsets(0, 0, self.records.get(name, 0)),))
            for name in names
            if name in self.topics_
        }

    def topic_configs(self, names: list[str]) -> dict[str, dict[str, ConfigValue]]:
        return {
            name: {key: ConfigValue(value, False, True, False, False) for key, value in self.topics_[name].items()}
            for name in names
        }

    def alter_topic_configs(self, name: str, set_values: dict[str, str], delete_keys: list[str]) -> None:
        self._maybe_fail()
        self.topics_[name] |= set_values
        for key in delete_keys:
            self.topics_[name].pop(key, None)

    def committed(self, group_id: str) -> tuple[CommittedOffset, ...]:
        return tuple(CommittedOffset(t, p, *o) for (g, t, p), o in self.offsets.items() if g == group_id)

    def write_committed(self, group_id: str, commits: list[CommittedOffset]) -> dict[TopicPartition, str | None]:
        for item in commits:
            self.offsets[group_id, item.topic, item.partition] = (item.offset, item.metadata)
        return {TopicPartition(item.topic, item.partition): None for item in commits}

    def delete_committed(self, group_id: str, tps: list[TopicPartition]) -> dict[TopicPartition, str | None]:
        for tp in tps:
            self.offsets.pop((group_id, tp.topic, tp.partition), None)
        return dict.fromkeys(tps)


class FakeClusters:
    def __init__(self) -> None:
        self.one = FakeAdmin()

    def admin(self, _role: Role) -> FakeAdmin:
        return self.one


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Ledger, FakeAdmin, Journal]]:
    layout = Layout(tmp_path)
    layout.prepare()
    schema.upgrade(layout.journal)
    journal, clusters = Journal(layout.journal), FakeClusters()
    ledger: Any = Ledger(journal, clusters)  # type: ignore[arg-type]
    yield ledger, clusters.one, journal
    journal.close()


def test_every_change_is_undone_exactly(world: tuple[Ledger, FakeAdmin, Journal]) -> None:
    ledger, admin, journal = world
    admin.topics_["old"] = {"retention.ms": "5"}
    admin.offsets["g", "old", 0] = (3, "mark")
    before = (dict(admin.topics_["old"]), dict(admin.offsets))
    ledger.create_topic(Role.TARGET, NewTopicSpec("new", 1), reason="r", operation_id="op")
    changed = ledger.set_topic_configs(
        Role.TARGET, "old", {"retention.ms": "-1", "cleanup.policy": "compact"}, reason="r", operation_id="op"
    )
    assert changed == ["retention.ms", "cleanup.policy"]
    commits = [CommittedOffset("old", 0, 9), CommittedOffset("old", 1, 4)]
    ledger.write_offsets(Role.TARGET, "g", commits, reason="r", operation_id="op")
    for row in reversed(journal.changes(status="applied")):
        ledger.undo(row)
    assert (admin.topics_["old"], admin.offsets) == before
    assert "new" not in admin.topics_
    assert {row.status for row in journal.changes()} == {"undone"}


def test_what_is_as_wanted_is_no_change(world: tuple[Ledger, FakeAdmin, Journal]) -> None:
    ledger, admin, journal = world
    admin.topics_["old"] = {"retention.ms": "-1"}
    assert ledger.set_topic_configs(Role.TARGET, "old", {"retention.ms": "-1"}, reason="r", operation_id=None) == []
    assert journal.changes() == []


def test_the_line_stands_before_the_change_is_made(world: tuple[Ledger, FakeAdmin, Journal]) -> None:
    ledger, admin, journal = world
    admin.topics_["old"] = {}
    admin.fail = True
    with pytest.raises(KferryError, match="went away"):
        ledger.set_topic_configs(Role.TARGET, "old", {"retention.ms": "-1"}, reason="r", operation_id="op")
    assert [(row.name, row.after) for row in journal.changes()] == [("old", "-1")]
    admin.fail = False
    ledger.set_topic_configs(Role.TARGET, "old", {"retention.ms": "-1"}, reason="r", operation_id="op")
    assert len(journal.changes()) == 1, "the repeated change is the same line"


def test_a_topic_with_records_is_never_deleted_by_an_undo(world: tuple[Ledger, FakeAdmin, Journal]) -> None:
    ledger, admin, journal = world
    ledger.create_topic(Role.TARGET, NewTopicSpec("new", 1), reason="r", operation_id="op")
    admin.records["new"] = 1
    with pytest.raises(KferryError, match="holds records"):
        ledger.undo(journal.changes()[0])
    assert "new" in admin.topics_ and journal.changes()[0].status == "applied"


def test_what_was_changed_again_since_is_not_undone(world: tuple[Ledger, FakeAdmin, Journal]) -> None:
    ledger, admin, journal = world
    admin.topics_["old"] = {"retention.ms": "5"}
    ledger.set_topic_configs(Role.TARGET, "old", {"retention.ms": "-1"}, reason="r", operation_id="op")
    admin.topics_["old"]["retention.ms"] = "77"
    with pytest.raises(KferryError, match="is 77 by now"):
        ledger.undo(journal.changes()[0])
    assert admin.topics_["old"]["retention.ms"] == "77"
