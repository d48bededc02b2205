"""Laying the records of a source partition beside those of its copy: which copy belongs to which record.

MirrorMaker copies a partition in *runs*. Within a run the copies have the order of the source without a gap; when a
worker dies, the next run begins at or before the end of the last one, so some records stand twice on the target. The
target's log is therefore a chain of runs, and finding the runs answers everything: what is missing, what is repeated,
whether order was kept, and where each record's last copy lies.

Records are compared by a digest over timestamp, key, value and headers. Equal digests are told apart by their
neighbours; what stays ambiguous is reported, never guessed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Stamped(Protocol):
    """Anything with a record's place and identity; adapters bring their own."""

    @property
    def offset(self) -> int: ...

    @property
    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Stamp:
    """A record's place and identity: its offset, and a digest of all that it holds."""

    offset: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """Copies without a break: `length` target records from index `target` hold the source records from `source` on."""

    target: int
    source: int
    length: int


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a target log is made of a source log. Indices are positions in the given sequences, not offsets.

    `foreign` are target records that are no copy of any given source record; `ambiguous` are target indices at which a
    run could have begun at more than one source record, even with neighbours looked at.
    """

    source: Sequence[Stamped]
    target: Sequence[Stamped]
    runs: tuple[Run, ...]
    foreign: tuple[int, ...]
    ambiguous: tuple[int, ...]

    @property
    def copied(self) -> int:
        """Number of distinct source records that have at least one copy."""
        return sum(end - start for start, end in self.covered)

    @property
    def missing(self) -> int:
        """Source records without a copy."""
        return len(self.source) - self.copied

    @property
    def repeats(self) -> int:
        """Target records beyond the first copy of each source record."""
        return sum(run.length for run in self.runs) - self.copied

    @property
    def reordered(self) -> int:
        """Runs that begin past the end of everything copied before: something was skipped there.

        A later run may bring the skipped records (then the order was broken); if none does, they are missing.
        """
        count, reached = 0, self.runs[0].source if self.runs else 0
        for run in self.runs:
            if run.source > reached:
                count += 1
            reached = max(reached, run.source + run.length)
        return count

    @property
    def covered(self) -> list[tuple[int, int]]:
        """Disjoint, ordered intervals of source indices that have a copy."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted((run.source, run.source + run.length) for run in self.runs):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((start, end))
        return merged

    def last_copy(self, source_index: int) -> int | None:
        """Target index of the last copy of a source record, or None if it has none."""
        for run in reversed(self.runs):
            if run.source <= source_index < run.source + run.length:
                return run.target + source_index - run.source
        return None

    def first_source_without_copy_before(self, target_index: int) -> int:
        """Index of the first source record without a copy before `target_index`: where a reader goes on."""
        done = Alignment(self.source, self.target, self._cut(target_index), (), ()).covered
        expected = 0
        for start, end in done:
            if start > expected:
                break
            expected = max(expected, end)
        return expected

    def _cut(self, target_index: int) -> tuple[Run, ...]:
        return tuple(
            Run(run.target, run.source, min(run.length, target_index - run.target))
            for run in self.runs
            if run.target < target_index
        )


# How many neighbours are compared when one digest stands at several places of the source.
CONTEXT = 64


def align(source: Sequence[Stamped], target: Sequence[Stamped]) -> Alignment:
    """Find the runs. Linear in both lengths where digests are unique; repeats cost up to CONTEXT comparisons each."""
    places: dict[bytes, list[int]] = {}
    for index, stamp in enumerate(source):
        places.setdefault(stamp.digest, []).append(index)
    runs: list[Run] = []
    foreign: list[int] = []
    ambiguous: list[int] = []
    at = 0
    while at < len(target):
        candidates = places.get(target[at].digest)
        if not candidates:
            foreign.append(at)
            at += 1
            continue
        begin, sure = _choose(source, target, at, candidates, runs)
        if not sure:
            ambiguous.append(at)
        length = 1
        while (
            at + length < len(target)
            and begin + length < len(source)
            and target[at + length].digest == source[begin + length].digest
        ):
            length += 1
        if runs and runs[-1].target + runs[-1].length == at and runs[-1].source + runs[-1].length == begin:
            runs[-1] = Run(runs[-1].target, runs[-1].source, runs[-1].length + length)
        else:
            runs.append(Run(at, begin, length))
        at += length
    return Alignment(source, target, tuple(runs), tuple(foreign), tuple(ambiguous))


def _choose(
    source: Sequence[Stamped], target: Sequence[Stamped], at: int, candidates: list[int], runs: Sequence[Run]
) -> tuple[int, bool]:
    """The source index at which the run at target index `at` begins, and whether that is certain.

    Preferred is what goes on where the last run ended; else the candidate whose following records agree longest.
    A candidate past everything copied so far would mean a skip, so among equals the earlier ones come first.
    """
    if len(candidates) == 1:
        return candidates[0], True
    if runs:
        expected = runs[-1].source + runs[-1].length
        position = bisect_left(candidates, expected)
        if position < len(candidates) and candidates[position] == expected:
            return expected, True
    reach = max((run.source + run.length for run in runs), default=0)
    scored = []
    for candidate in candidates:
        agreed = 0
        while (
            agreed < CONTEXT
            and at + agreed < len(target)
            and candidate + agreed < len(source)
            and target[at + agreed].digest == source[candidate + agreed].digest
        ):
            agreed += 1
        scored.append((-agreed, candidate > reach, candidate))
    scored.sort()
    best = scored[0]
    sure = len(scored) == 1 or scored[1][:2] != best[:2]
    return best[2], sure
