"""The lab's home, its migration directory and its systems, without any broker."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kferry.domain.errors import KferryError
from kferry.lab import migration, oracle
from kferry.lab.home import LabHome, free_ports, is_port_free, new_facts
from kferry.lab.payloads import PayloadMaker
from kferry.lab.systems import GROUPS, TOPICS


@pytest.fixture
def home(tmp_path: Path) -> LabHome:
    made = LabHome(tmp_path / "lab")
    made.prepare()
    yield made
    made.runtime.rmdir()


def _run(home: LabHome, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "KFERRY_LAB_HOME"}
    return subprocess.run(
        [sys.executable, "-m", "kferry.lab", *arguments, "--home", str(home.root)],
        capture_output=True,
        text=True,
        input=text,
        env=environment,
        check=False,
    )


def test_ports_are_free_and_kept(home: LabHome) -> None:
    facts = new_facts(home)
    home.write_facts(facts)
    assert home.read_facts() == json.loads(json.dumps(facts))
    ports = [facts[cluster][key] for cluster in ("source", "target") for key in ("port", "controller_port")]
    assert len(set(ports)) == 4
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as taken:
        assert not is_port_free(taken.getsockname()[1])


def test_one_holder_of_the_lock(home: LabHome) -> None:
    first = home.take_lock()
    assert first is not None
    assert home.take_lock() is None
    os.close(first)
    second = home.take_lock()
    assert second is not None
    os.close(second)


def test_a_home_without_a_lab_is_said_so(home: LabHome) -> None:
    with pytest.raises(KferryError, match="There is no lab"):
        home.read_facts()
    for verb in (["status"], ["ledger"], ["oracle"], ["migration", "x"]):
        done = _run(home, *verb)
        assert (done.returncode, done.stdout) == (2, "")
        assert "There is no lab" in done.stderr
        assert "Traceback" not in done.stderr
    assert _run(home, "stop").returncode == 0


def test_damaged_facts_are_said_so(home: LabHome) -> None:
    home.facts_file.write_text("{", encoding="utf-8")
    done = _run(home, "status")
    assert done.returncode == 1
    assert "lab.json cannot be read" in done.stderr


def test_tell_without_a_running_lab(home: LabHome) -> None:
    home.write_facts(new_facts(home))
    request = {"action": "stop_consumers", "cluster": "source", "groups": ["billing"]}
    assert "not running" in _run(home, "tell", text=json.dumps(request)).stderr
    assert _run(home, "tell", text="{").returncode == 2
    unknown = _run(home, "tell", text=json.dumps({**request, "groups": ["[/]"]}))
    assert unknown.returncode == 2
    assert "'[/]'" in unknown.stderr


def test_the_migration_directory_is_written_once(home: LabHome, tmp_path: Path) -> None:
    facts = new_facts(home)
    home.write_facts(facts)
    folder = tmp_path / "move"
    assert len(migration.write(home, folder)) == 3
    settings = yaml.safe_load((folder / "kferry.yml").read_text())
    assert len(settings["migration_id"]) == 6
    assert settings["owner_hooks"]["start_producers"][1:4] == ["-m", "kferry.lab", "tell"]
    clusters = yaml.safe_load((folder / "inventory/group_vars/all/clusters.yml").read_text())["kferry_clusters"]
    assert clusters["target"]["bootstrap_servers"] == facts["target"]["bootstrap_servers"]
    hosts = yaml.safe_load((folder / "inventory/hosts.yml").read_text())
    assert hosts["kferry_workers"]["hosts"]["local-1"]["ansible_connection"] == "local"
    (folder / "inventory/hosts.yml").unlink()
    assert migration.write(home, folder) == [folder / "inventory/hosts.yml"]
    assert yaml.safe_load((folder / "kferry.yml").read_text()) == settings


def test_the_systems_fit_together() -> None:
    assert sum(topic.rate_share for topic in TOPICS.values()) == pytest.approx(1)
    assert sum(topic.backlog_share for topic in TOPICS.values()) == pytest.approx(1, abs=0.01)
    for group in GROUPS.values():
        assert set(group.topics) <= set(TOPICS)


@pytest.mark.parametrize("name", list(TOPICS))
def test_payloads_stay_out_of_the_empty_partitions(name: str) -> None:
    topic = TOPICS[name]
    maker = PayloadMaker(topic, seed=1)
    made = [maker.make(f"source/{name}/{number}", number) for number in range(2000)]
    partitions = {payload.partition for payload in made}
    assert partitions == set(range(topic.partitions)) - topic.empty_partitions
    assert any(payload.value is None for payload in made) == bool(topic.tombstone_share)
    sizes = [len(payload.value) for payload in made if payload.value is not None]
    assert abs(sum(sizes) / len(sizes) - topic.record_bytes) < 40
    json.loads(next(payload.value for payload in made if payload.value is not None))
    places = {key: {p.partition for p in made if p.key == key} for key in {p.key for p in made}}
    assert all(len(found) == 1 for found in places.values())  # a key stays in its partition


def test_a_handover_without_records_is_ok_and_counts_nothing(home: LabHome) -> None:
    verdict = oracle.handover(home, ["billing"])
    assert verdict["ok"]
    assert verdict["groups"]["billing"]["processed_on_source"] == 0
