"""Who may do what in a cluster, and how fast: ACLs, client quotas and SCRAM users as a cluster says them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class AclEntry:
    """One ACL binding. Words are Kafka's own: resource `topic`, `group`, `cluster`, `transactional_id`,
    `delegation_token` or `user`; pattern `literal` or `prefixed`; operation as in `describe_configs`; permission
    `allow` or `deny`.
    """

    principal: str
    host: str
    resource: str
    name: str
    pattern: str
    operation: str
    permission: str


@dataclass(frozen=True, slots=True)
class ClientQuota:
    """Limits of one entity. `entity` maps `user`, `client-id` or `ip` to a name; None stands for the default."""

    entity: Mapping[str, str | None]
    limits: Mapping[str, float]


@dataclass(frozen=True, slots=True, order=True)
class ScramUser:
    """A user with SCRAM credentials. Passwords can't be read, so each needs a new one on the target."""

    name: str
    mechanisms: tuple[str, ...]
    iterations: int | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """What a scan learned of access; None = the cluster could not be asked (its capability says why)."""

    acls: tuple[AclEntry, ...] | None = None
    quotas: tuple[ClientQuota, ...] | None = None
    scram_users: tuple[ScramUser, ...] | None = None
