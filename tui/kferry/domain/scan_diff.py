"""What changed between two scans of one cluster: what appeared, vanished, was made anew, or is set otherwise.

Where one of the scans does not know, nothing is said to have changed; what could not be compared is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kferry.domain.model import Group, Scan, Topic


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A config that was set, unset or changed on a topic itself; None = not set."""

    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class TopicChange:
    """A topic that is in both scans and is not the same. `recreated`: another topic of the same name."""

    name: str
    recreated: bool = False
    partitions_before: int | None = None
    partitions_after: int | None = None
    replication_before: int | None = None
    replication_after: int | None = None
    configs: tuple[ConfigChange, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Each change in a few words."""
        said = ["made anew: another topic with the same name"] if self.recreated else []
        if self.partitions_before != self.partitions_after:
            said.append(f"{self.partitions_before} → {self.partitions_after} partitions")
        if self.replication_before != self.replication_after:
            said.append(f"replication {self.replication_before} → {self.replication_after}")
        said += [f"{item.key}: {_shown(item.before)} → {_shown(item.after)}" for item in self.configs]
        return tuple(said)


@dataclass(frozen=True, slots=True)
class GroupChange:
    """A group that is in both scans and reads other topics, or is of another kind."""

    group_id: str
    topics_added: tuple[str, ...] = ()
    topics_removed: tuple[str, ...] = ()
    kind_before: str | None = None
    kind_after: str | None = None

    @property
    def words(self) -> tuple[str, ...]:
        said = [f"reads {', '.join(self.topics_added)} too"] if self.topics_added else []
        if self.topics_removed:
            said.append(f"no longer reads {', '.join(self.topics_removed)}")
        if self.kind_before != self.kind_after:
            said.append(f"{self.kind_before} → {self.kind_after}")
        return tuple(said)


@dataclass(frozen=True, slots=True)
class ScanDiff:
    """The newer scan against the older. `another_cluster`: the ids differ, so that nothing else can be compared."""

    before_id: str
    after_id: str
    before_at_ms: int
    after_at_ms: int
    another_cluster: bool = False
    topics_appeared: tuple[str, ...] = ()
    topics_vanished: tuple[str, ...] = ()
    topics_recreated: tuple[str, ...] = ()
    topics_changed: tuple[TopicChange, ...] = ()
    groups_appeared: tuple[str, ...] = ()
    groups_vanished: tuple[str, ...] = ()
    groups_changed: tuple[GroupChange, ...] = ()
    transactional_ids_appeared: tuple[str, ...] = ()
    transactional_ids_vanished: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    not_compared: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.another_cluster and not any(self.counts.values())


def compare(before: Scan, after: Scan) -> ScanDiff:
    """What is different in `after`. Both are scans of the same role."""
    ids = (before.cluster.cluster_id, after.cluster.cluster_id)
    head = (before.scan_id, after.scan_id, before.taken_at_ms, after.taken_at_ms)
    if None not in ids and ids[0] != ids[1]:
        return ScanDiff(*head, another_cluster=True)
    notes: list[str] = []
    old_topics, new_topics = _topics(before), _topics(after)
    changed = _changed_topics(old_topics, new_topics, notes)
    recreated = tuple(item.name for item in changed if item.recreated)
    old_groups, new_groups = _groups(before), _groups(after)
    groups_known = "groups" not in _unknown(before) | _unknown(after)
    if not groups_known:
        notes.append("groups: one of the scans could not list them")
    changed_groups = _changed_groups(old_groups, new_groups)
    old_ids = {item.transactional_id for item in before.transactional_ids or ()}
    new_ids = {item.transactional_id for item in after.transactional_ids or ()}
    ids_known = before.transactional_ids is not None and after.transactional_ids is not None
    if not ids_known:
        notes.append("transactional ids: one of the scans does not know them")
    # What a scan that was cut off lacks has not vanished, and what it never saw has not appeared.
    if not before.complete or not after.complete:
        notes.append("one of the scans was cut off: what it lacks is not said to have appeared or vanished")
    parts: dict[str, tuple[str, ...]] = {
        "topics_appeared": _sorted(set(new_topics) - set(old_topics)) if before.complete else (),
        "topics_vanished": _sorted(set(old_topics) - set(new_topics)) if after.complete else (),
        "groups_appeared": _sorted(set(new_groups) - set(old_groups)) if before.complete and groups_known else (),
        "groups_vanished": _sorted(set(old_groups) - set(new_groups)) if after.complete and groups_known else (),
        "transactional_ids_appeared": _sorted(new_ids - old_ids) if ids_known else (),
        "transactional_ids_vanished": _sorted(old_ids - new_ids) if ids_known else (),
    }
    counts = {name: len(found) for name, found in parts.items()}
    counts |= {
        "topics_recreated": len(recreated),
        "topics_changed": len(changed),
        "groups_changed": len(changed_groups),
    }
    return ScanDiff(
        *head,
        topics_recreated=recreated,
        topics_changed=changed,
        groups_changed=changed_groups,
        counts=counts,
        not_compared=tuple(notes),
        topics_appeared=parts["topics_appeared"],
        topics_vanished=parts["topics_vanished"],
        groups_appeared=parts["groups_appeared"],
        groups_vanished=parts["groups_vanished"],
        transactional_ids_appeared=parts["transactional_ids_appeared"],
        transactional_ids_vanished=parts["transactional_ids_vanished"],
    )


def _topics(scan: Scan) -> dict[str, Topic]:
    return {topic.name: topic for topic in scan.topics if not topic.is_internal}


def _groups(scan: Scan) -> dict[str, Group]:
    return {group.group_id: group for group in scan.groups}


def _unknown(scan: Scan) -> set[str]:
    """Parts whose capability says that they could not be asked."""
    return {name for name, state in scan.cluster.capabilities.items() if state.value != "supported"}


def _changed_topics(old: Mapping[str, Topic], new: Mapping[str, Topic], notes: list[str]) -> tuple[TopicChange, ...]:
    found = []
    blind: list[str] = []
    for name in sorted(old.keys() & new.keys()):
        before, after = old[name], new[name]
        recreated = None not in (before.topic_id, after.topic_id) and before.topic_id != after.topic_id
        recreated |= _began_again(before, after)
        # configs that could not be read look like none
        has_configs = not any("configs:" in (topic.error or "") for topic in (before, after))
        if not has_configs:
            blind.append(name)
        change = TopicChange(
            name,
            recreated=recreated,
            partitions_before=before.partition_count,
            partitions_after=after.partition_count,
            replication_before=before.replication_factor,
            replication_after=after.replication_factor,
            configs=_config_changes(before.configs, after.configs) if has_configs else (),
        )
        if change.words:
            found.append(change)
    if blind:
        notes.append(f"configs of {len(blind)} topics: one of the scans could not read them")
    return tuple(found)


def _began_again(before: Topic, after: Topic) -> bool:
    """Ends never fall, unless the topic is another one; this tells it on brokers without topic ids.

    After an unclean election they fall as well, but not to zero.
    """
    if None not in (before.topic_id, after.topic_id):
        return False
    ends = {part.partition: part.end_offset for part in after.partitions}
    pairs = [(part.end_offset, ends.get(part.partition)) for part in before.partitions]
    return any(was and now == 0 for was, now in pairs)


def _config_changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[ConfigChange, ...]:
    return tuple(
        ConfigChange(key, before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    )


def _changed_groups(old: Mapping[str, Group], new: Mapping[str, Group]) -> tuple[GroupChange, ...]:
    found = []
    for name in sorted(old.keys() & new.keys()):
        before, after = old[name], new[name]
        if before.error or after.error:
            continue
        change = GroupChange(
            name,
            _sorted(after.topics - before.topics),
            _sorted(before.topics - after.topics),
            before.kind.value,
            after.kind.value,
        )
        if change.words:
            found.append(change)
    return tuple(found)


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))


def _shown(value: str | None) -> str:
    return "not set" if value is None else value


def summary(diff: ScanDiff) -> Sequence[str]:
    """The counts that are not zero, in words."""
    if diff.another_cluster:
        return ("another cluster",)
    return tuple(f"{count} {name.replace('_', ' ')}" for name, count in diff.counts.items() if count)
