"""What may be left behind: topics that nobody writes or reads, and groups that nobody commits to, each with its reason.

AutoMQ asks for this before a migration. Nothing is deleted: it is a list of what to take out of scope. What is not
known counts as used: of a topic it must be known of every partition that nothing was written to it for that long.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from kferry.domain.model import Group, GroupState, PartitionOffsets, Scan, Topic
from kferry.domain.topic_flow import whole
from kferry.domain.words import counted, first_of

DAY_MS = 86_400_000
IDLE_AFTER_MS = 7 * DAY_MS
# How a scan's notes begin where it could not see all groups.
GROUPS_MISSING = ("The groups that broker", "Some groups are not known")


class What(StrEnum):
    TOPIC = "topic"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Unused:
    """One thing to leave behind. `idle_ms` is how long nothing happened to it, None where that is not known."""

    what: What
    name: str
    reason: str
    idle_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CleanUp:
    """The list, and in words what it could not judge."""

    found: tuple[Unused, ...]
    notes: tuple[str, ...] = ()

    def names(self, what: What) -> tuple[str, ...]:
        return tuple(item.name for item in self.found if item.what is what)


def unused(scan: Scan, *, now_ms: int, idle_after_ms: int = IDLE_AFTER_MS) -> CleanUp:
    """Topics without writes and subscriptions for that long, and groups that nobody commits to."""
    notes = _why_not_judged(scan)
    if notes:
        return CleanUp((), notes)
    names = {topic.name for topic in scan.topics}
    judged = [_unused_group(group, names, now_ms, idle_after_ms) for group in scan.groups]
    groups = {item.name: item for item in judged if item is not None}
    readers = _readers(group for group in scan.groups if group.group_id not in groups)
    former = _readers(group for group in scan.groups if group.group_id in groups)
    writers = _written_by_transactions(scan)
    unread = [
        topic
        for topic in scan.topics
        if not topic.is_internal and topic.name not in readers and topic.name not in writers
    ]
    seen = [topic for topic in unread if not topic.error and topic.record_span is not None]
    still = [topic for topic in seen if not _was_written(topic, now_ms, idle_after_ms)]
    quiet = {topic.name: _quiet(topic, now_ms, idle_after_ms) for topic in still}
    topics = [_unused_topic(name, how, former.get(name, [])) for name, how in quiet.items() if how is not None]
    return CleanUp(
        (*topics, *groups.values()),
        _not_judged(
            len(unread) - len(seen),
            sum(how is None for how in quiet.values()),
            sum(1 for group in scan.groups if group.error),
        ),
    )


def _why_not_judged(scan: Scan) -> tuple[str, ...]:
    """Why nothing can be called unused: groups may be missing from the scan, or topics."""
    if not scan.complete:
        return ("The scan was cut off, so that it is not known what is unused. Go on with it: kferry scan --resume.",)
    capability = scan.cluster.capabilities.get("groups")
    if capability is not None and capability.value != "supported":
        return ("The groups could not be listed, so that it is not known which topics have no subscriptions.",)
    return tuple(note for note in scan.notes if note.startswith(GROUPS_MISSING))


def _not_judged(unseen: int, undated: int, groups: int) -> tuple[str, ...]:
    notes = []
    if unseen:
        were = "was" if unseen == 1 else "were"
        notes.append(
            f"{counted(unseen, 'topic')} that nobody reads {were} not judged: the scan could not see all of it."
        )
    if undated:
        were = "was" if undated == 1 else "were"
        notes.append(
            f"{counted(undated, 'topic')} that nobody reads {were} not judged: when all partitions were last written "
            "to is not known that far back."
        )
    if groups:
        were = "was" if groups == 1 else "were"
        notes.append(f"{counted(groups, 'group')} {were} not judged: the scan could not read all of it.")
    return tuple(notes)


def _was_written(topic: Topic, now_ms: int, idle_after_ms: int) -> bool:
    """Whether something was written to it of late, whatever else is known."""
    newest_ms = (topic.last_timestamp_ms, topic.grew_at_ms)
    return bool(topic.records_per_second) or any(ms is not None and now_ms - ms < idle_after_ms for ms in newest_ms)


def _quiet(topic: Topic, now_ms: int, idle_after_ms: int) -> tuple[str, int | None] | None:
    """How it is known that nothing was written for that long, and for how long; None where it is not known."""
    if not any(part.end_offset for part in topic.partitions):
        return "Nothing was ever written to it", None
    if topic.records_per_second is None or not _shows_its_past(topic, idle_after_ms):
        return None
    if topic.record_span == 0:
        return "All that was in it was deleted", None
    if topic.ages_are_whole and topic.last_timestamp_ms is not None:
        idle_ms = now_ms - topic.last_timestamp_ms
        return f"Its newest record is {_days(idle_ms)} old", idle_ms
    if topic.quiet_since_ms is not None and now_ms - topic.quiet_since_ms >= idle_after_ms:
        idle_ms = now_ms - topic.quiet_since_ms
        return f"None of its partitions holds a record that is younger than {_days(idle_ms)}", idle_ms
    return None


def _shows_its_past(topic: Topic, idle_after_ms: int) -> bool:
    """Whether a record of late would still be there: partitions that were emptied were so by a longer retention."""
    if not any(_was_emptied(part) for part in topic.partitions):
        return True
    retention_ms = whole(topic.effective.get("retention.ms"))
    return (
        "delete" in topic.effective.get("cleanup.policy", "")
        and retention_ms is not None
        and retention_ms >= idle_after_ms
        and whole(topic.effective.get("retention.bytes")) == -1
    )


def _was_emptied(part: PartitionOffsets) -> bool:
    return bool(part.end_offset) and part.log_start_offset == part.end_offset


def _unused_topic(name: str, quiet: tuple[str, int | None], former: list[str]) -> Unused:
    """A topic that no living group reads and nobody writes."""
    readers = (
        f"it was read by {first_of(former, 3)} only, which nobody uses" if former else "no group has committed in it"
    )
    words, idle_ms = quiet
    return Unused(What.TOPIC, name, f"{words}, and {readers}.", idle_ms=idle_ms)


def _unused_group(group: Group, topics: set[str], now_ms: int, idle_after_ms: int) -> Unused | None:
    """A group without members that commits no more; None where it lives, or may live."""
    if group.error or group.members or group.state not in (GroupState.EMPTY, GroupState.DEAD):
        return None
    if not group.committed:
        return Unused(What.GROUP, group.group_id, "It has no members and has committed nothing.")
    if not {commit.topic for commit in group.committed} & topics:
        return Unused(What.GROUP, group.group_id, "It has no members, and every topic it read is gone.")
    if group.last_moved_at_ms is not None:
        idle_ms = now_ms - group.last_moved_at_ms
        if idle_ms < idle_after_ms:
            return None
        words = f"It has no members, and has not moved for {_days(idle_ms)}."
        return Unused(What.GROUP, group.group_id, words, idle_ms=idle_ms)
    if group.lag_seconds is not None and group.lag_seconds * 1000 >= idle_after_ms:
        idle_ms = int(group.lag_seconds * 1000)
        words = f"It has no members, and has not read a record that is {_days(idle_ms)} old."
        return Unused(What.GROUP, group.group_id, words, idle_ms=idle_ms)
    return None


def _readers(groups: Iterable[Group]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for group in groups:
        for name in group.topics:
            found.setdefault(name, []).append(group.group_id)
    return found


def _written_by_transactions(scan: Scan) -> set[str]:
    """Topics with a transaction that is open now."""
    return {
        name
        for item in scan.transactional_ids or ()
        if item.state in ("Ongoing", "PrepareCommit", "PrepareAbort")
        for name in item.topics
    }


def _days(idle_ms: int) -> str:
    days = idle_ms // DAY_MS
    return f"{days} days" if days != 1 else "1 day"
