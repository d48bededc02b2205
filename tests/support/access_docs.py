"""An access plan and a probe as the engine writes them, for tests of the faces."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from kferry.domain.access import Access, AclEntry, ClientQuota, ScramUser
from kferry.domain.access_items import AccessPlan, Side, WantedUser
from kferry.domain.access_mapping import PrincipalMapping
from kferry.domain.access_plan import plan_access
from kferry.domain.access_scope import AccessScope
from kferry.store.journal import Journal
from kferry.store.tables import Document

SHOP = AccessScope(frozenset({"shop.orders"}), frozenset({"billing"}))


def acl(principal: str, operation: str, name: str, *, resource: str = "topic", permission: str = "allow") -> AclEntry:
    return AclEntry(principal, "*", resource, name, "literal", operation, permission)


def a_plan(name: str = "app", topic: str = "shop.orders") -> AccessPlan:
    """One of each action; `name` and `topic` may be anything."""
    scope = AccessScope(frozenset({topic}), frozenset({"billing"}))
    source = Access(
        acls=(
            acl(f"User:{name}", "read", topic),
            acl(f"User:{name}", "read", "billing", resource="group"),
            acl(f"User:{name}", "read", "hr.people"),
            acl("User:*", "describe", topic),
        ),
        quotas=(
            ClientQuota({"user": name}, {"producer_byte_rate": 1000.0, "consumer_byte_rate": 5.0}),
            ClientQuota({"client-id": None}, {"request_percentage": 12.5}),
        ),
        scram_users=(ScramUser(name, ("SCRAM-SHA-512",), 8192), ScramUser("idle", ("SCRAM-SHA-512",))),
    )
    target = Access(
        acls=(acl(f"User:{name}", "read", "billing", resource="group"), acl(f"User:{name}", "delete", topic)),
        quotas=(ClientQuota({"user": name}, {"consumer_byte_rate": 9.0}),),
        scram_users=(),
    )
    return plan_access(
        Side(source, True, None, 3),
        Side(target, True, None, 5),
        PrincipalMapping(),
        scope,
        users={name: WantedUser()} if name.isascii() else {},
    )


def body(plan: AccessPlan, at_ms: int) -> dict[str, Any]:
    return {
        "made_at_ms": at_ms,
        "scope": "plan",
        "has_file": False,
        "counts": plan.counts(),
        "warnings": list(plan.warnings),
        "unknown": list(plan.unknown),
        "items": [{k: v for k, v in asdict(item).items() if v not in (None, "")} for item in plan.items],
    }


def put_plan(journal: Journal, plan: AccessPlan, at_ms: int) -> None:
    journal.put_document("access_plan", "", json.dumps(body(plan, at_ms)))


def put_probe(journal: Journal, subject: str, at_ms: int) -> None:
    """Two proven rights, one of them missing, and one that is not proven."""

    def right(operation: str, allowed: bool | None, expected: bool | None, words: str) -> dict[str, Any]:
        return {
            "resource": "topic",
            "name": "shop.orders",
            "operation": operation,
            "allowed": allowed,
            "expected": expected,
            "is_proven": allowed is not None,
            "is_missing": expected is True and allowed is False,
            "is_more": expected is False and allowed is True,
            "words": words,
        }

    rows = [
        right("describe", True, True, "described"),
        right("read", False, True, "not allowed on the topic"),
        right("delete", None, True, "not proven: cannot be asked without doing it"),
    ]
    with journal.transaction() as session:
        session.merge(Document(kind="probe", subject=subject, at_ms=at_ms, body=json.dumps(rows)))
