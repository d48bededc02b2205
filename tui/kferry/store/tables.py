"""The tables of the journal. Only the engine writes them (faces insert intents); only Alembic changes them.

All `*_at_ms` are epoch milliseconds in UTC; columns named `body`, `args`, `payload`, `evidence`, `error`, `result`,
`undo` hold JSON text.
"""

from __future__ import annotations

from sqlalchemy import MetaData
from sqlmodel import Field, SQLModel

SQLModel.metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Meta(SQLModel, table=True):
    """Facts about the journal itself and the engine's heartbeat."""

    key: str = Field(primary_key=True)
    value: str


class Intent(SQLModel, table=True):
    """A wish of the operator. `expects` is the plan hash or revision it was made on."""

    id: str = Field(primary_key=True)
    kind: str
    args: str
    who: str
    created_at_ms: int
    expires_at_ms: int
    expects: str | None = None
    status: str = Field(default="waiting", index=True)
    reason: str = ""
    operation_id: str | None = None
    result: str = "{}"


class OperationRow(SQLModel, table=True):
    __tablename__ = "operation"
    id: str = Field(primary_key=True)
    kind: str
    subject: str = Field(index=True)
    args: str
    status: str = Field(index=True)
    created_at_ms: int
    updated_at_ms: int
    error: str | None = None


class StepRow(SQLModel, table=True):
    __tablename__ = "step"
    operation_id: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    position: int
    status: str
    attempt: int = 0
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    evidence: str = "{}"
    error: str | None = None


class EventRow(SQLModel, table=True):
    """Append-only; each row's hash covers its content and the hash before it."""

    __tablename__ = "event"
    seq: int | None = Field(default=None, primary_key=True)
    at_ms: int
    kind: str = Field(index=True)
    subject: str = ""
    operation_id: str | None = Field(default=None, index=True)
    payload: str = "{}"
    prev_hash: str
    hash: str


class Document(SQLModel, table=True):
    """The newest of something measured or computed: a scan, findings, an observation, a certificate."""

    kind: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    at_ms: int
    body: str


class TaskRow(SQLModel, table=True):
    """A migration task: `spec` is the TaskSpec as JSON; `state` is derived and rewritten at each observation."""

    __tablename__ = "task"
    name: str = Field(primary_key=True)
    batch: str = Field(index=True)
    incarnation: int
    spec: str
    state: str
    state_reason: str = ""
    created_at_ms: int
    updated_at_ms: int


class BatchRow(SQLModel, table=True):
    __tablename__ = "batch"
    name: str = Field(primary_key=True)
    phase: str
    task: str | None = None
    certificate: str | None = None
    updated_at_ms: int


class WaiverRow(SQLModel, table=True):
    """`content` is what the finding was about when it was waived (`Finding.content` as JSON); null: not kept then."""

    __tablename__ = "waiver"
    finding_id: str = Field(primary_key=True)
    who: str
    why: str
    at_ms: int
    until_ms: int
    content: str | None = None


class ChangeRow(SQLModel, table=True):
    """The change ledger. `undo` is null where there is nothing that can be undone."""

    __tablename__ = "change"
    id: int | None = Field(default=None, primary_key=True)
    at_ms: int
    scope: str
    resource: str
    name: str
    key: str = ""
    before: str | None = None
    after: str | None = None
    undo: str | None = None
    reason: str = ""
    status: str = "applied"
    operation_id: str | None = Field(default=None, index=True)


class AnchorRow(SQLModel, table=True):
    """A pair of offsets known to belong together. kind: base (start of the copy) or located (found by reading)."""

    __tablename__ = "anchor"
    task: str = Field(primary_key=True)
    incarnation: int = Field(primary_key=True)
    topic: str = Field(primary_key=True)
    partition: int = Field(primary_key=True)
    source_offset: int = Field(primary_key=True)
    target_offset: int
    kind: str
    at_ms: int


class Sample(SQLModel, table=True):
    """One point of a task's history; thinned out as it ages, outside the chain."""

    task: str = Field(primary_key=True)
    at_ms: int = Field(primary_key=True)
    lag_records: int | None = None
    records_per_second: float | None = None
    bytes_per_second: float | None = None
    ingress_records_per_second: float | None = None


class RunRow(SQLModel, table=True):
    """One play and where its files are. status: running, successful, failed, lost."""

    __tablename__ = "run"
    run_id: str = Field(primary_key=True)
    playbook: str
    operation_id: str | None = Field(default=None, index=True)
    step: str = ""
    status: str
    directory: str
    started_at_ms: int
    finished_at_ms: int | None = None
    changed_count: int | None = None
    failed_count: int | None = None


class RunEventRow(SQLModel, table=True):
    __tablename__ = "run_event"
    run_id: str = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    at_ms: int
    kind: str
    play: str = ""
    role: str = ""
    step: str = ""
    host: str = ""
    message: str = ""
    diff: str = ""
