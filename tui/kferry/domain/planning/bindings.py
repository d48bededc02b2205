"""What binds topics together: groups that read them, transactions and applications that write them, rules."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from kferry.domain.applications import Application
from kferry.domain.model import Scan
from kferry.domain.name_patterns import matches_any
from kferry.domain.planning.rules import PlanningRules

_NAMED_IN_WORDS = 6


class NodeKind(StrEnum):
    """The nodes of the graph."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional id"
    APPLICATION = "application"
    RULE = "rule"


@dataclass(frozen=True, slots=True)
class Binding:
    """Something that binds topics together; `verb` says what it does with them, `why` what that rests on."""

    kind: NodeKind
    name: str
    topics: frozenset[str]
    verb: str
    why: str = ""

    @property
    def words(self) -> str:
        """The binding as a sentence."""
        together = ", so they move together" if len(self.topics) > 1 else ""
        reason = f" ({self.why.rstrip('.')})" if self.why else ""
        name = f"{self.kind.value} {self.name}"
        return f"{name[0].upper()}{name[1:]} {self.verb} {listed_in_words(sorted(self.topics))}{together}{reason}."


def listed_in_words(names: list[str]) -> str:
    """Names as an operator would list them: "a, b and c", shortened where there are many."""
    if len(names) > _NAMED_IN_WORDS:
        return f"{', '.join(names[:_NAMED_IN_WORDS])} and {len(names) - _NAMED_IN_WORDS} more"
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part) if names else ""


def bindings_of(
    scan: Scan,
    topics: Iterable[str],
    groups: Iterable[str],
    *,
    rules: PlanningRules | None = None,
    applications: Iterable[Application] = (),
) -> list[Binding]:
    """What binds the given topics together, in a stable order. What the operator cut binds nothing."""
    rules = rules or PlanningRules()
    wanted, readers = frozenset(topics), frozenset(groups)
    cut = {one.name for one in rules.cuts}
    found = [
        Binding(NodeKind.GROUP, group.group_id, group.topics & wanted, "reads")
        for group in scan.groups
        if group.group_id in readers and group.group_id not in cut
    ]
    found += [
        Binding(NodeKind.TRANSACTIONAL_ID, one.transactional_id, one.topics & wanted, "writes")
        for one in scan.transactional_ids or ()
    ]
    found += [
        Binding(NodeKind.APPLICATION, one.name, one.topics & wanted, one.verb, one.why_bound)
        for one in applications
        if one.binds and one.name not in cut
    ]
    found += _of_rules(rules, scan, wanted, readers)
    return sorted((one for one in found if one.topics), key=lambda one: (one.kind, one.name))


def _of_rules(rules: PlanningRules, scan: Scan, wanted: Collection[str], readers: Collection[str]) -> list[Binding]:
    if not rules.together and not rules.patterns:
        return []
    read = {group.group_id: group.topics for group in scan.groups if group.group_id in readers}

    def topics_of(topics: tuple[str, ...], groups: tuple[str, ...]) -> frozenset[str]:
        named = {name for name in wanted if matches_any(topics, name)}
        named |= {name for group_id, found in read.items() if matches_any(groups, group_id) for name in found}
        return frozenset(named).intersection(wanted)

    found = [
        Binding(NodeKind.RULE, one.name, topics_of(one.topics, one.groups), "keeps together", one.why)
        for one in rules.together
    ]
    found += [
        Binding(
            NodeKind.RULE,
            f"pattern of batch {one.batch}",
            frozenset(name for name in wanted if rules.pattern_of_topic(name) is one),
            "takes in",
        )
        for one in rules.patterns
    ]
    return found
