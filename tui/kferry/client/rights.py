"""The rights that kferry needs on one cluster, for the topics and groups of the plan and of living tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kferry.client import files
from kferry.domain import acls
from kferry.domain.acls import AclRule, Purpose
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Role

if TYPE_CHECKING:
    from kferry.client.session import Session


@dataclass(frozen=True, slots=True)
class Needed:
    """`principal` None: clusters.yml does not say as whom kferry is seen. `has_plan`: else only a scan's rights."""

    role: Role
    rules: tuple[AclRule, ...]
    principal: str | None
    bootstrap_servers: str
    has_plan: bool

    def required_principal(self) -> str:
        """The principal, or an error that says to name it."""
        if self.principal is None:
            raise KferryError(
                f"It is not known as whom the {self.role.value} cluster sees kferry.",
                cause="clusters.yml has no sasl_username in plain words.",
                next_step="Name it as the brokers log it: --principal User:CN=kferry,O=Example",
                kind=ErrorKind.USAGE,
            )
        return self.principal


def needed(session: Session, cluster: str, *, purpose: str | None = None, principal: str | None = None) -> Needed:
    """What kferry needs on `cluster`, each right once; only for one purpose where that is named.

    The fence is shown only where it is asked for: it is no right of kferry's.
    """
    role, wanted = _role(cluster), _purpose(purpose)
    config = files.clusters(session.layout).get(role)
    if config is None:
        raise KferryError(f"clusters.yml names no {role.value}.", kind=ErrorKind.USAGE)
    topics, groups, has_plan = _moved(session)
    return Needed(
        role,
        tuple(_rules(session, role, wanted, topics, groups, has_plan)),
        acls.checked_principal(principal) if principal else acls.default_principal(config),
        config.bootstrap_servers,
        has_plan,
    )


def _rules(
    session: Session, role: Role, purpose: Purpose | None, topics: set[str], groups: set[str], has_plan: bool
) -> Sequence[AclRule]:
    if purpose is Purpose.FENCE:
        if role is not Role.SOURCE:
            raise KferryError("The fence is set on the source only.", kind=ErrorKind.USAGE)
        return acls.fence(topics)
    rules = acls.plan(role, files.settings(session.layout).migration_id, topics, groups) if has_plan else []
    if not has_plan:
        rules = acls.discovery(role)
    return acls.least([rule for rule in rules if purpose in (None, rule.purpose)])


def _moved(session: Session) -> tuple[set[str], set[str], bool]:
    """(topics, groups, whether there is a plan). Raises KferryError where plan.yml cannot be read."""
    plan = session.plan_view()
    if plan.error:
        raise KferryError.from_dict(dict(plan.error))
    tasks = [task for task in session.reader.tasks() if task.state != "Deleted"]
    named = [(batch.topics, batch.groups) for batch in plan.batches] + [(task.topics, task.groups) for task in tasks]
    topics = {name for names, _ in named for name in names}
    groups = {name for _, names in named for name in names}
    return topics, groups, bool(plan.batches or tasks)


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise KferryError(f"{text!r} is neither source nor target.", kind=ErrorKind.USAGE) from None


def _purpose(text: str | None) -> Purpose | None:
    if text is None:
        return None
    try:
        return Purpose(text)
    except ValueError:
        known = ", ".join(item.value for item in Purpose)
        raise KferryError(f"{text!r} is none of {known}.", kind=ErrorKind.USAGE) from None
