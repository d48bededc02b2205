"""Dropping topics and groups from the scope of the migration: a rule in rules.yml, with the reason, that plans obey."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.name_patterns import literal
from kferry.domain.planning.rules import LeaveOut, PlanningRules

if TYPE_CHECKING:
    from kferry.client.session import Session

BY_OPERATOR = "left out by the operator"
_GROUP = "group "


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a call has done, or would do: names by whether a rule was added for them, and what is still to do."""

    added: tuple[str, ...]
    present: tuple[str, ...]
    words: tuple[str, ...]


def with_left_out(rules: PlanningRules, reasons: Mapping[str, str]) -> PlanningRules:
    """The rules with these topics, and groups as `group ID`, left out; one rule for each reason, which it extends."""
    entries = list(rules.leave_out)
    for key in sorted(reasons):
        is_group, name = key.startswith(_GROUP), key.removeprefix(_GROUP)
        if _leaves_out(replace(rules, leave_out=tuple(entries)), key):
            continue
        why = reasons[key] or BY_OPERATOR
        at = next((at for at, entry in enumerate(entries) if entry.why == why), None)
        entry = entries[at] if at is not None else LeaveOut(why=why)
        entry = (
            replace(entry, groups=(*entry.groups, literal(name)))
            if is_group
            else replace(entry, topics=(*entry.topics, literal(name)))
        )
        if at is None:
            entries.append(entry)
        else:
            entries[at] = entry
    return replace(rules, leave_out=tuple(entries))


def _leaves_out(rules: PlanningRules, key: str) -> bool:
    if key.startswith(_GROUP):
        return rules.leaves_out_group(key.removeprefix(_GROUP)) is not None
    return rules.leaves_out_topic(key) is not None


def leave_out(session: Session, reasons: Mapping[str, str], *, dry_run: bool = False) -> LeftOut:
    """Write the rule and say what it means. Batches that have begun keep what they have."""
    from kferry.store import rules_file

    if session.read_only and not dry_run:
        raise KferryError("This session is read-only; rules.yml was not changed.", kind=ErrorKind.USAGE)
    rules = rules_file.load_rules(session.layout)
    present = tuple(sorted(key for key in reasons if _leaves_out(rules, key)))
    added = tuple(sorted(set(reasons) - set(present)))
    if added and not dry_run:
        rules_file.write_rules(session.layout, with_left_out(rules, {key: reasons[key] for key in added}))
    return LeftOut(added, present, _words(session, added))


def _words(session: Session, added: tuple[str, ...]) -> tuple[str, ...]:
    homes: dict[str, str] = {}
    begun: list[str] = []
    for batch in session.plan_view().batches:
        for key in (*batch.topics, *(f"{_GROUP}{name}" for name in batch.groups)):
            homes[key] = batch.name
        if batch.phase != "planned":
            begun.append(batch.name)
    stuck = [key for key in added if homes.get(key) in begun]
    planned = [key for key in added if key in homes and key not in stuck]
    words = []
    if planned:
        words.append(f"plan.yml still has {len(planned)} of them: plan again (p on Plan, or: kferry plan).")
    if stuck:
        words.append(
            f"{stuck[0].removeprefix(_GROUP)} is in batch {homes[stuck[0]]}, which has begun: "
            "take it out of its migration task instead."
        )
    return tuple(words)
