"""The risk of moving a batch: a sum of points that an operator can follow.

| part | points |
| --- | --- |
| records | log10 of their number; 6 where unknown |
| rate | 1.5 x log10 of (records per second + 1); 3 where unknown |
| compacted topics | 1 each, at most 3 |
| transactional topics | 3, however many |
| groups with live members | 1 each, at most 5 |
| Kafka Connect groups | 2 each |
| Kafka Streams groups | 4 each |
| applications that read, process and write | 3 each, at most 9; also Flink and Spark, not Streams |
| groups far behind | 2 each: more than half of what their topics hold is still unread |

The figure only orders batches; it is no probability.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kferry.domain.applications import Application, ApplicationClass, CutoverStyle
from kferry.domain.model import Group, GroupKind, PartitionOffsets, Scan, Topic
from kferry.domain.words import counted

_FAR_BEHIND_RATIO = 0.5


@dataclass(frozen=True, slots=True)
class RiskPart:
    """One summand with its words."""

    words: str
    points: float


@dataclass(frozen=True, slots=True)
class Risk:
    """The risk of a batch with the parts it is the sum of."""

    points: float
    parts: tuple[RiskPart, ...]

    @property
    def words(self) -> str:
        """The risk as one sentence."""
        if not self.parts:
            return "Risk 0: nothing to copy and nobody reads it."
        return f"Risk {self.points:g}: " + ", ".join(f"{p.words} ({p.points:g})" for p in self.parts) + "."


class RiskScale:
    """Weighs batches of one scan, which it indexes once."""

    def __init__(self, scan: Scan) -> None:
        self._topics = {topic.name: topic for topic in scan.topics}
        self._groups = {group.group_id: group for group in scan.groups}
        self._written = frozenset(name for one in scan.transactional_ids or () for name in one.topics)

    def weigh(self, topics: Iterable[str], groups: Iterable[str], applications: Iterable[Application] = ()) -> Risk:
        """The risk of moving these topics and groups, and the applications behind them, together."""
        members = [self._topics[name] for name in sorted(set(topics)) if name in self._topics]
        readers = [self._groups[name] for name in sorted(set(groups)) if name in self._groups]
        found = (
            *_of_topics(members, self._written),
            *_of_groups(readers, self._topics),
            _of_applications(applications),
        )
        parts = [part for part in found if part.points > 0]
        return Risk(round(sum(part.points for part in parts), 1), tuple(parts))


def batch_risk(topics: Iterable[str], groups: Iterable[str], scan: Scan) -> Risk:
    """The risk of moving these topics and groups together."""
    return RiskScale(scan).weigh(topics, groups)


def _of_topics(topics: list[Topic], written: frozenset[str]) -> list[RiskPart]:
    spans = [topic.record_span for topic in topics if topic.partitions or topic.error is None]
    if any(span is None for span in spans) or len(spans) < len(topics):
        records = RiskPart("number of records unknown", 6.0)
    else:
        total = sum(span for span in spans if span is not None)
        records = RiskPart(f"about {total} records", round(math.log10(total), 1) if total > 1 else 0.0)
    rates = [topic.records_per_second for topic in topics]
    if any(rate is None for rate in rates):
        rate_part = RiskPart("rate unknown", 3.0)
    else:
        rate = sum(max(0.0, rate) for rate in rates if rate is not None)
        rate_part = RiskPart(f"{rate:.0f} records/s", round(1.5 * math.log10(rate + 1), 1))
    compacted = sum(1 for topic in topics if topic.is_compacted)
    transactional = {topic.name for topic in topics if topic.has_transactions or topic.name in written}
    return [
        records,
        rate_part,
        RiskPart(counted(compacted, "compacted topic"), float(min(3, compacted))),
        RiskPart(counted(len(transactional), "transactional topic"), 3.0 if transactional else 0.0),
    ]


def _of_groups(groups: list[Group], topics: Mapping[str, Topic]) -> list[RiskPart]:
    live = sum(1 for group in groups if group.members)
    connect = sum(1 for group in groups if group.kind is GroupKind.CONNECT)
    streams = sum(1 for group in groups if group.kind is GroupKind.STREAMS)
    behind = sum(1 for group in groups if is_far_behind(group, topics))
    return [
        RiskPart(counted(live, "group") + " with live members", float(min(5, live))),
        RiskPart(counted(connect, "Kafka Connect group"), 2.0 * connect),
        RiskPart(counted(streams, "Kafka Streams group"), 4.0 * streams),
        RiskPart(counted(behind, "group") + " far behind", 2.0 * behind),
    ]


def _of_applications(applications: Iterable[Application]) -> RiskPart:
    # Streams groups are counted as groups
    count = sum(
        1
        for one in applications
        if one.style is CutoverStyle.STOP_DRAIN_SWITCH and one.class_ is not ApplicationClass.STREAMS
    )
    return RiskPart(counted(count, "application") + " that write what they read", float(min(9, 3 * count)))


def group_lag(group: Group, topics: Mapping[str, Topic]) -> tuple[int, int] | None:
    """Unread records and all records of the partitions a group committed in; None where an offset is unknown."""
    unread = held = 0
    for commit in group.committed:
        topic = topics.get(commit.topic)
        if topic is None:
            continue
        part = partition_of(topic, commit.partition)
        if part is None or part.end_offset is None or part.log_start_offset is None:
            return None
        unread += max(0, part.end_offset - max(commit.offset, part.log_start_offset))
        held += part.end_offset - part.log_start_offset
    return unread, held


def partition_of(topic: Topic, number: int) -> PartitionOffsets | None:
    """The partition with this number; partitions are nearly always stored in order."""
    if 0 <= number < len(topic.partitions) and topic.partitions[number].partition == number:
        return topic.partitions[number]
    return next((one for one in topic.partitions if one.partition == number), None)


def is_far_behind(group: Group, topics: Mapping[str, Topic]) -> bool:
    """Whether the group has more than half of what its partitions hold still before it."""
    lag = group_lag(group, topics)
    return lag is not None and lag[1] > 0 and lag[0] > lag[1] * _FAR_BEHIND_RATIO
