"""A migration of which one batch has begun, with a plan to edit: for tests of the Plan and Graph screens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kferry.domain import model
from kferry.store import codec, plan_file
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from support import seeded

BATCHES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "hr": (("hr.audit", "hr.employees"), ("hr-sync",)),
    "iot": (("iot.alerts", "iot.telemetry"), ("telemetry-agg",)),
    "shop": (("shop.orders", "shop.payments", "shop.returns"), ("billing", "fraud-check")),
    "web": (("web.clicks",), ("web-sessions",)),
}
READS = {
    "hr-sync": ("hr.employees",),
    "telemetry-agg": ("iot.alerts", "iot.telemetry"),
    "billing": ("shop.orders",),
    "fraud-check": ("shop.orders", "shop.payments"),
    "web-sessions": ("web.clicks",),
}
WRITES = {"payments-tx": ("shop.payments", "shop.returns")}
# A sink that reads everything of three systems: it glues them into one.
ARCHIVE = ("archive-sink", ("iot.telemetry", "shop.orders", "web.clicks"))


def layout_of(
    root: Path, *, under_way: str = "hr", scan: bool = True, archive: bool = False, hostile: str = ""
) -> Layout:
    """A directory with plan.yml (scan-7), the scan and one batch that replicates."""
    layout = seeded.bare(root)
    journal = Journal(layout.journal)
    try:
        if scan:
            put_scan(journal, reads=dict([*READS.items(), ARCHIVE]) if archive else READS, hostile=hostile)
        with journal.transaction() as session:
            for name in BATCHES:
                journal.put_batch(session, name, "replicating" if name == under_way else "planned")
    finally:
        journal.close()
    batches = [
        model.Batch(name, topics, groups, float(at + 1), (f"Group {groups[0]} reads {topics[0]}.",))
        for at, (name, (topics, groups)) in enumerate(BATCHES.items())
    ]
    batches[1] = model.Batch(
        batches[1].name,
        batches[1].topics,
        (*batches[1].groups, *((hostile,) if hostile else ())),
        2.0,
        batches[1].why,
        note=hostile,
        canary=True,
        warnings=("telemetry-agg is a Streams application: its state is rebuilt on the target.",),
    )
    left_out = {"__consumer_offsets": "an internal topic of the source cluster", "group console-consumer-1": "left"}
    plan_file.write_plan(layout, model.Plan("scan-7", tuple(batches), left_out))
    return layout


def put_scan(
    journal: Journal,
    *,
    scan_id: str = "scan-7",
    taken_at_ms: int = seeded.NOW_MS - 2 * seeded.HOUR,
    reads: Mapping[str, tuple[str, ...]] = READS,
    denied: tuple[str, ...] = (),
    hostile: str = "",
) -> None:
    """The scan of the source that the plan was made from, or another one."""
    names = sorted({name for topics, _ in BATCHES.values() for name in topics})
    topics = [_topic(name, denied=name in denied) for name in names]
    groups = [_group(name, read) for name, read in reads.items()]
    if hostile:
        groups.append(_group(hostile, ("iot.alerts",)))
    ids = tuple(model.TransactionalId(name, frozenset(written)) for name, written in WRITES.items())
    facts = model.ClusterFacts(model.Role.SOURCE, "cluster", "3.9", 1, (model.Broker(1, "old-1", 9092),))
    scan = model.Scan(scan_id, taken_at_ms, facts, tuple(topics), tuple(groups), ids)
    journal.put_document("scan", "source", codec.dump(scan))


def _topic(name: str, *, denied: bool) -> model.Topic:
    if denied:
        return model.Topic(name, None, None, (), error="not authorised to describe it: grant Describe on the topic")
    partitions = tuple(model.PartitionOffsets(at, 0, 250_000, 250_000) for at in range(4))
    configs = {"cleanup.policy": "delete", "retention.ms": "604800000"}
    return model.Topic(
        name, f"id-{name}", 3, partitions, configs, configs, mean_record_bytes=500.0, records_per_second=20.0
    )


def _group(name: str, read: tuple[str, ...]) -> model.Group:
    committed = tuple(model.CommittedOffset(topic, at, 240_000) for topic in read for at in range(4))
    member = model.GroupMember(f"{name}-1", f"{name}-client", "/10.0.0.7")
    return model.Group(name, model.GroupState.STABLE, model.GroupKind.PLAIN, (member,), committed)
