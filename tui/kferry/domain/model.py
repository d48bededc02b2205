"""The nouns of a migration, as frozen dataclasses.

Units are in the names. `None` always means "unknown": never 0, never ok. Names, ids, config values and metadata come
from clusters and are data: they may hold any character.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kferry.domain.access import Access


class Role(StrEnum):
    """Which end of the migration a cluster is."""

    SOURCE = "source"
    TARGET = "target"


class ClusterKind(StrEnum):
    """The kinds of cluster kferry knows by name."""

    APACHE_KAFKA = "apache_kafka"
    MSK = "msk"
    CONFLUENT = "confluent"
    ALIBABA = "alibaba"
    TENCENT = "tencent"
    AUTOMQ = "automq"
    OTHER = "other"


class Capability(StrEnum):
    """Whether one question can be asked of a cluster."""

    SUPPORTED = "supported"
    DENIED = "denied"
    UNSUPPORTED = "unsupported"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TlsNameWaiver:
    """The operator's decision that certificates of a cluster need not carry its host names, until a day (UTC) ends."""

    until: str  # as written: 2026-12-31
    until_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """How to reach one cluster, as written in clusters.yml.

    Secrets are references (`env:NAME`, `file:/path`, `command:...`), resolved only at use. `extra` holds librdkafka
    settings the operator added by hand; it never holds a secret. `aws_role_arn` may hold `{task}`: the name of the
    migration task whose workers take on the role. The admin's account is used for granting rights and nothing else.
    """

    role: Role
    kind: ClusterKind
    bootstrap_servers: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = None
    ssl_ca: str | None = None
    ssl_certificate: str | None = None
    ssl_key: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    tls_name_waiver: TlsNameWaiver | None = None
    aws_role_arn: str | None = None
    aws_region: str | None = None
    admin_username: str | None = None
    admin_password: str | None = None


@dataclass(frozen=True, slots=True)
class Broker:
    """One advertised broker."""

    broker_id: int
    host: str
    port: int
    rack: str | None = None


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What a cluster said of itself. `kafka_version` is a lower bound read from its features, e.g. "3.9"."""

    role: Role
    cluster_id: str | None
    kafka_version: str | None
    controller_id: int | None
    brokers: tuple[Broker, ...]
    broker_configs: Mapping[str, str] = field(default_factory=dict)
    capabilities: Mapping[str, Capability] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, order=True)
class TopicPartition:
    """One partition of one topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """The offsets of one partition: log start, end (high watermark) and last stable offset (LSO)."""

    partition: int
    log_start_offset: int | None
    end_offset: int | None
    last_stable_offset: int | None = None


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as scanned.

    `configs` are those set on the topic itself; `effective` also holds the broker defaults of the keys that matter
    (retention.ms, retention.bytes, cleanup.policy, max.message.bytes, message.timestamp.type, min.insync.replicas).
    `first_timestamp_ms` and `last_timestamp_ms` are of `sampled_partitions` partitions, the fullest ones: where that is
    not all of them (None: it is not known how many), there may be older records, and newer ones.
    """

    name: str
    topic_id: str | None
    replication_factor: int | None
    partitions: tuple[PartitionOffsets, ...]
    configs: Mapping[str, str] = field(default_factory=dict)
    effective: Mapping[str, str] = field(default_factory=dict)
    is_internal: bool = False
    first_timestamp_ms: int | None = None
    last_timestamp_ms: int | None = None
    sampled_partitions: int | None = None
    quiet_since_ms: int | None = None  # no partition holds a record of then or later; None: unknown, or one does
    grew_at_ms: int | None = None  # when scans last found records that were not there at a look before
    mean_record_bytes: float | None = None
    records_per_second: float | None = None
    has_transactions: bool | None = None
    size_bytes: int | None = None  # on the disks of one replica each, as the brokers say it
    error: str | None = None

    @property
    def partition_count(self) -> int:
        return len(self.partitions)

    @property
    def record_span(self) -> int | None:
        """End minus log start, summed: an upper bound of the records (compaction and transactions leave holes)."""
        total = 0
        for part in self.partitions:
            if part.end_offset is None or part.log_start_offset is None:
                return None
            total += part.end_offset - part.log_start_offset
        return total

    @property
    def ages_are_whole(self) -> bool:
        """Whether the first and last timestamp are those of all partitions."""
        return self.sampled_partitions == self.partition_count

    @property
    def is_compacted(self) -> bool:
        return "compact" in self.effective.get("cleanup.policy", self.configs.get("cleanup.policy", ""))


class GroupState(StrEnum):
    """The state of a consumer group as its coordinator says it."""

    STABLE = "Stable"
    EMPTY = "Empty"
    DEAD = "Dead"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    UNKNOWN = "Unknown"


class GroupKind(StrEnum):
    """What kind of application is behind a group, as far as its id and protocol tell."""

    PLAIN = "plain"
    CONNECT = "connect"
    STREAMS = "streams"
    SIMPLE = "simple"
    CONSUMER = "consumer"  # the protocol of KIP-848
    SHARE = "share"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class GroupMember:
    """One member of a group."""

    member_id: str
    client_id: str
    host: str
    group_instance_id: str | None = None
    assignment: tuple[TopicPartition, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class CommittedOffset:
    """Where a group continues in one partition: the offset of the next record it will read."""

    topic: str
    partition: int
    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group as scanned."""

    group_id: str
    state: GroupState
    kind: GroupKind
    members: tuple[GroupMember, ...] = ()
    committed: tuple[CommittedOffset, ...] = ()
    partition_assignor: str | None = None
    lag_seconds: float | None = None
    last_moved_at_ms: int | None = None  # when a scan last saw its committed offsets differ from the scan before
    error: str | None = None

    @property
    def topics(self) -> frozenset[str]:
        """Topics the group has committed in or is assigned to."""
        assigned = {tp.topic for member in self.members for tp in member.assignment}
        return frozenset({commit.topic for commit in self.committed} | assigned)


@dataclass(frozen=True, slots=True)
class TransactionalId:
    """A transactional id and the topics it was seen to write."""

    transactional_id: str
    topics: frozenset[str]
    state: str | None = None


@dataclass(frozen=True, slots=True)
class ActiveProducer:
    """A producer that a partition's leader knows: idempotent ones only, older clients leave no trace."""

    topic: str
    partition: int
    producer_id: int
    last_timestamp_ms: int | None
    transaction_start_offset: int | None = None


@dataclass(frozen=True, slots=True)
class HangingTransaction:
    """A transaction that nobody will end: the last stable offset stays below it for good."""

    topic: str
    partition: int
    producer_id: int
    start_offset: int | None
    age_seconds: float | None


@dataclass(frozen=True, slots=True)
class Scan:
    """A snapshot of one cluster.

    `transactional_ids`, `producers` and `hanging_transactions` are None where the cluster could not be asked; `notes`
    say why. A scan that is not `complete` was cancelled or cut off: what it holds is true, what it lacks is unknown.
    """

    scan_id: str
    taken_at_ms: int
    cluster: ClusterFacts
    topics: tuple[Topic, ...]
    groups: tuple[Group, ...]
    transactional_ids: tuple[TransactionalId, ...] | None = None
    producers: tuple[ActiveProducer, ...] | None = None
    hanging_transactions: tuple[HangingTransaction, ...] | None = None
    access: Access = field(default_factory=Access)
    complete: bool = True
    notes: tuple[str, ...] = ()

    def topic(self, name: str) -> Topic | None:
        return next((topic for topic in self.topics if topic.name == name), None)

    def group(self, group_id: str) -> Group | None:
        return next((group for group in self.groups if group.group_id == group_id), None)


class Severity(StrEnum):
    """`block` stops; `warn` and `unknown` stop until waived; `info` does not stop."""

    BLOCK = "block"
    WARN = "warn"
    UNKNOWN = "unknown"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of preflight. `finding_id` is stable over runs: `<check>:<subject>`."""

    check: str
    severity: Severity
    subject: str
    title: str
    evidence: str
    fix: str
    family: str = ""
    why: str = ""  # why it matters, in one sentence
    fixable: bool = False  # kferry can write a plan that closes it: intent `fix_findings`
    content: tuple[str, ...] = ()  # a hash of each name it is about, where its subject stands for many

    @property
    def finding_id(self) -> str:
        return f"{self.check}:{self.subject}"


@dataclass(frozen=True, slots=True)
class Waiver:
    """The operator's decision to go on despite a finding."""

    finding_id: str
    who: str
    why: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class WorkerHost:
    """A machine that can carry workers, as measured on it. None = not measured.

    `usable` and `reasons` are the verdict of the fleet check on a remote machine.
    """

    name: str
    address: str
    is_local: bool
    memory_bytes: int | None = None
    free_disk_bytes: int | None = None
    java_version: str | None = None
    busy_ports: tuple[int, ...] = ()
    usable: bool | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Topics and groups planned to move together. `why` says why they belong together and why at this place.

    A pinned batch is changed by the operator only; the canary is the batch proposed to move first, as a rehearsal.
    `warnings` come of the classes of its applications; `estimate` sums up size and time in one sentence.
    """

    name: str
    topics: tuple[str, ...]
    groups: tuple[str, ...]
    risk: float = 0.0
    why: tuple[str, ...] = ()
    note: str = ""
    pinned: bool = False
    canary: bool = False
    warnings: tuple[str, ...] = ()
    estimate: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The batches in the order in which they move, and what was left out with the reason."""

    scan_id: str
    batches: tuple[Batch, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def batch(self, name: str) -> Batch | None:
        return next((batch for batch in self.batches if batch.name == name), None)


class TaskState(StrEnum):
    """The seven states of a migration task, as AutoMQ names them."""

    CREATING = "Creating"
    RUNNING = "Running"
    MODIFYING = "Modifying"
    SERVICE_EXCEPTION = "Service Exception"
    PAUSED = "Paused"
    DELETING = "Deleting"
    DELETED = "Deleted"


class BatchPhase(StrEnum):
    """How far a batch has come."""

    PLANNED = "planned"
    REPLICATING = "replicating"
    SWITCHING = "switching"
    SWITCHED = "switched"
    ROLLED_BACK = "rolled back"
    FINISHED = "finished"


class Desired(StrEnum):
    """What the operator wants of a migration task's connectors."""

    RUNNING = "running"
    STOPPED = "stopped"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One Connect worker of one task on one host."""

    name: str
    host: str
    rest_host: str
    rest_port: int
    heap_bytes: int
    metrics_port: int = 0  # 0 = no exporter of metrics

    @property
    def rest_url(self) -> str:
        return f"http://{self.rest_host}:{self.rest_port}"


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What a migration task should be; written to tasks/<task>.json together with the rendered configs.

    `incarnation` makes aliases fresh: a task that is deleted and created again never reuses old offset syncs.
    `frozen_groups` are no longer synced by MirrorCheckpoint: the cutover owns their offsets.
    `is_remote` tasks run under systemd on machines reached over SSH; `leaving` workers are being removed.
    """

    name: str
    migration_id: str
    batch: str
    incarnation: int
    topics: tuple[str, ...]
    groups: tuple[str, ...]
    workers: tuple[WorkerSpec, ...]
    connector_tasks_max: int
    desired: Desired = Desired.RUNNING
    frozen_groups: tuple[str, ...] = ()
    source_stopped: bool = False
    max_record_bytes: int = 1_048_588
    is_remote: bool = False
    leaving: tuple[WorkerSpec, ...] = ()

    @property
    def prefix(self) -> str:
        """Prefix of every name this task makes in a cluster; carries migration id, task and incarnation."""
        return f"kferry-{self.migration_id}-{self.name}-{self.incarnation}"

    @property
    def source_alias(self) -> str:
        return f"{self.prefix}-src"

    @property
    def target_alias(self) -> str:
        return f"{self.prefix}-dst"

    @property
    def source_connector(self) -> str:
        return f"{self.prefix}-source"

    @property
    def checkpoint_connector(self) -> str:
        return f"{self.prefix}-checkpoint"

    @property
    def heartbeat_connector(self) -> str:
        return f"{self.prefix}-heartbeat"

    @property
    def offset_syncs_topic(self) -> str:
        """Named by MirrorMaker from the *other* cluster's alias: syncs kept on the target carry the source's."""
        return f"mm2-offset-syncs.{self.source_alias}.internal"

    @property
    def checkpoints_topic(self) -> str:
        return f"{self.source_alias}.checkpoints.internal"

    @property
    def connect_topics(self) -> tuple[str, str, str]:
        return (f"{self.prefix}-configs", f"{self.prefix}-offsets", f"{self.prefix}-status")


class ChangeStatus(StrEnum):
    """Where one entry of the change ledger stands."""

    APPLIED = "applied"
    UNDONE = "undone"
    KEPT = "kept"  # released on purpose: no longer to be undone


@dataclass(frozen=True, slots=True)
class Change:
    """One change made to a cluster or host: what it was, what it became, how it is undone.

    `before` and `after` are JSON-ready; `before` None means that the thing did not exist.
    `undo` is an action name with arguments, understood by the engine's ledger.
    """

    scope: Role
    resource: str  # "topic", "topic_config", "group_offset", ...
    name: str
    key: str
    before: str | None
    after: str | None
    undo: Mapping[str, object]
    reason: str
