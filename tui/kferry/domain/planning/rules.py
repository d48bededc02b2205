"""What the operator wants of a plan: systems, what belongs together, what goes first or last, what is cut."""

from __future__ import annotations

from dataclasses import dataclass

from kferry.domain.applications import ApplicationRule
from kferry.domain.name_patterns import NameFilter, literal, matches, matches_any


@dataclass(frozen=True, slots=True)
class BusinessSystem:
    """A part of the business by the names of its topics and groups. `core` None: the operator did not say."""

    name: str
    topics: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    owner: str = ""
    tags: tuple[str, ...] = ()
    core: bool | None = None


@dataclass(frozen=True, slots=True)
class Together:
    """All topics and groups that match move in one batch."""

    name: str
    topics: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Cut:
    """A group or application, by its very name, that no longer binds its topics together.

    `stays_with` names a topic with whose batch a cut group moves; without it the group stays out of the plan.
    """

    name: str
    why: str = ""
    stays_with: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may join a running task by itself; None = no limit."""

    topics: int | None = None
    groups: int | None = None
    partitions: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class BatchPattern:
    """Topics and groups that appear later and match belong to this batch, within limits."""

    batch: str
    topics: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limits: Limits = Limits()

    def has_topic(self, topic: str) -> bool:
        return NameFilter(self.topics, self.exclude).matches(topic)

    def has_group(self, group_id: str) -> bool:
        return NameFilter(self.groups, self.exclude).matches(group_id)


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """Topics and groups that stay behind on purpose."""

    topics: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class PlanningRules:
    """The content of rules.yml; all empty is a plan by evidence alone. `first` and `last` are patterns of topics."""

    systems: tuple[BusinessSystem, ...] = ()
    together: tuple[Together, ...] = ()
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    cuts: tuple[Cut, ...] = ()
    applications: tuple[ApplicationRule, ...] = ()
    patterns: tuple[BatchPattern, ...] = ()
    leave_out: tuple[LeaveOut, ...] = ()
    unread_join_their_system: bool = True

    def cut(self, name: str) -> Cut | None:
        """The cut of a group or application, if the operator made one."""
        return next((one for one in self.cuts if one.name == name), None)

    def system_of_topic(self, topic: str) -> BusinessSystem | None:
        """The business system that the operator gave a topic; the first that matches."""
        return next((one for one in self.systems if matches_any(one.topics, topic)), None)

    def system_of_group(self, group_id: str) -> BusinessSystem | None:
        return next((one for one in self.systems if matches_any(one.groups, group_id)), None)

    def leaves_out_topic(self, topic: str) -> LeaveOut | None:
        return next((one for one in self.leave_out if matches_any(one.topics, topic)), None)

    def leaves_out_group(self, group_id: str) -> LeaveOut | None:
        return next((one for one in self.leave_out if matches_any(one.groups, group_id)), None)

    def pattern_of_topic(self, topic: str) -> BatchPattern | None:
        """The batch pattern that takes a topic; the first that matches."""
        return next((one for one in self.patterns if one.has_topic(topic)), None)

    def pattern_of_group(self, group_id: str) -> BatchPattern | None:
        return next((one for one in self.patterns if one.has_group(group_id)), None)

    def place_in_order(self, topics: tuple[str, ...]) -> tuple[int, str]:
        """Where `first` and `last` put a batch with these topics, and the pattern that did: 0 where they say nothing.

        `last` wins over `first`: a batch waits for what must wait.
        """
        for index, pattern in enumerate(self.last):
            if any(matches(pattern, topic) for topic in topics):
                return 1 + index, pattern
        for index, pattern in enumerate(self.first):
            if any(matches(pattern, topic) for topic in topics):
                return index - len(self.first), pattern
        return 0, ""


def leave_out(*names: str, why: str = "") -> LeaveOut:
    """A rule that leaves out topics by their very names."""
    return LeaveOut(topics=tuple(literal(name) for name in names), why=why)
