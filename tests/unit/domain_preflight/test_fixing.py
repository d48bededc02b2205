"""What kferry can close by itself: the changes are right, as few as can be, and close what they say they close."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kferry.domain.fixing import FixAction, FixPlan, fixers, has_plan, marked, plan
from kferry.domain.model import Finding, PartitionOffsets, Role, Topic
from kferry.domain.preflight import PreflightFacts, checks, run_checks
from support.preflight_cases import CASES as FIRST_CASES
from support.preflight_cases_more import CASES as MORE_CASES
from support.preflight_cases_paths import CASES as PATH_CASES
from support.preflight_facts import facts, granted, target
from support.scans import BROKER_CONFIGS, DAY_MS, EFFECTIVE, NOW_MS, scan, topic

CASES = [case for case in (*FIRST_CASES, *MORE_CASES, *PATH_CASES) if case[2] and case[0] in fixers()]
OLD = {"first_timestamp_ms": NOW_MS - 30 * DAY_MS}
STRICT = scan(role=Role.TARGET, broker_configs={**BROKER_CONFIGS, "log.message.timestamp.before.max.ms": "86400000"})


def applied(fixes: FixPlan, made: PreflightFacts) -> PreflightFacts:
    """The facts as they are once the changes are made."""
    there = dict(made.target_topics)
    rights = {role: dict(found or {}) for role, found in made.granted.items()}
    for change in fixes.to_do:
        if change.rule is not None:
            asked = rights[change.role]
            asked.update({rule: True for rule in asked if rule.right == change.rule.right})
            continue
        now = there.get(change.name) or topic(change.name, 1, end=0, effective=EFFECTIVE)
        count = change.partitions or now.partition_count
        configs = dict(change.configs) or {change.key: change.after}
        there[change.name] = replace(
            now,
            partitions=tuple(PartitionOffsets(number, 0, 0, 0) for number in range(count)),
            configs={**now.configs, **configs},
            effective={**now.effective, **configs},
        )
    assert made.target is not None
    return replace(made, target=replace(made.target, topics=tuple(there.values())), granted=rights)


@pytest.mark.parametrize(
    ("check", "made"), [case[:2] for case in CASES], ids=[f"{number}-{case[0]}" for number, case in enumerate(CASES)]
)
def test_what_is_marked_fixable_is_closed_by_its_changes(check: str, made: PreflightFacts) -> None:
    findings = marked(run_checks(made, only=[check]), made)
    can = [finding for finding in findings if finding.fixable]
    fixes = plan(can, made)
    assert fixes.left == ()
    assert {name for change in fixes.changes for name in change.closes} == {finding.finding_id for finding in can}
    after = applied(fixes, made)
    still = {(finding.finding_id, finding.severity) for finding in run_checks(after, only=[check])}
    assert not still & {(finding.finding_id, finding.severity) for finding in can}
    assert plan(can, after).to_do == ()


def test_every_fixer_is_of_a_check_and_can_do_something() -> None:
    assert fixers() <= set(checks())
    can = set()
    for check, made, *_ in CASES:
        can |= {finding.check for finding in marked(run_checks(made, only=[check]), made) if finding.fixable}
    more = marked(run_checks(target(topic("a.x", 1, end=0, effective={"max.message.bytes": "5"}))), target())
    assert can | {finding.check for finding in more} >= fixers()


def found(made: PreflightFacts, *ids: str) -> list[Finding]:
    return [one for one in run_checks(made) if one.finding_id in ids]


def test_several_findings_about_one_topic_are_one_change() -> None:
    made = facts(scan([topic("a", **OLD), topic("b")]), STRICT)
    fixes = plan(found(made, "record-timestamp:a", "target-topics-missing:topics"), made)
    assert [(change.action, change.name) for change in fixes.changes] == [
        (FixAction.CREATE_TOPIC, "a"),
        (FixAction.CREATE_TOPIC, "b"),
    ]
    assert fixes.changes[0].closes == ("record-timestamp:a", "target-topics-missing:topics")
    assert fixes.changes[0].configs["message.timestamp.before.max.ms"] == str(2**63 - 1)
    assert "message.timestamp.before.max.ms" not in fixes.changes[1].configs


def test_a_topic_is_made_as_kferry_would_make_it() -> None:
    here = topic("a", 7, configs={"cleanup.policy": "compact", "confluent.x": "1"}, effective={"retention.ms": "1000"})
    made = facts(scan([here]))
    (change,) = plan(found(made, "target-topics-missing:topics"), made).changes
    assert (change.partitions, dict(change.configs)) == (7, {"cleanup.policy": "compact", "retention.ms": "1000"})


@pytest.mark.parametrize(
    "there",
    [
        topic("a.x", 3, end=0),  # more partitions than on the source
        topic("a.x", 1, end=5),  # holds records
        topic("a.x", 1, start=5, end=5),  # held records
        topic("a.x", 1, end=None),  # nobody knows
    ],
)
def test_a_topic_is_never_grown_or_made_anew_where_records_may_be(there: Topic) -> None:
    made = target(there)
    findings = found(made, "target-partitions:a.x")
    assert [one.fixable for one in marked(findings, made)] == [False]
    assert plan(findings, made) == FixPlan((), (), ("target-partitions:a.x",))


def test_a_topic_that_a_task_copies_is_left_to_its_task() -> None:
    made = target(topic("a.x", 1, end=0), owned_topics=frozenset({"a.x"}))
    assert plan(found(made, "target-partitions:a.x"), made).changes == ()


def test_growing_says_that_partitions_do_not_go_away() -> None:
    made = target(topic("a.x", 1, end=0))
    fixes = plan(found(made, "target-partitions:a.x"), made)
    assert [(one.action, one.before, one.after) for one in fixes.changes] == [(FixAction.GROW_TOPIC, "1", "2")]
    assert any("can't be taken away" in words for words in fixes.words)


def test_only_the_rights_that_are_missing_are_granted_and_only_those_asked_for() -> None:
    made = facts(granted=granted(Role.TARGET, {"CREATE": False, "ALTER": False}))
    fixes = plan(found(made, "rights-missing:target CREATE topic"), made)
    assert {(change.action, change.rule.operation) for change in fixes.changes if change.rule} == {
        (FixAction.GRANT, "CREATE")
    }
    assert {change.name for change in fixes.changes} == {"a.x", "heartbeats"}


def test_the_name_of_heartbeats_is_put_right_by_the_connector_and_only_shown() -> None:
    made = facts(scan([topic("iot.heartbeats")]))
    fixes = plan(found(made, "name-heartbeats:topics"), made)
    assert [change.action for change in fixes.changes] == [FixAction.PRESENT]
    assert (fixes.to_do, fixes.left) == ((), ())
    (finding,) = marked(found(made, "name-heartbeats:topics"), made)
    assert has_plan(finding) and not finding.fixable


def test_nothing_is_ever_changed_on_the_source() -> None:
    for check, made, *_ in (*FIRST_CASES, *MORE_CASES, *PATH_CASES):
        fixes = plan(run_checks(made, only=[check]), made)
        assert all(change.role is Role.TARGET or change.action is FixAction.GRANT for change in fixes.changes)
