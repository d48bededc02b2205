"""Checks of how the clusters are reached: rights that are missing, host names that go unchecked, cloud roles."""

from __future__ import annotations

from collections.abc import Iterator

from kferry.domain.acls import AclRule, Resource, least
from kferry.domain.model import Role
from kferry.domain.preflight.facts import PreflightFacts
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import Result, block, counted, info, listed, warn
from kferry.domain.security import CLUSTERS_FILE, shared_machine_roles, uses_iam, waiver_lines


@check(
    "rights-missing",
    Family.RIGHTS,
    "block info",
    why="Where a right is missing MirrorMaker goes on RUNNING and copies nothing.",
    fix="Let kferry grant it, or hand the commands to the cluster's owner.",
)
def missing(facts: PreflightFacts) -> Iterator[Result]:
    """kferry's principals have every right that the plan needs; MirrorMaker stays silent where one is missing."""
    for role in Role:
        granted = facts.granted.get(role)
        if not granted:
            continue
        needed = least(rule for rule in granted if not rule.is_optional)
        lacking: dict[tuple[Resource, str, bool], list[AclRule]] = {}
        for rule in needed:
            if granted[rule] is False:
                lacking.setdefault((rule.resource, rule.operation, rule.is_prefixed), []).append(rule)
        for (resource, operation, is_prefixed), found in lacking.items():
            names = listed(f"{rule.name}{'…' if is_prefixed else ''}" for rule in found)
            on = "the cluster" if resource is Resource.CLUSTER else f"{resource.value} {names}"
            rights = {rule.right for rule in found}
            reasons = dict.fromkeys(rule.why for rule in granted if rule.right in rights)
            yield block(
                f"{role.value} {right_of(found[0])}",
                f"kferry lacks {operation} on {on} of the {role.value} cluster",
                " ".join(reasons),
                f"Let `kferry acls apply {role.value}` grant it, or hand the commands of"
                f" `kferry acls show {role.value} -o commands` to the cluster's owner.",
            )
        unknown = sum(1 for rule in needed if granted[rule] is None)
        if unknown:
            yield info(
                role.value,
                f"{counted(unknown, 'right')} on the {role.value} cluster cannot be told yet",
                "Clusters tell rights on what is there; these topics or groups are not, or the brokers are too old.",
                "Run preflight again once the task is created.",
            )


def right_of(rule: AclRule) -> str:
    """The kind of right by which what is missing is gathered, as subjects of findings have it: `READ topic prefix`."""
    return f"{rule.operation} {rule.resource.value}{' prefix' if rule.is_prefixed else ''}"


@check(
    "tls-names",
    Family.CLUSTERS,
    "block warn",
    why="Whoever has any certificate of that CA could pose as a broker.",
    fix="Use certificates that carry the brokers' names.",
)
def tls_names(facts: PreflightFacts) -> Iterator[Result]:
    """The brokers' certificates carry the brokers' names."""
    for cluster in facts.clusters:
        waiver = cluster.tls_name_waiver
        if waiver is None:
            continue
        (line,) = waiver_lines([cluster], facts.now_ms)
        title = f"Host names of the {cluster.role.value} cluster go unchecked until {waiver.until}"
        fix = f"Use certificates that carry the names, and remove tls_name_waiver from {CLUSTERS_FILE}."
        if facts.now_ms >= waiver.until_ms:
            yield block(cluster.role.value, f"{title}, which is over", line, fix)
        else:
            yield warn(cluster.role.value, title, line, fix)


@check(
    "cloud-role-shared",
    Family.WORKERS,
    "warn",
    why=("Every process of a machine can use the machine's cloud role, so tasks on it could do each other's work."),
    fix="Set aws_role_arn, or give each task machines of its own.",
)
def cloud_role(facts: PreflightFacts) -> Iterator[Result]:
    """A machine's own cloud role serves one migration task only."""
    for machine, tasks in shared_machine_roles(facts.clusters, facts.tasks_by_machine).items():
        yield warn(
            machine,
            f"The cloud role of {machine} serves {counted(len(tasks), 'migration task')}",
            f"{listed(tasks)} log in with the machine's own credentials: each can do what any of them may.",
            f"Set aws_role_arn in {CLUSTERS_FILE} (it may hold {{task}}), or give each task machines of its own.",
            tasks,
        )


@check(
    "msk-iam-jar",
    Family.WORKERS,
    "block",
    why="Without the library a worker cannot log in to MSK with IAM.",
    fix="Use kferry's own distribution, or add the jar.",
)
def iam_jar(facts: PreflightFacts) -> Iterator[Result]:
    """Workers that log in with AWS IAM have the library for it."""
    if uses_iam(facts.clusters) and facts.has_iam_jar is False:
        yield block(
            "distribution",
            "The Kafka distribution of the settings has no library for AWS IAM",
            "It holds no extras/msk-iam/*.jar, which a login with AWS_MSK_IAM needs.",
            "Use kferry's own distribution (distribution.source: maven), or add the jar aws-msk-iam-auth-all there.",
        )
