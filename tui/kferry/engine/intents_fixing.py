"""The wish to close findings: which are meant, and what is refused before anything changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.fixing import has_plan
from kferry.domain.runbook import OperationKind
from kferry.engine import fixing
from kferry.engine.context import Services

KIND = "fix_findings"


def checked(services: Services, args: Mapping[str, Any]) -> tuple[OperationKind, str]:
    """The operation and its subject. Without any id all are meant that stop and that kferry can close.

    Raises KferryError where there is nothing to close.
    """
    known = {finding.finding_id: finding for finding in fixing.findings(services)}
    wanted = [str(name) for name in args.get("findings") or ()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise KferryError(
            f"There is no finding {', '.join(repr(name) for name in unknown)}.",
            cause="Preflight has run again since, or the id is misspelt.",
            next_step="`kferry preflight --show` lists the findings.",
            kind=ErrorKind.USAGE,
        )
    by_hand = [name for name in wanted if not has_plan(known[name])]
    if by_hand:
        raise KferryError(
            f"kferry cannot close {', '.join(by_hand)}.",
            cause=known[by_hand[0]].title + ".",
            next_step=known[by_hand[0]].fix,
            kind=ErrorKind.NOT_READY,
        )
    if not wanted and not fixing.chosen(known.values()):
        raise KferryError(
            "Nothing stops the migration that kferry can close.",
            next_step="Each finding says what to do. One that stops nothing is closed by its id.",
            kind=ErrorKind.NOT_READY,
        )
    return OperationKind.FIX_FINDINGS, ""
