"""Kinds, ways and drafts: every way makes settings that clusters.yml takes, and what is missing is said."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.domain.draft_gaps import gaps
from kferry.domain.drafts import (
    DRAFTED_KEYS,
    FIELDS,
    Draft,
    draft_of,
    fields_of,
    fitted,
    is_reference,
    servers_of,
    servers_text,
    settings_of,
    with_field,
)
from kferry.domain.model import ClusterKind, Role
from kferry.domain.sources import KINDS
from kferry.store.clusters_file import SASL_MECHANISMS, SECURITY_PROTOCOLS, cluster_of

WAYS = [(kind.kind, way.name) for kind in KINDS.values() for way in kind.ways]


def _full(kind: ClusterKind, way: str) -> Draft:
    draft = Draft(Role.SOURCE, kind, way, user="ckafka-12ab34cd#u", password="env:P", ca="/ca.pem")
    ports = draft.its_way.ports or (9092,)
    servers = f"b1.example:{ports[0]},b2.example:{ports[0]}"
    return fitted(dataclasses.replace(draft, bootstrap_servers=servers, certificate="/c.pem", key="/k.pem"))


def test_every_kind_is_there_and_its_ways_have_names_of_their_own() -> None:
    assert set(KINDS) == set(ClusterKind)
    for kind in KINDS.values():
        assert len({way.name for way in kind.ways}) == len(kind.ways)
        for way in kind.ways:
            assert way.protocol in SECURITY_PROTOCOLS and set(way.mechanisms) <= set(SASL_MECHANISMS)
            assert bool(way.mechanisms) == way.protocol.startswith("SASL")
            assert bool(way.ca) == way.protocol.endswith("SSL")


@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_a_full_draft_of_every_way_is_taken_and_read_back(kind: ClusterKind, way: str) -> None:
    draft = _full(kind, way)
    assert not [gap for gap in gaps(draft) if gap.stops], gaps(draft)
    keys = settings_of(draft)
    assert set(keys) <= set(DRAFTED_KEYS)
    config = cluster_of(Role.SOURCE, keys)
    assert (config.security_protocol, config.sasl_mechanism) == (draft.its_way.protocol, draft.its_way.mechanism)
    again = draft_of(Role.SOURCE, keys)
    assert settings_of(again) == keys
    if draft.its_way.ports:
        assert again.way == way or again.its_way.ports == draft.its_way.ports


@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_each_field_that_a_way_asks_for_is_missed(kind: ClusterKind, way: str) -> None:
    draft = _full(kind, way)
    for field in fields_of(draft):
        if field in ("kind", "way", "mechanism") or (field == "ca" and draft.its_way.ca != "own"):
            continue
        assert field in {gap.field for gap in gaps(with_field(draft, field, "")) if gap.stops}, field


@pytest.mark.parametrize(
    ("draft", "field", "words"),
    [
        (Draft(Role.SOURCE, ClusterKind.MSK, "iam", "b-1.x:9096,b-2.x:9096"), "way", "Port 9096 is that of “SCRAM”"),
        (Draft(Role.SOURCE, ClusterKind.MSK, "iam", "b-1.x:9098,b-2.x:9096"), "bootstrap_servers", "different ports"),
        (Draft(Role.SOURCE, ClusterKind.ALIBABA, "default", "x:9093"), "way", "SSL endpoint on the Internet"),
        (
            Draft(Role.SOURCE, ClusterKind.APACHE_KAFKA, "plaintext", "b-1.n.a1.c2.kafka.eu-west-1.amazonaws.com:9092"),
            "kind",
            "looks like Amazon MSK",
        ),
        (
            Draft(Role.SOURCE, ClusterKind.APACHE_KAFKA, "tls", "pkc-1.eu-west-1.aws.confluent.cloud:9092"),
            "kind",
            "looks like Confluent",
        ),
        (Draft(Role.SOURCE, ClusterKind.TENCENT, "sasl", "x:50001", user="joe"), "user", "ckafka-12ab34cd#name"),
        (Draft(Role.SOURCE, ClusterKind.TENCENT, "sasl", "x:50001", "PLAIN"), "mechanism", "readable"),
        (Draft(Role.SOURCE, ClusterKind.APACHE_KAFKA, "plaintext", "a:9092"), "bootstrap_servers", "One server only"),
        (Draft(Role.SOURCE, ClusterKind.APACHE_KAFKA, "plaintext", "a:9092,b"), "bootstrap_servers", "not host:port"),
        (Draft(Role.SOURCE, ClusterKind.APACHE_KAFKA, "plaintext", "a:0"), "bootstrap_servers", "not host:port"),
        (Draft(Role.SOURCE, ClusterKind.MSK, "scram", password="hunter2"), "password", "not a reference"),
        (Draft(Role.SOURCE, ClusterKind.MSK, "tls", ca="-----BEGIN CERTIFICATE-----"), "ca", "the PEM itself"),
    ],
)
def test_what_contradicts_a_service_is_said(draft: Draft, field: str, words: str) -> None:
    found = [gap.words for gap in gaps(draft) if gap.field == field]
    assert any(words in one for one in found), gaps(draft)
    assert "hunter2" not in str(gaps(draft)), "a secret is not repeated"


def test_another_kind_keeps_what_was_typed() -> None:
    draft = with_field(_full(ClusterKind.MSK, "scram"), "kind", "alibaba")
    moved = fitted(draft)
    assert moved.way == "default" and moved.user == draft.user and moved.mechanism == ""
    assert "sasl_username" not in settings_of(moved), "what a way does not ask for is not written"


@pytest.mark.parametrize(
    ("keys", "way"),
    [
        ({"kind": "msk", "security_protocol": "SASL_SSL", "sasl_mechanism": "AWS_MSK_IAM"}, "iam"),
        ({"kind": "msk", "security_protocol": "SSL"}, "tls"),
        ({"kind": "msk", "security_protocol": "SSL", "ssl_certificate": "/c"}, "mtls"),
        ({"kind": "confluent", "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-256"}, "sasl_tls"),
        ({"kind": "alibaba"}, "default"),
        ({"kind": "no such kind"}, "plaintext"),
    ],
)
def test_a_cluster_that_is_written_opens_as_its_way(keys: dict[str, str], way: str) -> None:
    assert draft_of(Role.SOURCE, {"bootstrap_servers": "a:9999", **keys}).way == way


def test_the_port_tells_endpoints_apart_that_look_alike() -> None:
    keys = {"kind": "alibaba", "security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}
    assert draft_of(Role.SOURCE, {**keys, "bootstrap_servers": "x:9095"}).way == "ssl_vpc"
    assert draft_of(Role.SOURCE, {**keys, "bootstrap_servers": "x:9093"}).way == "ssl_public"


def test_a_pasted_list_becomes_one_line() -> None:
    pasted = " SASL_SSL://b-1.x:9098,\n b-2.x:9098 ,b-1.x:9098\n"
    assert servers_text(pasted) == "b-1.x:9098,b-2.x:9098"
    assert servers_of("[::1]:9092 a_b:1 c:99999 d") == [("[::1]", 9092), ("a_b", 1)]


@given(text=st.text(max_size=60))
def test_nothing_that_is_typed_breaks_a_draft(text: str) -> None:
    for field in FIELDS[2:]:
        draft = with_field(_full(ClusterKind.TENCENT, "sasl_ssl"), field, text)
        assert all(gap.words and gap.field for gap in gaps(draft))
        settings_of(fitted(draft))
    assert is_reference(text) <= (text.startswith(("env:", "file:", "command:", "kept:")))
