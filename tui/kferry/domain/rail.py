"""The rail: how far each phase of a migration is, and the one next action over all of it. Facts in, words out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from kferry.domain.progress import Closeness


class PhaseState(StrEnum):
    TODO = "todo"
    ACTIVE = "active"
    ATTENTION = "attention"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class ClusterFact:
    """One end: whether clusters.yml names it, and what the last check said (None = never checked)."""

    role: str
    is_configured: bool
    reachable: bool | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class OperationFact:
    """The newest operation of a kind and subject that matters for the rail."""

    operation_id: str
    kind: str
    subject: str
    status: str
    step_title: str = ""
    problem: str = ""
    waits_for_owners: bool = False

    @property
    def is_running(self) -> bool:
        return self.status in ("running", "aborting")

    @property
    def needs_operator(self) -> bool:
        return self.status == "needs operator"

    @property
    def has_failed(self) -> bool:
        return self.status == "failed"


@dataclass(frozen=True, slots=True)
class BatchFact:
    """One batch in plan order. `lag_records` None = not known; `has_task` means one that is not deleted."""

    name: str
    phase: str
    has_task: bool
    task_state: str = ""
    task_reason: str = ""
    lag_records: int | None = None
    ingress_records_per_second: float | None = None
    eta_text: str = ""
    has_certificate: bool = False

    @property
    def is_switched(self) -> bool:
        return self.phase in ("switched", "finished")

    @property
    def is_over(self) -> bool:
        return self.phase == "finished" or (self.phase == "switched" and not self.has_task)


@dataclass(frozen=True, slots=True)
class RailFacts:
    """Everything the rail is computed from. Counts of findings are None while preflight never ran."""

    engine_alive: bool
    clusters: tuple[ClusterFact, ...] = ()
    has_scan: bool = False
    blocks: int | None = None
    open_warnings: int | None = None
    waived: int = 0
    has_plan: bool = False
    plan_problem: str = ""
    batches: tuple[BatchFact, ...] = ()
    operations: tuple[OperationFact, ...] = ()  # newest first
    closeness: Closeness = field(default_factory=Closeness)

    def running(self, *kinds: str) -> OperationFact | None:
        return next((op for op in self.operations if op.kind in kinds and op.is_running), None)

    def waiting(self, *kinds: str) -> OperationFact | None:
        return next((op for op in self.operations if op.kind in kinds and op.needs_operator), None)

    def failed(self, kind: str, subject: str | None = None) -> OperationFact | None:
        """The newest operation of that kind (and subject), if it failed."""
        found = (op for op in self.operations if op.kind == kind and subject in (None, op.subject))
        newest = next(found, None)
        return newest if newest is not None and newest.has_failed else None


@dataclass(frozen=True, slots=True)
class NextAction:
    """What to do now: an id of the action registry ("" = nothing), a sentence, and what it is about."""

    action_id: str
    sentence: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of the rail."""

    name: str
    state: PhaseState
    words: str
    next: NextAction = NextAction("", "")


def phases(facts: RailFacts) -> tuple[Phase, ...]:
    """The eight phases in the order of the work."""
    return (
        _connect(facts),
        _scan(facts),
        _preflight(facts),
        _plan(facts),
        _provision(facts),
        _replicate(facts),
        _cut_over(facts),
        _finish(facts),
    )


def next_action(facts: RailFacts) -> NextAction:
    """The one next action: what waits for the operator first, then the first phase that has something to do."""
    rail = phases(facts)
    if not facts.engine_alive and not _is_over(facts):
        return NextAction("start_engine", "The engine is not running: start it.")
    waiting = next((op for op in facts.operations if op.needs_operator), None)
    if waiting is not None:
        return _attend(waiting)
    wanted = [phase for phase in rail if phase.next.action_id]
    by_urgency = (
        [phase for phase in wanted if phase.state is PhaseState.ATTENTION]
        + [phase for phase in wanted if phase.next.action_id not in _LOOKS]
        + wanted
    )
    if by_urgency:
        return by_urgency[0].next
    return NextAction("report", "The migration is finished: read the report.")


# Actions that only look: they come after every action that moves the migration on.
_LOOKS = frozenset({"goto_overview", "goto_clusters", "goto_inventory", "goto_tasks", "goto_runs", "goto_cutover"})

_SCREEN_OF_KIND = {
    "check_clusters": "goto_clusters",
    "scan": "goto_inventory",
    "preflight": "goto_preflight",
    "plan": "goto_plan",
    "cutover": "goto_cutover",
    "undo_change": "goto_journal",
}


def _attend(operation: OperationFact) -> NextAction:
    screen = _SCREEN_OF_KIND.get(operation.kind, "goto_tasks")
    about = f"{operation.subject}: " if operation.subject else ""
    words = operation.problem or f"{operation.step_title or operation.kind} needs you"
    return NextAction(screen, f"{about}{words}", operation.subject)


def _is_over(facts: RailFacts) -> bool:
    return bool(facts.batches) and all(batch.is_over for batch in facts.batches)


def _names(batches: Sequence[BatchFact]) -> str:
    return ", ".join(batch.name for batch in batches)


def _simple(
    facts: RailFacts, name: str, kind: str, *, done: str | None, todo: str, call: str, can_start: bool
) -> Phase:
    """A phase that is one operation: running, stuck, failed, done or still to do."""
    waiting, running, failed = facts.waiting(kind), facts.running(kind), facts.failed(kind)
    if waiting:
        return Phase(name, PhaseState.ATTENTION, waiting.problem or "needs you", _attend(waiting))
    if running:
        return Phase(
            name, PhaseState.ACTIVE, running.step_title or "running", NextAction(_SCREEN_OF_KIND[kind], "Watch it run.")
        )
    if failed:
        again = NextAction(kind, f"{call} It failed the last time: see why first.")
        return Phase(name, PhaseState.ATTENTION, failed.problem or "failed", again)
    if done is not None:
        return Phase(name, PhaseState.DONE, done)
    return Phase(name, PhaseState.TODO, todo, NextAction(kind, call) if can_start else NextAction("", ""))


def _connected(facts: RailFacts) -> bool:
    return bool(facts.clusters) and all(cluster.reachable for cluster in facts.clusters)


def _connect(facts: RailFacts) -> Phase:
    missing = [cluster for cluster in facts.clusters if not cluster.is_configured]
    if missing or not facts.clusters:
        words = next((cluster.problem for cluster in missing if cluster.problem), "clusters.yml is not complete")
        step = NextAction("goto_clusters", "Say in clusters.yml how both clusters are reached.")
        return Phase("Connect", PhaseState.ATTENTION, words, step)
    lost = [cluster for cluster in facts.clusters if cluster.reachable is False]
    if lost and not facts.running("check_clusters"):
        words = lost[0].problem or f"{lost[0].role} cannot be reached"
        step = NextAction(
            "check_clusters", f"Mend the connection to the {lost[0].role}, then test again.", lost[0].role
        )
        return Phase("Connect", PhaseState.ATTENTION, words, step)
    return _simple(
        facts,
        "Connect",
        "check_clusters",
        done="both clusters answer" if _connected(facts) else None,
        todo="not tested yet",
        call="Test the connections.",
        can_start=True,
    )


def _scan(facts: RailFacts) -> Phase:
    return _simple(
        facts,
        "Scan",
        "scan",
        done="both clusters scanned" if facts.has_scan else None,
        todo="not scanned yet",
        call="Scan both clusters.",
        can_start=_connected(facts),
    )


def _preflight(facts: RailFacts) -> Phase:
    if facts.blocks is not None and not facts.running("preflight") and not facts.failed("preflight"):
        if facts.blocks:
            words = f"{facts.blocks} blocking"
            step = NextAction("goto_preflight", "Mend what blocks, then run preflight again.")
            return Phase("Preflight", PhaseState.ATTENTION, words, step)
        if facts.open_warnings:
            words = f"{facts.open_warnings} to read"
            step = NextAction("waive", "Read each warning; mend it, or waive it with a reason.")
            return Phase("Preflight", PhaseState.ATTENTION, words, step)
    done = None
    if facts.blocks == 0 and facts.open_warnings == 0:
        done = f"clear, {facts.waived} waived" if facts.waived else "clear"
    return _simple(
        facts,
        "Preflight",
        "preflight",
        done=done,
        todo="not run yet",
        call="Run preflight.",
        can_start=facts.has_scan,
    )


def _is_clear(facts: RailFacts) -> bool:
    return facts.blocks == 0 and facts.open_warnings == 0


def _plan(facts: RailFacts) -> Phase:
    if facts.plan_problem:
        step = NextAction("goto_plan", "Mend plan.yml; the Plan screen says where.")
        return Phase("Plan", PhaseState.ATTENTION, facts.plan_problem, step)
    count = len(facts.batches)
    done = None
    if facts.has_plan:
        done = f"{count} batch{'' if count == 1 else 'es'}"
    return _simple(
        facts,
        "Plan",
        "plan",
        done=done,
        todo="no plan yet",
        call="Make the plan.",
        can_start=facts.has_scan and _is_clear(facts),
    )


def _provision(facts: RailFacts) -> Phase:
    name = "Provision"
    left = [batch for batch in facts.batches if not batch.has_task and not batch.is_switched]
    waiting, running = facts.waiting("create_task"), facts.running("create_task")
    if waiting:
        return Phase(name, PhaseState.ATTENTION, f"{waiting.subject} needs you", _attend(waiting))
    if running:
        step = NextAction("goto_runs", f"Watch {running.subject} being built.", running.subject)
        return Phase(name, PhaseState.ACTIVE, f"{running.subject}: {running.step_title or 'starting'}", step)
    for batch in left:
        failed = facts.failed("create_task", batch.name)
        if failed:
            step = NextAction("create_task", f"Create the migration task of {batch.name} again.", batch.name)
            return Phase(name, PhaseState.ATTENTION, f"{batch.name}: {failed.problem or 'failed'}", step)
    if not facts.batches:
        return Phase(name, PhaseState.TODO, "needs a plan")
    if not left:
        return Phase(name, PhaseState.DONE, "every batch has a task")
    made = len(facts.batches) - len(left)
    step = NextAction("create_task", f"Create the migration task of {left[0].name}.", left[0].name)
    can_start = _is_clear(facts)
    return Phase(
        name,
        PhaseState.ACTIVE if made else PhaseState.TODO,
        f"{made} of {len(facts.batches)} tasks made",
        step if can_start else NextAction("", ""),
    )


def _is_caught_up(batch: BatchFact, facts: RailFacts) -> bool:
    return batch.task_state == "Running" and facts.closeness.holds(batch.lag_records, batch.ingress_records_per_second)


def _replicate(facts: RailFacts) -> Phase:
    name = "Replicate"
    copying = [batch for batch in facts.batches if batch.has_task and not batch.is_switched]
    switched = [batch for batch in facts.batches if batch.is_switched]
    broken = next((batch for batch in copying if batch.task_state == "Service Exception"), None)
    if broken:
        words = f"{broken.name}: {broken.task_reason or 'service exception'}"
        step = NextAction("goto_tasks", f"See what is wrong with {broken.name}.", broken.name)
        return Phase(name, PhaseState.ATTENTION, words, step)
    stuck = facts.waiting("update_task", "pause_task", "resume_task")
    if stuck:
        return Phase(name, PhaseState.ATTENTION, f"{stuck.subject} needs you", _attend(stuck))
    if not copying:
        if facts.batches and len(switched) == len(facts.batches):
            return Phase(name, PhaseState.DONE, "everything is copied")
        return Phase(name, PhaseState.TODO, "needs a migration task")
    behind = [batch for batch in copying if batch.phase != "switching" and not _is_caught_up(batch, facts)]
    if not behind:
        is_all = len(copying) + len(switched) == len(facts.batches)
        state = PhaseState.DONE if is_all else PhaseState.ACTIVE
        return Phase(name, state, f"{_names(copying)}: caught up")
    paused = next((batch for batch in behind if batch.task_state == "Paused"), None)
    if paused:
        step = NextAction("resume_task", f"Resume {paused.name}, or leave it paused.", paused.name)
        return Phase(name, PhaseState.ACTIVE, f"{paused.name} is paused", step)
    slow = behind[0]
    lag = "lag unknown" if slow.lag_records is None else f"{slow.lag_records:,} behind"
    step = NextAction("goto_tasks", f"Watch {slow.name} catch up ({slow.eta_text or 'time unknown'}).", slow.name)
    return Phase(name, PhaseState.ACTIVE, f"{slow.name}: {lag}", step)


def _cut_over(facts: RailFacts) -> Phase:
    name = "Cut over"
    waiting, running = facts.waiting("cutover"), facts.running("cutover")
    if waiting:
        return Phase(
            name, PhaseState.ATTENTION, f"{waiting.subject}: {waiting.step_title or 'needs you'}", _attend(waiting)
        )
    if running and running.waits_for_owners:
        words = f"{running.subject}: {running.step_title}"
        step = NextAction("goto_cutover", f"{words}: ask them, or run their hook.", running.subject)
        return Phase(name, PhaseState.ATTENTION, words, step)
    if running:
        step = NextAction("goto_cutover", f"Watch {running.subject} switch.", running.subject)
        return Phase(name, PhaseState.ACTIVE, f"{running.subject}: {running.step_title or 'starting'}", step)
    left = [batch for batch in facts.batches if not batch.is_switched]
    for batch in left:
        failed = facts.failed("cutover", batch.name)
        if failed:
            step = NextAction("start_cutover", f"Mend it, then cut {batch.name} over again.", batch.name)
            return Phase(name, PhaseState.ATTENTION, f"{batch.name}: {failed.problem or 'failed'}", step)
    if not facts.batches:
        return Phase(name, PhaseState.TODO, "needs a plan")
    if not left:
        return Phase(name, PhaseState.DONE, "every batch is switched")
    switched = len(facts.batches) - len(left)
    state = PhaseState.ACTIVE if switched else PhaseState.TODO
    words = f"{switched} of {len(facts.batches)} switched"
    first = left[0]  # the plan's order holds: smallest risk first
    if first.has_task and _is_caught_up(first, facts):
        step = NextAction("start_cutover", f"Cut {first.name} over: it has caught up.", first.name)
        return Phase(name, state, words, step)
    return Phase(name, state, words)


def _finish(facts: RailFacts) -> Phase:
    name = "Finish"
    waiting, running = facts.waiting("delete_task", "verify"), facts.running("delete_task", "verify")
    if waiting:
        return Phase(name, PhaseState.ATTENTION, f"{waiting.subject} needs you", _attend(waiting))
    if running:
        step = NextAction("goto_tasks", f"Watch: {running.step_title or running.kind}.", running.subject)
        return Phase(name, PhaseState.ACTIVE, f"{running.subject}: {running.step_title or running.kind}", step)
    switched = [batch for batch in facts.batches if batch.is_switched]
    if not switched:
        return Phase(name, PhaseState.TODO, "nothing is switched yet")
    if _is_over(facts):
        return Phase(name, PhaseState.DONE, "the migration is finished")
    idle = next((batch for batch in switched if batch.has_task), None)
    over = sum(batch.is_over for batch in facts.batches)
    words = f"{over} of {len(facts.batches)} cleaned up"
    if idle and len(switched) == len(facts.batches):
        step = NextAction("delete_task", f"{idle.name} is switched: delete its migration task.", idle.name)
        return Phase(name, PhaseState.ACTIVE, words, step)
    return Phase(name, PhaseState.ACTIVE, words)
