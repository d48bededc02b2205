"""Watching the running tasks: offsets, connectors and workers, measured at intervals and judged by the domain.

Health is progress. A figure that can't be measured becomes None with its age standing still; nothing is guessed.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from kferry.connect.client import ConnectClient
from kferry.domain import connectors, lifecycle, progress
from kferry.domain.errors import KferryError
from kferry.domain.model import BatchPhase, Desired, Role, TaskSpec, TaskState, TopicPartition
from kferry.domain.runbook import Operation, OperationKind
from kferry.engine.comparison import certified_ends, known_losses
from kferry.engine.context import Services
from kferry.engine.marker_rests import MarkerRests
from kferry.engine.operations.replicate import status_data
from kferry.engine.phases import batch_phase
from kferry.engine.positions import bases
from kferry.engine.vitals import Vitals
from kferry.store.journal import now_ms
from kferry.store.tables import Sample

log = logging.getLogger(__name__)

HISTORY_LENGTH = 60
# samples older than this are thinned out to one per minute
KEEP_ALL_MS = 60 * 60 * 1000
UNREACHABLE_GRACE_SECONDS = 15.0
# after so long without movement the rest behind the copy is read; well before it would count as a stall
QUIET_MS = 10_000


@dataclass
class _Watched:
    """What is remembered of a task between two measurements, in this engine's life only."""

    incarnation: int
    history: deque[progress.Observation] = field(default_factory=lambda: deque(maxlen=HISTORY_LENGTH))
    last_moved_at_ms: int | None = None
    rests: MarkerRests = field(default_factory=MarkerRests)
    rest_lost_at: float | None = None
    status_lost_at: float | None = None
    differs_since: float | None = None
    thinned_at_ms: int = 0
    versions: dict[str, str | None] = field(default_factory=dict)


class Observers:
    """One thread that measures every living task, one after the other."""

    def __init__(self, services: Services, operations: Callable[[], Mapping[str, Operation]]) -> None:
        self._services = services
        self._operations = operations
        self._watched: dict[str, _Watched] = {}
        self._vitals = Vitals(services)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.is_set():
            began, interval = time.monotonic(), 2.0
            try:
                interval = self._services.settings().settings.observe_interval_seconds
                for task in self._services.tasks.all():
                    if task.state is not TaskState.DELETED and not self._stop.is_set():
                        self._observe(task.spec)
            except KferryError as error:
                log.warning("observers: %s", error)
            except Exception:
                log.exception("observers")
            self._stop.wait(max(0.2, interval - (time.monotonic() - began)))

    def _operation_on(self, task: str) -> OperationKind | None:
        for operation in self._operations().values():
            if (
                operation.subject == task
                and not operation.status.is_final
                and operation.kind is not OperationKind.VERIFY
            ):
                return operation.kind
        return None

    def _observe(self, spec: TaskSpec) -> None:
        watched = self._watched.get(spec.name)
        if watched is None or watched.incarnation != spec.incarnation:
            watched = self._watched[spec.name] = _Watched(spec.incarnation)
        with self._services.routes.client(spec, timeout_seconds=3) as client:
            roots = client.root()
            alive = {worker.name: roots.get(worker.rest_url) is not None for worker in spec.workers}
            watched.versions = {
                worker.name: root.version for worker in spec.workers if (root := roots.get(worker.rest_url)) is not None
            }
            statuses, copied = self._ask_connect(spec, client) if any(alive.values()) else ([], None)
        observation, failure = self._measure(spec, copied, watched.rests)
        if observation is not None:
            self._look_at_rest(watched, observation)
            if watched.history and progress.moved(watched.history[-1], observation):
                watched.last_moved_at_ms = observation.at_ms
            watched.history.append(observation)
        self._publish(spec, watched, alive, statuses, observation, failure)

    def _ask_connect(self, spec: TaskSpec, client: ConnectClient) -> tuple[list[Any], dict[TopicPartition, int] | None]:
        try:
            names = connectors.connector_states(spec)
            statuses = [status for name in names if (status := client.status(name)) is not None]
            return statuses, client.offsets(spec.source_connector) if statuses else None
        except KferryError as error:
            log.info("observing %s: %s", spec.name, error)
            return [], None

    def _measure(
        self, spec: TaskSpec, copied: dict[TopicPartition, int] | None, rests: MarkerRests
    ) -> tuple[progress.Observation | None, str]:
        """The partitions as they are now; None with the reason where a cluster doesn't answer."""
        base = bases(self._services, spec)
        if not base:
            return None, ""
        try:
            source = self._services.clusters.admin(Role.SOURCE)
            starts, ends = source.offsets(base, "start"), source.offsets(base, "end")
            stable = source.offsets(base, "stable")
            target_ends = self._services.clusters.admin(Role.TARGET).offsets(base, "end")
        except KferryError as error:
            return None, error.title
        parts = {
            tp: progress.PartitionProgress(
                log_start_offset=starts.get(tp),
                end_offset=ends.get(tp),
                last_stable_offset=stable.get(tp),
                copied_offset=copied.get(tp) if copied is not None else None,
                base_offset=start.upstream,
                known=copied is not None,
                target_end_offset=target_ends.get(tp),
                empty_until=rests.empty_until(tp),
            )
            for tp, start in sorted(base.items())
        }
        return progress.Observation(now_ms(), parts), ""

    def _look_at_rest(self, watched: _Watched, observation: progress.Observation) -> None:
        """Where nothing moves although offsets are left, see whether they hold records: before it counts as a stall."""
        quiet_since = watched.last_moved_at_ms or (watched.history[0].at_ms if watched.history else observation.at_ms)
        if observation.lag_records and observation.at_ms - quiet_since > QUIET_MS:
            watched.rests.look(self._services.clusters.config(Role.SOURCE), observation)

    def _publish(
        self,
        spec: TaskSpec,
        watched: _Watched,
        alive: Mapping[str, bool],
        statuses: list[Any],
        observation: progress.Observation | None,
        failure: str,
    ) -> None:
        settings = self._services.settings().settings
        figures = progress.figures(
            list(watched.history) if observation else [],
            mean_record_bytes=self._vitals.mean_record_bytes(spec),
            last_moved_at_ms=watched.last_moved_at_ms,
        )
        moving_wanted = spec.desired is Desired.RUNNING and not spec.source_stopped
        alarms = [failure] if failure else []
        if observation and moving_wanted:
            alarms += progress.alarms(
                list(watched.history),
                stalled_after_ms=max(30_000, 6 * settings.offset_flush_interval_ms),
                last_moved_at_ms=watched.last_moved_at_ms,
            )
            self._keep_losses(spec, progress.losses(list(watched.history)))
        alarms += self._late_records(spec, observation)
        body = {
            "connectors": [status_data(status) for status in statuses],
            "workers": [
                self._vitals.of_worker(
                    worker, is_alive=alive.get(worker.name, False), version=watched.versions.get(worker.name)
                )
                for worker in spec.workers
            ],
            "partitions": [
                {
                    "topic": tp.topic,
                    "partition": tp.partition,
                    "log_start_offset": part.log_start_offset,
                    "end_offset": part.end_offset,
                    "last_stable_offset": part.last_stable_offset,
                    "copied_offset": part.copied_offset,
                    "lag_records": part.lag_records,
                    "target_end_offset": part.target_end_offset,
                    "alarm": progress.partition_alarm(part),
                }
                for tp, part in (observation.partitions.items() if observation else ())
            ],
            "figures": asdict(figures),
            "alarms": alarms,
        }
        journal = self._services.journal
        journal.put_document("observation", spec.name, json.dumps(body))
        if observation is not None:
            journal.add_sample(
                Sample(
                    task=spec.name,
                    at_ms=observation.at_ms,
                    lag_records=figures.lag_records,
                    records_per_second=figures.records_per_second,
                    bytes_per_second=figures.bytes_per_second,
                    ingress_records_per_second=figures.ingress_records_per_second,
                )
            )
            if observation.at_ms - watched.thinned_at_ms > KEEP_ALL_MS / 6:
                watched.thinned_at_ms = observation.at_ms
                journal.thin_samples(spec.name, before_ms=observation.at_ms - KEEP_ALL_MS, keep_every_ms=60_000)
        self._judge(spec, watched, alive, statuses, alarms)

    def _judge(
        self, spec: TaskSpec, watched: _Watched, alive: Mapping[str, bool], statuses: list[Any], alarms: list[str]
    ) -> None:
        """Derive the task's state; workers that don't answer count only after a grace (they may restart)."""
        answers, now = any(alive.values()), time.monotonic()
        watched.rest_lost_at = None if answers else _since(watched.rest_lost_at, now)
        watched.status_lost_at = None if statuses or not answers else _since(watched.status_lost_at, now)
        unreadable, gone = _lasts(watched.status_lost_at, now), _lasts(watched.rest_lost_at, now)
        wanted = connectors.connector_states(spec)
        by_name = {status.name: status for status in statuses}
        failures = [
            f"{status.name}: {status.state}: {_first_line(status.trace)}"
            for status in statuses
            if status.state == "FAILED"
        ]
        failures += [
            f"{status.name}: connector task {task.id} failed: {_first_line(task.trace)}"
            for status in statuses
            for task in status.tasks
            if task.state == "FAILED"
        ]
        matches = {name: name in by_name and by_name[name].state.lower() == state for name, state in wanted.items()}
        seen = bool(statuses)
        # a step of the cutover stops connectors: for a moment what is wanted and what is seen are not of one time
        watched.differs_since = None if not seen or all(matches.values()) else _since(watched.differs_since, now)
        as_wanted = None if not seen or watched.differs_since is not None else True
        if _lasts(watched.differs_since, now):
            as_wanted = False
        state, reason = lifecycle.task_state(
            lifecycle.TaskFacts(
                desired=spec.desired,
                operation=self._operation_on(spec.name),
                observed=seen,
                connectors_running=as_wanted,
                connectors_stopped=as_wanted,
                failures=failures,
                alarms=alarms,
                status_unreadable=unreadable and spec.desired is not Desired.ABSENT,
                lag_known=bool(watched.history) and watched.history[-1].lag_records is not None,
                workers_alive=False if gone else None if not answers else True,
            )
        )
        self._services.tasks.set_state(spec.name, state, reason)

    def _keep_losses(self, spec: TaskSpec, lost: Mapping[TopicPartition, int]) -> None:
        """MirrorMaker jumps over a loss within seconds and the alarm is gone: what was lost is kept for the cutover."""
        journal = self._services.journal
        known = known_losses(journal, spec)
        new = {f"{tp.topic}-{tp.partition}": count for tp, count in lost.items()}
        if all(known.get(place, 0) >= count for place, count in new.items()):
            return
        kept = known | {place: max(count, known.get(place, 0)) for place, count in new.items()}
        with journal.transaction() as session:
            body = json.dumps({"incarnation": spec.incarnation, "partitions": kept})
            journal.put_document("losses", spec.name, body, session)
            journal.append(session, "records_lost", subject=spec.name, payload={"partitions": kept})

    def _late_records(self, spec: TaskSpec, observation: progress.Observation | None) -> list[str]:
        """After the switch every record that still arrives on the source is an alarm."""
        if observation is None or batch_phase(self._services.journal, spec.batch) is not BatchPhase.SWITCHED:
            return []
        found = []
        for tp, ends in certified_ends(self._services.journal, spec.batch).items():
            part, end = observation.partitions.get(tp), ends.source
            if part is not None and part.end_offset is not None and part.end_offset > end:
                found.append(
                    f"{tp.topic}-{tp.partition}: {part.end_offset - end} records were written to the source after the "
                    f"certificate (offsets {end} to {part.end_offset - 1}): a producer was left behind."
                )
        return found


def _since(earlier: float | None, now: float) -> float:
    return now if earlier is None else earlier


def _lasts(since: float | None, now: float) -> bool:
    return since is not None and now - since > UNREACHABLE_GRACE_SECONDS


def _first_line(trace: str | None) -> str:
    return trace.strip().splitlines()[0] if trace and trace.strip() else "no trace"
