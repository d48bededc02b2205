"""The report of preflight: one model, four formats, hostile text harmless in each, the exit code by the worst."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.client import preflight_report
from kferry.client.exit_codes import ExitCode
from kferry.client.preflight_report import FORMATS, Report, render, ways
from kferry.domain.errors import KferryError
from kferry.domain.preflight import catalog
from kferry.store.views import FindingView

HOSTILE = "a\x1b[31m|`<b>&]]>\u202e\x00\ud800\ufffe\n# b"


def finding(check: str, severity: str, subject: str = "t", **fields: object) -> FindingView:
    made = {
        "title": f"{subject} is odd",
        "evidence": "It was seen.",
        "fix": "Mend it.",
        "why": "It matters.",
        "family": "records",
    }
    return FindingView(f"{check}:{subject}", check, severity, subject, **{**made, **fields})  # type: ignore[arg-type]


def report(*findings: FindingView) -> Report:
    return Report("demo", "abc123", 2_000, 1_000, (("source", "3.9", "id-1"),), findings)


WAIVED = {"waived_by": "ada", "waived_why": "it is a test", "waived_until_ms": 86_400_000}
BLOCK = finding("record-size", "block", fixable=True)
WARN = finding("scan-age", "warn", "source")
UNKNOWN = finding("worker-clock", "unknown", "w1")
INFO = finding("group-comma", "info", "groups")
WAIVER = finding("group-streams", "warn", "app", **WAIVED)
ALL = report(INFO, WARN, WAIVER, UNKNOWN, BLOCK)


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314 - what is read was just written


def test_what_is_to_be_done_is_all_that_stops_the_worst_first() -> None:
    assert [(one.number, one.finding_id) for one in ALL.actions] == [
        (1, "record-size:t"),
        (2, "scan-age:source"),
        (3, "worker-clock:w1"),
    ]
    assert ALL.verdict == "3 findings stop the migration."
    assert ALL.counts == {"block": 1, "warn": 2, "unknown": 1, "info": 1, "stops": 3, "waived": 1}


def test_every_way_to_close_a_finding_is_named_and_no_other() -> None:
    assert ways(BLOCK) == ("Mend it.", "Let kferry do it: kferry preflight fix record-size:t")
    assert ways(WARN) == ("Mend it.", "Go on despite it: kferry preflight waive scan-age:source --why TEXT")
    assert ways(INFO) == ("Mend it.",)
    assert "'x:a b;rm'" in ways(finding("x", "warn", "a b;rm"))[1]


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ((), ExitCode.OK),
        ((INFO, WAIVER), ExitCode.OK),
        ((WARN,), ExitCode.NOT_READY),
        ((UNKNOWN,), ExitCode.NOT_READY),
        ((BLOCK, WARN), ExitCode.NOT_READY),
        ((finding("cluster-reachable", "unknown", "source"),), ExitCode.NOT_READY),
        ((BLOCK, finding("cluster-reachable", "block", "source")), ExitCode.CONNECT),
        ((finding("record-size", "block", **WAIVED),), ExitCode.NOT_READY),  # a block cannot be waived
    ],
)
def test_the_exit_code_is_that_of_the_worst_finding(findings: tuple[FindingView, ...], code: ExitCode) -> None:
    assert report(*findings).exit_code is code


def test_every_format_ends_in_what_is_to_be_done_and_names_waivers() -> None:
    table, markdown = render(ALL, "table"), render(ALL, "md")
    assert table.index("Actions needed: 3 findings stop") > table.index("it is a test")
    assert table.rstrip().endswith("kferry preflight waive worker-clock:w1 --why TEXT")
    assert markdown.index("## Actions needed") > markdown.index("## Waived") > markdown.index("## Info")
    assert "waive worker-clock:w1 --why TEXT" in markdown.splitlines()[-1]
    assert "1970-01-02 00:00:00Z" in table and "Waived by ada until 1970-01-02 00:00:00Z: it is a test" in markdown
    data = json.loads(render(ALL, "json"))
    assert list(data)[-1] == "actions_needed"
    assert [one["number"] for one in data["actions_needed"]] == [1, 2, 3]
    assert (data["exit_code"], data["counts"]["waived"]) == (5, 1)
    assert data["findings"][2]["waived_by"] == "ada"


def test_nothing_to_be_done_is_said_too() -> None:
    assert render(report(), "table") == (
        "Preflight found nothing.\n\nActions needed: none. Nothing stops the migration.\n"
    )
    assert render(report(WAIVER), "md").endswith("## Actions needed\n\nNone. Nothing stops the migration; 1 waived.\n")


def test_junit_has_a_case_per_finding_and_per_check_that_found_nothing() -> None:
    root = parsed(render(ALL, "junit"))
    cases = {case.get("name"): case for case in root.iter("testcase")}
    silent = {one.check_id for one in catalog()} - {one.check for one in ALL.findings}
    assert set(cases) == silent | {one.finding_id for one in ALL.findings}
    assert [child.tag for child in cases["record-size:t"]] == ["failure"]
    assert [child.tag for child in cases["scan-age:source"]] == ["failure"]
    assert [child.tag for child in cases["worker-clock:w1"]] == ["error"]
    assert [child.tag for child in cases["group-comma:groups"]] == ["system-out"]
    skipped = cases["group-streams:app"].find("skipped")
    assert skipped is not None and "waived by ada until 1970-01-02 00:00:00Z: it is a test" in skipped.get(
        "message", ""
    )
    assert all(len(cases[name]) == 0 for name in silent)
    wanted = {"tests": str(len(cases)), "failures": "2", "errors": "1", "skipped": "1"}
    assert {key: root.get(key) for key in wanted} == wanted
    assert (root[-1].tag, "Actions needed" in (root[-1].text or "")) == ("system-out", True)


def test_findings_of_another_version_are_not_lost_in_junit() -> None:
    root = parsed(render(report(finding("gone-check", "block")), "junit"))
    assert root.get("failures") == "1"
    assert [case.get("name") for case in root.iter("testcase") if len(case)] == ["gone-check:t"]


@given(st.text(alphabet=st.characters(), max_size=40))
@pytest.mark.thorough
def test_no_text_from_a_cluster_breaks_a_format(text: str) -> None:
    made = report(finding("record-size", "warn", text, title=text, evidence=text, fix=text, why=text))
    root = parsed(render(made, "junit"))
    assert root.get("failures") == "1"
    assert json.loads(render(made, "json"))["findings"][0]["subject"] == text
    for wanted in FORMATS:
        shown = render(made, wanted)
        shown.encode()
        assert not set(shown) & {chr(code) for code in (*range(10), *range(11, 32), 0x7F, *range(0x80, 0xA0))}


def test_hostile_text_cannot_make_a_row_a_heading_or_an_escape() -> None:
    made = report(finding("record-size", "block", HOSTILE, title=HOSTILE, evidence=HOSTILE, fix=HOSTILE))
    plain = report(finding("record-size", "block"))
    for wanted in ("table", "md"):
        shown = render(made, wanted)
        assert len(shown.splitlines()) == len(render(plain, wanted).splitlines())
        assert "\x1b" not in shown and "\u202e" not in shown and "\x00" not in shown
    headings = [line for line in render(made, "md").splitlines() if line.startswith("#")]
    assert len(headings) == len([line for line in render(plain, "md").splitlines() if line.startswith("#")])
    assert "<b>" not in render(made, "md").replace("\\<b\\>", "")


@pytest.mark.parametrize(
    ("name", "wanted", "found"),
    [
        ("a.xml", None, "junit"),
        ("a.MD", None, "md"),
        ("a.json", None, "json"),
        ("a.txt", None, "table"),
        ("a", "md", "md"),
    ],
)
def test_the_format_comes_from_the_name_of_the_file_unless_it_is_named(
    name: str, wanted: str | None, found: str
) -> None:
    assert preflight_report.format_of(Path(name), wanted) == found


@pytest.mark.parametrize(("name", "wanted"), [("a.pdf", None), ("a.md", "html")])
def test_a_format_there_is_not_is_a_sentence(name: str, wanted: str | None) -> None:
    with pytest.raises(KferryError):
        preflight_report.format_of(Path(name), wanted)


def test_a_waiver_that_was_outgrown_and_one_of_before_are_told_in_every_format() -> None:
    grown = finding("access-acls", "warn", "acls", outgrown="More than was waived: 2 of 3 are new since ada did.")
    before = finding("access-quotas", "warn", "quotas", **WAIVED, waived_words="Given before it was kept.")
    made = report(grown, before)
    assert [one.finding_id for one in made.actions] == ["access-acls:acls"]
    for wanted in FORMATS:
        text = render(made, wanted)
        assert "More than was waived: 2 of 3" in text, wanted
        assert "Given before it was kept." in text, wanted


def test_what_findings_are_made_of_stays_out_of_the_report() -> None:
    made = report(finding("access-acls", "warn", "acls", content=("0123456789ab",)))
    assert all("0123456789ab" not in render(made, wanted) for wanted in FORMATS)
