"""Rules about how clusters are reached: waived host names, cloud roles and who may share a machine with whom."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig

MSK_IAM = "AWS_MSK_IAM"
WITH_PASSWORD = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
CLUSTERS_FILE = "inventory/group_vars/all/clusters.yml"

_SESSION_NAME_CHARACTERS = 64
_MSK_HOST = re.compile(r"\.kafka(?:-serverless)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?(?::|$)")


def refuse_old_waiver(cluster: ClusterConfig, now_ms: int) -> None:
    """Raise where host names of this cluster were to go unchecked until a day that is over."""
    waiver = cluster.tls_name_waiver
    if waiver is not None and now_ms >= waiver.until_ms:
        raise KferryError(
            f"The {cluster.role.value} cluster is not used: its host names went unchecked until {waiver.until}.",
            cause=f"The waiver has ended. It was given because: {waiver.why}",
            next_step=(
                "Use certificates that carry the brokers' names and remove tls_name_waiver from "
                f"{CLUSTERS_FILE}, or give it a later day there."
            ),
            kind=ErrorKind.USAGE,
        )


def waiver_lines(clusters: Iterable[ClusterConfig], now_ms: int) -> list[str]:
    """One sentence per cluster whose host names go unchecked, for every report."""
    lines = []
    for cluster in clusters:
        waiver = cluster.tls_name_waiver
        if waiver is not None:
            until = f"until {waiver.until}" if now_ms < waiver.until_ms else f"and this ended with {waiver.until}"
            lines.append(
                f"Host names in the certificates of the {cluster.role.value} cluster are not checked, {until}; "
                f"its CA is pinned. Why: {waiver.why}"
            )
    return lines


def role_arn(cluster: ClusterConfig, task: str) -> str | None:
    """The AWS role that the workers of a task take on for this cluster; None = the machine's own."""
    return cluster.aws_role_arn.replace("{task}", task) if cluster.aws_role_arn else None


def session_name(migration_id: str, task: str) -> str:
    """The name under which AWS logs what a task does; AWS takes 64 characters."""
    return f"kferry-{migration_id}-{task}"[:_SESSION_NAME_CHARACTERS]


def aws_region(cluster: ClusterConfig) -> str | None:
    """The region of an MSK cluster: as written, else as its brokers' names tell."""
    if cluster.aws_region:
        return cluster.aws_region
    found = _MSK_HOST.search(cluster.bootstrap_servers)
    return found[1] if found else None


def uses_iam(clusters: Iterable[ClusterConfig]) -> bool:
    """Whether workers need the jar for MSK IAM."""
    return any(cluster.sasl_mechanism == MSK_IAM for cluster in clusters)


def shared_machine_roles(
    clusters: Iterable[ClusterConfig], tasks_by_machine: Mapping[str, Iterable[str]]
) -> dict[str, tuple[str, ...]]:
    """Machines whose own cloud role would serve several tasks, with these tasks.

    Credentials of a machine's role are open to every process there, whatever its account: so a task either takes on
    a role in a session of its own (`aws_role_arn`), or has the machine for itself.
    """
    if all(cluster.aws_role_arn for cluster in clusters if cluster.sasl_mechanism == MSK_IAM):
        return {}
    tasks = {machine: tuple(sorted(set(names))) for machine, names in tasks_by_machine.items()}
    return {machine: names for machine, names in tasks.items() if len(names) > 1}


def admin_settings(cluster: ClusterConfig) -> ClusterConfig:
    """The cluster as its admin reaches it, where clusters.yml names one; only for granting rights."""
    if not cluster.admin_username:
        return cluster
    return replace(cluster, sasl_username=cluster.admin_username, sasl_password=cluster.admin_password)
