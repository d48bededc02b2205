"""Topics, some hundred at a time: each that comes out has been asked everything a scan asks of topics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from confluent_kafka import KafkaError
from confluent_kafka.admin import TopicMetadata

from kferry.domain.clean_up import IDLE_AFTER_MS
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import PartitionOffsets, Topic, TopicPartition
from kferry.kafka import causes, configs, offsets
from kferry.kafka.admin import ClusterAdmin
from kferry.kafka.offsets import FirstRecord, Which
from kferry.kafka.sample import MAX_PARTITIONS_PER_TOPIC, TopicSample, sample_topics
from kferry.kafka.topic_ids import TopicSight, topic_sights
from kferry.kafka.topics import is_internal_name, topic_of

_TOPICS_PER_CHUNK = 200
_PARTITIONS_PER_CHUNK = 2000
_CALL_SECONDS = 15.0
_SAMPLE_SECONDS = 30.0
_RATE_WINDOW_MS = 3_600_000
# In a big cluster fewer partitions of each topic are looked into.
_SAMPLED_PARTITIONS = 20_000
_NO_LEADER = -1
_UNLED = {KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION}
_Firsts = Mapping[TopicPartition, FirstRecord | None]
_NOT_READABLE = "records: TOPIC_AUTHORIZATION_FAILED: READ is missing"


class TopicScanner:
    """Scans topics of one cluster, and remembers which brokers did not answer, so that each is waited for once."""

    def __init__(
        self,
        admin: ClusterAdmin,
        known: Mapping[str, TopicMetadata],
        *,
        brokers: Iterable[int],
        taken_at_ms: int,
        with_records: bool = True,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.silent: dict[int, str] = {}  # brokers that lead partitions and don't answer, with what was heard
        self._admin = admin
        self._known = known
        self._brokers = frozenset(brokers)
        self._taken_at_ms = taken_at_ms
        self._with_records = with_records
        self._cancelled = cancelled
        sampled = sum(1 for name in known if not is_internal_name(name))
        self._sampled_per_topic = max(1, min(MAX_PARTITIONS_PER_TOPIC, _SAMPLED_PARTITIONS // max(1, sampled)))

    def chunks(self, names: Iterable[str]) -> Iterator[list[str]]:
        """The names in portions that take about equally long."""
        chunk: list[str] = []
        partitions = 0
        for name in names:
            count = len(self._known[name].partitions)
            if chunk and (len(chunk) >= _TOPICS_PER_CHUNK or partitions + count > _PARTITIONS_PER_CHUNK):
                yield chunk
                chunk, partitions = [], 0
            chunk.append(name)
            partitions += count
        if chunk:
            yield chunk

    def leader_of(self, tp: TopicPartition) -> int:
        """The broker that leads a partition; -1 where none does."""
        found = self._known[tp.topic].partitions.get(tp.partition)
        return found.leader if found is not None else _NO_LEADER

    def knows(self, name: str) -> bool:
        return name in self._known

    def led_by(self, broker: int) -> int:
        """How many partitions a broker leads; of -1: how many nobody leads."""
        return sum(1 for item in self._known.values() for part in item.partitions.values() if part.leader == broker)

    def unled_partitions(self, name: str) -> int:
        """How many partitions of a topic have no leader; 0 where there is no such topic."""
        if name not in self._known:
            return 0
        return sum(1 for part in self._known[name].partitions.values() if part.leader == _NO_LEADER)

    def partitions_of(self, name: str) -> list[TopicPartition]:
        return [TopicPartition(name, number) for number in sorted(self._known[name].partitions)]

    def scan(self, names: list[str]) -> dict[str, Topic]:
        """Everything about these topics. What can't be told of one stands in its `error`."""
        tps = [tp for name in names for tp in self.partitions_of(name)]
        start, end, stable = (self.ends(tps, which) for which in ("start", "end", "stable"))
        described, config_errors = self._configs(names)
        sights = self._sights(names)
        found = {
            name: self._described(
                topic_of(
                    self._known[name],
                    tuple(
                        PartitionOffsets(tp.partition, start.get(tp), end.get(tp), stable.get(tp))
                        for tp in self.partitions_of(name)
                    ),
                    described.get(name, {}),
                    config_errors.get(name),
                    sights.get(name, TopicSight()).topic_id,
                )
            )
            for name in names
        }
        found = self._rated(found)
        return self._sampled(found, sights) if self._with_records else found

    def ends(self, tps: Iterable[TopicPartition], which: Which) -> dict[TopicPartition, int]:
        """One offset of each partition whose leader answers."""
        askable = [tp for tp in tps if self._can_ask(tp)]
        if not askable:
            return {}
        errors: dict[TopicPartition, KafkaError] = {}
        try:
            found, errors = offsets.offsets_or_why(
                self._admin.connection, askable, which, timeout_seconds=_CALL_SECONDS
            )
        except KferryError as error:
            self._raise_if_over(error)
            found = {}
            for broker in {self.leader_of(tp) for tp in askable}:
                self.silent[broker] = error.cause or error.title
            if self._brokers <= self.silent.keys():
                raise
        answered = {self.leader_of(tp) for tp in found}
        for tp, problem in errors.items():
            if self.leader_of(tp) not in answered and _is_silence(problem):
                self.silent.setdefault(self.leader_of(tp), causes.error_words(problem))
        return found

    def _can_ask(self, tp: TopicPartition) -> bool:
        leader = self.leader_of(tp)
        return leader != _NO_LEADER and leader not in self.silent

    def _described(self, topic: Topic) -> Topic:
        """Says why partitions are blind, where it is known."""
        tps = [TopicPartition(topic.name, part.partition) for part in topic.partitions]
        leaderless = sum(1 for tp in tps if self.leader_of(tp) == _NO_LEADER)
        unheard = sorted({self.leader_of(tp) for tp in tps} & self.silent.keys())
        words = [f"{leaderless} of {len(tps)} partitions have no leader"] if leaderless else []
        words += [f"broker {broker}, which leads some of it, does not answer" for broker in unheard]
        return replace(topic, error="; ".join(filter(None, [topic.error, *words])) or None)

    def _configs(self, names: list[str]) -> tuple[dict[str, dict[str, configs.ConfigValue]], dict[str, KafkaError]]:
        try:
            return configs.topic_configs(self._admin.connection, names, timeout_seconds=_CALL_SECONDS)
        except KferryError as error:
            self._raise_if_over(error)
            unknown = KafkaError(KafkaError._TIMED_OUT, error.cause or error.title)
            return {}, dict.fromkeys(names, unknown)

    def _sights(self, names: list[str]) -> dict[str, TopicSight]:
        try:
            return topic_sights(self._admin.connection, names, timeout_seconds=_CALL_SECONDS)
        except KferryError as error:
            self._raise_if_over(error)
            return {}

    def _rated(self, topics: Mapping[str, Topic]) -> dict[str, Topic]:
        """Adds the mean rate of the last hour, and whether all partitions were quiet for as long as unused topics are.

        `_with_sample` corrects the rate for topics that are younger. Only what was still for an hour is asked twice.
        """
        ordinary = [topic for topic in topics.values() if not topic.is_internal]
        hour = self._first_since(ordinary, self._taken_at_ms - _RATE_WINDOW_MS)
        rates = {topic.name: _rate(topic, hour, _RATE_WINDOW_MS / 1000) for topic in ordinary}
        quiet_ms = self._taken_at_ms - IDLE_AFTER_MS
        later = self._first_since((topic for topic in ordinary if not rates[topic.name]), quiet_ms)
        return {
            name: replace(
                topic,
                records_per_second=rates.get(name),
                quiet_since_ms=quiet_ms if _holds_none(topic, later) else None,
                last_timestamp_ms=_newest_ms(topic, hour, later),
            )
            for name, topic in topics.items()
        }

    def _first_since(self, topics: Iterable[Topic], since_ms: int) -> _Firsts:
        """The first record since then in each partition whose leader answers."""
        tps = [TopicPartition(topic.name, part.partition) for topic in topics for part in topic.partitions]
        askable = [tp for tp in tps if self._can_ask(tp)]
        try:
            return offsets.first_since(self._admin.connection, askable, since_ms, timeout_seconds=_CALL_SECONDS)
        except KferryError as error:
            self._raise_if_over(error)
            return {}

    def _sampled(self, topics: dict[str, Topic], sights: Mapping[str, TopicSight]) -> dict[str, Topic]:
        wanted, result = [], dict(topics)
        for name, topic in topics.items():
            if topic.is_internal:
                continue
            if sights.get(name, TopicSight()).allows("READ") is False:
                result[name] = replace(topic, error="; ".join(filter(None, [topic.error, _NOT_READABLE])))
            else:
                wanted.append(topic)
        samples = sample_topics(
            self._admin.config,
            wanted,
            deadline_seconds=_SAMPLE_SECONDS,
            max_partitions_per_topic=self._sampled_per_topic,
            leader_of=self.leader_of,
            cancelled=self._cancelled,
        )
        for name, sample in samples.items():
            result[name] = _with_sample(topics[name], sample, self._taken_at_ms)
        return result

    def _raise_if_over(self, error: KferryError) -> None:
        if self._cancelled():
            raise error
        if error.kind is not ErrorKind.CONNECT:
            raise error


def _is_silence(error: KafkaError) -> bool:
    return causes.is_transport(error) or error.code() in _UNLED


def _rate(topic: Topic, since: _Firsts, seconds: float) -> float | None:
    written = 0
    for part in topic.partitions:
        tp = TopicPartition(topic.name, part.partition)
        if tp not in since or part.end_offset is None:
            return None
        first = since[tp]
        written += max(0, part.end_offset - first.offset) if first is not None else 0
    return written / seconds if topic.partitions else None


def _holds_none(topic: Topic, since: _Firsts) -> bool:
    """Whether each partition has told that it holds no record since then."""
    tps = [TopicPartition(topic.name, part.partition) for part in topic.partitions]
    return bool(tps) and all(tp in since and since[tp] is None for tp in tps)


def _newest_ms(topic: Topic, *sinces: _Firsts) -> int | None:
    """The newest record that was met while looking for the first ones; there may be newer ones behind it."""
    met = [since.get(TopicPartition(topic.name, part.partition)) for since in sinces for part in topic.partitions]
    return max((first.timestamp_ms for first in met if first is not None), default=None)


def _with_sample(topic: Topic, sample: TopicSample, taken_at_ms: int) -> Topic:
    rate, first_ms = topic.records_per_second, sample.first_timestamp_ms
    if rate and first_ms is not None:
        lived_ms = taken_at_ms - first_ms
        if lived_ms < _RATE_WINDOW_MS:
            # younger than the window: its mean is over its life, which may be too short to say
            rate = rate * _RATE_WINDOW_MS / lived_ms if lived_ms >= 1000 else None
    return replace(
        topic,
        records_per_second=rate,
        first_timestamp_ms=first_ms,
        last_timestamp_ms=max(filter(None, (topic.last_timestamp_ms, sample.last_timestamp_ms)), default=None),
        sampled_partitions=sample.partitions,
        mean_record_bytes=sample.mean_record_bytes,
        has_transactions=sample.has_transactions,
        error="; ".join(filter(None, [topic.error, f"records: {sample.error}" if sample.error else None])) or None,
    )


def with_growth(topic: Topic, earlier: Topic, before: Topic | None, *, before_at_ms: int, now_ms: int) -> Topic:
    """The topic with when it was last found to have grown: since an `earlier` look of this scan, or since the scan
    `before`, which knows of growth before it. Timestamps of records say less: producers choose them.

    Growth since a scan that is older than what is unused must be idle says nothing: it may be as old.
    """
    grew_at_ms = topic.grew_at_ms
    if before is not None and before.topic_id == topic.topic_id:
        grew_at_ms = max(filter(None, (grew_at_ms, before.grew_at_ms)), default=None)
        if now_ms - before_at_ms < IDLE_AFTER_MS and _has_grown(before, topic):
            grew_at_ms = now_ms
    if _has_grown(earlier, topic):
        grew_at_ms = now_ms
    return topic if grew_at_ms == topic.grew_at_ms else replace(topic, grew_at_ms=grew_at_ms)


def _has_grown(before: Topic, now: Topic) -> bool:
    ends = {part.partition: part.end_offset for part in before.partitions}
    for part in now.partitions:
        then = ends.get(part.partition, 0)  # a partition that was added was empty
        if then is not None and part.end_offset is not None and part.end_offset > then:
            return True
    return False
