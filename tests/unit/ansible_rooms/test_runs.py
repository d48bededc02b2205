"""A real play in a child of its own: what it writes, how it is found again and ended, and what it leaves."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kferry.ansible import runs
from kferry.ansible.content import find_content
from kferry.ansible.events import HIDDEN, Redactor, failure_message, translate
from kferry.domain.errors import KferryError

pytestmark = pytest.mark.thorough

DEADLINE_SECONDS = 120.0
SECRET = "canary-9f31"


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    folder = tmp_path / "migration" / "inventory"
    folder.mkdir(parents=True)
    (folder.parent / "tasks").mkdir()
    (folder / "hosts.yml").write_text("kferry_workers:\n  hosts:\n    local-1:\n      ansible_connection: local\n")
    return folder


def write_task(inventory: Path, **more: Any) -> None:
    document = {"schema": 1, "task": "shop", "workers": [], "connectors": [], "rest_urls": ["http://127.0.0.1:1"]}
    document["install"] = {"root": "/nowhere", "service_manager": "supervisor"}
    (inventory.parent / "tasks" / "shop.json").write_text(json.dumps({**document, **more}))


def finish(run_dir: Path) -> runs.PlayResult:
    return wait_for(lambda: runs.result(run_dir))  # type: ignore[no-any-return]


def test_a_play_is_followed_and_leaves_no_secret(inventory: Path, tmp_path: Path) -> None:
    write_task(inventory)
    run_dir = tmp_path / "run"
    pid = runs.start(run_dir, "r-ok", runs.PlayRequest("task", inventory, task="shop"), {"KFERRY_SECRET_X": SECRET})
    assert os.getsid(pid) == pid
    result = finish(run_dir)
    assert result.ok and result.changed == 0 and result.rc == 0, (run_dir / "output.log").read_text()
    events = runs.EventTail(run_dir).read()
    assert events[0].kind == "play" and events[-1].kind == "stats"
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert all(event.at_ms > 1_600_000_000_000 for event in events)
    assert run_dir.stat().st_mode & 0o777 == 0o700
    assert not (run_dir / "private").exists()
    for path in run_dir.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
        assert SECRET not in path.read_text()
    wait_for(lambda: "r-ok" not in runs.survivors())


def test_a_failure_carries_the_modules_own_words(inventory: Path, tmp_path: Path) -> None:
    connectors = [{"name": "k", "state": "running", "config": {}}]
    write_task(inventory, connectors=connectors, rest_urls=["ftp://nowhere"])
    run_dir = tmp_path / "run"
    runs.start(run_dir, "r-bad", runs.PlayRequest("task", inventory, task="shop"), {})
    result = finish(run_dir)
    assert result.status == "failed" and result.rc != 0
    assert "traceback" not in result.failures[0].message
    assert "'ftp://nowhere' is not an http address" in result.failures[0].message
    assert result.failures[0].host == "local-1"
    assert [event.kind for event in runs.EventTail(run_dir).read()].count("failed") == 1


def test_a_play_that_reached_no_host_is_no_success(inventory: Path, tmp_path: Path) -> None:
    (inventory / "hosts.yml").write_text("all:\n  hosts: {}\n")
    run_dir = tmp_path / "run"
    runs.start(run_dir, "r-none", runs.PlayRequest("task", inventory), {})
    result = finish(run_dir)
    assert result.status == "failed" and "kferry_workers" in result.failures[0].message


def test_a_running_play_is_found_and_ended_with_all_it_started(inventory: Path, tmp_path: Path) -> None:
    # A port that accepts and never answers keeps the module waiting.
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        write_task(inventory, connectors=[{"name": "k", "state": "running", "config": {}}], rest_urls=[url])
        run_dir = tmp_path / "run"
        pid = runs.start(run_dir, "r-kill", runs.PlayRequest("task", inventory, task="shop"), {})
        silent.settimeout(DEADLINE_SECONDS)
        silent.accept()[0].close()
        assert runs.survivors()["r-kill"] == pid
        runs.kill("r-kill", grace_seconds=2.0)
    assert "r-kill" not in runs.survivors()
    assert "r-kill" not in {run_id for _, run_id in runs._marked()}
    outcome = runs.result(run_dir)
    assert outcome is None or outcome.status != "successful"


@pytest.mark.parametrize("name", ["../shop", "-e", "a b", "{{ 1 }}", ""])
def test_odd_names_never_reach_a_command_line(name: str, inventory: Path, tmp_path: Path) -> None:
    for request in (runs.PlayRequest("task", inventory, task=name), runs.PlayRequest("task", inventory, limit=name)):
        with pytest.raises(KferryError):
            runs.start(tmp_path / "run", "r", request, {})
    assert not (tmp_path / "run").exists()


def test_a_half_written_line_waits(tmp_path: Path) -> None:
    tail = runs.EventTail(tmp_path)
    assert tail.read() == []
    event = translate({"event": "playbook_on_play_start", "created": "2026-01-01T00:00:00+00:00"}, 1, Redactor({}))
    assert event is not None
    line = json.dumps(event.as_dict()) + "\n"
    path = tmp_path / "events.jsonl"
    path.write_text(line + line[:20])
    assert tail.read() == [event]
    path.write_text(line + line)
    assert tail.read() == [event] and tail.read() == []


def test_messages_and_diffs_are_taken_from_the_module() -> None:
    assert (
        failure_message({"msg": "MODULE FAILURE", "module_stderr": "Traceback (most\n x\nValueError: no"})
        == "ValueError: no"
    )
    assert failure_message({"msg": "All items", "results": [{"failed": True, "msg": "a"}, {"msg": "b"}]}) == "a"
    raw = {
        "event": "runner_on_ok",
        "event_data": {
            "host": "h",
            "task": "t",
            "res": {"changed": True, "diff": {"before": "a\n", "after": f"{SECRET}\n"}, "msg": f"has {SECRET}"},
        },
    }
    event = translate(raw, 1, Redactor({"KFERRY_SECRET_A": SECRET}))
    assert event is not None and event.kind == "changed"
    assert event.message == f"has {HIDDEN}" and f"+{HIDDEN}" in event.diff and "-a" in event.diff


def test_the_content_is_complete() -> None:
    content = find_content()
    assert content.config.is_file() and content.playbook("workers.yml") == content.playbook("workers")
    with pytest.raises(KferryError):
        content.playbook("../roles/x")
