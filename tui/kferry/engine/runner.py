"""Running one step in a thread: look, act if need be, look until it holds; and the same backwards for an abort."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable

from kferry.domain import machine
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.runbook import StepDefinition, StepKind
from kferry.domain.runbooks import runbook_of
from kferry.engine.context import Cancelled, StepContext
from kferry.engine.steps import STEPS, Check, Question, Step, kill_point

log = logging.getLogger(__name__)

# `post(event)` hands an event to the mutator and returns when it is saved.
Post = Callable[[machine.Event], None]


class StepRun(threading.Thread):
    """One step being run or undone. A thread waits for the one before it of the same operation."""

    def __init__(self, ctx: StepContext, post: Post, *, undo: bool, after: threading.Thread | None) -> None:
        super().__init__(name=f"{ctx.operation_id}/{ctx.step}{'/undo' if undo else ''}", daemon=True)
        self.ctx = ctx
        self._post = post
        self._undo = undo
        self._after = after

    def cancel(self) -> None:
        self.ctx.cancelled.set()

    def run(self) -> None:
        if self._after is not None:
            self._after.join()
        self._after = None
        ctx, kind = self.ctx, self.ctx.operation.kind
        definition = runbook_of(kind, ctx.operation.args).step(ctx.step)
        step = STEPS[kind, ctx.step]
        try:
            if self._undo:
                self._post(machine.StepUndone(ctx.operation_id, ctx.step, dict(step.undo(ctx))))
            else:
                self._forward(definition, step)
        except Cancelled:
            log.info("cancelled: %s", self.name)
        except KferryError as error:
            log.warning("%s: %s", self.name, error)
            self._fail(error)
        except Exception as error:  # a step must never die in silence
            log.error("%s: %s", self.name, traceback.format_exc())
            self._fail(
                KferryError(
                    f"{definition.title}: {type(error).__name__}: {error}",
                    cause="This is a defect of kferry, or something nobody foresaw.",
                    next_step="Retry; if it comes again, send the log.",
                    log=str(ctx.layout.engine_log),
                    kind=ErrorKind.INTERNAL,
                )
            )
        finally:
            ctx.close()

    def _fail(self, error: KferryError) -> None:
        if not self.ctx.cancelled.is_set():
            self._post(machine.StepFailed(self.ctx.operation_id, self.ctx.step, error.as_dict(), undoing=self._undo))

    def _forward(self, definition: StepDefinition, step: Step) -> None:
        ctx = self.ctx
        self._post(machine.StepBegun(ctx.operation_id, ctx.step))
        kill_point(ctx.step, "before")
        if definition.kind is StepKind.ACT:
            before = None if step.acts_always else step.check(ctx)
            if not (isinstance(before, Check) and before.holds):
                ctx.raise_if_cancelled()
                step.act(ctx)
                self._post(machine.StepActed(ctx.operation_id, ctx.step))
            kill_point(ctx.step, "acted")
        deadline = time.monotonic() + definition.timeout_seconds
        shown: object = None
        while True:
            ctx.raise_if_cancelled()
            seen = step.check(ctx)
            if isinstance(seen, Question):
                error = KferryError(seen.title, next_step=seen.next_step, kind=ErrorKind.NOT_READY)
                self._post(machine.StepAsks(ctx.operation_id, ctx.step, error.as_dict(), dict(seen.evidence)))
                return
            if seen.holds:
                if definition.kind is not StepKind.ACT:
                    kill_point(ctx.step, "acted")  # it held at the first look: there was nothing to do
                self._post(machine.StepVerified(ctx.operation_id, ctx.step, dict(seen.evidence)))
                kill_point(ctx.step, "verified")
                return
            if definition.kind is not StepKind.ACT:
                will_act = step.will_act(ctx)
                if will_act:
                    # saved before it is done: what was seen before (who was running), and that from here on there may
                    # be no way back
                    crossed = {"crossed": True} if definition.irreversible else {}
                    self._post(machine.StepMeasured(ctx.operation_id, ctx.step, {**seen.evidence, **crossed}))
                step.act(ctx)  # an owner step may run its hook once; a gate has nothing to do
                kill_point(ctx.step, "acted")
                if will_act:
                    continue
            if dict(seen.evidence) != shown:
                shown = dict(seen.evidence)
                self._post(machine.StepMeasured(ctx.operation_id, ctx.step, dict(seen.evidence)))
            if time.monotonic() > deadline:
                raise KferryError(
                    f"{definition.title}: not true after {definition.timeout_seconds:.0f} s.",
                    cause=f"Must hold: {definition.gate}." if definition.gate else "",
                    next_step="See the evidence of the step; mend the cause, then retry or abort.",
                    log=str(ctx.layout.engine_log),
                    kind=ErrorKind.TIMEOUT,
                )
            ctx.pause(step.poll_seconds)
