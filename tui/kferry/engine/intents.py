"""Answering the operator's wishes: each is checked against what is true now, then accepted, or refused with why."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlmodel import Session

from kferry.domain import lifecycle, machine
from kferry.domain.cutover import point_of_no_return
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Desired, Role, TaskState
from kferry.domain.runbook import Operation, OperationKind, OperationStatus
from kferry.domain.runbooks import RUNBOOKS, runbook_of
from kferry.engine import (
    cutover_runbook,
    dryrun,
    gate,
    intents_access,
    intents_fixing,
    intents_fleet,
    intents_tasks,
)
from kferry.engine.comparison import records_beyond_certificate
from kferry.engine.context import Services, StepContext
from kferry.engine.operations import drafts
from kferry.engine.refusal import refuse
from kferry.store.journal import now_ms
from kferry.store.tables import Intent

if TYPE_CHECKING:
    from kferry.engine.loop import Engine
    from kferry.engine.tasks import Task

log = logging.getLogger(__name__)

_READS = {
    "check_clusters": OperationKind.CHECK_CLUSTERS,
    "scan": OperationKind.SCAN,
    "preflight": OperationKind.PREFLIGHT,
    "plan": OperationKind.PLAN,
    "verify": OperationKind.VERIFY,
    "fleet_check": OperationKind.FLEET_CHECK,
}
_TASK_OPERATIONS = {
    "update_task": OperationKind.UPDATE_TASK,
    "pause_task": OperationKind.PAUSE_TASK,
    "resume_task": OperationKind.RESUME_TASK,
    "delete_task": OperationKind.DELETE_TASK,
    "scale_task": OperationKind.SCALE_TASK,
    "restart_task": OperationKind.RESTART_TASK,
    "rotate_task": OperationKind.ROTATE_TASK,
    "upgrade_task": OperationKind.UPGRADE_TASK,
}

# Wishes that are checked in a way of their own: each gives the operation and its subject, or raises.
_CHECKED: dict[str, Callable[[Services, Mapping[str, Any]], tuple[OperationKind, str]]] = {
    "check_draft": drafts.wish,
    intents_fixing.KIND: intents_fixing.checked,
    **{kind: partial(intents_fleet.checked, kind=kind) for kind in intents_fleet.KINDS},
    **{kind: partial(intents_access.checked, kind=kind) for kind in intents_access.KINDS},
}


def _no_return(operation: Operation) -> str:
    """The first step of a cutover that can't be put back."""
    return point_of_no_return(runbook_of(operation.kind, operation.args))


class Intents:
    """Runs in the loop's thread; only the plans of dry runs are made in threads of their own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._services = engine.services
        self._thinking: set[str] = set()  # intents whose plan is being made in a thread

    def answer_waiting(self) -> None:
        """Answer every intent that waits, oldest first."""
        for intent in self._services.journal.waiting_intents():
            if intent.id not in self._thinking:
                self._attempt(intent, partial(self._answer, intent, json.loads(intent.args)))

    def _attempt(self, intent: Intent, work: Callable[[], None]) -> None:
        """Do a part of answering an intent; whatever goes wrong is the answer."""
        try:
            work()
        except KferryError as error:
            self._reply(intent, "refused", reason=str(error), result={"error": error.as_dict()})
        except Exception as error:  # an intent must never stay without an answer
            log.exception("intent %s %s", intent.kind, intent.id)
            self._reply(intent, "failed", reason=f"{type(error).__name__}: {error}")

    def _reply(self, intent: Intent, status: str, **details: Any) -> None:
        with self._services.journal.transaction() as session:
            self._write_reply(intent, status, session, **details)

    def _write_reply(self, intent: Intent, status: str, session: Session, **details: Any) -> None:
        """Write an answer and its event into a transaction."""
        journal = self._services.journal
        journal.answer_intent(session, intent.id, status, **details)
        payload = {
            "intent_id": intent.id,
            "kind": intent.kind,
            "who": intent.who,
            "reason": details.get("reason", ""),
        }
        journal.append(session, f"intent_{status}", operation_id=details.get("operation_id"), payload=payload)

    def close(self, operation: Operation) -> None:
        """Tell the intent that asked for an operation how it ended."""
        intent_id = operation.args.get("intent_id")
        if not intent_id:
            return
        status = "done" if operation.status is OperationStatus.DONE else "failed"
        reason = str((operation.error or {}).get("title", "")) or operation.status.value
        journal = self._services.journal
        with journal.transaction() as session:
            journal.answer_intent(session, str(intent_id), status, reason="" if status == "done" else reason)

    # ---- one intent ---------------------------------------------------------------------------------------------

    def _answer(self, intent: Intent, args: Mapping[str, Any]) -> None:
        if intent.expires_at_ms < now_ms():
            raise refuse("The wish expired before the engine saw it.", "Ask again.")
        kind = intent.kind
        if kind in _READS:
            self._read(intent, _READS[kind], args)
        elif kind == "create_task":
            self._create(intent, args)
        elif kind in _TASK_OPERATIONS:
            self._task_operation(intent, _TASK_OPERATIONS[kind], args)
        elif kind == "cutover":
            self._cutover(intent, args)
        elif kind == "undo_change":
            self._undo_change(intent, args)
        elif kind in _CHECKED:
            self._start(intent, *_CHECKED[kind](self._services, args), args)
        elif kind in ("waive", "unwaive"):
            self._waive(intent, args)
        elif kind == "answer":
            self._operator_answer(intent, args)
        elif kind == "abort":
            self._abort(intent, args)
        elif kind == "stop_engine":
            self._reply(intent, "done")
            self._engine.request_stop()
        else:
            raise KferryError(f"The engine does not know the intent {kind!r}.", kind=ErrorKind.USAGE)

    def _start(self, intent: Intent, kind: OperationKind, subject: str, args: Mapping[str, Any]) -> None:
        if args.get("dry_run") or intent.expects is not None:
            # a plan asks the clusters, which may take long: not in the loop's thread
            self._thinking.add(intent.id)
            work = partial(self._think, intent, kind, subject, args)
            threading.Thread(target=self._attempt, args=(intent, work), name=f"plan/{intent.id}", daemon=True).start()
        else:
            self._accept(intent, kind, subject, args)

    def _think(self, intent: Intent, kind: OperationKind, subject: str, args: Mapping[str, Any]) -> None:
        """Make the plan; answer with it, or go on only if it is still the one the operator saw."""
        try:
            plan = dryrun.plan(self._services, kind, subject, args)
            if args.get("dry_run"):
                self._reply(intent, "done", result=plan)
            elif plan["hash"] != intent.expects:
                raise refuse("What would be done is no longer what you saw.", "Look at the plan again.")
            else:
                accept = partial(self._accept, intent, kind, subject, args)
                self._engine.post(partial(self._attempt, intent, accept))
        finally:
            self._thinking.discard(intent.id)

    def _accept(self, intent: Intent, kind: OperationKind, subject: str, args: Mapping[str, Any]) -> None:
        if kind is not OperationKind.DELETE_TASK:
            self._refuse_second(kind, subject)
        operation_id = f"{kind.value.replace('_', '-')}-{uuid.uuid4().hex[:8]}"
        given = {key: value for key, value in args.items() if key != "dry_run"}
        event = machine.OperationAsked(
            operation_id, kind, subject, {**given, "intent_id": intent.id, "who": intent.who}
        )
        if kind is OperationKind.DELETE_TASK:
            self._supersede(subject)
        self._engine.apply(event, partial(self._write_reply, intent, "accepted", operation_id=operation_id))

    def _refuse_second(self, kind: OperationKind, subject: str) -> None:
        """One operation at a time per subject (task operations and cutovers lock the task, reads lock their kind)."""
        exclusive = RUNBOOKS[kind].exclusive
        for other in self._engine.operations.values():
            if other.status.is_final or RUNBOOKS[other.kind].exclusive != exclusive or other.subject != subject:
                continue
            if exclusive == "read" and other.kind is not kind:
                continue
            raise refuse(
                f"{RUNBOOKS[other.kind].title} is in flight for {subject or 'this migration'} ({other.operation_id}).",
                "Wait for it, answer it, or abort it.",
            )

    def _read(self, intent: Intent, kind: OperationKind, args: Mapping[str, Any]) -> None:
        if (
            kind in (OperationKind.PREFLIGHT, OperationKind.PLAN)
            and self._services.journal.document("scan", "source") is None
        ):
            raise refuse("The source was not scanned yet.", "Run `kferry scan`.")
        if kind is OperationKind.SCAN and args.get("role") not in (None, *Role):
            raise KferryError(
                f"There is no cluster {args['role']!r}.", next_step="Say source or target.", kind=ErrorKind.USAGE
            )
        if kind is OperationKind.PLAN:
            from kferry.store import plan_file

            if (
                self._services.layout.plan.exists()
                and not args.get("overwrite")
                and plan_file.edited_by_hand(self._services.layout)
            ):
                raise refuse("plan.yml was edited by hand.", "Keep it, or plan again with --overwrite.")
        subject = str(args.get("batch") or "") if kind is OperationKind.VERIFY else ""
        if subject:
            intents_tasks.batch_of(self._services, subject)
        self._start(intent, kind, subject, args)

    def _create(self, intent: Intent, args: Mapping[str, Any]) -> None:
        batch = intents_tasks.check_create(self._services, args)
        self._start(intent, OperationKind.CREATE_TASK, batch.name, {**args, "task": batch.name})

    def _task_operation(self, intent: Intent, kind: OperationKind, args: Mapping[str, Any]) -> None:
        name = str(args.get("task", ""))
        task = self._services.tasks.get(name)
        if task is None:
            raise KferryError(
                f"There is no migration task {name!r}.", next_step="See `kferry task list`.", kind=ErrorKind.USAGE
            )
        reason = lifecycle.refusal(self._state_now(task), kind)
        if reason:
            raise refuse(f"Migration task {name}: {reason}")
        if kind is OperationKind.RESUME_TASK and task.spec.desired is not Desired.STOPPED:
            raise refuse(f"Migration task {name} is not paused.")
        if kind is OperationKind.UPDATE_TASK:
            intents_tasks.check_update(self._services, task.spec, args)
        if kind is OperationKind.SCALE_TASK:
            intents_fleet.check_scale(self._services, task.spec, args)
        self._start(intent, kind, name, {**args, "task": name})

    def _state_now(self, task: Task) -> TaskState:
        """The state of a task; Modifying ends with its operation, not only when the task is measured the next time."""
        if task.state is not TaskState.MODIFYING:
            return task.state
        name = task.spec.name
        if any(not other.status.is_final and other.subject == name for other in self._engine.operations.values()):
            return task.state
        return TaskState.PAUSED if task.spec.desired is Desired.STOPPED else TaskState.RUNNING

    def _supersede(self, task: str) -> None:
        for operation in list(self._engine.operations.values()):
            if (
                operation.subject == task
                and not operation.status.is_final
                and RUNBOOKS[operation.kind].exclusive == "task"
            ):
                if operation.kind is OperationKind.DELETE_TASK:
                    raise refuse(f"Migration task {task} is being deleted already ({operation.operation_id}).")
                if operation.kind is OperationKind.CUTOVER:
                    raise refuse(f"Batch {task} is being switched.", "Finish or abort the cutover first.")
                self._engine.apply(machine.Superseded(operation.operation_id, "The task was deleted meanwhile."))

    def _cutover(self, intent: Intent, args: Mapping[str, Any]) -> None:
        batch, task = intents_tasks.check_cutover(self._services, args)
        choice = cutover_runbook.choose(self._services, task.spec, args)
        # fixed here for good: what the operator is told now is what runs, whatever a later scan says
        chosen = {"runbook": choice.variant, "runbook_words": [*choice.words, *choice.warnings]}
        self._start(intent, OperationKind.CUTOVER, batch.name, {**args, **chosen, "task": batch.name})

    def _undo_change(self, intent: Intent, args: Mapping[str, Any]) -> None:
        change_id = int(args.get("change_id", 0))
        row = next((row for row in self._services.journal.changes() if row.id == change_id), None)
        if row is None or row.undo is None or row.status != "applied":
            raise refuse(f"Change {change_id} cannot be undone: it is unknown, or settled already.")
        users = [
            task.spec.name
            for task in self._services.tasks.all()
            if task.state is not TaskState.DELETED and row.resource == "topic" and row.name in task.spec.topics
        ]
        if users:
            raise refuse(f"Topic {row.name} is being copied by migration task {users[0]}.", "Delete the task first.")
        self._start(intent, OperationKind.UNDO_CHANGE, str(change_id), args)

    def _waive(self, intent: Intent, args: Mapping[str, Any]) -> None:
        journal, finding_id = self._services.journal, str(args.get("finding_id", ""))
        with journal.transaction() as session:
            if intent.kind == "waive":
                gate.put_waiver(journal, session, args, intent.who)
            else:
                journal.drop_waiver(finding_id, session)
            payload = {"finding_id": finding_id, "why": str(args.get("why", "")), "who": intent.who}
            journal.append(session, f"finding_{intent.kind}d", payload=payload)
        self._reply(intent, "done")

    def _operation(self, args: Mapping[str, Any]) -> Operation:
        operation = self._engine.operations.get(str(args.get("operation_id", "")))
        if operation is None:
            raise KferryError("There is no such operation.", kind=ErrorKind.USAGE)
        return operation

    def _operator_answer(self, intent: Intent, args: Mapping[str, Any]) -> None:
        operation = self._operation(args)
        if operation.status.is_final:
            raise refuse("The operation is over already.")
        current = operation.current
        name = str(args.get("step") or (current.name if current else ""))
        if operation.status is OperationStatus.ABORTING:
            waiting = [item.name for item in operation.steps if item.status.value == "needs operator"]
            name = waiting[0] if waiting else name
        elif current is None or current.name != name:
            raise refuse(f"The operation is not at step {name!r}.")
        event = machine.Answered(operation.operation_id, name, dict(args.get("answer") or {}))
        self._engine.apply(event, partial(self._write_reply, intent, "done", operation_id=operation.operation_id))

    def _abort(self, intent: Intent, args: Mapping[str, Any]) -> None:
        operation = self._operation(args)
        reason = machine.refuse_abort(operation)
        if reason:
            raise refuse(reason)
        if operation.kind is OperationKind.CUTOVER and operation.step(_no_return(operation)).attempt > 0:
            # whether a producer has written to the target is measured now: what was seen last may be hours old
            self._thinking.add(intent.id)
            work = partial(self._abort_if_not_crossed, intent, operation)
            threading.Thread(target=self._attempt, args=(intent, work), name=f"abort/{intent.id}", daemon=True).start()
        else:
            self._go_back(intent, operation)

    def _go_back(self, intent: Intent, operation: Operation) -> None:
        event = machine.AbortAsked(operation.operation_id)
        self._engine.apply(event, partial(self._write_reply, intent, "done", operation_id=operation.operation_id))

    def _abort_if_not_crossed(self, intent: Intent, operation: Operation) -> None:
        try:
            ctx = StepContext(
                self._services, self._engine.operations_now(), operation.operation_id, _no_return(operation)
            )
            if records_beyond_certificate(ctx) != 0:
                raise refuse(
                    "The point of no return is passed, or it can't be seen whether it is.",
                    "Go on with the switch; what producers wrote to the target would be lost by an abort.",
                )
            self._engine.post(partial(self._attempt, intent, partial(self._go_back, intent, operation)))
        finally:
            self._thinking.discard(intent.id)
