"""Reading both sides of a task's partitions and laying them side by side: what translation and proof rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from kferry.domain.alignment import Alignment, align
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Role, TaskSpec, TopicPartition
from kferry.domain.offsets import Sync, window_start
from kferry.engine.context import Services
from kferry.kafka.offset_syncs import read_offset_syncs
from kferry.kafka.records import read_stamps_many


@dataclass(frozen=True, slots=True)
class Ends:
    """Up to where both sides of a partition are read (exclusive)."""

    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Aligned:
    """One partition's alignment, and the ends up to which both logs were read."""

    alignment: Alignment
    base: Sync
    source_start_offset: int
    source_end_offset: int
    target_end_offset: int
    starts: Sync

    @property
    def unexplained(self) -> tuple[int, ...]:
        """Target records that are no copy of what was read of the source, and can't be of what the source deleted."""
        expired = max(0, self.source_start_offset - self.starts.upstream)
        first_run = self.alignment.runs[0].target if self.alignment.runs else len(self.alignment.target)
        return tuple(index for index in self.alignment.foreign if index >= min(first_run, expired))


def bases(services: Services, spec: TaskSpec) -> dict[TopicPartition, Sync]:
    """Where the copy of each partition began."""
    return {
        TopicPartition(row.topic, row.partition): Sync(row.source_offset, row.target_offset)
        for row in services.journal.anchors(spec.name, spec.incarnation)
        if row.kind == "base" and row.topic in spec.topics
    }


def align_partitions(
    services: Services,
    spec: TaskSpec,
    lowest: Mapping[TopicPartition, int] | None = None,
    *,
    partitions: Iterable[TopicPartition] | None = None,
    ends: Mapping[TopicPartition, Ends] | None = None,
    cancelled: Callable[[], bool] | None = None,
    limit_records: int | None = None,
) -> dict[TopicPartition, Aligned]:
    """Read and align partitions, up to both ends as they are now, or up to `ends` where given.

    `lowest` gives, per partition, the lowest source offset that matters: MirrorMaker's syncs then say from where both
    sides have to be read. Without it everything since the start of the copy is read. Where a window turns out to hold
    copies of records from before it (a rewind no sync tells of), that partition is read again from the copy's start.

    Raises KferryError when a partition would need more than `limit_records` records to be read.
    """
    base = bases(services, spec)
    wanted = list(partitions) if partitions is not None else list(lowest) if lowest is not None else list(base)
    starts = {tp: base[tp] for tp in wanted}
    if lowest is not None:
        syncs = _syncs(services, spec)
        starts = {tp: window_start(syncs.get(tp, []), lowest[tp], base=base[tp]) for tp in wanted}
    found = _read(services, starts, base, ends or {}, cancelled, limit_records)
    again = [tp for tp, item in found.items() if item.unexplained and starts[tp] != base[tp]]
    if again:
        found |= _read(services, {tp: base[tp] for tp in again}, base, ends or {}, cancelled, limit_records)
    return found


def _syncs(services: Services, spec: TaskSpec) -> dict[TopicPartition, list[Sync]]:
    result: dict[TopicPartition, list[Sync]] = {}
    for item in read_offset_syncs(services.clusters.config(Role.TARGET), spec.offset_syncs_topic):
        result.setdefault(TopicPartition(item.topic, item.partition), []).append(Sync(item.upstream, item.downstream))
    return result


def _read(
    services: Services,
    starts: Mapping[TopicPartition, Sync],
    base: Mapping[TopicPartition, Sync],
    ends: Mapping[TopicPartition, Ends],
    cancelled: Callable[[], bool] | None,
    limit_records: int | None,
) -> dict[TopicPartition, Aligned]:
    tps = list(starts)
    source, target = services.clusters.admin(Role.SOURCE), services.clusters.admin(Role.TARGET)
    # the target's end first: every copy before it comes from a record before the source's end taken afterwards
    target_ends = _known(target.offsets(tps, "stable"), "target")
    source_ends = _known(source.offsets(tps, "stable"), "source")
    source_ends |= {tp: end.source for tp, end in ends.items() if tp in source_ends}
    target_ends |= {tp: end.target for tp, end in ends.items() if tp in target_ends}
    source_starts = _known(source.offsets(tps, "start"), "source")
    target_starts = _known(target.offsets(tps, "start"), "target")
    on_source = {tp: (max(starts[tp].upstream, source_starts[tp]), source_ends[tp]) for tp in tps}
    on_target = {tp: (max(starts[tp].downstream, target_starts[tp]), target_ends[tp]) for tp in tps}
    if limit_records is not None:
        for tp, (start, end) in on_source.items():
            if end - start > limit_records:
                raise KferryError(
                    f"{tp.topic}-{tp.partition}: {end - start} records would have to be read, "
                    f"the limit is {limit_records}.",
                    cause="A group is far behind, or the whole partition is to be compared.",
                    next_step="Raise exact_read_limit_records in kferry.yml if reading that much is fine, then retry.",
                    kind=ErrorKind.NOT_READY,
                )
    source_records = read_stamps_many(
        services.clusters.config(Role.SOURCE),
        on_source,
        read_committed=True,
        cancelled=cancelled,
    )
    target_records = read_stamps_many(
        services.clusters.config(Role.TARGET),
        on_target,
        read_committed=True,
        cancelled=cancelled,
    )
    return {
        tp: Aligned(
            align(source_records[tp], target_records[tp]),
            base[tp],
            source_starts[tp],
            source_ends[tp],
            target_ends[tp],
            starts[tp],
        )
        for tp in tps
    }


def _known(offsets: Mapping[TopicPartition, int | None], where: str) -> dict[TopicPartition, int]:
    unknown = [tp for tp, value in offsets.items() if value is None]
    if unknown:
        raise KferryError(
            f"The offsets of {len(unknown)} partitions on the {where} are not known, first "
            f"{unknown[0].topic}-{unknown[0].partition}.",
            cause="Their leaders are not available.",
            next_step="Look at the cluster, then retry.",
            kind=ErrorKind.CONNECT,
        )
    return {tp: value for tp, value in offsets.items() if value is not None}
