"""Checks of consumer groups: what kind they are, where they stand, and whether the target knows them already."""

from __future__ import annotations

from collections.abc import Iterator

from kferry.domain.connectors import can_be_synced
from kferry.domain.model import ClusterKind, Group, GroupKind, GroupState, Role
from kferry.domain.planning.risk import group_lag, is_far_behind, partition_of
from kferry.domain.preflight.facts import PreflightFacts
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import Result, block, counted, duration, info, listed, unknown, warn, whole
from kferry.domain.preflight.retention import copy_time, unit_subject

_SHORT_OFFSETS_MINUTES = 1440  # a day, for owners to start their consumers in
_EXPIRY_SHARE = 0.5  # of the time that offsets are kept: estimates of copy time are rough
_REBALANCING = (GroupState.PREPARING_REBALANCE, GroupState.COMPLETING_REBALANCE)


@check(
    "group-connect",
    Family.GROUPS,
    "info",
    why="MirrorMaker leaves groups named connect-* out by default, and says nothing.",
    fix="Nothing has to be done: kferry names the groups one by one.",
)
def connect(facts: PreflightFacts) -> Iterator[Result]:
    """Groups of Kafka Connect sinks, which MirrorMaker skips unless told otherwise."""
    found = [g.group_id for g in facts.groups if g.kind is GroupKind.CONNECT or g.group_id.startswith("connect-")]
    if found:
        yield info(
            "groups",
            f"{counted(len(found), 'group')} of Kafka Connect, which MirrorMaker skips by default",
            f"{listed(found)}: MirrorMaker's groups.exclude holds connect-.* unless it is overridden.",
            "Nothing has to be done: kferry moves them. Point the connectors to the target at the switch.",
        )


@check(
    "group-streams",
    Family.GROUPS,
    "warn",
    why=(
        "An application that reads, processes and writes would write to the target while MirrorMaker "
        "still does, which breaks order and offsets without an error."
    ),
    fix="Stop and drain it before its batch switches, and let it rebuild its state.",
)
def streams(facts: PreflightFacts) -> Iterator[Result]:
    """Applications that read, process and write, and so would write into the copy."""
    for group in facts.groups:
        if group.kind is GroupKind.STREAMS:
            yield warn(
                group.group_id,
                f"{group.group_id} is a Kafka Streams application",
                "It writes what it computes to topics that may be copied at the same time; its state does not move.",
                "Stop and drain it before its batch switches, and let it rebuild its state. Then waive this.",
            )


@check(
    "group-comma",
    Family.GROUPS,
    "info",
    why="MirrorCheckpoint gets group ids in a list with commas between, so such a group is not synced.",
    fix="Nothing has to be done: the cutover writes its exact offsets.",
)
def comma(facts: PreflightFacts) -> Iterator[Result]:
    """Groups whose name MirrorMaker can't handle."""
    found = [group.group_id for group in facts.groups if not can_be_synced(group.group_id)]
    if found:
        yield info(
            "groups",
            f"{counted(len(found), 'group')} with a comma in the name, whose progress MirrorMaker can't sync",
            f"{listed(found)}: MirrorCheckpoint hands group ids to its tasks in a list with commas between.",
            "Nothing has to be done: the cutover writes their exact offsets. Until then they have none on the target.",
        )


@check(
    "group-state",
    Family.GROUPS,
    "unknown info",
    why=("Offsets are only written for groups whose state is known, and a group that cannot be read may be in use."),
    fix="Grant DESCRIBE on the group, or ask its owner.",
)
def state(facts: PreflightFacts) -> Iterator[Result]:
    """Every group could be read and has a known state."""
    unreadable = [group for group in facts.groups if group.error]
    for group in unreadable:
        yield unknown(
            group.group_id,
            f"Group {group.group_id} could not be read",
            group.error or "",
            "Grant DESCRIBE on the group and scan again.",
        )
    vague = [g.group_id for g in facts.groups if g.state is GroupState.UNKNOWN and not g.error]
    if vague:
        yield unknown(
            "groups",
            f"The state of {counted(len(vague), 'group')} is not known",
            f"{listed(vague)}: the brokers do not tell, as those up to 2.4 don't.",
            "Make sure with their owners which of them are in use, then waive this.",
            vague,
        )
    busy = [g.group_id for g in facts.groups if g.state in _REBALANCING]
    if busy:
        yield info(
            "rebalancing groups",
            f"{counted(len(busy), 'group')} rebalanced during the scan",
            f"{listed(busy)}.",
            "Nothing has to be done unless they rebalance all the time.",
        )


@check(
    "group-uncommitted",
    Family.GROUPS,
    "info",
    why=(
        "Where a group has no position, auto.offset.reset of its consumers decides what it reads on the "
        "target: all or nothing."
    ),
    fix="Choose at the switch: the earliest record or the end.",
)
def uncommitted(facts: PreflightFacts) -> Iterator[Result]:
    """Partitions that a group reads without ever having committed a position."""
    for group in facts.groups:
        missing = _uncommitted(group, facts)
        if missing:
            yield info(
                group.group_id,
                f"{group.group_id} has no position in {counted(len(missing), 'partition')}",
                f"{listed(missing)}.",
                "At the switch you choose where it starts there: at the earliest record or at the end.",
            )


def _uncommitted(group: Group, facts: PreflightFacts) -> list[str]:
    committed = {(commit.topic, commit.partition) for commit in group.committed}
    return [
        f"{name}-{part.partition}"
        for name in sorted(group.topics)
        if (topic := facts.source_topics.get(name)) is not None
        for part in topic.partitions
        if (name, part.partition) not in committed
    ]


@check(
    "group-offset-range",
    Family.GROUPS,
    "warn",
    why="A position that its partition does not hold cannot be translated.",
    fix="Tell the owner, or let the position be reset on the source and scan again.",
)
def offset_range(facts: PreflightFacts) -> Iterator[Result]:
    """Committed positions lie within what their partitions hold."""
    for group in facts.groups:
        before, beyond = [], []
        for commit in group.committed:
            topic = facts.source_topics.get(commit.topic)
            part = partition_of(topic, commit.partition) if topic is not None else None
            if part is None:
                continue
            where = f"{commit.topic}-{commit.partition} (at {commit.offset}"
            if part.log_start_offset is not None and commit.offset < part.log_start_offset:
                before.append(f"{where}, first record {part.log_start_offset})")
            # the scan reads ends before positions: a live group may be a little further by then
            elif part.end_offset is not None and commit.offset > part.end_offset and not group.members:
                beyond.append(f"{where}, end {part.end_offset})")
        if before:
            yield warn(
                group.group_id,
                f"{group.group_id} has already lost records to retention",
                f"Its position is older than the first record in {listed(before)}.",
                "On the target it continues at the first record that is left, as it would on the source."
                " Tell its owner, then waive this.",
            )
        if beyond:
            yield warn(
                group.group_id if not before else f"{group.group_id} (beyond the end)",
                f"{group.group_id} has positions beyond the end of the log",
                f"{listed(beyond)}: the topic was probably deleted and made anew.",
                "Let its owner reset these positions on the source, then scan again.",
            )


@check(
    "group-far-behind",
    Family.GROUPS,
    "info",
    why=(
        "MirrorMaker knows few positions far behind the end, and would let such a group read nearly everything again."
    ),
    fix="Nothing has to be done: kferry finds the exact position from the records.",
)
def far_behind(facts: PreflightFacts) -> Iterator[Result]:
    """Groups with most of their records still unread, whose positions MirrorMaker itself would lose."""
    found = []
    for group in facts.groups:
        lag = group_lag(group, facts.source_topics)
        if lag is not None and is_far_behind(group, facts.source_topics):
            found.append(f"{group.group_id} ({lag[0]} of {lag[1]} records unread)")
    if found:
        yield info(
            "groups",
            f"{counted(len(found), 'group')} far behind",
            f"{listed(found)}. MirrorMaker alone would let them read nearly everything again.",
            "Nothing has to be done: kferry finds the exact position from the records.",
        )


@check(
    "group-simple",
    Family.GROUPS,
    "info",
    why="A consumer that assigns its partitions itself looks stopped while it still reads and commits.",
    fix="Nothing has to be done: the switch also waits until positions stand still.",
)
def simple(facts: PreflightFacts) -> Iterator[Result]:
    """Groups without membership, which look stopped while they still commit."""
    found = [group.group_id for group in facts.groups if group.kind is GroupKind.SIMPLE]
    if found:
        yield info(
            "groups",
            f"{counted(len(found), 'group')} of consumers that assign partitions themselves",
            f"{listed(found)}: they look empty while they still read and commit.",
            "Nothing has to be done: at the switch kferry also waits until their positions stand still.",
        )


@check(
    "group-static-members",
    Family.GROUPS,
    "info",
    why=(
        "A static member keeps its group from being empty for the session timeout after it has stopped, "
        "and the switch waits for that."
    ),
    fix="Reckon with that time at the switch.",
)
def static_members(facts: PreflightFacts) -> Iterator[Result]:
    """Groups whose members keep their place for the session timeout after they have stopped."""
    found = [g.group_id for g in facts.groups if any(member.group_instance_id for member in g.members)]
    if found:
        yield info(
            "groups",
            f"{counted(len(found), 'group')} with static members",
            f"{listed(found)}: they stay in the group for their session timeout after they have stopped.",
            "Reckon with that time at the switch, when consumers are stopped.",
        )


@check(
    "group-share",
    Family.GROUPS,
    "block warn",
    why="A share group has no position per partition: what it has delivered and not cannot be carried over.",
    fix="Let it drain at the switch and start it on the target from a time, outside the plan.",
)
def share(facts: PreflightFacts) -> Iterator[Result]:
    """No share group is to move."""
    moving = {group.group_id for group in facts.groups}
    for group in facts.source.groups if facts.source is not None else ():
        if group.kind is not GroupKind.SHARE:
            continue
        if group.group_id in moving:
            yield block(
                group.group_id,
                f"{group.group_id} is a share group, which cannot be moved",
                f"It reads {listed(group.topics) or 'nothing known'}.",
                "Take it out of the plan; at the switch let it drain, and start it on the target from that time.",
            )
        else:
            yield warn(
                group.group_id,
                f"{group.group_id} is a share group, and stays behind",
                f"It reads {listed(group.topics) or 'nothing known'}.",
                "Agree with its owner that it drains at the switch and starts on the target from that time. Then"
                " waive this.",
            )


@check(
    "group-new-protocol",
    Family.GROUPS,
    "warn info",
    why="Consumers of the new protocol cannot join where brokers know the classic one only.",
    fix="Set group.protocol=classic in these consumers before they start on the target.",
)
def new_protocol(facts: PreflightFacts) -> Iterator[Result]:
    """The target knows the protocol of every group."""
    found = [group.group_id for group in facts.groups if group.kind is GroupKind.CONSUMER]
    if not found:
        return
    config, version = facts.cluster(Role.TARGET), facts.version(Role.TARGET)
    is_automq = config is not None and config.kind is ClusterKind.AUTOMQ
    title = f"{counted(len(found), 'group')} of the new consumer protocol"
    if is_automq or version is None or version < (4, 0):
        yield warn(
            "groups",
            f"{title}, which the target does not know",
            f"{listed(found)}: AutoMQ, and Kafka before 4.0, know the classic protocol only.",
            "Let their owners set group.protocol=classic for the target, then waive this.",
            found,
        )
    else:
        yield info("groups", title, f"{listed(found)}: the target is {version[0]}.{version[1]}, which knows it.")


@check(
    "group-asterisk",
    Family.GROUPS,
    "block",
    why="In an ACL the name * stands for every group, so kferry cannot be given a right on this one alone.",
    fix="Leave the group out of the plan and move it by hand.",
)
def asterisk(facts: PreflightFacts) -> Iterator[Result]:
    """No group is named with a single asterisk."""
    for group in facts.groups:
        if group.group_id == "*":
            yield block(
                group.group_id,
                "A group is named * and cannot be moved by kferry",
                "A right on it would be a right on every group.",
                "Leave it out of the plan, or give it another name.",
            )


@check(
    "group-offsets-expire",
    Family.GROUPS,
    "warn",
    why="Brokers forget the offsets of a group without members after a time, and it starts anew from one end.",
    fix="Keep one consumer of the group running, or raise offsets.retention.minutes.",
)
def offsets_expire(facts: PreflightFacts) -> Iterator[Result]:
    """Groups without members keep their positions until the switch, and after it."""
    kept = whole(facts.default(Role.SOURCE, "offsets.retention.minutes"))
    idle = {group.group_id for group in facts.groups if not group.members and group.committed}
    for unit, topics in facts.units if kept is not None else ():
        seconds, evidence = copy_time(unit, topics, facts)
        names = {topic.name for topic in topics}
        held = [g.group_id for g in facts.groups if g.group_id in idle and g.topics & names]
        if held and kept is not None and seconds is not None and seconds > kept * 60 * _EXPIRY_SHARE:
            yield warn(
                unit_subject(unit),
                f"{counted(len(held), 'group')} may lose their positions before {unit} switches",
                f"{evidence} {listed(held)} have no members; offsets are kept for {duration(kept * 60)}.",
                "Raise offsets.retention.minutes on the source, or let a consumer of each group run.",
                held,
            )
    target_kept = whole(facts.default(Role.TARGET, "offsets.retention.minutes"))
    if target_kept is not None and target_kept < _SHORT_OFFSETS_MINUTES and facts.groups:
        yield warn(
            "target",
            "The target soon forgets the offsets of groups without members",
            f"offsets.retention.minutes is {target_kept}: what the switch writes is gone then, unless consumers start.",
            f"Raise it to {_SHORT_OFFSETS_MINUTES} or more for the migration, or waive this and start them at once.",
        )


@check(
    "group-on-target",
    Family.GROUPS,
    "block warn",
    why=("Positions of a group in use cannot be written, and positions already there are overwritten at the switch."),
    fix="Stop its consumers on the target, or waive where nobody needs the positions.",
)
def on_target(facts: PreflightFacts) -> Iterator[Result]:
    """No group that is to move is in use on the target already."""
    moving = {topic.name for topic in facts.topics}
    for group in facts.groups:
        there = facts.target_groups.get(group.group_id)
        if there is None or group.group_id in facts.owned_groups:
            continue
        if there.members:
            yield block(
                group.group_id,
                f"Group {group.group_id} is in use on the target",
                f"{counted(len(there.members), 'member')} there, reading {listed(there.topics) or 'nothing yet'}."
                " Positions of a group in use cannot be written.",
                "Stop these consumers on the target until the batch has switched.",
            )
            continue
        positions = [commit for commit in there.committed if commit.topic in moving]
        if positions:
            yield warn(
                group.group_id,
                f"Group {group.group_id} has positions on the target already",
                f"{counted(len(positions), 'partition')} in {listed({commit.topic for commit in positions})}.",
                "They will be overwritten at the switch. Waive this if nobody needs them.",
            )
