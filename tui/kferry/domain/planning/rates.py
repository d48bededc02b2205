"""The speed of one worker, taken from what migration tasks of this migration were seen to copy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from kferry.domain.planning.bindings import listed_in_words
from kferry.domain.planning.estimate import Rates

# a copy that has caught up measures only what arrives; this much backlog keeps all workers busy
_BUSY_SECONDS = 30.0
_FEWEST_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class CopySample:
    """One measurement of a task's copy, with the workers it had."""

    task: str
    workers: int
    lag_records: int | None
    records_per_second: float | None
    bytes_per_second: float | None

    @property
    def is_busy(self) -> bool:
        """Whether there was so much to copy that the speed is that of the workers."""
        if not self.lag_records or not self.records_per_second or not self.bytes_per_second:
            return False
        return self.lag_records > self.records_per_second * _BUSY_SECONDS


def calibrate(samples: Iterable[CopySample], *, assumed_bytes_per_second: float) -> Rates:
    """The median speed per worker of each task while it had a backlog, the median over tasks; else what is assumed."""
    by_task: dict[str, list[float]] = defaultdict(list)
    for one in samples:
        if one.is_busy and one.bytes_per_second is not None:
            by_task[one.task].append(one.bytes_per_second / max(1, one.workers))
    speeds = {task: median(found) for task, found in by_task.items() if len(found) >= _FEWEST_SAMPLES}
    if not speeds:
        return Rates(assumed_bytes_per_second)
    return Rates(median(speeds.values()), listed_in_words(sorted(speeds)))
