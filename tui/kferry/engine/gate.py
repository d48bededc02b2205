"""What preflight found, kept for the gate before a task: which findings, what they judged, and what was waived."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlmodel import Session

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.judged import Judged, Stale, judged, stale
from kferry.domain.model import Batch, Finding, Role
from kferry.domain.preflight import PreflightFacts
from kferry.store import codec
from kferry.store.journal import now_ms
from kferry.store.tables import WaiverRow

if TYPE_CHECKING:
    from kferry.engine.context import Services
    from kferry.store.journal import Journal

_DOCUMENT = "judged"
_WEEK_MS = 7 * 24 * 3600 * 1000


def keep(journal: Journal, findings: Iterable[Finding], facts: PreflightFacts) -> None:
    """Write down the findings together with what was looked at."""
    with journal.transaction() as session:
        journal.put_document("findings", "", json.dumps([asdict(finding) for finding in findings]), session)
        journal.put_document(_DOCUMENT, "", codec.dump(judged(facts)), session)


def staleness(services: Services, batch: Batch) -> Stale | None:
    """Why the last findings don't speak of this batch as it is now; None where they do."""
    body = services.journal.document(_DOCUMENT, "")
    bodies = {role: services.journal.document("scan", role.value) for role in Role}
    scans = {role: json.loads(text) for role, text in bodies.items() if text}  # of a large cluster: not validated again
    source = scans.get(Role.SOURCE, {"topics": (), "groups": ()})
    known = {item["name"] for item in source["topics"]} | {item["group_id"] for item in source["groups"]}
    last = codec.load(Judged, body) if body else None
    return stale(last, batch, {role: scan["scan_id"] for role, scan in scans.items()}, known)


def refuse_unjudged(services: Services, batch: Batch) -> None:
    """Raise KferryError where preflight has to run again before this batch begins."""
    found = staleness(services, batch)
    if found is not None:
        raise KferryError(found.title, next_step=found.next_step, kind=ErrorKind.NOT_READY)


def put_waiver(journal: Journal, session: Session, args: Mapping[str, Any], who: str) -> None:
    """Waive a finding of the last preflight, as far as it reaches now. Raises KferryError where that can't be."""
    finding_id, why = str(args.get("finding_id", "")), str(args.get("why", ""))
    found = json.loads(journal.document("findings", "") or "[]")
    match = next((item for item in found if f"{item['check']}:{item['subject']}" == finding_id), None)
    if match is None:
        raise KferryError(f"There is no finding {finding_id!r}.", kind=ErrorKind.USAGE)
    if match["severity"] == "block":
        raise KferryError(
            f"{match['title']} It blocks and cannot be waived.", next_step=match["fix"], kind=ErrorKind.NOT_READY
        )
    if not why.strip():
        raise KferryError("A waiver needs a reason.", kind=ErrorKind.USAGE)
    at_ms = now_ms()
    journal.put_waiver(
        WaiverRow(
            finding_id=finding_id,
            who=who,
            why=why,
            at_ms=at_ms,
            until_ms=int(args.get("until_ms") or at_ms + _WEEK_MS),
            content=json.dumps(match.get("content") or []),
        ),
        session,
    )
