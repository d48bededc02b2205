"""Which findings and waivers concern a batch, and what of them stands in its certificate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Batch, Finding, Plan, Severity
from kferry.domain.planning import plan_batches
from kferry.domain.preflight import PreflightFacts
from kferry.domain.verification import certificate, certificate_markdown
from kferry.domain.waivers import content_of
from kferry.engine import gate, scope
from kferry.store import codec, schema
from kferry.store.journal import Journal, now_ms
from kferry.store.paths import Layout
from kferry.store.plan_file import write_plan
from kferry.store.queries import Reader
from kferry.store.tables import WaiverRow
from support.preflight_facts import facts
from support.scans import lab_scan

SHOP, HR = Batch("shop", ("shop.orders",), ("billing",)), Batch("hr", ("hr.audit",), ("hr-sync",))
FINDINGS = [
    {"check": "cluster-version", "subject": "source", "severity": "warn", "title": "New groups", "fix": "F."},
    {"check": "group-streams", "subject": "billing", "severity": "warn", "title": "Streams", "fix": "F."},
    {"check": "record-size", "subject": "hr.audit", "severity": "block", "title": "Large", "fix": "F."},
    {"check": "name-heartbeats", "subject": "topics", "severity": "info", "title": "Renamed", "fix": "F."},
]


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Any]:
    layout = Layout(tmp_path)
    layout.private.mkdir()
    schema.upgrade(layout.journal)
    journal = Journal(layout.journal)
    journal.put_document("findings", "", json.dumps(FINDINGS))
    write_plan(layout, Plan("scan-1", (SHOP, HR)))
    yield SimpleNamespace(journal=journal, layout=layout)
    journal.close()


def waive(
    services: Any, finding_id: str, *, until_ms: int | None = None, content: tuple[str, ...] | None = None
) -> None:
    with services.journal.transaction() as session:
        row = WaiverRow(
            finding_id=finding_id,
            who="ada",
            why="tested | `so`",
            at_ms=1_000,
            until_ms=until_ms if until_ms is not None else now_ms() + 60_000,
            content=None if content is None else json.dumps(content),
        )
        services.journal.put_waiver(row, session)


def stopping(services: Any, batch: Batch) -> list[str]:
    return [f"{one['check']}:{one['subject']}" for one in scope.stopping_findings(services, batch) or ()]


def test_a_batch_is_stopped_by_what_is_about_it_or_about_all(services: Any) -> None:
    assert stopping(services, SHOP) == ["cluster-version:source", "group-streams:billing"]
    assert stopping(services, HR) == ["cluster-version:source", "record-size:hr.audit"]


def test_the_side_or_aspect_in_a_subject_makes_it_no_matter_of_all_batches(services: Any) -> None:
    more = [
        {"check": "topic-recreated", "subject": "target hr.audit", "severity": "block", "title": "T", "fix": "F."},
        {"check": "group-offset-range", "subject": "billing (beyond the end)", "severity": "warn", "title": "T"},
    ]
    services.journal.put_document("findings", "", json.dumps(more))
    assert stopping(services, SHOP) == ["group-offset-range:billing (beyond the end)"]
    assert stopping(services, HR) == ["topic-recreated:target hr.audit"]


def test_a_waiver_lets_a_warning_pass_until_it_ends_and_never_a_block(services: Any) -> None:
    for finding_id in ("cluster-version:source", "record-size:hr.audit"):
        waive(services, finding_id)
    waive(services, "group-streams:billing", until_ms=now_ms() - 1)
    assert stopping(services, SHOP) == ["group-streams:billing"]
    assert stopping(services, HR) == ["record-size:hr.audit"]


def test_the_certificate_says_who_waived_what_why_and_until_when(services: Any) -> None:
    waive(services, "cluster-version:source")
    waive(services, "group-streams:billing", until_ms=2_000)  # over by now, and yet somebody went on despite it
    waive(services, "gone:shop.orders")
    found = scope.waivers_of(services, SHOP)
    assert [one["finding_id"] for one in found] == [
        "cluster-version:source",
        "gone:shop.orders",
        "group-streams:billing",
    ]
    assert found[2] == {
        "finding_id": "group-streams:billing",
        "severity": "warn",
        "title": "Streams",
        "who": "ada",
        "why": "tested | `so`",
        "given_at": "1970-01-01T00:00:01+00:00",
        "until": "1970-01-01T00:00:02+00:00",
        "state": "expired",
        "covers": None,
        "beyond": None,
    }
    assert [one["finding_id"] for one in scope.waivers_of(services, HR)] == ["cluster-version:source"]
    data = certificate(
        migration_id="abc123",
        batch="shop",
        task="shop",
        issued_at="now",
        issued_by="ada",
        kferry_version="1",
        source={},
        target={},
        verification={
            "ok": True,
            "source_records": 0,
            "missing": 0,
            "repeats": 0,
            "reordered": 0,
            "foreign": 0,
            "partitions": [],
        },
        translation={},
        journal_seq=1,
        journal_hash="0",
        waivers=found,
    )
    text = certificate_markdown(data)
    assert "## Waived findings" in text
    row = next(line for line in text.splitlines() if "group-streams:billing" in line)
    assert "`ada`" in row and "`tested · ·so·`" in row and "1970-01-01T00:00:02+00:00" in row
    assert "Waived" not in certificate_markdown({**data, "waivers": []})


def test_the_certificate_says_which_waivers_were_outgrown(services: Any) -> None:
    names = ("a", "b", "c")
    finding = {**FINDINGS[0], "content": content_of(names)}
    services.journal.put_document("findings", "", json.dumps([finding]))
    for waived, state, more in ((names, "holds", 0), ((*names, "gone"), "holds", 0), (names[:1], "outgrown", 2)):
        waive(services, "cluster-version:source", content=content_of(waived))
        found = scope.waivers_of(services, SHOP)[0]
        assert (found["state"], found["covers"], found["beyond"]) == (state, len(waived), more)
    services.journal.put_document("findings", "", "[]")
    assert scope.waivers_of(services, SHOP)[0]["state"] == "holds"  # what is gone outgrows nothing


def put_scans(services: Any, made: PreflightFacts) -> None:
    for role, found in (("source", made.source), ("target", made.target)):
        services.journal.put_document("scan", role, codec.dump(found))


def test_a_task_begins_only_where_preflight_judged_its_batch_as_it_is_now(services: Any) -> None:
    made = facts(lab_scan())
    batch = plan_batches(lab_scan()).batches[0]
    put_scans(services, made)
    with pytest.raises(KferryError, match="older kferry"):
        gate.refuse_unjudged(services, batch)
    gate.keep(services.journal, [], made)
    gate.refuse_unjudged(services, batch)
    services.journal.put_document("scan", "source", codec.dump(replace(lab_scan(), scan_id="scan-2")))
    with pytest.raises(KferryError, match="source cluster was scanned after") as refused:
        gate.refuse_unjudged(services, batch)
    assert (refused.value.kind, refused.value.next_step) == (ErrorKind.NOT_READY, "Run `kferry preflight`.")


def found_about(*names: str) -> list[Finding]:
    fields = ("acls", "ACLs are missing", "E.", "F.")
    return [Finding("access-acls", Severity.WARN, *fields, content=content_of(names))]


def test_a_waiver_covers_what_was_there_when_it_was_given_and_no_more(services: Any) -> None:
    reader = Reader(services.layout.root)

    def look(*names: str) -> tuple[list[str], str, str | None]:
        gate.keep(services.journal, found_about(*names), facts())
        (view,) = reader.findings(now_ms()) or ()
        assert view.stops is bool(stopping(services, SHOP)), "the screen and the gate agree"
        return stopping(services, SHOP), view.outgrown, view.waived_by

    assert look("a", "b")[0] == ["access-acls:acls"]
    with services.journal.transaction() as session:
        gate.put_waiver(services.journal, session, {"finding_id": "access-acls:acls", "why": "so"}, "ada")
    assert look("a", "b") == ([], "", "ada")
    assert look("b") == ([], "", "ada")
    assert look("b", "c", "d") == (
        ["access-acls:acls"],
        "More than was waived: 2 of 3 are new since ada did.",
        None,
    )
    reader.close()


def test_a_waiver_of_before_still_holds_and_says_what_it_lacks(services: Any) -> None:
    waive(services, "access-acls:acls")
    gate.keep(services.journal, found_about("a", "b"), facts())
    assert stopping(services, SHOP) == []
    reader = Reader(services.layout.root)
    (view,) = reader.findings(now_ms()) or ()
    reader.close()
    assert (view.stops, view.waived_by) == (False, "ada")
    assert view.waived_words.startswith("Given before kferry kept what was waived")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"finding_id": "nothing:there", "why": "w"}, "no finding"),
        ({"finding_id": "record-size:hr.audit", "why": "w"}, "cannot be waived"),
        ({"finding_id": "cluster-version:source", "why": " "}, "needs a reason"),
    ],
)
def test_what_cannot_be_waived(services: Any, args: dict[str, str], words: str) -> None:
    with services.journal.transaction() as session, pytest.raises(KferryError, match=words):
        gate.put_waiver(services.journal, session, args, "ada")
    assert services.journal.waivers(0) == []
