"""Planning by a real engine process: rules, pins, begun batches, dry run, and a plan edited by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kferry.client import plan_edit
from kferry.client.session import Session
from kferry.domain import planning
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.judged import judged as judged_of
from kferry.domain.model import Scan
from kferry.domain.planning.rules import Cut
from kferry.domain.preflight import PreflightFacts
from kferry.store import codec
from kferry.store.journal import Journal
from kferry.store.plan_file import load_plan
from kferry.store.rules_file import write_rules
from support.scans import group, scan, topic

pytestmark = pytest.mark.slow  # starts an engine

NAMES = [f"{system}.{name}" for system in ("shop", "iot", "hr") for name in ("a", "b")]


def source() -> Scan:
    readers = [group(f"{system}-app", [f"{system}.a", f"{system}.b"]) for system in ("shop", "iot", "hr")]
    return scan([topic(name) for name in NAMES], [*readers, group("archive", NAMES)])


@pytest.fixture
def session(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Session]:
    """A migration directory with a scan, whose clusters nobody listens for."""
    (tmp_path / "inventory" / "group_vars" / "all").mkdir(parents=True)
    (tmp_path / "kferry.yml").write_text("schema: 1\nmigration_id: abc123\nname: test\n")
    (tmp_path / "inventory" / "group_vars" / "all" / "clusters.yml").write_text(
        "kferry_clusters:\n"
        f"  source: {{kind: apache_kafka, bootstrap_servers: '127.0.0.1:{free_port()}'}}\n"
        f"  target: {{kind: automq, bootstrap_servers: '127.0.0.1:{free_port()}'}}\n"
    )
    session = Session(tmp_path)
    session.ensure_engine(timeout_seconds=60)
    put_scan(session, source())
    yield session
    session.stop_engine()
    session.close()


def put_scan(session: Session, found: Scan) -> None:
    journal = Journal(session.layout.journal)
    journal.put_document("scan", "source", codec.dump(found))
    journal.close()


def make(session: Session, *, overwrite: bool = False) -> list[str]:
    """Plan; the names of the batches."""
    answer = session.ask("plan", {"overwrite": overwrite})
    assert answer.operation_id is not None
    ended = session.follow(answer.operation_id, on_change=lambda _: None, timeout_seconds=60)
    if ended.error:
        raise KferryError.from_dict(dict(ended.error))
    return [batch.name for batch in load_plan(session.layout).batches]


def test_a_task_is_not_made_on_findings_of_another_scan(session: Session) -> None:
    first = make(session)[0]
    journal = Journal(session.layout.journal)
    judged = judged_of(PreflightFacts(now_ms=1, source=source(), plan=load_plan(session.layout)))
    journal.put_document("findings", "", "[]")
    with pytest.raises(KferryError, match="older kferry") as refused:
        session.ask("create_task", {"batch": first}, dry_run=True)
    assert refused.value.kind is ErrorKind.NOT_READY and refused.value.next_step == "Run `kferry preflight`."
    journal.put_document("judged", "", codec.dump(judged))
    put_scan(session, replace(source(), scan_id="scan-later"))
    with pytest.raises(KferryError, match="source cluster was scanned after the last preflight"):
        session.ask("create_task", {"batch": first}, dry_run=True)
    put_scan(session, source())
    with pytest.raises(KferryError) as further:  # preflight is no hindrance: now the clusters are asked
        session.ask("create_task", {"batch": first}, dry_run=True)
    assert further.value.kind is ErrorKind.CONNECT
    journal.close()


def test_planning_heeds_rules_pins_and_what_has_begun(session: Session) -> None:
    assert make(session) == ["hr-iot-shop"]
    write_rules(session.layout, planning.PlanningRules(cuts=(Cut("archive"),)))
    shown = session.ask("plan", dry_run=True).result
    assert [words.split(":")[0] for words in shown["words"][:-1]] == ["1. hr (canary)", "2. iot", "3. shop"]
    assert len(load_plan(session.layout).batches) == 1
    assert make(session) == ["hr", "iot", "shop"]

    done = plan_edit.apply(session, lambda plan: planning.pin(plan, "shop"), "pinned shop")
    assert done.broken == ()
    with pytest.raises(KferryError, match="edited by hand"):
        make(session)
    journal = Journal(session.layout.journal)
    with journal.transaction() as transaction:
        journal.put_batch(transaction, "hr", "replicating")
    journal.close()
    before = load_plan(session.layout)
    grown = replace(source(), topics=(*source().topics, topic("shop.c"), topic("hr.c"), topic("iot.c")))
    put_scan(session, grown)
    assert set(make(session, overwrite=True)) == {"hr", "hr-c", "iot", "shop", "shop-c"}
    after = load_plan(session.layout)
    assert (after.batch("hr"), after.batch("shop")) == (before.batch("hr"), before.batch("shop"))
    assert after.batch("iot").topics == ("iot.a", "iot.b", "iot.c")  # type: ignore[union-attr]

    assert plan_edit.undo(session).what == "undid: planned"
    assert load_plan(session.layout) == before

    session.layout.rules.write_text("cut: []\n")
    with pytest.raises(KferryError, match=r"rules\.yml, line 1"):
        make(session, overwrite=True)
    assert load_plan(session.layout) == before
