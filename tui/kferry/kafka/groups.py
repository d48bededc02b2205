"""Consumer groups: who is in them, and where they continue; exact writes of their offsets."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import cast

import confluent_kafka as ck
from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, ConsumerGroupType, KafkaError
from confluent_kafka.admin import ConsumerGroupDescription, ListConsumerGroupsResult

from kferry.domain.errors import KferryError
from kferry.domain.model import CommittedOffset, Group, GroupKind, GroupMember, GroupState, TopicPartition
from kferry.kafka import causes
from kferry.kafka.commit import write_to_coordinator
from kferry.kafka.committed import GroupOffsets, Told, ask_coordinators
from kferry.kafka.connection import Connection
from kferry.kafka.direct import DirectSession
from kferry.kafka.told import since

_GROUPS_PER_CALL = 100
_DELETE_GROUPS = 42
# Connecting to the coordinators and logging in takes some requests; for fewer groups than this the library takes fewer.
_WORTH_CONNECTING = 10
_LEAST_SECONDS = 0.5
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
    Metadata is read again from the coordinators where the library has read it, and is as the library says only where
    they cannot be asked.
    """
    wanted = list(dict.fromkeys(ids))
    deadline = time.monotonic() + timeout_seconds
    told = Told()
    if len(wanted) >= _WORTH_CONNECTING:
        told = ask_coordinators(connection, wanted, stable=stable, deadline=deadline)
    missing = told.missing(wanted)
    if missing:
        more = ask_library(
            connection,
            missing,
            stable=stable,
            timeout_seconds=max(_LEAST_SECONDS, deadline - time.monotonic()),
            answered=bool(told.offsets or told.errors),
        )
        told.offsets.update(more.offsets)
        told.errors.update(more.errors)
        marked = [name for name, found in more.offsets.items() if any(commit.metadata for commit in found.commits)]
        if marked:
            exact = ask_coordinators(connection, marked, stable=stable, one_each=True, deadline=deadline)
            told.offsets.update(exact.offsets)
            told.errors.update(exact.errors)
            for name in exact.errors:
                told.offsets.pop(name, None)
    errors = {group_id: f"offsets: {causes.error_words(error)}" for group_id, error in told.errors.items()}
    for group_id, found in told.offsets.items():
        if found.failed:
            first, error = found.failed[0]
            errors[group_id] = (
                f"offsets: {len(found.failed)} of {found.count} partitions failed, the first "
                f"{first.topic}-{first.partition}: {causes.error_words(error)}"
            )
    return {group_id: found.commits for group_id, found in told.offsets.items()}, errors


def ask_library(
    connection: Connection, ids: Iterable[str], *, stable: bool, timeout_seconds: float, answered: bool = False
) -> Told:
    """Offsets of groups by the client library, which takes one group per call; for few of them, and for old brokers.

    It reads metadata beyond its end, up to the next zero byte in memory: what comes after it cannot be told from it.
    Raises where nothing was answered at all, unless the cluster has `answered` for other groups a moment ago.
    """

    def start(chunk: list[str], left_seconds: float) -> dict[str, Future[ConsumerGroupTopicPartitions]]:
        # all calls are started before the first is collected
        fired: dict[str, Future[ConsumerGroupTopicPartitions]] = {}
        for group_id in chunk:
            fired.update(
                connection.client.list_consumer_group_offsets(
                    [ConsumerGroupTopicPartitions(group_id)], require_stable=stable, request_timeout=left_seconds
                )
            )
        return fired

    answers, errors = connection.ask_many(
        start,
        ids,
        doing="read group offsets of",
        timeout_seconds=timeout_seconds,
        wave=_GROUPS_PER_CALL,
        in_flight=2,
        answered=answered,
    )
    return Told({group_id: _offsets(answer) for group_id, answer in answers.items()}, errors)


def _offsets(answer: ConsumerGroupTopicPartitions) -> GroupOffsets:
    parts = answer.topic_partitions or []
    commits = tuple(
        sorted(
            CommittedOffset(part.topic, part.partition, part.offset, _metadata(part))
            for part in parts
            if part.error is None and part.offset >= 0  # -1001: nothing committed here
        )
    )
    failed = tuple((TopicPartition(part.topic, part.partition), part.error) for part in parts if part.error is not None)
    return GroupOffsets(commits, failed, len(parts))


def _metadata(part: ck.TopicPartition) -> str:
    try:
        return part.metadata or ""
    except UnicodeDecodeError as error:  # what lies behind it in memory need not be text
        return bytes(error.object).decode("utf-8", "replace")


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

    No leader epoch goes along: one of another cluster would make consumers think the log was cut. Commits with
    metadata go to the coordinator directly; what it can't be asked for is left to the client library, which writes
    everything, but ends the metadata with a zero byte.
    """
    wanted = {TopicPartition(commit.topic, commit.partition): commit for commit in commits}
    doing = f"write the offsets of group {group_id} to"
    deadline = time.monotonic() + timeout_seconds
    answered: dict[TopicPartition, KafkaError | None] = {}
    if any(commit.metadata for commit in wanted.values()):
        answered = write_to_coordinator(connection, group_id, wanted.values(), doing=doing, deadline=deadline)
    missing = [commit for tp, commit in wanted.items() if tp not in answered]
    if missing:
        answered |= _written_by_library(connection, group_id, missing, doing=doing, deadline=deadline)
    words = {tp: None if error is None else causes.error_words(error) for tp, error in answered.items()}
    return {tp: words.get(tp, "The cluster did not answer for this partition.") for tp in wanted}


def _written_by_library(
    connection: Connection, group_id: str, commits: Sequence[CommittedOffset], *, doing: str, deadline: float
) -> dict[TopicPartition, KafkaError | None]:
    def start(left_seconds: float) -> Future[ConsumerGroupTopicPartitions]:
        parts = [_library_part(commit) for commit in commits]
        futures = connection.client.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group_id, parts)], request_timeout=left_seconds
        )
        return futures[group_id]

    while True:
        answer = connection.ask(start, doing=doing, timeout_seconds=max(_LEAST_SECONDS, deadline - time.monotonic()))
        # The request as a whole succeeds even where every single partition was refused.
        answered = {TopicPartition(part.topic, part.partition): part.error for part in answer.topic_partitions or []}
        later = any(error is not None and connection.passes(error) for error in answered.values())
        if not later or time.monotonic() + _PAUSE_SECONDS >= deadline:
            return answered
        time.sleep(_PAUSE_SECONDS)  # the group's coordinator is not there yet; writing again changes nothing


def _library_part(commit: CommittedOffset) -> ck.TopicPartition:
    if commit.metadata:
        return ck.TopicPartition(commit.topic, commit.partition, commit.offset, metadata=commit.metadata)
    return ck.TopicPartition(commit.topic, commit.partition, commit.offset)  # the library writes a zero byte for ""


def delete_group(connection: Connection, group_id: str, *, timeout_seconds: float) -> bool:
    """Delete a group without members and all its offsets; False if there was none."""

    def start(chunk: list[str], left_seconds: float) -> dict[str, Future[None]]:
        return connection.client.delete_consumer_groups(chunk, request_timeout=left_seconds)

    doing = f"delete group {group_id} of"
    _refuse_deleting_where_unknown(connection, doing, timeout_seconds)
    _done, errors = connection.ask_many(start, [group_id], doing=doing, timeout_seconds=timeout_seconds)
    error = errors.get(group_id)
    if error is None:
        return True
    if error.code() == KafkaError.GROUP_ID_NOT_FOUND:
        return False
    raise causes.refused(connection.cluster, error, doing)


def _refuse_deleting_where_unknown(connection: Connection, doing: str, timeout_seconds: float) -> None:
    """Raise where the brokers cannot delete groups: asked for it, the client library would abort the whole process."""
    with DirectSession(connection.cluster, timeout_seconds=timeout_seconds) as session:
        if session.speaks(_DELETE_GROUPS, 0):
            return
    raise KferryError(
        f"Cannot {doing} the {connection.cluster.role} cluster at {connection.cluster.bootstrap_servers}.",
        cause=f"Its brokers do not know the request{since(_DELETE_GROUPS)}.",
        next_step="Nothing was changed. The offsets of a group without members go by themselves, when they expire.",
    )


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
