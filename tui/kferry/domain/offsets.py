"""Exact offset translation: where on the target a group continues so that it reads next what it would have read next.

Wanted for a committed source offset u: the target offset t such that everything the group has not read lies at or
after t, and as little else as possible. The records decide (see alignment.py); syncs and anchors only say which part
of the logs has to be read. After duplicates the right place is the *last* copy of the next unread record, because
everything from it on follows that copy. Proof, by reading: count(target >= t) = distinct(source >= u) + repeats.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from kferry.domain.alignment import Alignment


class How(StrEnum):
    """What a translated offset rests on."""

    NEXT_RECORD = "next record"  # the last copy of the first unread record
    AFTER_LAST_READ = "after the last record read"  # nothing unread was copied yet: right behind the last read one
    START_OF_COPY = "start of the copy"  # the group has read nothing that was copied
    LAST_SYNC = "the last sync before it"  # the source deleted what was unread; the target still holds it
    CHOSEN = "chosen by the operator"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class Sync:
    """MirrorMaker's own note that source offset `upstream` was written to the target at `downstream`."""

    upstream: int
    downstream: int


@dataclass(frozen=True, slots=True)
class Translation:
    """Where a group continues in one partition; `repeats` records are read again although they were read already."""

    committed_offset: int
    target_offset: int | None
    how: How
    unread_records: int
    repeats: int | None
    note: str = ""

    @property
    def is_exact(self) -> bool:
        return self.target_offset is not None and self.repeats == 0


def translate(
    alignment: Alignment, committed_offset: int, *, base_target_offset: int, source_start_offset: int = 0
) -> Translation:
    """Translate one committed offset within an aligned window.

    Both logs must be given up to their ends, so that the counts are a proof. `base_target_offset` is where the copy
    began on the target. `source_start_offset` is the source's log start: where the source has deleted records that the
    group had not read, the position is the window's start, which lies at or before the commit, never behind it.
    """
    source, target = alignment.source, alignment.target
    if committed_offset < source_start_offset and target:
        gone = source_start_offset - committed_offset
        note = f"the source deleted {gone} offsets that the group had not read; those copied are read on the target"
        return Translation(committed_offset, target[0].offset, How.LAST_SYNC, len(source), None, note)
    next_index = bisect_left(source, committed_offset, key=lambda stamp: stamp.offset)
    unread = len(source) - next_index
    place = alignment.last_copy(next_index) if next_index < len(source) else None
    how = How.NEXT_RECORD
    if place is None:
        before = _last_read_place(alignment, next_index)
        if before is None:
            # no source record at or after the log start was read, and all before it were: they are the target's head
            head = alignment.runs[0].target if alignment.runs else len(target)
            how, position = How.START_OF_COPY, head
        else:
            how, position = How.AFTER_LAST_READ, before + 1
    else:
        position = place
    doubtful = [index for index in alignment.ambiguous if index <= position < _run_end(alignment, index)]
    if doubtful:
        return Translation(
            committed_offset,
            None,
            How.AMBIGUOUS,
            unread,
            0,
            f"the record at target offset {target[doubtful[0]].offset} equals several records of the source, "
            "with all its neighbours",
        )
    if position < len(target):
        target_offset = target[position].offset
    elif target:
        target_offset = target[-1].offset + 1
    else:
        target_offset = base_target_offset
    copied_unread = sum(max(0, end - max(start, next_index)) for start, end in alignment.covered)
    ahead = len(target) - position - sum(1 for index in alignment.foreign if index >= position)
    repeats = max(0, ahead - copied_unread)
    return Translation(committed_offset, target_offset, how, unread, repeats)


def _run_end(alignment: Alignment, target_index: int) -> int:
    for run in alignment.runs:
        if run.target <= target_index < run.target + run.length:
            return run.target + run.length
    return target_index + 1


def _last_read_place(alignment: Alignment, next_index: int) -> int | None:
    """Target index of the last copy of the nearest read record that has one."""
    for index in range(next_index - 1, -1, -1):
        place = alignment.last_copy(index)
        if place is not None:
            return place
    return None


def translate_back(alignment: Alignment, target_committed_offset: int, *, source_end_offset: int) -> int:
    """The source offset for a group that goes back: the first source record it has not read a copy of."""
    position = bisect_left(alignment.target, target_committed_offset, key=lambda stamp: stamp.offset)
    index = alignment.first_source_without_copy_before(position)
    return alignment.source[index].offset if index < len(alignment.source) else source_end_offset


def window_start(syncs: Sequence[Sync], committed_offset: int, *, base: Sync) -> Sync:
    """From which pair of offsets both logs have to be read for this commit: the last sync at or before it.

    Syncs are in the target's order. A run that began before the commit and was cut by a later rewind is covered,
    because the *last* such sync in target order is taken only if no earlier offset was copied again behind it.
    """
    best = base
    for sync in syncs:
        if sync.upstream <= committed_offset and sync.downstream >= best.downstream:
            best = sync
    return best
