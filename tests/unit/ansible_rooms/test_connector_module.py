"""kferry_connector, run as Ansible runs it, against a small Connect."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from kferry.ansible.content import find_content

pytestmark = pytest.mark.thorough

SOURCE = "org.apache.kafka.connect.mirror.MirrorSourceConnector"
CHECKPOINT = "org.apache.kafka.connect.mirror.MirrorCheckpointConnector"


class FakeConnect:
    """Keeps connectors in memory. `conflicts` and `lag` let it answer 409 and change states late, as Connect does."""

    def __init__(self) -> None:
        self.connectors: dict[str, dict[str, Any]] = {}
        self.writes: list[str] = []
        self.conflicts = 0
        self.lag = 0
        self.fail_tasks: set[str] = set()
        self.restart_heals = True
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                status, content = fake.handle(self.command, unquote(urlsplit(self.path).path), body)
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = answer  # noqa: N815  (names that the base class looks for)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, name: str, state: str, config: dict[str, str]) -> None:
        self.connectors[name] = {"config": {**config, "name": name}, "state": state, "shown": state, "wait": 0}

    def handle(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if method != "GET":
            if self.conflicts:
                self.conflicts -= 1
                return 409, {"message": "a rebalance is in progress"}
            self.writes.append(f"{method} {path}")
        if path == "/connectors":
            return self._collection(method, body)
        _, _, name, *rest = path.split("/")
        if name not in self.connectors:
            return 404, {"message": f"Connector {name} not found"}
        return self._one(method, name, "/".join(rest), body)

    def _collection(self, method: str, body: Any) -> tuple[int, Any]:
        if method == "POST":
            self.put(body["name"], body.get("initial_state", "RUNNING"), body["config"])
            return 201, {}
        return 200, {
            name: {"info": {"config": found["config"]}, "status": self._status(name)}
            for name, found in self.connectors.items()
        }

    def _one(self, method: str, name: str, rest: str, body: Any) -> tuple[int, Any]:
        found = self.connectors[name]
        if method == "GET":
            content = {"status": self._status, "tasks": lambda n: self._status(n)["tasks"]}.get(rest)
            return 200, content(name) if content else {"name": name}
        if method == "DELETE":
            del self.connectors[name]
        elif rest == "config":
            found["config"] = body
        elif rest == "offsets":
            if found["state"] != "STOPPED":
                return 400, {"message": "must be in the STOPPED state"}
            found["offsets"] = body["offsets"]
        elif rest == "restart":
            if self.restart_heals:
                self.fail_tasks.discard(name)
        else:
            found["state"] = {"resume": "RUNNING", "stop": "STOPPED", "pause": "PAUSED"}[rest]
            found["wait"] = self.lag
        return 202, None

    def _status(self, name: str) -> dict[str, Any]:
        found = self.connectors[name]
        if found["wait"] > 0:
            found["wait"] -= 1
        else:
            found["shown"] = found["state"]
        state = found["shown"]
        tasks = [] if state == "STOPPED" else [{"id": 0, "state": state, "worker_id": "w:1"}]
        if name in self.fail_tasks and tasks:
            tasks[0].update(state="FAILED", trace="org.example.Oops: broken\n\tat x\nCaused by: no route")
        return {"name": name, "connector": {"state": state, "worker_id": "w:1"}, "tasks": tasks}


@pytest.fixture
def connect() -> Iterator[FakeConnect]:
    fake = FakeConnect()
    yield fake
    fake.close()


def run(
    module: ModuleType, connect: FakeConnect, connectors: list[dict[str, Any]], check: bool = False, **more: Any
) -> dict[str, Any]:
    arguments = {
        "rest_urls": [connect.url],
        "connectors": connectors,
        "deadline_seconds": 20,
        "_ansible_check_mode": check,
        "_ansible_diff": True,
        **more,
    }
    shared = find_content().roles / "kafka_connect" / "module_utils"  # as ansible.cfg says
    starter = (
        "import sys, runpy; import ansible.module_utils; ansible.module_utils.__path__.append(sys.argv[3]);"
        "from ansible.module_utils.testing import patch_module_args; import json;"
        "ctx = patch_module_args(json.loads(sys.argv[2])); ctx.__enter__();"
        "runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    answer = subprocess.run(
        [sys.executable, "-c", starter, str(module.__file__), json.dumps(arguments), str(shared)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.stdout, answer.stderr
    return json.loads(answer.stdout)  # type: ignore[no-any-return]


def wanted(state: str = "running", **source: Any) -> list[dict[str, Any]]:
    return [
        {"name": "k-checkpoint", "state": state, "config": {"connector.class": CHECKPOINT}},
        {"name": "k-source", "state": state, "config": {"connector.class": SOURCE, "tasks.max": 2, **source}},
    ]


def test_created_stopped_then_resumed_source_first(connector_module: ModuleType, connect: FakeConnect) -> None:
    dry = run(connector_module, connect, wanted(), check=True)
    assert dry["changed"] and not connect.writes
    made = run(connector_module, connect, wanted())
    assert made["changed"] and made["diff"] == dry["diff"]
    assert connect.writes[-2:] == ["PUT /connectors/k-source/resume", "PUT /connectors/k-checkpoint/resume"]
    again = run(connector_module, connect, wanted())
    assert not again["changed"] and len(connect.writes) == 4


def test_stopped_waits_until_no_connector_task_is_left(connector_module: ModuleType, connect: FakeConnect) -> None:
    run(connector_module, connect, wanted())
    connect.lag = 4
    stopped = run(connector_module, connect, wanted("stopped"))
    assert stopped["changed"] and {(c["state"], c["tasks"]) for c in stopped["connectors"]} == {("stopped", 0)}
    assert not run(connector_module, connect, wanted("stopped"))["changed"]


def test_config_change_shows_and_keeps_secrets_out(connector_module: ModuleType, connect: FakeConnect) -> None:
    run(connector_module, connect, wanted(**{"x.password": "old-canary"}))
    changed = run(connector_module, connect, wanted(**{"x.password": "${file:/s:k}", "y": "{{ 7 * 7 }}"}))
    assert "y = {{ 7 * 7 }}" in changed["diff"]["after"] and "${file:/s:k}" in changed["diff"]["after"]
    assert "old-canary" not in json.dumps(changed["diff"])
    assert connect.connectors["k-source"]["config"]["y"] == "{{ 7 * 7 }}"


def test_a_rebalance_is_waited_out(connector_module: ModuleType, connect: FakeConnect) -> None:
    connect.conflicts = 3
    assert run(connector_module, connect, wanted())["changed"]
    assert set(connect.connectors) == {"k-source", "k-checkpoint"}


def test_the_deadline_says_what_was_wrong(connector_module: ModuleType, connect: FakeConnect) -> None:
    connect.conflicts = 1000
    failed = run(connector_module, connect, wanted(), deadline_seconds=1)
    assert failed["failed"] and "rebalance" in failed["msg"]


def test_another_worker_is_tried(connector_module: ModuleType, connect: FakeConnect) -> None:
    urls = ["http://127.0.0.1:1", connect.url]
    assert run(connector_module, connect, wanted(), rest_urls=urls)["changed"]
    assert run(connector_module, connect, wanted(), rest_urls=["file:///etc/passwd"])["failed"]


def test_a_failed_connector_task_is_restarted_once(connector_module: ModuleType, connect: FakeConnect) -> None:
    run(connector_module, connect, wanted())
    connect.fail_tasks = {"k-source"}
    healed = run(connector_module, connect, wanted())
    assert healed["changed"] and "POST /connectors/k-source/restart" in connect.writes


def test_a_task_that_fails_again_shows_its_trace(connector_module: ModuleType, connect: FakeConnect) -> None:
    run(connector_module, connect, wanted())
    connect.fail_tasks, connect.restart_heals = {"k-source"}, False
    failed = run(connector_module, connect, wanted(), deadline_seconds=2)
    assert failed["failed"] and "org.example.Oops: broken" in failed["msg"] and "no route" in failed["msg"]


def test_offsets_are_given_only_to_a_new_connector(connector_module: ModuleType, connect: FakeConnect) -> None:
    offsets = [{"partition": {"cluster": "s", "topic": "t", "partition": 0}, "offset": {"offset": 41}}]
    connectors = wanted()
    connectors[1]["offsets"] = offsets
    run(connector_module, connect, connectors)
    assert connect.connectors["k-source"]["offsets"] == offsets
    assert not run(connector_module, connect, connectors)["changed"]


def test_absent_and_foreign_connectors(connector_module: ModuleType, connect: FakeConnect) -> None:
    connect.put("foreign", "RUNNING", {})
    run(connector_module, connect, wanted())
    assert run(connector_module, connect, wanted("absent"), check=True)["changed"]
    assert run(connector_module, connect, wanted("absent"))["changed"]
    assert set(connect.connectors) == {"foreign"}
    assert not run(connector_module, connect, wanted("absent"))["changed"]
