"""The watch over newcomers: what it publishes, when it asks for a change, and what it never does by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kferry.domain import machine
from kferry.domain.applications import ApplicationClass, ApplicationRule
from kferry.domain.errors import KferryError
from kferry.domain.model import (
    Batch,
    BatchPhase,
    ClusterFacts,
    Desired,
    Group,
    GroupKind,
    GroupState,
    PartitionOffsets,
    Plan,
    Role,
    Scan,
    TaskSpec,
    TaskState,
    Topic,
)
from kferry.domain.model import CommittedOffset as Commit
from kferry.domain.planning.rules import BatchPattern, Limits, PlanningRules
from kferry.domain.runbook import Operation, OperationKind
from kferry.engine import watch_newcomers
from kferry.engine.context import Services
from kferry.engine.cutover_runbook import choose
from kferry.engine.newcomers_look import blocking
from kferry.engine.phases import set_phase
from kferry.engine.tasks import Tasks
from kferry.store import codec, plan_file, rules_file, schema
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.settings_file import write_new
from kferry.store.tables import AnchorRow

pytestmark = pytest.mark.thorough

PATTERN = BatchPattern("shop", ("shop.*",), ("shop-*",), limits=Limits(topics=2, groups=2, partitions=8))


class FakeCluster:
    """Topics with partition counts and groups with what they committed in, asked as ClusterAdmin is."""

    def __init__(self) -> None:
        self.counts = {"shop.orders": 2}
        self.commits: dict[str, tuple[str, ...]] = {"billing": ("shop.orders",)}
        self.down = False

    def partition_counts(self, *, timeout_seconds: float = 20.0) -> dict[str, int]:
        if self.down:
            raise KferryError("The source does not answer.")
        return dict(self.counts)

    def group_ids(self, *, timeout_seconds: float = 20.0) -> tuple[str, ...]:
        return tuple(sorted(self.commits))

    def groups(self, ids: Any, *, with_committed: bool = False, timeout_seconds: float = 60.0) -> dict[str, Group]:
        assert with_committed
        return {
            name: Group(
                name,
                GroupState.EMPTY,
                GroupKind.PLAIN,
                committed=tuple(Commit(topic, 0, 1) for topic in self.commits[name]),
            )
            for name in ids
        }


class FakeClusters:
    def __init__(self) -> None:
        self.sides = {role: FakeCluster() for role in Role}

    def admin(self, role: Role) -> FakeCluster:
        return self.sides[role]


class World:
    """One running task `shop`, a source that changes, and a watch whose looks the test makes."""

    def __init__(self, layout: Layout) -> None:
        self.clusters, self.journal = FakeClusters(), Journal(layout.journal)
        self.services = Services(
            layout=layout,
            journal=self.journal,
            clusters=self.clusters,  # type: ignore[arg-type]
            plays=None,  # type: ignore[arg-type]
            tasks=Tasks(layout, self.journal, self.clusters),  # type: ignore[arg-type]
            ledger=None,  # type: ignore[arg-type]
            routes=None,  # type: ignore[arg-type]
        )
        self.operations: dict[str, Operation] = {}
        self.stopped: dict[str, str] = {}
        self.checked: list[tuple[list[str], list[str]]] = []
        self.now_ms = 1_000_000
        self.watch = watch_newcomers.NewcomerWatch(self.services, lambda: self.operations)
        plan_file.write_plan(layout, Plan("s", (Batch("shop", ("shop.orders",), ("billing",)),)))
        self.rules(PATTERN)
        self.spec = TaskSpec("shop", "abc123", "shop", 1, ("shop.orders",), ("billing",), (), 2)
        self.services.tasks.put(self.spec, TaskState.RUNNING, "")
        set_phase(self.journal, "shop", BatchPhase.REPLICATING)
        with self.journal.transaction() as session:
            rows = [
                AnchorRow(
                    task="shop",
                    incarnation=1,
                    topic="shop.orders",
                    partition=number,
                    source_offset=0,
                    target_offset=0,
                    kind="base",
                    at_ms=1,
                )
                for number in range(2)
            ]
            self.journal.add_anchors(rows, session)

    @property
    def source(self) -> FakeCluster:
        return self.clusters.sides[Role.SOURCE]

    def rules(self, *patterns: BatchPattern) -> None:
        rules_file.write_rules(self.services.layout, PlanningRules(patterns=patterns))

    def preflight(self, _services: object, _spec: object, topics: Any, groups: Any, _rules: object) -> dict[str, str]:
        self.checked.append((list(topics), list(groups)))
        return {name: why for name, why in self.stopped.items() if name in {*topics, *groups}}

    def look(self, after_seconds: float = 31.0) -> dict[str, Any]:
        """One look, so long after the last; the document of the task."""
        self.now_ms += int(1000 * after_seconds)
        self.watch.look()
        document: dict[str, Any] = json.loads(self.journal.document("newcomers", "shop") or "{}")
        return document

    def wishes(self) -> list[Mapping[str, Any]]:
        return [json.loads(item.args) for item in self.journal.waiting_intents()]

    def answer(self, status: str, reason: str = "") -> None:
        for item in self.journal.waiting_intents():
            with self.journal.transaction() as session:
                self.journal.answer_intent(session, item.id, status, reason=reason)

    def events(self) -> list[str]:
        from kferry.store.queries import Reader

        reader = Reader(self.services.layout.root)
        try:
            return [item.kind for item in reader.events(limit=500)]
        finally:
            reader.close()


@pytest.fixture
def world(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    layout = Layout(short_path)
    layout.prepare()
    write_new(layout, "t", migration_id="abc123")
    schema.upgrade(layout.journal)
    made = World(layout)
    monkeypatch.setattr(watch_newcomers, "stopped_newcomers", made.preflight)
    monkeypatch.setattr(watch_newcomers, "now_ms", lambda: made.now_ms)
    yield made
    made.journal.close()


def test_nothing_new_is_a_document_without_items_and_no_event(world: World) -> None:
    document = world.look()
    assert document["items"] == [] and document["error"] is None and document["looked_at_ms"] == world.now_ms
    assert "newcomers_changed" not in world.events() and world.wishes() == []


def test_what_matches_joins_after_preflight_in_one_wish(world: World) -> None:
    world.source.counts["shop.returns"] = 3
    first = world.look()
    assert [item["name"] for item in first["items"]] == ["shop.returns"] and "waits a little" in first["note"]
    assert world.wishes() == [] and world.checked == [], "one that came a moment ago may not be the last"
    world.source.counts["shop.refunds"] = 1
    world.source.commits["shop-returns"] = ("shop.orders", "shop.returns")
    world.look(10)
    assert world.wishes() == []
    world.look()
    assert world.checked == [(["shop.refunds", "shop.returns"], ["shop-returns"])]
    (wish,) = world.wishes()
    assert (wish["add_topics"], wish["add_groups"]) == (["shop.refunds", "shop.returns"], ["shop-returns"])
    assert wish["task"] == "shop" and wish["remove_topics"] == [] and wish["remove_groups"] == []
    world.look()
    assert len(world.wishes()) == 1, "never two at once"
    world.answer("done")
    world.services.tasks.change("shop", topics=("shop.orders", "shop.refunds", "shop.returns"))
    world.services.tasks.change("shop", groups=("billing", "shop-returns"))
    after = world.look()
    assert [item for item in after["items"] if item["joins"]] == [] and world.wishes() == []
    assert world.events().count("newcomers_let_in") == 1


@pytest.mark.parametrize(
    ("state", "desired", "phase", "words"),
    [
        (TaskState.CREATING, Desired.RUNNING, None, "Creating"),
        (TaskState.MODIFYING, Desired.RUNNING, None, "Modifying"),
        (TaskState.SERVICE_EXCEPTION, Desired.RUNNING, None, "Service Exception"),
        (TaskState.PAUSED, Desired.STOPPED, None, "Paused"),
        (TaskState.RUNNING, Desired.RUNNING, BatchPhase.SWITCHING, "switching"),
    ],
)
def test_nothing_joins_while_the_task_may_not_be_changed(
    world: World, state: TaskState, desired: Desired, phase: BatchPhase | None, words: str
) -> None:
    world.source.counts["shop.returns"] = 3
    world.services.tasks.change("shop", desired=desired)
    world.services.tasks.set_state("shop", state, "")
    if phase is not None:
        set_phase(world.journal, "shop", phase)
    world.look()
    assert words in world.look()["note"]
    assert world.wishes() == [] and world.checked == []


def test_nothing_joins_while_another_operation_is_under_way(world: World) -> None:
    world.source.counts["shop.returns"] = 3
    world.operations = machine.step({}, machine.OperationAsked("op", OperationKind.SCALE_TASK, "shop"))[0]
    world.look()
    assert "scale task is under way" in world.look()["note"] and world.wishes() == []


def test_what_preflight_stops_stays_out_until_it_is_waived_and_takes_its_readers_along(world: World) -> None:
    world.source.counts |= {"shop.returns": 3, "shop.refunds": 1}
    world.source.commits["shop-returns"] = ("shop.returns",)
    world.stopped = {"shop.returns": "preflight warn: it is compacted [compacted:shop.returns]"}
    world.look()
    document = world.look()
    assert [wish["add_topics"] for wish in world.wishes()] == [["shop.refunds"]]
    assert world.wishes()[0]["add_groups"] == [], "a group never joins before what it reads"
    stopped = next(item for item in document["items"] if item["name"] == "shop.returns")
    assert not stopped["joins"] and stopped["blocks"] and "it is compacted" in stopped["why"]
    world.answer("done")
    world.services.tasks.change("shop", topics=("shop.orders", "shop.refunds"))
    checks = len(world.checked)
    world.look()
    assert all("shop.returns" not in topics for topics, _ in world.checked[checks:]), "not asked at every look"
    world.stopped = {}
    world.look(400)
    assert world.wishes()[-1]["add_topics"] == ["shop.returns"]


def test_what_failed_is_left_to_the_operator(world: World) -> None:
    world.source.counts["shop.returns"] = 3
    world.look()
    world.look()
    world.answer("failed", "Topic shop.returns could not be created.")
    document = world.look()
    assert world.wishes() == [] and "could not be created" in document["items"][0]["why"]
    assert not document["items"][0]["joins"] and "--add-topic shop.returns" in document["items"][0]["words"]


def test_a_refusal_is_tried_again_a_few_times(world: World) -> None:
    world.source.counts["shop.returns"] = 3
    world.look()
    for _ in range(3):
        world.look()
        assert len(world.wishes()) == 1
        world.answer("refused", "Migration task shop: The task is Modifying.")
    world.look()
    assert world.wishes() == []


def test_a_late_foreign_group_and_a_grown_topic_block_by_name(world: World) -> None:
    world.rules()
    world.source.commits["auditor"] = ("shop.orders",)
    world.source.counts["shop.orders"] = 4
    document = world.look()
    assert {(item["kind"], item["name"]): (item["joins"], item["blocks"]) for item in document["items"]} == {
        ("group", "auditor"): (False, True),
        ("partitions", "shop.orders"): (False, True),
    }
    found, _ = blocking(world.services, world.spec)
    assert [item.name for item in found] == ["auditor", "shop.orders"]
    assert "newcomers_changed" in world.events()
    del world.source.commits["auditor"]
    world.source.counts["shop.orders"] = 2
    assert world.look()["items"] == []
    assert world.events().count("newcomers_changed") == 2, "that it is settled is an event too"


def test_growth_within_the_limits_is_anchored_once_mirrormaker_has_grown_the_target(world: World) -> None:
    world.source.counts["shop.orders"] = 4
    world.clusters.sides[Role.TARGET].counts["shop.orders"] = 2
    world.look()
    world.look()
    assert world.wishes() == []
    world.clusters.sides[Role.TARGET].counts["shop.orders"] = 4
    world.look()
    assert [wish["add_topics"] for wish in world.wishes()] == [["shop.orders"]]


def test_a_source_that_does_not_answer_keeps_what_was_known(world: World) -> None:
    world.source.commits["auditor"] = ("shop.orders",)
    world.look()
    world.source.down = True
    with pytest.raises(KferryError):
        world.look()
    document = json.loads(world.journal.document("newcomers", "shop") or "{}")
    assert "does not answer" in document["error"] and document["items"][0]["name"] == "auditor"
    assert document["looked_at_ms"] < world.now_ms


def test_switched_batches_are_no_longer_watched(world: World) -> None:
    world.source.commits["auditor"] = ("shop.orders",)
    assert [item["name"] for item in world.look()["items"]] == ["auditor"]
    set_phase(world.journal, "shop", BatchPhase.SWITCHING)
    set_phase(world.journal, "shop", BatchPhase.SWITCHED)
    world.source.commits["another"] = ("shop.orders",)
    assert world.look()["items"] == []


def test_what_belongs_to_no_running_task_is_kept_apart(world: World) -> None:
    world.source.counts["crm.leads"] = 1
    assert world.look()["items"] == []
    (item,) = json.loads(world.journal.document("newcomers", "") or "{}")["items"]
    assert (item["name"], item["batch"], item["how"]) == ("crm.leads", "", "nowhere")


def test_the_runbook_that_a_cutover_would_choose_is_told_and_follows_scan_and_rules(world: World) -> None:
    world.look()
    told = json.loads(world.journal.document("runbook", "shop") or "{}")
    assert told["variant"] == "consumers-first"
    group = Group("billing", GroupState.STABLE, GroupKind.STREAMS, committed=(Commit("shop.orders", 0, 1),))
    cluster = ClusterFacts(Role.SOURCE, None, None, None, ())
    topic = Topic("shop.orders", None, 1, (PartitionOffsets(0, 0, 9, 9),))
    world.journal.put_document("scan", "source", codec.dump(Scan("s", 1, cluster, (topic,), (group,))))
    world.look()
    told = json.loads(world.journal.document("runbook", "shop") or "{}")
    assert told["variant"] == "stop-drain-switch" and "billing (streams)" in told["words"][0] and told["warnings"]
    rules = PlanningRules(
        applications=(ApplicationRule("billing", ApplicationClass.PURE_CONSUMER, groups=("billing",)),)
    )
    rules_file.write_rules(world.services.layout, rules)
    world.look()
    assert json.loads(world.journal.document("runbook", "shop") or "{}")["variant"] == "consumers-first"
    again = choose(world.services, world.spec, {"runbook": "stop-drain-switch"})
    assert again.variant == "stop-drain-switch", "an operator may choose otherwise"
