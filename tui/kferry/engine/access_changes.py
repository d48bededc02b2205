"""Making what an access plan says on the target, and taking it back: each as a line of the change ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kferry.domain.access import AclEntry
from kferry.domain.access_items import AccessItem, What
from kferry.domain.access_plan import number_words
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Change, ClusterConfig, Role
from kferry.domain.security import admin_settings
from kferry.kafka import acl_entries, quotas, scram_users, secrets
from kferry.kafka.quotas import QuotaChange

if TYPE_CHECKING:
    from kferry.store.access_file import UserPassword

UNDO_ACTIONS = frozenset({"delete_acl_entry", "restore_quota", "delete_scram_user"})
_REASON = "As on the source, by kferry access apply."


def change_of(item: AccessItem) -> Change:
    """An item as a line of the change ledger; its undo names the thing whole, so that no other can be meant."""
    undo: dict[str, object]
    if item.acl is not None:
        undo = {"action": "delete_acl_entry", "acl": asdict(item.acl)}
        entry = item.acl
        key = f"{entry.resource} {entry.pattern} {entry.permission} {entry.operation} {entry.principal} {entry.host}"
        return Change(Role.TARGET, "acl", entry.name, key, None, item.after, undo, _REASON)
    if item.quota is not None:
        limit = item.quota
        undo = {"action": "restore_quota", "entity": dict(limit.entity), "key": limit.key, "value": limit.before}
        return Change(Role.TARGET, "quota", item.subject, limit.key, item.before, item.after, undo, _REASON)
    if item.user is None:
        raise ValueError(f"nothing to change: {item}")
    undo = {"action": "delete_scram_user", "name": item.user.name, "mechanism": item.user.mechanism}
    reason = "A new password, by kferry access apply."
    return Change(Role.TARGET, "scram_user", item.user.name, item.user.mechanism, None, item.after, undo, reason)


def make(
    config: ClusterConfig, what: What, items: Sequence[AccessItem], passwords: Mapping[str, UserPassword]
) -> list[tuple[AccessItem, str]]:
    """Carry out items of one kind with the admin's account; returns those that were refused, with why."""
    admin = admin_settings(config)
    if what is What.ACLS:
        entries = [(item, item.acl) for item in items if item.acl is not None]
        told = acl_entries.create(admin, [entry for _, entry in entries])
        return [(item, why) for item, entry in entries if (why := told[entry])]
    if what is What.QUOTAS:
        limits = [(item, item.quota) for item in items if item.quota is not None]
        changes = [(item, QuotaChange.of(limit.entity, limit.key, limit.value)) for item, limit in limits]
        answers = quotas.alter(admin, [change for _, change in changes])
        return [(item, why) for item, change in changes if (why := answers[change])]
    users = [(item, item.user) for item in items if item.user is not None]
    # every reference is resolved before the first user is made: half a job is worse than a sentence
    resolved = {user.name: secrets.resolve(passwords[user.name].password) for _, user in users}
    refused = []
    for item, user in users:
        why = scram_users.set_password(
            admin,
            user.name,
            user.mechanism,
            resolved[user.name],
            iterations=user.iterations or scram_users.DEFAULT_ITERATIONS,
        )
        if why:
            refused.append((item, why))
    return refused


def undo(config: ClusterConfig, args: Mapping[str, Any], after: str | None) -> None:
    """Take back one change. Raises KferryError where it was refused, or where somebody changed it since."""
    admin = admin_settings(config)
    if args["action"] == "delete_acl_entry":
        why = acl_entries.delete(admin, AclEntry(**args["acl"]))
    elif args["action"] == "delete_scram_user":
        why = scram_users.delete(admin, args["name"], args["mechanism"])
    else:
        why = _restore_quota(admin, args, after)
    if why:
        raise KferryError(
            f"The {config.role.value} cluster refused to take it back: {why}.",
            next_step=f"Give the admin's account of {config.role.value} the right that is missing, then retry.",
        )


def _restore_quota(admin: ClusterConfig, args: Mapping[str, Any], after: str | None) -> str | None:
    told = quotas.read(admin)
    if told.value is None:
        return told.words
    change = QuotaChange.of(args["entity"], args["key"], args["value"])
    limits = next((q.limits for q in told.value if tuple(sorted(q.entity.items())) == change.entity), {})
    now = limits.get(change.key)
    if now == change.value:
        return None
    if now is None or number_words(now) != after:
        found = "not set" if now is None else number_words(now)
        raise KferryError(
            f"The quota {change.key} is {found} by now, not {after}: it is not undone.",
            cause="It was changed again since kferry changed it.",
            next_step="Look at it and change it by hand if it should be as before.",
            kind=ErrorKind.DRIFT,
        )
    return quotas.alter(admin, [change])[change]
