"""Running a play in a child of its own, following it into the journal, and finding it again after a restart."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from kferry.ansible import runs
from kferry.domain.errors import KferryError
from kferry.store.journal import Journal, now_ms
from kferry.store.paths import Layout
from kferry.store.tables import RunEventRow, RunRow

# Plays that change machines run one at a time on this controller.
_ONE_AT_A_TIME = threading.Lock()
# How often it is looked whether a play's process still lives, in seconds.
_LOOK_EVERY_SECONDS = 2.0


class Plays:
    """Starts plays and waits for them. A run row is written before its child starts, so none is ever unknown."""

    def __init__(self, layout: Layout, journal: Journal, environment: Callable[[str], Mapping[str, str]]) -> None:
        """`environment` gives the secrets of the play of one task ("" for plays about machines), resolved at use."""
        self._layout = layout
        self._journal = journal
        self._environment = environment

    def run(
        self,
        playbook: str,
        *,
        task: str,
        operation_id: str,
        step: str,
        limit: str | None = None,
        options: Mapping[str, str] | None = None,
        partly: bool = False,
    ) -> runs.PlayResult:
        """Run a playbook for one task ("" for all) and return its result.

        Raises KferryError with the failed step's own message, unless `partly`: then hosts that failed are the
        caller's to name, as long as the play itself ended.

        A play of the same operation and step that survived the last engine is waited for instead of starting another.
        A play is never cut short: a half-done one is worse than a done one.
        """
        with _ONE_AT_A_TIME:
            row = self._survivor(operation_id, step)
            if row is None:
                request = runs.PlayRequest(
                    playbook=playbook,
                    inventory=self._layout.inventory,
                    task=task or None,
                    limit=limit,
                    options=dict(options or {}),
                )
                row = self._start(request, operation_id=operation_id, step=step)
            result = self._follow(row)
        named = partly and result is not None and any(failure.host for failure in result.failures)
        if result is None or (result.status != "successful" and not named):
            raise _failure(row, result)
        return result

    def _survivor(self, operation_id: str, step: str) -> RunRow | None:
        living = runs.survivors()
        for row in self._journal.runs("running"):
            if row.run_id not in living and runs.result(Path(row.directory)) is None:
                row.status, row.finished_at_ms = "lost", now_ms()
                self._journal.put_run(row)
            elif row.operation_id == operation_id and row.step == step:
                return row
            elif row.run_id in living:
                # a play of something that was given up: two plays never work on one machine at once
                self._wait_for_end(row)
        return None

    def close_left(self) -> None:
        """Follow what an earlier engine left running to its end. For a thread of its own.

        Without it a play that ended while no engine lived is shown as running for ever where its step finds that all
        is as wanted, and so has nothing to run.
        """
        for row in self._journal.runs("running"):
            while runs.result(Path(row.directory)) is None and row.run_id in runs.survivors():
                time.sleep(_LOOK_EVERY_SECONDS)
            with _ONE_AT_A_TIME:  # its step may be following it; then it is closed by now
                for left in self._journal.runs("running"):
                    if left.run_id == row.run_id:
                        self._follow(left)

    def _wait_for_end(self, row: RunRow) -> None:
        while runs.result(Path(row.directory)) is None and row.run_id in runs.survivors():
            time.sleep(0.2)
        self._close(row, runs.result(Path(row.directory)))

    def _start(self, request: runs.PlayRequest, *, operation_id: str, step: str) -> RunRow:
        words = (request.playbook.removesuffix(".yml"), request.task or "all", uuid.uuid4().hex[:8])
        run_id = "-".join(words)
        directory = self._layout.runs / run_id
        row = RunRow(
            run_id=run_id,
            playbook=request.playbook,
            operation_id=operation_id,
            step=step,
            status="running",
            directory=str(directory),
            started_at_ms=now_ms(),
        )
        self._journal.put_run(row)
        runs.start(directory, run_id, request, env={**os.environ, **self._environment(request.task or "")})
        return row

    def _follow(self, row: RunRow) -> runs.PlayResult | None:
        directory = Path(row.directory)
        tail = runs.EventTail(directory)
        looked_at = time.monotonic()
        while (result := runs.result(directory)) is None:
            self._keep(row.run_id, tail)
            if time.monotonic() - looked_at > _LOOK_EVERY_SECONDS:  # looking through /proc is not free
                if row.run_id not in runs.survivors():
                    result = runs.result(directory)
                    break
                looked_at = time.monotonic()
            time.sleep(0.1)
        self._keep(row.run_id, tail)
        self._close(row, result)
        return result

    def _keep(self, run_id: str, tail: runs.EventTail) -> None:
        rows = [
            RunEventRow(
                run_id=run_id,
                seq=event.seq,
                at_ms=event.at_ms,
                kind=event.kind,
                play=event.play,
                role=event.role,
                step=event.step,
                host=event.host,
                message=event.message,
                diff=event.diff,
            )
            for event in tail.read()
        ]
        if rows:
            self._journal.add_run_events(rows)

    def _close(self, row: RunRow, result: runs.PlayResult | None) -> None:
        row.status = result.status if result else "lost"
        row.finished_at_ms = now_ms()
        row.changed_count = result.changed if result else None
        row.failed_count = result.failed if result else None
        with self._journal.transaction() as session:
            self._journal.put_run(row, session)
            payload = {
                "run_id": row.run_id,
                "playbook": row.playbook,
                "status": row.status,
                "changed": row.changed_count,
            }
            self._journal.append(session, "play_ended", operation_id=row.operation_id, payload=payload)


def _failure(row: RunRow, result: runs.PlayResult | None) -> KferryError:
    log = str(Path(row.directory) / "output.log")
    if result is None:
        return KferryError(
            f"The play {row.playbook} ended without a result.",
            cause="Its process was killed.",
            next_step="Retry: the play looks at what is there before it changes anything.",
            log=log,
        )
    first = result.failures[0] if result.failures else None
    where = f" at '{first.step}' on {first.host}: {first.message}" if first else f" ({result.status})"
    return KferryError(
        f"The play {row.playbook} failed{where}",
        next_step="Mend the cause and retry.",
        log=log,
    )
