"""What the faces read: flat, frozen rows of the journal. Every `*_at_ms` is epoch milliseconds, UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class EngineView:
    """Whether the engine lives. `alive` is the flock; the heartbeat only finds a hanging one."""

    alive: bool
    pid: int | None
    started_at_ms: int | None
    heartbeat_at_ms: int | None
    kferry_version: str | None
    schema_revision: str | None
    log: str


@dataclass(frozen=True, slots=True)
class IntentView:
    """A wish sent to the engine. status: accepted, refused, done, failed (or "waiting" before it was seen)."""

    intent_id: str
    kind: str
    args: Mapping[str, Any]
    who: str
    created_at_ms: int
    expires_at_ms: int
    status: str
    reason: str
    operation_id: str | None
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of an operation, with the runbook's words."""

    name: str
    kind: str
    title: str
    gate: str
    way_back: str
    hook: str
    irreversible: bool
    status: str
    attempt: int
    started_at_ms: int | None
    finished_at_ms: int | None
    evidence: Mapping[str, Any]
    error: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class OperationView:
    """An operation with its steps. `run_ids` are the plays it started."""

    operation_id: str
    kind: str
    title: str
    subject: str
    args: Mapping[str, Any]
    status: str
    created_at_ms: int
    updated_at_ms: int
    steps: tuple[StepView, ...]
    error: Mapping[str, str] | None
    run_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartitionView:
    """Progress of one partition. None = unknown."""

    topic: str
    partition: int
    log_start_offset: int | None
    end_offset: int | None
    last_stable_offset: int | None
    copied_offset: int | None
    lag_records: int | None
    target_end_offset: int | None
    alarm: str = ""


@dataclass(frozen=True, slots=True)
class ConnectorView:
    """A connector as Connect says it. `tasks` are (id, state, worker, trace)."""

    name: str
    role: str  # source, checkpoint, heartbeat
    state: str
    worker: str
    trace: str
    tasks: tuple[tuple[int, str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker of a task. None = not known. `heap_bytes` is what it was given, the other heap figures are measured."""

    name: str
    host: str
    rest_url: str
    alive: bool | None
    version: str | None
    heap_bytes: int
    heap_used_bytes: int | None = None
    heap_max_bytes: int | None = None
    cpu_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class NewcomerView:
    """Something that appeared, grew or vanished on the source since the plan; `words` is the whole of it in a sentence.

    `how` says by what it has its batch: pattern, planner, plan, nowhere.
    """

    kind: str  # topic, group, partitions, gone
    name: str
    batch: str
    how: str
    joins: bool
    blocks: bool
    why: str
    words: str
    partitions: int | None = None
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewcomersView:
    """The newest look for newcomers: what it found, when (None: never), and why it failed, where it did."""

    items: tuple[NewcomerView, ...] = ()
    looked_at_ms: int | None = None
    note: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RunbookView:
    """The runbook that a cutover of a batch would choose now: its variant ("" = not known yet), why, and warnings."""

    variant: str = ""
    words: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskView:
    """A migration task: what it should be, its derived state, and the figures with their age.

    `eta_seconds` is None while unknown; `eta_text` is the sentence to show ("never at this rate" where so).
    """

    name: str
    batch: str
    desired: str
    state: str
    state_reason: str
    phase: str
    topics: tuple[str, ...]
    groups: tuple[str, ...]
    frozen_groups: tuple[str, ...]
    workers: tuple[WorkerView, ...]
    connectors: tuple[ConnectorView, ...]
    lag_records: int | None
    records_per_second: float | None
    bytes_per_second: float | None
    ingress_records_per_second: float | None
    done_ratio: float | None
    eta_seconds: float | None
    eta_text: str
    seconds_since_data_moved: float | None
    measured_at_ms: int | None
    alarms: tuple[str, ...]
    operation_id: str | None
    newcomers: NewcomersView = NewcomersView()


@dataclass(frozen=True, slots=True)
class SampleView:
    """One point of a task's history."""

    at_ms: int
    lag_records: int | None
    records_per_second: float | None
    bytes_per_second: float | None
    ingress_records_per_second: float | None


@dataclass(frozen=True, slots=True)
class EventView:
    """One link of the hash-chained journal."""

    seq: int
    at_ms: int
    kind: str
    subject: str
    operation_id: str | None
    payload: Mapping[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class RunView:
    """One play. status: running, successful, failed, lost."""

    run_id: str
    playbook: str
    operation_id: str | None
    step: str
    status: str
    started_at_ms: int
    finished_at_ms: int | None
    changed_count: int | None
    failed_count: int | None
    log: str


@dataclass(frozen=True, slots=True)
class RunStepView:
    """One event of a play. kind: play, step, ok, changed, failed, skipped, unreachable, retry, stats."""

    seq: int
    at_ms: int
    kind: str
    play: str
    role: str
    step: str
    host: str
    message: str
    diff: str = ""


@dataclass(frozen=True, slots=True)
class ChangeView:
    """One entry of the change ledger."""

    change_id: int
    at_ms: int
    scope: str
    resource: str
    name: str
    key: str
    before: str | None
    after: str | None
    reason: str
    status: str
    operation_id: str | None
    can_undo: bool


@dataclass(frozen=True, slots=True)
class FindingView:
    """One finding of the last preflight. `waived_*` are set where the operator waived it and the waiver holds.

    `outgrown` says why a waiver no longer holds: the finding is about more than was waived. `waived_words` is what has
    to be known of one that does hold.
    """

    finding_id: str
    check: str
    severity: str
    subject: str
    title: str
    evidence: str
    fix: str
    family: str = ""
    why: str = ""
    fixable: bool = False
    waived_by: str | None = None
    waived_why: str | None = None
    waived_until_ms: int | None = None
    content: Sequence[str] = ()
    outgrown: str = ""
    waived_words: str = ""

    @property
    def stops(self) -> bool:
        """Whether this finding still stops the migration."""
        return self.severity == "block" or (self.severity in ("warn", "unknown") and self.waived_by is None)


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One cluster: how it is configured (secrets as references) and what the last check said."""

    role: str
    kind: str
    bootstrap_servers: str
    security_protocol: str
    checked_at_ms: int | None
    reachable: bool | None
    kafka_version: str | None
    cluster_id: str | None
    broker_count: int | None
    lines: tuple[tuple[str, str, str, float | None], ...] = ()  # (what, ok|warn|failed|unknown|skipped, words, seconds)
    error: Mapping[str, str] | None = None
    capabilities: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # name: state, words, grant


@dataclass(frozen=True, slots=True)
class BatchView:
    """One batch of the plan with its phase and its task, if it has one."""

    name: str
    position: int
    topics: tuple[str, ...]
    groups: tuple[str, ...]
    risk: float
    why: tuple[str, ...]
    note: str
    phase: str
    task: str | None
    certificate: str | None


@dataclass(frozen=True, slots=True)
class PlanView:
    """The plan as it stands in plan.yml. `error` is set where the file cannot be read."""

    revision: str
    batches: tuple[BatchView, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    error: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class PhaseView:
    """One phase of the rail. state: todo, active, attention, done. `next_action` is an action id, or ""."""

    name: str
    state: str
    words: str
    next_action: str
    next_words: str
