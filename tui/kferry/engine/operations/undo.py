"""Undoing one entry of the change ledger."""

from __future__ import annotations

from kferry.domain.runbook import OperationKind
from kferry.engine.context import StepContext
from kferry.engine.steps import Check, Step, step
from kferry.store.tables import ChangeRow


@step((OperationKind.UNDO_CHANGE, "undo"))
class Undo(Step):
    """Put back what was there before, as the ledger's line says."""

    def _row(self, ctx: StepContext) -> ChangeRow:
        return next(row for row in ctx.journal.changes() if str(row.id) == ctx.operation.subject)

    def check(self, ctx: StepContext) -> Check:
        row = self._row(ctx)
        return Check(row.status != "applied", {"change": row.id, "status": row.status})

    def act(self, ctx: StepContext) -> None:
        ctx.services.ledger.undo(self._row(ctx))
