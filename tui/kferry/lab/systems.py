"""The three invented business systems, as data: their topics, their consumer groups, their shares of the traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kferry.domain.errors import ErrorKind, KferryError


@dataclass(frozen=True, slots=True)
class LabTopic:
    """A topic on the source and how it is written.

    `backlog_share` is a share of the backlog's records, `rate_share` of the live bytes. Partitions in
    `empty_partitions` never get a record, so their readers have nothing to commit there.
    """

    name: str
    partitions: int
    backlog_share: float
    rate_share: float
    record_bytes: int
    key_count: int
    configs: Mapping[str, str] = field(default_factory=dict)
    transactional_id: str | None = None
    tombstone_share: float = 0.0
    empty_partitions: frozenset[int] = frozenset()

    @property
    def is_compacted(self) -> bool:
        return self.configs.get("cleanup.policy") == "compact"

    def backlog_records(self, total: int) -> int:
        return max(20 * self.partitions, round(total * self.backlog_share))


@dataclass(frozen=True, slots=True)
class LabGroup:
    """A consumer group; `records_per_second` slows it down on purpose."""

    group_id: str
    topics: tuple[str, ...]
    read_committed: bool = False
    records_per_second: float | None = None
    commit_metadata: str = ""


@dataclass(frozen=True, slots=True)
class BusinessSystem:
    """One invented system: the topics it writes and the groups that read them."""

    name: str
    topics: tuple[LabTopic, ...]
    groups: tuple[LabGroup, ...]


SYSTEMS = (
    BusinessSystem(
        "shop",
        topics=(
            LabTopic("shop.orders", 12, 0.28, 0.26, 900, key_count=5000),
            LabTopic("shop.payments", 6, 0.10, 0.10, 500, key_count=5000, transactional_id="shop-payments-1"),
        ),
        groups=(
            LabGroup("billing", ("shop.orders",), commit_metadata="billing v3"),
            LabGroup("fraud-check", ("shop.orders", "shop.payments"), read_committed=True),
        ),
    ),
    BusinessSystem(
        "iot",
        topics=(
            LabTopic("iot.telemetry", 24, 0.50, 0.59, 640, key_count=2000, empty_partitions=frozenset({22, 23})),
            LabTopic("iot.device-heartbeats", 4, 0.07, 0.04, 200, key_count=2000),
        ),
        groups=(
            LabGroup("telemetry-agg", ("iot.telemetry",)),
            LabGroup("connect-s3-sink", ("iot.telemetry", "iot.device-heartbeats")),
        ),
    ),
    BusinessSystem(
        "hr",
        topics=(
            LabTopic(
                "hr.employees",
                4,
                0.05,
                0.01,
                500,
                key_count=2000,
                # Segments by record time and an eager cleaner: the source has real holes soon after the backlog.
                configs={
                    "cleanup.policy": "compact",
                    "segment.ms": "600000",
                    "min.cleanable.dirty.ratio": "0.3",
                },
                tombstone_share=0.04,
            ),
            LabTopic("hr.audit", 2, 0.001, 0.0, 400, key_count=50),
        ),
        # Slower than its topic is written: it falls ever further behind, and must be moved all the same.
        groups=(LabGroup("hr-sync", ("hr.employees",), records_per_second=4),),
    ),
)

TOPICS = {topic.name: topic for system in SYSTEMS for topic in system.topics}
GROUPS = {group.group_id: group for system in SYSTEMS for group in system.groups}


def find_system(name: str) -> BusinessSystem:
    """The system of this name."""
    for system in SYSTEMS:
        if system.name == name:
            return system
    raise KferryError(f"The lab has no business system {name!r}.", kind=ErrorKind.USAGE)


def check_known(kind: str, names: list[str], known: Mapping[str, object]) -> None:
    """Refuse names the lab does not know, in a sentence that shows those it does."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise KferryError(
            f"The lab has no {kind} {', '.join(repr(name) for name in unknown)}.",
            next_step=f"It has: {', '.join(known)}.",
            kind=ErrorKind.USAGE,
        )
