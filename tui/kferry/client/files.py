"""What the operator's files say, joined with the journal: plan, clusters, and whether the directory can be used.

The readers of the files pull in yaml and pydantic; they are imported only where they are called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.store import views
from kferry.store.paths import Layout
from kferry.store.queries import Reader


def check_directory(layout: Layout) -> None:
    """Raise KferryError where kferry.yml is missing or unreadable, or another file that exists is malformed."""
    if not layout.settings.exists():
        raise KferryError(
            f"{layout.root} is no migration directory: it has no kferry.yml.",
            next_step="Make one with: kferry init DIR, or name another with: kferry -C DIR",
            kind=ErrorKind.USAGE,
        )
    settings(layout)
    if layout.clusters.exists():
        clusters(layout)


def settings(layout: Layout) -> Any:
    """kferry.yml, validated."""
    from kferry.store.settings_file import load_settings

    return load_settings(layout)


def clusters(layout: Layout) -> Mapping[Any, Any]:
    """clusters.yml, validated: ClusterConfig by Role."""
    from kferry.store.clusters_file import load_clusters

    return load_clusters(layout)


def plan_view(layout: Layout, reader: Reader) -> views.PlanView:
    """plan.yml with each batch's phase from the journal; a file that cannot be read is told in `error`."""
    if not layout.plan.exists():
        return views.PlanView(revision="", batches=())
    from kferry.store import plan_file

    revision = ""
    try:
        revision = plan_file.revision(layout)
        plan = read_plan(layout, revision)
    except KferryError as error:
        return views.PlanView(revision, (), error=error.as_dict())
    except OSError as error:
        problem = KferryError(f"{layout.plan} cannot be read: {error}.", kind=ErrorKind.USAGE)
        return views.PlanView(revision, (), error=problem.as_dict())
    rows = reader.batch_rows()
    batches = []
    for position, batch in enumerate(plan.batches):
        row = rows.get(batch.name)
        batches.append(
            views.BatchView(
                name=batch.name,
                position=position,
                topics=batch.topics,
                groups=batch.groups,
                risk=batch.risk,
                why=batch.why,
                note=batch.note,
                phase=row["phase"] if row else "planned",
                task=row["task"] if row else None,
                certificate=row["certificate"] if row else None,
            )
        )
    return views.PlanView(revision, tuple(batches), plan.left_out)


# The last plan that was read, by file and revision: faces ask for it at every look, and 10,000 topics take a while.
_LAST_PLAN: dict[str, tuple[str, Any]] = {}


def read_plan(layout: Layout, revision: str) -> Any:
    """plan.yml, validated; read again only where it is no longer of this revision."""
    from kferry.store import plan_file

    kept = _LAST_PLAN.get(str(layout.plan))
    if kept is None or kept[0] != revision:
        kept = (revision, plan_file.load_plan(layout))
        _LAST_PLAN.clear()
        _LAST_PLAN[str(layout.plan)] = kept
    return kept[1]


def cluster_views(layout: Layout, reader: Reader) -> list[views.ClusterView]:
    """Source and target: how they are configured and what the last check said."""
    error: dict[str, str] | None = None
    configs: Mapping[Any, Any] = {}
    if layout.clusters.exists():
        try:
            configs = clusters(layout)
        except KferryError as problem:
            error = problem.as_dict()
    else:
        error = KferryError(
            f"{layout.clusters} does not exist.",
            next_step="Write it, or make it with: kferry init",
            kind=ErrorKind.USAGE,
        ).as_dict()
    return [_cluster_view(role, configs, reader, error) for role in ("source", "target")]


def _cluster_view(
    role: str, configs: Mapping[Any, Any], reader: Reader, error: dict[str, str] | None
) -> views.ClusterView:
    config = configs.get(role)  # Role is a StrEnum: it hashes and compares as its text
    if config is None and error is None:
        error = KferryError(f"clusters.yml names no {role}.", kind=ErrorKind.USAGE).as_dict()
    checked = reader.cluster_check(role)
    at_ms, body = checked if checked else (None, {})
    return views.ClusterView(
        role=role,
        kind=str(config.kind) if config else "",
        bootstrap_servers=config.bootstrap_servers if config else "",
        security_protocol=config.security_protocol if config else "",
        checked_at_ms=at_ms,
        reachable=body.get("reachable"),
        kafka_version=body.get("kafka_version"),
        cluster_id=body.get("cluster_id"),
        broker_count=body.get("broker_count"),
        lines=check_lines(body),
        error=error or body.get("error"),
        capabilities=body.get("capabilities") or {},
    )


def check_lines(body: Mapping[str, Any]) -> tuple[tuple[str, str, str, float | None], ...]:
    """The lines of a document `cluster_check`; older ones have no times."""
    return tuple(
        (str(line[0]), str(line[1]), str(line[2]), line[3] if len(line) > 3 else None) for line in body.get("lines", ())
    )
