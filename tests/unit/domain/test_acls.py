"""The least rights as data: complete, without what another right carries, and safe to hand to a shell."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.domain import acls
from kferry.domain.acls import AclRule, Purpose, Resource
from kferry.domain.errors import KferryError
from kferry.domain.model import ClusterConfig, ClusterKind, Role, TaskSpec

TOPICS, GROUPS = ("shop.orders", "shop.returns"), ("billing",)


def words(role: Role, *purposes: Purpose) -> set[str]:
    wanted = purposes or tuple(Purpose)
    rules = [rule for rule in acls.plan(role, "abc123", TOPICS, GROUPS) if rule.purpose in wanted]
    return {rule.words for rule in acls.least(rules) if not rule.is_optional}


def test_the_source_gives_sight_and_nothing_to_write() -> None:
    assert words(Role.SOURCE) == {
        "DESCRIBE_CONFIGS on the cluster",
        *(f"{operation} on topic {name}" for name in TOPICS for operation in ("READ", "DESCRIBE_CONFIGS")),
        "READ on group billing",
    }


def test_rights_are_split_by_what_they_are_for() -> None:
    assert words(Role.SOURCE, Purpose.REPLICATE) == {
        *(f"READ on topic {name}" for name in TOPICS),
        "DESCRIBE on group billing",
    }
    assert words(Role.SOURCE, Purpose.WRITE_OFFSETS) == {"READ on group billing"}
    assert words(Role.TARGET, Purpose.WRITE_OFFSETS) == {
        *(f"READ on topic {name}" for name in TOPICS),
        "READ on group billing",
        "DELETE on group billing",
    }


def test_on_the_target_names_are_literal_but_for_kferrys_own() -> None:
    rules = acls.plan(Role.TARGET, "abc123", TOPICS, GROUPS)
    assert {rule.name for rule in rules if rule.is_prefixed} == {"kferry-abc123-", "mm2-offset-syncs.kferry-abc123-"}
    assert not any(rule.name in ("*", "") for rule in rules)
    assert {rule.operation for rule in rules if rule.resource is Resource.CLUSTER} == {"DESCRIBE_CONFIGS"}
    spec = TaskSpec("shop", "abc123", "shop", 3, TOPICS, GROUPS, (), 1)
    made = (*spec.connect_topics, spec.checkpoints_topic, spec.offset_syncs_topic, spec.prefix)
    prefixes = {rule.name for rule in rules if rule.is_prefixed}
    assert all(any(name.startswith(prefix) for prefix in prefixes) for name in made)


def test_a_topic_called_heartbeats_gets_its_rights_once() -> None:
    rules = acls.plan(Role.TARGET, "abc123", ["heartbeats"], [])
    creates = [rule for rule in rules if rule.name == "heartbeats" and rule.operation == "CREATE"]
    assert len(creates) == 1


def test_every_right_says_why_in_a_sentence() -> None:
    for role in Role:
        for rule in (*acls.plan(role, "abc123", TOPICS, GROUPS), *acls.discovery(role), *acls.fence(TOPICS)):
            assert rule.why.endswith(".") and rule.why[0].isupper()


def test_what_another_right_carries_is_left_out_only_on_the_same_thing() -> None:
    def rule(operation: str, name: str = "a", is_prefixed: bool = False) -> AclRule:
        return AclRule(Role.SOURCE, Purpose.SCAN, Resource.TOPIC, name, operation, "Why.", is_prefixed)

    assert acls.least([rule("DESCRIBE"), rule("READ")]) == [rule("READ")]
    assert acls.least([rule("DESCRIBE_CONFIGS"), rule("ALTER_CONFIGS")]) == [rule("ALTER_CONFIGS")]
    both = [rule("DESCRIBE", "b"), rule("READ"), rule("DESCRIBE", is_prefixed=True)]
    assert acls.least(both) == both
    assert acls.least([rule("READ"), rule("READ")]) == [rule("READ")]


def test_the_fence_denies_writing_to_everybody_and_is_never_granted() -> None:
    rules = acls.fence(TOPICS)
    assert {(rule.name, rule.operation, rule.allows) for rule in rules} == {(name, "WRITE", False) for name in TOPICS}
    (first, _) = acls.commands(rules, "User:kferry", "b:9092")
    assert "'--deny-principal=User:*'" in first and "allow" not in first
    assert all(rule.allows for role in Role for rule in acls.plan(role, "abc123", TOPICS, GROUPS))


def test_a_group_that_would_open_all_groups_is_refused() -> None:
    with pytest.raises(KferryError, match="cannot be given"):
        acls.plan(Role.TARGET, "abc123", TOPICS, ["*"])


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30))
def test_a_command_holds_any_name_literally(name: str) -> None:
    rule = AclRule(Role.SOURCE, Purpose.SCAN, Resource.GROUP, name, "READ", "Why.")
    (line,) = acls.commands([rule], "User:CN=it's $(me), O=x", "b:9092")
    if name != name.strip() or not name.isprintable():
        assert line.startswith("# ") and "\n" not in line
        return
    found = shlex.split(line)
    assert f"--group={name}" in found
    assert "--allow-principal=User:CN=it's $(me), O=x" in found
    assert all(part.startswith("--") for part in found[1:])


def test_commands_and_json_say_the_same() -> None:
    rules = acls.plan(Role.TARGET, "abc123", TOPICS, GROUPS)
    rows = json.loads(acls.as_json(rules, "User:mm"))
    assert len(rows) == len(rules) == len(acls.commands(rules, "User:mm", "b:9092"))
    prefixed = [row for row in rows if row["pattern"] == "PREFIXED"]
    lines = [line for line in acls.commands(rules, "User:mm", "b:9092") if "--resource-pattern-type=prefixed" in line]
    assert len(prefixed) == len(lines) > 0
    assert {row["principal"] for row in rows} == {"User:mm"}


@pytest.mark.parametrize("text", ["User:kferry", "User:CN=a b,O=c", "Group:team"])
def test_principals(text: str) -> None:
    assert acls.checked_principal(text) == text


@pytest.mark.parametrize("text", ["", "kferry", "User:", "User:*", "User: kferry", "User:a\nb", ":x"])
def test_what_is_no_principal_is_refused(text: str) -> None:
    with pytest.raises(KferryError, match="not a principal"):
        acls.checked_principal(text)


def test_the_principal_is_the_sasl_user_where_it_stands_in_plain_words() -> None:
    cluster = ClusterConfig(Role.SOURCE, ClusterKind.OTHER, "b:1", sasl_username="mm")
    assert acls.default_principal(cluster) == "User:mm"
    for name in (None, "env:USER_NAME"):
        assert acls.default_principal(ClusterConfig(Role.SOURCE, ClusterKind.OTHER, "b:1", sasl_username=name)) is None


def table(role: Role) -> list[str]:
    """The rights on one side as docs/security.md shows them."""
    rows: dict[str, dict[str, list[str]]] = {}
    for rule in acls.plan(role, "ID", ["TOPIC"], ["GROUP"]):
        thing = "cluster" if rule.resource is Resource.CLUSTER else f"{rule.resource.value} `{rule.name}`"
        thing = thing.replace("`TOPIC`", "that moves").replace("`GROUP`", "that moves")
        thing += " (prefix)" if rule.is_prefixed else " (optional)" if rule.is_optional else ""
        purposes = rows.setdefault(thing, {}).setdefault(rule.purpose.value, [])
        purposes.append(rule.operation)
    lines = []
    for thing, purposes in rows.items():
        cells = [", ".join(purposes.get(one, ())) for one in ("scan", "replicate", "write_offsets")]
        lines.append(f"| {thing} | {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |"))
    return lines


@pytest.mark.parametrize("role", list(Role))
def test_the_page_on_security_shows_these_rights(role: Role) -> None:
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
    assert [line for line in table(role) if line not in page] == []
