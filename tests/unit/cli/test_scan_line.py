"""How far a scan is, on stderr: a line drawn again at a terminal, lines now and then elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kferry.cli import scan_line
from kferry.cli.scan_line import ScanLine
from kferry.client import diagnostics, scan_progress
from kferry.client.session import Session
from kferry.domain.runbook import OperationKind
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from support import seeded
from unit.ui import survey_states as states


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = seeded.bare(tmp_path / "m")
    states.running(made, OperationKind.SCAN)
    return made


def follow(layout: Layout, *moments: dict[str, Any]) -> None:
    """Looks after each of these documents, as the engine writes them."""
    session = Session(layout.root)
    try:
        operation = session.reader.operations(kind="scan", limit=1)[0]
        line = ScanLine(session)
        line.show(operation)
        for moment in moments:
            Journal(layout.journal).put_document("scan_progress", moment.pop("role", "source"), json.dumps(moment))
            line.look()
        diagnostics.wipe()
    finally:
        session.close()


def moment(what: str, done: int, total: int, share: float, eta: float | None, **more: str) -> dict[str, Any]:
    return {"what": what, "done": done, "total": total, "seconds": 9.0, "share": share, "eta_seconds": eta, **more}


def test_a_line_now_and_then_without_a_terminal(
    layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_line, "_STEP_SECONDS", 0.0)
    follow(
        layout,
        moment("cluster", 0, 1, 0.0, None),
        moment("topics", 5, 100, 0.04, None),  # too little to say
        moment("topics", 50, 100, 0.31, 22.3),
        moment("lag", 10, 4000, 0.9, 33.0),
        moment("cluster", 0, 1, 0.0, None, role="target"),
    )
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.splitlines() == [
        "    0 %, time left unknown · source: cluster",
        "    31 %, about 22 s left · source: topics 50 of 100",
        "    90 %, about 33 s left · source: lag 10 of 4,000",
        "    0 %, time left unknown · target: cluster",
    ]


def test_one_line_is_drawn_again_at_a_terminal(
    layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostics, "draws", lambda: True)
    follow(layout, moment("topics", 50, 100, 0.5, 22.3), moment("lag\x1b[31m", 10, 4000, 0.9, 33.0))
    diagnostics.say("over")
    err = capsys.readouterr().err
    first, second, rest = err.split("\x1b[K", 2)
    assert first == "\r    ██████████░░░░░░░░░░ 50 %, about 22 s left · source: topics 50 of 100"
    assert second.startswith("\r    ██████████████████░░ 90 %, about 33 s left · source: lag\\x1b[31m 10")
    assert rest == "\r\x1b[Kover\n"
    assert "\n" not in first + second


def test_a_scan_before_this_one_is_not_shown(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    states.put(layout, "scan_progress", "source", json.dumps(moment("lag", 1, 1, 1.0, 0.0)), minutes_ago=5)
    follow(layout)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("share", "drawn"),
    [(None, "░░░░"), (0.0, "░░░░"), (0.5, "██░░"), (0.99, "███░"), (1.0, "████"), (7.0, "████")],
)
def test_a_bar_is_full_only_at_the_end(share: float | None, drawn: str) -> None:
    assert scan_progress.bar(share, 4) == drawn


def test_what_a_document_lacks_is_unknown() -> None:
    state = scan_progress.parse("source", 1, {"what": "topics", "done": 3, "total": 9, "share": True})
    assert (state.share, state.eta_seconds) == (None, None)
    assert state.left_words == "time left unknown"
    assert scan_progress.share_words(state.share) == "share unknown"
