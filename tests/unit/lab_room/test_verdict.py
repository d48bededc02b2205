"""The oracle's judgement: each kind of fault is found, and what a restarted copy may do is told apart from it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.lab.ledger import TOMBSTONE, Entry
from kferry.lab.verdict import Expected, Seen, Verdict, judge


def _expected(
    count: int, *, keys: Sequence[int] | None = None, tombstones: frozenset[int] = frozenset()
) -> list[Expected]:
    return [
        Expected(
            "source",
            Entry(
                0,
                TOMBSTONE if number in tombstones else 0,
                number * 3,
                number,
                0,
                number.to_bytes(16, "big"),
                (keys[number] if keys else number).to_bytes(8, "big"),
            ),
        )
        for number in range(count)
    ]


def _seen(*numbers: int) -> list[Seen]:
    return [Seen(("source", number), number.to_bytes(16, "big"), place) for place, number in enumerate(numbers)]


def _judge(count: int, seen: list[Seen], *, compacted: bool = False) -> Verdict:
    return judge(_expected(count), frozenset(), seen, compacted=compacted)


def test_an_exact_copy_is_ok() -> None:
    verdict = _judge(5, _seen(0, 1, 2, 3, 4))
    assert verdict.is_ok(allow_repeats=False)
    assert (verdict.expected, verdict.read) == (5, 5)


@pytest.mark.parametrize(
    ("numbers", "faults"),
    [
        ((0, 1, 3, 4), {"missing": 1}),
        ((0, 1, 2, 3), {"missing": 1}),
        ((), {"missing": 5}),
        ((0, 2, 1, 3, 4), {"out_of_order": 2}),  # 1 comes too late, and 3 follows it instead of 2
        ((0, 1, 2, 3, 4, 2), {"repeats": 1, "out_of_order": 1}),
        ((0, 1, 2, 2, 3, 4), {"repeats": 1}),
        ((0, 1, 2, 3, 1, 2, 3, 4), {"repeats": 3}),
        ((0, 1, 2, 3, 1, 3, 4), {"repeats": 2, "out_of_order": 1}),
        ((0, 1, 2, 3, 1, 2, 4), {"repeats": 2, "out_of_order": 1}),
        ((0, 1, 3, 1, 3, 4), {"repeats": 2, "missing": 1}),
        ((0, 1, 2, 3, 4, 5), {"unexpected": 1}),
    ],
)
def test_faults_are_counted(numbers: tuple[int, ...], faults: dict[str, int]) -> None:
    verdict = _judge(5, _seen(*numbers))
    kinds = ("missing", "repeats", "out_of_order", "unexpected", "altered", "aborted", "stale")
    assert {kind: getattr(verdict, kind) for kind in kinds if getattr(verdict, kind)} == faults
    assert not verdict.is_ok(allow_repeats=False)
    assert verdict.is_ok(allow_repeats=True) == (set(faults) == {"repeats"})


def test_changed_content_is_altered() -> None:
    seen = _seen(0, 1, 2)
    seen[1] = seen[1]._replace(digest=b"x" * 16)
    verdict = _judge(3, seen)
    assert verdict.altered == 1
    assert not verdict.is_ok(allow_repeats=True)


def test_a_record_without_an_id_is_unexpected() -> None:
    verdict = _judge(1, [*_seen(0), Seen(None, b"x" * 16, 1)])
    assert verdict.unexpected == 1


def test_an_aborted_record_is_named_as_such() -> None:
    verdict = judge(_expected(2), frozenset({("source", 77)}), _seen(0, 77, 1), compacted=False)
    assert (verdict.aborted, verdict.unexpected) == (1, 0)
    assert not verdict.is_ok(allow_repeats=True)


def test_a_record_produced_on_the_target_must_come_after_the_copied_ones() -> None:
    own = Expected("target", Entry(0, 0, 99, 500, 0, b"t" * 16, b"t" * 8))
    late = Seen(("target", 500), b"t" * 16, 0)
    expected = [*_expected(2), own]
    good, bad = [*_seen(0, 1), late], [_seen(0)[0], late, _seen(1)[0]]
    assert judge(expected, frozenset(), good, compacted=False).is_ok(allow_repeats=False)
    assert judge(expected, frozenset(), bad, compacted=False).out_of_order > 0


@pytest.mark.parametrize(
    ("numbers", "faults"),
    [
        ((0, 1, 2, 3), {}),
        ((2, 3), {}),  # 0 and 1 were compacted away, 2 is a tombstone
        ((3,), {}),  # and so may be the tombstone
        ((1, 2, 3), {}),
        ((0, 3), {"stale": 1}),  # the tombstone 2 is lost while 0 is still there
        ((2,), {"missing": 1}),
        ((2, 1), {"stale": 1, "out_of_order": 1}),
        ((3, 2), {"out_of_order": 1}),
    ],
)
def test_a_compacted_topic_is_judged_by_its_latest_values(numbers: tuple[int, ...], faults: dict[str, int]) -> None:
    # Keys: 0 and 2 share one (2 is its tombstone), 1 and 3 the other.
    expected = _expected(4, keys=(7, 8, 7, 8), tombstones=frozenset({2}))
    verdict = judge(expected, frozenset(), _seen(*numbers), compacted=True)
    found = {kind: getattr(verdict, kind) for kind in ("missing", "stale", "out_of_order") if getattr(verdict, kind)}
    assert found == faults


@given(st.lists(st.integers(1, 12), max_size=4), st.integers(1, 30))
def test_rewinds_are_repeats_and_nothing_else(rewinds: list[int], count: int) -> None:
    numbers: list[int] = []
    place = 0
    for rewind in rewinds:
        stop = min(count, place + 9)
        numbers += range(place, stop)
        place = max(0, stop - rewind)
    numbers += range(place, count)
    verdict = _judge(count, _seen(*numbers))
    assert verdict.is_ok(allow_repeats=True)
    assert verdict.repeats == len(numbers) - count


@given(st.permutations(range(8)))
def test_only_the_right_order_is_ok(numbers: list[int]) -> None:
    assert _judge(8, _seen(*numbers)).is_ok(allow_repeats=True) == (numbers == sorted(numbers))


@given(st.sets(st.integers(0, 9), min_size=1))
def test_every_loss_is_counted(lost: set[int]) -> None:
    assert _judge(10, _seen(*sorted(set(range(10)) - lost))).missing == len(lost)
