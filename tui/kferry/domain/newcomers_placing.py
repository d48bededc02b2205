"""The place that the planner's own rules give to newcomers, from what one cheap look at the source tells."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from kferry.domain.model import (
    Batch,
    ClusterFacts,
    CommittedOffset,
    Group,
    GroupKind,
    GroupState,
    PartitionOffsets,
    Plan,
    Role,
    Scan,
    Topic,
)
from kferry.domain.planning.placement import Placement, place_newcomers
from kferry.domain.planning.rules import PlanningRules


def placements_of(
    topics: Collection[str],
    reads: Mapping[str, frozenset[str]],
    plan: Plan,
    homes: Mapping[str, str],
    group_homes: Mapping[str, str],
    rules: PlanningRules,
) -> dict[str, Placement]:
    """The planner's place for every topic that has no home yet, by name.

    `reads` holds the groups that were looked at. A group that was not reads what its batch holds: so it was planned.
    """
    at_home: dict[str, set[str]] = {}
    for name, batch in homes.items():
        at_home.setdefault(batch, set()).add(name)
    known = {group_id: frozenset(at_home.get(batch, ())) for group_id, batch in group_homes.items()}
    scan = Scan(
        scan_id="look",
        taken_at_ms=0,
        cluster=ClusterFacts(Role.SOURCE, None, None, None, ()),
        topics=tuple(Topic(name, None, None, (PartitionOffsets(0, None, None),)) for name in sorted(topics)),
        groups=tuple(_group(group_id, read) for group_id, read in sorted((known | dict(reads)).items())),
    )
    found = place_newcomers(_as_it_runs(plan, homes, group_homes), scan, rules)
    return {item.name: item for item in found if item.kind == "topic"}


def words_of(placement: Placement) -> str:
    """The planner's reason without its subject and full stop, to be put into another sentence."""
    return placement.why.removeprefix(f"{placement.name} ").removeprefix("came later; ").rstrip(".")


def _group(group_id: str, read: frozenset[str]) -> Group:
    committed = tuple(CommittedOffset(name, 0, 0) for name in sorted(read))
    return Group(group_id, GroupState.EMPTY, GroupKind.PLAIN, committed=committed)


def _as_it_runs(plan: Plan, homes: Mapping[str, str], group_homes: Mapping[str, str]) -> Plan:
    """The plan with what joined its batches since."""
    topics: dict[str, list[str]] = {}
    groups: dict[str, list[str]] = {}
    for source, into in ((homes, topics), (group_homes, groups)):
        for name, batch in source.items():
            into.setdefault(batch, []).append(name)
    batches = {batch.name: batch for batch in plan.batches}
    for name in topics:
        batches.setdefault(name, Batch(name, (), ()))
    return replace(
        plan,
        batches=tuple(
            replace(batch, topics=tuple(sorted(topics.get(name, ()))), groups=tuple(sorted(groups.get(name, ()))))
            for name, batch in batches.items()
        ),
    )
