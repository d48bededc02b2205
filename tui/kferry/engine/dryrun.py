"""What an operation would do, as data: the one plan object behind the screen, `--dry-run` and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kferry.domain import heap
from kferry.domain.model import Role, TaskState
from kferry.domain.runbook import OperationKind, StepKind
from kferry.domain.runbooks import runbook_of
from kferry.domain.words import counted
from kferry.engine.plan_making import planned_words
from kferry.store import codec

if TYPE_CHECKING:
    from kferry.engine.context import Services


def plan(services: Services, kind: OperationKind, subject: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """The steps and changes of an operation that is not run. Reads clusters where it has to; changes nothing."""
    runbook = runbook_of(kind, args)
    changes: list[dict[str, Any]] = []
    words: list[str] = []
    if kind is OperationKind.CREATE_TASK:
        made, told = _creation(services, subject, args)
        changes += made
        words += told
    elif kind is OperationKind.UPDATE_TASK:
        changes += _topics(services, args.get("add_topics") or ())
        for what in ("add_topics", "remove_topics", "add_groups", "remove_groups"):
            changes += [_change("task", subject, what, None, name, "change") for name in args.get(what) or ()]
        changes.append(_run("play", "task.yml", subject))
        words.append("Each change restarts all connector tasks of this migration task: the copy pauses some seconds.")
    elif kind in (OperationKind.PAUSE_TASK, OperationKind.RESUME_TASK):
        changes.append(_run("play", "task.yml", subject))
        if kind is OperationKind.PAUSE_TASK:
            words.append("The source's retention goes on while the task is paused.")
    elif kind is OperationKind.DELETE_TASK:
        changes += _deletions(services, subject)
        words.append("The copied topics stay on the target.")
    elif kind is OperationKind.CUTOVER:
        words += args.get("runbook_words") or ()
        words += [f"{item.title}: {item.gate}." for item in runbook.steps]
    elif kind in _METADATA:
        found_changes, found_words = _METADATA[kind](services, subject, args)
        changes += found_changes
        words += found_words
    elif kind is OperationKind.UNDO_CHANGE:
        row = next((row for row in services.journal.changes() if str(row.id) == subject), None)
        if row is not None:
            changes.append(_change(row.resource, row.name, row.key, row.after, row.before, "change", row.scope))
    elif kind in _PLAYS:
        task_changes, task_words = _workers(services, kind, subject, args)
        changes += [*task_changes, _run("play", _PLAYS[kind], subject)]
        words += task_words
    content = {
        "title": f"{runbook.title}{f': {subject}' if subject else ''}",
        "steps": [
            item.title + (" (application owners)" if item.kind is StepKind.OWNER else "") for item in runbook.steps
        ],
        "changes": changes,
        "words": words,
    }
    return content | {"hash": codec.digest(codec.canonical(content))[:16]}


_PLAYS = {
    OperationKind.SCALE_TASK: "scale.yml",
    OperationKind.RESTART_TASK: "restart.yml",
    OperationKind.ROTATE_TASK: "rotate.yml",
    OperationKind.UPGRADE_TASK: "upgrade.yml",
    OperationKind.TEARDOWN_HOST: "teardown.yml",
    OperationKind.DIAGNOSE: "diagnostics.yml",
    OperationKind.FLEET_CHECK: "preflight.yml",
}


def _creation(services: Services, subject: str, args: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """What a new task makes, and what of the machines' memory it takes."""
    from kferry.engine.task_making import new_spec
    from kferry.store.plan_file import load_plan

    batch = load_plan(services.layout).batch(subject)
    if batch is None:
        return [], []  # refused before
    spec = new_spec(services, batch, args.get("workers"))
    changes = [
        *_topics(services, batch.topics),
        *(_change("worker", worker.name, "", None, worker.host, "create") for worker in spec.workers),
        _run("play", "workers.yml", subject),
        _run("play", "task.yml", subject),
    ]
    topics, groups = counted(len(batch.topics), "topic"), counted(len(batch.groups), "group")
    copied = f"{topics} to copy, {groups} whose offsets come along."
    return changes, [copied, "Nothing on the source is changed.", heap.words(spec)]


def _workers(
    services: Services, kind: OperationKind, subject: str, args: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[str]]:
    """What happens to the workers of a task, and what it costs."""
    task = services.tasks.get(subject)
    if task is None:
        return [], []
    spec = task.spec
    if kind is OperationKind.SCALE_TASK:
        from kferry.engine.operations.workers import wanted_workers

        wanted = wanted_workers(services, spec, args)
        before, after = set(spec.workers), set(wanted.workers)
        changes = [_change("worker", w.name, "", None, w.host, "create") for w in wanted.workers if w not in before]
        changes += [_change("worker", w.name, "", w.host, None, "delete") for w in spec.workers if w not in after]
        if wanted.connector_tasks_max != spec.connector_tasks_max:
            tasks_max = (str(spec.connector_tasks_max), str(wanted.connector_tasks_max))
            changes.append(_change("connector", spec.source_connector, "tasks.max", *tasks_max, "change"))
        return changes, [
            heap.words(wanted),
            "Partitions that move pause for seconds; what was copied since the last save repeats.",
        ]
    if kind is OperationKind.UPGRADE_TASK and args.get("rollback"):
        return [], ["The workers go back to the version they had before, one at a time."]
    return [], ["One worker at a time; the next only when all answer and no connector task failed."]


def _topics(services: Services, names: Any) -> list[dict[str, Any]]:
    from kferry.engine.operations.topics import source_topics, wanted_configs

    names = list(names)
    if not names:
        return []
    there = services.clusters.admin(Role.TARGET).topics(names)
    result = []
    for name, topic in source_topics(services, names).items():
        final, held = wanted_configs(services, topic)
        exists = name in there and not there[name].error and bool(there[name].partitions)
        after = f"{topic.partition_count} partitions"
        result.append(_change("topic", name, "", after if exists else None, after, "present" if exists else "create"))
        result += [_change("topic_config", name, key, final.get(key), value, "change") for key, value in held.items()]
    return result


def _grants(services: Services, role: Role, args: Mapping[str, Any]) -> list[dict[str, Any]]:
    from kferry.engine import granting
    from kferry.kafka import acls

    principal = args.get("principal")
    wanted = granting.needed_grants(services, role, str(principal) if principal else None)
    with granting.as_admin(services.clusters.config(role)) as admin:
        there = acls.granted(admin.connection, wanted)
    return [
        _change(
            "acl",
            grant.rule.name,
            granting.key_of(grant),
            grant.rule.words if there[grant] else None,
            grant.rule.words,
            "present" if there[grant] else "create",
            role.value,
        )
        for grant in wanted
    ]


def _rights(services: Services, subject: str, args: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    words = "Whoever uses this principal can do these things on the cluster, and nothing more by them."
    return _grants(services, Role(subject), args), [words]


def _fixes(services: Services, _subject: str, args: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    from kferry.engine import fixing

    return fixing.as_plan(services, args)


def _access(services: Services, _subject: str, args: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    from kferry.engine import access

    return access.changes_of(access.make_plan(services), access.chosen(args))


# Operations that change what clusters say of themselves: each gives its changes, and what must be known of them.
_METADATA = {
    OperationKind.PLAN: lambda services, _subject, _args: ([], planned_words(services)),
    OperationKind.APPLY_ACLS: _rights,
    OperationKind.FIX_FINDINGS: _fixes,
    OperationKind.APPLY_ACCESS: _access,
}


def _deletions(services: Services, subject: str) -> list[dict[str, Any]]:
    task = services.tasks.get(subject)
    if task is None or task.state is TaskState.DELETED:
        return []
    spec = task.spec
    names = (spec.source_connector, spec.checkpoint_connector, spec.heartbeat_connector)
    result = [_change("connector", name, "", "there", None, "delete") for name in names]
    result += [_change("worker", worker.name, "", worker.host, None, "delete") for worker in spec.workers]
    internal = (*spec.connect_topics, spec.offset_syncs_topic, spec.checkpoints_topic)
    return result + [_change("topic", name, "", "internal", None, "delete") for name in internal]


def _change(
    resource: str, name: str, key: str, before: str | None, after: str | None, action: str, scope: str = "target"
) -> dict[str, Any]:
    return {
        "scope": scope,
        "resource": resource,
        "name": name,
        "key": key,
        "before": before,
        "after": after,
        "action": action,
    }


def _run(resource: str, name: str, subject: str) -> dict[str, Any]:
    return _change(resource, name, "", None, subject, "run", "controller")
