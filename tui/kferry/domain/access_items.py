"""The lines of an access plan, and what is known of the two clusters it is made from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kferry.domain.access import Access, AclEntry


class Action(StrEnum):
    """What is to be done about one thing. There is no action that takes something away."""

    CREATE = "create"
    PRESENT = "present"
    DRIFT = "drift"
    SKIPPED = "skipped"


class What(StrEnum):
    """The three kinds of access, in the words of the intent `apply_access`."""

    ACLS = "acls"
    QUOTAS = "quotas"
    SCRAM_USERS = "scram_users"


@dataclass(frozen=True, slots=True)
class QuotaLimit:
    """One limit of one entity, as wanted on the target; `before` is what the target has."""

    entity: Mapping[str, str | None]
    key: str
    value: float
    before: float | None = None


@dataclass(frozen=True, slots=True)
class UserCredential:
    """One mechanism of one user that is to get a password of access.yml."""

    name: str
    mechanism: str
    iterations: int | None = None


@dataclass(frozen=True, slots=True)
class AccessItem:
    """One line of the plan. `subject` is the principal, entity or user on the target; `was` the source's name for it,
    where that is another."""

    what: What
    action: Action
    subject: str
    name: str
    before: str | None = None
    after: str | None = None
    reason: str = ""
    was: str = ""
    acl: AclEntry | None = None
    quota: QuotaLimit | None = None
    user: UserCredential | None = None

    @property
    def resource(self) -> str:
        """The word of the change ledger."""
        return {What.ACLS: "acl", What.QUOTAS: "quota", What.SCRAM_USERS: "scram_user"}[self.what]


@dataclass(frozen=True, slots=True)
class Side:
    """What is known of one cluster. None = unknown; `unknown` says why, by kind of access."""

    access: Access
    has_authorizer: bool | None = None
    allow_everyone: bool | None = None
    broker_count: int | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WantedUser:
    """A user that access.yml has a password reference for; mechanisms () = those of the source."""

    mechanisms: tuple[str, ...] = ()
    iterations: int | None = None


@dataclass(frozen=True, slots=True)
class AccessPlan:
    """Items in the order in which they are applied, and sentences about traps and what could not be asked; the latter
    again in `unknown`."""

    items: tuple[AccessItem, ...]
    warnings: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def to_create(self, what: Collection[str] = tuple(What)) -> tuple[AccessItem, ...]:
        return tuple(item for item in self.items if item.action is Action.CREATE and item.what in what)

    def counts(self) -> dict[str, dict[str, int]]:
        """Items by kind and action; every action is named, also with 0."""
        result: dict[str, dict[str, int]] = {what.value: {a.value: 0 for a in Action} for what in What}
        for item in self.items:
            result[item.what.value][item.action.value] += 1
        return result
