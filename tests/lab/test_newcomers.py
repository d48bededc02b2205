"""Topics and groups that appear while a task runs: they join by pattern, or hold up the cutover until they are settled.

The batch is one of its own, which no other file of the lab knows; it is switched by the runbook that stops everything.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from kferry.domain.errors import KferryError
from kferry.domain.model import Batch, Plan
from kferry.store import plan_file
from support.lab_run import LabRun
from support.transactional_app import TransactionalApp
from support.waiting import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

BATCH, LEADS, NOTES = "crm", "crm.leads", "crm.notes"
RULES = """\
schema: 1
patterns:
  - batch: crm
    topics: ["crm.*"]
    groups: ["crm-*"]
    limits: {topics: 1, groups: 2, partitions: 4}
"""
EVERY_SECONDS = "  newcomers_interval_seconds: 2\n"


class Clusters:
    """Both clusters of the lab, changed as people outside of kferry would."""

    def __init__(self, run: LabRun) -> None:
        self._run = run
        self._numbers = itertools.count()
        self.leads: list[str] = []
        self.source = AdminClient({"bootstrap.servers": run.bootstrap("source")})
        self.target = AdminClient({"bootstrap.servers": run.bootstrap("target")})

    def create(self, name: str, partitions: int) -> None:
        self.source.create_topics([NewTopic(name, partitions, 1)])[name].result(30)

    def grow(self, name: str, partitions: int) -> None:
        self.source.create_partitions([NewPartitions(name, partitions)])[name].result(30)

    def write(self, cluster: str, name: str, partitions: Sequence[int], count: int = 30) -> None:
        """Records whose values are unlike all others."""
        producer = Producer({"bootstrap.servers": self._run.bootstrap(cluster), "acks": "all"})
        for partition in partitions:
            for _ in range(count):
                value = f"{name} {next(self._numbers)}"
                producer.produce(name, key=value, value=value, partition=partition)
                if name == LEADS:
                    self.leads.append(value)
        assert producer.flush(30) == 0

    def values(self, cluster: str, name: str) -> list[str]:
        """The committed records of a topic."""
        config = {
            "bootstrap.servers": self._run.bootstrap(cluster),
            "group.id": "crm-look",
            "enable.auto.commit": False,
        }
        consumer = Consumer({**config, "isolation.level": "read_committed", "enable.partition.eof": True})
        found, ended = [], set()
        try:
            count = len(consumer.list_topics(name, timeout=30).topics[name].partitions)
            consumer.assign([TopicPartition(name, number, 0) for number in range(count)])
            while len(ended) < count:
                message = consumer.poll(30)
                assert message is not None
                if (error := message.error()) is None:
                    found.append((message.value() or b"").decode())
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ended.add(message.partition())
        finally:
            consumer.close()
        return found

    def commit(self, group_id: str, places: dict[str, Sequence[int]], offset: int = 10) -> None:
        """A consumer that assigns itself: it commits, and its group never has a member."""
        consumer = Consumer({"bootstrap.servers": self._run.bootstrap("source"), "group.id": group_id})
        try:
            parts = [TopicPartition(name, number, offset) for name, numbers in places.items() for number in numbers]
            for part in consumer.commit(offsets=parts, asynchronous=False) or ():
                assert part.error is None
        finally:
            consumer.close()

    def partitions(self, cluster: AdminClient, name: str) -> int:
        found = cluster.list_topics(timeout=30).topics.get(name)
        return len(found.partitions) if found else 0

    def forget(self) -> None:
        """Leave nothing of this batch on either side. What a busy broker refuses or answers too late is asked again."""
        for admin in (self.source, self.target):
            wait_until(lambda admin=admin: self._forgotten(admin), 120, "nothing of crm is left")  # type: ignore[misc]

    @staticmethod
    def _forgotten(admin: AdminClient) -> bool:
        try:
            names = [name for name in admin.list_topics(timeout=30).topics if name.startswith("crm.")]
            listed = admin.list_consumer_groups(request_timeout=30).result().valid
            groups = [item.group_id for item in listed or () if item.group_id.startswith(("crm-", "auditor"))]
            futures = list((admin.delete_topics(names) if names else {}).values())
            futures += (admin.delete_consumer_groups(groups) if groups else {}).values()
            for future in futures:
                future.result(30)
        except KafkaException:
            return False
        return not names and not groups


@pytest.fixture(scope="module")
def clusters(lab_run: LabRun) -> Iterator[Clusters]:
    """A running task of a batch `crm` with one topic and one group, and rules that let some more join."""
    layout, made = lab_run.layout, Clusters(lab_run)
    settings, plan = layout.settings.read_text(), plan_file.load_plan(layout)
    try:
        made.create(LEADS, 2)
        made.write("source", LEADS, (0, 1))
        made.commit("crm-sync", {LEADS: (0, 1)})
        layout.settings.write_text(settings + EVERY_SECONDS)
        layout.rules.write_text(RULES)
        lab_run.do("scan")
        batch = Batch(BATCH, (LEADS,), ("crm-sync",))
        left_out = {name: why for name, why in plan.left_out.items() if name not in ("group crm-sync", LEADS)}
        with_batch = Plan(plan.scan_id, (*(item for item in plan.batches if item.name != BATCH), batch), left_out)
        plan_file.write_plan(layout, replace(with_batch), written_by=plan_file.OPERATOR)
        lab_run.do("preflight")
        waive(lab_run)
        lab_run.do("create_task", {"batch": BATCH})
        lab_run.caught_up(BATCH)
        yield made
    finally:
        with contextlib.suppress(KferryError):  # a failed test may have left a cutover open
            if lab_run.session.reader.task(BATCH) is not None:
                lab_run.do("delete_task", {"task": BATCH})
        made.forget()
        layout.settings.write_text(settings)
        layout.rules.unlink(missing_ok=True)
        plan_file.write_plan(layout, plan)


def waive(run: LabRun) -> None:
    """Waive what concerns this batch."""
    now_ms = int(time.time() * 1000)
    for finding in run.session.reader.findings(now_ms) or ():
        if finding.stops and finding.severity != "block":
            why = {"finding_id": finding.finding_id, "why": "a test", "until_ms": now_ms + 3_600_000}
            run.session.ask("waive", why)


def newcomers(run: LabRun) -> dict[str, dict[str, Any]]:
    """What is announced for the task now, by name."""
    found = run.session.reader.document("newcomers", BATCH)
    return {item["name"]: item for item in found[1]["items"]} if found else {}


def words(run: LabRun) -> str:
    return json.dumps(run.session.reader.document("newcomers", BATCH), indent=1)


def kill_engine(run: LabRun) -> None:
    """End the engine without a word, and start another."""
    pid = run.session.engine().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not run.engine_lives(), 10, "the engine is dead")
    run.session.ensure_engine()


def test_a_topic_and_a_group_that_match_join_the_running_task_by_themselves(
    lab_run: LabRun, clusters: Clusters
) -> None:
    clusters.create(NOTES, 3)
    clusters.write("source", NOTES, (0, 1, 2))
    clusters.commit("crm-notes", {LEADS: (0,), NOTES: (0, 1, 2)})

    def joined() -> bool:
        task = lab_run.task(BATCH)
        return (task.topics, task.groups) == ((LEADS, NOTES), ("crm-notes", "crm-sync"))

    wait_until(lambda: NOTES in newcomers(lab_run), 30, "the topic is announced")
    waive(lab_run)  # what preflight says of it, where it only warns
    try:
        wait_until(joined, 90, "both have joined")
    except AssertionError as error:
        raise AssertionError(f"{error}: {words(lab_run)}") from error
    update = lab_run.session.reader.operations(subject=BATCH, kind="update_task")
    assert len(update) == 1, "they came together: each change restarts the connector tasks"
    lab_run.done(update[0].operation_id)
    assert update[0].args["who"] == "kferry (newcomers)"
    assert clusters.partitions(clusters.target, NOTES) == 3
    wait_until(
        lambda: set(lab_run.end_offsets("target", [NOTES]).values()) == {30}, 60, "real MirrorMaker has copied it"
    )
    wait_until(lambda: newcomers(lab_run) == {}, 30, "nothing is new any more")


def test_a_late_group_and_a_grown_topic_hold_up_the_cutover_by_their_names(lab_run: LabRun, clusters: Clusters) -> None:
    assert NOTES in lab_run.task(BATCH).topics, "needs the test before"
    clusters.commit("auditor", {LEADS: (0,)})
    clusters.grow(LEADS, 4)
    wait_until(lambda: {"auditor", LEADS} <= set(newcomers(lab_run)), 30, "both are announced")
    assert {name: (item["joins"], item["blocks"]) for name, item in newcomers(lab_run).items()} == {
        "auditor": (False, True),
        LEADS: (False, True),  # two more partitions are beyond the limit
    }
    lab_run.is_state(BATCH, "Running")  # the copy itself is well
    operation_id = lab_run.ask("cutover", {"batch": BATCH, "runbook": "stop-drain-switch"})
    reasons = "\n".join(lab_run.reaches(operation_id, "ready").evidence["not_yet"])
    assert "Group auditor" in reasons and "kferry task update crm --add-group auditor" in reasons, reasons
    assert f"Topic {LEADS}: it has 4 partitions now, 2 when its copy began" in reasons, reasons
    lab_run.session.ask("abort", {"operation_id": operation_id})
    wait_until(lambda: lab_run.operation(operation_id).status == "aborted", 30, "it is put back")
    assert lab_run.phase(BATCH) == "replicating"


def test_once_all_is_settled_an_application_that_writes_what_it_reads_switches_exactly_once(
    lab_run: LabRun, clusters: Clusters
) -> None:
    assert "auditor" in newcomers(lab_run), "needs the test before"
    clusters.source.delete_consumer_groups(["auditor"])["auditor"].result(30)
    clusters.write("source", LEADS, (2, 3), count=7)
    wait_until(lambda: clusters.partitions(clusters.target, LEADS) == 4, 100, "MirrorMaker grows the target")
    lab_run.do("update_task", {"task": BATCH, "add_topics": [LEADS]})  # anchors what grew

    def app(cluster: str) -> TransactionalApp:
        return TransactionalApp(lab_run.bootstrap(cluster), "crm-enrich", LEADS, NOTES)

    with app("source") as enrich:
        wait_until(lambda: enrich.processed == len(clusters.leads), 60, "it has processed all leads")
        wait_until(lambda: "crm-enrich" in lab_run.task(BATCH).groups, 60, "it joins: its group matches")
        wait_until(lambda: newcomers(lab_run) == {}, 30, "all is settled")
        wait_until(lambda: lab_run.task(BATCH).operation_id is None, 60, "it has joined")
        lab_run.is_state(BATCH, "Running")
        lab_run.do("scan")
        plan = lab_run.session.ask("cutover", {"batch": BATCH}, dry_run=True).result
        chosen = next(one for one in plan["words"] if one.startswith("Runbook"))
        assert chosen.startswith("Runbook stop-drain-switch: crm-enrich (read-process-write)"), plan["words"]
        lab_run.caught_up(BATCH)
        first = lab_run.ask("cutover", {"batch": BATCH, "uncommitted": "earliest"})
        lab_run.reaches(first, "stop_consumers")
    lab_run.reaches(first, "stop_producers")
    lab_run.answer(first, "stop_producers", confirmed=True)
    lab_run.reaches(first, "release_consumers")
    assert lab_run.step(first, "certify").status == "done", "both ends are compared before anybody writes again"
    assert lab_run.step(first, "release_consumers").evidence["crossed"] is False

    # nobody has written to the target: the way back is open, as far as the application's own positions
    lab_run.session.ask("abort", {"operation_id": first})

    def owners_act(step: str) -> bool:
        if step == "stop_producers":
            clusters.write("source", LEADS, (0,), count=1)  # they start their producers again
        found = lab_run.operation(first)
        return found.status == "aborted" or lab_run.step(first, step).status == "undone"

    wait_until(lambda: owners_act("stop_producers"), 150, "producers are back")
    with app("source") as enrich:
        wait_until(lambda: lab_run.operation(first).status == "aborted", 60, "it is put back")
        assert lab_run.phase(BATCH) == "rolled back"
        lab_run.is_state(BATCH, "Running")
        lab_run.caught_up(BATCH)
        second = lab_run.ask("cutover", {"batch": BATCH, "uncommitted": "earliest"})
        lab_run.reaches(second, "stop_consumers")
    clusters.write("source", LEADS, (1, 3), count=15)  # what it will have to process on the target
    lab_run.reaches(second, "stop_producers")
    lab_run.answer(second, "stop_producers", confirmed=True)
    lab_run.reaches(second, "release_consumers")
    kill_engine(lab_run)  # the next one goes on by the runbook that this switch began with
    lab_run.reaches(second, "release_consumers")
    with app("target") as enrich:
        lab_run.reaches(second, "release_producers")
        wait_until(lambda: enrich.processed == 30, 60, "it goes on where it stopped")
        assert lab_run.step(second, "release_consumers").evidence["crossed"] is not None
        lab_run.answer(second, "release_producers", confirmed=True)
        lab_run.done(second)
    assert lab_run.is_switched(BATCH)
    certificate = lab_run.session.reader.certificate(BATCH)
    assert certificate is not None and certificate["verdict"] == "complete"
    checked = certificate["verification"]
    assert (checked["missing"], checked["reordered"], checked["foreign"], checked["repeats"]) == (0, 0, 0, 0)
    places = {(item["topic"], item["partition"]) for item in checked["partitions"]}
    assert places == {(LEADS, number) for number in range(4)} | {(NOTES, number) for number in range(3)}
    written = [value for value in clusters.values("target", NOTES) if value.startswith(LEADS)]
    assert sorted(written) == sorted(clusters.leads), "every lead was processed once, wherever"
