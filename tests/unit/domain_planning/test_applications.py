"""The classes of applications: what each is guessed from, and that the operator's word wins."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kferry.domain.applications import (
    STYLES,
    WARNINGS,
    Application,
    ApplicationClass,
    ApplicationRule,
    CutoverStyle,
    applications_of,
    style_of,
)
from kferry.domain.model import ActiveProducer, Group, GroupKind, GroupMember, Scan, TransactionalId
from support.scans import group, scan, topic

C = ApplicationClass
UUID = "6f1c1f0e-5a5e-4d6b-9c0a-2f3b4c5d6e7f"


def with_client(made: Group, client_id: str, host: str = "/127.0.0.1") -> Group:
    return replace(made, members=(GroupMember("m", client_id, host),))


def tx(name: str, *topics: str) -> TransactionalId:
    return TransactionalId(name, frozenset(topics))


def only(found: tuple[Application, ...], group_id: str) -> Application:
    (one,) = [app for app in found if group_id in app.groups]
    return one


TOPICS = [topic("in"), topic("out"), topic("app-store-changelog"), topic("quiet", records_per_second=0.0)]


@pytest.mark.parametrize(
    ("made", "ids", "expected", "evidence"),
    [
        (group("app", ["in"]), [], C.STREAMS, "app-store-changelog is its changelog"),
        (group("s", ["in"], kind=GroupKind.STREAMS), [], C.STREAMS, "Kafka Streams"),
        (group("w", ["in"]), [tx(f"w-{UUID}-3", "out")], C.STREAMS, "formed as Kafka Streams does"),
        (group("w", ["in"]), [tx("w-0_12", "out")], C.STREAMS, "formed as Kafka Streams does"),
        (group("connect-s3", ["in"], kind=GroupKind.CONNECT), [], C.CONNECT, "sink connector"),
        (with_client(group("odd", ["in"]), "connector-consumer-s3-0"), [], C.CONNECT, "sink connector"),
        (group("KafkaSource-8123456789", ["in"]), [], C.FLINK_OR_SPARK, "one that Flink makes"),
        (with_client(group("f", ["in"]), "f-enumerator-consumer"), [], C.FLINK_OR_SPARK, "client id"),
        (group(f"spark-kafka-source-{UUID}--1-driver-0", ["in"]), [], C.FLINK_OR_SPARK, "Spark"),
        (group("schema-registry", ["in"]), [], C.SCHEMA_REGISTRY, "schema registry"),
        (group("fraud", ["in"]), [tx("fraud-tx-1", "out", "__consumer_offsets")], C.READ_PROCESS_WRITE, "its name"),
        (
            with_client(group("g", ["in"]), "fraud-worker"),
            [tx("fraud-worker-7", "out")],
            C.READ_PROCESS_WRITE,
            "its name",
        ),
        (group("billing", ["in"]), [tx("billings", "out")], C.PURE_CONSUMER, "nothing shows"),
    ],
)
def test_the_class_of_a_group_is_guessed(
    made: Group, ids: list[TransactionalId], expected: ApplicationClass, evidence: str
) -> None:
    found = only(applications_of(scan(TOPICS, [made], transactional_ids=ids)), made.group_id)
    assert found.class_ is expected
    assert evidence in " ".join(found.evidence)
    assert not found.set_by_operator
    if ids and expected is not C.PURE_CONSUMER:
        assert (found.reads, found.writes) == ({"in"}, {"out"})


def test_what_writes_without_a_group() -> None:
    ids = [
        tx("payments-1", "out"),
        tx("payments-2", "out"),
        tx("etl-1", "out", "__consumer_offsets"),
        tx("connect-cluster-etl", "connect-configs"),
        tx("flink-sink-0-12", "out"),
    ]
    found = {one.name: one for one in applications_of(scan(TOPICS, transactional_ids=ids))}
    assert found["payments"].class_ is C.PURE_PRODUCER
    assert found["payments"].transactional_ids == ("payments-1", "payments-2")
    assert found["etl"].class_ is C.READ_PROCESS_WRITE
    assert found["etl"].writes == {"out"}
    assert found["connect-cluster-etl"].class_ is C.CONNECT
    assert found["flink-sink"].class_ is C.FLINK_OR_SPARK


def test_producers_without_a_name_are_told_by_topic() -> None:
    found = replace(
        scan([*TOPICS, topic("_schemas"), topic("__consumer_offsets", is_internal=True)]),
        producers=(ActiveProducer("in", 0, 4711, None), ActiveProducer("quiet", 1, 4711, None)),
    )
    apps = {one.name: one for one in applications_of(found)}
    assert set(apps) == {
        "producers of in",
        "producers of out",
        "producers of quiet",
        "schema registry on _schemas",
    }
    assert apps["producers of in"].evidence[0].endswith("which have no name; the same ones write quiet")
    assert "left no trace" in apps["producers of out"].evidence[0]
    assert apps["schema registry on _schemas"].style is CutoverStyle.REGISTRY


def test_the_word_of_the_operator_wins() -> None:
    found = scan(TOPICS, [group("app", ["in"]), group("other", ["in"])], transactional_ids=[tx("app-0_1", "out")])
    rules = (
        ApplicationRule("shop", C.PURE_CONSUMER, groups=("app",)),
        ApplicationRule("all", C.FLINK_OR_SPARK, groups=("*",), transactional_ids=("*",), writes=("qu*",)),
    )
    apps = {one.name: one for one in applications_of(found, rules)}
    assert apps["shop"].class_ is C.PURE_CONSUMER
    assert apps["shop"].set_by_operator
    assert apps["all"].groups == ("other",)
    assert apps["all"].writes == {"out", "quiet"}
    assert apps["all"].binds


def test_every_class_has_a_style_and_words() -> None:
    assert set(STYLES) == set(WARNINGS) == set(ApplicationClass)
    for class_ in ApplicationClass:
        gentle = STYLES[class_] is CutoverStyle.CONSUMER_FIRST
        assert bool(WARNINGS[class_]) or gentle
    apps = [Application(str(class_), class_, (), (), frozenset(), frozenset(), ()) for class_ in ApplicationClass]
    assert style_of(apps) is CutoverStyle.STOP_DRAIN_SWITCH
    assert style_of(apps[:2]) is CutoverStyle.CONSUMER_FIRST
    assert style_of([]) is CutoverStyle.CONSUMER_FIRST


NAMES = st.sampled_from(["app", "app-1", "app-1-2", "connect-x", "flink", "KafkaSource-1", "[/]", "é", "x" * 249])


@st.composite
def crowds(draw: st.DrawFn) -> Scan:
    groups = draw(st.lists(NAMES, unique=True, max_size=6))
    ids = draw(st.lists(NAMES.map(lambda name: f"{name}-7") | NAMES, unique=True, max_size=6))
    topics = st.lists(st.sampled_from(["in", "out", "quiet", "__consumer_offsets", "gone"]), unique=True, max_size=3)
    return scan(
        TOPICS, [group(one, draw(topics)) for one in groups], transactional_ids=[tx(one, *draw(topics)) for one in ids]
    )


@given(crowds())
@settings(max_examples=200, deadline=None)
@pytest.mark.thorough
def test_each_group_and_id_is_in_one_application(found: Scan) -> None:
    apps = applications_of(found)
    groups = [one for app in apps for one in app.groups]
    ids = [one for app in apps for one in app.transactional_ids]
    assert sorted(groups) == sorted(one.group_id for one in found.groups)
    assert sorted(ids) == sorted(one.transactional_id for one in found.transactional_ids or ())
    assert all(app.evidence for app in apps)
    mixed = replace(found, groups=found.groups[::-1], transactional_ids=(found.transactional_ids or ())[::-1])
    assert applications_of(mixed) == apps
