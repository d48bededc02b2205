"""Choosing the runbook of a cutover from the applications of the batch, as the last scan and the rules show them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kferry.domain.applications import Application, applications_of
from kferry.domain.cutover_choice import AUTO, Choice, choose_runbook
from kferry.domain.model import Role, Scan, TaskSpec
from kferry.engine.newcomers_look import known_rules
from kferry.store import codec

if TYPE_CHECKING:
    from kferry.engine.context import Services


def applications_in(services: Services, spec: TaskSpec) -> tuple[Application, ...]:
    """The applications that read or write what this task copies; none while the source was never scanned."""
    body = services.journal.document("scan", Role.SOURCE.value)
    if body is None:
        return ()
    rules = known_rules(services)
    cut = {item.name for item in rules.cuts}
    found = applications_of(codec.load(Scan, body), rules.applications, cut=cut)
    groups, topics = set(spec.groups), set(spec.topics)
    return tuple(one for one in found if groups & set(one.groups) or (not one.groups and topics & one.topics))


class RunbookTeller:
    """Keeps the document `runbook` of each batch: what a cutover would choose now, so that faces can show it before."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._made_from: dict[str, object] = {}

    def tell(self, spec: TaskSpec) -> None:
        """Choose anew where the scan, the rules or the task have changed since the last time."""
        journal = self._services.journal
        facts = (
            journal.document_at_ms("scan", Role.SOURCE.value),
            known_rules(self._services),
            spec.topics,
            spec.groups,
        )
        if self._made_from.get(spec.batch) == facts:
            return
        body = json.dumps(asdict(choose(self._services, spec, {})))
        if body != journal.document("runbook", spec.batch):
            journal.put_document("runbook", spec.batch, body)
        self._made_from[spec.batch] = facts


def choose(services: Services, spec: TaskSpec, args: Mapping[str, Any]) -> Choice:
    """The runbook for this task's batch. Raises KferryError where the one asked for doesn't exist."""
    return choose_runbook(str(args.get("runbook") or AUTO), applications_in(services, spec))
