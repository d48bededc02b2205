"""Does data move, when is it done, and will the source delete records before they are copied?

All figures are per partition and summed; a figure that can't be known is None, and a sum with an unknown part is None.
Sources of the formulas: a copied offset C is the offset of the last record copied (Connect's MirrorSource offsets), so
lag = max(0, E - (C + 1)) with E the last stable offset, since MirrorSource reads committed records only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kferry.domain.model import TopicPartition

# Rates are taken over this much history; short enough to follow a change, long enough to outlast one offset flush.
RATE_WINDOW_MS = 20_000


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """One partition, measured once. `copied_offset` None: nothing was copied yet, or it is not known (see `known`)."""

    log_start_offset: int | None
    end_offset: int | None
    last_stable_offset: int | None
    copied_offset: int | None
    base_offset: int
    known: bool = True
    target_end_offset: int | None = None
    empty_until: int | None = None  # no data record lies between the copy and this offset: it was read

    @property
    def next_offset(self) -> int | None:
        """The offset the copy reads next."""
        if not self.known:
            return None
        return self.base_offset if self.copied_offset is None else self.copied_offset + 1

    @property
    def lag_records(self) -> int | None:
        """Offsets between the copy and the last stable offset; an upper bound where there are holes."""
        if self.last_stable_offset is None or self.next_offset is None:
            return None
        # a topic that was made anew ends before what was read of the old one
        empty = self.empty_until if self.empty_until and self.empty_until <= self.last_stable_offset else 0
        return max(0, self.last_stable_offset - max(self.next_offset, self.log_start_offset or 0, empty))

    @property
    def lost_records(self) -> int:
        """Offsets that the source deleted before they were copied (log start is past the copy)."""
        if self.log_start_offset is None or self.next_offset is None:
            return 0
        return max(0, self.log_start_offset - self.next_offset)

    @property
    def was_recreated(self) -> bool:
        """Whether the source's end lies before what was copied: the topic was truncated or made anew."""
        return (
            self.end_offset is not None and self.copied_offset is not None and self.end_offset < self.copied_offset + 1
        )


@dataclass(frozen=True, slots=True)
class Observation:
    """All partitions of one task at one moment."""

    at_ms: int
    partitions: Mapping[TopicPartition, PartitionProgress]

    def total(self, values: Sequence[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    @property
    def lag_records(self) -> int | None:
        return self.total([part.lag_records for part in self.partitions.values()])

    @property
    def copied_position(self) -> int | None:
        """Sum of the copy's next offsets: its growth is the copy rate in records (offsets)."""
        return self.total([part.next_offset for part in self.partitions.values()])

    @property
    def source_position(self) -> int | None:
        """Sum of the source's last stable offsets: its growth is the ingress."""
        return self.total([part.last_stable_offset for part in self.partitions.values()])


@dataclass(frozen=True, slots=True)
class Figures:
    """What the operator reads of a task. `eta_text` is the sentence to show."""

    lag_records: int | None
    records_per_second: float | None
    bytes_per_second: float | None
    ingress_records_per_second: float | None
    done_ratio: float | None
    eta_seconds: float | None
    eta_text: str
    seconds_since_data_moved: float | None


def rate(history: Sequence[Observation], position: str) -> float | None:
    """Growth per second of `copied_position` or `source_position` over the rate window; None if not known yet."""
    points = [(obs.at_ms, getattr(obs, position)) for obs in history]
    points = [(at, value) for at, value in points if value is not None]
    if len(points) < 2:
        return None
    last_at, last_value = points[-1]
    earlier = [point for point in points[:-1] if point[0] >= last_at - RATE_WINDOW_MS] or [points[-2]]
    first_at, first_value = earlier[0]
    seconds = (last_at - first_at) / 1000
    return max(0.0, (last_value - first_value) / seconds) if seconds > 0 else None


def eta(lag_records: int | None, copy_rate: float | None, ingress: float | None) -> tuple[float | None, str]:
    """Seconds until the copy has caught up, and the sentence: lag / (copy rate - ingress)."""
    if lag_records is None:
        return None, "unknown: the lag is not known"
    if lag_records == 0:
        return 0.0, "caught up"
    if copy_rate is None or ingress is None:
        return None, "unknown: not measured long enough"
    # what arrives while the copy keeps pace is not backlog: at most a few flush intervals of ingress
    if ingress > 0 and lag_records <= ingress * 15 and copy_rate >= 0.8 * ingress:
        return 0.0, "keeping up"
    gain = copy_rate - ingress
    if gain <= 0.01 * max(copy_rate, 1.0):
        return None, "never at this rate"
    return lag_records / gain, ""


@dataclass(frozen=True, slots=True)
class Closeness:
    """How far behind a copy may be for its batch to switch: some records, or what arrives in some seconds.

    A busy source is never within a fixed number of records: what is on its way is its rate times the delay of the copy.
    """

    records: int = 1000
    seconds: float = 10.0

    def limit_records(self, ingress: float | None) -> int:
        """The lag that is still close, at this ingress in records per second."""
        return max(self.records, int((ingress or 0.0) * self.seconds))

    def holds(self, lag_records: int | None, ingress: float | None) -> bool:
        return lag_records is not None and lag_records <= self.limit_records(ingress)


def figures(
    history: Sequence[Observation], *, mean_record_bytes: float | None, last_moved_at_ms: int | None
) -> Figures:
    """The figures of a task from its recent observations, the newest last."""
    if not history:
        return Figures(None, None, None, None, None, None, "unknown: not measured yet", None)
    newest = history[-1]
    copy_rate, ingress = rate(history, "copied_position"), rate(history, "source_position")
    lag = newest.lag_records
    seconds, words = eta(lag, copy_rate, ingress)
    span = newest.total(
        [
            None if part.last_stable_offset is None else max(0, part.last_stable_offset - part.base_offset)
            for part in newest.partitions.values()
        ]
    )
    done = None
    if lag is not None and span is not None:
        done = 1.0 if span == 0 else max(0.0, min(1.0, 1 - lag / span))
    return Figures(
        lag_records=lag,
        records_per_second=copy_rate,
        bytes_per_second=copy_rate * mean_record_bytes if copy_rate is not None and mean_record_bytes else None,
        ingress_records_per_second=ingress,
        done_ratio=done,
        eta_seconds=seconds,
        eta_text=words or f"about {_duration(seconds)}",
        seconds_since_data_moved=None if last_moved_at_ms is None else (newest.at_ms - last_moved_at_ms) / 1000,
    )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def moved(before: Observation, after: Observation) -> bool:
    """Whether any copied offset advanced between two observations."""
    return any(
        (part.next_offset or 0) > (before.partitions[tp].next_offset or 0)
        for tp, part in after.partitions.items()
        if tp in before.partitions and part.known and before.partitions[tp].known
    )


def alarms(history: Sequence[Observation], *, stalled_after_ms: int, last_moved_at_ms: int | None) -> list[str]:
    """Sentences about what is wrong with the data's movement: loss, re-creation, stall."""
    if not history:
        return []
    newest, lost = history[-1], losses(history)
    found = []
    for tp, part in sorted(newest.partitions.items()):
        # seen twice: the first time the flush of copied offsets may simply be behind
        if tp in lost:
            found.append(f"{tp.topic}-{tp.partition}: the source deleted {lost[tp]} records before they were copied.")
        if part.was_recreated:
            found.append(
                f"{tp.topic}-{tp.partition}: the source ends at {part.end_offset}, before the copied offset "
                f"{part.copied_offset}; the topic was made anew or truncated."
            )
    lag = newest.lag_records
    since = newest.at_ms - (last_moved_at_ms if last_moved_at_ms is not None else history[0].at_ms)
    if lag and since > stalled_after_ms:
        found.append(f"Nothing was copied for {since // 1000} s although {lag} records wait on the source.")
    return found


def losses(history: Sequence[Observation]) -> dict[TopicPartition, int]:
    """Records per partition that the source deleted before they were copied, seen twice in a row."""
    if len(history) < 2:
        return {}
    before, newest = history[-2].partitions, history[-1].partitions
    return {
        tp: part.lost_records
        for tp, part in newest.items()
        if part.lost_records and tp in before and before[tp].lost_records
    }


def partition_alarm(part: PartitionProgress) -> str:
    """One word for the partition table."""
    if part.lost_records:
        return "loss"
    return "recreated" if part.was_recreated else ""
