"""A migration directory whose workers are real hosts, and plain ansible-playbook on it."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from kferry.ansible.content import find_content
from kferry.ansible.dist import Distribution
from kferry.domain import connectors
from kferry.domain.model import ClusterConfig, ClusterKind, Role, TaskSpec, WorkerSpec
from plays.harness import Broker
from support.test_hosts import TestHost, TestHosts

ROOT = "/opt/kferry"
PASSWORD = "rest-canary \\ ${x} 'ä\""
HEAP_BYTES = 384 * 2**20
PORTS = {"shop": 18083, "hr": 18093, "iot": 18103}
SECRETS = {"KFERRY_SECRET_REST_PASSWORD": PASSWORD}


class Fleet:
    """A migration directory whose workers are the hosts, and the plain command line on it."""

    def __init__(self, root: Path, factory: TestHosts, broker: Broker, distribution: Distribution) -> None:
        self.root = root
        self.factory = factory
        self.broker = broker
        self.kafka = {
            "version": distribution.version,
            "archive": str(distribution.archive),
            "sha256": distribution.sha256,
        }
        (root / "inventory").mkdir(parents=True)
        (root / "tasks").mkdir()

    def use(self, hosts: list[TestHost], **variables: Any) -> None:
        self.factory.write_known_hosts(self.root / "known_hosts", hosts)
        content = {host.name: {**self.factory.variables(host), **variables} for host in hosts}
        (self.root / "inventory" / "hosts.yml").write_text(yaml.safe_dump({"kferry_workers": {"hosts": content}}))

    def write(
        self,
        task: str,
        hosts: list[TestHost],
        absent: tuple[str, ...] = (),
        clusters: tuple[ClusterConfig, ClusterConfig] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """The task file; `clusters` are source and target where they are not the plain broker."""
        plain = self.broker.bootstrap_servers
        source, target = clusters or (
            ClusterConfig(Role.SOURCE, ClusterKind.APACHE_KAFKA, plain),
            ClusterConfig(Role.TARGET, ClusterKind.AUTOMQ, plain),
        )
        workers = tuple(
            WorkerSpec(f"{task}-{host.name}", host.name, host.address, PORTS[task], HEAP_BYTES, PORTS[task] + 1317)
            for host in hosts
        )
        spec = TaskSpec(task, "k3f9x2", task, 1, ("none.such",), (), workers, 1)
        document = connectors.task_file(
            spec,
            source,
            target,
            install={
                "root": ROOT,
                "service_manager": "systemd",
                "user": f"kferry-{task}",
                "rest_auth": "basic",
                "jre_archive": None,
            },
            kafka=self.kafka,
            java={"home": None, "min_version": 17},
            spec_data={},
            offset_flush_interval_ms=5000,
        )
        # one cluster is both ends here: what copies would copy in a circle
        document["connectors"] = [c for c in document["connectors"] if c["name"].endswith("heartbeat")]
        for worker in document["workers"]:
            worker["state"] = "absent" if worker["name"] in absent else "started"
        document["rest_urls"] = [
            f"http://{w['rest_host']}:{w['rest_port']}" for w in document["workers"] if w["state"] == "started"
        ]
        document |= more
        (self.root / "tasks" / f"{task}.json").write_text(json.dumps(document))
        return document

    def play(self, playbook: str, *arguments: str, env: dict[str, str] | None = None) -> Outcome:
        done = subprocess.run(
            self._command(playbook, *arguments),
            capture_output=True,
            text=True,
            env=self._environment(env),
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            timeout=600,
        )
        return Outcome(done.returncode, done.stdout + done.stderr)

    def start(self, playbook: str, *arguments: str, env: dict[str, str], output: Path) -> subprocess.Popen[bytes]:
        """The same play in a session of its own, for somebody who kills it."""
        with output.open("ab") as log:
            return subprocess.Popen(
                self._command(playbook, *arguments),
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(env),
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _command(self, playbook: str, *arguments: str) -> list[str]:
        path = find_content().playbook(playbook)
        return ["ansible-playbook", "-i", str(self.root / "inventory"), str(path), *arguments]

    def _environment(self, more: dict[str, str] | None) -> dict[str, str]:
        own = {"ANSIBLE_SSH_ARGS": "-o ControlMaster=no -o BatchMode=yes", "ANSIBLE_HOME": str(self.root / "ansible")}
        return find_content().environment({**os.environ, **own}) | (more or {})


def rest(host: TestHost, task: str, path: str = "/connectors", password: str = PASSWORD) -> Any:
    word = base64.b64encode(f"kferry:{password}".encode()).decode()
    request = urllib.request.Request(f"http://{host.address}:{PORTS[task]}{path}")
    request.add_header("Authorization", f"Basic {word}")
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310  (http, written above)
        return json.load(answer)


def shown(host: TestHost, worker: str, name: str) -> str:
    """A property of a worker's unit."""
    unit = f"kferry-worker@{worker}.service"
    return str(host.exec(["systemctl", "show", f"--property={name}", "--value", unit]).stdout.strip())


def main_pid(host: TestHost, worker: str) -> str:
    return shown(host, worker, "MainPID")


def remove_all(host: TestHost) -> None:
    """Whatever other tests installed: the machine is as new but for Java."""
    script = (
        "systemctl stop 'kferry-worker@*' 2>/dev/null; rm -rf /opt/kferry /etc/systemd/system/kferry-worker@*; "
        "rm -f /etc/systemd/system/multi-user.target.wants/kferry-worker@*; systemctl daemon-reload; "
        "for account in $(cut -d: -f1 /etc/passwd | grep ^kferry-); do userdel $account; done; true"
    )
    host.exec(["sh", "-c", script])


class Outcome:
    """What a play said."""

    def __init__(self, rc: int, output: str) -> None:
        self.rc = rc
        self.output = output
        self.changed = sum(int(found) for found in re.findall(r"changed=(\d+)", output))
        self.failed = {
            line.split()[0] for line in output.splitlines() if re.search(r": ok=.*(failed|unreachable)=[1-9]", line)
        }
