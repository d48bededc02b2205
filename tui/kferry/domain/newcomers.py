"""What appeared on the source after the plan: where it belongs, what may join by itself, what holds up a cutover.

A newcomer that matches a pattern of rules.yml joins the batch's running task, as far as the operator's limits reach.
All others are announced with the batch that the planner's rules would give them. What reads a batch without being of
it, a partition count that is no longer the one the copy began with, and a topic that is gone block the cutover.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from kferry.domain.model import Plan, Topic
from kferry.domain.newcomers_placing import placements_of, words_of
from kferry.domain.planning.placement import Placement
from kferry.domain.planning.rules import BatchPattern, PlanningRules
from kferry.domain.planning.scope import group_key, is_machinery, never_copied, topic_reason
from kferry.domain.words import first_of

_NAMED_IN_WORDS = 4
# the reasons in plan.yml of what the operator left out begin so; the planner's own reasons may no longer be true
_BY_OPERATOR = "left out by the operator"
# what a console consumer leaves behind; it counts only while somebody sits before it
_THROW_AWAY_GROUP = re.compile(r"console-consumer-[0-9]+")


class NewcomerKind(StrEnum):
    """What changed on the source."""

    TOPIC = "topic"
    GROUP = "group"
    PARTITIONS = "partitions"
    GONE = "gone"


class How(StrEnum):
    """What says where a newcomer belongs."""

    PATTERN = "pattern"
    PLANNER = "planner"
    PLAN = "plan"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class SeenGroup:
    """A group as it is now: what it reads, by commits and assignments, and whether it has members."""

    topics: frozenset[str]
    is_active: bool | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """The source at one moment: the partition count of every topic, and every group that was looked at."""

    partitions: Mapping[str, int]
    groups: Mapping[str, SeenGroup] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Copying:
    """What a running task copies. `anchored` holds the partition counts its copy began with."""

    task: str
    batch: str
    topics: frozenset[str]
    groups: frozenset[str]
    anchored: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Newcomer:
    """One thing that appeared, grew or vanished. `batch` is "" where nothing says where it belongs.

    `joins`: it may join the running task by itself. `blocks`: the batch can't be switched before this is settled.
    """

    kind: NewcomerKind
    name: str
    batch: str
    how: How
    joins: bool
    blocks: bool
    why: str
    partitions: int | None = None
    reads: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind.value, self.name, self.batch


def find_newcomers(
    look: Look, plan: Plan | None, copying: Sequence[Copying], rules: PlanningRules
) -> tuple[Newcomer, ...]:
    """Everything that is new against the plan and the running tasks, sorted; the same facts give the same answer."""
    sorting = _Sorting(look, plan, copying, rules)
    topics = sorting.topics()
    joining = {item.name: item.batch for item in topics if item.joins}
    found = [*topics, *sorting.groups(joining), *sorting.changed_topics()]
    return tuple(sorted(found, key=lambda item: item.key))


def late_groups(look: Look, plan: Plan | None, copying: Copying, rules: PlanningRules) -> list[Newcomer]:
    """The groups that read what a task copies without being of it, and that hold up its cutover."""
    found = _Sorting(look, plan, [copying], rules).groups({})
    return [item for item in found if item.batch == copying.batch and item.blocks]


class _Sorting:
    """One look, judged."""

    def __init__(self, look: Look, plan: Plan | None, copying: Sequence[Copying], rules: PlanningRules) -> None:
        self._look = look
        self._rules = rules
        self._tasks = {item.batch: item for item in copying}
        self._planned = {batch.name: frozenset(batch.topics) for batch in plan.batches} if plan else {}
        self._planned_groups = {name: batch.name for batch in plan.batches for name in batch.groups} if plan else {}
        self._left_out = plan.left_out if plan else {}
        # a running task says what is copied; the plan speaks for batches without one
        self._home = {name: batch for batch, names in self._planned.items() for name in names}
        self._home |= {name: item.batch for item in copying for name in item.topics}
        self._group_home = {**self._planned_groups, **{name: item.batch for item in copying for name in item.groups}}
        self._batches = {*self._planned, *self._tasks}
        self._readers: dict[str, set[str]] = {}
        for group_id, group in look.groups.items():
            for name in group.topics:
                self._readers.setdefault(name, set()).add(group_id)
        self._plan = plan
        self._placements: Mapping[str, Placement] = {}

    # ---- topics ---------------------------------------------------------------------------------------------------

    def topics(self) -> list[Newcomer]:
        new = [name for name in sorted(self._look.partitions) if self._is_new(name)]
        if self._plan is not None and any(self._rules.pattern_of_topic(name) is None for name in new):
            reads = {group_id: group.topics for group_id, group in self._look.groups.items()}
            self._placements = placements_of(
                [*new, *(name for name in self._home if name in self._look.partitions)],
                reads,
                self._plan,
                self._home,
                self._group_home,
                self._rules,
            )
        found = [item for name in new for item in self._of_topic(name)]
        return self._within_limits(found)

    def _is_new(self, name: str) -> bool:
        if name in self._home or name in self._left_out or self._rules.leaves_out_topic(name) is not None:
            return False
        if self._rules.pattern_of_topic(name) is not None:  # asked for by name: state of Streams comes along too
            return not is_machinery(_bare(name))
        return topic_reason(_bare(name), {*self._look.groups, *self._group_home}) is None

    def _of_topic(self, name: str) -> list[Newcomer]:
        """A topic where it belongs, and besides in every running task whose groups read it."""
        item = self._topic(name)
        readers = self._readers.get(name, set())
        others = [task for batch, task in sorted(self._tasks.items()) if batch != item.batch and task.groups & readers]
        if not others:
            return [item]
        seen = [
            replace(
                item,
                batch=task.batch,
                how=How.PLANNER,
                joins=False,
                blocks=True,
                why=f"group {min(task.groups & readers)} of batch {task.batch} reads it; {item.why}",
            )
            for task in others
        ]
        return [item, *seen] if item.batch else seen

    def _topic(self, name: str) -> Newcomer:
        count = self._look.partitions[name]
        batch, how, why = self._topic_home(name)
        readers = self._readers.get(name, set())
        strangers = sorted({home for one in readers if (home := self._group_home.get(one, batch)) != batch})
        obstacle = never_copied(name)
        if how is How.PATTERN and obstacle is None and strangers:
            obstacle = f"a group of batch {strangers[0]} reads it too"
        if how is How.PATTERN and obstacle is None and batch not in self._batches:
            obstacle = "there is no such batch"
        if obstacle is not None:
            why = f"{why}, but it can't join by itself: {obstacle}"
        task = self._tasks.get(batch)
        is_read = task is not None and any(one in task.groups for one in readers)
        return Newcomer(
            NewcomerKind.TOPIC,
            name,
            batch,
            how,
            joins=how is How.PATTERN and obstacle is None and task is not None,
            # what the operator gave to the batch, and what its groups read, must not be left behind
            blocks=task is not None and (how is How.PATTERN or is_read),
            why=why,
            partitions=count,
        )

    def _topic_home(self, name: str) -> tuple[str, How, str]:
        pattern = self._rules.pattern_of_topic(name)
        if pattern is not None:
            return pattern.batch, How.PATTERN, f"it matches a pattern of batch {pattern.batch}"
        placement = self._placements.get(name)
        if placement is None:
            return "", How.NOWHERE, "no pattern and no rule of the planner says where it belongs"
        if placement.batch is None:
            return "", How.NOWHERE, words_of(placement)
        if placement.is_new_batch:
            return "", How.NOWHERE, f"the next plan would give it a batch of its own: {words_of(placement)}"
        return placement.batch, How.PLANNER, words_of(placement)

    def _within_limits(self, found: Iterable[Newcomer]) -> list[Newcomer]:
        """In the order of names: a limit that is reached never depends on what was looked at first."""
        used: dict[str, list[int]] = {}
        result = []
        for item in found:
            pattern = self._rules.pattern_of_topic(item.name)
            if not item.joins or pattern is None:
                result.append(item)
                continue
            topics, partitions = used.setdefault(item.batch, self._joined_before(item.batch))
            words = _over("topics", pattern.limits.topics, topics + 1)
            words = words or _over("partitions", pattern.limits.partitions, partitions + (item.partitions or 0))
            if words:
                result.append(replace(item, joins=False, why=f"{item.why}, but {words}"))
                continue
            used[item.batch] = [topics + 1, partitions + (item.partitions or 0)]
            result.append(item)
        return result

    def _joined_before(self, batch: str) -> list[int]:
        """Topics and partitions that the task has beyond the plan, and what planned topics grew by."""
        task = self._tasks[batch]
        extra = task.topics - self._planned.get(batch, frozenset())
        matched = [name for name in extra if self._rules.pattern_of_topic(name) is not None]
        return [len(matched), sum(self._look.partitions.get(name, 0) for name in matched)]

    # ---- groups ---------------------------------------------------------------------------------------------------

    def groups(self, joining: Mapping[str, str]) -> list[Newcomer]:
        copied = {name for task in self._tasks.values() for name in task.groups}
        homes = {**joining, **self._home}
        used: dict[str, int] = {}
        found: list[Newcomer] = []
        for group_id in sorted(self._look.groups):
            group = self._look.groups[group_id]
            if group_id in copied or self._is_settled(group_id, group):
                continue
            # what is gone from the source can no longer be moved
            reads = {name for name in group.topics if name in self._look.partitions and name in homes}
            for batch in sorted({homes[name] for name in reads}):
                if self._planned_groups.get(group_id) == batch and batch not in self._tasks:
                    continue  # as planned: its batch just doesn't move yet
                found.append(self._group(group_id, group, batch, {homes[name] for name in reads}, reads, used))
            if not reads and group.error:
                found += self._unread_group(group_id, group)
        return found

    def _is_settled(self, group_id: str, group: SeenGroup) -> bool:
        """Whether the operator said already that it does not move with what it reads, or nobody misses it."""
        if _THROW_AWAY_GROUP.fullmatch(group_id) and not group.is_active:
            return True
        by_operator = self._left_out.get(group_key(group_id), "").startswith(_BY_OPERATOR)
        return (
            by_operator or self._rules.leaves_out_group(group_id) is not None or self._rules.cut(group_id) is not None
        )

    def _group(
        self, group_id: str, group: SeenGroup, batch: str, touched: set[str], reads: set[str], used: dict[str, int]
    ) -> Newcomer:
        task = self._tasks.get(batch)
        pattern = self._rules.pattern_of_group(group_id)
        here = sorted(name for name in reads if self._home.get(name) == batch)
        mine = pattern if pattern is not None and pattern.batch == batch else None
        if self._planned_groups.get(group_id) == batch:
            how, why = How.PLAN, f"plan.yml has it in batch {batch}, the running task doesn't"
        elif mine is not None:
            read = first_of(sorted(reads), _NAMED_IN_WORDS)
            how, why = How.PATTERN, f"it reads {read} and matches a pattern of batch {batch}"
        else:
            how, why = How.PLANNER, f"it reads {first_of(sorted(here or reads), _NAMED_IN_WORDS)} of batch {batch}"
        joins, obstacle = False, ""
        if mine is not None and task is not None:
            obstacle = self._group_obstacle(group, task, batch, touched, mine, used)
            joins = not obstacle
            why += f", but {obstacle}" if obstacle else ""
        if joins:
            used[batch] = used.get(batch, 0) + 1
        elif task is not None and not obstacle:
            why += " but is not of it"
        # what the plan gave to another batch was known, and counts only while it is at work here
        rests = self._group_home.get(group_id, batch) != batch and group.is_active is False
        reads_copied = task is not None and bool(task.topics & reads) and not rests
        return Newcomer(
            NewcomerKind.GROUP, group_id, batch, how, joins, blocks=reads_copied, why=why, reads=tuple(sorted(reads))
        )

    def _group_obstacle(
        self,
        group: SeenGroup,
        task: Copying,
        batch: str,
        touched: set[str],
        pattern: BatchPattern,
        used: Mapping[str, int],
    ) -> str:
        """Why a group of a pattern can't join by itself; "" where it can."""
        if group.error:
            return f"it can't be read whole: {group.error}"
        if touched != {batch}:
            return f"it also reads topics of {first_of(sorted(touched - {batch}), _NAMED_IN_WORDS)}"
        planned = {name for name, home in self._planned_groups.items() if home == batch}
        before = [name for name in task.groups - planned if self._rules.pattern_of_group(name) is not None]
        return _over("groups", pattern.limits.groups, len(before) + used.get(batch, 0) + 1)

    def _unread_group(self, group_id: str, group: SeenGroup) -> list[Newcomer]:
        """A group that can't be read may read anything: it is told of, and a gate that measures must say more."""
        if group_id in self._group_home or group_key(group_id) in self._left_out:
            return []
        why = f"it can't be read: {group.error}"
        return [Newcomer(NewcomerKind.GROUP, group_id, "", How.NOWHERE, joins=False, blocks=False, why=why)]

    # ---- what is copied and changed --------------------------------------------------------------------------------

    def changed_topics(self) -> list[Newcomer]:
        found = []
        for batch, task in sorted(self._tasks.items()):
            used = self._joined_before(batch)[1]
            for name in sorted(task.topics):
                now, anchored = self._look.partitions.get(name), task.anchored.get(name)
                if now is None:
                    why = "it is no longer seen on the source: deleted, or the right to describe it is gone"
                    found.append(_changed(NewcomerKind.GONE, name, batch, why, joins=False, partitions=None))
                elif anchored is not None and now != anchored:
                    joins, words = self._may_grow(name, now - anchored, used)
                    used += now - anchored if joins else 0
                    why = f"it has {now} partitions now, {anchored} when its copy began{words}"
                    found.append(_changed(NewcomerKind.PARTITIONS, name, batch, why, joins=joins, partitions=now))
        return found

    def _may_grow(self, name: str, more: int, used: int) -> tuple[bool, str]:
        pattern = self._rules.pattern_of_topic(name)
        if more < 0:
            return False, ": it was made anew"
        if pattern is None:
            return False, ""
        words = _over("partitions", pattern.limits.partitions, used + more)
        return not words, f", and {words}" if words else ""


def _changed(kind: NewcomerKind, name: str, batch: str, why: str, *, joins: bool, partitions: int | None) -> Newcomer:
    how = How.PATTERN if joins else How.PLAN
    return Newcomer(kind, name, batch, how, joins=joins, blocks=True, why=why, partitions=partitions)


def sentence(item: Newcomer, task: str = "") -> str:
    """A newcomer as one sentence, with what to do where nothing happens by itself."""
    subject = {NewcomerKind.GROUP: "Group"}.get(item.kind, "Topic")
    ending = ""
    if item.joins:
        ending = " It joins by itself." if item.kind is not NewcomerKind.PARTITIONS else " It is anchored by itself."
    elif item.blocks and task:
        ending = f" It holds up the cutover: {_remedy(item, task)}."
    verb = " appeared" if item.kind in (NewcomerKind.TOPIC, NewcomerKind.GROUP) else ""
    return f"{subject} {item.name}{verb}: {item.why}.{ending}"


def _remedy(item: Newcomer, task: str) -> str:
    if item.kind is NewcomerKind.GROUP:
        return f"take it in (kferry task update {task} --add-group {item.name}), cut it in rules.yml, or delete it"
    if item.kind is NewcomerKind.GONE:
        return f"take it out (kferry task update {task} --remove-topic {item.name})"
    if item.kind is NewcomerKind.PARTITIONS and "anew" in item.why:
        return "take it out, delete it on the target, and add it again"
    what = "have its new partitions anchored" if item.kind is NewcomerKind.PARTITIONS else "take it in"
    other = "" if item.kind is NewcomerKind.PARTITIONS else ", or leave it out in rules.yml"
    return f"{what} (kferry task update {task} --add-topic {item.name}){other}"


def is_settled(first_seen_ms: Iterable[int], now_ms: int, interval_ms: int) -> bool:
    """Whether newcomers may be let in now: none is newer than one interval, or the oldest has waited for five.

    Each change restarts all connector tasks, so what appears within a short time joins at once.
    """
    seen = list(first_seen_ms)
    return bool(seen) and (now_ms - max(seen) >= interval_ms or now_ms - min(seen) >= 5 * interval_ms)


def _over(what: str, limit: int | None, wanted: int) -> str:
    return (
        ""
        if limit is None or wanted <= limit
        else f"the limit of {limit} {what} that may join by themselves is reached"
    )


def _bare(name: str) -> Topic:
    """A topic of which only the name is known."""
    return Topic(name, None, None, (), is_internal=name.startswith("__"))
