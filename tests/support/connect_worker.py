"""One real Connect worker with the properties and secrets that kferry would give it, without a playbook."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from support.broker import java_command, kafka_class_path
from support.waiting import wait_until

_ROLE = Path(__file__).parents[2] / "roles" / "kafka_connect"
_START_DEADLINE_SECONDS = 60.0
_STOP_SECONDS = 20.0
_ANSWER_SECONDS = 30.0
_LOGGING = """\
log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %m (%c)%n
"""


def properties_text(values: Mapping[str, str]) -> str:
    """A properties file just as the role writes it."""
    utilities = str(_ROLE / "module_utils")
    sys.path.insert(0, utilities)
    try:
        from kferry_files import properties_text as written
    finally:
        sys.path.remove(utilities)
    return str(written(values))


def security_flags() -> list[str]:
    """The options of the JVM that narrow what configs may do, just as the role sets them."""
    tree = ast.parse((_ROLE / "library" / "kferry_worker.py").read_text(encoding="utf-8"))
    (found,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "SECURITY_FLAGS"
    )
    return list(ast.literal_eval(found))


class ConnectWorker:
    """A running worker; `put` and `status` speak with its REST interface."""

    def __init__(self, url: str, log: Path, process: subprocess.Popen[bytes]) -> None:
        self.url = url
        self.log = log
        self.process = process

    def put(self, name: str, config: Mapping[str, str]) -> None:
        self._ask("PUT", f"/connectors/{name}/config", dict(config)).raise_for_status()

    def status(self, name: str) -> dict[str, Any]:
        """The status, or {} while Connect does not know the connector."""
        answer = self._ask("GET", f"/connectors/{name}/status")
        found: dict[str, Any] = answer.json() if answer.is_success else {}
        return found

    def states(self, name: str) -> list[str]:
        """State of the connector and of each of its tasks."""
        found = self.status(name)
        return [found["connector"]["state"], *(task["state"] for task in found["tasks"])] if found else []

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"The worker ended: {self.log_text()[-4000:]}")
        try:
            return bool(self._ask("GET", "/connectors").is_success)
        except httpx2.HTTPError:
            return False

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def _ask(self, method: str, path: str, body: Mapping[str, str] | None = None) -> httpx2.Response:
        return httpx2.request(method, self.url + path, json=body, timeout=_ANSWER_SECONDS)


@contextmanager
def running_worker(
    folder: Path,
    properties: Mapping[str, str],
    secrets_file: Path,
    secrets: Mapping[str, str],
    *,
    extra_jars: Sequence[Path] = (),
) -> Iterator[ConnectWorker]:
    """Write its files, start it, wait until it answers, and end it."""
    folder.mkdir(parents=True, exist_ok=True)
    secrets_file.parent.mkdir(parents=True, exist_ok=True)
    for path, text in (
        (secrets_file, properties_text(secrets)),
        (folder / "worker.properties", properties_text(properties)),
        (folder / "log4j.properties", _LOGGING),
    ):
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
    class_path = ":".join([kafka_class_path(), *map(str, extra_jars)])
    log = folder / "worker.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [
                java_command(),
                "-Xmx384m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                *security_flags(),
                f"-Dlog4j.configuration=file:{folder / 'log4j.properties'}",
                "-cp",
                class_path,
                "org.apache.kafka.connect.cli.ConnectDistributed",
                str(folder / "worker.properties"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    worker = ConnectWorker(properties["listeners"], log, process)
    try:
        wait_until(worker.answers, _START_DEADLINE_SECONDS, f"the worker answers: {log}")
        yield worker
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
