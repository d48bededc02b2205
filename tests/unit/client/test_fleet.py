"""The fleet: hosts.yml joined with the last check and the workers; what is not known stays unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from kferry.client import fleet
from kferry.client.exit_codes import ExitCode
from kferry.client.session import Session
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from support import seeded_fleet
from support.seeded import MINUTE, NOW_MS


@pytest.fixture
def journal(layout: Layout) -> Journal:
    (layout.inventory / "hosts.yml").write_text(seeded_fleet.HOSTS_YML)
    return Journal(layout.journal)


def words(found: fleet.Fleet) -> dict[str, str]:
    return {machine.name: fleet.word_of(machine) for machine in found.machines}


def test_never_checked_is_unknown_and_no_success(session: Session, journal: Journal) -> None:
    found = fleet.read(session)
    assert set(words(found).values()) == {"unknown"}
    assert found.machines[0].reasons == (fleet.NEVER_CHECKED,)
    assert found.checked_at_ms is None and not found.is_old(NOW_MS)
    assert fleet.worst(found.machines) is ExitCode.NOT_READY


def test_verdicts_zones_and_workers_are_joined(session: Session, journal: Journal) -> None:
    seeded_fleet.put_check(journal, seeded_fleet.hosts())
    seeded_fleet.put_task(journal)
    found = fleet.read(session)
    assert words(found) == {"w1": "usable", "w2": "usable", "w3": "left out", "w4": "silent", "w5": "unknown"}
    one, two = found.machine("w1"), found.machine("w2")
    assert one is not None and two is not None
    assert (one.zone, one.address, one.workers[0].name, one.workers[0].cpu_ratio) == (
        "zone-a",
        "10.0.0.11",
        "shop-1",
        0.41,
    )
    assert two.workers[0].alive is None and two.workers[0].heap_used_bytes is None
    assert fleet.counts(found.machines) == "2 usable, 1 left out, 1 silent, 1 unknown"
    assert fleet.worst(found.machines) is ExitCode.CONNECT


def test_a_check_gets_old(session: Session, journal: Journal) -> None:
    seeded_fleet.put_check(journal, seeded_fleet.hosts(), at_ms=NOW_MS - 61 * MINUTE)
    assert fleet.read(session).is_old(NOW_MS)
    assert not fleet.read(session).is_old(NOW_MS - 2 * MINUTE)


def test_what_left_hosts_yml_is_shown_and_not_called_usable(session: Session, journal: Journal, layout: Layout) -> None:
    seeded_fleet.put_check(journal, seeded_fleet.hosts())
    seeded_fleet.put_task(journal)
    (layout.inventory / "hosts.yml").write_text("kferry_workers:\n  hosts:\n    w9: {ansible_host: 10.0.0.19}\n")
    found = {machine.name: machine for machine in fleet.read(session).machines}
    assert found["w1"].reasons[0] == fleet.STILL_USED
    assert found["w5"].reasons[0] == fleet.NOT_LISTED
    assert found["w1"].usable is None and not found["w1"].is_listed
    assert fleet.worst([found["w1"]]) is ExitCode.OK, "only machines of hosts.yml decide the exit code"


def test_a_broken_hosts_yml_leaves_what_the_journal_knows(session: Session, journal: Journal, layout: Layout) -> None:
    seeded_fleet.put_check(journal, seeded_fleet.hosts())
    (layout.inventory / "hosts.yml").write_text("kferry_workers: [\n")
    found = fleet.read(session)
    assert found.problem is not None and "hosts.yml" in found.problem["title"]
    assert words(found)["w1"] == "usable"


def test_hosts_yml_is_read_again_when_it_changes(layout: Layout, journal: Journal) -> None:
    assert len(fleet.hosts(layout)) == 5
    assert fleet.hosts(layout) is fleet.hosts(layout)
    (layout.inventory / "hosts.yml").write_text("kferry_workers:\n  hosts:\n    here: {ansible_connection: local}\n")
    assert [entry.name for entry in fleet.hosts(layout)] == ["here"]


def test_local_only(session: Session, layout: Layout, tmp_path: Path) -> None:
    (layout.inventory / "hosts.yml").write_text("kferry_workers:\n  hosts:\n    here: {ansible_connection: local}\n")
    assert fleet.read(session).is_local_only
