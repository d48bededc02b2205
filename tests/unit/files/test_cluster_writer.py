"""Writing one cluster: the operator's comments, other keys and vault texts survive; what is unsafe is not written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kferry.domain.drafts import KEPT
from kferry.domain.errors import KferryError
from kferry.domain.model import Role
from kferry.store.cluster_writer import changed_text, revision, write_cluster, written_keys
from kferry.store.clusters_file import cluster_of, load_clusters
from kferry.store.paths import Layout
from kferry.store.yaml_error import parse_yaml

RICH = """\
# ours
kferry_clusters:
  source:   # the old one
    kind: apache_kafka
    bootstrap_servers:
      - a:9092
      - b:9092
    # how we log in
    security_protocol: SASL_SSL
    sasl_mechanism: SCRAM-SHA-512  # agreed with the platform team
    sasl_username: "u#1"
    sasl_password: !vault |
      $ANSIBLE_VAULT;1.1;AES256
      6231
    # a note between
    extra: {client.dns.lookup: use_all_dns_ips}

  # the new one
  target:
    kind: automq
    bootstrap_servers: t:9092
# the end
"""


def _layout(tmp_path: Path, text: str) -> Layout:
    layout = Layout(tmp_path)
    layout.clusters.parent.mkdir(parents=True, exist_ok=True)
    layout.clusters.write_text(text)
    return layout


def test_only_the_changed_keys_are_touched(tmp_path: Path) -> None:
    layout = _layout(tmp_path, RICH)
    assert written_keys(layout, Role.SOURCE)["sasl_password"] == KEPT
    write_cluster(layout, Role.SOURCE, {"bootstrap_servers": "c:9096", "sasl_password": KEPT, "ssl_ca": "/a b/ca.pem"})
    text = layout.clusters.read_text()
    for kept in ("# ours", "# the old one", "# how we log in", "# agreed with", "# a note between", "# the new one"):
        assert kept in text
    assert "$ANSIBLE_VAULT;1.1;AES256\n      6231\n" in text and "# the end" in text
    found = load_clusters(layout)
    assert found[Role.SOURCE].bootstrap_servers == "c:9096" and found[Role.SOURCE].ssl_ca == "/a b/ca.pem"
    assert found[Role.SOURCE].extra == {"client.dns.lookup": "use_all_dns_ips"}
    assert found[Role.TARGET].bootstrap_servers == "t:9092"


def test_a_vault_text_can_be_replaced_and_keys_taken_out(tmp_path: Path) -> None:
    layout = _layout(tmp_path, RICH)
    write_cluster(layout, Role.SOURCE, {"sasl_password": "env:PASSWORD"})
    assert load_clusters(layout)[Role.SOURCE].sasl_password == "env:PASSWORD"
    assert "# a note between" in layout.clusters.read_text()
    gone = dict.fromkeys(("security_protocol", "sasl_mechanism", "sasl_username", "sasl_password"))
    write_cluster(layout, Role.SOURCE, gone)
    assert load_clusters(layout)[Role.SOURCE].security_protocol == "PLAINTEXT"
    assert set(written_keys(layout, Role.SOURCE)) == {"kind", "bootstrap_servers", "extra"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment\n",
        "kferry_clusters:\n",
        "kferry_clusters: {}\n",
        "kferry_clusters:\n  target:\n    kind: automq\n    bootstrap_servers: t:9092",
        "kferry_clusters:\n    source:\n    target:\n      kind: automq\n      bootstrap_servers: t:9092\n",
        "kferry_clusters:\n  source: {}  # to do\n  target:\n    kind: automq\n    bootstrap_servers: t:9092\n",
    ],
)
def test_a_cluster_that_was_not_there_is_added(tmp_path: Path, text: str) -> None:
    layout = _layout(tmp_path, text)
    write_cluster(layout, Role.SOURCE, {"kind": "msk", "bootstrap_servers": "a:9092", "security_protocol": None})
    found = load_clusters(layout)
    assert found[Role.SOURCE].bootstrap_servers == "a:9092"
    assert (Role.TARGET in found) == ("target" in text)


def test_what_would_not_be_right_is_not_written(tmp_path: Path) -> None:
    layout = _layout(tmp_path, RICH)
    for keys, words in (
        ({"sasl_password": "hunter2"}, "not a reference"),
        ({"bootstrap_servers": "nowhere"}, "not a bootstrap server"),
        ({"sasl_username": "{{ 1 }}"}, "Jinja"),
        ({"sasl_mechanism": None}, "needs a sasl_mechanism"),
    ):
        with pytest.raises(KferryError, match=words):
            write_cluster(layout, Role.SOURCE, keys)
    with pytest.raises(KferryError, match="somebody else"):
        write_cluster(layout, Role.SOURCE, {"sasl_username": "x"}, expects="000000000000")
    assert layout.clusters.read_text() == RICH
    before = revision(layout)
    assert "x-y" in write_cluster(layout, Role.SOURCE, {"sasl_username": "x-y"}, expects=before, dry_run=True)
    assert layout.clusters.read_text() == RICH


def test_a_file_in_one_line_is_left_to_its_owner(tmp_path: Path) -> None:
    text = "kferry_clusters: {source: {kind: msk, bootstrap_servers: 'a:9092'}}\n"
    layout = _layout(tmp_path, text)
    for role in Role:
        with pytest.raises(KferryError, match="in one line"):
            write_cluster(layout, role, {"kind": "other", "bootstrap_servers": "b:9092"})
    assert layout.clusters.read_text() == text


@settings(deadline=None)
@given(value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="{"), min_size=1, max_size=40))
def test_any_user_name_comes_back_as_it_was_typed(value: str) -> None:
    text = changed_text(RICH, Role.SOURCE, {"sasl_username": value})
    item = parse_yaml(text.encode(), Path("x")).keys["kferry_clusters"].keys["source"].keys["sasl_username"]  # type: ignore[index]
    assert item.text == value


def test_a_draft_has_the_rules_of_the_file_without_its_places() -> None:
    keys = {"kind": "msk", "bootstrap_servers": "a:9098", "security_protocol": "SASL_SSL"}
    with pytest.raises(KferryError) as caught:
        cluster_of(Role.SOURCE, keys)
    assert caught.value.title == "SASL_SSL needs a sasl_mechanism."
    assert cluster_of(Role.SOURCE, {**keys, "sasl_mechanism": "AWS_MSK_IAM"}).sasl_mechanism == "AWS_MSK_IAM"
