"""Changing a cluster's metadata, with every change written into the change ledger together with its undo.

The change is written down *before* it is made, so a crash in between leaves a line whose undo finds nothing to do,
never a change nobody knows of.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Change, ChangeStatus, CommittedOffset, Role
from kferry.engine import access_changes
from kferry.engine.clusters import Clusters
from kferry.kafka.admin import NewTopicSpec
from kferry.store.journal import Journal
from kferry.store.tables import ChangeRow

DESCRIBED_WITHIN_SECONDS = 30.0


class Ledger:
    """The only way in which the engine changes topics, configs and group offsets."""

    def __init__(self, journal: Journal, clusters: Clusters) -> None:
        self._journal = journal
        self._clusters = clusters

    def record(self, changes: list[Change], operation_id: str | None) -> None:
        """Write down changes that are about to be made, each with its undo."""
        with self._journal.transaction() as session:
            for change in changes:
                self._journal.record_change(change, operation_id, session)
            if changes:
                names = sorted({f"{change.resource}:{change.name}" for change in changes})
                self._journal.append(
                    session,
                    "cluster_changed",
                    operation_id=operation_id,
                    payload={"count": len(changes), "what": names},
                )

    def create_topic(
        self, role: Role, spec: NewTopicSpec, *, reason: str, operation_id: str | None, droppable: bool = True
    ) -> None:
        """Create a topic; one that exists already is left as it is (the caller checks it)."""
        described = json.dumps({"partitions": spec.partitions, "configs": dict(spec.configs)}, sort_keys=True)
        undo: dict[str, object] = {"action": "delete_topic", "topic": spec.name} if droppable else {}
        self.record([Change(role, "topic", spec.name, "", None, described, undo, reason)], operation_id)
        error = self._clusters.admin(role).create_topics([spec])[spec.name]
        if error and "ALREADY_EXISTS" not in error:
            raise KferryError(
                f"The {role.value} did not create topic {spec.name}: {error}.",
                cause="The principal lacks the right CREATE, or a config is refused.",
                next_step="Grant the right or change the topic's configs, then retry.",
            )
        self._wait_until_described(role, spec.name)

    def grow_topic(self, role: Role, name: str, total: int, *, reason: str, operation_id: str | None) -> None:
        """Add partitions to a topic; one that has as many is left as it is."""
        admin = self._clusters.admin(role)
        topic = admin.topics([name]).get(name)
        if topic is None or topic.partition_count >= total:
            return
        before = topic.partition_count
        undo: dict[str, object] = {"action": "shrink_topic", "topic": name, "partitions": before}
        change = Change(role, "topic_partitions", name, "partitions", str(before), str(total), undo, reason)
        self.record([change], operation_id)
        admin.create_partitions(name, total)

    def _wait_until_described(self, role: Role, name: str) -> None:
        """A new topic is known to the controller before every broker has heard of it: so wait until it is described."""
        deadline = time.monotonic() + DESCRIBED_WITHIN_SECONDS
        while True:
            try:
                self._clusters.admin(role).topic_configs([name])
                return
            except KferryError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def set_topic_configs(
        self, role: Role, topic: str, wanted: Mapping[str, str | None], *, reason: str, operation_id: str | None
    ) -> list[str]:
        """Set (or, with None, remove) configs of a topic that differ; returns the keys that were changed."""
        admin = self._clusters.admin(role)
        now = admin.topic_configs([topic])[topic]
        changes, set_values, delete_keys = [], {}, []
        for key, value in wanted.items():
            current = now.get(key)
            before = current.value if current is not None and current.is_set_on_topic else None
            if before == value:
                continue
            undo: dict[str, object] = {"action": "set_config", "topic": topic, "key": key, "value": before}
            changes.append(Change(role, "topic_config", topic, key, before, value, undo, reason))
            if value is None:
                delete_keys.append(key)
            else:
                set_values[key] = value
        if changes:
            self.record(changes, operation_id)
            admin.alter_topic_configs(topic, set_values, delete_keys)
        return [change.key for change in changes]

    def write_offsets(
        self, role: Role, group_id: str, commits: list[CommittedOffset], *, reason: str, operation_id: str | None
    ) -> None:
        """Write committed offsets of a group (offset and metadata only: a leader epoch would stop Java consumers)."""
        admin = self._clusters.admin(role)
        now = {(item.topic, item.partition): item for item in admin.committed(group_id)}
        changes = []
        for commit in commits:
            found = now.get((commit.topic, commit.partition))
            before = None if found is None else found.offset
            if before == commit.offset:
                continue
            key = f"{commit.topic}-{commit.partition}"
            undo: dict[str, object] = {
                "action": "set_offset",
                "group": group_id,
                "topic": commit.topic,
                "partition": commit.partition,
                "offset": before,
                "metadata": "" if found is None else found.metadata,
            }
            text = None if before is None else str(before)
            changes.append(Change(role, "group_offset", group_id, key, text, str(commit.offset), undo, reason))
        if not changes:
            return
        self.record(changes, operation_id)
        errors = {tp: error for tp, error in admin.write_committed(group_id, commits).items() if error}
        if errors:
            partition, error = next(iter(errors.items()))
            raise KferryError(
                f"The {role.value} refused offsets of group {group_id} in {len(errors)} partitions, "
                f"first {partition.topic}-{partition.partition}: {error}.",
                cause="The group has members, or the principal lacks READ on the group or topic.",
                next_step=f"Stop the group's consumers on the {role.value}, then retry.",
            )

    def settle(self, role: Role, resource: str, names: set[str], keys: set[str] | None, status: ChangeStatus) -> None:
        """Mark applied changes of these things as over (undone by the cutover, or kept for good)."""
        with self._journal.transaction() as session:
            for row in self._journal.changes(status=ChangeStatus.APPLIED.value):
                matches = row.scope == role.value and row.resource == resource and row.name in names
                if matches and (keys is None or row.key in keys) and row.id is not None:
                    self._journal.mark_change(row.id, status, session)

    def undo(self, row: ChangeRow) -> None:
        """Put back one change. Raises KferryError where that is not possible any more."""
        role, undo = Role(row.scope), json.loads(row.undo or "{}")
        action = undo.get("action")
        admin = self._clusters.admin(role)
        self._refuse_drift(row, role, undo)
        if action == "delete_topic":
            self._delete_empty_topic(role, undo["topic"])
        elif action == "set_config":
            value = undo["value"]
            admin.alter_topic_configs(
                undo["topic"],
                {undo["key"]: value} if value is not None else {},
                [undo["key"]] if value is None else [],
            )
        elif action == "set_offset":
            self._undo_offset(role, undo)
        elif action == "shrink_topic":
            self._shrink_empty_topic(role, undo["topic"], int(undo["partitions"]))
        elif action == "delete_acl":
            from kferry.engine.granting import take_back

            take_back(self._clusters.config(role), undo)
        elif action in access_changes.UNDO_ACTIONS:
            access_changes.undo(self._clusters.config(role), undo, row.after)
        else:
            raise KferryError(f"Change {row.id} cannot be undone.", cause="It has no undo.", kind=ErrorKind.USAGE)
        with self._journal.transaction() as session:
            if row.id is not None:
                self._journal.mark_change(row.id, ChangeStatus.UNDONE, session)
            payload = {"change_id": row.id, "resource": row.resource, "name": row.name, "key": row.key}
            self._journal.append(session, "change_undone", payload=payload)

    def _refuse_drift(self, row: ChangeRow, role: Role, undo: Mapping[str, Any]) -> None:
        """Somebody changed it since: putting the old value back would undo their work, not ours."""
        admin, now = self._clusters.admin(role), row.after
        if undo.get("action") == "set_config":
            found = admin.topic_configs([undo["topic"]])[undo["topic"]].get(undo["key"])
            now = found.value if found is not None and found.is_set_on_topic else None
        elif undo.get("action") == "set_offset":
            offsets = {(item.topic, item.partition): str(item.offset) for item in admin.committed(undo["group"])}
            now = offsets.get((undo["topic"], undo["partition"]))
        if now not in (row.after, row.before):
            value = "not set" if now is None else now
            raise KferryError(
                f"{row.name} {row.key} is {value} by now, not {row.after}: it is not undone.",
                cause="It was changed again since kferry changed it.",
                next_step="Look at it and change it by hand if it should be as before.",
                kind=ErrorKind.DRIFT,
            )

    def _undo_offset(self, role: Role, undo: Mapping[str, Any]) -> None:
        from kferry.domain.model import TopicPartition

        admin = self._clusters.admin(role)
        if undo["offset"] is None:
            admin.delete_committed(undo["group"], [TopicPartition(undo["topic"], undo["partition"])])
            return
        # changes that an older kferry made know no metadata
        commit = CommittedOffset(undo["topic"], undo["partition"], undo["offset"], undo.get("metadata", ""))
        errors = [error for error in admin.write_committed(undo["group"], [commit]).values() if error]
        if errors:
            raise KferryError(f"The offset of group {undo['group']} could not be put back: {errors[0]}.")

    def _delete_empty_topic(self, role: Role, name: str) -> None:
        """Delete a topic kferry made, if it holds no records; one with records is never deleted by an undo."""
        admin = self._clusters.admin(role)
        topic = admin.topics([name]).get(name)
        if topic is None or topic.error:
            return
        if topic.record_span != 0:
            raise KferryError(
                f"Topic {name} on the {role.value} holds records, so it is not deleted.",
                next_step="Delete it yourself if it really is not needed.",
                kind=ErrorKind.NOT_READY,
            )
        error = admin.delete_topics([name])[name]
        if error:
            raise KferryError(f"Topic {name} on the {role.value} was not deleted: {error}.")

    def _shrink_empty_topic(self, role: Role, name: str, partitions: int) -> None:
        """Kafka takes no partitions away, so the topic is made anew; only if nothing was ever in it."""
        admin = self._clusters.admin(role)
        topic = admin.topics([name]).get(name)
        if topic is None or topic.partition_count <= partitions:
            return
        if any(part.end_offset != 0 for part in topic.partitions):
            raise KferryError(
                f"Topic {name} on the {role.value} was written to, so its partitions stay.",
                cause="Kafka takes no partitions away; the topic would have to be made anew.",
                next_step="Keep the partitions, or make the topic anew yourself.",
                kind=ErrorKind.NOT_READY,
            )
        spec = NewTopicSpec(name, partitions, configs=dict(topic.configs))
        error = admin.delete_topics([name])[name]
        deadline = time.monotonic() + DESCRIBED_WITHIN_SECONDS
        while error is None:
            error = admin.create_topics([spec])[name]
            if error is None or "ALREADY_EXISTS" not in error or time.monotonic() > deadline:
                break
            error = None
            time.sleep(0.2)  # the deletion has not reached every broker yet
        if error is not None:
            configs = json.dumps(dict(topic.configs), sort_keys=True)
            raise KferryError(
                f"Topic {name} on the {role.value} was not made anew: {error}.",
                next_step=f"It should be there with {partitions} partitions and these configs: {configs}.",
            )
        self._wait_until_described(role, name)
