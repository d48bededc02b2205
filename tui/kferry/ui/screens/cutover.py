"""Cutover: the switch of one batch, step by step, with gates, evidence and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content

from kferry.client import actions
from kferry.client.session import Session
from kferry.store.views import OperationView, RunbookView, StepView
from kferry.ui import bindings, operation_acts, wishes
from kferry.ui.cells import Cell, Line, line
from kferry.ui.messages import Frame
from kferry.ui.modals.ask import ChoiceDialog
from kferry.ui.rows import cutover, work
from kferry.ui.runbook_choice import ask_runbook
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.chrome import Plain, Scroll
from kferry.ui.widgets.keyed_table import KeyedTable, Row


@dataclass(frozen=True, slots=True)
class CutoverSnapshot:
    """`operation` is the newest cutover of the batch; for a batch never switched, its runbook with all steps to do."""

    batches: tuple[str, ...]
    batch: str | None
    operation: OperationView | None
    head: tuple[Line, ...]
    rows: tuple[Row, ...]
    uncommitted: tuple[str, ...]
    runbook: RunbookView = field(default_factory=RunbookView)


class CutoverScreen(KferryScreen):
    NAME = "cutover"
    CRUMB = "Cutover"
    CSS_PATH = "cutover.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.for_screen("cutover")]
    HELP = """
The switch of one batch. Where its applications write what they read, everything stops, drains and switches at once;
else consumers go first (C follows the class of the applications; “Cut over by a runbook of your choice” among the
commands lets you choose). ← and → (or h and l) go from batch to batch. The head answers four questions: is data safe,
what is next, where is the point of no return, what is the way back. Each step that changes something is preceded by a
gate: a condition, measured now, that must hold; its evidence stands below for the step under the cursor.
Steps of the owners are done by the applications' owners; o runs the command of kferry.yml that does it for them, and
kferry still measures. C starts, a answers a choice, t tries again, B aborts and goes back as far as it reaches.
"""

    def __init__(self) -> None:
        super().__init__()
        # which batch is shown; None: the one that needs the operator most. Read by the poller's thread.
        self._wanted: str | None = None
        self._cursor_for: tuple[str | None, str | None] = (None, None)

    def body(self) -> ComposeResult:
        with Scroll(id="cutover-head-box", classes="panel scrolls", can_focus=False) as head:
            head.border_title = Content("Cutover")
            yield Plain(id="cutover-head")
        yield KeyedTable("Steps", work.STEP_COLUMNS, id="steps", empty="Reading the journal…", sortable=False)
        with Scroll(id="step-box", classes="panel scrolls") as box:
            box.border_title = Content("Gate and evidence")
            yield Plain(id="step")

    def collect(self, session: Session, frame: Frame) -> CutoverSnapshot:
        plan = session.plan_view()
        names = tuple(batch.name for batch in plan.batches)
        newest: dict[str, OperationView] = {}
        for operation in session.reader.operations(kind="cutover", limit=100):
            newest.setdefault(operation.subject, operation)
        names += tuple(name for name in newest if name not in names)
        batch = self._wanted if self._wanted in names else cutover.most_urgent(names, newest)
        if batch is None:
            return CutoverSnapshot((), None, None, (), (), ())
        found = newest.get(batch)
        task = session.reader.task(batch)
        chosen = session.reader.runbook(batch)
        shown = found or cutover.runbook_view(batch, chosen)
        translation = session.reader.translation(batch) or {}
        uncommitted = tuple(
            f"{item['group_id']}: {item['topic']} partition {item['partition']}"
            for item in translation.get("uncommitted", ())
        )
        head = cutover.head_lines(shown, cutover.next_words(shown, task), has_begun=found is not None)
        head += cutover.runbook_lines(shown)
        rows = work.step_rows(shown, frame.now_ms)
        return CutoverSnapshot(names, batch, found, tuple(head), rows, uncommitted, chosen)

    def show(self, snapshot: CutoverSnapshot, frame: Frame) -> None:
        box = self.query_one("#cutover-head-box")
        table = self.query_one("#steps", KeyedTable)
        if snapshot.batch is None:
            box.border_title = Content("Cutover")
            self.query_one("#cutover-head", Plain).show([line(Cell("Nothing can be switched yet.", "dim"))])
            table.set_rows((), empty="There are no batches. A plan comes first (5), then its migration tasks (6).")
            self.query_one("#step", Plain).show([])
            return
        at = snapshot.batches.index(snapshot.batch) + 1
        box.border_title = Content(f"Cutover of {snapshot.batch} · batch {at} of {len(snapshot.batches)}")
        box.border_subtitle = Content("← → other batches")
        self.query_one("#cutover-head", Plain).show(snapshot.head)
        table.set_rows(snapshot.rows)
        step = self._current()
        now = (snapshot.batch, step.name if step else None)
        if now != self._cursor_for:  # the cursor follows the cutover, and is left alone in between
            self._cursor_for = now
            if step is not None:
                table.select(step.name)
        self._show_step()

    def _shown(self) -> OperationView | None:
        if self.snapshot is None or self.snapshot.batch is None:
            return None
        return self.snapshot.operation or cutover.runbook_view(self.snapshot.batch, self.snapshot.runbook)

    def _current(self) -> StepView | None:
        shown = self._shown()
        return work.current_step(shown) if shown else None

    @on(KeyedTable.Moved)
    def _show_step(self) -> None:
        shown = self._shown()
        key = self.query_one("#steps", KeyedTable).cursor_key
        step = next((item for item in shown.steps if item.name == key), None) if shown else None
        self.query_one("#step", Plain).show(work.step_lines(step) if step else [])

    # ---- which batch ------------------------------------------------------------------------------------------------

    def select(self, subject: str) -> None:
        self._wanted = subject
        self.app.poller.wake()

    def sideways(self, by: int) -> None:
        snapshot: CutoverSnapshot | None = self.snapshot
        if snapshot is not None and snapshot.batch is not None:
            at = snapshot.batches.index(snapshot.batch)
            self.select(snapshot.batches[(at + by) % len(snapshot.batches)])

    def batch_under_cursor(self) -> str | None:
        return self.snapshot.batch if self.snapshot else None

    # ---- acts -----------------------------------------------------------------------------------------------------

    async def do_choose_runbook(self) -> None:
        batch = self.batch_under_cursor()
        if batch is not None:
            await ask_runbook(self.app, batch)

    def args_for(self, action_id: str) -> Mapping[str, Any] | None:
        batch = self.batch_under_cursor()
        if batch is None:
            return None
        if action_id in ("start_cutover", "verify"):
            return {"batch": batch}
        return operation_acts.args_for(action_id, self.snapshot.operation)

    def do_abort(self) -> None:
        operation: OperationView | None = self.snapshot.operation if self.snapshot else None
        args = operation_acts.args_for("abort", operation)
        if operation is None or args is None:
            self.say("There is no cutover under way here that could be aborted.")
            return
        back = work.way_back(operation)
        if work.has_passed_no_return(operation):
            words = ["The point of no return has passed: an abort no longer puts everything back."]
        else:
            words = ["An abort does this, in this order:", *(f"  · {item}" for item in back)]
            if not back:
                words = ["Nothing was changed yet: an abort leaves all as it is."]
        wishes.ask(self.app, actions.BY_ID["abort"], args, subject=operation.subject, words=tuple(words))

    def do_run_hook(self) -> None:
        step = self._current()
        args = operation_acts.args_for("run_hook", self.snapshot.operation if self.snapshot else None)
        if args is None or step is None:
            self.say("The step that is due is not one of the owners, or has no hook.")
            return
        words = (f"{step.title}: kferry runs the hook “{step.hook}” of kferry.yml.", f"Then it measures: {step.gate}.")
        wishes.ask(self.app, actions.BY_ID["run_hook"], args, subject=self.batch_under_cursor() or "", words=words)

    async def do_answer(self) -> None:
        step = self._current()
        operation: OperationView | None = self.snapshot.operation if self.snapshot else None
        if step is None or operation is None or step.kind not in ("decide", "owner"):
            self.say("Nothing is asked now.")
            return
        if step.kind == "owner":
            args = {"operation_id": operation.operation_id, "step": step.name, "answer": {"confirmed": True}}
            words = (f"{step.title}: the owners say that it is done.", f"kferry measures it: {step.gate}.")
            wishes.ask(self.app, wishes.dangerous(actions.BY_ID["answer"]), args, words=words)
            return

        def chosen(answer: str | None) -> None:
            if answer is not None:
                args = {
                    "operation_id": operation.operation_id,
                    "step": step.name,
                    "answer": {"uncommitted": answer},
                }
                wishes.ask(self.app, actions.BY_ID["answer"], args)

        lines = [line(step.title), *(line(Cell(f"  {text}", "dim")) for text in self.snapshot.uncommitted[:8])]
        more = len(self.snapshot.uncommitted) - 8
        if more > 0:
            lines.append(line(Cell(f"  … {more} more", "dim")))
        choices = [
            ("earliest", "earliest", "read everything that is there; nothing is missed, much may be old"),
            ("end", "end at the stop", "begin with the first record after the stop; older ones are not read"),
        ]
        await self.app.push_dialog(ChoiceDialog("Where do these partitions begin?", lines, choices), chosen)

    @on(KeyedTable.Chosen)
    def _to_evidence(self) -> None:
        self.query_one("#step-box").focus()
