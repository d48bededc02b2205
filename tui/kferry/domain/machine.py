"""The one mutator: `step(state, event) -> (state, commands)`. Nothing else decides what an operation does next.

Events are what happened (past tense), commands what the engine shall do now (imperative). An unknown combination raises
InvalidTransition; the engine treats that as a defect and stops, so the journal never holds a state nobody thought of.
Whatever was RUNNING when an engine died is PENDING again for the next one: a step looks at what is true before it acts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from kferry.domain.runbook import Operation, OperationKind, OperationStatus, StepState, StepStatus
from kferry.domain.runbooks import RUNBOOKS, runbook_of

State = Mapping[str, Operation]


class InvalidTransition(Exception):  # noqa: N818 - named like the field's own (dask)
    """An event that makes no sense in this state."""


# ---- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OperationAsked:
    """The operator (or a timer) wants an operation; it was checked and accepted."""

    operation_id: str
    kind: OperationKind
    subject: str
    args: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepBegun:
    operation_id: str
    step: str


@dataclass(frozen=True, slots=True)
class StepActed:
    """The step has done what it does; whether it holds is not known yet."""

    operation_id: str
    step: str


@dataclass(frozen=True, slots=True)
class StepMeasured:
    """A gate was measured and does not hold yet."""

    operation_id: str
    step: str
    evidence: Mapping[str, object]
    undoing: bool = False


@dataclass(frozen=True, slots=True)
class StepVerified:
    """The step's condition was measured and holds."""

    operation_id: str
    step: str
    evidence: Mapping[str, object]
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class StepFailed:
    operation_id: str
    step: str
    error: Mapping[str, str]
    undoing: bool = False


@dataclass(frozen=True, slots=True)
class StepAsks:
    """The step can't go on without an answer of the operator."""

    operation_id: str
    step: str
    error: Mapping[str, str]
    evidence: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class StepUndone:
    """An abort has put back what this step changed."""

    operation_id: str
    step: str
    evidence: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answered:
    """The operator answered the current step; answers are kept in the operation's args."""

    operation_id: str
    step: str
    answer: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class AbortAsked:
    operation_id: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """Another operation (a delete) takes over; this one ends where it stands, nothing is put back."""

    operation_id: str
    why: str


@dataclass(frozen=True, slots=True)
class EngineStarted:
    """A new engine took over: what was in flight is looked at again."""


Event = (
    OperationAsked
    | StepBegun
    | StepActed
    | StepMeasured
    | StepVerified
    | StepFailed
    | StepAsks
    | StepUndone
    | Answered
    | AbortAsked
    | Superseded
    | EngineStarted
)

# ---- commands -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunStep:
    operation_id: str
    step: str


@dataclass(frozen=True, slots=True)
class UndoStep:
    operation_id: str
    step: str


@dataclass(frozen=True, slots=True)
class CancelStep:
    operation_id: str
    step: str


@dataclass(frozen=True, slots=True)
class CloseOperation:
    """The operation is over; waiting intents are answered."""

    operation_id: str


Command = RunStep | UndoStep | CancelStep | CloseOperation

# ---- the mutator ----------------------------------------------------------------------------------------------------


def step(state: State, event: Event) -> tuple[dict[str, Operation], list[Command]]:
    """The next state and the commands that follow from one event. Pure: the argument is not changed."""
    if isinstance(event, OperationAsked):
        return _asked(state, event)
    if isinstance(event, EngineStarted):
        return _restarted(state)
    operation = state.get(event.operation_id)
    if operation is None:
        raise InvalidTransition(f"{type(event).__name__} for unknown operation {event.operation_id}")
    if operation.status.is_final:
        # a late word of a step that was cancelled meanwhile changes nothing
        return dict(state), []
    if isinstance(event, _STEP_WORDS):
        undoing = isinstance(event, StepUndone) or getattr(event, "undoing", False)
        if undoing is not (operation.status is OperationStatus.ABORTING):
            return dict(state), []
    changed, commands = _HANDLERS[type(event)](operation, event)
    return {**state, operation.operation_id: changed}, commands


def _asked(state: State, event: OperationAsked) -> tuple[dict[str, Operation], list[Command]]:
    if event.operation_id in state:
        raise InvalidTransition(f"operation {event.operation_id} exists already")
    steps = tuple(StepState(definition.name) for definition in runbook_of(event.kind, event.args).steps)
    operation = Operation(
        event.operation_id, event.kind, event.subject, dict(event.args), OperationStatus.RUNNING, steps
    )
    return {**state, event.operation_id: operation}, [RunStep(event.operation_id, steps[0].name)]


def _restarted(state: State) -> tuple[dict[str, Operation], list[Command]]:
    result, commands = dict(state), list[Command]()
    for operation in state.values():
        if operation.status.is_final:
            continue
        in_flight = (StepStatus.RUNNING, StepStatus.ACTED, StepStatus.WAITING)
        steps = tuple(
            replace(item, status=StepStatus.PENDING) if item.status in in_flight else item for item in operation.steps
        )
        operation = replace(operation, steps=steps)
        result[operation.operation_id] = operation
        if operation.status is OperationStatus.ABORTING:
            operation, more = _undo_next(operation)
            result[operation.operation_id] = operation
            commands += more
        elif operation.status is OperationStatus.RUNNING and operation.current is not None:
            commands.append(RunStep(operation.operation_id, operation.current.name))
    return result, commands


def _put(operation: Operation, name: str, **changes: object) -> Operation:
    steps = tuple(replace(item, **changes) if item.name == name else item for item in operation.steps)  # type: ignore[arg-type]
    return replace(operation, steps=steps)


def _begun(operation: Operation, event: StepBegun) -> tuple[Operation, list[Command]]:
    attempt = operation.step(event.step).attempt + 1
    return _put(operation, event.step, status=StepStatus.RUNNING, attempt=attempt, error=None), []


def _acted(operation: Operation, event: StepActed) -> tuple[Operation, list[Command]]:
    return _put(operation, event.step, status=StepStatus.ACTED), []


def _measured(operation: Operation, event: StepMeasured) -> tuple[Operation, list[Command]]:
    return _put(operation, event.step, status=StepStatus.WAITING, evidence=dict(event.evidence)), []


def _verified(operation: Operation, event: StepVerified) -> tuple[Operation, list[Command]]:
    status = StepStatus.SKIPPED if event.skipped else StepStatus.DONE
    operation = _put(operation, event.step, status=status, evidence=dict(event.evidence), error=None)
    following = operation.current
    if following is None:
        operation = replace(operation, status=OperationStatus.DONE, error=None)
        return operation, [CloseOperation(operation.operation_id)]
    return operation, [RunStep(operation.operation_id, following.name)]


def _failed(operation: Operation, event: StepFailed) -> tuple[Operation, list[Command]]:
    error = dict(event.error)
    if operation.status is OperationStatus.ABORTING:
        return _put(operation, event.step, status=StepStatus.NEEDS_OPERATOR, error=error), []
    if RUNBOOKS[operation.kind].exclusive == "read":
        # nothing was changed and nothing is locked: it is over, and can simply be asked again
        operation = _put(operation, event.step, status=StepStatus.FAILED, error=error)
        return replace(operation, status=OperationStatus.FAILED, error=error), [CloseOperation(operation.operation_id)]
    operation = _put(operation, event.step, status=StepStatus.NEEDS_OPERATOR, error=error)
    return replace(operation, status=OperationStatus.NEEDS_OPERATOR, error=error), []


def _asks(operation: Operation, event: StepAsks) -> tuple[Operation, list[Command]]:
    operation = _put(
        operation,
        event.step,
        status=StepStatus.NEEDS_OPERATOR,
        error=dict(event.error),
        evidence=dict(event.evidence),
    )
    return replace(operation, status=OperationStatus.NEEDS_OPERATOR), []


def _answered(operation: Operation, event: Answered) -> tuple[Operation, list[Command]]:
    current = operation.step(event.step)
    answers = dict(operation.args.get("answers") or {})  # type: ignore[call-overload]
    before = answers.get(event.step)
    answers[event.step] = {**(before if isinstance(before, dict) else {}), **event.answer}
    operation = replace(operation, args={**operation.args, "answers": answers})
    if current.status is not StepStatus.NEEDS_OPERATOR:
        return operation, []  # a waiting gate reads the answer at its next measurement
    operation = _put(operation, event.step, status=StepStatus.PENDING, error=None)
    if operation.status is OperationStatus.ABORTING:
        return _undo_next(operation)
    operation = replace(operation, status=OperationStatus.RUNNING, error=None)
    return operation, [RunStep(operation.operation_id, event.step)]


def refuse_abort(operation: Operation) -> str | None:
    """Why an abort is not possible any more, or None when it is."""
    if operation.status.is_final:
        return f"The operation is over already ({operation.status.value})."
    if operation.status is OperationStatus.ABORTING:
        return "The operation is being aborted already."
    for definition in runbook_of(operation.kind, operation.args).steps:
        if not definition.irreversible:
            continue
        current = operation.step(definition.name)
        if current.status is StepStatus.PENDING and current.attempt == 0:
            continue
        if current.evidence.get("crossed") is not False:
            return (
                f"The point of no return is passed: {definition.title.lower()}. "
                "What was written on the target since would be lost; the way back is a new migration."
            )
    return None


def _abort(operation: Operation, _event: AbortAsked) -> tuple[Operation, list[Command]]:
    if refuse_abort(operation):
        raise InvalidTransition(f"abort of {operation.operation_id} was not checked with refuse_abort")
    cancel: list[Command] = []
    current = operation.current
    if current is not None and current.status in (StepStatus.RUNNING, StepStatus.ACTED, StepStatus.WAITING):
        cancel.append(CancelStep(operation.operation_id, current.name))
    operation = replace(operation, status=OperationStatus.ABORTING, error=None)
    operation, commands = _undo_next(operation)
    return operation, cancel + commands


def _undo_next(operation: Operation) -> tuple[Operation, list[Command]]:
    """Undo the last step that was begun and not undone yet; steps that never began are left alone."""
    runbook = runbook_of(operation.kind, operation.args)
    for item in reversed(operation.steps):
        begun = item.attempt > 0 and item.status not in (StepStatus.UNDONE, StepStatus.SKIPPED)
        if begun and runbook.step(item.name).way_back:
            operation = _put(operation, item.name, status=StepStatus.RUNNING, error=None)
            return operation, [UndoStep(operation.operation_id, item.name)]
        if begun:
            operation = _put(operation, item.name, status=StepStatus.UNDONE, error=None)
    operation = replace(operation, status=OperationStatus.ABORTED)
    return operation, [CloseOperation(operation.operation_id)]


def _undone(operation: Operation, event: StepUndone) -> tuple[Operation, list[Command]]:
    operation = _put(operation, event.step, status=StepStatus.UNDONE, evidence=dict(event.evidence), error=None)
    return _undo_next(operation)


def _superseded(operation: Operation, event: Superseded) -> tuple[Operation, list[Command]]:
    commands: list[Command] = []
    current = operation.current
    if current is not None and current.status in (StepStatus.RUNNING, StepStatus.ACTED, StepStatus.WAITING):
        commands.append(CancelStep(operation.operation_id, current.name))
    error = {"title": event.why, "cause": "", "next_step": "", "log": "", "kind": "failed"}
    operation = replace(operation, status=OperationStatus.ABORTED, error=error)
    return operation, [*commands, CloseOperation(operation.operation_id)]


# what a step's thread says; while an operation is aborting only words about undoing count, and only then
_STEP_WORDS = (StepBegun, StepActed, StepMeasured, StepVerified, StepFailed, StepAsks, StepUndone)

_HANDLERS: dict[type, Callable[..., tuple[Operation, list[Command]]]] = {
    StepBegun: _begun,
    StepActed: _acted,
    StepMeasured: _measured,
    StepVerified: _verified,
    StepFailed: _failed,
    StepAsks: _asks,
    StepUndone: _undone,
    Answered: _answered,
    AbortAsked: _abort,
    Superseded: _superseded,
}
