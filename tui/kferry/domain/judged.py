"""What the last preflight judged, and whether a batch of the plan is among it as it is now."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from kferry.domain.model import Batch, Role
from kferry.domain.preflight.facts import PreflightFacts
from kferry.domain.words import first_of

_NAMED = 5
_AGAIN = "Run `kferry preflight`."


@dataclass(frozen=True, slots=True)
class Together:
    """Topics and groups that were judged as one copy: a batch of the plan, or everything while there was none."""

    topics: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """The scans that preflight looked at, by cluster, and what of the source it judged."""

    scans: Mapping[Role, str]
    together: tuple[Together, ...]


@dataclass(frozen=True, slots=True)
class Stale:
    """Why findings don't speak of a batch as it is now, and what to do."""

    title: str
    next_step: str


def judged(facts: PreflightFacts) -> Judged:
    """What a preflight of these facts has judged."""
    topics, groups = {topic.name for topic in facts.topics}, {group.group_id for group in facts.groups}
    if facts.plan is None:
        together = [Together(tuple(sorted(topics)), tuple(sorted(groups)))]
    else:
        together = [
            Together(tuple(sorted(topics & {*batch.topics})), tuple(sorted(groups & {*batch.groups})))
            for batch in facts.plan.batches
        ]
    scans = {role: scan.scan_id for role in Role if (scan := facts.scan(role)) is not None}
    return Judged(scans, tuple(together))


def stale(last: Judged | None, batch: Batch, scans: Mapping[Role, str], known: Collection[str]) -> Stale | None:
    """Why this batch can't rest on the last preflight; None where it can. `known`: topics and groups of the last scan.

    Preflight may have run before the plan was made: the scans have to be the same, and all of the batch must have been
    judged at one time. A batch that only became smaller since needs no other preflight.
    """
    if last is None:
        return Stale("It is not known what the last preflight looked at: an older kferry ran it.", _AGAIN)
    for role in Role:
        if scans.get(role) != last.scans.get(role):
            return Stale(f"The {role.value} cluster was scanned after the last preflight.", _AGAIN)
    members = (*batch.topics, *batch.groups)
    gone = [name for name in members if name not in known]
    if gone:
        words = first_of(gone, _NAMED)
        return Stale(f"Batch {batch.name} holds what the last scan did not find: {words}.", "Scan, then plan again.")
    seen = {name for unit in last.together for name in (*unit.topics, *unit.groups)}
    unseen = [name for name in members if name not in seen]
    if unseen:
        return Stale(f"Preflight has not judged {first_of(unseen, _NAMED)} of batch {batch.name}.", _AGAIN)
    if not any({*batch.topics} <= {*unit.topics} and {*batch.groups} <= {*unit.groups} for unit in last.together):
        return Stale(f"Batch {batch.name} was put together after the last preflight.", _AGAIN)
    return None
