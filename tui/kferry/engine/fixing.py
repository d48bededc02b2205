"""The changes that close findings, from what is true now: a finding that is closed meanwhile needs none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kferry.domain import fixing
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.fixing import FixAction, FixPlan
from kferry.domain.model import Finding, Role, Severity
from kferry.domain.preflight import PreflightFacts, run_checks
from kferry.engine.preflight_facts import gather

if TYPE_CHECKING:
    from kferry.engine.context import Services

_ROW_ACTIONS = {
    FixAction.CREATE_TOPIC: "create",
    FixAction.GROW_TOPIC: "change",
    FixAction.SET_CONFIG: "change",
    FixAction.GRANT: "create",
    FixAction.PRESENT: "present",
}


def findings(services: Services) -> list[Finding]:
    """The findings of the last preflight."""
    body = services.journal.document("findings", "")
    if body is None:
        raise KferryError("Preflight has not run yet.", next_step="Run `kferry preflight`.", kind=ErrorKind.NOT_READY)
    return [
        Finding(**{**item, "severity": Severity(item["severity"]), "content": tuple(item.get("content") or ())})
        for item in json.loads(body)
    ]


def chosen(found: Iterable[Finding]) -> set[str]:
    """Ids of the findings that are meant where none is named: those that stop and that kferry can close."""
    return {one.finding_id for one in found if one.fixable and one.severity is not Severity.INFO}


def planned(services: Services, ids: Iterable[str]) -> FixPlan:
    """What closes these findings now; without ids all that stop and that kferry can close.

    Topics that would be changed are measured anew, as are rights.
    """
    wanted = set(ids) or chosen(findings(services))
    checks = {name.partition(":")[0] for name in wanted}
    facts = gather(services)
    for role, words in facts.errors.items():
        raise KferryError(
            f"The {role.value} cluster cannot be reached, so nothing is fixed.",
            cause=words,
            next_step="Mend the connection first: `kferry clusters test`.",
            kind=ErrorKind.CONNECT,
        )
    draft = _plan(facts, checks, wanted)
    names = {change.name for change in draft.to_do if change.rule is None}
    return _plan(measured_anew(services, facts, names), checks, wanted) if names else draft


def _plan(facts: PreflightFacts, checks: set[str], wanted: set[str]) -> FixPlan:
    still = [finding for finding in run_checks(facts, only=checks) if finding.finding_id in wanted]
    made = fixing.plan(still, facts)
    closed = sorted(wanted - {finding.finding_id for finding in still})
    if not closed:
        return made
    return replace(made, words=(*made.words, f"Closed already: {', '.join(closed)}."))


def measured_anew(services: Services, facts: PreflightFacts, names: Iterable[str]) -> PreflightFacts:
    """The facts with these topics of the target as they are now, whatever the scan found."""
    from kferry.engine.preflight_facts import with_topics

    if facts.target is None:
        return facts
    asked = sorted(set(names))
    now = services.clusters.admin(Role.TARGET).topics(asked)
    return replace(facts, target=with_topics(facts.target, asked, now))


def as_plan(services: Services, args: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """The changes as rows of a dry run, and what the operator has to know of them."""
    found = planned(services, args.get("findings") or ())
    rows = []
    for change in found.changes:
        row = {"scope": change.role.value, "resource": change.resource, "name": change.name}
        after = change.after
        if change.configs:
            after += f" {json.dumps(dict(change.configs), sort_keys=True)}"
        rows.append(
            {**row, "key": change.key, "before": change.before, "after": after, "action": _ROW_ACTIONS[change.action]}
        )
    words = list(found.words)
    if not found.to_do:
        words.append("Nothing has to be changed.")
    if found.left:
        words.append(f"Not closed by this: {', '.join(found.left)}.")
    return rows, words
