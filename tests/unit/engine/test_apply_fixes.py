"""The step that closes findings: it may be repeated, stops when cancelled, leaves the unseen alone, and goes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kferry.domain.acls import AclRule, Purpose, Resource
from kferry.domain.errors import KferryError
from kferry.domain.fixing import FixAction, FixChange, FixPlan
from kferry.domain.model import ClusterConfig, ClusterKind, PartitionOffsets, Role, Topic
from kferry.domain.runbook import Operation, OperationKind, OperationStatus
from kferry.engine import fixing
from kferry.engine.context import Cancelled, StepContext
from kferry.engine.ledger import Ledger
from kferry.engine.operations.fixing import ApplyFixes
from kferry.kafka.admin import ConfigValue, NewTopicSpec
from kferry.store import schema
from kferry.store.journal import Journal
from kferry.store.paths import Layout

CLOSES = ("record-size:big",)


class Target:
    """A cluster in memory."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {"big": 1}
        self.configs: dict[str, dict[str, str]] = {"big": {"max.message.bytes": "5"}}

    def topics(self, names: list[str]) -> dict[str, Topic]:
        return {
            name: Topic(
                name,
                None,
                1,
                tuple(PartitionOffsets(number, 0, 0) for number in range(self.sizes[name])),
                configs=self.configs[name],
            )
            for name in names
            if name in self.sizes
        }

    def topic_configs(self, names: list[str]) -> dict[str, dict[str, ConfigValue]]:
        return {
            name: {key: ConfigValue(value, False, True, False, False) for key, value in self.configs[name].items()}
            for name in names
        }

    def create_topics(self, specs: list[NewTopicSpec]) -> dict[str, str | None]:
        for spec in specs:
            self.sizes[spec.name], self.configs[spec.name] = spec.partitions, dict(spec.configs)
        return {spec.name: None for spec in specs}

    def delete_topics(self, names: list[str]) -> dict[str, str | None]:
        for name in names:
            del self.sizes[name], self.configs[name]
        return dict.fromkeys(names)

    def create_partitions(self, name: str, total: int) -> None:
        self.sizes[name] = total

    def alter_topic_configs(self, name: str, set_values: dict[str, str], delete_keys: list[str]) -> None:
        self.configs[name] |= set_values
        for key in delete_keys:
            self.configs[name].pop(key, None)


def change(action: FixAction, resource: str, name: str, key: str, after: str, **fields: Any) -> FixChange:
    return FixChange(action, Role.TARGET, resource, name, key, None, after, CLOSES, **fields)


RULE = AclRule(Role.TARGET, Purpose.REPLICATE, Resource.TOPIC, "new", "WRITE", "MirrorMaker writes.")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[StepContext, Target, Journal]]:
    layout = Layout(tmp_path)
    layout.prepare()
    schema.upgrade(layout.journal)
    journal, target = Journal(layout.journal), Target()
    config = ClusterConfig(Role.TARGET, ClusterKind.AUTOMQ, "b:9092")
    clusters: Any = SimpleNamespace(admin=lambda _role: target, config=lambda _role: config)
    services: Any = SimpleNamespace(
        journal=journal, clusters=clusters, ledger=Ledger(journal, clusters), layout=layout, settings=lambda: None
    )
    operation = Operation("op", OperationKind.FIX_FINDINGS, "", {"findings": list(CLOSES)}, OperationStatus.RUNNING, ())

    def planned(_services: Any, ids: list[str]) -> FixPlan:
        """What is still to be done, looked up anew."""
        assert list(ids) == list(CLOSES)
        left = []
        if "new" not in target.sizes:
            left.append(change(FixAction.CREATE_TOPIC, "topic", "new", "", "3 partitions", partitions=3))
        else:  # a right that could not be told before the topic was there
            left.append(change(FixAction.GRANT, "acl", "new", "topic WRITE", "WRITE on topic new", rule=RULE))
        if target.sizes["big"] < 4:
            left.append(change(FixAction.GROW_TOPIC, "topic_partitions", "big", "partitions", "4", partitions=4))
        if target.configs["big"].get("max.message.bytes") != "9":
            left.append(change(FixAction.SET_CONFIG, "topic_config", "big", "max.message.bytes", "9"))
        return FixPlan(tuple(left))

    monkeypatch.setattr(fixing, "planned", planned)
    yield StepContext(services, {"op": operation}, "op", "apply"), target, journal
    journal.close()


def test_everything_that_was_seen_is_made_once_however_often_it_is_asked_for(
    world: tuple[StepContext, Target, Journal],
) -> None:
    ctx, target, journal = world
    step = ApplyFixes()
    before = step.check(ctx)
    assert (before.holds, before.evidence["changes_left"]) == (False, 3)
    for _ in range(2):
        step.act(ctx)
    assert step.check(ctx).holds, "the right on the new topic was in no plan: it is left to the next findings"
    assert (target.sizes, target.configs["big"]) == ({"big": 4, "new": 3}, {"max.message.bytes": "9"})
    rows = journal.changes()
    assert [(row.resource, row.name, row.before, row.status) for row in rows] == [
        ("topic", "new", None, "applied"),
        ("topic_partitions", "big", "1", "applied"),
        ("topic_config", "big", "5", "applied"),
    ]
    assert all(row.undo and row.reason == "closes record-size:big" for row in rows)


def test_an_abort_puts_everything_back(world: tuple[StepContext, Target, Journal]) -> None:
    ctx, target, journal = world
    step = ApplyFixes()
    step.act(ctx)
    assert step.undo(ctx) == {"taken_back": 3, "kept": []}
    assert (target.sizes, target.configs) == ({"big": 1}, {"big": {"max.message.bytes": "5"}})
    assert {row.status for row in journal.changes()} == {"undone"}
    assert step.undo(ctx) == {"taken_back": 0, "kept": []}


def test_changes_of_other_operations_stay(world: tuple[StepContext, Target, Journal]) -> None:
    ctx, target, _journal = world
    ctx.services.ledger.create_topic(Role.TARGET, NewTopicSpec("theirs", 1), reason="r", operation_id="other")
    step = ApplyFixes()
    step.act(ctx)
    step.undo(ctx)
    assert "theirs" in target.sizes


def test_a_cancelled_step_makes_nothing_more(world: tuple[StepContext, Target, Journal]) -> None:
    ctx, target, journal = world
    ctx.cancelled.set()
    with pytest.raises(Cancelled):
        ApplyFixes().act(ctx)
    assert (target.sizes, journal.changes()) == ({"big": 1}, [])


def test_rights_are_not_granted_to_somebody_unknown(
    world: tuple[StepContext, Target, Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx, _target, journal = world
    grant = change(FixAction.GRANT, "acl", "big", "topic WRITE", "WRITE on topic big", rule=RULE)
    monkeypatch.setattr(fixing, "planned", lambda _services, _ids: FixPlan((grant,)))
    with pytest.raises(KferryError, match="not known as whom") as raised:
        ApplyFixes().act(ctx)
    assert "kferry acls apply target --principal" in raised.value.next_step
    assert journal.changes() == []
