"""What a scan knows of writes: in all partitions, in few requests, and between two scans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from kferry.domain.clean_up import DAY_MS, unused
from kferry.domain.model import (
    Group,
    GroupKind,
    GroupState,
    PartitionOffsets,
    Role,
    Topic,
    TopicPartition,
)
from kferry.kafka import offsets, sample, scan_topics
from kferry.kafka.offsets import FirstRecord
from kferry.kafka.sample import TopicSample
from kferry.kafka.scan import ScanOptions, _Scanning
from kferry.kafka.scan_topics import TopicScanner, with_growth
from support import scans

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


def known(name: str, partitions: int) -> Any:
    parts = {number: SimpleNamespace(leader=1) for number in range(partitions)}
    return SimpleNamespace(topic=name, partitions=parts)


def scanner(*topics: Topic) -> TopicScanner:
    admin: Any = SimpleNamespace(connection=None, config=None)
    seen = {topic.name: known(topic.name, topic.partition_count) for topic in topics}
    return TopicScanner(admin, seen, brokers=[1], taken_at_ms=NOW_MS)


def wide(name: str = "wide", partitions: int = 12, end: int = 100) -> Topic:
    return Topic(name, None, 1, tuple(PartitionOffsets(number, 0, end, end) for number in range(partitions)))


class Brokers:
    """Answers for the first record since a time, from when each partition was last written to."""

    def __init__(self, written_ms: dict[TopicPartition, int], silent: frozenset[TopicPartition] = frozenset()) -> None:
        self.written_ms = written_ms
        self.silent = silent
        self.asked: list[int] = []

    def first_since(
        self, _connection: object, tps: Iterable[TopicPartition], since_ms: int, **_: object
    ) -> dict[TopicPartition, FirstRecord | None]:
        wanted = [tp for tp in tps if tp not in self.silent]
        self.asked.append(len(wanted))
        return {
            tp: FirstRecord(90, self.written_ms[tp]) if self.written_ms.get(tp, 0) >= since_ms else None
            for tp in wanted
        }


@pytest.mark.parametrize(
    ("written_days_ago", "silent", "quiet", "rate", "newest_days_ago"),
    [
        ({}, (), True, 0.0, None),
        ({11: 1.0}, (), False, 0.0, 1.0),  # one small partition was written to yesterday
        ({}, (11,), False, None, None),  # of one it isn't known
        ({3: 0.01}, (), False, 10 / 3600, 0.01),
    ],
)
def test_all_partitions_are_asked_whether_they_were_written_to(
    monkeypatch: pytest.MonkeyPatch,
    written_days_ago: dict[int, float],
    silent: tuple[int, ...],
    quiet: bool,
    rate: float | None,
    newest_days_ago: float | None,
) -> None:
    topic = wide()
    written = {TopicPartition("wide", at): NOW_MS - int(days * DAY_MS) for at, days in written_days_ago.items()}
    brokers = Brokers(written, frozenset(TopicPartition("wide", at) for at in silent))
    monkeypatch.setattr(scan_topics.offsets, "first_since", brokers.first_since)
    rated = scanner(topic)._rated({"wide": topic})["wide"]
    assert rated.quiet_since_ms == (NOW_MS - 7 * DAY_MS if quiet else None)
    assert rated.records_per_second == rate
    assert rated.last_timestamp_ms == (None if newest_days_ago is None else NOW_MS - int(newest_days_ago * DAY_MS))


def test_a_small_partition_that_is_written_to_keeps_a_topic_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = replace(wide(), effective=scans.EFFECTIVE)
    monkeypatch.setattr(
        scan_topics.offsets, "first_since", Brokers({TopicPartition("wide", 11): NOW_MS - DAY_MS}).first_since
    )
    rated = scanner(topic)._rated({"wide": topic})["wide"]
    found = scan_topics._with_sample(
        rated, TopicSample(NOW_MS - 60 * DAY_MS, NOW_MS - 30 * DAY_MS, partitions=8), NOW_MS
    )
    assert found.last_timestamp_ms == NOW_MS - DAY_MS  # not that of the fullest ones
    assert not found.ages_are_whole
    assert unused(scans.scan([found]), now_ms=NOW_MS).found == ()


@pytest.mark.thorough
def test_partitions_are_asked_once_or_twice_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = {f"t{number}": wide(f"t{number}", 100) for number in range(1000)}
    calls = 0

    def start(chunk: list[Any], _seconds: float) -> None:
        nonlocal calls
        calls += 1

    def ask_many(
        _start: object, keys: Iterable[Any], *, wave: int, **_: object
    ) -> tuple[dict[Any, Any], dict[Any, Any]]:
        asked = list(keys)
        for at in range(0, len(asked), wave):
            start(asked[at : at + wave], 1.0)
        return {tp: SimpleNamespace(offset=-1, timestamp=-1) for tp in asked}, {}

    made = scanner(*topics.values())
    made._admin.connection = SimpleNamespace(ask_many=ask_many)  # type: ignore[misc]
    rated = made._rated(topics)
    assert all(topic.quiet_since_ms is not None for topic in rated.values())
    assert calls == 2 * 100_000 / offsets.PARTITIONS_PER_CALL


# ---- how much the sample is of ---------------------------------------------------------------------------------------


def tallied(topic: Topic, told: set[int]) -> int:
    tally = sample._Tally()
    sample._plan(topic, tally, {}, {}, 8)
    tally.told = told
    return sample._partitions(topic, tally)


def test_a_sample_is_of_all_partitions_only_where_no_other_may_hold_newer_records() -> None:
    assert tallied(wide(partitions=8), set(range(8))) == 8
    assert tallied(wide(partitions=12), set(range(8))) == 8
    assert tallied(wide(partitions=8), set(range(7))) == 7  # the end of one held no record
    assert tallied(wide(partitions=1), set()) == 0
    some = wide(partitions=12)
    mostly_empty = replace(some, partitions=(*some.partitions[:3], *wide(partitions=12, end=0).partitions[3:]))
    assert tallied(mostly_empty, {0, 1, 2}) == 12
    blind = replace(some, partitions=(PartitionOffsets(0, 0, 9), PartitionOffsets(1, None, None)))
    assert tallied(blind, {0}) == 1
    open_transaction = replace(some, partitions=(PartitionOffsets(0, 0, 9, 5),))
    assert tallied(open_transaction, {0}) == 0


# ---- growth ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("earlier_end", "before_end", "before_days", "before_grew_days", "grew_days"),
    [
        (100, None, 0, None, None),
        (99, None, 0, None, 0),  # between the two samples of one scan
        (100, 100, 1, None, None),
        (100, 99, 1, None, 0),  # since the scan before
        (100, 99, 30, None, None),  # it may have been four weeks ago
        (100, 100, 1, 3, 3),
        (99, 100, 1, 3, 0),
    ],
)
def test_when_a_topic_was_last_found_to_have_grown(
    earlier_end: int, before_end: int | None, before_days: int, before_grew_days: int | None, grew_days: int | None
) -> None:
    grew_ms = None if before_grew_days is None else NOW_MS - before_grew_days * DAY_MS
    before = None if before_end is None else replace(wide(end=before_end), grew_at_ms=grew_ms)
    found = with_growth(
        wide(), wide(end=earlier_end), before, before_at_ms=NOW_MS - before_days * DAY_MS, now_ms=NOW_MS
    )
    assert found.grew_at_ms == (None if grew_days is None else NOW_MS - grew_days * DAY_MS)


def test_a_topic_made_anew_has_no_past() -> None:
    before = replace(wide(end=1), topic_id="another", grew_at_ms=NOW_MS - DAY_MS)
    found = with_growth(replace(wide(), topic_id="this"), wide(), before, before_at_ms=NOW_MS - DAY_MS, now_ms=NOW_MS)
    assert found.grew_at_ms is None


# ---- what is taken over ----------------------------------------------------------------------------------------------


def test_what_failed_in_a_scan_that_was_cut_off_is_asked_again() -> None:
    group = Group("well", GroupState.EMPTY, GroupKind.PLAIN)
    resumed = scans.scan(
        [wide("well"), replace(wide("failed"), error="broker 2, which leads some of it, does not answer")],
        [group, replace(group, group_id="failed", error="COORDINATOR_NOT_AVAILABLE")],
        role=Role.SOURCE,
    )
    scanning = _Scanning(
        SimpleNamespace(),  # type: ignore[arg-type]
        lambda _what, _done, _total: None,
        lambda _make: None,
        lambda: False,
        ScanOptions(resumed=resumed),
    )
    scanning._keep_what_was_read(resumed.cluster, scanner(wide("well"), wide("failed")))
    assert set(scanning._topics) == {"well"}
    assert set(scanning._groups) == {"well"}
