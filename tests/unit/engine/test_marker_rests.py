"""Markers of transactions are no records that wait: what is left behind an idle topic's copy is read, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kferry.domain.errors import KferryError
from kferry.domain.model import ClusterConfig, ClusterKind, Role, TopicPartition
from kferry.domain.progress import Observation, PartitionProgress, alarms
from kferry.engine.marker_rests import MarkerRests

SOURCE = ClusterConfig(Role.SOURCE, ClusterKind.APACHE_KAFKA, "b:9092")
TP = TopicPartition("notes", 0)
PART = PartitionProgress(0, 21, 21, copied_offset=19, base_offset=0)


class Log:
    """A source whose records the test says; every range that is read is kept."""

    def __init__(self, *records: int) -> None:
        self.records, self.asked, self.down = records, [], False  # type: ignore[var-annotated]

    def __call__(
        self, _cluster: ClusterConfig, ranges: Mapping[TopicPartition, tuple[int, int]]
    ) -> dict[TopicPartition, list[Any]]:
        if self.down:
            raise KferryError("The source does not answer.")
        self.asked.append(dict(ranges))
        return {tp: [one for one in self.records if start <= one < stop] for tp, (start, stop) in ranges.items()}


def seen(rests: MarkerRests, **changes: Any) -> Observation:
    return Observation(0, {TP: replace(PART, empty_until=rests.empty_until(TP), **changes)})


def test_a_marker_behind_the_copy_is_no_lag_and_no_stall() -> None:
    log = Log()
    rests = MarkerRests(log)
    assert seen(rests).lag_records == 1
    rests.look(SOURCE, seen(rests))
    assert log.asked == [{TP: (20, 21)}]
    idle = [replace(seen(rests), at_ms=at) for at in (0, 60_000)]
    assert idle[-1].lag_records == 0
    assert alarms(idle, stalled_after_ms=30_000, last_moved_at_ms=0) == []
    assert seen(rests, end_offset=30, last_stable_offset=30).lag_records == 9, "what comes later is lag again"


def test_a_record_that_is_left_is_lag_and_is_not_read_again_and_again() -> None:
    log = Log(20)
    rests = MarkerRests(log)
    for end in (21, 21, 25):
        rests.look(SOURCE, seen(rests, end_offset=end, last_stable_offset=end))
    assert len(log.asked) == 1 and seen(rests).lag_records == 1


def test_what_was_read_is_not_read_again_when_more_markers_follow() -> None:
    log = Log()
    rests = MarkerRests(log)
    rests.look(SOURCE, seen(rests))
    rests.look(SOURCE, seen(rests, end_offset=23, last_stable_offset=23))
    assert log.asked == [{TP: (20, 21)}, {TP: (21, 23)}]
    assert seen(rests, end_offset=5, last_stable_offset=5, copied_offset=2).lag_records == 2, "a topic made anew"


def test_a_long_rest_is_not_read_and_a_silent_source_proves_nothing() -> None:
    log = Log()
    rests = MarkerRests(log)
    rests.look(SOURCE, seen(rests, end_offset=5000, last_stable_offset=5000))
    assert log.asked == []
    log.down = True
    rests.look(SOURCE, seen(rests))
    assert rests.empty_until(TP) is None
    log.down = False
    rests.look(SOURCE, seen(rests))
    assert rests.empty_until(TP) == 21
