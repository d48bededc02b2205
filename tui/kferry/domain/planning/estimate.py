"""How big a batch is, how long its copy takes with how many workers, and what may go wrong meanwhile.

Everything that can't be known is None; an assumed speed is said to be one. Hours are those of the backlog: what arrives
during the copy slows it down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kferry.domain.model import Batch, Group, Scan, Topic
from kferry.domain.planning.risk import partition_of
from kferry.domain.planning.sizing import BatchSize, connector_tasks_max, size
from kferry.domain.topic_flow import ingress_bytes_per_second, lifetime_seconds

MOST_WORKERS = 8
# one more worker is worth it only if it makes the copy this much shorter
_WORTH_SHARE = 0.8
_GOAL_HOURS = 8.0
# what the steps of a switch take besides waiting for data: stop, look twice, freeze, translate, write, read back
_SWITCH_SECONDS = 90.0
_TRANSLATE_SECONDS_PER_PARTITION = 0.2
_RACE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Rates:
    """The speed of one worker. `measured_in` names the migration tasks it was measured in; "" = it is assumed."""

    bytes_per_second_per_worker: float | None = 20_000_000.0
    measured_in: str = ""

    @property
    def words(self) -> str:
        if self.bytes_per_second_per_worker is None:
            return "the speed of a worker is not known"
        speed = f"{self.bytes_per_second_per_worker / 1e6:.0f} MB/s a worker"
        return f"{speed}, measured in {self.measured_in}" if self.measured_in else f"{speed}, assumed, not measured"


@dataclass(frozen=True, slots=True)
class CopyTime:
    """The copy with so many workers. `hours` None: unknown, or never where `never`."""

    workers: int
    connector_tasks_max: int
    hours: float | None
    never: bool = False


@dataclass(frozen=True, slots=True)
class RetentionRace:
    """A topic whose records may expire on the source before they are copied."""

    topic: str
    lifetime_hours: float
    copy_hours: float | None
    lost: bool  # the copy takes longer than the records live; else it only comes near
    words: str


@dataclass(frozen=True, slots=True)
class Repeats:
    """How many records a group is expected to read again after the switch; None = not known, `why` says so."""

    group_id: str
    records: int | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The figures of a batch before it moves."""

    size: BatchSize
    ingress_bytes_per_second: float | None
    copy_times: tuple[CopyTime, ...]
    workers: int | None
    connector_tasks_max: int | None
    hours: float | None
    window_seconds: float | None
    repeats: tuple[Repeats, ...]
    races: tuple[RetentionRace, ...] | None
    rates: Rates
    words: str

    @property
    def repeated_records(self) -> int | None:
        """The repeats of all groups; None where one is unknown."""
        known = [one.records for one in self.repeats if one.records is not None]
        return sum(known) if len(known) == len(self.repeats) else None


def copy_speed(bytes_per_second_per_worker: float, partitions: int, workers: int) -> float:
    """What so many workers copy of so many partitions, in bytes per second."""
    one, tasks = bytes_per_second_per_worker, connector_tasks_max(partitions or 1, workers)
    # a worker needs two connector tasks to give what it can; a task needs a partition of its own
    return one * min(workers, tasks / 2) if tasks > 1 else one / 2 if partitions > 1 else one


def never_catches_up(speed: float, ingress: float) -> bool:
    """Whether data comes in as fast as it is copied, or nearly so (both in bytes per second)."""
    return speed - ingress <= 0.01 * speed


def estimate(batch: Batch, scan: Scan, rates: Rates | None = None, *, most_workers: int = MOST_WORKERS) -> Estimate:
    """What a batch asks for, from what the scan saw of it."""
    return Estimator(scan, rates, most_workers=most_workers).of(batch)


class Estimator:
    """Estimates batches of one scan, which it indexes once."""

    def __init__(self, scan: Scan, rates: Rates | None = None, *, most_workers: int = MOST_WORKERS) -> None:
        self._scan = scan
        self._rates = rates or Rates()
        self._most_workers = max(1, most_workers)
        self._topics = {topic.name: topic for topic in scan.topics}
        self._groups = {group.group_id: group for group in scan.groups}

    def of(self, batch: Batch) -> Estimate:
        found = size(batch, self._scan, topics=self._topics)
        topics = [self._topics[name] for name in batch.topics if name in self._topics]
        ingress = ingress_bytes_per_second(topics) if len(topics) == len(batch.topics) else None
        times = self._copy_times(found, ingress)
        chosen = _best(times)
        repeats = tuple(self._repeats(name) for name in batch.groups)
        hours = chosen.hours if chosen else None
        races = None if hours is None and not _never(times) else self._races(topics, hours)
        made = Estimate(
            size=found,
            ingress_bytes_per_second=ingress,
            copy_times=times,
            workers=chosen.workers if chosen else None,
            connector_tasks_max=chosen.connector_tasks_max if chosen else None,
            hours=hours,
            window_seconds=self._window(batch, found),
            repeats=repeats,
            races=races,
            rates=self._rates,
            words="",
        )
        return _with_words(made)

    def _copy_times(self, found: BatchSize, ingress: float | None) -> tuple[CopyTime, ...]:
        if found.partitions is None:
            return ()
        most = min(self._most_workers, max(1, found.partitions))
        return tuple(self._copy_time(found, ingress, workers) for workers in range(1, most + 1))

    def _copy_time(self, found: BatchSize, ingress: float | None, workers: int) -> CopyTime:
        tasks = connector_tasks_max(found.partitions or 1, workers)
        one = self._rates.bytes_per_second_per_worker
        if found.bytes == 0 and not ingress:
            return CopyTime(workers, tasks, 0.0 if ingress is not None else None)
        if found.bytes is None or one is None or ingress is None:
            return CopyTime(workers, tasks, None)
        speed = copy_speed(one, found.partitions or 0, workers)
        if never_catches_up(speed, ingress):
            return CopyTime(workers, tasks, None, never=True)
        return CopyTime(workers, tasks, found.bytes / (speed - ingress) / 3600)

    def _window(self, batch: Batch, found: BatchSize) -> float | None:
        """How long producers wait at the switch: the steps, and translating each partition of each group."""
        if found.partitions is None or any(name not in self._groups for name in batch.groups):
            return None
        mine = set(batch.topics)
        committed = sum(1 for name in batch.groups for commit in self._groups[name].committed if commit.topic in mine)
        return _SWITCH_SECONDS + _TRANSLATE_SECONDS_PER_PARTITION * committed

    def _repeats(self, group_id: str) -> Repeats:
        group = self._groups.get(group_id)
        if group is None:
            return Repeats(group_id, None, "the source does not have it")
        if group.error:
            return Repeats(group_id, None, f"it could not be read: {group.error}")
        if not group.committed:
            return Repeats(group_id, None, "it has committed nothing yet")
        return self._repeats_of(group)

    def _repeats_of(self, group: Group) -> Repeats:
        """Translation is exact; repeats come of records that the source already deleted or that can't be told apart."""
        behind = 0
        for commit in group.committed:
            topic = self._topics.get(commit.topic)
            part = partition_of(topic, commit.partition) if topic is not None else None
            if topic is None or part is None:
                continue  # its topic is gone: nothing of it is read on the target
            if part.log_start_offset is None or part.end_offset is None:
                return Repeats(group.group_id, None, f"the offsets of {topic.name} are not known")
            if commit.offset > part.end_offset:
                where = f"{topic.name}-{commit.partition}"
                return Repeats(
                    group.group_id, None, f"it committed past the end of {where}: you choose where it goes on"
                )
            behind += commit.offset < part.log_start_offset
        if behind:
            words = f"the source deleted records before it read them in {behind} partitions"
            return Repeats(group.group_id, 0, words)
        return Repeats(group.group_id, 0)

    def _races(self, topics: Sequence[Topic], hours: float | None) -> tuple[RetentionRace, ...]:
        """Topics whose records live shorter than the copy takes, or hardly longer. `hours` None: it never ends."""
        found = []
        for topic in topics:
            lifetime = lifetime_seconds(topic, self._scan.taken_at_ms)
            if lifetime is None or topic.record_span == 0:
                continue
            left = max(0.0, lifetime / 3600)
            if hours is not None and hours < left * _RACE_SHARE:
                continue
            if hours is not None and hours * 3600 < 1:
                continue
            lost = hours is None or hours >= left
            takes = "never ends at this speed" if hours is None else f"takes {_duration(hours)}"
            verb = "expire before they are copied" if lost else "may expire before they are copied"
            words = f"records of {topic.name} {verb}: they live for {_duration(left)}, the copy {takes}"
            found.append(RetentionRace(topic.name, left, hours, lost, words))
        return tuple(found)


def _never(times: Sequence[CopyTime]) -> bool:
    return bool(times) and all(one.never for one in times)


def _best(times: Sequence[CopyTime]) -> CopyTime | None:
    """The fewest workers that copy within the goal; else more of them only while each makes a difference."""
    known = [one for one in times if one.hours is not None]
    if not known:
        return times[0] if times and not _never(times) else None
    best = known[0]
    for one in known[1:]:
        if (best.hours or 0.0) <= _GOAL_HOURS or (one.hours or 0.0) > (best.hours or 0.0) * _WORTH_SHARE:
            break
        best = one
    return best


def _with_words(made: Estimate) -> Estimate:
    total = "size unknown" if made.size.bytes is None else _megabytes(made.size.bytes)
    if made.hours is not None and made.workers is not None:
        workers = "1 worker" if made.workers == 1 else f"{made.workers} workers"
        time = f"about {_duration(made.hours)} with {workers} ({made.rates.words})"
    elif _never(made.copy_times):
        time = f"never done with up to {len(made.copy_times)} workers ({made.rates.words})"
    else:
        time = f"time unknown ({made.rates.words})"
    parts = [total, time]
    if made.races:
        lost = sum(1 for race in made.races if race.lost)
        parts.append(f"{len(made.races)} retention races" + (f", {lost} lost" if lost else ""))
    return replace(made, words="; ".join(parts) + ".")


def _megabytes(count: int) -> str:
    if count < 1_000_000:
        return "less than 1 MB" if count else "nothing to copy"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(hours: float) -> str:
    seconds = hours * 3600
    if seconds < 90:
        return f"{max(1, math.ceil(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"
