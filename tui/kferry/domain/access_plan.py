"""What of the source's ACLs, client quotas and SCRAM users the target lacks. Nothing is ever planned to be removed.

Each thing is `create`, `present`, `drift` (there otherwise, or there alone: shown, never touched) or `skipped` with
the reason. Which ACLs concern what is moved is decided in access_scope.py, the traps are named in access_traps.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from kferry.domain import access_mapping
from kferry.domain.access import AclEntry, ClientQuota, ScramUser
from kferry.domain.access_items import (
    AccessItem,
    AccessPlan,
    Action,
    QuotaLimit,
    Side,
    UserCredential,
    WantedUser,
    What,
)
from kferry.domain.access_mapping import PrincipalMapping
from kferry.domain.access_scope import AccessScope, Sieve
from kferry.domain.access_traps import unknown, warnings
from kferry.domain.acl_evaluation import acl_words
from kferry.domain.errors import KferryError

__all__ = [
    "AccessItem",
    "AccessPlan",
    "Action",
    "QuotaLimit",
    "Side",
    "UserCredential",
    "WantedUser",
    "What",
    "entity_key",
    "entity_words",
    "number_words",
    "plan_access",
]

UNREADABLE = "needs a new password: passwords cannot be read"
MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")
_DEFAULT_MECHANISM = "SCRAM-SHA-512"


def plan_access(
    source: Side,
    target: Side,
    mapping: PrincipalMapping,
    scope: AccessScope,
    *,
    users: Mapping[str, WantedUser] | None = None,
    own: Collection[str] = (),
) -> AccessPlan:
    """The whole plan. `own` are principals of kferry itself on either side: their rights are another plan's.

    Raises KferryError where the mapping makes one principal of two.
    """
    names = _principals(source)
    whom = access_mapping.mapped(mapping, names)
    sieve = Sieve(scope, whom, frozenset(own))
    acls = source.access.acls or ()
    moving = sieve.principals(acls)
    items = [
        *_acl_items(source, target, sieve, moving),
        *_quota_items(source, target, sieve, moving, mapping),
        *_user_items(source, target, sieve, moving, mapping, users or {}),
    ]
    return AccessPlan(tuple(items), tuple(warnings(source, target, scope, items)), tuple(unknown(source, target)))


def _principals(source: Side) -> set[str]:
    access = source.access
    names = {entry.principal for entry in access.acls or ()}
    names |= {f"User:{user.name}" for user in access.scram_users or ()}
    return names | {f"User:{q.entity['user']}" for q in access.quotas or () if q.entity.get("user")}


# ---- ACLs -----------------------------------------------------------------------------------------------------------


def _acl_items(source: Side, target: Side, sieve: Sieve, moving: frozenset[str]) -> list[AccessItem]:
    if source.access.acls is None:
        return []
    wanted: dict[AclEntry, AccessItem] = {}
    skipped: list[AccessItem] = []
    there = frozenset(target.access.acls or ())
    for entry in sorted(source.access.acls):
        reason = sieve.reason(entry, moving) or _unusable(target)
        goal = sieve.moved(entry)
        was = entry.principal if goal.principal != entry.principal else ""
        words = acl_words(goal)
        name = _resource_words(goal)
        if reason:
            skipped.append(
                AccessItem(
                    What.ACLS, Action.SKIPPED, goal.principal, name, after=words, reason=reason, was=was, acl=goal
                )
            )
        elif goal in there:
            wanted[goal] = AccessItem(
                What.ACLS, Action.PRESENT, goal.principal, name, before=words, after=words, was=was, acl=goal
            )
        else:
            wanted.setdefault(
                goal, AccessItem(What.ACLS, Action.CREATE, goal.principal, name, after=words, was=was, acl=goal)
            )
    managed = {goal.principal for goal in wanted}
    drifted = [
        AccessItem(
            What.ACLS,
            Action.DRIFT,
            entry.principal,
            _resource_words(entry),
            before=acl_words(entry),
            reason=(
                "denied on the target alone; the source has no such ACL"
                if entry.permission == "deny"
                else "on the target alone; the source has no such ACL"
            ),
            acl=entry,
        )
        for entry in sorted(there)
        if entry not in wanted and entry.principal in managed and sieve.is_in_scope(entry)
    ]
    # a deny comes before the allows: at no moment is more allowed than on the source
    made = sorted(wanted.values(), key=lambda item: item.acl is not None and item.acl.permission != "deny")
    return [*made, *drifted, *skipped]


def _unusable(target: Side) -> str:
    if target.has_authorizer is False:
        return "the target's brokers run without an authorizer: there is nothing to grant"
    if target.access.acls is None:
        return f"what the target has is not known: {target.unknown.get(What.ACLS, 'it was not asked')}"
    return ""


def _resource_words(entry: AclEntry) -> str:
    where = "cluster" if entry.resource == "cluster" else f"{entry.resource.replace('_', ' ')} {entry.name}"
    return f"{where}{' (prefix)' if entry.pattern == 'prefixed' else ''}"


# ---- quotas ---------------------------------------------------------------------------------------------------------


def _quota_items(
    source: Side, target: Side, sieve: Sieve, moving: frozenset[str], mapping: PrincipalMapping
) -> list[AccessItem]:
    there: dict[tuple[tuple[str, str | None], ...], Mapping[str, float]] = {
        entity_key(quota.entity): quota.limits for quota in target.access.quotas or ()
    }
    knows_acls = bool(source.access.acls)
    merged: dict[tuple[tuple[tuple[str, str | None], ...], str], float] = {}
    result = []
    for quota in source.access.quotas or ():
        user = quota.entity.get("user")
        reason, entity = _moved_entity(quota, mapping)
        if user is not None and not reason:
            reason = sieve.user_reason(f"User:{user}", moving if knows_acls else None)
        if not reason and target.access.quotas is None:
            reason = f"what the target has is not known: {target.unknown.get(What.QUOTAS, 'it was not asked')}"
        subject = entity_words(entity)
        was = entity_words(quota.entity) if entity != dict(quota.entity) else ""
        has = there.get(entity_key(entity), {})
        for key, value in sorted(quota.limits.items()):
            first = merged.setdefault((entity_key(entity), key), value) if not reason else value
            clash = "" if first == value else f"another user that becomes this one has {number_words(first)}"
            result.append(_limit_item(entity, subject, was, key, value, has.get(key), reason or clash))
    return result


def _limit_item(
    entity: Mapping[str, str | None], subject: str, was: str, key: str, value: float, now: float | None, reason: str
) -> AccessItem:
    action, why = Action.CREATE, ""
    if reason:
        action, why = Action.SKIPPED, reason
    elif now == value:
        action = Action.PRESENT
    elif now is not None:
        action, why = Action.DRIFT, "the target has another limit, which stays as it is"
    return AccessItem(
        What.QUOTAS,
        action,
        subject,
        key,
        before=None if now is None else number_words(now),
        after=number_words(value),
        reason=why,
        was=was,
        quota=QuotaLimit(dict(entity), key, value, now),
    )


def _moved_entity(quota: ClientQuota, mapping: PrincipalMapping) -> tuple[str, dict[str, str | None]]:
    """(why it stays behind or "", the entity on the target)"""
    entity = dict(quota.entity)
    user = entity.get("user")
    if user is None:
        return "", entity
    try:
        found = mapping.of_user(user)
    except KferryError as error:
        return str(error), entity
    if found is None:
        return "left behind by access.yml", entity
    return "", {**entity, "user": found}


def entity_key(entity: Mapping[str, str | None]) -> tuple[tuple[str, str | None], ...]:
    return tuple(sorted(entity.items()))


def entity_words(entity: Mapping[str, str | None]) -> str:
    """An entity in a few words: `user billing, client-id default`."""
    parts = [f"{kind} {'default' if name is None else name}" for kind, name in sorted(entity.items(), reverse=True)]
    return ", ".join(parts)


def number_words(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)


# ---- SCRAM users ----------------------------------------------------------------------------------------------------


def _user_items(
    source: Side,
    target: Side,
    sieve: Sieve,
    moving: frozenset[str],
    mapping: PrincipalMapping,
    users: Mapping[str, WantedUser],
) -> list[AccessItem]:
    there = {user.name: user for user in target.access.scram_users or ()}
    knows_acls = bool(source.access.acls)
    result: list[AccessItem] = []
    seen: set[str] = set()
    for user in sorted(source.access.scram_users or ()):
        reason, name = "", user.name
        found: str | None = None
        try:
            found = mapping.of_user(user.name)
        except KferryError as error:
            reason = str(error)
        else:
            name = found if found is not None else user.name
            reason = "left behind by access.yml" if found is None else ""
        wanted = users.get(name)
        if not reason and wanted is None:  # who is named in access.yml is wanted, whatever the plan moves
            reason = sieve.user_reason(f"User:{user.name}", moving if knows_acls else None)
        if found is not None:
            if name in seen:
                continue  # several users become this one
            seen.add(name)
        mechanisms = wanted.mechanisms if wanted is not None and wanted.mechanisms else user.mechanisms
        result += _credentials(name, user, mechanisms, wanted, there.get(name), reason, target)
    for name in sorted(set(users) - seen):
        mechanisms = users[name].mechanisms or (_DEFAULT_MECHANISM,)
        result += _credentials(name, None, mechanisms, users[name], there.get(name), "", target)
    return result


def _credentials(
    name: str,
    on_source: ScramUser | None,
    mechanisms: Iterable[str],
    wanted: WantedUser | None,
    on_target: ScramUser | None,
    reason: str,
    target: Side,
) -> list[AccessItem]:
    was = on_source.name if on_source is not None and on_source.name != name else ""
    rounds = on_source.iterations if on_source is not None else None
    iterations = wanted.iterations if wanted is not None and wanted.iterations else rounds
    result = []
    for mechanism in mechanisms:
        action, why = Action.CREATE, "" if on_source is not None else "named in access.yml"
        has = on_target is not None and mechanism in on_target.mechanisms
        if reason:
            action, why = Action.SKIPPED, reason
        elif target.access.scram_users is None:
            action = Action.SKIPPED
            why = f"what the target has is not known: {target.unknown.get(What.SCRAM_USERS, 'it was not asked')}"
        elif has:
            action, why = Action.PRESENT, "whether it has the right password, only a probe tells"
        elif mechanism not in MECHANISMS:
            action, why = Action.SKIPPED, "is of a kind that this version of kferry does not know"
        elif wanted is None:
            action, why = Action.SKIPPED, f"{UNREADABLE}; name one for {name} under users in access.yml"
        result.append(
            AccessItem(
                What.SCRAM_USERS,
                action,
                f"User:{name}",
                mechanism,
                before="there" if has else None,
                after=f"{mechanism}{f', {iterations} iterations' if iterations else ''}",
                reason=why,
                was=f"User:{was}" if was else "",
                user=UserCredential(name, mechanism, iterations),
            )
        )
    return result
