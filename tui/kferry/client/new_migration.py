"""Making a migration directory: kferry.yml, the clusters and this machine as the first worker host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kferry.domain.drafts import Draft, settings_of
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterKind, Role
from kferry.store.paths import Layout

_HOSTS = """\
# The machines that may carry workers. This one needs no ssh; add more with ansible_host and ansible_user.
all:
  children:
    kferry_workers:
      hosts:
        local-1:
          ansible_connection: local
"""
_IGNORE = "/.kferry/\n"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the operator said of the new migration; empty bootstrap servers are left to be filled in."""

    root: Path
    name: str
    source_bootstrap: str
    target_bootstrap: str
    source_kind: str
    target_kind: str
    drafts: Mapping[Role, Draft] = field(default_factory=dict)  # clusters that were described further


def make(wanted: Wanted, *, dry_run: bool = False) -> list[Path]:
    """Write the files and return them. Refuses where a migration lies; never writes over an existing file."""
    from kferry.store import atomic_write, clusters_file, settings_file

    layout = Layout(wanted.root.absolute())
    _check(wanted, layout)
    _check_drafts(wanted)
    hosts = layout.inventory / "hosts.yml"
    ignore = layout.root / ".gitignore"
    texts = {layout.clusters: _clusters(wanted), hosts: _HOSTS, ignore: _IGNORE}
    to_write = [layout.settings, *(path for path in texts if not path.exists())]
    if dry_run:
        return to_write
    fresh = [path for path in to_write if path != layout.settings]
    try:
        layout.clusters.parent.mkdir(parents=True, exist_ok=True)
        for path in fresh:
            atomic_write.write_text(path, texts[path])
        if wanted.source_bootstrap and wanted.target_bootstrap:
            clusters_file.load_clusters(layout)  # a bootstrap server that cannot be one is told now
        # kferry.yml last: with it the directory counts as a migration
        settings_file.write_new(layout, wanted.name)
    except OSError as error:
        raise KferryError(
            f"The migration directory {layout.root} cannot be written: {error.strerror}.", kind=ErrorKind.USAGE
        ) from error
    except KferryError:
        for path in fresh:
            path.unlink(missing_ok=True)
        raise
    layout.prepare()
    return to_write


def _check(wanted: Wanted, layout: Layout) -> None:
    if layout.settings.exists():
        raise KferryError(
            f"{layout.root} is a migration directory already.",
            next_step=f"Go on with it: kferry -C {layout.root}",
            kind=ErrorKind.USAGE,
        )
    for option, kind in (("--source-kind", wanted.source_kind), ("--target-kind", wanted.target_kind)):
        if kind not in {item.value for item in ClusterKind}:
            valid = ", ".join(item.value for item in ClusterKind)
            raise KferryError(f"{option} is one of {valid}, not {kind!r}.", kind=ErrorKind.USAGE)


def _check_drafts(wanted: Wanted) -> None:
    """Refuse a described cluster that lacks something, before any file is made."""
    from kferry.client import cluster_drafts

    for draft in wanted.drafts.values():
        cluster_drafts.refuse_gaps(cluster_drafts.Opened(draft, {}, ""), draft)


def placeholder(role: str) -> str:
    """The servers of a cluster that nobody has described yet."""
    return f"{role}.example.com:9092"


def _clusters(wanted: Wanted) -> str:
    import yaml

    ends = {
        Role.SOURCE: (wanted.source_kind, wanted.source_bootstrap or placeholder(Role.SOURCE)),
        Role.TARGET: (wanted.target_kind, wanted.target_bootstrap or placeholder(Role.TARGET)),
    }
    body = {role.value: {"kind": kind, "bootstrap_servers": servers} for role, (kind, servers) in ends.items()}
    body |= {role.value: settings_of(draft) for role, draft in wanted.drafts.items()}
    head = (
        "# How both clusters are reached. Secrets are references: env:NAME, file:/path or command:... .\n"
        "# Also: security_protocol, sasl_mechanism, sasl_username, sasl_password, ssl_ca, ssl_certificate, ssl_key.\n"
    )
    return head + yaml.safe_dump({"kferry_clusters": body}, sort_keys=False)
