"""Checks of what changed under way: topics that were deleted and made anew under the same name."""

from __future__ import annotations

from collections.abc import Iterator

from kferry.domain.model import Role
from kferry.domain.preflight.facts import PreflightFacts
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import Result, block, counted, info, listed


@check(
    "topic-recreated",
    Family.RECORDS,
    "block info",
    why="MirrorMaker goes on at the old offset, and skips or repeats the records of the new topic without an error.",
    fix="Delete the migration task and create it anew: it starts with fresh offsets.",
)
def recreated(facts: PreflightFacts) -> Iterator[Result]:
    """No topic was deleted and made anew since the scan before."""
    for name in sorted(facts.recreated.get(Role.SOURCE, frozenset()) & facts.owned_topics):
        yield block(
            name,
            f"{name} was deleted and made anew on the source while it is copied",
            "The last two scans show two topics of that name. What is on the target belongs to the old one.",
            "Delete its migration task, delete the topic on the target, scan again and create the task anew.",
        )
    for name in sorted(facts.recreated.get(Role.TARGET, frozenset()) & facts.owned_topics):
        yield block(
            f"target {name}",
            f"{name} was deleted and made anew on the target while it is copied",
            "The last two scans show two topics of that name. What was copied before is gone and is not copied again.",
            "Delete its migration task, scan again and create the task anew: it copies from the start.",
        )
    moving = {topic.name for topic in facts.topics}
    others = (facts.recreated.get(Role.SOURCE, frozenset()) & moving) - facts.owned_topics
    if others:
        yield info(
            "topics",
            f"{counted(len(others), 'topic')} deleted and made anew on the source since the scan before",
            f"{listed(others)}: positions of groups may be those in the old topic.",
            "Nothing has to be done: nothing of them was copied yet.",
        )
