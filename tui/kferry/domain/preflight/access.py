"""Checks of who may do what, and how fast: what MirrorMaker does not carry over to the target."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from kferry.domain.access import AclEntry, ClientQuota
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
    names = {
        "topic": sorted(topic.name for topic in facts.topics),
        "group": sorted(group.group_id for group in facts.groups),
    }
    moving = [entry for entry in here if _concerns(entry, names)]
    if not here and is_secured(facts.cluster(Role.SOURCE)):
        yield info(
            "source acls",
            "The source shows no ACLs",
            "Kafka answers so both where there are none and where kferry may not see them.",
            "Ask the owner of the source whether there are ACLs.",
        )
    if not moving:
        return
    if there is None:
        yield unknown(
            "target acls",
            "The ACLs of the target are not known",
            f"{counted(len(moving), 'ACL')} of the source {'is' if len(moving) == 1 else 'are'} about what moves.",
            "Grant DESCRIBE on the target cluster and scan again, or compare them by hand and waive this.",
        )
        return
    missing = sorted(set(moving) - set(there))
    if missing:
        kinds = Counter(entry.resource for entry in missing)
        words = ", ".join(counted(number, f"{kind.replace('_', ' ')} ACL") for kind, number in sorted(kinds.items()))
        yield warn(
            "acls",
            f"{counted(len(missing), 'ACL')} of the source {'is' if len(missing) == 1 else 'are'} not on the target",
            f"{words}, of {listed({entry.principal for entry in missing})}. The same principal was looked for; other"
            " names are mapped by access.yml.",
            "Look at `kferry access plan --what acls` and apply it; waive this where access on the target is set up"
            " otherwise.",
        )


def _concerns(entry: AclEntry, names: Mapping[str, Sequence[str]]) -> bool:
    """Whether an ACL is about something that moves; rights on the cluster and on transactional ids always are.

    `names` are those that move, per kind of resource and sorted.
    """
    known = names.get(entry.resource)
    if known is None or (entry.name == "*" and known):
        return True
    place = bisect_left(known, entry.name)
    if place == len(known):
        return False
    return known[place].startswith(entry.name) if entry.pattern == "prefixed" else known[place] == entry.name


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
    known = {user.name for user in there or ()}
    missing = [user.name for user in here if user.name not in known]
    if missing:
        unseen = " (which of them the target has is not known)" if there is None else ""
        yield warn(
            "scram users",
            f"{counted(len(missing), 'SCRAM user')} of the source not on the target",
            f"{listed(missing)}{unseen}.",
            "Let `kferry access apply --what scram_users` make them with new passwords; waive this where applications"
            " log in otherwise there.",
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
    there = {_entity(quota): dict(quota.limits) for quota in facts.target.access.quotas or ()}
    missing = [q for q in facts.source.access.quotas if there.get(_entity(q)) != dict(q.limits)]
    if missing:
        unseen = " The target's quotas are not known." if facts.target.access.quotas is None else ""
        yield warn(
            "quotas",
            f"{counted(len(missing), 'client quota')} of the source not on the target",
            f"{listed(_entity_words(quota.entity) for quota in missing)}.{unseen}",
            "Let `kferry access apply --what quotas` set them, or waive this where they are not wanted there.",
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
    for role in Role:
        scan, config = facts.scan(role), facts.cluster(role)
        for quota in (scan.access.quotas or ()) if scan is not None else ():
            limit = quota.limits.get(_LIMIT_OF[role])
            if limit is None or limit >= facts.copy_bytes_per_second or not _is_ours(quota.entity, config):
                continue
            yield warn(
                f"{role.value} {_entity_words(quota.entity)}",
                f"A quota of the {role.value} cluster slows down the copy",
                f"{_LIMIT_OF[role]} of {_entity_words(quota.entity)} is {megabytes(limit)} per second and broker;"
                f" {megabytes(facts.copy_bytes_per_second)} per second are reckoned with.",
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


def _entity(quota: ClientQuota) -> tuple[tuple[str, str | None], ...]:
    return tuple(sorted(quota.entity.items(), key=lambda item: item[0]))


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
