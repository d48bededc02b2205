"""A real engine tests a connection that is saved nowhere: what it refuses and says, and that it stops when told."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kferry.client import cluster_drafts
from kferry.client.session import Session
from kferry.domain.drafts import KEPT
from kferry.domain.errors import KferryError
from support.waiting import wait_until

pytestmark = pytest.mark.thorough

FILE = "kferry_clusters:\n  target:\n    kind: automq\n    bootstrap_servers: 127.0.0.1:1\n"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A migration directory whose source is not described yet."""
    (tmp_path / "inventory" / "group_vars" / "all").mkdir(parents=True)
    (tmp_path / "kferry.yml").write_text("schema: 1\nmigration_id: abc123\nname: test\n")
    (tmp_path / "inventory" / "group_vars" / "all" / "clusters.yml").write_text(FILE)
    session = Session(tmp_path)
    session.ensure_engine()
    yield session
    session.stop_engine()
    session.close()


def _config(port: int, **more: Any) -> dict[str, Any]:
    return {"role": "source", "config": {"kind": "other", "bootstrap_servers": f"127.0.0.1:{port}", **more}}


def test_a_draft_is_tested_and_nothing_is_saved(session: Session, free_port: Callable[[], int]) -> None:
    intent = session.ask("check_draft", _config(free_port()))
    assert intent.operation_id is not None
    done = session.follow(intent.operation_id, on_change=lambda _: None, timeout_seconds=60)
    assert done.status == "done", "a cluster that is away is an answer"
    body = cluster_drafts.test_body(session, intent.operation_id)
    assert body is not None and body["reachable"] is False and body["running"] is False
    assert any(what.startswith("TCP") and state == "failed" for what, state, _words, _seconds in body["lines"])
    assert session.layout.clusters.read_text() == FILE
    assert session.reader.document("cluster_check", "source") is None
    plan = session.ask("check_draft", _config(free_port()), dry_run=True)
    assert plan.result["changes"] == []


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"role": "elsewhere", "config": {}}, "source or the target"),
        ({"role": "source"}, "no settings"),
        ({"role": "source", "config": {"kind": "other"}}, "no bootstrap_servers"),
        (_config(1, sasl_password="hunter2"), "not a reference"),
        (_config(1, security_protocol="SASL_SSL"), "needs a sasl_mechanism"),
        (
            _config(1, security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="u", sasl_password=KEPT),
            "no sasl_password to keep",
        ),
    ],
)
def test_what_cannot_be_tested_is_refused(session: Session, args: dict[str, Any], words: str) -> None:
    with pytest.raises(KferryError, match=words) as caught:
        session.ask("check_draft", args)
    assert "hunter2" not in str(caught.value)


def test_a_test_that_hangs_stops_when_told(session: Session) -> None:
    """The port accepts and never answers, which looks like a frozen broker."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        intent = session.ask("check_draft", _config(silent.getsockname()[1]))
        operation_id = intent.operation_id
        assert operation_id is not None
        wait_until(lambda: cluster_drafts.test_body(session, operation_id), deadline_seconds=20)
        session.ask("abort", {"operation_id": operation_id})
        done = session.follow(operation_id, on_change=lambda _: None, timeout_seconds=30)
    assert done.status == "aborted"
