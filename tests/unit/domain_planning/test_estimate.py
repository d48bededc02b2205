"""Estimates: what is known is counted, what is not known is None, and a speed that was measured counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kferry.domain.model import Batch
from kferry.domain.planning import Rates, estimate
from kferry.domain.planning.rates import CopySample, calibrate
from support.scans import DAY_MS, group, scan, topic

MB = 1_000_000.0
HOUR_MS = 3_600_000


def batch(*topics: str, groups: tuple[str, ...] = ()) -> Batch:
    return Batch("b", topics, groups)


def big(name: str = "big", **fields: object):  # type: ignore[no-untyped-def]
    """A topic of 360 GB with nothing coming in."""
    made = {"end": 30_000_000, "mean_record_bytes": 1000.0, "records_per_second": 0.0, **fields}
    return topic(name, 12, **made)  # type: ignore[arg-type]


def test_hours_by_workers_at_a_measured_speed() -> None:
    found = estimate(batch("big"), scan([big()]), Rates(10 * MB, "shop"), most_workers=4)
    assert [round(one.hours or 0, 2) for one in found.copy_times] == [10.0, 5.0, 3.33, 2.5]
    assert [one.connector_tasks_max for one in found.copy_times] == [2, 4, 6, 8]
    # two are enough to be done within a working day
    assert (found.workers, found.connector_tasks_max, found.hours) == (2, 4, 5.0)
    assert found.words == "360.0 GB; about 5.0 h with 2 workers (10 MB/s a worker, measured in shop)."


def test_what_comes_in_slows_the_copy_and_may_outrun_it() -> None:
    busy = scan([big(records_per_second=15_000.0)])
    found = estimate(batch("big"), busy, Rates(10 * MB), most_workers=3)
    assert [one.never for one in found.copy_times] == [True, False, False]
    assert found.workers == 3
    assert found.hours == pytest.approx(360_000 / 15 / 3600)
    hopeless = estimate(batch("big"), scan([big(records_per_second=1e6)]), Rates(10 * MB), most_workers=3)
    assert (hopeless.workers, hopeless.hours) == (None, None)
    assert "never done with up to 3 workers" in hopeless.words
    assert [race.lost for race in hopeless.races or ()] == [True]


@pytest.mark.parametrize(
    ("fields", "rates"),
    [
        ({"end": None}, Rates(10 * MB)),
        ({"mean_record_bytes": None}, Rates(10 * MB)),
        ({"records_per_second": None}, Rates(10 * MB)),
        ({}, Rates(None)),
    ],
)
def test_unknown_is_none_and_never_nothing(fields: dict[str, object], rates: Rates) -> None:
    found = estimate(batch("big"), scan([big(**fields)]), rates)
    assert found.hours is None
    assert all(one.hours is None and not one.never for one in found.copy_times)
    assert found.races is None
    assert "unknown" in found.words


def test_the_disks_tell_where_records_do_not() -> None:
    by_disk = scan([big(mean_record_bytes=None, size_bytes=36_000_000_000)])
    assert estimate(batch("big"), by_disk, Rates(10 * MB)).size.bytes == 36_000_000_000
    compacted = scan([big(size_bytes=1_000_000, effective={"cleanup.policy": "compact"})])
    assert estimate(batch("big"), compacted).size.bytes == 1_000_000
    assert estimate(batch("big"), scan([big(size_bytes=1_000_000)])).size.bytes == 360_000_000_000


def test_a_topic_of_one_partition_is_copied_by_one_task() -> None:
    one = topic("one", 1, end=36_000_000, mean_record_bytes=1000.0, records_per_second=0.0)
    found = estimate(batch("one"), scan([one]), Rates(10 * MB))
    assert [(time.workers, time.connector_tasks_max) for time in found.copy_times] == [(1, 1)]
    assert found.hours == 1.0


def test_a_batch_with_a_topic_that_is_gone_is_unknown() -> None:
    found = estimate(batch("gone"), scan([]))
    assert (found.hours, found.workers, found.window_seconds, found.copy_times) == (None, None, None, ())


@pytest.mark.parametrize(
    ("lifetime_hours", "expected"), [(3.0, [True]), (5.0, [True]), (8.0, [False]), (24.0, []), (-1.0, [])]
)
def test_retention_races(lifetime_hours: float, expected: list[bool]) -> None:
    ms = -1 if lifetime_hours < 0 else round(lifetime_hours * HOUR_MS)
    made = big(effective={"retention.ms": str(ms)}, last_timestamp_ms=None)
    found = estimate(batch("big"), scan([made]), Rates(10 * MB))
    assert [race.lost for race in found.races or ()] == expected
    if expected:
        assert "retention race" in found.words


def test_an_idle_topic_lives_shorter_than_its_retention_says() -> None:
    now = scan([]).taken_at_ms
    made = big(effective={"retention.ms": str(DAY_MS)}, last_timestamp_ms=now - 22 * HOUR_MS)
    (race,) = estimate(batch("big"), scan([made]), Rates(10 * MB)).races or ()
    assert race.lifetime_hours == pytest.approx(2.0)
    assert race.lost


def test_compaction_alone_deletes_nothing_that_must_be_copied() -> None:
    made = big(effective={"cleanup.policy": "compact", "retention.ms": "1000"})
    assert estimate(batch("big"), scan([made]), Rates(10 * MB)).races == ()


def test_repeats_and_window() -> None:
    found = scan(
        [topic("a", 2, start=100, end=1000), topic("u", 2, end=None)],
        [
            group("fine", ["a"], offset=950),
            group("late", ["a"], offset=50),
            group("past", ["a"], offset=2000),
            group("dark", ["u"]),
            group("empty"),
            group("denied", ["a"], error="not authorized"),
        ],
    )
    names = ("fine", "late", "past", "dark", "empty", "denied", "gone")
    result = estimate(batch("a", "u", groups=names), found)
    told = {one.group_id: (one.records, one.why) for one in result.repeats}
    assert told["fine"] == (0, "")
    assert told["late"][0] == 0
    assert "deleted records" in told["late"][1]
    assert [told[name][0] for name in names[2:]] == [None] * 5
    assert result.repeated_records is None
    assert result.window_seconds is None  # one of the groups is not there
    alone = estimate(batch("a", groups=("fine",)), found)
    assert alone.repeated_records == 0
    assert alone.window_seconds is not None
    assert alone.window_seconds > 60


def sample(task: str, bytes_per_second: float, *, workers: int = 1, lag: int | None = 10**7) -> CopySample:
    return CopySample(task, workers, lag, 1000.0, bytes_per_second)


def test_the_speed_is_measured_only_while_there_is_a_backlog() -> None:
    assert calibrate([], assumed_bytes_per_second=20 * MB) == Rates(20 * MB)
    keeping_up = [sample("a", MB, lag=5) for _ in range(9)]
    assert calibrate(keeping_up, assumed_bytes_per_second=20 * MB).measured_in == ""
    busy = [sample("a", value * MB, workers=2) for value in (60, 80, 100)] + [sample("b", 20 * MB)] * 3
    found = calibrate([*busy, *keeping_up], assumed_bytes_per_second=1.0)
    assert found == Rates(30 * MB, "a and b")
    assert found.words == "30 MB/s a worker, measured in a and b"
    few = calibrate(busy[:2], assumed_bytes_per_second=20 * MB)
    assert few == Rates(20 * MB)
    unknown = [replace(one, lag_records=None) for one in busy]
    assert calibrate(unknown, assumed_bytes_per_second=20 * MB) == Rates(20 * MB)
