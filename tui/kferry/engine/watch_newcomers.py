"""Watching the source for what appears while tasks run: it is announced, and what may join is let in together.

A thread of its own, since the lists of a large cluster take their time. It never changes anything itself: joining is a
wish like an operator's, answered by the engine's one mutator, and never while another change is under way.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from kferry.domain.errors import KferryError
from kferry.domain.model import BatchPhase, Desired, Role, TaskState
from kferry.domain.newcomers import Look, Newcomer, NewcomerKind, find_newcomers, is_settled, sentence
from kferry.domain.planning.rules import PlanningRules
from kferry.domain.runbook import Operation
from kferry.engine import newcomers_look
from kferry.engine.context import Services
from kferry.engine.cutover_runbook import RunbookTeller
from kferry.engine.newcomers_preflight import stopped_newcomers
from kferry.engine.phases import batch_phase
from kferry.engine.tasks import Task
from kferry.store import intents
from kferry.store.journal import now_ms
from kferry.store.tables import Intent

log = logging.getLogger(__name__)

WHO = "kferry (newcomers)"
# what preflight stopped is looked at again after so many intervals, and at once when a waiver was given
_CHECK_AGAIN_AFTER_INTERVALS = 10
_REFUSALS = 3
_OPEN_PHASES = (BatchPhase.REPLICATING, BatchPhase.ROLLED_BACK)
_WATCHED_PHASES = (*_OPEN_PHASES, BatchPhase.SWITCHING)


@dataclass
class _Stopped:
    """What preflight said of a newcomer, and when: it is not asked at every look."""

    why: str
    at_ms: int
    waivers: frozenset[str]


@dataclass
class _Memory:
    """What is remembered of one task between two looks, in this engine's life only."""

    incarnation: int
    first_seen_ms: dict[tuple[str, str, str], int] = field(default_factory=dict)
    stopped: dict[str, _Stopped] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    asked: str | None = None
    asked_names: tuple[str, ...] = ()


class NewcomerWatch:
    """Looks at the source at intervals, for as long as there are tasks."""

    def __init__(self, services: Services, operations: Callable[[], Mapping[str, Operation]]) -> None:
        self._services = services
        self._operations = operations
        self._memory: dict[str, _Memory] = {}
        self._runbooks = RunbookTeller(services)
        self._last: tuple[object, tuple[Newcomer, ...]] = (None, ())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="newcomers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.is_set():
            began, interval_seconds = time.monotonic(), 30.0
            try:
                interval_seconds = self._interval_seconds()
                self.look()
            except KferryError as error:
                log.warning("newcomers: %s", error)
            except Exception:  # the watch must outlive whatever one look meets
                log.exception("newcomers")
            self._stop.wait(max(1.0, interval_seconds - (time.monotonic() - began)))

    def _interval_seconds(self) -> float:
        return self._services.settings().settings.newcomers_interval_seconds

    # ---- one look -------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Look once: publish what is new for every task, and ask for what may join."""
        everyone = self._services.tasks.all()
        tasks = [task for task in everyone if task.state is not TaskState.DELETED]
        watched = [task for task in tasks if self._phase(task) in _WATCHED_PHASES]
        self._forget([task.spec.name for task in everyone if task not in watched], nobody_left=not watched)
        if not watched:
            return
        try:
            plan, rules = newcomers_look.known_plan(self._services), newcomers_look.known_rules(self._services)
            specs = [task.spec for task in tasks]
            seen = newcomers_look.take_look(self._services, plan, specs)
            copying = [newcomers_look.copying_of(self._services, spec) for spec in specs]
        except KferryError as error:
            for task in watched:
                self._put(task.spec.name, None, error=str(error))
            raise
        facts = (seen, plan, copying, rules)
        if self._last[0] != facts:  # on a large cluster the planner's rules take seconds, and mostly nothing changed
            self._last = (facts, find_newcomers(seen, plan, copying, rules))
        found = self._last[1]
        for task in watched:
            self._runbooks.tell(task.spec)
            self._of_task(task, [item for item in found if item.batch == task.spec.batch], seen, rules)
        known = {task.spec.batch for task in tasks}
        self._announce("", [item for item in found if item.batch not in known])
        self._put("", [item for item in found if item.batch not in known])

    def _forget(self, names: Iterable[str], *, nobody_left: bool) -> None:
        """What was new for a batch says nothing any more once it has switched or its task is gone."""
        for name in (*names, *([""] if nobody_left else [])):
            self._memory.pop(name, None)
            if self._items(name):
                self._put(name, [])

    def _of_task(self, task: Task, found: list[Newcomer], seen: Look, rules: PlanningRules) -> None:
        name = task.spec.name
        memory = self._memory.get(name)
        if memory is None or memory.incarnation != task.spec.incarnation:
            memory = self._memory[name] = _Memory(task.spec.incarnation)
        now = now_ms()
        memory.first_seen_ms = {item.key: memory.first_seen_ms.get(item.key, now) for item in found}
        self._hear_answer(name, memory)
        note = ""
        joining = [item for item in found if item.joins and item.name not in memory.given_up]
        if joining:
            obstacle = self._obstacle(task, memory)
            if obstacle:
                note = f"What may join waits: {obstacle}."
            elif not is_settled(
                [memory.first_seen_ms[item.key] for item in joining], now, int(1000 * self._interval_seconds())
            ):
                note = "What may join waits a little for more of its kind: each change restarts the connector tasks."
            else:
                note = self._let_in(task, memory, joining, rules)
        judged = [self._judged(item, memory) for item in found]
        self._announce(name, judged)
        self._put(name, judged, note=note)

    @staticmethod
    def _judged(item: Newcomer, memory: _Memory) -> Newcomer:
        """A newcomer as it stands: what preflight stopped, or what failed before, does not join by itself."""
        why = memory.given_up.get(item.name) or (stop.why if (stop := memory.stopped.get(item.name)) else "")
        return replace(item, joins=False, why=f"{item.why}, but {why}") if item.joins and why else item

    def _phase(self, task: Task) -> BatchPhase:
        return batch_phase(self._services.journal, task.spec.batch)

    def _obstacle(self, task: Task, memory: _Memory) -> str:
        """Why nothing may be changed now, or ""."""
        if memory.asked is not None:
            return "the last ones are just being let in"
        for operation in self._operations().values():
            if operation.subject == task.spec.name and not operation.status.is_final:
                return f"{operation.kind.value.replace('_', ' ')} is under way ({operation.operation_id})"
        if task.spec.desired is not Desired.RUNNING or task.state is not TaskState.RUNNING:
            return f"the task is {task.state.value}"
        phase = self._phase(task)
        return "" if phase in _OPEN_PHASES else f"the batch is {phase.value}"

    # ---- letting in -----------------------------------------------------------------------------------------------

    def _let_in(self, task: Task, memory: _Memory, joining: list[Newcomer], rules: PlanningRules) -> str:
        """Check what may join and ask for it; what came of it as a sentence."""
        spec = task.spec
        ready = self._grown_on_target([item for item in joining if self._may_check(item.name, memory)])
        topics = [item.name for item in ready if item.kind is NewcomerKind.TOPIC]
        groups = [item.name for item in ready if item.kind is NewcomerKind.GROUP]
        grown = [item.name for item in ready if item.kind is NewcomerKind.PARTITIONS]
        try:
            stopped = stopped_newcomers(self._services, spec, topics, groups, rules) if topics or groups else {}
        except KferryError as error:
            return f"What may join could not be checked: {error}"
        waivers = self._waivers()
        for name in (*topics, *groups):
            memory.stopped.pop(name, None)
            if name in stopped:
                memory.stopped[name] = _Stopped(stopped[name], now_ms(), waivers)
        left = [item for item in ready if item.name not in stopped]
        # a group never joins before what it reads
        missing = {item.name for item in joining if item.kind is NewcomerKind.TOPIC} - {item.name for item in left}
        left = [item for item in left if not missing & set(item.reads)]
        if not left:
            return ""
        names = {item.name for item in left}
        add_topics = [name for name in (*topics, *grown) if name in names]
        add_groups = [name for name in groups if name in names]
        args = {"task": spec.name, "add_topics": add_topics, "remove_topics": [], "add_groups": add_groups}
        memory.asked = intents.insert(
            self._services.layout.journal, "update_task", {**args, "remove_groups": []}, who=WHO
        )
        memory.asked_names = tuple(sorted(names))
        self._services.journal.event("newcomers_let_in", subject=spec.name, payload=args)
        return f"Being let in: {', '.join(memory.asked_names)}."

    def _may_check(self, name: str, memory: _Memory) -> bool:
        stop = memory.stopped.get(name)
        if stop is None or stop.waivers != self._waivers():
            return True
        return now_ms() - stop.at_ms > 1000 * self._interval_seconds() * _CHECK_AGAIN_AFTER_INTERVALS

    def _waivers(self) -> frozenset[str]:
        return frozenset(row.finding_id for row in self._services.journal.waivers(now_ms()))

    def _grown_on_target(self, joining: list[Newcomer]) -> list[Newcomer]:
        """Without topics whose new partitions MirrorMaker has not made on the target yet: it does so by itself."""
        grown = [item.name for item in joining if item.kind is NewcomerKind.PARTITIONS]
        if not grown:
            return joining
        counts = self._services.clusters.admin(Role.TARGET).partition_counts()
        return [
            item
            for item in joining
            if item.kind is not NewcomerKind.PARTITIONS or counts.get(item.name) == item.partitions
        ]

    def _hear_answer(self, task: str, memory: _Memory) -> None:
        """What became of the last wish. What failed is not tried again by itself: an operator looks at it."""
        if memory.asked is None:
            return
        with self._services.journal.transaction() as session:
            row = session.get(Intent, memory.asked)
            status, reason = (row.status, row.reason) if row is not None else ("failed", "the wish is gone")
        if status in ("waiting", "accepted"):
            return
        names, memory.asked, memory.asked_names = memory.asked_names, None, ()
        if status == "done":
            return
        log.warning("newcomers of %s: %s: %s", task, status, reason)
        if (
            status == "refused"
        ):  # an operator may have been a moment quicker; what is refused again and again is no chance
            memory.refused.update(names)
            names = tuple(name for name in names if memory.refused[name] >= _REFUSALS)
        memory.given_up |= dict.fromkeys(names, f"letting it in was tried and {status}: {reason}")

    # ---- telling --------------------------------------------------------------------------------------------------

    def _announce(self, task: str, found: Iterable[Newcomer]) -> None:
        """An event for what is new, or no more, since the last look."""
        before = {(item["kind"], item["name"], item["batch"]): item["why"] for item in self._items(task)}
        now = {item.key: item for item in found}
        appeared = [sentence(item, task) for key, item in now.items() if key not in before]
        settled = [f"{kind} {name}" for kind, name, batch in before if (kind, name, batch) not in now]
        if appeared or settled:
            payload = {"appeared": appeared, "settled": settled}
            self._services.journal.event("newcomers_changed", subject=task, payload=payload)

    def _items(self, task: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._document(task).get("items", [])
        return items

    def _document(self, task: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._services.journal.document("newcomers", task) or "{}")
        return found

    def _put(self, task: str, found: Iterable[Newcomer] | None, *, note: str = "", error: str | None = None) -> None:
        """Write the document; where the look failed, what was known stays, with its age and the reason."""
        body = self._document(task)
        if found is not None:
            items = [{**asdict(item), "reads": list(item.reads), "words": sentence(item, task)} for item in found]
            body = {"looked_at_ms": now_ms(), "items": items}
        body = {"looked_at_ms": None, "items": [], **body, "note": note, "error": error}
        self._services.journal.put_document("newcomers", task, json.dumps(body))
