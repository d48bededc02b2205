"""What is known of each topic and group of a scan, by name: the same facts sort and filter the screen and the CLI."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from kferry.client import writers
from kferry.client.filters import Field, FieldKind, Value
from kferry.client.writers import TopicWriters
from kferry.domain import clean_up
from kferry.domain.model import Group, Scan, Topic
from kferry.domain.planning.scope import group_key
from kferry.domain.words import counted

T = TypeVar("T", Topic, Group)


@dataclass(slots=True)
class Inventory:
    """A scan, whole or still being read, with what other rooms say about its topics and groups.

    Lists only ever grow: a row that is drawn stays where it is. `readers` is None until all groups are known.
    """

    topics: list[Topic] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    scan: Scan | None = None  # once everything was read
    readers: dict[str, list[str]] | None = None
    unused: Mapping[str, str] = field(default_factory=dict)  # topic name, or group_key of a group: why
    batches: Mapping[str, str] = field(default_factory=dict)  # the same keys: the batch
    findings: Mapping[str, int] | None = None  # subject: how many findings; None while preflight never ran
    partition_count: int = 0  # these three once everything was read
    failed_topics: int = 0
    failed_groups: int = 0
    _writers: Mapping[str, TopicWriters] | None = None
    _lags: dict[str, int | None] = field(default_factory=dict)
    _ends: dict[tuple[str, int], int | None] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        return self.scan is not None

    @property
    def taken_at_ms(self) -> int | None:
        return self.scan.taken_at_ms if self.scan is not None else None

    def finish(self, scan: Scan) -> None:
        """Everything was read: now it is known who reads what."""
        readers: dict[str, list[str]] = {}
        for group in self.groups:
            for name in group.topics:
                readers.setdefault(name, []).append(group.group_id)
        self.readers = {name: sorted(found) for name, found in readers.items()}
        self._ends = {
            (topic.name, part.partition): part.end_offset for topic in self.topics for part in topic.partitions
        }
        self.partition_count = sum(topic.partition_count for topic in self.topics)
        self.failed_topics = sum(topic.error is not None for topic in self.topics)
        self.failed_groups = sum(group.error is not None for group in self.groups)
        self.scan, self._writers = scan, None

    def readers_of(self, topic: Topic) -> Sequence[str] | None:
        return None if self.readers is None else self.readers.get(topic.name, ())

    def writers_of(self, topic: Topic) -> TopicWriters | None:
        """Who writes it, as far as the whole scan knows; None where it knows of nobody."""
        if self._writers is None:
            self._writers = writers.by_topic(self.scan) if self.scan is not None else {}
        return self._writers.get(topic.name)

    def findings_of(self, name: str) -> int | None:
        return None if self.findings is None else self.findings.get(name, 0)

    def lag_of(self, group: Group) -> int | None:
        """Records between the group's commits and the ends of the scan; None where one of the ends is unknown."""
        if group.group_id not in self._lags:
            self._lags[group.group_id] = lag(group, self._ends)
        return self._lags[group.group_id]


def finding_counts(findings: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many findings there are about each subject; those that only inform don't count."""
    counts: dict[str, int] = {}
    for finding in findings:
        if finding.get("severity") != "info":
            subject = str(finding.get("subject", ""))
            counts[subject] = counts.get(subject, 0) + 1
    return counts


def lag(group: Group, ends: Mapping[tuple[str, int], int | None]) -> int | None:
    """The sum over the partitions that the group has committed in; None without commits or with an unknown end."""
    if not group.committed:
        return None
    total = 0
    for commit in group.committed:
        end = ends.get((commit.topic, commit.partition))
        if end is None:
            return None
        total += max(0, end - commit.offset)
    return total


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    """One thing that is known of each topic or group: its name in filters, its title, and how it is found."""

    field: Field
    title: str
    help: str
    of: Callable[[Inventory, T], Value]

    @property
    def name(self) -> str:
        return self.field.name


def _age_seconds(now_ms: int | None, at_ms: int | None) -> float | None:
    return None if now_ms is None or at_ms is None else max(0.0, (now_ms - at_ms) / 1000)


def idle_seconds(topic: Topic, at_ms: int | None) -> float | None:
    """Since its newest record. Where only some partitions were looked into it is a bound, which `idle_bound` tells."""
    bound = idle_bound(topic, at_ms)
    if bound is None:
        return None
    return _age_seconds(at_ms, topic.quiet_since_ms if bound == "≥" else topic.last_timestamp_ms)


def idle_bound(topic: Topic, at_ms: int | None) -> str | None:
    """How the time since its newest record is known: "" as it is, "≤" at most, "≥" at least, None not at all."""
    newest_ms = topic.last_timestamp_ms
    if topic.ages_are_whole:
        return "" if newest_ms is not None else None
    if topic.quiet_since_ms is not None:
        return "≥"
    # a record of late is a bound that tells something; an old one in some partitions says nothing of the others
    is_late = newest_ms is not None and at_ms is not None and at_ms - newest_ms <= clean_up.IDLE_AFTER_MS
    return "≤" if is_late else None


def seen_words(topic: Topic) -> str:
    """Which partitions the ages of its records are of, where these are not all of them."""
    if topic.ages_are_whole:
        return ""
    count = topic.sampled_partitions
    if not count:
        return "not of all partitions"
    return f"of {count} of {counted(topic.partition_count, 'partition')}, the fullest"


def size_bytes(topic: Topic) -> float | None:
    """What the brokers say, else the records by the mean size of the sampled ones."""
    if topic.size_bytes is not None:
        return float(topic.size_bytes)
    span = _seen(topic, topic.record_span)
    return span * topic.mean_record_bytes if span is not None and topic.mean_record_bytes is not None else None


def retention_seconds(topic: Topic) -> float | None:
    """retention.ms; -1 (unlimited) is infinite, what was not read or is no number is unknown."""
    text = topic.effective.get("retention.ms", topic.configs.get("retention.ms"))
    try:
        value = int(text) if text is not None else None
    except ValueError:
        return None
    return None if value is None else float("inf") if value < 0 else value / 1000


def traits(topic: Topic) -> str:
    words = [
        word
        for word, holds in (
            ("internal", topic.is_internal),
            ("compacted", topic.is_compacted),
            ("transactions", bool(topic.has_transactions)),
        )
        if holds
    ]
    return ", ".join(words)


def _names(names: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


_TEXT, _NUMBER, _BYTES = FieldKind.TEXT, FieldKind.NUMBER, FieldKind.BYTES
_SECONDS, _FLAG = FieldKind.SECONDS, FieldKind.FLAG


def _fact(name: str, kind: FieldKind, title: str, words: str, of: Any, *aliases: str) -> Fact[Any]:
    return Fact(Field(name, kind, aliases), title, words, of)


TOPIC_FACTS: tuple[Fact[Topic], ...] = (
    _fact("topic", _TEXT, "topic", "its name", lambda _, one: one.name, "name"),
    _fact("parts", _NUMBER, "parts", "partitions", lambda _, one: _seen(one, one.partition_count), "partitions"),
    _fact(
        "records", _NUMBER, "records", "end minus start offsets: an upper bound", lambda _, t: _seen(t, t.record_span)
    ),
    _fact("size", _BYTES, "size", "on the disks of one replica each", lambda _, one: size_bytes(one), "bytes"),
    _fact("rate", _NUMBER, "rate", "records written per second", lambda _, one: one.records_per_second),
    _fact(
        "idle",
        _SECONDS,
        "idle",
        "since the newest record, at the time of the scan",
        lambda inv, one: idle_seconds(one, inv.taken_at_ms),
    ),
    _fact("retention", _SECONDS, "retention", "retention.ms", lambda _, one: retention_seconds(one)),
    _fact("what", _TEXT, "what", "internal, compacted, transactions, errors", lambda _, one: one.error or traits(one)),
    _fact("readers", _NUMBER, "readers", "how many groups read it", lambda inv, one: _count(inv.readers_of(one))),
    _fact("by", _TEXT, "read by", "the groups that read it", lambda inv, one: _names(inv.readers_of(one)), "group"),
    _fact("batch", _TEXT, "batch", "where the plan puts it", lambda inv, one: inv.batches.get(one.name, "")),
    _fact("findings", _NUMBER, "findings", "of preflight about it", lambda inv, one: inv.findings_of(one.name)),
    _fact("unused", _FLAG, "unused", "nobody writes or reads it", lambda inv, one: one.name in inv.unused),
    _fact("replicas", _NUMBER, "replicas", "replication factor", lambda _, one: one.replication_factor),
    _fact("mean", _BYTES, "mean", "mean size of sampled records", lambda _, one: one.mean_record_bytes),
    _fact("transactions", _FLAG, "txn", "transactions were seen in it", lambda _, one: one.has_transactions),
    _fact("compacted", _FLAG, "compacted", "cleanup.policy has compact", lambda _, one: one.is_compacted),
    _fact("internal", _FLAG, "internal", "made by Kafka itself", lambda _, one: one.is_internal),
    _fact("failed", _FLAG, "failed", "it could not be read as a whole", lambda _, one: one.error is not None),
    _fact("id", _TEXT, "topic id", "another id after it was made anew", lambda _, one: one.topic_id),
)

GROUP_FACTS: tuple[Fact[Group], ...] = (
    _fact("group", _TEXT, "group", "its id", lambda _, one: one.group_id, "name"),
    _fact("state", _TEXT, "state", "as its coordinator says it", lambda _, one: one.state.value),
    _fact("kind", _TEXT, "kind", "plain, connect, streams, simple, consumer, share", lambda _, one: one.kind.value),
    _fact("members", _NUMBER, "members", "consumers that are in it", lambda _, one: len(one.members)),
    _fact("lag", _NUMBER, "lag", "records to the ends of the scan", lambda inv, one: inv.lag_of(one)),
    _fact("behind", _SECONDS, "behind", "its lag as time", lambda _, one: one.lag_seconds, "lag-time"),
    _fact(
        "idle",
        _SECONDS,
        "moved",
        "since a scan last saw its commits move",
        lambda inv, one: _age_seconds(inv.taken_at_ms, one.last_moved_at_ms),
        "moved",
    ),
    _fact("reads", _TEXT, "reads", "topics it commits to or has", lambda _, g: tuple(sorted(g.topics)), "topic"),
    _fact("topics", _NUMBER, "topics", "how many topics it reads", lambda _, one: len(one.topics)),
    _fact("batch", _TEXT, "batch", "where the plan puts it", lambda inv, g: inv.batches.get(group_key(g.group_id), "")),
    _fact("findings", _NUMBER, "findings", "of preflight about it", lambda inv, one: inv.findings_of(one.group_id)),
    _fact("unused", _FLAG, "unused", "nobody commits to it", lambda inv, g: group_key(g.group_id) in inv.unused),
    _fact("assignor", _TEXT, "assignor", "how partitions are shared out", lambda _, one: one.partition_assignor),
    _fact("client", _TEXT, "clients", "client ids of its members", lambda _, one: _members(one, "client_id")),
    _fact("host", _TEXT, "hosts", "where its members run", lambda _, one: _members(one, "host")),
    _fact("failed", _FLAG, "failed", "it could not be read as a whole", lambda _, one: one.error is not None),
)


def _seen(topic: Topic, count: int | None) -> int | None:
    """A topic that could not be read has no partitions in the scan: that is unknown, not 0."""
    return count if topic.partitions or topic.error is None else None


def _count(names: Sequence[str] | None) -> int | None:
    return None if names is None else len(names)


def _members(group: Group, attribute: str) -> str:
    return ", ".join(sorted({str(getattr(member, attribute)) for member in group.members}))


def topic_text(inventory: Inventory, topic: Topic) -> str:
    """What a filter without a field looks in."""
    readers = " ".join(inventory.readers_of(topic) or ())
    batch = inventory.batches.get(topic.name, "")
    return f"{topic.name} {traits(topic)} {readers} {batch} {topic.error or ''}".lower()


def group_text(inventory: Inventory, group: Group) -> str:
    batch = inventory.batches.get(group_key(group.group_id), "")
    topics = " ".join(sorted(group.topics))
    return f"{group.group_id} {group.state.value} {group.kind.value} {topics} {batch} {group.error or ''}".lower()


def unused_of(scan: Scan) -> dict[str, str]:
    """What a scan shows to be unused at its time, with the reason of each."""
    found = clean_up.unused(scan, now_ms=scan.taken_at_ms).found
    return {one.name if one.what is clean_up.What.TOPIC else group_key(one.name): one.reason for one in found}
