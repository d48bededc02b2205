"""Which machines can carry workers, and who works where."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.domain import fleet
from kferry.domain.fleet import BrokerProbe, Candidate, HostFacts, HostReport, Needs, Placed, WorkerSeen, assign, judge

GIB = 1024**3
FACTS = HostFacts(
    os="debian",
    os_version="12",
    architecture="x86_64",
    python="3.11.2",
    systemd=True,
    sudo=True,
    cpu_count=2,
    memory_bytes=4 * GIB,
    free_memory_bytes=3 * GIB,
    free_disk_bytes=20_000_000_000,
    clock_offset_seconds=0.01,
    java_version="",
    busy_ports=(),
    migration="",
    workers=(),
)
PROBES = tuple(BrokerProbe(role, f"{role}:9092", "tcp", True, "Kafka answers.", 0.1) for role in ("source", "target"))
REPORT = HostReport("w1", 1_000, FACTS, PROBES)
NEEDS = Needs(migration_id="k3f9x2", heap_bytes=GIB)


def judged(needs: Needs = NEEDS, **facts: Any) -> fleet.Verdict:
    return judge(replace(REPORT, facts=replace(FACTS, **facts)), needs)


def test_a_good_machine_is_usable_without_a_word() -> None:
    assert judge(REPORT, NEEDS) == fleet.Verdict(True)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"python": ""}, "no Python"),
        ({"python": "3.6.8"}, "3.6.8"),
        ({"sudo": False}, "sudo"),
        ({"systemd": False}, "systemd"),
        ({"os": "alpine", "os_version": "3.20"}, "alpine 3.20"),
        ({"os": "debian", "os_version": "11"}, "debian 11"),
        ({"os": "rhel", "os_version": "90.1"}, "rhel 90.1"),
        ({"memory_bytes": 2 * GIB}, "2.0 GiB of memory"),
        ({"free_disk_bytes": 1_400_000_000}, "1.4 GB"),
        ({"clock_offset_seconds": -301.0}, "301.0 s behind"),
        ({"migration": "other1"}, "other1"),
    ],
)
def test_what_stops_is_named(facts: dict[str, Any], words: str) -> None:
    verdict = judged(**facts)
    assert verdict.usable is False
    assert len(verdict.reasons) == 1 and words in verdict.reasons[0]


@pytest.mark.parametrize(
    "name",
    [
        "os", "os_version", "python", "systemd", "sudo", "memory_bytes", "free_disk_bytes", "clock_offset_seconds",
        "migration",
    ],
)  # fmt: skip
def test_what_was_not_measured_is_named_and_is_not_usable(name: str) -> None:
    verdict = judged(**{name: None})
    assert verdict.usable is None
    assert len(verdict.reasons) == 1 and (
        "not known" in verdict.reasons[0] or "could not be read" in verdict.reasons[0]
    )


@pytest.mark.parametrize(
    ("system", "version"), [("rocky", "9.4"), ("ubuntu", "24.04"), ("amzn", "2023"), ("debian", "13")]
)
def test_systems_with_a_java_of_their_own(system: str, version: str) -> None:
    assert judged(os=system, os_version=version) == fleet.Verdict(True)


def test_another_system_will_do_where_there_is_a_java() -> None:
    for verdict in (
        judged(os="arch", os_version=None, java_version="21.0.1"),
        judged(replace(NEEDS, has_java=True), os="arch", os_version=None),
    ):
        assert verdict.usable is True and "arch" in verdict.notes[0]


def test_notes_do_not_stop() -> None:
    verdict = judged(clock_offset_seconds=1.5, free_memory_bytes=100, busy_ports=(18083,))
    assert verdict.usable is True
    assert len(verdict.notes) == 3 and any("1.5 s ahead" in note for note in verdict.notes)


def test_our_own_root_is_welcome() -> None:
    assert judged(migration="k3f9x2").usable is True


def test_this_machine_needs_java_but_no_root() -> None:
    local = replace(NEEDS, is_local=True)
    assert judged(local, sudo=None, systemd=False, os="arch", clock_offset_seconds=None, java_version="17.0.1").usable
    assert judged(local).usable is False
    assert judged(replace(local, has_java=True)).usable is True


def test_every_broker_must_be_reached_and_unprobed_clusters_are_named() -> None:
    refused = BrokerProbe("target", "b2:9093", "tls", False, "The certificate of b2:9093 has expired.")
    verdict = judge(replace(REPORT, brokers=(*PROBES, refused)), NEEDS)
    assert verdict.usable is False and verdict.reasons == ("Target: The certificate of b2:9093 has expired.",)
    earlier = replace(refused, step="tcp", ok=True)
    assert judge(replace(REPORT, brokers=(*PROBES, earlier, refused)), NEEDS).usable is False
    verdict = judge(replace(REPORT, brokers=PROBES[:1]), NEEDS)
    assert verdict.usable is None and "target" in verdict.reasons[0]


def test_nothing_measured_or_too_long_ago_is_unknown() -> None:
    assert judge(None, NEEDS).usable is None
    assert judge(replace(REPORT, measured_at_ms=None), NEEDS).usable is None
    assert judge(REPORT, replace(NEEDS, not_before_ms=1_001)).usable is None


def test_a_stop_outweighs_the_unknown_and_both_are_named() -> None:
    verdict = judged(sudo=False, memory_bytes=None)
    assert verdict.usable is False and len(verdict.reasons) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([*HostFacts.__dataclass_fields__])


@given(JSON, st.dictionaries(NAMES, JSON, max_size=6), JSON)
def test_a_garbled_report_is_never_usable(measured: Any, facts: dict[str, Any], brokers: Any) -> None:
    report = HostReport.from_dict({"measured_at_ms": measured, "facts": facts, "brokers": brokers})
    assert judge(report, NEEDS).usable is not True


def test_a_report_is_read_as_it_was_written() -> None:
    document = {
        "schema": 1,
        "host": "w1",
        "measured_at_ms": 1_000,
        "facts": {
            **{name: getattr(FACTS, name) for name in HostFacts.__dataclass_fields__},
            "busy_ports": [22],
            "workers": [{"name": "shop-1", "state": "running", "version": "kafka-3.9.2-ab"}],
        },
        "brokers": [{name: getattr(PROBES[0], name) for name in BrokerProbe.__dataclass_fields__}],
    }
    facts = replace(FACTS, busy_ports=(22,), workers=(WorkerSeen("shop-1", "running", "kafka-3.9.2-ab"),))
    assert HostReport.from_dict(json.loads(json.dumps(document))) == HostReport("w1", 1_000, facts, PROBES[:1])


def test_workers_are_spread_over_zones_then_hosts() -> None:
    hosts = [Candidate(name, True, 8 * GIB) for name in ("a1", "a2", "a3", "b1")]
    zones = {"a1": "a", "a2": "a", "a3": "a", "b1": "b"}
    found = assign(hosts, 5, GIB, [], zones, task="shop")
    assert found.hosts[:2] == ["a1", "b1"] and sorted(found.hosts[:4]) == ["a1", "a2", "a3", "b1"]
    assert found.hosts[4] == "b1" and found.missing == 0


def test_the_machine_with_the_smallest_part_promised_comes_first() -> None:
    hosts = [Candidate("w1", True, 8 * GIB), Candidate("w2", True, 8 * GIB)]
    found = assign(hosts, 1, GIB, [Placed("w1", "hr", GIB)], {}, task="shop")
    assert found.hosts == ["w2"] and "w2" in found.seats[0].why


def test_why_there_are_not_enough_is_said_per_machine() -> None:
    hosts = [
        Candidate("w1", True, 3 * GIB),
        Candidate("w2", False, 8 * GIB),
        Candidate("w3", None),
        Candidate("w4", True),
    ]
    found = assign(hosts, 2, GIB, [], {}, task="shop")
    assert (found.hosts, found.missing) == (["w1"], 1)
    assert [words.split(":")[0] for words in found.why_not] == ["w1", "w2", "w3", "w4"]
    assert "0.2 GiB" in found.why_not[0] and "1.8 GiB" in found.why_not[0] and "not known" in found.why_not[3]
    assert assign([], 1, GIB, [], {}, task="shop").why_not


HOSTS = st.lists(
    st.tuples(st.sampled_from([True, True, True, False, None]), st.none() | st.integers(0, 12), st.sampled_from("abc")),
    max_size=6,
)
PLACED = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["shop", "hr"]), st.sampled_from([1, 2])), max_size=8)


@given(HOSTS, st.integers(0, 8), st.sampled_from([1, 2]), PLACED, st.randoms())
def test_an_assignment_is_always_sound(hosts: Any, wanted: int, heap: int, placed: Any, random: Any) -> None:
    candidates = [
        Candidate(f"w{number}", usable, None if gib is None else gib * GIB)
        for number, (usable, gib, _) in enumerate(hosts)
    ]
    zones: dict[str, str | None] = {f"w{number}": zone for number, (_, _, zone) in enumerate(hosts)}
    workers = [Placed(f"w{number}", task, gib * GIB) for number, task, gib in placed]
    found = assign(candidates, wanted, heap * GIB, workers, zones, task="shop")
    assert len(found.seats) + found.missing == wanted

    promised = {
        one.name: sum(fleet.worker_bytes(w.heap_bytes) for w in workers if w.host == one.name) for one in candidates
    }
    own = {one.name: sum(w.host == one.name and w.task == "shop" for w in workers) for one in candidates}

    def has_room(one: Candidate) -> bool:
        room = (one.memory_bytes or 0) - fleet.OS_RESERVE_BYTES - promised[one.name]
        return one.usable is True and one.memory_bytes is not None and room >= fleet.worker_bytes(heap * GIB)

    for host in found.hosts:
        chosen = next(one for one in candidates if one.name == host)
        assert has_room(chosen)
        assert own[host] == min(own[one.name] for one in candidates if has_room(one))
        promised[host] += fleet.worker_bytes(heap * GIB)
        own[host] += 1
    if found.missing:
        assert not any(has_room(one) for one in candidates) and len(found.why_not) == max(1, len(candidates))

    shuffled = list(candidates)
    random.shuffle(shuffled)
    assert assign(shuffled, wanted, heap * GIB, workers, zones, task="shop") == found
