"""What is left behind the copy of an idle topic and holds no record: markers of transactions, aborted records.

MirrorMaker never copies them, so their offsets would look like records that wait for ever, and the task like one that
has stalled. Whether it is so is read, once per range, when nothing has moved for a while.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from kferry.domain.errors import KferryError
from kferry.domain.model import ClusterConfig, TopicPartition
from kferry.domain.progress import Observation
from kferry.kafka.records import RecordStamp, read_stamps_many

log = logging.getLogger(__name__)

# a rest longer than this is no rest: it would cost the observers more than they have
_LONGEST_REST = 1000
_READ_WITHIN_SECONDS = 5.0

Range = tuple[int, int]
Read = Callable[[ClusterConfig, Mapping[TopicPartition, Range]], dict[TopicPartition, list[RecordStamp]]]


def _read(cluster: ClusterConfig, ranges: Mapping[TopicPartition, Range]) -> dict[TopicPartition, list[RecordStamp]]:
    return read_stamps_many(cluster, ranges, read_committed=True, deadline_seconds=_READ_WITHIN_SECONDS)


class MarkerRests:
    """What was read behind the copies of one task; nothing is read twice."""

    def __init__(self, read: Read = _read) -> None:
        self._read = read
        self._record_after: dict[TopicPartition, int] = {}  # there is a record somewhere behind this offset
        self._empty_until: dict[TopicPartition, int] = {}

    def empty_until(self, tp: TopicPartition) -> int | None:
        """The offset up to which nothing is left to copy, as far as it was read."""
        return self._empty_until.get(tp)

    def look(self, cluster: ClusterConfig, seen: Observation) -> None:
        """Read what is left behind the copy in every partition; a source that doesn't answer proves nothing."""
        ranges = {}
        for tp, part in seen.partitions.items():
            start, stop = part.next_offset, part.last_stable_offset
            if not part.lag_records or start is None or stop is None:
                continue
            start = max(start, part.log_start_offset or 0, part.empty_until or 0)
            if 0 < stop - start <= _LONGEST_REST and self._record_after.get(tp) != start:
                ranges[tp] = (start, stop)
        if not ranges:
            return
        try:
            found = self._read(cluster, ranges)
        except KferryError as error:
            log.info("reading what is left behind the copy: %s", error)
            return
        for tp, limits in ranges.items():
            if found[tp]:
                self._record_after[tp] = limits[0]
            else:
                self._empty_until[tp] = limits[1]
