"""Checks of who may do what, and how fast: what MirrorMaker does not carry over to the target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from kferry.domain.access_items import AccessItem, Action, What
from kferry.domain.access_plan import UNREADABLE
from kferry.domain.errors import KferryError
from kferry.domain.model import ClusterConfig, Role
from kferry.domain.preflight.facts import PreflightFacts
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import Result, counted, info, listed, megabytes, unknown, warn

_LIMIT_OF = {Role.SOURCE: "consumer_byte_rate", Role.TARGET: "producer_byte_rate"}


def is_secured(cluster: ClusterConfig | None) -> bool:
    """Whether a cluster knows who somebody is, so that there may be ACLs."""
    if cluster is None:
        return False
    return cluster.security_protocol.startswith("SASL") or cluster.ssl_certificate is not None


@check(
    "access-acls",
    Family.ACCESS,
    "warn unknown info",
    why="MirrorMaker carries over neither WRITE, nor groups, nor prefixes: applications are refused after the switch.",
    fix="Look at `kferry access plan`, then let `kferry access apply` write what is missing on the target.",
)
def acls(facts: PreflightFacts) -> Iterator[Result]:
    """The ACLs of what moves are on the target."""
    if facts.source is None or facts.target is None:
        return
    here, there = facts.source.access.acls, facts.target.access.acls
    if here is None:
        if is_secured(facts.cluster(Role.SOURCE)) and "acls" not in facts.source.cluster.capabilities:
            yield unknown(
                "source acls",
                "The ACLs of the source are not known",
                "They were not read, and its clients log in, so there may be some.",
                "Grant DESCRIBE on the cluster and scan again, or compare them by hand and waive this.",
            )
        return
    if not here and is_secured(facts.cluster(Role.SOURCE)):
        yield info(
            "source acls",
            "The source shows no ACLs",
            "Kafka answers so both where there are none and where kferry may not see them.",
            "Ask the owner of the source whether there are ACLs.",
        )
    if facts.access_error or isinstance(facts.access_plan, KferryError):
        yield _unusable_file(facts)
        return
    wanted = _wanted(facts, What.ACLS)
    if not wanted:
        return
    if there is None:
        yield unknown(
            "target acls",
            "The ACLs of the target are not known",
            f"{counted(len(wanted), 'ACL')} of the source {'is' if len(wanted) == 1 else 'are'} about what moves.",
            "Grant DESCRIBE on the target cluster and scan again, or compare them by hand and waive this.",
            (repr(item.acl) for item in wanted),
        )
        return
    kinds = Counter(item.acl.resource for item in wanted if item.acl is not None)
    words = ", ".join(counted(number, f"{kind.replace('_', ' ')} ACL") for kind, number in sorted(kinds.items()))
    yield warn(
        "acls",
        f"{counted(len(wanted), 'ACL')} of the source {'is' if len(wanted) == 1 else 'are'} not on the target",
        f"{words}, of {listed({_whom(item) for item in wanted})}.{_mapping_words(facts)}",
        "Look at `kferry access plan --what acls`, then `kferry access apply --what acls`; waive this where access on"
        " the target is set up otherwise.",
        (repr(item.acl) for item in wanted),
    )


def _unusable_file(facts: PreflightFacts) -> Result:
    found = facts.access_plan
    error = found if isinstance(found, KferryError) else None
    return warn(
        "access.yml",
        "access.yml cannot be used, so it is not known what access is missing on the target",
        facts.access_error or str(error),
        (error.next_step if error is not None else "") or "Set access.yml right; docs/access.md shows one.",
    )


def _wanted(facts: PreflightFacts, what: What) -> list[AccessItem]:
    """What the access plan would make on the target, and what it would if it had a password or could look there."""
    if isinstance(facts.access_plan, KferryError):
        return []  # access-acls says so, once
    return [
        item
        for item in facts.access_plan.items
        if item.what is what
        and (
            item.action is Action.CREATE
            or (what is What.QUOTAS and item.action is Action.DRIFT)
            or (item.action is Action.SKIPPED and item.reason.startswith(UNREADABLE))
        )
    ]


def _whom(item: AccessItem) -> str:
    """A principal, entity or user of the target, with its name on the source where that is another."""
    return f"{item.subject} ({item.was} on the source)" if item.was else item.subject


def _mapping_words(facts: PreflightFacts) -> str:
    mapping = facts.mapping
    if mapping.table or mapping.patterns or mapping.drop:
        return " Names are mapped by access.yml."
    return " The same names were looked for; access.yml can map them to others."


@check(
    "access-scram-users",
    Family.ACCESS,
    "warn info",
    why="Passwords cannot be read from the source, so users without a new one cannot log in after the switch.",
    fix="Make the users on the target with new passwords before their applications switch.",
)
def scram_users(facts: PreflightFacts) -> Iterator[Result]:
    """The SCRAM users of the source are on the target."""
    if facts.source is None or facts.target is None:
        return
    here, there = facts.source.access.scram_users, facts.target.access.scram_users
    if here is None:
        config = facts.cluster(Role.SOURCE)
        if config is not None and (config.sasl_mechanism or "").startswith("SCRAM"):
            yield info(
                "source scram users",
                "The SCRAM users of the source are not known",
                "They could not be read.",
                "Keep a list of users by hand: each needs a new password on the target.",
            )
        return
    wanted = _wanted(facts, What.SCRAM_USERS)
    names = {item.subject: _whom(item).replace("User:", "") for item in wanted}
    if names:
        unseen = " (which of them the target has is not known)" if there is None else ""
        yield warn(
            "scram users",
            f"{counted(len(names), 'SCRAM user')} of the source not on the target",
            f"{listed(names.values())}{unseen}.",
            "Name a password for each under users in access.yml, then `kferry access apply --what scram_users`; waive"
            " this where applications log in otherwise there.",
            names,
        )


@check(
    "access-quotas",
    Family.ACCESS,
    "warn",
    why="Without its quota one application can slow down all others on the target.",
    fix="Look at `kferry access plan`, then let `kferry access apply` set them, or do without them knowingly.",
)
def quotas(facts: PreflightFacts) -> Iterator[Result]:
    """The client quotas of the source are on the target."""
    if facts.source is None or facts.target is None or not facts.source.access.quotas:
        return
    names = {item.subject: _whom(item) for item in _wanted(facts, What.QUOTAS)}
    if names:
        unseen = " The target's quotas are not known." if facts.target.access.quotas is None else ""
        yield warn(
            "quotas",
            f"{counted(len(names), 'client quota')} of the source not on the target",
            f"{listed(names.values())}.{unseen}",
            "Let `kferry access apply --what quotas` set those that are missing; a limit that differs is yours to set."
            " Waive this where they are not wanted there.",
            names,
        )


@check(
    "access-throttled",
    Family.ACCESS,
    "warn",
    why="A quota on kferry's own user makes the copy slower than planned, and retention does not wait.",
    fix="Raise the quota for kferry's user for the migration.",
)
def throttled(facts: PreflightFacts) -> Iterator[Result]:
    """No client quota slows down the copy."""
    if facts.copy_bytes_per_second is None:
        return
    reckoned = facts.copy_bytes_per_second * facts.workers_per_task
    for role in Role:
        scan, config = facts.scan(role), facts.cluster(role)
        for quota in (scan.access.quotas or ()) if scan is not None else ():
            limit = quota.limits.get(_LIMIT_OF[role])
            if limit is None or limit >= reckoned or not _is_ours(quota.entity, config):
                continue
            yield warn(
                f"{role.value} {_entity_words(quota.entity)}",
                f"A quota of the {role.value} cluster slows down the copy",
                f"{_LIMIT_OF[role]} of {_entity_words(quota.entity)} is {megabytes(limit)} per second and broker;"
                f" {megabytes(reckoned)} per second are reckoned with.",
                "Give kferry's user a higher quota for the migration, or set assumed_copy_bytes_per_second to it and"
                " waive this.",
            )


def _is_ours(entity: Mapping[str, str | None], config: ClusterConfig | None) -> bool:
    """Whether a quota may be in force for the workers: for their user, or the default of users or clients."""
    user = config.sasl_username if config is not None else None
    names = {key: name for key, name in entity.items() if name is not None}
    if "user" in names and names["user"] != (user or "ANONYMOUS"):
        return False
    return "client-id" not in names and "ip" not in names


def _entity_words(entity: Mapping[str, str | None]) -> str:
    return ", ".join(f"{key} {'(default)' if name is None else name}" for key, name in sorted(entity.items()))


@check(
    "secrets-survive",
    Family.ACCESS,
    "info",
    why="The engine goes on after a logout, but one that is started anew elsewhere does not have your environment.",
    fix="Use file: or command: references for engines that restart on their own.",
)
def secrets_survive(facts: PreflightFacts) -> Iterator[Result]:
    """Secrets that only this shell's environment holds."""
    found = [
        f"{config.role.value}: {value}"
        for config in facts.clusters
        for value in (config.sasl_password, config.ssl_ca, config.ssl_certificate, config.ssl_key)
        if value is not None and value.startswith("env:")
    ]
    if found:
        yield info(
            "secrets",
            f"{counted(len(found), 'secret')} from the environment of the engine",
            f"{listed(found)}.",
            "Use file: or command: references in clusters.yml if the engine is to be restarted without you.",
        )
