"""The oracle: reads a cluster completely and compares it with the ledger; and says what groups read next."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, Message
from confluent_kafka.admin import AdminClient

from kferry.lab import reader
from kferry.lab.consumers import read_processed
from kferry.lab.home import LabHome
from kferry.lab.ledger import ABORTED, Entry, content_digest, parse_record_id, read_entries, record_id
from kferry.lab.systems import GROUPS, TOPICS
from kferry.lab.verdict import Expected, Seen, Verdict, judge

CATCH_UP_SECONDS = 10.0
_POLL_SECONDS = 0.3


def compare(
    home: LabHome, *, cluster: str = "target", topics: Sequence[str] = (), allow_repeats: bool = False
) -> dict[str, Any]:
    """The JSON verdict on a cluster. Records still on their way to the target count as missing."""
    bootstrap_servers = home.read_facts()[cluster]["bootstrap_servers"]
    present = reader.partition_counts(bootstrap_servers)
    total = Verdict()
    by_topic: dict[str, dict[str, Any]] = {}
    for topic in topics or list(TOPICS):
        if topic not in present:
            by_topic[topic] = {"ok": False, "exists": False}
            continue
        verdict, partitions = _compare_topic(home, cluster, bootstrap_servers, topic, present[topic])
        total.add(verdict)
        ok = verdict.is_ok(allow_repeats=allow_repeats)
        by_topic[topic] = {"ok": ok, "exists": True, **verdict.as_dict(), "partitions": partitions}
    return {
        "ok": all(found["ok"] for found in by_topic.values()),
        "cluster": cluster,
        **total.as_dict(),
        "topics": by_topic,
    }


def _compare_topic(
    home: LabHome, cluster: str, bootstrap_servers: str, topic: str, partition_count: int
) -> tuple[Verdict, dict[str, Any]]:
    seen: dict[int, list[Seen]] = defaultdict(list)

    def add(message: Message) -> None:
        headers = message.headers()
        found = parse_record_id(headers)
        digest = content_digest(message.timestamp()[1], message.key(), message.value(), headers)
        named = (found[0], found[2]) if found is not None and found[1] == topic else None
        seen[message.partition() or 0].append(Seen(named, digest, message.offset() or 0))

    starts = {(topic, number): 0 for number in range(partition_count)}
    ends = reader.read_to_end(bootstrap_servers, starts, add)
    expected, aborted = _expected(home, cluster, topic, ends, seen)
    compacted = TOPICS[topic].is_compacted
    total, partitions = Verdict(), {}
    for number in range(max(partition_count, TOPICS[topic].partitions)):
        verdict = judge(expected.get(number, []), aborted, seen.get(number, []), compacted=compacted)
        total.add(verdict)
        partitions[str(number)] = verdict.as_dict()
    return total, partitions


def _expected(
    home: LabHome,
    cluster: str,
    topic: str,
    ends: Mapping[tuple[str, int], int],
    seen: Mapping[int, Sequence[Seen]],
) -> tuple[dict[int, list[Expected]], frozenset[tuple[str, int]]]:
    """What the ledger says should have been read, per partition, and which records were aborted."""
    expected: dict[int, list[Expected]] = defaultdict(list)
    aborted: set[tuple[str, int]] = set()
    if cluster != "source":
        for entry in read_entries(home.ledger("source", topic)):
            _sort_in("source", entry, expected, aborted)
    for entry in _own_entries(home, cluster, topic, seen):
        # What was appended after the read began is not judged.
        if entry.offset < ends.get((topic, entry.partition), 0):
            _sort_in(cluster, entry, expected, aborted)
    return expected, frozenset(aborted)


def _sort_in(cluster: str, entry: Entry, expected: dict[int, list[Expected]], aborted: set[tuple[str, int]]) -> None:
    if entry.flags & ABORTED:
        aborted.add((cluster, entry.number))
    else:
        expected[entry.partition].append(Expected(cluster, entry))


def _own_entries(home: LabHome, cluster: str, topic: str, seen: Mapping[int, Sequence[Seen]]) -> list[Entry]:
    """The cluster's own ledger, once it knows the last record that was read: it is written a moment later."""
    last = {
        number: max((record.offset for record in records if _is_from(record, cluster)), default=-1)
        for number, records in seen.items()
    }
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while True:
        entries = list(read_entries(home.ledger(cluster, topic)))
        known: dict[int, int] = {}
        for entry in entries:
            known[entry.partition] = max(entry.offset, known.get(entry.partition, -1))
        behind = any(known.get(number, -1) < offset for number, offset in last.items())
        if not behind or time.monotonic() > deadline:
            return entries
        time.sleep(_POLL_SECONDS)


def _is_from(record: Seen, cluster: str) -> bool:
    return record.record_id is not None and record.record_id[0] == cluster


def next_records(home: LabHome, cluster: str, groups: Iterable[str]) -> dict[str, Any]:
    """For each group, topic and committed partition the id of the committed record read next; None at the end.

    Meant for groups that are stopped. Partitions without a commit are left out.
    """
    bootstrap_servers = home.read_facts()[cluster]["bootstrap_servers"]
    found: dict[str, Any] = {}
    for group_id in groups:
        committed = _committed(bootstrap_servers, group_id)
        first: dict[tuple[str, int], str | None] = _first_records(bootstrap_servers, committed)
        topics: dict[str, dict[str, str | None]] = defaultdict(dict)
        for topic, number in sorted(committed):
            topics[topic][str(number)] = first.get((topic, number))
        found[group_id] = dict(topics)
    return found


def _committed(bootstrap_servers: str, group_id: str) -> dict[tuple[str, int], int]:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    try:
        future = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group_id)])[group_id]
        answer = future.result(reader.REQUEST_SECONDS)
    except KafkaException as error:
        raise reader.unreachable(bootstrap_servers, error) from error
    parts = answer.topic_partitions or ()
    for part in parts:
        if part.error is not None:
            raise reader.unreachable(bootstrap_servers, KafkaException(part.error))
    return {(part.topic, part.partition): part.offset for part in parts if part.offset >= 0}


def _first_records(bootstrap_servers: str, starts: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], str | None]:
    """The first committed record at or after each offset. Only the head of each partition is read."""
    found: dict[tuple[str, int], str | None] = {}

    def add(message: Message) -> None:
        partition = (message.topic() or "", message.partition() or 0)
        named = parse_record_id(message.headers())
        found[partition] = record_id(*named) if named is not None else f"offset {message.offset()} without an id"

    reader.read_first(bootstrap_servers, starts, add)
    return found


def handover(home: LabHome, groups: Iterable[str]) -> dict[str, Any]:
    """What each group processed on both clusters against the source's ledger: skipped, and processed twice.

    Judged per partition up to the last record the group has processed anywhere; in a compacted topic only a key's
    latest record can be skipped.
    """
    verdict: dict[str, Any] = {}
    for group_id in groups:
        done: dict[tuple[str, int], dict[int, int]] = defaultdict(dict)
        counts = dict.fromkeys(("source", "target"), 0)
        for cluster in counts:
            for record in read_processed(home.consumed(cluster, group_id)):
                counts[cluster] += 1
                if record.produced_on == "source":
                    times = done[(record.topic, record.partition)]
                    times[record.number] = times.get(record.number, 0) + 1
        skipped = 0
        examples: list[str] = []
        for topic in GROUPS[group_id].topics:
            for number in _skipped(home, topic, done):
                skipped += 1
                if len(examples) < 3:
                    examples.append(record_id("source", topic, number))
        repeated = sum(times - 1 for part in done.values() for times in part.values())
        verdict[group_id] = {
            "processed_on_source": counts["source"],
            "processed_on_target": counts["target"],
            "skipped": skipped,
            "repeated": repeated,
            "examples": examples,
        }
    return {"ok": all(found["skipped"] == 0 for found in verdict.values()), "groups": verdict}


def _skipped(home: LabHome, topic: str, done: Mapping[tuple[str, int], Mapping[int, int]]) -> list[int]:
    entries = [entry for entry in read_entries(home.ledger("source", topic)) if not entry.flags & ABORTED]
    latest = {(entry.partition, entry.key_digest): entry.number for entry in entries}
    last = {part: max(done.get((topic, part), {}), default=-1) for part in range(TOPICS[topic].partitions)}
    return [
        entry.number
        for entry in entries
        if entry.number <= last[entry.partition]
        and entry.number not in done[(topic, entry.partition)]
        and (not TOPICS[topic].is_compacted or latest[(entry.partition, entry.key_digest)] == entry.number)
    ]
