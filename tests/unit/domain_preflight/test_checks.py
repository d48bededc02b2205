"""Every check of preflight: where it fires, where it does not, and where it says that it does not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kferry.domain.model import (
    CommittedOffset,
)
from kferry.domain.planning import drop_topic
from kferry.domain.preflight import CheckInfo, PreflightFacts, PreflightSettings, catalog, checks, run_checks
from support.preflight_cases import CASES as FIRST_CASES
from support.preflight_cases_more import CASES as MORE_CASES
from support.preflight_cases_paths import CASES as PATH_CASES
from support.preflight_facts import BIG, facts, groups, planned, target
from support.scans import NOW_MS, group, lab_scan, scan, topic

CASES = [*FIRST_CASES, *MORE_CASES, *PATH_CASES]


@pytest.mark.parametrize(
    ("name", "made", "severity", "subject", "words"),
    CASES,
    ids=[f"{number}-{case[0]}-{case[2] or 'silent'}" for number, case in enumerate(CASES)],
)
def test_check(name: str, made: PreflightFacts, severity: str, subject: str, words: str) -> None:
    found = run_checks(made, only=[name])
    if not severity:
        assert found == []
        return
    match = [one for one in found if one.severity == severity and one.subject == subject]
    assert len(match) == 1, found
    assert match[0].finding_id == f"{name}:{subject}"
    assert words in f"{match[0].evidence} {match[0].fix}"
    assert match[0].title and match[0].evidence and match[0].fix.endswith(".")


@pytest.mark.parametrize("one", catalog(), ids=lambda one: one.check_id)
def test_every_check_can_fire_with_each_of_its_severities_and_can_stay_silent(one: CheckInfo) -> None:
    fires = {case[2] for case in CASES if case[0] == one.check_id and case[2]}
    assert fires == {severity.value for severity in one.gives}
    assert any(case[0] == one.check_id and not case[2] for case in CASES)


def test_every_case_is_of_a_check_there_is() -> None:
    assert {case[0] for case in CASES} == set(checks())


def test_every_check_says_what_it_looks_at() -> None:
    for one in catalog():
        for words in (one.title, one.why, one.fix):
            assert words.endswith(".") and "\n" not in words, (one.check_id, words)
        assert one.why.count(". ") == 0, f"{one.check_id}: one sentence"


def test_a_finding_says_of_what_family_it_is_and_why_it_matters() -> None:
    (found,) = run_checks(target(topic("a.x", 3, end=0)), only=["target-partitions"])
    assert (found.family, found.why) == ("target", catalog_of("target-partitions").why)


def catalog_of(check_id: str) -> CheckInfo:
    return next(one for one in catalog() if one.check_id == check_id)


def test_the_workers_session_timeout_is_that_of_their_config() -> None:
    from pathlib import Path

    import kferry.domain.connectors as connectors
    from kferry.domain.preflight.workers import SESSION_TIMEOUT_MS

    assert f'"session.timeout.ms": "{SESSION_TIMEOUT_MS}"' in Path(connectors.__file__).read_text("utf-8")


def test_commits_for_partitions_that_are_gone_harm_nothing() -> None:
    odd = replace(group("g", ["a.x"]), committed=(CommittedOffset("a.x", 99, 5), CommittedOffset("gone", 0, 5)))
    assert all(one.severity == "info" for one in run_checks(groups(odd)))


def test_the_demo_passes_with_nothing_that_stops() -> None:
    for made in (facts(lab_scan(), rights={}), planned(lab_scan())):
        stopping = [one for one in run_checks(made) if one.severity != "info"]
        assert stopping == []


def test_with_nothing_measured_nothing_is_well() -> None:
    found = run_checks(PreflightFacts(now_ms=NOW_MS))
    assert {(one.finding_id, one.severity.value) for one in found} == {
        ("cluster-reachable:source", "unknown"),
        ("cluster-reachable:target", "unknown"),
        ("worker-hosts:inventory", "unknown"),
    }


def test_what_stops_stands_first() -> None:
    made = facts(scan([topic("x.internal"), topic("a", effective=BIG, mean_record_bytes=None)]), hosts=None)
    order = ["block", "warn", "unknown", "info"]
    ranks = [order.index(one.severity.value) for one in run_checks(made)]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) >= 3


def test_a_check_that_breaks_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    from kferry.domain.preflight import registry

    def broken(_: PreflightFacts) -> list:  # type: ignore[type-arg]
        raise ZeroDivisionError("oops")

    made = registry.CheckInfo("broken", registry.Family.NAMES, "", "", (), "", broken)
    monkeypatch.setitem(registry._CHECKS, "broken", made)
    found = run_checks(facts(hosts=()))
    assert {one.finding_id for one in found if one.severity in ("block", "unknown")} == {
        "broken:kferry",
        "worker-hosts:inventory",
    }
    assert "ZeroDivisionError: oops" in next(one.evidence for one in found if one.check == "broken")


def test_only_what_is_planned_is_looked_at() -> None:
    found = scan([topic("a.x"), topic("b.y", effective=BIG)], [group("g", ["a.x"]), group("h", ["b.y"])])
    made = planned(found, lambda plan: drop_topic(plan, "b.y"))
    assert [one.name for one in made.topics] == ["a.x"]
    assert [one.group_id for one in made.groups] == ["g"]
    assert [one.name for one in facts(found).topics] == ["a.x", "b.y"]
    assert PreflightSettings().retention_hold
