"""Reading the journal, for the faces: stdlib sqlite3 only, every query fetches all rows at once.

An open cursor would freeze `PRAGMA data_version`, by which `Reader.version` notices that something was written.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kferry.domain.model import Scan
from kferry.store import row_views, views
from kferry.store.engine_lock import engine_holds_lock
from kferry.store.paths import Layout
from kferry.store.schema import HEAD


class Reader:
    """Read-only view of one migration's journal. Threads may share it."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @property
    def exists(self) -> bool:
        """Whether there is a journal to read at all."""
        return self.layout.journal.exists() and self.layout.journal.stat().st_size > 0

    def rows(self, sql: str, *args: Any) -> list[sqlite3.Row]:
        """All rows of a query; [] while there is no journal."""
        with self._lock:
            if self._connection is None:
                if not self.exists:
                    return []
                # not mode=ro: a reader of a WAL journal may have to make the -shm file
                self._connection = sqlite3.connect(
                    self.layout.journal, timeout=5, isolation_level=None, check_same_thread=False
                )
                self._connection.execute("pragma query_only=on")
                self._connection.row_factory = sqlite3.Row
            try:
                return self._connection.execute(sql, args).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def version(self) -> int:
        """A number that changes whenever another connection has written."""
        rows = self.rows("pragma data_version")
        return int(rows[0][0]) if rows else 0

    def schema_revision(self) -> str | None:
        rows = self.rows("select version_num from alembic_version")
        return str(rows[0][0]) if rows else None

    @property
    def is_newer(self) -> bool:
        """Whether the journal was written by a newer kferry than this one."""
        revision = self.schema_revision()
        return revision is not None and revision > HEAD

    # ---- engine and intents ---------------------------------------------------------------------------------------

    def engine(self) -> views.EngineView:
        meta = {row["key"]: row["value"] for row in self.rows("select key, value from meta")}

        def number(key: str) -> int | None:
            return int(meta[key]) if meta.get(key) else None

        return views.EngineView(
            alive=engine_holds_lock(self.layout.lock),
            pid=number("engine_pid"),
            started_at_ms=number("engine_started_at_ms"),
            heartbeat_at_ms=number("engine_heartbeat_at_ms"),
            kferry_version=meta.get("engine_version"),
            schema_revision=self.schema_revision(),
            log=str(self.layout.engine_log),
        )

    def intent(self, intent_id: str) -> views.IntentView | None:
        rows = self.rows("select * from intent where id=?", intent_id)
        return row_views.intent(rows[0]) if rows else None

    def intents(self, limit: int = 50) -> list[views.IntentView]:
        return [
            row_views.intent(row)
            for row in self.rows("select * from intent order by created_at_ms desc limit ?", limit)
        ]

    # ---- operations, runs, events -----------------------------------------------------------------------------------

    def operations(
        self, *, subject: str | None = None, kind: str | None = None, limit: int = 50
    ) -> list[views.OperationView]:
        """Operations, newest first."""
        rows = self.rows(
            "select * from operation where (? is null or subject=?) and (? is null or kind=?)"
            " order by created_at_ms desc limit ?",
            subject,
            subject,
            kind,
            kind,
            limit,
        )
        return [self._operation(row) for row in rows]

    def operation(self, operation_id: str) -> views.OperationView | None:
        rows = self.rows("select * from operation where id=?", operation_id)
        return self._operation(rows[0]) if rows else None

    def _operation(self, row: sqlite3.Row) -> views.OperationView:
        steps = self.rows("select * from step where operation_id=? order by position", row["id"])
        runs = self.rows("select run_id from run where operation_id=? order by started_at_ms", row["id"])
        return row_views.operation(row, steps, runs)

    def runs(self, limit: int = 50) -> list[views.RunView]:
        return [row_views.run(row) for row in self.rows("select * from run order by started_at_ms desc limit ?", limit)]

    def run(self, run_id: str) -> views.RunView | None:
        rows = self.rows("select * from run where run_id=?", run_id)
        return row_views.run(rows[0]) if rows else None

    def run_steps(self, run_id: str) -> list[views.RunStepView]:
        rows = self.rows("select * from run_event where run_id=? order by seq", run_id)
        keys = ("seq", "at_ms", "kind", "play", "role", "step", "host", "message", "diff")
        return [views.RunStepView(**{key: row[key] for key in keys}) for row in rows]

    def events(
        self,
        *,
        after_seq: int = 0,
        limit: int = 200,
        operation_id: str | None = None,
        subject: str | None = None,
    ) -> list[views.EventView]:
        """Events with seq > after_seq, oldest first; without after_seq the newest `limit` of them."""
        rows = self.rows(
            "select * from (select * from event where seq>? and (? is null or operation_id=?)"
            " and (? is null or subject=?) order by seq desc limit ?) order by seq",
            after_seq,
            operation_id,
            operation_id,
            subject,
            subject,
            limit,
        )
        return [row_views.event(row) for row in rows]

    def chain_rows(self) -> list[sqlite3.Row]:
        """Every event with its hashes, for `store.chain.verify`."""
        return self.rows("select * from event order by seq")

    # ---- documents ------------------------------------------------------------------------------------------------

    def document(self, kind: str, subject: str) -> tuple[int, Any] | None:
        """(at_ms, parsed body) of the newest document of this kind and subject, or None."""
        rows = self.rows("select at_ms, body from document where kind=? and subject=?", kind, subject)
        return (rows[0]["at_ms"], json.loads(rows[0]["body"])) if rows else None

    def scan(self, role: str = "source") -> Scan | None:
        """The newest scan of that cluster. Loading it validates it (needs pydantic: call it off the UI's loop)."""
        from kferry.store import codec

        rows = self.rows("select body from document where kind='scan' and subject=?", role)
        return codec.load(Scan, rows[0]["body"]) if rows else None

    def findings(self, now_ms: int) -> list[views.FindingView] | None:
        """Findings of the last preflight with the waivers that hold at now_ms; None if it never ran."""
        found = self.document("findings", "")
        if found is None:
            return None
        waivers = {row["finding_id"]: row for row in self.rows("select * from waiver where until_ms>?", now_ms)}
        result = []
        for item in found[1]:
            finding_id = f"{item['check']}:{item['subject']}"
            found_now = views.FindingView(finding_id=finding_id, **item)
            waiver = waivers.get(finding_id)
            result.append(found_now if waiver is None else row_views.finding_with_waiver(found_now, waiver))
        return result

    def certificate(self, batch: str) -> Mapping[str, Any] | None:
        """The certificate of a batch's last cutover, as JSON data."""
        found = self.document("certificate", batch)
        return found[1] if found else None

    def translation(self, batch: str) -> Mapping[str, Any] | None:
        """The offset plan of a batch's cutover (docs/architecture.md, "documents")."""
        found = self.document("translation", batch)
        return found[1] if found else None

    def cluster_check(self, role: str) -> tuple[int, Mapping[str, Any]] | None:
        return self.document("cluster_check", role)

    # ---- tasks and batches ----------------------------------------------------------------------------------------

    def batch_rows(self) -> dict[str, sqlite3.Row]:
        return {row["name"]: row for row in self.rows("select * from batch")}

    def tasks(self) -> list[views.TaskView]:
        return [self._task(row) for row in self.rows("select * from task order by created_at_ms")]

    def task(self, name: str) -> views.TaskView | None:
        rows = self.rows("select * from task where name=?", name)
        return self._task(rows[0]) if rows else None

    def _task(self, row: sqlite3.Row) -> views.TaskView:
        active = self.rows(
            "select id from operation where subject=? and status not in ('done','failed','aborted')"
            " order by created_at_ms desc limit 1",
            row["name"],
        )
        phases = self.rows("select phase from batch where name=?", row["batch"])
        return row_views.task(
            row,
            self.document("observation", row["name"]),
            phase=phases[0]["phase"] if phases else "planned",
            operation_id=active[0]["id"] if active else None,
            newcomers=self.newcomers(row["name"]),
        )

    def runbook(self, batch: str) -> views.RunbookView:
        """What a cutover of this batch would choose, as the engine judged it last."""
        found = self.document("runbook", batch)
        if found is None:
            return views.RunbookView()
        return views.RunbookView(found[1]["variant"], tuple(found[1]["words"]), tuple(found[1]["warnings"]))

    def newcomers(self, task: str) -> views.NewcomersView:
        """What appeared on the source for a task; for "" what belongs to no running task."""
        found = self.document("newcomers", task)
        if found is None:
            return views.NewcomersView()
        body = found[1]
        items = tuple(views.NewcomerView(**{**item, "reads": tuple(item["reads"])}) for item in body["items"])
        return views.NewcomersView(items, body["looked_at_ms"], body["note"], body["error"])

    def partitions(self, task: str) -> list[views.PartitionView]:
        """Progress per partition as last observed."""
        found = self.document("observation", task)
        return [views.PartitionView(**item) for item in found[1].get("partitions", ())] if found else []

    def samples(self, task: str, *, since_ms: int = 0) -> list[views.SampleView]:
        rows = self.rows("select * from sample where task=? and at_ms>=? order by at_ms", task, since_ms)
        keys = (
            "at_ms",
            "lag_records",
            "records_per_second",
            "bytes_per_second",
            "ingress_records_per_second",
        )
        return [views.SampleView(**{key: row[key] for key in keys}) for row in rows]

    def changes(self, *, status: str | None = None) -> list[views.ChangeView]:
        """The change ledger, oldest first."""
        rows = self.rows("select * from change where (? is null or status=?) order by id", status, status)
        return [row_views.change(row) for row in rows]
