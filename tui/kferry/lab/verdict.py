"""Judge what was read from a partition against what the ledger says should be there: pure.

The records expected are those committed on the source, then those produced on the target itself, in that order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from kferry.lab.ledger import TOMBSTONE, Entry

EXAMPLES = 3


class Seen(NamedTuple):
    """One record as read: who it says it is (None where it does not say) and the hash of what it carries."""

    record_id: tuple[str, int] | None  # cluster it was produced on, number
    digest: bytes
    offset: int


class Expected(NamedTuple):
    """One ledger entry with the cluster it was produced on."""

    cluster: str
    entry: Entry


@dataclass(slots=True)
class Verdict:
    """What was found in one partition (or, added up, in more)."""

    expected: int = 0
    read: int = 0
    missing: int = 0
    repeats: int = 0
    out_of_order: int = 0  # places where the order breaks; going back and repeating all of it does not
    altered: int = 0
    unexpected: int = 0
    aborted: int = 0  # records of aborted transactions that a read_committed reader was given
    stale: int = 0  # compacted: a key whose last value is not its latest
    examples: list[str] = field(default_factory=list)

    def note(self, words: str) -> None:
        if len(self.examples) < EXAMPLES:
            self.examples.append(words)

    def add(self, other: Verdict) -> None:
        """Add another partition's findings."""
        for name in self.__slots__:
            if name != "examples":
                setattr(self, name, getattr(self, name) + getattr(other, name))
        for words in other.examples:
            self.note(words)

    def is_ok(self, *, allow_repeats: bool) -> bool:
        faults = self.missing + self.out_of_order + self.altered + self.unexpected + self.aborted + self.stale
        return faults == 0 and (allow_repeats or self.repeats == 0)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge(
    expected: Sequence[Expected], aborted: frozenset[tuple[str, int]], seen: Iterable[Seen], *, compacted: bool
) -> Verdict:
    """The verdict on one partition; `seen` in the order read."""
    verdict = Verdict(expected=len(expected))
    positions = {(cluster, entry.number): place for place, (cluster, entry) in enumerate(expected)}
    counts = bytearray(len(expected))
    last_of_key: dict[bytes, int] = {}
    highest = last = -1
    for record in seen:
        verdict.read += 1
        place = positions.get(record.record_id) if record.record_id is not None else None
        if place is None:
            if record.record_id in aborted:
                verdict.aborted += 1
                verdict.note(f"aborted record {record.record_id} at offset {record.offset}")
            else:
                verdict.unexpected += 1
                verdict.note(f"unexpected record {record.record_id} at offset {record.offset}")
            continue
        entry = expected[place].entry
        if entry.digest != record.digest:
            verdict.altered += 1
            verdict.note(f"altered record {record.record_id} at offset {record.offset}")
        below = not counts[place] and place < highest
        # A copy that rewinds must go through all of it again: a jump over records that it copied before is a fault.
        jumped = not compacted and place > last + 1 and any(counts[last + 1 : place])
        if below or jumped:
            verdict.out_of_order += 1
            verdict.note(f"out of order: {record.record_id} at offset {record.offset}")
        verdict.repeats += counts[place]
        counts[place] = 1
        highest, last = max(highest, place), place
        last_of_key[entry.key_digest] = place
    if last < highest and not compacted:
        verdict.out_of_order += 1
        verdict.note("the partition ends within repeats")
    if compacted:
        _judge_keys(expected, last_of_key, verdict)
    else:
        _judge_missing(expected, counts, verdict)
    return verdict


def _judge_missing(expected: Sequence[Expected], counts: bytearray, verdict: Verdict) -> None:
    for place, (cluster, entry) in enumerate(expected):
        if not counts[place]:
            verdict.missing += 1
            verdict.note(f"missing record {(cluster, entry.number)}, source offset {entry.offset}")


def _judge_keys(expected: Sequence[Expected], last_of_key: dict[bytes, int], verdict: Verdict) -> None:
    """A compacted topic must hold each key's latest value; an old tombstone may be gone together with its key."""
    latest = {item.entry.key_digest: place for place, item in enumerate(expected)}
    for key, place in latest.items():
        found = last_of_key.get(key)
        if found == place:
            continue
        cluster, entry = expected[place]
        if found is not None:
            verdict.stale += 1
            verdict.note(f"stale key: {(cluster, entry.number)} should be its latest value")
        elif not entry.flags & TOMBSTONE:
            verdict.missing += 1
            verdict.note(f"missing record {(cluster, entry.number)}, the latest of its key")
