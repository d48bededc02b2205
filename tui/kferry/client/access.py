"""The last comparison of access as the faces show it, and as files for others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kferry.client import files
from kferry.domain.errors import ErrorKind, KferryError

if TYPE_CHECKING:
    from kferry.client.session import Session
    from kferry.domain.access_items import AccessItem
    from kferry.store.paths import Layout
    from kferry.store.queries import Reader

WHAT = ("acls", "quotas", "scram_users")
ACTIONS = ("create", "drift", "present", "skipped")


@dataclass(frozen=True, slots=True)
class AccessView:
    """The document `access_plan`. Each item has `what`, `action`, `subject`, `name`, and what else is known of it.

    `unknown` are those of the warnings that say what could not be read.
    """

    made_at_ms: int
    scope: str
    has_file: bool
    counts: Mapping[str, Mapping[str, int]]
    warnings: tuple[str, ...]
    items: tuple[Mapping[str, Any], ...]
    unknown: tuple[str, ...] = ()

    def total(self, action: str) -> int:
        return sum(counts.get(action, 0) for counts in self.counts.values())


def last_plan(reader: Reader) -> AccessView | None:
    """The newest comparison; None where there was none."""
    found = reader.document("access_plan", "")
    if found is None or not found[1]:
        return None
    body = found[1]
    return AccessView(
        made_at_ms=int(body["made_at_ms"]),
        scope=str(body["scope"]),
        has_file=bool(body["has_file"]),
        counts=body["counts"],
        warnings=tuple(body["warnings"]),
        items=tuple(body["items"]),
        unknown=tuple(body.get("unknown", ())),
    )


def last_probe(reader: Reader, cluster: str, principal: str) -> tuple[int, list[dict[str, Any]]] | None:
    """When a principal was probed last, and every right with its answer."""
    return reader.document("probe", f"{cluster} {principal}")


def inputs_changed_at_ms(layout: Layout) -> int | None:
    """When a file that a comparison is made from, plan.yml or access.yml, was written last; None without any."""
    from kferry.store import access_file

    times = []
    for path in (layout.plan, layout.root / access_file.NAME):
        with suppress(OSError):
            times.append(int(path.stat().st_mtime * 1000))
    return max(times, default=None)


def required_plan(session: Session) -> AccessView:
    """The newest comparison, or an error that says how to make one."""
    view = last_plan(session.reader)
    if view is None:
        raise KferryError(
            "The access of source and target was not compared yet.",
            next_step="Run `kferry access plan`.",
            kind=ErrorKind.NOT_READY,
        )
    return view


def items_of(view: AccessView) -> list[AccessItem]:
    """The items as the domain knows them."""
    from kferry.domain.access_items import AccessItem
    from kferry.store import codec

    return [codec.load(AccessItem, json.dumps(item)) for item in view.items]


def commands(session: Session) -> list[str]:
    """What is missing on the target as command lines for its owner."""
    from kferry.domain import access_export

    config = files.clusters(session.layout).get("target")
    if config is None:
        raise KferryError("clusters.yml names no target.", kind=ErrorKind.USAGE)
    return access_export.commands(items_of(required_plan(session)), config.bootstrap_servers)


def table(session: Session) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """(column names, rows) of the whole comparison."""
    from kferry.domain import access_export

    return access_export.COLUMNS, [access_export.row(item) for item in items_of(required_plan(session))]


def starter(session: Session) -> str:
    """A first access.yml: every principal under its own name, and each SCRAM user with a reference to be filled in."""
    import yaml

    view = required_plan(session)
    moving = [item for item in view.items if item["action"] != "drift"]
    principals = sorted({str(item.get("was") or item["subject"]) for item in moving if item["what"] == "acls"})
    needing = {
        str(item["subject"]).removeprefix("User:")
        for item in view.items
        if item["what"] == "scram_users" and "new password" in str(item.get("reason", ""))
    }
    body = {
        "schema": 1,
        "scope": view.scope,
        "principals": {"map": {name: name for name in principals if not name.endswith(":*")}, "drop": []},
        "users": {name: {"password": f"env:{_variable(name)}"} for name in sorted(needing)},
        "probes": [],
    }
    text: str = yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110)
    return f"# Who becomes whom on the target, and where new passwords come from. See docs/access.md.\n{text}"


def _variable(name: str) -> str:
    plain = "".join(character if character.isascii() and character.isalnum() else "_" for character in name)
    return f"KFERRY_PASSWORD_{plain.upper()}"
