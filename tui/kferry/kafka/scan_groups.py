"""Groups of one cluster, some hundred at a time: members, commits, how late they are and whether they move."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import confluent_kafka as ck

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Broker, CommittedOffset, Group, GroupKind, Topic, TopicPartition
from kferry.kafka import groups
from kferry.kafka.admin import ClusterAdmin
from kferry.kafka.group_listing import ListedGroup, list_groups
from kferry.kafka.reader import read_ranges

_GROUPS_PER_CHUNK = 200
_CALL_SECONDS = 20.0
# Once coordinators were waited for in vain, the next groups get less time.
_SHORT_SECONDS = 4.0
_STREAMS_TOPICS = ("-changelog", "-repartition")
_NO_COORDINATOR = ("COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD", "TIMED_OUT", "_WAIT_COORD", "_TRANSPORT")

# How late a group is, is read off the record it would read next; that many are looked at.
_LATE_PER_GROUP = 8
_LATE_IN_ALL = 4000
_LATE_PER_PASS = 400
_LATE_OFFSETS = 20
_LATE_SECONDS = 15.0


class GroupScanner:
    """Scans groups. A coordinator that is not there is waited for once."""

    def __init__(self, admin: ClusterAdmin, *, cancelled: Callable[[], bool] = lambda: False) -> None:
        self.failed: dict[int, str] = {}  # brokers that did not list their groups, and why
        self._admin = admin
        self._cancelled = cancelled
        self._seconds = _CALL_SECONDS

    def listed(self, brokers: Iterable[Broker]) -> dict[str, ListedGroup]:
        """The groups there are. Raises KferryError where they can't be listed at all."""
        asked = tuple(brokers)
        found = list_groups(self._admin.config, asked, cancelled=self._cancelled)
        if len(found.failed) < len(asked):
            self.failed = found.failed
            return found.groups
        # none of them could be asked directly: the client library may still find a way to log in
        return {name: ListedGroup(name, "consumer") for name in self._admin.group_ids(timeout_seconds=_CALL_SECONDS)}

    @staticmethod
    def chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
        for start in range(0, len(ids), _GROUPS_PER_CHUNK):
            yield ids[start : start + _GROUPS_PER_CHUNK]

    def scan(self, listed: Sequence[ListedGroup]) -> dict[str, Group]:
        """These groups with members and commits. What can't be told of one stands in its `error`."""
        ordinary = [item.group_id for item in listed if item.has_offsets_to_read]
        found: dict[str, Group] = {}
        if ordinary:
            try:
                found = groups.groups(
                    self._admin.connection, ordinary, with_committed=True, timeout_seconds=self._seconds
                )
            except KferryError as error:
                if self._cancelled() or error.kind is not ErrorKind.CONNECT:
                    raise
                found = {name: groups.unknown_group(name, error.cause or error.title) for name in ordinary}
        if any(group.error and any(word in group.error for word in _NO_COORDINATOR) for group in found.values()):
            self._seconds = _SHORT_SECONDS
        for item in listed:
            if not item.has_offsets_to_read:
                words = "its positions cannot be read: it is a share group"
                found[item.group_id] = Group(
                    item.group_id, item.group_state, item.kind or GroupKind.UNKNOWN, error=words
                )
            elif item.kind is not None and found[item.group_id].kind is not GroupKind.CONNECT:
                found[item.group_id] = replace(found[item.group_id], kind=item.kind)
        return found

    def commits(self, found: Mapping[str, Group]) -> dict[str, tuple[CommittedOffset, ...]]:
        """What the groups have committed now; groups that can't be read (whole) are left out."""
        ids = [name for name, group in found.items() if not group.error]
        result: dict[str, tuple[CommittedOffset, ...]] = {}
        for chunk in self.chunks(ids):
            try:
                commits, errors = self._admin.committed_many(chunk, timeout_seconds=self._seconds)
            except KferryError as error:
                if self._cancelled() or error.kind is not ErrorKind.CONNECT:
                    raise
                continue
            result.update({name: offsets for name, offsets in commits.items() if name not in errors})
        return result


def streams_topics(names: Iterable[str]) -> tuple[str, ...]:
    """Those of these topics that could be internal ones of Streams applications: few, looked at for each group."""
    return tuple(name for name in names if name.endswith(_STREAMS_TOPICS))


def streams_by_topics(group: Group, internal: Iterable[str]) -> Group:
    """A stopped Streams application is still known by its internal topics, which begin with its id."""
    if group.kind not in (GroupKind.PLAIN, GroupKind.SIMPLE, GroupKind.CONSUMER):
        return group
    prefix = f"{group.group_id}-"
    if any(name.startswith(prefix) for name in internal):
        return replace(group, kind=GroupKind.STREAMS)
    return group


def with_movement(
    group: Group,
    again: tuple[CommittedOffset, ...] | None,
    before: Group | None,
    *,
    taken_at_ms: int,
    again_at_ms: int,
) -> Group:
    """The group with its newest commits, and when it was last seen to move: in this scan or an earlier one."""
    moved_at_ms = before.last_moved_at_ms if before is not None else None
    if (
        before is not None
        and not before.error
        and not group.error
        and _spots(before.committed) != _spots(group.committed)
    ):
        moved_at_ms = taken_at_ms
    if again is not None:
        if _spots(again) != _spots(group.committed):
            moved_at_ms = again_at_ms
        group = replace(group, committed=again)
    return replace(group, last_moved_at_ms=moved_at_ms)


def _spots(commits: Iterable[CommittedOffset]) -> set[tuple[str, int, int]]:
    return {(item.topic, item.partition, item.offset) for item in commits}


class LagReader:
    """Says how many seconds each group is late: the age of the oldest record that it has not read."""

    def __init__(
        self, admin: ClusterAdmin, topics: Mapping[str, Topic], *, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        self._admin = admin
        self._cancelled = cancelled
        self._parts = {
            TopicPartition(topic.name, part.partition): part for topic in topics.values() for part in topic.partitions
        }
        self._unreadable = {name for name, topic in topics.items() if topic.error and "records:" in topic.error}

    def late_by(self, found: Mapping[str, Group], on_progress: Callable[[int, int], None]) -> dict[str, float | None]:
        """Seconds per group: 0 where nothing is left to read, None where it can't be told."""
        wanted: dict[str, dict[TopicPartition, int] | None] = {}
        left = _LATE_IN_ALL
        for name, group in found.items():
            behind = self._behind(group)
            wanted[name] = behind if behind is None or len(behind) <= left else None
            left -= len(wanted[name] or ())
        spots = {(tp, offset) for behind in wanted.values() for tp, offset in (behind or {}).items()}
        ages = self._ages(spots, on_progress)
        return {name: _latest(behind, ages) for name, behind in wanted.items()}

    def _behind(self, group: Group) -> dict[TopicPartition, int] | None:
        """Where the group continues, in the partitions where it is furthest behind; None where an end is unknown."""
        if group.error or not group.committed:
            return None
        gaps: list[tuple[int, TopicPartition, int]] = []
        for commit in group.committed:
            tp = TopicPartition(commit.topic, commit.partition)
            part = self._parts.get(tp)
            if part is None:
                continue  # its topic is gone: nothing is left to read there
            end = part.end_offset if part.last_stable_offset is None else part.last_stable_offset
            if end is None or part.log_start_offset is None:
                return None
            at = max(commit.offset, part.log_start_offset)
            if at < end:
                if commit.topic in self._unreadable:
                    return None
                gaps.append((end - at, tp, at))
        gaps.sort(reverse=True)
        return {tp: at for _gap, tp, at in gaps[:_LATE_PER_GROUP]}

    def _ages(
        self, spots: set[tuple[TopicPartition, int]], on_progress: Callable[[int, int], None]
    ) -> dict[tuple[TopicPartition, int], float]:
        """The age of the first record at or behind each spot; what can't be read is left out."""
        ages: dict[tuple[TopicPartition, int], float] = {}
        done = 0
        for portion in _passes(sorted(spots)):
            self._read(portion, ages)
            done += len(portion)
            on_progress(done, len(spots))
        return ages

    def _read(self, portion: Mapping[TopicPartition, int], ages: dict[tuple[TopicPartition, int], float]) -> None:
        now_ms = time.time_ns() / 1e6
        ranges = {tp: (at, min(at + _LATE_OFFSETS, self._end(tp))) for tp, at in portion.items()}

        def handle(tp: TopicPartition, message: ck.Message) -> None:
            spot = (tp, portion[tp])
            kind, timestamp_ms = message.timestamp()
            if spot not in ages and kind != ck.TIMESTAMP_NOT_AVAILABLE and timestamp_ms >= 0:
                ages[spot] = max(0.0, (now_ms - timestamp_ms) / 1000)

        try:
            read_ranges(self._admin.config, ranges, handle, deadline_seconds=_LATE_SECONDS, cancelled=self._cancelled)
        except KferryError:
            if self._cancelled():
                raise
            # retention took a start away, or a broker is silent: these few stay unknown

    def _end(self, tp: TopicPartition) -> int:
        part = self._parts[tp]
        end = part.end_offset if part.last_stable_offset is None else part.last_stable_offset
        return end or 0


def _latest(
    behind: Mapping[TopicPartition, int] | None, ages: Mapping[tuple[TopicPartition, int], float]
) -> float | None:
    if behind is None:
        return None
    found = [ages.get((tp, at)) for tp, at in behind.items()]
    known = [age for age in found if age is not None]
    return max(known, default=0.0) if len(known) == len(found) else None


def _passes(spots: Sequence[tuple[TopicPartition, int]]) -> list[dict[TopicPartition, int]]:
    """Portions in which each partition has one spot only."""
    portions: list[dict[TopicPartition, int]] = []
    for tp, at in spots:
        place = next((item for item in portions if tp not in item and len(item) < _LATE_PER_PASS), None)
        if place is None:
            place = {}
            portions.append(place)
        place[tp] = at
    return portions
