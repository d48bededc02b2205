"""Alignment and translation against a simulated copy: the simulation knows which copy came from which record."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.domain.alignment import Stamp, align
from kferry.domain.offsets import How, Sync, translate, translate_back, window_start


@dataclass
class Copy:
    """A simulated copy: `origin[i]` is the source index of target record i."""

    source: list[Stamp]
    target: list[Stamp]
    origin: list[int]


def make_copy(
    gaps: list[int], rewinds: list[tuple[int, int]], *, base: int = 0, digests: list[bytes] | None = None
) -> Copy:
    """Source records with offset gaps; the copy rewinds by `back` records after having copied up to `at`."""
    offset, source = 0, []
    for index, gap in enumerate(gaps):
        offset += gap
        digest = digests[index] if digests else index.to_bytes(4, "big")
        source.append(Stamp(offset, digest))
        offset += 1
    origin: list[int] = []
    position = 0
    for at, back in rewinds:
        stop = min(max(position, at), len(source))
        origin += range(position, stop)
        position = max(0, stop - back)
    origin += range(position, len(source))
    target = [Stamp(base + index, source[i].digest) for index, i in enumerate(origin)]
    return Copy(source, target, origin)


copies = st.builds(
    make_copy,
    st.lists(st.integers(0, 3), min_size=1, max_size=60),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=4),
    base=st.integers(0, 5),
)


@given(copies)
def test_a_complete_copy_has_nothing_missing_and_its_repeats_are_counted(copy: Copy) -> None:
    found = align(copy.source, copy.target)
    assert found.missing == 0
    assert found.repeats == len(copy.target) - len(copy.source)
    assert found.reordered == 0
    assert found.foreign == ()
    assert found.ambiguous == ()


@given(copies, st.data())
def test_a_lost_record_is_missing(copy: Copy, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, len(copy.source) - 1))
    kept = [stamp for stamp, origin in zip(copy.target, copy.origin, strict=True) if origin != lost]
    assert align(copy.source, kept).missing == 1


@given(copies, st.data())
def test_translation_keeps_everything_unread_and_nothing_more_than_it_must(copy: Copy, data: st.DataObject) -> None:
    end = copy.source[-1].offset + 1
    committed = data.draw(st.integers(0, end + 2))
    found = translate(align(copy.source, copy.target), committed, base_target_offset=0)
    assert found.target_offset is not None
    unread = {index for index, stamp in enumerate(copy.source) if stamp.offset >= committed}
    after = [
        origin for stamp, origin in zip(copy.target, copy.origin, strict=True) if stamp.offset >= found.target_offset
    ]
    assert unread <= set(after), "something unread lies before the position"
    assert found.unread_records == len(unread)
    assert found.repeats == len(after) - len(unread)
    # any later position would lose the next unread record
    if unread:
        later = [
            origin for stamp, origin in zip(copy.target, copy.origin, strict=True) if stamp.offset > found.target_offset
        ]
        assert not unread <= set(later)


@given(copies, st.data())
def test_translation_of_a_copy_that_has_not_reached_the_commit_starts_behind_what_was_read(
    copy: Copy, data: st.DataObject
) -> None:
    reached = data.draw(st.integers(0, len(copy.target)))
    partial = copy.target[:reached]
    done = set(copy.origin[:reached])
    next_index = data.draw(st.integers(0, len(copy.source) - 1))
    if next_index in done:
        return
    found = translate(align(copy.source, partial), copy.source[next_index].offset, base_target_offset=7)
    assert found.how in (How.AFTER_LAST_READ, How.START_OF_COPY)
    assert found.target_offset is not None
    later = {
        origin
        for stamp, origin in zip(partial, copy.origin[:reached], strict=True)
        if stamp.offset < found.target_offset
    }
    assert all(origin < next_index for origin in later)


@given(copies, st.data())
def test_the_way_back_loses_nothing(copy: Copy, data: st.DataObject) -> None:
    """Whoever has read the target up to t goes on at the first source record that was not read."""
    position = data.draw(st.integers(0, len(copy.target)))
    committed = copy.target[position].offset if position < len(copy.target) else copy.target[-1].offset + 1
    back = translate_back(align(copy.source, copy.target), committed, source_end_offset=copy.source[-1].offset + 1)
    read = set(copy.origin[:position])
    unread = [stamp.offset for index, stamp in enumerate(copy.source) if index not in read]
    assert back == (min(unread) if unread else copy.source[-1].offset + 1)


@given(
    st.lists(st.sampled_from([b"a", b"b"]), min_size=2, max_size=30), st.integers(0, 30), st.integers(0, 10), st.data()
)
def test_equal_records_are_told_apart_by_neighbours_or_reported(
    digests: list[bytes], at: int, back: int, data: st.DataObject
) -> None:
    copy = make_copy([0] * len(digests), [(at, back)], digests=digests)
    committed = data.draw(st.integers(0, len(digests)))
    found = translate(align(copy.source, copy.target), committed, base_target_offset=0)
    if found.target_offset is None:
        assert found.how is How.AMBIGUOUS and found.note
        return
    # content counts: what follows the position must hold everything unread, as a subsequence in order
    after = [stamp.digest for stamp in copy.target if stamp.offset >= found.target_offset]
    rest = iter(after)
    assert all(any(digest == other for other in rest) for digest in digests[committed:])


def test_foreign_records_are_named() -> None:
    copy = make_copy([0, 0, 0, 0], [])
    target = [*copy.target[:2], Stamp(90, b"else"), *copy.target[2:]]
    found = align(copy.source, target)
    assert found.foreign == (2,)
    assert found.missing == 0


def test_reversed_order_is_seen() -> None:
    copy = make_copy([0, 0, 0, 0], [])
    swapped = [copy.target[0], copy.target[2], copy.target[1], copy.target[3]]
    assert align(copy.source, swapped).reordered > 0


@pytest.mark.parametrize(
    ("committed", "expected"),
    [
        (0, Sync(0, 0)),  # nothing at or before: the start of the copy
        (15, Sync(10, 10)),
        (25, Sync(12, 40)),  # the rewind to 12 comes later in the target than 20 did
        (99, Sync(30, 58)),
    ],
)
def test_the_window_starts_at_the_last_sync_before_the_commit(committed: int, expected: Sync) -> None:
    syncs = [Sync(10, 10), Sync(20, 20), Sync(12, 40), Sync(30, 58)]
    if committed == 15:
        syncs = syncs[:2]
    assert window_start(syncs, committed, base=Sync(0, 0)) == expected


def test_a_group_that_read_everything_before_the_source_deleted_it_reads_nothing_again() -> None:
    copied = make_copy([0] * 10, []).target
    found = translate(align([], copied), 10, base_target_offset=0, source_start_offset=10)
    assert (found.target_offset, found.repeats) == (10, 0)


def test_unread_records_that_only_the_target_still_holds_are_not_skipped() -> None:
    copy = make_copy([0] * 10, [])
    found = translate(align(copy.source[8:], copy.target), 3, base_target_offset=0, source_start_offset=8)
    assert found.target_offset is not None and found.target_offset <= 3
    assert found.how is How.LAST_SYNC and found.repeats is None and "deleted 5 offsets" in found.note
