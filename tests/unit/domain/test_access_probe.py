"""Which rights are probed, and what the answers mean against what the ACLs promise."""

from __future__ import annotations

import pytest

from kferry.domain.access import AclEntry
from kferry.domain.access_mapping import PrincipalMapping
from kferry.domain.access_probe import MAX_QUESTIONS, Right, computed, proven, rights_to_probe, sources_of, summary
from kferry.domain.access_scope import AccessScope

SHOP = AccessScope(frozenset({"shop.orders", "shop.items", "hr.people"}), frozenset({"billing"}))
ME = ("User:a",)


def acl(text: str) -> AclEntry:
    """`allow read topic shop. prefixed [User:a] [*]`"""
    permission, operation, resource, name, pattern, *rest = text.split()
    principal, host = [*rest, "User:a", "*"][:2] if len(rest) < 2 else rest
    return AclEntry(principal, host if len(rest) == 2 else "*", resource, name, pattern, operation, permission)


def asked(*acls: str, scope: AccessScope = SHOP) -> dict[tuple[str, str, str], bool | None]:
    found = rights_to_probe([acl(text) for text in acls], ME, scope)
    return {(right.resource, right.name, right.operation): right.expected for right in found}


def test_what_it_reads_is_asked_with_what_it_must_not_do() -> None:
    assert asked("allow read topic shop.orders literal", "allow read group billing literal") == {
        ("topic", "shop.orders", "describe"): True,
        ("topic", "shop.orders", "read"): True,
        ("topic", "shop.orders", "write"): False,
        ("group", "billing", "describe"): True,
        ("group", "billing", "read"): True,
    }


def test_prefixes_everybody_and_others() -> None:
    found = asked("allow write topic shop. prefixed", "allow describe topic hr.people literal User:*")
    assert found["topic", "shop.items", "write"] is True
    assert found["topic", "hr.people", "read"] is False
    assert found["cluster", "kafka-cluster", "idempotent_write"] is None, "from 2.8 on a right to write is enough"
    assert asked("allow read topic shop.orders literal User:b") == {}


def test_a_transactional_prefix_is_asked_by_an_example() -> None:
    found = asked("allow all transactional_id tx- prefixed", "allow write transactional_id one literal")
    assert found == {
        ("transactional_id", "one", "write"): True,
        ("transactional_id", "tx-kferry-probe", "write"): True,
    }


def test_a_right_that_depends_on_the_host_is_not_expected_either_way() -> None:
    found = asked("allow read topic shop.orders literal", "deny read topic shop.orders literal User:a 10.0.0.1")
    assert found["topic", "shop.orders", "read"] is None


def test_rights_that_an_acl_names_are_asked_too_and_everything_has_an_end() -> None:
    assert ("topic", "shop.orders", "delete") in asked("allow delete topic shop.orders literal")
    assert ("cluster", "kafka-cluster", "alter") in asked("allow alter cluster kafka-cluster literal")
    many = AccessScope(frozenset(f"t{number}" for number in range(5000)), frozenset())
    assert len(asked("allow read topic * literal", scope=many)) == MAX_QUESTIONS


def test_everything_in_scope_asks_for_what_is_named_and_there() -> None:
    found = rights_to_probe([acl("allow read topic shop. prefixed")], ME, AccessScope(), ["shop.orders", "hr.people"])
    assert {right.name for right in found} == {"shop.orders"}
    found = rights_to_probe([acl("allow read topic shop. prefixed")], ME, AccessScope())
    assert {right.name for right in found} == {"shop.kferry-probe"}


def test_who_becomes_whom() -> None:
    mapping = PrincipalMapping({"User:b": "User:a"}, drop=frozenset({"User:c"}))
    assert sources_of(mapping, "User:a", ["User:a", "User:b", "User:c", "User:d"]) == ("User:a", "User:b")


@pytest.mark.parametrize(
    ("expected", "allowed", "missing", "more"),
    [(True, False, True, False), (True, True, False, False), (False, True, False, True), (None, True, False, False),
     (True, None, False, False)],
)  # fmt: skip
def test_verdicts(expected: bool | None, allowed: bool | None, missing: bool, more: bool) -> None:
    found = proven(Right("topic", "t", "read", expected, ""), allowed, "words")
    assert (found.is_missing, found.is_more, found.is_proven) == (missing, more, allowed is not None)


def test_computed_is_never_proven() -> None:
    rights = rights_to_probe([acl("allow read topic shop.orders literal")], ME, SHOP)
    found = computed(rights, [], "User:a")
    assert not any(item.is_proven for item in found)
    assert {item.allowed for item in found} == {None}, "no ACL at all: the brokers' settings decide"
    assert summary(found)["unknown"] == len(found)
    assert all("not proven" in item.words for item in found)
