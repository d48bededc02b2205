"""Whether nothing was lost, and the certificate that says so.

Levels: L1 counts and L3 order and content of every record, by laying both logs side by side (alignment.py); L4 every
group's position. A verdict never says more than what was read: `expired` and `compacted` records are named, not hidden.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kferry.domain.alignment import Alignment
from kferry.domain.waivers import WaiverState
from kferry.domain.words import counted


@dataclass(frozen=True, slots=True)
class PartitionVerdict:
    """Source against target in one partition. Counts are data records.

    `gone_from_source` are target records whose source record was deleted by retention or compaction since it was
    copied; `unproven_offsets` are offsets the source deleted for which no such record was found (transaction markers,
    or records lost before they were copied); `foreign` are target records that never came from the source.
    `ordered_hash` covers the distinct records in the source's order (SHA-256 over their digests) and is the same on
    both sides exactly when nothing is missing.
    """

    topic: str
    partition: int
    source_records: int
    target_records: int
    missing: int
    repeats: int
    reordered: int
    foreign: int
    gone_from_source: int
    source_end_offset: int
    target_end_offset: int
    ordered_hash: str
    unproven_offsets: int = 0

    @property
    def ok(self) -> bool:
        return self.missing == 0 and self.reordered == 0 and self.foreign == 0


def verdict(
    topic: str,
    partition: int,
    alignment: Alignment,
    *,
    compacted: bool,
    expired_offsets: int,
    source_end_offset: int,
    target_end_offset: int,
) -> PartitionVerdict:
    """Judge one aligned partition.

    Records at the head of the target that stand before every run came from records the source has deleted since, as
    many as it has deleted since the copy began (`expired_offsets`); in a compacted topic that holds anywhere.
    """
    first_run = min(alignment.runs[0].target if alignment.runs else len(alignment.target), expired_offsets)
    gone = sum(1 for index in alignment.foreign if compacted or index < first_run)
    digest = hashlib.sha256()
    for start, end in alignment.covered:
        for stamp in alignment.source[start:end]:
            digest.update(stamp.digest)
    return PartitionVerdict(
        topic=topic,
        partition=partition,
        source_records=len(alignment.source),
        target_records=len(alignment.target),
        missing=alignment.missing,
        repeats=alignment.repeats,
        reordered=alignment.reordered,
        foreign=len(alignment.foreign) - gone,
        gone_from_source=gone,
        source_end_offset=source_end_offset,
        target_end_offset=target_end_offset,
        ordered_hash=digest.hexdigest(),
        unproven_offsets=0 if compacted else max(0, expired_offsets - gone),
    )


@dataclass(frozen=True, slots=True)
class Latest:
    """The last record of a key in one partition."""

    offset: int
    digest: bytes
    is_tombstone: bool


def latest_verdict(
    topic: str,
    partition: int,
    source: Mapping[bytes | None, Latest],
    target: Mapping[bytes | None, Latest],
    *,
    source_end_offset: int,
    target_end_offset: int,
) -> PartitionVerdict:
    """Judge a compacted partition that has moved on since it was certified: what counts is each key's last value.

    A key is there when its last record on the target is the source's last one, or a newer one written after the
    certificate; a tombstone may be gone by now. Counts are keys. Keys that only older target records hold are foreign.
    """
    missing, digest = 0, hashlib.sha256()
    for key, last in sorted(source.items(), key=lambda item: item[1].offset):
        found = target.get(key)
        newer = found is not None and found.offset >= target_end_offset
        same = found is not None and found.digest == last.digest
        if newer or same or (found is None and last.is_tombstone):
            digest.update(last.digest)
        else:
            missing += 1
    foreign = sum(
        1
        for key, last in target.items()
        if last.offset < target_end_offset and key not in source and not last.is_tombstone
    )
    return PartitionVerdict(
        topic=topic,
        partition=partition,
        source_records=len(source),
        target_records=len(target),
        missing=missing,
        repeats=0,
        reordered=0,
        foreign=foreign,
        gone_from_source=0,
        source_end_offset=source_end_offset,
        target_end_offset=target_end_offset,
        ordered_hash=digest.hexdigest(),
    )


def summary(verdicts: Sequence[PartitionVerdict]) -> dict[str, Any]:
    """The document `verification` (docs/contracts.md)."""
    return {
        "partitions": [asdict(item) for item in verdicts],
        "source_records": sum(item.source_records for item in verdicts),
        "target_records": sum(item.target_records for item in verdicts),
        "missing": sum(item.missing for item in verdicts),
        "repeats": sum(item.repeats for item in verdicts),
        "reordered": sum(item.reordered for item in verdicts),
        "foreign": sum(item.foreign for item in verdicts),
        "gone_from_source": sum(item.gone_from_source for item in verdicts),
        "unproven_offsets": sum(item.unproven_offsets for item in verdicts),
        "ok": all(item.ok for item in verdicts),
    }


def certificate(
    *,
    migration_id: str,
    batch: str,
    task: str,
    issued_at: str,
    issued_by: str,
    kferry_version: str,
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    verification: Mapping[str, Any],
    translation: Mapping[str, Any],
    journal_seq: int,
    journal_hash: str,
    notes: Sequence[str] = (),
    waivers: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The record of a cutover. `journal_hash` is the head of the journal's chain: it pins all that led here.

    `notes` are sentences that a reader must not miss, such as host names that went unchecked. `waivers` are findings
    of preflight that somebody went on despite: finding_id, severity, title, who, why, given_at, until, and how each
    stood when this was issued: state (WaiverState), covers (how many names), beyond (how many more it is about).
    """
    return {
        "kind": "kferry certificate",
        "schema": 1,
        "migration_id": migration_id,
        "batch": batch,
        "task": task,
        "issued_at": issued_at,
        "issued_by": issued_by,
        "kferry_version": kferry_version,
        "source": dict(source),
        "target": dict(target),
        "verdict": _verdict_words(verification),
        "verification": dict(verification),
        "groups": list(translation.get("groups", ())),
        "journal": {"seq": journal_seq, "hash": journal_hash},
        "notes": list(notes),
        "waivers": [dict(item) for item in waivers],
    }


def _verdict_words(verification: Mapping[str, Any]) -> str:
    if not verification["ok"]:
        return "NOT complete"
    unproven = verification.get("unproven_offsets", 0)
    return f"complete, but for {unproven} offsets that the source deleted unseen" if unproven else "complete"


def certificate_markdown(data: Mapping[str, Any]) -> str:
    """The certificate for people. Names are data: they stand in code spans with every backtick and bar replaced."""
    checked = data["verification"]
    lines = [
        f"# Certificate of cutover: {_code(data['batch'])}",
        "",
        f"**{data['verdict']}**: {checked['source_records']} source records, {checked['missing']} missing, "
        f"{checked['repeats']} repeated, {checked['reordered']} out of order, {checked['foreign']} foreign.",
        "",
        f"- Migration {_code(data['migration_id'])}, task {_code(data['task'])}",
        f"- Issued {data['issued_at']} by {_code(data['issued_by'])} with kferry {data['kferry_version']}",
        *(
            f"- {side.title()} {_code(about.get('bootstrap_servers'))} (cluster id {_code(about.get('cluster_id'))})"
            for side, about in (("source", data["source"]), ("target", data["target"]))
        ),
        f"- Journal: event {data['journal']['seq']}, chain hash {_code(data['journal']['hash'])}",
        *(f"- Note: {_code(note)}" for note in data.get("notes", ())),
        "",
        "## Partitions",
        "",
        "| topic | partition | source end | target end | records | missing | repeats | gone from source | hash |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [
        f"| {_code(item['topic'])} | {item['partition']} | {item['source_end_offset']} | {item['target_end_offset']} "
        f"| {item['source_records']} | {item['missing']} | {item['repeats']} | {item['gone_from_source']} "
        f"| {_code(item['ordered_hash'][:16])} |"
        for item in checked["partitions"]
    ]
    lines += [
        "",
        "## Groups",
        "",
        "| group | topic | partition | committed on source | continues on target | read again | rests on |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for group in data["groups"]:
        lines += [
            f"| {_code(group['group_id'])} | {_code(item['topic'])} | {item['partition']} "
            f"| {_figure(item['committed_offset'])} | {_figure(item['target_offset'])} | {_figure(item['repeats'])} "
            f"| {item['how']} |"
            for item in group["partitions"]
        ]
    return "\n".join([*lines, *_waiver_lines(data.get("waivers", ()))]) + "\n"


def _waiver_lines(waivers: Sequence[Mapping[str, Any]]) -> list[str]:
    if not waivers:
        return []
    rows = [
        f"| {_code(item['finding_id'])} | {item['severity']} | {_code(item['title'])} | {_code(item['who'])} "
        f"| {_code(item['why'])} | {item['given_at']} | {item['until']} | {_waiver_state(item)} |"
        for item in waivers
    ]
    head = "| finding | severity | what | who | why | given | until | when certified |"
    return ["", "## Waived findings", "", head, "| --- | --- | --- | --- | --- | --- | --- | --- |", *rows]


def _waiver_state(item: Mapping[str, Any]) -> str:
    """How a waiver stood; certificates of an older kferry do not tell."""
    if "state" not in item:
        return "not recorded"
    holds, more = item["state"] == WaiverState.HOLDS, item["beyond"]
    words = item["state"] if holds else f"**{item['state']}**"
    if more is None:
        return f"{words}; what it covered was not kept"
    return f"{words}; its finding is about {counted(more, 'name')} more than it covered" if more else words


def _code(value: object) -> str:
    """A code span that no content can leave: control characters, backticks, bars and angle brackets are replaced."""
    text = "unknown" if value is None else str(value)
    safe = "".join("·" if char in "`|<>" or not char.isprintable() else char for char in text)
    return f"`{safe}`"


def _figure(value: object) -> str:
    return "unknown" if value is None else str(value)
