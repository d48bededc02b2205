"""Which findings and waivers concern a batch: all but those about another batch's topics and groups."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kferry.domain.model import Batch
from kferry.domain.waivers import beyond, state
from kferry.store.journal import now_ms
from kferry.store.tables import WaiverRow

if TYPE_CHECKING:
    from kferry.engine.context import Services


def stopping_findings(services: Services, batch: Batch) -> list[dict[str, Any]] | None:
    """Findings that still stop this batch (blocks, and warnings without a waiver); None if preflight never ran."""
    body = services.journal.document("findings", "")
    if body is None:
        return None
    waived = {row.finding_id: row for row in services.journal.waivers(now_ms())}
    elsewhere = _subjects_elsewhere(services, batch)
    return [
        item
        for item in json.loads(body)
        if item["severity"] != "info"
        and not _is_about(item["subject"], elsewhere)
        and (item["severity"] == "block" or not covers(waived.get(f"{item['check']}:{item['subject']}"), item))
    ]


def covers(waiver: WaiverRow | None, finding: Mapping[str, Any]) -> bool:
    """Whether a waiver reaches over all that a finding is about now."""
    if waiver is None:
        return False
    return not beyond(finding.get("content") or (), _waived(waiver))


def _subjects_elsewhere(services: Services, batch: Batch) -> set[str]:
    from kferry.store.plan_file import load_plan

    if not services.layout.plan.exists():
        return set()
    return {
        name
        for other in load_plan(services.layout).batches
        if other.name != batch.name
        for name in (*other.topics, *other.groups, other.name, f"batch {other.name}")
    } - {*batch.topics, *batch.groups}


def _is_about(subject: str, names: set[str]) -> bool:
    """Whether a finding's subject is one of these names, or one of them with the side or the aspect it is about."""
    return bool({subject, subject.removeprefix("target "), subject.removesuffix(" (beyond the end)")} & names)


def waivers_of(services: Services, batch: Batch) -> list[dict[str, Any]]:
    """Every waiver that concerned this batch, for its certificate, with how it stands now: also one that is over by
    now, or whose finding is gone, since somebody went on despite it then."""
    found = {f"{one['check']}:{one['subject']}": one for one in json.loads(_findings(services))}
    elsewhere = _subjects_elsewhere(services, batch)
    at_ms = now_ms()
    return [
        _waiver(row, found.get(row.finding_id), at_ms)
        for row in sorted(services.journal.waivers(0), key=lambda row: row.finding_id)
        if not _is_about(row.finding_id.partition(":")[2], elsewhere)
    ]


def _waiver(row: WaiverRow, finding: Mapping[str, Any] | None, at_ms: int) -> dict[str, Any]:
    """One waiver for a certificate. `covers` and `beyond` are numbers of names, None where kferry kept none then."""
    content = (finding or {}).get("content") or ()
    waived = _waived(row)
    return {
        "finding_id": row.finding_id,
        "severity": finding["severity"] if finding else "no longer found",
        "title": finding["title"] if finding else "",
        "who": row.who,
        "why": row.why,
        "given_at": _moment(row.at_ms),
        "until": _moment(row.until_ms),
        "state": state(row.until_ms, at_ms, content, waived).value,
        "covers": None if waived is None else len(waived),
        "beyond": None if waived is None else beyond(content, waived),
    }


def _waived(row: WaiverRow) -> list[str] | None:
    """What a waiver was given for; None: given before kferry kept that."""
    return None if row.content is None else json.loads(row.content)


def _findings(services: Services) -> str:
    return services.journal.document("findings", "") or "[]"


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")
