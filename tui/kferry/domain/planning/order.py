"""The order of batches: the operator's rules, then what is offline or not core, then risk, with a canary in front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kferry.domain.model import Batch
from kferry.domain.planning.graph import Graph

_OFFLINE_TAGS = frozenset({"offline", "non-core", "noncore", "test", "batch"})
_CORE_TAGS = frozenset({"core", "critical", "online"})
_OFFLINE, _NOT_SAID, _CORE = 0, 1, 2


def in_order(batches: Sequence[Batch], graph: Graph, *, with_canary: bool = True) -> list[Batch]:
    """The batches in their order, each with a sentence why it is there; one of them may be the canary."""
    index = _Index(graph)
    ranked = sorted((index.rank(batch) for batch in batches), key=lambda one: one[0])
    ordered = [replace(batch, why=(*batch.why, words)) for _, batch, words in ranked]
    canary = next(
        (one for one in sorted(ordered, key=lambda one: (one.risk, one.name)) if index.can_be_canary(one)), None
    )
    if canary is None or not with_canary:
        return ordered
    moved = replace(
        canary,
        canary=True,
        why=(*canary.why, "Proposed as the canary: little risk, and live readers and records show whether all works."),
    )
    # what the operator wants first stays first
    asked = [one for one in ordered if one is not canary and graph.rules.place_in_order(one.topics)[0] < 0]
    rest = [one for one in ordered if one is not canary and one not in asked]
    return [*asked, moved, *rest]


class _Index:
    """What the order is decided by, per batch."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._topics = {topic.name: topic for topic in graph.scan.topics}
        self._groups = {group.group_id: group for group in graph.scan.groups}

    def rank(self, batch: Batch) -> tuple[tuple[int, int, float, str], Batch, str]:
        place, pattern = self._graph.rules.place_in_order(batch.topics)
        tier, tier_words = self._tier(batch)
        if place < 0:
            words = f"Its place: early, by the rule `first: {pattern}`."
        elif place > 0:
            words = f"Its place: late, by the rule `last: {pattern}`."
        else:
            words = f"Its place: {tier_words}, then by risk."
        return (place, tier, batch.risk, batch.name), batch, words

    def _tier(self, batch: Batch) -> tuple[int, str]:
        """Offline or not core first, core last; what the operator says goes before what was seen."""
        systems = [self._graph.business_system(name) for name in batch.topics]
        said = [one for one in systems if one is not None]
        for one in said:
            if one.core or (one.core is None and _CORE_TAGS & {tag.lower() for tag in one.tags}):
                return _CORE, f"after the others, because {one.name} is a core system"
        if said and len(said) == len(systems):
            for one in said:
                if one.core is False or _OFFLINE_TAGS & {tag.lower() for tag in one.tags}:
                    return _OFFLINE, f"among the first, because {one.name} is not a core system"
        if self._is_offline(batch):
            return _OFFLINE, "among the first, because nobody was seen to read or write it"
        return _NOT_SAID, "after what is offline or not core"

    def _is_offline(self, batch: Batch) -> bool:
        """Whether the scan saw neither live members nor growth; unknown is not offline."""
        if any(self._groups[name].members for name in batch.groups if name in self._groups):
            return False
        return all(name in self._topics and self._topics[name].records_per_second == 0 for name in batch.topics)

    def can_be_canary(self, batch: Batch) -> bool:
        """Small enough to risk and live enough to prove something: readers, records, no class that asks for more."""
        if batch.warnings or self._tier(batch)[0] == _CORE or self._graph.rules.place_in_order(batch.topics)[0] > 0:
            return False
        live = any(self._groups[name].members for name in batch.groups if name in self._groups)
        spans = [self._topics[name].record_span for name in batch.topics if name in self._topics]
        return live and any(spans) and None not in spans
