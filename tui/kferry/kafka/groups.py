"""Consumer groups: who is in them, and where they continue; exact writes of their offsets."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import replace
from typing import cast

import confluent_kafka as ck
from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, ConsumerGroupType, KafkaError
from confluent_kafka.admin import ConsumerGroupDescription, ListConsumerGroupsResult

from kferry.domain.errors import KferryError
from kferry.domain.model import CommittedOffset, Group, GroupKind, GroupMember, GroupState, TopicPartition
from kferry.kafka import causes
from kferry.kafka.connection import Connection

_GROUPS_PER_CALL = 100
_PAUSE_SECONDS = 0.3
_STREAMS_ASSIGNOR = "stream"
_STREAMS_CLIENT = "-StreamThread-"
_STATES = {
    ConsumerGroupState.STABLE: GroupState.STABLE,
    ConsumerGroupState.EMPTY: GroupState.EMPTY,
    ConsumerGroupState.DEAD: GroupState.DEAD,
    ConsumerGroupState.PREPARING_REBALANCING: GroupState.PREPARING_REBALANCE,
    ConsumerGroupState.COMPLETING_REBALANCING: GroupState.COMPLETING_REBALANCE,
}


def group_ids(connection: Connection, *, timeout_seconds: float) -> tuple[str, ...]:
    """The ids of all consumer groups that kferry's principal may see, sorted."""
    doing = "list the groups of"
    started = time.monotonic()
    deadline = started + timeout_seconds

    def start(left_seconds: float) -> Future[ListConsumerGroupsResult]:
        return connection.client.list_consumer_groups(request_timeout=left_seconds)

    while True:
        left_seconds = max(0.5, deadline - time.monotonic())
        listed = connection.ask(start, doing=doing, timeout_seconds=left_seconds)
        # One broker that does not answer hides the groups it coordinates: that is not "no groups".
        problems = [error for error in map(causes.kafka_error, listed.errors or []) if error is not None]
        if not problems:
            return tuple(sorted(group.group_id for group in listed.valid or []))
        if not connection.passes(problems[0]) or time.monotonic() + _PAUSE_SECONDS >= deadline:
            raise connection.failure(problems[0], started, doing)
        time.sleep(_PAUSE_SECONDS)


def groups(
    connection: Connection, ids: Iterable[str], *, with_committed: bool = False, timeout_seconds: float
) -> dict[str, Group]:
    """Groups by id. A group that cannot be described is there too, with its `error` and an unknown state."""
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        return {}

    def start(chunk: list[str], left_seconds: float) -> dict[str, Future[ConsumerGroupDescription]]:
        return connection.client.describe_consumer_groups(chunk, request_timeout=left_seconds)

    described, errors = connection.ask_many(
        start, wanted, doing="describe groups of", timeout_seconds=timeout_seconds, wave=_GROUPS_PER_CALL
    )
    result = {
        group_id: _group(described[group_id])
        if group_id in described
        else unknown_group(group_id, causes.error_words(errors[group_id]))
        for group_id in wanted
    }
    if with_committed:
        commits, commit_errors = committed_many(connection, wanted, timeout_seconds=timeout_seconds)
        for group_id, group in result.items():
            words = [group.error, commit_errors.get(group_id)]
            result[group_id] = replace(
                group,
                committed=commits.get(group_id, ()),
                error="; ".join(word for word in words if word) or None,
            )
    return result


def committed_many(
    connection: Connection, ids: Iterable[str], *, stable: bool = False, timeout_seconds: float
) -> tuple[dict[str, tuple[CommittedOffset, ...]], dict[str, str]]:
    """Committed offsets per group, and the error for each group where they could not be read (whole).

    With `stable`, offsets that a running transaction is about to change are an error instead of an old value.
    """

    def start(chunk: list[str], left_seconds: float) -> dict[str, Future[ConsumerGroupTopicPartitions]]:
        # The client library takes one group per call: all calls are started before the first is collected.
        fired: dict[str, Future[ConsumerGroupTopicPartitions]] = {}
        for group_id in chunk:
            fired.update(
                connection.client.list_consumer_group_offsets(
                    [ConsumerGroupTopicPartitions(group_id)], require_stable=stable, request_timeout=left_seconds
                )
            )
        return fired

    answers, refusals = connection.ask_many(
        start, ids, doing="read group offsets of", timeout_seconds=timeout_seconds, wave=_GROUPS_PER_CALL, in_flight=2
    )
    errors = {group_id: f"offsets: {causes.error_words(error)}" for group_id, error in refusals.items()}
    commits: dict[str, tuple[CommittedOffset, ...]] = {}
    for group_id, answer in answers.items():
        parts = answer.topic_partitions or []
        failed = [(part, part.error) for part in parts if part.error is not None]
        if failed:
            first, error = failed[0]
            errors[group_id] = (
                f"offsets: {len(failed)} of {len(parts)} partitions failed, the first "
                f"{first.topic}-{first.partition}: {causes.error_words(error)}"
            )
        commits[group_id] = tuple(
            sorted(
                CommittedOffset(part.topic, part.partition, part.offset, part.metadata or "")
                for part in parts
                if part.error is None and part.offset >= 0  # -1001: nothing committed here
            )
        )
    return commits, errors


def committed(
    connection: Connection, group_id: str, *, stable: bool = False, timeout_seconds: float
) -> tuple[CommittedOffset, ...]:
    """The committed offsets of one group; raises where they cannot be read whole."""
    commits, errors = committed_many(connection, [group_id], stable=stable, timeout_seconds=timeout_seconds)
    if group_id in errors:
        raise KferryError(
            f"The offsets of group {group_id} cannot be read from the {connection.cluster.role} cluster.",
            cause=errors[group_id],
            next_step="Check the right DESCRIBE on the group and its topics, then try again.",
        )
    return commits[group_id]


def write_committed(
    connection: Connection, group_id: str, commits: Iterable[CommittedOffset], *, timeout_seconds: float
) -> dict[TopicPartition, str | None]:
    """Commit offsets for a group without members. Per partition None when written, else the broker's error.

    No leader epoch goes along: one of another cluster would make consumers think the log was cut.
    """
    wanted = list(commits)
    if not wanted:
        return {}

    def start(left_seconds: float) -> Future[ConsumerGroupTopicPartitions]:
        parts = [
            ck.TopicPartition(commit.topic, commit.partition, commit.offset, metadata=commit.metadata)
            for commit in wanted
        ]
        futures = connection.client.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group_id, parts)], request_timeout=left_seconds
        )
        return futures[group_id]

    doing = f"write the offsets of group {group_id} to"
    deadline = time.monotonic() + timeout_seconds
    while True:
        answer = connection.ask(start, doing=doing, timeout_seconds=max(0.5, deadline - time.monotonic()))
        # The request as a whole succeeds even where every single partition was refused.
        errors = [part.error for part in answer.topic_partitions or [] if part.error is not None]
        later = any(connection.passes(error) for error in errors)
        if not later or time.monotonic() + _PAUSE_SECONDS >= deadline:
            break
        time.sleep(_PAUSE_SECONDS)  # the group's coordinator is not there yet; writing again changes nothing
    answered = {
        TopicPartition(part.topic, part.partition): causes.error_words(part.error) if part.error else None
        for part in answer.topic_partitions or []
    }
    return {
        tp: answered.get(tp, "The cluster did not answer for this partition.")
        for tp in (TopicPartition(commit.topic, commit.partition) for commit in wanted)
    }


def delete_group(connection: Connection, group_id: str, *, timeout_seconds: float) -> bool:
    """Delete a group without members and all its offsets; False if there was none."""

    def start(chunk: list[str], left_seconds: float) -> dict[str, Future[None]]:
        return connection.client.delete_consumer_groups(chunk, request_timeout=left_seconds)

    doing = f"delete group {group_id} of"
    _done, errors = connection.ask_many(start, [group_id], doing=doing, timeout_seconds=timeout_seconds)
    error = errors.get(group_id)
    if error is None:
        return True
    if error.code() == KafkaError.GROUP_ID_NOT_FOUND:
        return False
    raise causes.refused(connection.cluster, error, doing)


def delete_committed(
    connection: Connection, group_id: str, tps: Iterable[TopicPartition], *, timeout_seconds: float
) -> dict[TopicPartition, str | None]:
    """Forget a group's offsets in some partitions. The group must have no members.

    The client library cannot delete single offsets. So the group is deleted, and what must stay is written again;
    should that fail, the error names every offset that has to be restored.
    """
    wanted = set(tps)
    before = committed(connection, group_id, timeout_seconds=timeout_seconds)
    doomed = {tp for tp in wanted if any((c.topic, c.partition) == (tp.topic, tp.partition) for c in before)}
    if doomed:
        kept = [commit for commit in before if TopicPartition(commit.topic, commit.partition) not in doomed]
        delete_group(connection, group_id, timeout_seconds=timeout_seconds)
        _restore(connection, group_id, kept, timeout_seconds)
    return dict.fromkeys(sorted(wanted))


def _restore(connection: Connection, group_id: str, kept: list[CommittedOffset], timeout_seconds: float) -> None:
    lost = kept
    cause = ""
    try:
        answers = write_committed(connection, group_id, kept, timeout_seconds=timeout_seconds)
        lost = [commit for commit in kept if answers[TopicPartition(commit.topic, commit.partition)] is not None]
        cause = "; ".join(sorted({text for text in answers.values() if text}))
    except KferryError as error:
        cause = str(error)
    if lost:
        listed = ", ".join(f"{commit.topic}-{commit.partition}={commit.offset}" for commit in lost)
        raise KferryError(
            f"Group {group_id} was deleted, and {len(lost)} of its offsets could not be written again.",
            cause=cause,
            next_step=f"Write these offsets before its consumers start: {listed}.",
        )


def _group(found: ConsumerGroupDescription) -> Group:
    members = tuple(
        GroupMember(
            member_id=member.member_id,
            client_id=member.client_id,
            host=member.host,
            group_instance_id=member.group_instance_id or None,
            assignment=tuple(
                sorted(
                    TopicPartition(part.topic, part.partition)
                    for part in (member.assignment.topic_partitions if member.assignment else [])
                )
            ),
        )
        for member in found.members
    )
    return Group(
        group_id=found.group_id,
        state=_STATES.get(cast(ConsumerGroupState, found.state), GroupState.UNKNOWN),
        kind=_kind(found, members),
        members=members,
        partition_assignor=found.partition_assignor or None,
    )


def _kind(found: ConsumerGroupDescription, members: tuple[GroupMember, ...]) -> GroupKind:
    if found.group_id.startswith("connect-"):
        return GroupKind.CONNECT
    if getattr(found, "type", None) is ConsumerGroupType.CONSUMER:
        return GroupKind.CONSUMER
    if found.partition_assignor == _STREAMS_ASSIGNOR or any(_STREAMS_CLIENT in m.client_id for m in members):
        return GroupKind.STREAMS
    return GroupKind.SIMPLE if found.is_simple_consumer_group else GroupKind.PLAIN


def unknown_group(group_id: str, error: str) -> Group:
    """A group of which no more is known than its name and why."""
    kind = GroupKind.CONNECT if group_id.startswith("connect-") else GroupKind.UNKNOWN
    return Group(group_id, GroupState.UNKNOWN, kind, error=error)
