"""Wishes about ACLs, quotas and SCRAM users: what is refused before anything is asked of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kferry.domain.access_items import What
from kferry.domain.acls import checked_principal
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Role
from kferry.domain.runbook import OperationKind
from kferry.store.access_file import load_access

if TYPE_CHECKING:
    from kferry.engine.context import Services

KINDS = frozenset({"plan_access", "apply_access", "probe_principal"})


def checked(services: Services, args: Mapping[str, Any], *, kind: str) -> tuple[OperationKind, str]:
    """The operation and subject that a wish becomes. Raises KferryError where it can't be granted."""
    load_access(services.layout)  # a mistake in access.yml is told at once, with its place
    if kind == "plan_access":
        return OperationKind.PLAN_ACCESS, ""
    if kind == "apply_access":
        valid = [what.value for what in What]
        wrong = [str(word) for word in args.get("what") or () if word not in valid]
        if wrong:
            raise KferryError(f"{wrong[0]!r} is none of {', '.join(valid)}.", kind=ErrorKind.USAGE)
        return OperationKind.APPLY_ACCESS, ""
    cluster = str(args.get("cluster", ""))
    if cluster not in (role.value for role in Role):
        raise KferryError(f"{cluster!r} is neither source nor target.", kind=ErrorKind.USAGE)
    return OperationKind.PROBE_PRINCIPAL, f"{cluster} {checked_principal(str(args.get('principal', '')))}"
