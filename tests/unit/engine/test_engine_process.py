"""A real engine process without clusters: alone, detached, killed and started again, honest about what is not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kferry.client.session import Session
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterFacts, Desired, PartitionOffsets, Role, Scan, TaskSpec, Topic
from kferry.store import codec
from kferry.store.chain import first_broken_link
from kferry.store.journal import Journal
from kferry.store.tables import TaskRow
from support.waiting import wait_until

pytestmark = pytest.mark.slow  # each test starts an engine


@pytest.fixture
def session(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Session]:
    """A migration directory whose clusters nobody listens for."""
    (tmp_path / "inventory" / "group_vars" / "all").mkdir(parents=True)
    (tmp_path / "kferry.yml").write_text("schema: 1\nmigration_id: abc123\nname: test\n")
    (tmp_path / "inventory" / "hosts.yml").write_text(
        "kferry_workers:\n  hosts:\n    local-1: {ansible_connection: local}\n"
    )
    (tmp_path / "inventory" / "group_vars" / "all" / "clusters.yml").write_text(
        "kferry_clusters:\n"
        f"  source: {{kind: apache_kafka, bootstrap_servers: '127.0.0.1:{free_port()}'}}\n"
        f"  target: {{kind: automq, bootstrap_servers: '127.0.0.1:{free_port()}'}}\n"
    )
    session = Session(tmp_path)
    session.ensure_engine(timeout_seconds=60)
    yield session
    session.stop_engine()
    session.close()


def scan(*topics: str) -> Scan:
    """A scan of a source with these topics and no groups."""
    found = tuple(Topic(name, None, 1, (PartitionOffsets(0, 0, 0, 0),)) for name in topics)
    return Scan("s", 1, ClusterFacts(Role.SOURCE, None, None, None, ()), found, ())


def test_a_second_engine_is_refused(session: Session) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "kferry.engine", str(session.root)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 2 and "An engine runs already" in second.stderr


def test_the_engine_has_no_terminal_and_a_session_of_its_own(session: Session) -> None:
    pid = wait_until(lambda: session.engine().pid, deadline_seconds=20)
    assert os.getsid(pid) != os.getsid(0)
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")


def test_a_broker_nobody_answers_for_is_a_sentence(session: Session) -> None:
    intent = session.ask("check_clusters")
    assert intent.operation_id is not None
    done = session.follow(intent.operation_id, on_change=lambda _: None, timeout_seconds=60)
    assert done.status == "failed" and done.error is not None
    assert "127.0.0.1" in " ".join(done.error.values()) and done.error["kind"] == ErrorKind.CONNECT.value
    found = session.reader.cluster_check("source")
    assert found is not None and found[1]["reachable"] is False


def test_wishes_that_make_no_sense_are_refused_with_the_reason(session: Session) -> None:
    for kind, args, words in (
        ("preflight", {}, "not scanned yet"),
        ("create_task", {"batch": "shop"}, "no plan yet"),
        ("pause_task", {"task": "nothing"}, "no migration task"),
        ("undo_change", {"change_id": 4}, "cannot be undone"),
        ("abort", {"operation_id": "x"}, "no such operation"),
        ("make_coffee", {}, "does not know"),
    ):
        with pytest.raises(KferryError, match=words):
            session.ask(kind, args)


def test_unknown_topics_and_groups_are_refused_before_anything_changes(tmp_path: Path, session: Session) -> None:
    session.stop_engine()
    spec = TaskSpec("shop", "abc123", "shop", 1, ("orders",), ("billing",), (), 1)
    journal = Journal(session.layout.journal)
    journal.put_document("scan", "source", codec.dump(scan("orders")))
    journal.put_task(
        TaskRow(
            name="shop",
            batch="shop",
            incarnation=1,
            spec=codec.dump(replace(spec, desired=Desired.STOPPED)),
            state="Paused",
            created_at_ms=1,
            updated_at_ms=1,
        )
    )
    journal.close()
    session.ensure_engine(timeout_seconds=60)
    for key, word in (
        ("add_topics", "ordres"),
        ("add_groups", "biling"),
        ("remove_topics", "x"),
        ("remove_groups", "y"),
    ):
        with pytest.raises(KferryError, match=f"Unknown: '{word}'"):
            session.ask("update_task", {"task": "shop", key: [word]})
    assert session.reader.operations() == []


def test_an_expired_wish_is_refused(session: Session) -> None:
    from kferry.store import intents

    intent_id = intents.insert(session.layout.journal, "scan", {}, valid_seconds=-1)
    answer = session.wait_answer(intent_id, timeout_seconds=20)
    assert answer.status == "refused" and "expired" in answer.reason


def test_a_killed_engine_leaves_an_intact_journal_and_the_next_one_goes_on(session: Session) -> None:
    pid = wait_until(lambda: session.engine().pid, deadline_seconds=20)
    operation = session.ask("check_clusters").operation_id
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not session.engine().alive, deadline_seconds=20)
    session.ensure_engine(timeout_seconds=60)
    assert operation is not None
    done = session.follow(operation, on_change=lambda _: None, timeout_seconds=60)
    assert done.status == "failed"
    assert first_broken_link(session.reader.chain_rows()) is None
    assert [event.kind for event in session.reader.events()].count("engine_started") == 2
