"""The access plan: what is created, present, drifted, skipped; nothing is removed; twice changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.domain.access import Access, AclEntry, ClientQuota, ScramUser
from kferry.domain.access_items import AccessPlan, Action, Side, WantedUser, What
from kferry.domain.access_mapping import PrincipalMapping, PrincipalPattern
from kferry.domain.access_plan import entity_key, plan_access
from kferry.domain.access_scope import AccessScope
from kferry.domain.acl_evaluation import Answer, Question, evaluate
from kferry.domain.errors import KferryError

SAME = PrincipalMapping()
SHOP = AccessScope(frozenset({"shop.orders", "shop.items"}), frozenset({"billing"}))


def acl(
    principal: str = "User:app",
    operation: str = "read",
    resource: str = "topic",
    name: str = "shop.orders",
    pattern: str = "literal",
    permission: str = "allow",
    host: str = "*",
) -> AclEntry:
    return AclEntry(principal, host, resource, name, pattern, operation, permission)


def side(*acls: AclEntry, **more: object) -> Side:
    access = Access(acls=tuple(acls), quotas=(), scram_users=())
    return Side(replace(access, **more), has_authorizer=True, allow_everyone=False)  # type: ignore[arg-type]


def actions(plan: AccessPlan) -> dict[tuple[str, str], str]:
    return {(item.subject, item.name): item.action.value for item in plan.items}


def applied(target: Side, plan: AccessPlan) -> Side:
    """The target after every `create` of the plan was carried out, and nothing else."""
    access = target.access
    acls = set(access.acls or ())
    quotas = {entity_key(quota.entity): dict(quota.limits) for quota in access.quotas or ()}
    users: dict[str, set[str]] = {user.name: set(user.mechanisms) for user in access.scram_users or ()}
    for item in plan.to_create():
        if item.acl is not None:
            acls.add(item.acl)
        if item.quota is not None:
            quotas.setdefault(entity_key(item.quota.entity), {})[item.quota.key] = item.quota.value
        if item.user is not None:
            users.setdefault(item.user.name, set()).add(item.user.mechanism)
    return replace(
        target,
        access=Access(
            acls=tuple(sorted(acls)),
            quotas=tuple(ClientQuota(dict(key), limits) for key, limits in quotas.items()),
            scram_users=tuple(ScramUser(name, tuple(sorted(found))) for name, found in users.items()),
        ),
    )


# ---- ACLs -----------------------------------------------------------------------------------------------------------

PREFIXED = acl(name="shop.", pattern="prefixed", operation="write")
CLUSTER = acl(resource="cluster", name="kafka-cluster", operation="idempotent_write")
TRANSACTIONAL = acl(resource="transactional_id", name="tx-", pattern="prefixed", operation="all")
GROUP = acl(resource="group", name="billing")
DENY = acl(operation="write", permission="deny", host="10.0.0.1")


def test_every_kind_of_acl_is_created_once_and_then_present() -> None:
    source = side(acl(), PREFIXED, CLUSTER, TRANSACTIONAL, GROUP, DENY)
    plan = plan_access(source, side(), SAME, SHOP)
    assert [item.action for item in plan.items] == [Action.CREATE] * 6
    assert plan.items[0].acl == DENY, "a deny is made before the allows"
    again = plan_access(source, applied(side(), plan), SAME, SHOP)
    assert [item.action for item in again.items] == [Action.PRESENT] * 6


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (acl(name="hr.people"), "covers nothing that plan.yml moves"),
        (acl(name="hr.", pattern="prefixed"), "covers nothing that plan.yml moves"),
        (acl("User:idle", "describe", "cluster", "kafka-cluster"), "no right on a topic or group"),
        (acl("User:idle", "write", "transactional_id", "t"), "no right on a topic or group"),
        (acl("User:gone"), "left behind by access.yml"),
        (acl("User:kferry"), "kferry's own right"),
        (acl("User:*", "write", permission="deny"), "the fence of a cutover"),
        (acl(operation="cluster_action", resource="cluster", name="kafka-cluster"), "for brokers"),
        (acl(name="__consumer_offsets"), "internal topic"),
        (acl(resource="delegation_token", name="t"), "delegation tokens"),
        (acl(resource="user", name="User:x", operation="create_tokens"), "delegation tokens"),
        (acl(operation="operation 77"), "does not know"),
    ],
)  # fmt: skip
def test_what_stays_behind_has_its_reason(entry: AclEntry, reason: str) -> None:
    mapping = PrincipalMapping(drop=frozenset({"User:gone"}))
    plan = plan_access(side(entry), side(), mapping, SHOP, own={"User:kferry"})
    assert [item.action for item in plan.items] == [Action.SKIPPED]
    assert reason in plan.items[0].reason


def test_an_acl_of_the_target_alone_is_drift_only_for_those_who_move_and_what_moves() -> None:
    extra = acl(operation="delete")
    elsewhere = acl(name="hr.people")
    stranger = acl("User:stranger")
    own = acl("User:kferry")
    plan = plan_access(side(acl()), side(acl(), extra, elsewhere, stranger, own), SAME, SHOP, own={"User:kferry"})
    assert [item.acl for item in plan.items if item.action is Action.DRIFT] == [extra]
    assert plan.to_create() == ()


def test_a_mapped_principal_is_granted_under_its_new_name() -> None:
    mapping = PrincipalMapping(
        {"User:a": "User:b"}, (PrincipalPattern(r"User:CN=([^,]+),.*", r"User:\1"),), frozenset({"User:out"})
    )
    source = side(acl("User:a"), acl("User:CN=pay,O=x"), acl("User:c"), acl("User:*", "describe"), acl("User:out"))
    plan = plan_access(source, side(), mapping, SHOP)
    assert {(item.subject, item.was) for item in plan.to_create()} == {
        ("User:b", "User:a"), ("User:pay", "User:CN=pay,O=x"), ("User:c", ""), ("User:*", "")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        (PrincipalMapping({"User:a": "User:c"}), "would both become User:c"),
        (PrincipalMapping({"User:a": "User:*"}), "is everybody"),
        (PrincipalMapping({"User:a": "nobody"}), "not a principal"),
    ],
)
def test_a_mapping_that_would_give_one_anothers_rights_is_refused(mapping: PrincipalMapping, words: str) -> None:
    with pytest.raises(KferryError) as caught:
        plan_access(side(acl("User:a"), acl("User:c")), side(), mapping, SHOP)
    assert words in str(caught.value)
    assert caught.value.next_step


def test_a_merge_that_is_wanted_is_made_once() -> None:
    mapping = PrincipalMapping({"User:a": "User:c"}, merge=frozenset({"User:c"}))
    plan = plan_access(side(acl("User:a"), acl("User:c")), side(), mapping, SHOP)
    assert [item.subject for item in plan.to_create()] == ["User:c"]


def test_what_is_not_known_is_never_taken_for_none() -> None:
    unread = Side(Access(), unknown={What.ACLS: "DESCRIBE on the cluster is missing"})
    plan = plan_access(side(acl()), unread, SAME, SHOP)
    assert [item.action for item in plan.items] == [Action.SKIPPED]
    assert "DESCRIBE on the cluster is missing" in plan.items[0].reason
    plan = plan_access(unread, side(), SAME, SHOP)
    assert plan.items == ()
    assert any("of the source are not known: DESCRIBE" in words for words in plan.warnings)
    open_target = replace(side(), has_authorizer=False)
    assert "without an authorizer" in plan_access(side(acl()), open_target, SAME, SHOP).items[0].reason


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (side(acl()), replace(side(), allow_everyone=None), "the first ACL closes a resource"),
        (side(acl()), replace(side(), allow_everyone=True), "the first ACL closes a resource"),
        (replace(side(acl()), allow_everyone=None), side(), "shop.items"),
        (replace(side(), has_authorizer=False), side(), "everybody may do everything there"),
        (side(acl("User:*", "read", permission="deny")), side(), "deny MirrorMaker and kferry"),
        (side(acl()), side(acl(permission="deny", operation="all")), "beat what is to be allowed"),
        (side(acl(), acl(operation="alter", resource="cluster", name="kafka-cluster")), side(), "whole target cluster"),
        (side(PREFIXED), side(), "also cover names"),
        (side(DENY), side(), "bound to client addresses"),
    ],
)
def test_each_trap_has_its_sentence(source: Side, target: Side, words: str) -> None:
    plan = plan_access(source, target, SAME, SHOP)
    assert any(words in sentence for sentence in plan.warnings), plan.warnings


def test_where_there_is_no_trap_there_is_no_sentence_about_one() -> None:
    plan = plan_access(side(acl(), acl(name="shop.items")), side(), SAME, SHOP)
    assert [words for words in plan.warnings if "Super users" not in words] == []


# ---- quotas and users -----------------------------------------------------------------------------------------------


def quota(value: float, **entity: str | None) -> ClientQuota:
    return ClientQuota({key.replace("_", "-"): name for key, name in entity.items()}, {"producer_byte_rate": value})


def test_quotas_are_made_kept_and_never_overwritten() -> None:
    source = side(
        acl(), quotas=(quota(1, user="app"), quota(2, user="x"), quota(3, client_id="c"), quota(4, user=None))
    )
    target = side(quotas=(quota(9, client_id="c"), quota(4, user=None)))
    plan = plan_access(source, target, SAME, SHOP)
    found = {item.subject: item for item in plan.items if item.what is What.QUOTAS}
    assert {name: item.action.value for name, item in found.items()} == {
        "user app": "create", "user x": "skipped", "client-id c": "drift", "user default": "present"
    }  # fmt: skip
    assert (found["client-id c"].before, found["client-id c"].after) == ("9", "3")


def test_traps_of_quotas() -> None:
    source = replace(side(quotas=(quota(4, user=None),)), broker_count=6)
    plan = plan_access(source, replace(side(), broker_count=3), SAME, AccessScope())
    assert any("per broker" in words for words in plan.warnings)
    assert any("default quota" in words for words in plan.warnings)


def test_users_that_merge_with_other_limits_do_not_fight() -> None:
    mapping = PrincipalMapping({"User:a": "User:c"}, merge=frozenset({"User:c"}))
    source = side(quotas=(quota(1, user="a"), quota(2, user="c")))
    plan = plan_access(source, side(), mapping, AccessScope())
    assert sorted(item.action.value for item in plan.items) == ["create", "skipped"]


def test_users_are_named_as_needing_a_password_until_there_is_a_reference() -> None:
    both = ("SCRAM-SHA-256", "SCRAM-SHA-512")
    source = side(acl(), scram_users=(ScramUser("app", both, 8192), ScramUser("idle", both), ScramUser("there", both)))
    target = side(scram_users=(ScramUser("there", both[:1]),))
    plan = plan_access(source, target, SAME, AccessScope())
    found = actions(plan)
    assert found["User:app", "SCRAM-SHA-512"] == "skipped"
    assert found["User:there", "SCRAM-SHA-256"] == "present"
    assert any(
        "3 SCRAM users (User:app, User:idle, User:there) need a new password" in words for words in plan.warnings
    )
    users = {"app": WantedUser(), "new": WantedUser(("SCRAM-SHA-256",), 4096)}
    plan = plan_access(source, target, SAME, SHOP, users=users)
    made = [item.user for item in plan.to_create()]
    assert [(user.name, user.mechanism, user.iterations) for user in made if user] == [
        ("app", "SCRAM-SHA-256", 8192), ("app", "SCRAM-SHA-512", 8192), ("new", "SCRAM-SHA-256", 4096)
    ]  # fmt: skip
    assert actions(plan)["User:idle", "SCRAM-SHA-512"] == "skipped"


def test_a_user_whose_name_another_one_takes_is_left_behind_alone() -> None:
    mapping = PrincipalMapping({"User:b": "User:a"}, drop=frozenset({"User:a"}))
    source = side(scram_users=(ScramUser("a", ("SCRAM-SHA-512",)), ScramUser("b", ("SCRAM-SHA-512",))))
    plan = plan_access(source, side(), mapping, AccessScope(), users={"a": WantedUser()})
    assert [(item.subject, item.action.value, item.was) for item in plan.items] == [
        ("User:a", "skipped", ""), ("User:a", "create", "User:b")
    ]  # fmt: skip


# ---- properties -----------------------------------------------------------------------------------------------------

PRINCIPALS = ("User:a", "User:b", "User:*", "User:CN=c,O=x")
NAMES = ("shop.orders", "shop.", "*", "billing", "hr")
entries = st.builds(
    AclEntry,
    principal=st.sampled_from(PRINCIPALS),
    host=st.sampled_from(("*", "10.0.0.1")),
    resource=st.sampled_from(("topic", "group", "transactional_id", "cluster")),
    name=st.sampled_from(NAMES),
    pattern=st.sampled_from(("literal", "prefixed")),
    operation=st.sampled_from(("all", "read", "write", "describe", "alter", "delete", "alter_configs")),
    permission=st.sampled_from(("allow", "deny")),
)
quotas = st.builds(
    ClientQuota,
    st.dictionaries(st.sampled_from(("user", "client-id")), st.sampled_from(("a", "b", None)), min_size=1),
    st.dictionaries(st.sampled_from(("producer_byte_rate", "request_percentage")), st.integers(1, 3)),
)
scram = st.builds(
    ScramUser,
    st.sampled_from(("a", "b", "c")),
    st.sampled_from((("SCRAM-SHA-256",), ("SCRAM-SHA-256", "SCRAM-SHA-512"))),
)


def by_name(users: list[ScramUser]) -> tuple[ScramUser, ...]:
    return tuple({user.name: user for user in users}.values())


def by_entity(found: list[ClientQuota]) -> tuple[ClientQuota, ...]:
    return tuple({entity_key(one.entity): one for one in found}.values())


accesses = st.builds(
    Access,
    st.lists(entries, max_size=8).map(tuple),
    st.lists(quotas, max_size=4).map(by_entity),
    st.lists(scram, max_size=3).map(by_name),
)
mappings = st.builds(
    PrincipalMapping,
    st.dictionaries(st.sampled_from(PRINCIPALS[:2]), st.sampled_from(("User:x", "User:y", "User:a"))),
    st.sampled_from(((), (PrincipalPattern(r"User:CN=([^,]+),.*", r"User:\1"),))),
    st.sets(st.sampled_from(PRINCIPALS)).map(frozenset),
    st.just(frozenset({"User:x", "User:y", "User:a", "User:b", "User:c"})),
)
wanted = st.dictionaries(st.sampled_from(("a", "b", "x")), st.just(WantedUser()))
scopes = st.sampled_from((SHOP, AccessScope()))


def as_side(access: Access) -> Side:
    return Side(access, has_authorizer=True, allow_everyone=False)


@given(accesses, accesses, mappings, scopes, wanted)
@pytest.mark.thorough
def test_applying_twice_gives_only_present_and_never_removes(
    source: Access, target: Access, mapping: PrincipalMapping, scope: AccessScope, users: Mapping[str, WantedUser]
) -> None:
    plan = plan_access(as_side(source), as_side(target), mapping, scope, users=users)
    assert {item.action.value for item in plan.items} <= {"create", "present", "drift", "skipped"}
    after = applied(as_side(target), plan)
    assert set(target.acls or ()) <= set(after.access.acls or ())
    before = {entity_key(one.entity): one.limits for one in target.quotas or ()}
    kept = {entity_key(one.entity): one.limits for one in after.access.quotas or ()}
    assert all(kept[key][limit] == value for key, limits in before.items() for limit, value in limits.items())
    again = plan_access(as_side(source), after, mapping, scope, users=users)
    assert again.to_create() == ()
    made = {(item.what, item.subject, item.name, item.after) for item in plan.to_create()}
    present = {(i.what, i.subject, i.name, i.after) for i in again.items if i.action is Action.PRESENT}
    assert made <= present


@given(st.lists(entries, max_size=8), st.sampled_from(("read", "write", "describe")))
def test_who_may_on_the_source_may_on_the_target_afterwards(acls: list[AclEntry], operation: str) -> None:
    source = Side(Access(acls=tuple(acls)), has_authorizer=True)
    target = Side(Access(acls=()), has_authorizer=True)
    after = applied(target, plan_access(source, target, SAME, SHOP)).access.acls or ()
    for name in sorted(SHOP.topics or ()):
        question = Question("User:a", "topic", name, operation)
        if evaluate(acls, question).answer is Answer.ALLOWED:
            assert evaluate(after, question).answer is Answer.ALLOWED
