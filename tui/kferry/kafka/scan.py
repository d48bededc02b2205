"""The scan: a snapshot of one cluster, as complete as the rights allow. It changes nothing."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from confluent_kafka.admin import ClusterMetadata

from kferry.domain.errors import KferryError
from kferry.domain.model import (
    Broker,
    Capability,
    ClusterConfig,
    ClusterFacts,
    Group,
    PartitionOffsets,
    Scan,
    Topic,
    TopicPartition,
)
from kferry.domain.words import first_of
from kferry.kafka import topics as topic_metadata
from kferry.kafka.admin import ClusterAdmin
from kferry.kafka.group_listing import ListedGroup
from kferry.kafka.scan_around import Surroundings, SurroundingsReader, with_size, with_transactions
from kferry.kafka.scan_groups import GroupScanner, LagReader, streams_by_topics, streams_topics, with_movement
from kferry.kafka.scan_topics import TopicScanner, with_growth

OnProgress = Callable[[str, int, int], None]  # what is being read, done, of how many
OnPartial = Callable[[Callable[[], Scan]], None]  # gets a way to make the scan so far: to make it is work

_METADATA_SECONDS = 60.0
_FACTS_SECONDS = 10.0
# Two samples that are closer together say nothing about who moves.
SAMPLE_GAP_SECONDS = 5.0
_LOOK_SECONDS = 0.2
_COMMITS = "__consumer_offsets"
# Of a broker that fails otherwise, the client library may still get answers.
_DEAD = ("refused", "timed out", "no answer in time", "no route", "unreachable", "not known", "reset by peer")


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How a scan is made.

    `before` is the last kept scan, which groups' movement is told from; `resumed` one that was cut off, whose topics
    and groups are not asked again. `with_records` False leaves out what needs records: ages, sizes, lag in seconds.
    """

    before: Scan | None = None
    resumed: Scan | None = None
    with_records: bool = True
    sample_gap_seconds: float = SAMPLE_GAP_SECONDS
    hanging_after_ms: int | None = None


def scan(
    cluster: ClusterConfig,
    *,
    on_progress: OnProgress = lambda _what, _done, _total: None,
    on_partial: OnPartial = lambda _make: None,
    cancelled: Callable[[], bool] = lambda: False,
    options: ScanOptions | None = None,
) -> Scan:
    """Read everything. What cannot be told of one topic or group stands in its `error`, the rest in `notes`.

    Raises KferryError where the cluster cannot be reached, or when cancelled; what was read until then is what
    `on_partial` was given last.
    """
    with ClusterAdmin(cluster) as admin:
        admin.connection.cancelled = cancelled
        return _Scanning(admin, on_progress, on_partial, cancelled, options or ScanOptions()).run()


class _Scanning:
    def __init__(
        self,
        admin: ClusterAdmin,
        on_progress: OnProgress,
        on_partial: OnPartial,
        cancelled: Callable[[], bool],
        options: ScanOptions,
    ) -> None:
        self._admin = admin
        self._on_progress = on_progress
        self._on_partial = on_partial
        self._cancelled = cancelled
        self._options = options
        self._notes: list[str] = []
        self._capabilities: dict[str, Capability] = {}
        self._taken_at_ms = time.time_ns() // 1_000_000
        self._scan_id = uuid.uuid4().hex[:12]
        self._facts: ClusterFacts | None = None
        self._topics: dict[str, Topic] = {}
        self._groups: dict[str, Group] = {}
        self._around = Surroundings()

    def run(self) -> Scan:
        started = time.monotonic()
        self._step("cluster", 0, 1)
        seen = topic_metadata.cluster_metadata(self._admin.connection, timeout_seconds=_METADATA_SECONDS)
        known = dict(seen.topics)
        facts = self._facts = self._read_facts(seen)
        scanner = TopicScanner(
            self._admin,
            known,
            brokers=[broker.broker_id for broker in facts.brokers],
            taken_at_ms=self._taken_at_ms,
            with_records=self._options.with_records,
            cancelled=self._cancelled,
        )
        self._keep_what_was_read(facts, scanner)
        groups = GroupScanner(self._admin, cancelled=self._cancelled)
        listed = self._list_groups(facts, groups, scanner)
        self._step("cluster", 1, 1)
        self._read_topics(sorted(known), scanner)
        self._read_groups(listed, groups)
        self._read_around(facts, scanner)
        self._wait_since(started)
        self._sample_again(scanner, groups)
        self._tell_lag()
        self._note_silence(scanner)
        return self._so_far(complete=True)

    def _read_facts(self, seen: ClusterMetadata) -> ClusterFacts:
        """What the cluster says of itself; where the broker asked has just died, the little that is seen.

        A broker that has led partitions a moment ago and is not named any more has died in between: it stays in.
        """
        led = tuple(Broker(item.id, str(item.host), item.port) for _id, item in sorted(seen.brokers.items()))
        try:
            facts = self._admin.facts(timeout_seconds=_FACTS_SECONDS)
            named = {broker.broker_id for broker in facts.brokers}
            return replace(facts, brokers=facts.brokers + tuple(it for it in led if it.broker_id not in named))
        except KferryError as error:
            self._raise_if_cancelled()
            self._notes.append(f"The cluster did not describe itself in time. {error.cause}")
            return ClusterFacts(
                self._admin.config.role,
                seen.cluster_id,
                None,
                seen.controller_id if seen.controller_id >= 0 else None,
                led,
                capabilities={"broker_configs": Capability.UNKNOWN},
            )

    def _keep_what_was_read(self, facts: ClusterFacts, scanner: TopicScanner) -> None:
        """Takes over topics and groups of a scan that was cut off, unless a topic has changed its shape since.

        What could not be read as a whole is asked again: what was in the way may be over.
        """
        resumed = self._options.resumed
        if resumed is None or resumed.cluster.cluster_id != facts.cluster_id:
            return
        for topic in resumed.topics:
            if topic.error:
                continue
            if scanner.knows(topic.name) and len(scanner.partitions_of(topic.name)) == topic.partition_count:
                self._topics[topic.name] = topic
        self._groups = {group.group_id: group for group in resumed.groups if not group.error}

    def _read_topics(self, names: list[str], scanner: TopicScanner) -> None:
        missing = [name for name in names if name not in self._topics]
        done = len(names) - len(missing)
        self._step("topics", done, len(names))
        for chunk in scanner.chunks(missing):
            self._topics.update(scanner.scan(chunk))
            done += len(chunk)
            self._step("topics", done, len(names))
            self._partial()
        found = list(self._topics.values())
        blind = [topic for topic in found if topic.error and "configs:" in topic.error]
        all_denied = bool(blind) and len(blind) == len(found)
        self._capabilities["topic_configs"] = Capability.DENIED if all_denied else Capability.SUPPORTED
        if self._options.with_records:
            self._judge_records([topic for topic in found if not topic.is_internal])

    def _judge_records(self, found: list[Topic]) -> None:
        failed = [topic for topic in found if topic.error and "records:" in topic.error]
        if failed:
            first = (failed[0].error or "").partition("records: ")[2]
            names = first_of([topic.name for topic in failed], 3)
            self._notes.append(f"Records of {len(failed)} topics could not be sampled: {names}. {first.rstrip('.')}.")
        all_denied = bool(failed) and all("AUTHORIZATION_FAILED" in (topic.error or "") for topic in failed)
        self._capabilities["records"] = Capability.DENIED if all_denied else Capability.SUPPORTED

    def _list_groups(
        self, facts: ClusterFacts, scanner: GroupScanner, topics: TopicScanner
    ) -> dict[str, ListedGroup] | None:
        """The groups there are. It asks every broker, so it also shows which of them do not answer at all."""
        try:
            listed = scanner.listed(facts.brokers)
        except KferryError as error:
            self._raise_if_cancelled()
            denied = "AUTHORIZATION_FAILED" in str(error)
            self._capabilities["groups"] = Capability.DENIED if denied else Capability.UNKNOWN
            self._notes.append(f"The groups could not be listed. {error}")
            return None
        for broker, words in sorted(scanner.failed.items()):
            self._notes.append(f"The groups that broker {broker} coordinates are not known: {words}.")
            if any(sign in words.lower() for sign in _DEAD):
                topics.silent[broker] = words
                self._admin.connection.note_trouble()
        unled = topics.unled_partitions(_COMMITS)
        if unled:
            self._notes.append(
                f"Some groups are not known: {unled} partitions of {_COMMITS}, which keeps them, have no leader."
            )
        self._capabilities["groups"] = Capability.SUPPORTED
        return listed

    def _read_groups(self, listed: Mapping[str, ListedGroup] | None, scanner: GroupScanner) -> None:
        if listed is None:
            return
        self._groups = {name: group for name, group in self._groups.items() if name in listed}
        missing = sorted(name for name in listed if name not in self._groups)
        done = len(listed) - len(missing)
        self._step("groups", done, max(1, len(listed)))
        for chunk in scanner.chunks(missing):
            self._groups.update(scanner.scan([listed[name] for name in chunk]))
            done += len(chunk)
            self._step("groups", done, len(listed))
            self._partial()
        self._step("groups", 1, 1)

    def _read_around(self, facts: ClusterFacts, scanner: TopicScanner) -> None:
        reader = SurroundingsReader(self._admin, facts, cancelled=self._cancelled)
        self._around = reader.found
        self._around.are_records_read = self._options.with_records
        self._step("sizes", 0, 1)
        reader.read_sizes()
        self._step("access", 0, 1)
        reader.read_access()
        self._partial()
        self._step("transactional ids", 0, 1)
        reader.read_transactions()
        self._step("producers", 0, 1)
        ordinary = [topic for topic in self._topics.values() if not topic.is_internal]
        reader.read_producers(ordinary, scanner.leader_of, hanging_after_ms=self._options.hanging_after_ms)
        self._step("producers", 1, 1)
        self._partial()

    def _wait_since(self, started: float) -> None:
        """Lets enough time pass between the two samples."""
        while time.monotonic() - started < self._options.sample_gap_seconds:
            self._raise_if_cancelled()
            time.sleep(_LOOK_SECONDS)

    def _sample_again(self, scanner: TopicScanner, groups: GroupScanner) -> None:
        """Ends and commits anew, close together: lag and movement are read off these."""
        self._step("second sample", 0, 3)
        tps = [
            TopicPartition(topic.name, part.partition)
            for topic in self._topics.values()
            if not topic.error
            for part in topic.partitions
        ]
        seconds = max(0.001, time.time_ns() / 1e9 - self._taken_at_ms / 1000)
        end = scanner.ends(tps, "end")
        self._step("second sample", 1, 3)
        stable = scanner.ends(tps, "stable")
        self._step("second sample", 2, 3)
        before = self._options.before
        former = {topic.name: topic for topic in before.topics} if before is not None else {}
        since_ms = before.taken_at_ms if before is not None else 0
        self._topics = {
            name: with_growth(
                _with_ends(topic, end, stable, None if self._options.resumed else seconds),
                topic,
                former.get(name),
                before_at_ms=since_ms,
                now_ms=time.time_ns() // 1_000_000,
            )
            for name, topic in self._topics.items()
        }
        again = groups.commits(self._groups)
        again_at_ms = time.time_ns() // 1_000_000
        groups_before = {group.group_id: group for group in before.groups} if before is not None else {}
        internal = streams_topics(self._topics)
        self._groups = {
            name: with_movement(
                streams_by_topics(group, internal),
                again.get(name),
                groups_before.get(name),
                taken_at_ms=self._taken_at_ms,
                again_at_ms=again_at_ms,
            )
            for name, group in self._groups.items()
        }
        self._step("second sample", 3, 3)

    def _tell_lag(self) -> None:
        if not self._options.with_records:
            return
        self._step("lag", 0, 1)
        reader = LagReader(self._admin, self._topics, cancelled=self._cancelled)
        late = reader.late_by(self._groups, lambda done, total: self._step("lag", done, total))
        self._groups = {name: replace(group, lag_seconds=late[name]) for name, group in self._groups.items()}
        self._step("lag", 1, 1)

    def _note_silence(self, scanner: TopicScanner) -> None:
        for broker, words in sorted(scanner.silent.items()):
            count = scanner.led_by(broker)
            self._notes.append(
                f"Broker {broker} does not answer: the offsets of {count} partitions that it leads are not known "
                f"({words.rstrip('.')})."
            )
        count = scanner.led_by(-1)
        if count:
            self._notes.append(f"{count} partitions have no leader: their offsets are not known.")

    def _so_far(self, *, complete: bool) -> Scan:
        around = self._around
        topics = with_transactions((with_size(topic, around.sizes) for topic in self._topics.values()), around)
        facts = self._facts
        if facts is None:
            raise KferryError("Nothing is known of the cluster yet.")
        capabilities = {**facts.capabilities, **self._capabilities, **around.capabilities}
        return Scan(
            scan_id=self._scan_id,
            taken_at_ms=self._taken_at_ms,
            cluster=replace(facts, capabilities=capabilities),
            topics=tuple(sorted(topics, key=lambda topic: topic.name)),
            groups=tuple(self._groups[group_id] for group_id in sorted(self._groups)),
            transactional_ids=around.transactional_ids,
            producers=around.producers,
            hanging_transactions=around.hanging,
            access=around.access,
            complete=complete,
            notes=tuple(self._notes + around.notes),
        )

    def _partial(self) -> None:
        self._on_partial(lambda: self._so_far(complete=False))

    def _step(self, what: str, done: int, total: int) -> None:
        self._raise_if_cancelled()
        self._on_progress(what, done, total)

    def _raise_if_cancelled(self) -> None:
        if self._cancelled():
            raise KferryError("The scan was cancelled.", next_step="Go on with it: kferry scan --resume.")


def _with_ends(
    topic: Topic,
    end: Mapping[TopicPartition, int],
    stable: Mapping[TopicPartition, int],
    seconds: float | None,
) -> Topic:
    """The topic with its newest offsets. One that was written to between the samples is not idle, whatever its
    timestamps say; `seconds` None leaves its rate as it is.
    """
    parts, written, is_whole = [], 0, True
    for part in topic.partitions:
        tp = TopicPartition(topic.name, part.partition)
        if tp in end and tp in stable:
            written += max(0, end[tp] - (part.end_offset or 0))
            parts.append(PartitionOffsets(part.partition, part.log_start_offset, end[tp], stable[tp]))
        else:
            is_whole = False
            parts.append(part)
    rate = topic.records_per_second
    if is_whole and written and seconds and not rate:
        rate = written / seconds
    return replace(topic, partitions=tuple(parts), records_per_second=rate)
