"""Lag, rate, ETA and alarms: formulas, and that unknown stays unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.domain.model import TopicPartition
from kferry.domain.progress import Closeness, Observation, PartitionProgress, alarms, eta, figures, moved, rate

TP = TopicPartition("orders", 0)
PART = PartitionProgress(log_start_offset=0, end_offset=100, last_stable_offset=100, copied_offset=49, base_offset=0)


def seen(at_ms: int, **changes: object) -> Observation:
    return Observation(at_ms, {TP: replace(PART, **changes)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "lag"),
    [
        ({}, 50),
        ({"copied_offset": 99}, 0),
        ({"copied_offset": None}, 100),  # nothing copied yet: all of it
        ({"copied_offset": None, "base_offset": 20}, 80),
        ({"copied_offset": None, "known": False}, None),  # Connect did not answer
        ({"last_stable_offset": None}, None),
        ({"last_stable_offset": 60}, 10),  # an open transaction holds the rest back
        ({"log_start_offset": 80}, 20),  # what the source deleted is not lag, it is loss
    ],
)
def test_lag(changes: dict[str, object], lag: int | None) -> None:
    assert seen(0, **changes).lag_records == lag


def test_one_unknown_partition_makes_the_sum_unknown() -> None:
    other = replace(PART, last_stable_offset=None)
    assert Observation(0, {TP: PART, TopicPartition("orders", 1): other}).lag_records is None


def test_rates_and_eta() -> None:
    history = [
        seen(0, copied_offset=9, last_stable_offset=1000),
        seen(10_000, copied_offset=109, last_stable_offset=1020),
    ]
    found = figures(history, mean_record_bytes=100.0, last_moved_at_ms=10_000)
    assert found.records_per_second == 10
    assert found.ingress_records_per_second == 2
    assert found.bytes_per_second == 1000
    assert found.eta_seconds == pytest.approx((1020 - 110) / 8)
    assert found.seconds_since_data_moved == 0


@pytest.mark.parametrize(
    ("lag", "copy", "ingress", "words"),
    [
        (None, 1.0, 1.0, "unknown: the lag is not known"),
        (0, None, None, "caught up"),
        (100, None, 1.0, "unknown: not measured long enough"),
        (10_000, 5.0, 10.0, "never at this rate"),
        (10_000, 0.0, 0.0, "never at this rate"),
        (100, 10.0, 10.0, "keeping up"),
    ],
)
def test_eta_words(lag: int | None, copy: float | None, ingress: float | None, words: str) -> None:
    assert eta(lag, copy, ingress)[1] == words


@given(st.integers(1, 10**9), st.floats(0, 10**6), st.floats(0, 10**6))
def test_an_eta_is_only_given_when_the_copy_gains(lag: int, copy: float, ingress: float) -> None:
    seconds, words = eta(lag, copy, ingress)
    if seconds is not None and words == "":
        assert copy > ingress and seconds > 0


def test_figures_without_history_are_unknown() -> None:
    found = figures([], mean_record_bytes=None, last_moved_at_ms=None)
    assert (found.lag_records, found.records_per_second, found.eta_seconds) == (None, None, None)


def test_one_measurement_gives_no_rate() -> None:
    assert rate([seen(0)], "copied_position") is None


def test_moved_ignores_what_is_not_known() -> None:
    assert moved(seen(0), seen(1, copied_offset=50))
    assert not moved(seen(0), seen(1))
    assert not moved(seen(0, known=False), seen(1, copied_offset=50))


def test_loss_is_told_only_when_it_is_seen_twice() -> None:
    lost = [seen(0, log_start_offset=60), seen(5000, log_start_offset=60)]
    assert alarms(lost[:1], stalled_after_ms=30_000, last_moved_at_ms=0) == []
    assert "deleted 10 records before they were copied" in alarms(lost, stalled_after_ms=30_000, last_moved_at_ms=0)[0]


def test_a_stall_is_told_although_connectors_run() -> None:
    history = [seen(0), seen(40_000)]
    assert "Nothing was copied for 40 s" in alarms(history, stalled_after_ms=30_000, last_moved_at_ms=0)[0]
    caught_up = [seen(0, copied_offset=99), seen(40_000, copied_offset=99)]
    assert alarms(caught_up, stalled_after_ms=30_000, last_moved_at_ms=0) == []


def test_a_recreated_topic_is_told() -> None:
    assert "made anew" in alarms([seen(0, end_offset=10)], stalled_after_ms=30_000, last_moved_at_ms=0)[0]


@pytest.mark.parametrize(
    ("lag", "ingress", "close"),
    [
        (1000, 0.0, True),
        (1001, 0.0, False),
        (1001, None, False),  # without a known ingress only the records count
        (None, 1e6, False),  # an unknown lag is never close
        (10_000, 1000.0, True),  # a busy source: what arrives in ten seconds is on its way
        (10_001, 1000.0, False),
    ],
)
def test_a_batch_is_close_by_records_or_by_what_arrives_in_some_seconds(
    lag: int | None, ingress: float | None, close: bool
) -> None:
    assert Closeness(records=1000, seconds=10).holds(lag, ingress) is close
