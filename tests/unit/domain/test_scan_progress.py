"""How far a scan is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.domain.scan_progress import WEIGHTS, ScanMeter


def test_the_estimate_comes_from_the_share_that_is_done() -> None:
    meter = ScanMeter()
    assert meter.at("cluster", 1, 1, 0.5).eta_seconds is None  # too early to say
    half = meter.at("topics", 50, 100, 10.0)
    assert half.share == pytest.approx(31 / 100)
    assert half.eta_seconds == pytest.approx(10 * 69 / 31)
    assert meter.at("lag", 1, 1, 30.0).eta_seconds == 0


def test_a_part_without_anything_in_it_is_done() -> None:
    assert ScanMeter().at("topics", 0, 0, 1.0).share == pytest.approx(61 / 100)


def test_what_an_earlier_scan_had_done_counts_but_tells_nothing_of_the_speed() -> None:
    meter = ScanMeter({"topics": 0.5, "groups": 0.25})
    begun = meter.at("cluster", 0, 1, 0.5)
    assert begun.share == pytest.approx((30 + 3) / 100)
    assert begun.eta_seconds is None
    first = meter.at("topics", 50, 100, 1.0)  # what was taken over
    assert (first.share, first.eta_seconds) == (pytest.approx(34 / 100), None)
    later = meter.at("topics", 75, 100, 10.0)
    assert later.share == pytest.approx(49 / 100)
    assert later.eta_seconds == pytest.approx(10 * 51 / 16)
    groups = meter.at("groups", 1, 4, 20.0)
    assert groups.share == pytest.approx(64 / 100)


PARTS = st.tuples(st.sampled_from([*WEIGHTS, "another"]), st.integers(0, 9), st.integers(0, 9), st.floats(0, 1e6))


@given(
    st.lists(PARTS, max_size=20),
    st.dictionaries(st.sampled_from([*WEIGHTS, "another"]), st.floats(-1, 2, allow_nan=False)),
)
def test_the_share_never_falls_and_never_leaves_its_range(
    moments: list[tuple[str, int, int, float]], already: dict[str, float]
) -> None:
    meter, last = ScanMeter(already), 0.0
    for what, done, more, seconds in moments:
        moment = meter.at(what, done, done + more, seconds)
        assert last <= moment.share <= 1
        assert moment.eta_seconds is None or moment.eta_seconds >= 0
        last = moment.share
