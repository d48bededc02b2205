"""What goes wrong when rights are copied from one cluster to another, as sentences beside the plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kferry.domain.access import AclEntry
from kferry.domain.access_items import AccessItem, Action, Side, What
from kferry.domain.access_scope import ANY, AccessScope
from kferry.domain.acl_evaluation import AclIndex, acl_words, is_for
from kferry.domain.words import counted, first_of

_NAMED = 5
_ADMIN = ("all", "alter", "alter_configs", "create", "delete")


def warnings(source: Side, target: Side, scope: AccessScope, items: Sequence[AccessItem]) -> list[str]:
    """Every sentence that holds, the gravest first."""
    made = [item.acl for item in items if item.action is Action.CREATE and item.acl is not None]
    return [
        *unknown(source, target),
        *_authorizers(source, target, scope),
        *_closing(target, made),
        *_denies(target, made),
        *_broad(scope, made),
        *_quotas(source, target, items),
        *_passwords(items),
    ]


def unknown(source: Side, target: Side) -> list[str]:
    """What either side did not tell; nothing is planned of that, which does not mean that there is nothing to do."""
    return [*_untold(source, "source"), *_untold(target, "target")]


def _untold(side: Side, role: str) -> list[str]:
    words = {What.ACLS: "ACLs", What.QUOTAS: "client quotas", What.SCRAM_USERS: "SCRAM users"}
    return [
        f"The {words[what]} of the {role} are not known: {side.unknown[what]}." for what in What if what in side.unknown
    ]


def _authorizers(source: Side, target: Side, scope: AccessScope) -> list[str]:
    if source.has_authorizer is False and target.has_authorizer is not False:
        return [
            "The source has no authorizer: everybody may do everything there. The target asks for rights, so every "
            "application needs ACLs on it before its cutover; there are none to copy."
        ]
    if not source.access.acls or target.has_authorizer is False:
        return []
    result = [
        "Super users of the source stand in its brokers' settings and have no ACLs to copy: who relies on that needs "
        "ACLs on the target."
    ]
    known = AclIndex(source.access.acls)
    bare = sorted(name for name in scope.topics or () if not known.covering("topic", name))
    if bare and source.allow_everyone is not False:
        result.append(
            f"{_named(bare, 'topic')} of the plan {'has' if len(bare) == 1 else 'have'} no ACL on the source, where "
            "allow.everyone.if.no.acl.found is set: if it is true, everybody uses them there, and nobody may on the "
            "target unless it is true there too."
        )
    return result


def _closing(target: Side, made: Sequence[AclEntry]) -> list[str]:
    """With allow.everyone.if.no.acl.found the first ACL on a resource takes it from everybody else."""
    if target.allow_everyone is False or target.has_authorizer is False or target.access.acls is None:
        return []
    there = AclIndex(target.access.acls)
    closed = sorted(
        {
            f"{entry.resource.replace('_', ' ')} {entry.name}"
            for entry in made
            if entry.resource != "cluster" and not there.covering(entry.resource, entry.name)
        }
    )
    if not closed:
        return []
    state = "is true" if target.allow_everyone else "is set (its value cannot be read)"
    return [
        f"allow.everyone.if.no.acl.found {state} on the target: the first ACL closes a resource to everybody without "
        f"one, MirrorMaker and kferry too. First ACLs on {_named(closed, 'resource')}. Grant kferry's own rights "
        "first: kferry acls apply target."
    ]


def _denies(target: Side, made: Sequence[AclEntry]) -> list[str]:
    result = []
    everybody = [entry for entry in made if entry.permission == "deny" and entry.principal.endswith(f":{ANY}")]
    if everybody:
        result.append(
            f"{len(everybody)} deny ACLs are for everybody, so they deny MirrorMaker and kferry on the target too, "
            f"whatever else allows them; first: {acl_words(everybody[0])}."
        )
    others = [entry for entry in made if entry.permission == "deny" and not entry.principal.endswith(f":{ANY}")]
    if others:
        result.append(f"{len(others)} deny ACLs are copied; a deny beats every allow; first: {acl_words(others[0])}.")
    denies = AclIndex(old for old in target.access.acls or () if old.permission == "deny")
    against = {
        old
        for new in made
        if new.permission == "allow"
        for old in denies.covering(new.resource, new.name)
        if is_for(old, new.principal) and old.operation in ("all", new.operation)
    }
    if against:
        result.append(
            f"{len(against)} deny ACLs of the target beat what is to be allowed; first: {acl_words(min(against))}. "
            "kferry does not remove them."
        )
    return result


def _broad(scope: AccessScope, made: Sequence[AclEntry]) -> list[str]:
    result = []
    admins = [e for e in made if e.resource == "cluster" and e.operation in _ADMIN and e.permission == "allow"]
    if admins:
        result.append(
            f"{len(admins)} ACLs give rights over the whole target cluster; first: {acl_words(admins[0])}. "
            "See whether they are still wanted."
        )
    beyond = [entry for entry in made if entry.permission == "allow" and scope.reaches_beyond(entry)]
    if beyond:
        result.append(
            f"{len(beyond)} ACLs by prefix or * also cover names that plan.yml does not move; first: "
            f"{acl_words(beyond[0])}."
        )
    hosts = [entry for entry in made if entry.host != ANY]
    if hosts:
        result.append(
            f"{len(hosts)} ACLs are bound to client addresses, which the target may see differently (another network, "
            f"a load balancer); first: {acl_words(hosts[0])}."
        )
    return result


def _quotas(source: Side, target: Side, items: Sequence[AccessItem]) -> list[str]:
    made = [item.quota for item in items if item.action is Action.CREATE and item.quota is not None]
    if not made:
        return []
    result = []
    if source.broker_count and target.broker_count and source.broker_count != target.broker_count:
        result.append(
            f"Quotas hold per broker: the source has {source.broker_count}, the target {target.broker_count}, so the "
            "same figure is another limit for the whole cluster."
        )
    if any(None in limit.entity.values() for limit in made):
        result.append(
            "A default quota also limits MirrorMaker on the target, until its user has a quota of its own; the copy "
            "slows down."
        )
    return result


def _passwords(items: Sequence[AccessItem]) -> list[str]:
    names = sorted(
        {
            item.subject
            for item in items
            if item.what is What.SCRAM_USERS and item.action is Action.SKIPPED and "new password" in item.reason
        }
    )
    if not names:
        return []
    return [f"{_named(names, 'SCRAM user')} {'needs' if len(names) == 1 else 'need'} a new password for the target."]


def _named(names: Iterable[str], noun: str) -> str:
    listed = list(names)
    return f"{counted(len(listed), noun)} ({first_of(listed, _NAMED)})"
