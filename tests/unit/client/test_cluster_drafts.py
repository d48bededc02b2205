"""Describing a cluster without a face: what is refused before it is sent, what is written, what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from kferry.client import check_words, cluster_drafts
from kferry.client.session import Session
from kferry.domain.drafts import KEPT
from kferry.domain.errors import KferryError
from kferry.domain.model import Role
from kferry.store.clusters_file import load_clusters
from kferry.store.paths import Layout
from support.fake_engine import FakeEngine

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sources.md"
SCRAM = {"kind": "msk", "way": "scram", "bootstrap_servers": "b-1.x:9096,b-2.x:9096", "user": "mover"}


def test_the_page_has_every_way() -> None:
    assert cluster_drafts.way_table() in PAGE.read_text("utf-8"), "copy cluster_drafts.way_table() into docs/sources.md"


def test_a_secret_in_plain_words_reaches_no_journal(session: Session, layout: Layout, engine: FakeEngine) -> None:
    found = cluster_drafts.opened(layout, Role.SOURCE)
    draft = cluster_drafts.changed(found.draft, **SCRAM, password="hunter2")
    for use in (
        lambda: cluster_drafts.send_test(session, found, draft),
        lambda: cluster_drafts.save(session, found, draft),
    ):
        with pytest.raises(KferryError, match="not described yet") as caught:
            use()
        assert "hunter2" not in str(caught.value)
    assert engine.seen == []
    for path in (*layout.root.rglob("*"),):
        assert not path.is_file() or b"hunter2" not in path.read_bytes(), path


def test_a_draft_is_sent_with_the_operators_other_keys_and_kept_secrets(
    session: Session, layout: Layout, engine: FakeEngine
) -> None:
    layout.clusters.write_text(
        "kferry_clusters:\n  source:\n    kind: msk\n    bootstrap_servers: a:9096\n    security_protocol: SASL_SSL\n"
        "    sasl_mechanism: SCRAM-SHA-512\n    sasl_username: u\n    sasl_password: !vault |\n      $ANSIBLE_VAULT;1\n"
        "    extra: {client.rack: az-1}\n"
    )
    found = cluster_drafts.opened(layout, Role.SOURCE)
    draft = cluster_drafts.changed(found.draft, bootstrap_servers="b-1.x:9096,b-2.x:9096")
    cluster_drafts.send_test(session, found, draft)
    kind, args = engine.seen[0]
    assert kind == "check_draft" and args["role"] == "source"
    assert args["config"]["sasl_password"] == KEPT and args["config"]["extra"] == {"client.rack": "az-1"}
    cluster_drafts.save(session, found, draft)
    assert load_clusters(layout)[Role.SOURCE].bootstrap_servers == "b-1.x:9096,b-2.x:9096"
    assert "$ANSIBLE_VAULT;1" in layout.clusters.read_text()
    with pytest.raises(KferryError, match="somebody else"):
        cluster_drafts.save(session, found, draft)


def test_words_that_are_no_kind_way_or_mechanism_are_refused_with_those_there_are(layout: Layout) -> None:
    draft = cluster_drafts.opened(layout, Role.SOURCE).draft
    for given, words in (
        ({"kind": "rabbit"}, "Kinds: apache_kafka, msk"),
        ({"kind": "msk", "way": "kerberos"}, "Its ways: iam, scram"),
        ({"kind": "msk", "way": "scram", "mechanism": "PLAIN"}, "Its mechanisms: SCRAM-SHA-512"),
    ):
        with pytest.raises(KferryError) as caught:
            cluster_drafts.changed(draft, **given)  # type: ignore[arg-type]
        assert words in caught.value.next_step


def test_files_that_are_not_there_are_said_and_do_not_stop(layout: Layout, tmp_path: Path) -> None:
    found = cluster_drafts.opened(layout, Role.SOURCE)
    draft = cluster_drafts.changed(found.draft, **SCRAM, password=f"file:{tmp_path}/none", ca="/nowhere/ca.pem")
    gaps = cluster_drafts.problems(found, draft)
    assert [gap.field for gap in gaps] == ["password", "ca"] and not any(gap.stops for gap in gaps)


def test_the_rules_of_the_file_are_told_before_it_is_written(layout: Layout) -> None:
    layout.clusters.write_text(
        "kferry_clusters:\n  source:\n    kind: other\n    bootstrap_servers: a:1\n    security_protocol: SSL\n"
        "    ssl_ca: /ca\n    tls_name_waiver: {until: 2999-01-01, why: x}\n"
    )
    found = cluster_drafts.opened(layout, Role.SOURCE)
    gaps = cluster_drafts.problems(found, cluster_drafts.changed(found.draft, way="plaintext"))
    assert any("tls_name_waiver has no effect" in gap.words and gap.stops for gap in gaps)


def test_times_and_hostile_words_are_drawn() -> None:
    assert [check_words.took(value) for value in (None, 0.0001, 0.012, 3.21)] == ["", "<1 ms", "12 ms", "3.2 s"]
    body = {
        "lines": [["TCP \x1b[2J", "failed", "no\u202e", 0.5], ["old", "ok", "three parts"]],
        "capabilities": {"acls": {"state": "denied", "words": "no.", "grant": "DESCRIBE on the cluster"}},
    }
    lines = check_words.body_lines(body)
    assert not any("\x1b" in line or "\u202e" in line for line in lines)
    assert lines[0].startswith("✗ 500 ms") and lines[2].endswith("acls: no. Grant DESCRIBE on the cluster.")
