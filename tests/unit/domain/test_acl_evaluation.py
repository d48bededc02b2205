"""What ACLs allow, case by case, as Kafka's standard authorizer decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.domain.access import AclEntry
from kferry.domain.acl_evaluation import AclIndex, Answer, Question, Verdict, covers, evaluate


def acl(text: str) -> AclEntry:
    """`allow read topic shop. prefixed User:a 10.0.0.1`"""
    permission, operation, resource, name, pattern, principal, host = text.split()
    return AclEntry(principal, host, resource, name, pattern, operation, permission)


def asked(*acls: str, operation: str = "read", name: str = "shop.orders", host: str | None = None) -> Verdict:
    return evaluate([acl(text) for text in acls], Question("User:a", "topic", name, operation, host))


ALLOW = "allow read topic shop.orders literal User:a *"


@pytest.mark.parametrize(
    ("acls", "operation", "answer"),
    [
        ((), "read", Answer.NOTHING_SAID),
        (("allow read topic other literal User:a *",), "read", Answer.NOTHING_SAID),
        (("allow read group shop.orders literal User:a *",), "read", Answer.NOTHING_SAID),
        ((ALLOW,), "read", Answer.ALLOWED),
        ((ALLOW,), "write", Answer.NOT_ALLOWED),
        (("allow read topic shop.orders literal User:b *",), "read", Answer.NOT_ALLOWED),
        (("allow read topic shop.orders literal User:* *",), "read", Answer.ALLOWED),
        (("allow read topic shop.orders literal Group:* *",), "read", Answer.NOT_ALLOWED),
        (("allow read topic shop. prefixed User:a *",), "read", Answer.ALLOWED),
        (("allow read topic shop. literal User:a *",), "read", Answer.NOTHING_SAID),
        (("allow read topic * literal User:a *",), "read", Answer.ALLOWED),
        (("allow read topic * prefixed User:a *",), "read", Answer.NOTHING_SAID),
        (("allow all topic shop.orders literal User:a *",), "alter", Answer.ALLOWED),
        # a right carries what it needs
        ((ALLOW,), "describe", Answer.ALLOWED),
        (("allow write topic shop.orders literal User:a *",), "describe", Answer.ALLOWED),
        (("allow delete topic shop.orders literal User:a *",), "describe", Answer.ALLOWED),
        (("allow alter topic shop.orders literal User:a *",), "describe", Answer.ALLOWED),
        (("allow alter_configs topic shop.orders literal User:a *",), "describe_configs", Answer.ALLOWED),
        (("allow alter_configs topic shop.orders literal User:a *",), "describe", Answer.NOT_ALLOWED),
        (("allow describe topic shop.orders literal User:a *",), "read", Answer.NOT_ALLOWED),
        # a deny beats every allow, and carries nothing
        ((ALLOW, "deny read topic * literal User:* *"), "read", Answer.DENIED),
        ((ALLOW, "deny all topic shop prefixed User:a *"), "read", Answer.DENIED),
        ((ALLOW, "deny read topic shop.orders literal User:b *"), "read", Answer.ALLOWED),
        ((ALLOW, "deny read topic shop.orders literal User:a *"), "describe", Answer.ALLOWED),
        (("deny write topic shop.orders literal User:a *",), "read", Answer.NOT_ALLOWED),
    ],
)  # fmt: skip
def test_table(acls: tuple[str, ...], operation: str, answer: Answer) -> None:
    verdict = asked(*acls, operation=operation)
    assert verdict.answer is answer
    assert verdict.allowed is {Answer.ALLOWED: True, Answer.NOTHING_SAID: None}.get(answer, False)
    assert verdict.words


def test_hosts_decide_for_clients_there_alone() -> None:
    here = "allow read topic shop.orders literal User:a 10.0.0.1"
    assert asked(here, host="10.0.0.1").answer is Answer.ALLOWED
    assert asked(here, host="10.0.0.2").answer is Answer.NOT_ALLOWED
    somewhere = asked(here)
    assert (somewhere.answer, somewhere.depends_on_host) == (Answer.NOT_ALLOWED, True)
    barred = asked(ALLOW, "deny read topic shop.orders literal User:a 10.0.0.1")
    assert (barred.answer, barred.depends_on_host) == (Answer.ALLOWED, True)
    assert "depends on the client's host" in barred.words
    assert asked(ALLOW, "deny read topic shop.orders literal User:a 10.0.0.1", host="10.0.0.1").answer is Answer.DENIED


entries = st.builds(
    AclEntry,
    principal=st.sampled_from(("User:a", "User:b", "User:*")),
    host=st.sampled_from(("*", "h")),
    resource=st.just("topic"),
    name=st.sampled_from(("*", "shop.orders", "shop", "")),
    pattern=st.sampled_from(("literal", "prefixed")),
    operation=st.sampled_from(("all", "read", "describe", "alter")),
    permission=st.sampled_from(("allow", "deny")),
)
QUESTION = Question("User:a", "topic", "shop.orders", "describe", "h")


@given(st.lists(entries), entries)
def test_one_more_allow_never_takes_a_right_away_and_one_more_deny_never_gives_one(
    acls: list[AclEntry], more: AclEntry
) -> None:
    before, after = evaluate(acls, QUESTION).allowed, evaluate([*acls, more], QUESTION).allowed
    if more.permission == "allow" and before:
        assert after
    if more.permission == "deny":
        assert not after or before


@given(st.lists(entries, min_size=1))
def test_the_order_of_acls_is_of_no_account(acls: list[AclEntry]) -> None:
    assert evaluate(acls, QUESTION).answer is evaluate(acls[::-1], QUESTION).answer


@given(st.lists(entries), st.sampled_from(("shop.orders", "*", "shop", "other")))
@pytest.mark.thorough
def test_an_index_finds_what_looking_at_all_finds(acls: list[AclEntry], name: str) -> None:
    assert sorted(AclIndex(acls).covering("topic", name)) == sorted(e for e in acls if covers(e, "topic", name))
    question = Question("User:a", "topic", name, "read")
    assert evaluate(AclIndex(acls), question).answer is evaluate(acls, question).answer
