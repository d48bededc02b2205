"""What both clusters say of access now, and the plan that is made of it; nothing here changes anything."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, TypeVar

from kferry.domain import acls
from kferry.domain.access import Access
from kferry.domain.access_items import AccessItem, AccessPlan, Action, Side, What
from kferry.domain.access_plan import plan_access
from kferry.domain.access_scope import AccessScope
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Capability, ClusterConfig, Role, TaskState
from kferry.domain.security import admin_settings
from kferry.kafka import acl_entries, cluster, configs, quotas, scram_users
from kferry.kafka.admin import ClusterAdmin
from kferry.kafka.direct import DirectSession
from kferry.kafka.told import Told
from kferry.store.access_file import AccessFile, ScopeWord, load_access
from kferry.store.journal import now_ms

if TYPE_CHECKING:
    from kferry.engine.context import Services

T = TypeVar("T")

_READ_SECONDS = 60.0
_FACT_SECONDS = 15.0
_OPEN_KEY = "allow.everyone.if.no.acl.found"


def read_side(services: Services, role: Role) -> Side:
    """Everything about access on one cluster. What it does not tell is unknown, with the reason."""
    config = admin_settings(services.clusters.config(role))
    told_acls = _ask(config, acl_entries.read_through, None)
    told_quotas = _ask(config, quotas.read_through, told_acls)
    told_users = _ask(config, scram_users.read_through, told_acls)
    unknown = {
        what.value: _why(told)
        for what, told in ((What.ACLS, told_acls), (What.QUOTAS, told_quotas), (What.SCRAM_USERS, told_users))
        if told.value is None
    }
    authorizer = {Capability.SUPPORTED: True, Capability.DENIED: True}.get(told_acls.capability)
    if told_acls.capability is Capability.UNSUPPORTED and told_acls.value is not None:
        authorizer = False
    allow_everyone, broker_count = _facts(config)
    return Side(
        Access(acls=told_acls.value, quotas=told_quotas.value, scram_users=told_users.value),
        has_authorizer=authorizer,
        allow_everyone=allow_everyone,
        broker_count=broker_count,
        unknown=unknown,
    )


def _ask(config: ClusterConfig, question: Callable[[DirectSession], Told[T]], first: Told[Any] | None) -> Told[T]:
    """One question on a connection of its own: a broker that breaks one off does not take the others along.

    Where already the `first` question reaches no broker, that is an error; later on it is an unknown.
    """
    try:
        with DirectSession(config, timeout_seconds=_READ_SECONDS) as session:
            return question(session)
    except KferryError as error:
        if first is None:
            raise
        return Told(None, Capability.UNKNOWN, (error.cause or error.title).rstrip("."))


def _why(told: Told[Any]) -> str:
    return f"{told.words}, {told.grant} is missing" if told.grant else told.words


def _facts(config: ClusterConfig) -> tuple[bool | None, int | None]:
    """(whether everybody may use what no ACL covers, number of brokers), as far as they are told.

    Brokers hide the value of this setting, but tell whether it is set at all; without it nobody may.
    """
    try:
        with ClusterAdmin(config) as admin:
            nodes = cluster.describe(admin.connection, timeout_seconds=_FACT_SECONDS).nodes
            if not nodes:
                return None, None
            found = configs.broker_configs(admin.connection, nodes[0].id, timeout_seconds=_FACT_SECONDS)
    except KferryError:
        return None, None
    if found is None:
        return None, len(nodes)
    if _OPEN_KEY not in found:
        return False, len(nodes)
    value = found[_OPEN_KEY].value
    return (None if value is None else value.strip().lower() == "true"), len(nodes)


def own_principals(services: Services) -> frozenset[str]:
    """As whom the clusters see kferry and its admin, as far as clusters.yml tells."""
    names = set()
    for role in Role:
        config = services.clusters.config(role)
        names |= {acls.default_principal(config), acls.default_principal(admin_settings(config))}
    return frozenset(name for name in names if name is not None)


def scope_of(services: Services, file: AccessFile) -> AccessScope:
    """What is looked at: the topics and groups of plan.yml and of living tasks, or everything."""
    if file.scope is ScopeWord.ALL:
        return AccessScope()
    from kferry.store.plan_file import load_plan

    if not services.layout.plan.exists():
        raise KferryError(
            "There is no plan yet, so it is not known whose rights matter.",
            cause="Only the ACLs, quotas and users of what plan.yml moves are looked at.",
            next_step="Run `kferry plan`, or write `scope: all` into access.yml.",
            kind=ErrorKind.NOT_READY,
        )
    topics: set[str] = set()
    groups: set[str] = set()
    for batch in load_plan(services.layout).batches:
        topics |= set(batch.topics)
        groups |= set(batch.groups)
    for task in services.tasks.all():
        if task.state is not TaskState.DELETED:
            topics |= set(task.spec.topics)
            groups |= set(task.spec.groups)
    return AccessScope(frozenset(topics), frozenset(groups))


def make_plan(services: Services, source: Side | None = None) -> AccessPlan:
    """The plan as it is now; `source` where it was read a moment ago."""
    file = load_access(services.layout)
    scope = scope_of(services, file)
    return plan_access(
        source or read_side(services, Role.SOURCE),
        read_side(services, Role.TARGET),
        file.mapping,
        scope,
        users={name: user.wanted for name, user in file.users.items()},
        own=own_principals(services),
    )


def body(services: Services, plan: AccessPlan) -> dict[str, Any]:
    """The plan as the document `access_plan`."""
    file = load_access(services.layout)
    return {
        "made_at_ms": now_ms(),
        "scope": file.scope.value,
        "has_file": file.exists,
        "counts": plan.counts(),
        "warnings": list(plan.warnings),
        "unknown": list(plan.unknown),
        "items": [
            {key: value for key, value in asdict(item).items() if value not in (None, "")} for item in plan.items
        ],
    }


def changes_of(plan: AccessPlan, what: Collection[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """What an apply would do, for a dry run: what is created and what has drifted; the rest is counted."""
    shown = (Action.CREATE, Action.DRIFT)
    items = [item for item in plan.items if item.what in what]
    changes = [_change(item) for item in items if item.action in shown]
    present = sum(1 for item in items if item.action is Action.PRESENT)
    skipped = sum(1 for item in items if item.action is Action.SKIPPED)
    words = [
        f"{present} present already; {skipped} skipped, each with its reason in the plan (kferry access plan).",
        "Nothing is removed, and what has drifted stays as it is.",
    ]
    return changes, [*words, *plan.warnings]


def _change(item: AccessItem) -> dict[str, Any]:
    return {
        "scope": Role.TARGET.value,
        "resource": item.resource,
        "name": item.subject,
        "key": item.name,
        "before": item.before,
        "after": item.after,
        "action": item.action.value,
    }


def chosen(args: Mapping[str, Any]) -> tuple[What, ...]:
    """Which kinds of access a wish is about; all where it names none."""
    named = args.get("what") or [what.value for what in What]
    return tuple(what for what in What if what.value in named)


def login_config(services: Services, file: AccessFile, role: Role, principal: str) -> ClusterConfig | None:
    """How to connect as a principal, by a login of access.yml; None where there is none for it."""
    config = services.clusters.config(role)
    bare = replace(
        config,
        sasl_username=None,
        sasl_password=None,
        ssl_certificate=None,
        ssl_key=None,
        admin_username=None,
        admin_password=None,
    )
    login = file.login_of(principal, role)
    if login is None:
        kind, _, name = principal.partition(":")
        user = file.users.get(name) if kind == "User" and role is Role.TARGET else None
        if user is None or not (config.sasl_mechanism or "").startswith("SCRAM"):
            return None
        return replace(bare, sasl_username=name, sasl_password=user.password)
    made = replace(
        bare,
        bootstrap_servers=login.bootstrap_servers or config.bootstrap_servers,
        security_protocol=login.security_protocol or config.security_protocol,
        sasl_mechanism=login.sasl_mechanism or config.sasl_mechanism,
        sasl_username=login.sasl_username,
        sasl_password=login.sasl_password,
        ssl_certificate=login.ssl_certificate,
        ssl_key=login.ssl_key,
    )
    lacks = made.security_protocol.startswith("SASL") and not made.sasl_password
    if lacks or (made.security_protocol == "SSL" and not made.ssl_certificate) or made.security_protocol == "PLAINTEXT":
        raise KferryError(
            f"The probe as {principal} has no login that fits {made.security_protocol}.",
            cause=f"security_protocol is {made.security_protocol}, from clusters.yml or access.yml.",
            next_step="Add security_protocol and bootstrap_servers of the listener for this login in access.yml.",
            kind=ErrorKind.USAGE,
        )
    return made
