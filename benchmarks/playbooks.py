"""P17: what the roles cost over SSH, as ratios: no-change re-run, one more worker, a warm distribution.

python -m benchmarks.playbooks      as root, with podman and the images of `make hosts`
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from confluent_kafka.admin import AclOperation, ResourceType

from benchmarks.far import far_away
from benchmarks.figures import describe_machine, end_on_signals, number, ratio_line, say, summary
from kferry.ansible.content import find_content
from kferry.domain.model import ClusterConfig, ClusterKind, Role, TaskSpec, WorkerSpec
from kferry.engine.secrets import jaas
from support import test_hosts
from support.remote_task import write_task_file
from support.secured_brokers import SecuredBrokers
from support.test_hosts import TestHost, TestHosts

TASK = "shop"
HEAP_BYTES = 384 * 1024 * 1024
REST_PORT, METRICS_PORT = 18083, 18084
PLAY_TIMEOUT_SECONDS = 400.0
NO_CHANGE_GOAL, ONE_MORE_GOAL, WARM_GOAL = 0.4, 1.2, 0.2
# how long the worker's own process needs until it answers is the same with and without a distribution
START_OF_WORKER = "kafka_connect : Wait for the workers"
_RECAP = re.compile(r"changed=(\d+)")
_STEP = re.compile(r"(?:TASK|RUNNING HANDLER) \[(.*)\]")


@dataclass(slots=True)
class Played:
    """One run of a playbook: its time, how many steps changed something, and the time of each step."""

    seconds: float
    changed: int
    steps: dict[str, float] = field(default_factory=dict)

    @property
    def installing_seconds(self) -> float:
        """Its time without the wait for a worker's process to answer."""
        return self.seconds - self.steps.get(START_OF_WORKER, 0.0)


class Directory:
    """A migration directory with one task, and the plain command line on it."""

    def __init__(
        self,
        root: Path,
        clusters: Mapping[Role, ClusterConfig],
        secret_values: Mapping[str, str],
        port_of: Callable[[TestHost], int],
    ) -> None:
        self.root = root
        self._clusters = clusters
        self._secrets = dict(secret_values)
        self._port_of = port_of
        (root / "inventory").mkdir(parents=True)
        (root / "tasks").mkdir()

    def write(
        self,
        factory: TestHosts,
        hosts: Sequence[TestHost],
        *,
        started: Sequence[TestHost],
        absent: Sequence[TestHost] = (),
    ) -> None:
        """Inventory, pinned keys and the task file: a worker on each host that has one, none on the absent."""
        variables = {host.name: factory.variables(host) for host in hosts}
        pinned = [f"{host.address} {host.host_key}" for host in hosts]
        for host in hosts:
            if near_port := self._port_of(host):
                variables[host.name] |= {"ansible_host": "127.0.0.1", "ansible_port": near_port}
                pinned.append(f"[127.0.0.1]:{near_port} {host.host_key}")
        inventory = {"kferry_workers": {"hosts": variables}}
        (self.root / "inventory" / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
        (self.root / "known_hosts").write_text("".join(f"{line}\n" for line in pinned), encoding="utf-8")
        spec = TaskSpec(
            TASK,
            "bench1",
            TASK,
            1,
            ("shop.orders",),
            (),
            tuple(_worker(host) for host in started),
            2,
            is_remote=True,
            leaving=tuple(_worker(host) for host in absent),
        )
        clusters = self._clusters
        path = self.root / "tasks" / f"{TASK}.json"
        write_task_file(path, spec, clusters[Role.SOURCE], clusters[Role.TARGET])

    def play(self, playbook: str = "workers", *, defaults: bool = False) -> Played:
        """Run a playbook from a cold start (no SSH connection is open); raises where it fails.

        With `defaults` nothing of our ansible.cfg is in force but the paths without which no role would be found.
        """
        content = find_content()
        # short: the path of a socket
        control = Path(tempfile.mkdtemp(prefix="kfb-"))
        environment = content.environment({name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ})
        environment |= {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(control), **self._secrets}
        if defaults:
            nothing = self.root / "defaults.cfg"  # Ansible takes no file without this ending
            nothing.write_text("[defaults]\n", encoding="utf-8")
            environment |= {
                "ANSIBLE_CONFIG": str(nothing),
                "ANSIBLE_MODULE_UTILS": str(content.roles / "kafka_connect" / "module_utils"),
            }
        argv = ["ansible-playbook", "-i", str(self.root / "inventory"), str(content.playbook(playbook))]
        argv += ["-e", f"kferry_task={TASK}"]
        try:
            return _timed(argv, environment, self.root)
        finally:
            for socket in control.iterdir():  # the connection would outlive the play by a minute
                subprocess.run(
                    ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "host"], capture_output=True, check=False
                )
            shutil.rmtree(control, ignore_errors=True)


def _worker(host: TestHost) -> WorkerSpec:
    return WorkerSpec(f"{TASK}-{host.name}", host.name, host.address, REST_PORT, HEAP_BYTES, METRICS_PORT)


def _timed(argv: Sequence[str], environment: Mapping[str, str], folder: Path) -> Played:
    began = time.monotonic()
    lines: list[str] = []
    steps: dict[str, float] = {}
    step, since = "start of Ansible", began
    with subprocess.Popen(
        argv,
        env=environment,
        cwd=folder,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None  # noqa: S101
        try:
            for line in process.stdout:
                lines.append(line)
                found = _STEP.match(line)
                if found:
                    now = time.monotonic()
                    steps[step] = steps.get(step, 0.0) + now - since
                    step, since = found[1], now
                if time.monotonic() - began > PLAY_TIMEOUT_SECONDS:
                    break
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(30)
    seconds = time.monotonic() - began
    steps[step] = steps.get(step, 0.0) + began + seconds - since
    text = "".join(lines)
    if process.returncode:
        raise SystemExit(f"{' '.join(argv)} ended with {process.returncode}:\n{text[-4000:]}")
    return Played(seconds, sum(int(found) for found in _RECAP.findall(text)), steps)


def _profile(what: str, played: Played, count: int = 14) -> None:
    say(f"  {what}: {played.seconds:.1f} s, of which")
    for step, seconds in sorted(played.steps.items(), key=lambda item: -item[1])[:count]:
        say(f"    {seconds:6.2f} s  {step}")


class Bench:
    """The stage: two secured brokers, hosts that are made as they are needed, and the directory of a small fleet."""

    def __init__(self, folder: Path, factory: TestHosts, brokers: SecuredBrokers, chosen: argparse.Namespace) -> None:
        self._folder = folder
        self._factory = factory
        self._profile = bool(chosen.profile)
        self._round_trip_seconds = chosen.round_trip_ms / 1000
        self._ports: dict[str, int] = {}
        self._ways = ExitStack()
        password = folder / "password"
        password.touch(mode=0o600)
        password.write_text(brokers.passwords["kferry"], encoding="utf-8")
        self._clusters = {
            role: ClusterConfig(
                role,
                ClusterKind.APACHE_KAFKA if role is Role.SOURCE else ClusterKind.AUTOMQ,
                brokers.broker(role.value).listener("SASL_PLAINTEXT"),
                "SASL_PLAINTEXT",
                "SCRAM-SHA-512",
                "kferry",
                f"file:{password}",
            )
            for role in Role
        }
        self._secrets = {f"KFERRY_SECRET_{role.name}_JAAS": jaas(config) for role, config in self._clusters.items()}
        self._secrets["KFERRY_SECRET_REST_PASSWORD"] = secrets.token_urlsafe(24)
        self._made = 0
        self.installing: dict[str, list[float]] = defaultdict(list)
        self.fleet = self._directory()
        self.fleet_hosts: list[TestHost] = []
        self.times: dict[str, list[float]] = {
            name: [] for name in ("first", "one more", "warm", "no change", "no change, defaults")
        }

    def _directory(self) -> Directory:
        self._made += 1
        return Directory(self._folder / f"m{self._made}", self._clusters, self._secrets, self._port_of)

    def _port_of(self, host: TestHost) -> int:
        """The port here that leads to a far host; 0 where it is reached directly."""
        if self._round_trip_seconds and host.name not in self._ports:
            way = far_away(host.address, 22, self._round_trip_seconds)
            self._ports[host.name] = self._ways.enter_context(way)
        return self._ports.get(host.name, 0)

    def close(self) -> None:
        self._ways.close()

    def fresh_host(self) -> TestHost:
        self._made += 1
        return self._factory.start(f"h{self._made}")[0]

    def note(self, name: str, played: Played) -> None:
        self.times[name].append(played.seconds)
        self.installing[name].append(played.installing_seconds)
        say(f"  {name}: {played.seconds:.1f} s, {played.changed} changed")
        if self._profile and len(self.times[name]) == 1:
            _profile(name, played)

    def provision(self) -> None:
        """The first worker on a fresh machine; then, its worker removed and the version still there, again."""
        host, directory = self.fresh_host(), self._directory()
        directory.write(self._factory, [host], started=[host])
        self.note("first", directory.play())
        directory.write(self._factory, [host], started=[], absent=[host])
        directory.play()
        directory.write(self._factory, [host], started=[host])
        warm = directory.play()
        if not warm.changed:
            raise SystemExit("The worker had not been removed: nothing was changed by the warm run.")
        self.note("warm", warm)
        self._factory.remove(host)

    def one_more(self) -> None:
        """A worker on a fresh machine beside one that runs; only the last machine is kept."""
        if not self.fleet_hosts:
            self.fleet_hosts = [self.fresh_host()]
            self.fleet.write(self._factory, self.fleet_hosts, started=self.fleet_hosts)
            self.fleet.play()
        elif len(self.fleet_hosts) > 1:
            self._factory.remove(self.fleet_hosts.pop())
        self.fleet_hosts.append(self.fresh_host())
        self.fleet.write(self._factory, self.fleet_hosts, started=self.fleet_hosts)
        self.note("one more", self.fleet.play())

    def no_change(self, *, defaults: bool) -> None:
        played = self.fleet.play(defaults=defaults)
        if played.changed:
            raise SystemExit(f"A re-run without a change has changed {played.changed} things.")
        self.note("no change, defaults" if defaults else "no change", played)

    def run(self, repetitions: int, no_change_repetitions: int) -> None:
        for repetition in range(max(repetitions, no_change_repetitions)):
            say(f"repetition {repetition + 1}")
            even = repetition % 2 == 0
            if repetition < repetitions:
                sides = [self.provision, self.one_more]
                for side in sides if even else reversed(sides):
                    side()
            elif not self.fleet_hosts:
                self.one_more()
            if repetition < no_change_repetitions:
                for defaults in (False, True) if even else (True, False):
                    self.no_change(defaults=defaults)

    def report(self) -> None:
        say()
        for name, seconds in self.times.items():
            say(f"{name}, seconds: {summary(seconds)}")
        times = self.times
        say()
        say(
            ratio_line(
                "no change, ours / Ansible defaults", times["no change"], times["no change, defaults"], NO_CHANGE_GOAL
            )
        )
        say(ratio_line("one more worker / the first", times["one more"], times["first"], ONE_MORE_GOAL))
        say(ratio_line("warm distribution / the first", times["warm"], times["first"], WARM_GOAL))
        installing = self.installing
        say("without the wait for the worker's process to answer:")
        say(ratio_line("one more worker / the first", installing["one more"], installing["first"], ONE_MORE_GOAL))
        say(ratio_line("warm distribution / the first", installing["warm"], installing["first"], WARM_GOAL))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code. A goal that is not met is no failure: figures are never a gate."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.playbooks", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3, help="installations of each kind")
    parser.add_argument("--no-change", type=int, default=5, help="re-runs without a change of each kind")
    parser.add_argument(
        "--round-trip-ms", type=float, default=0.0, help="how far the hosts are away, on top of nothing"
    )
    parser.add_argument("--profile", action="store_true", help="show the longest steps of the first run of each kind")
    chosen = parser.parse_args(argv)
    missing = test_hosts.what_is_missing(["bookworm"])
    if missing:
        say(f"Left out: {missing}")
        return 3
    end_on_signals()
    say(describe_machine())
    say(f"podman containers that boot systemd (Debian 12), over SSH, round trip +{chosen.round_trip_ms:g} ms")
    folder = Path(tempfile.mkdtemp(prefix="kfb-"))
    began = time.monotonic()
    try:
        with TestHosts(folder / "hosts", uuid.uuid4().hex) as factory:
            anchor = factory.start("gateway")  # the network's address on this machine exists while a host runs
            with SecuredBrokers(folder / "brokers", factory.gateway) as brokers:
                for resource in (ResourceType.TOPIC, ResourceType.GROUP):
                    brokers.target.allow("kferry", resource, "*", AclOperation.ALL)
                bench = Bench(folder, factory, brokers, chosen)
                try:
                    bench.run(chosen.repetitions, chosen.no_change)
                finally:
                    bench.close()
                    bench.report()
            factory.remove(anchor[0])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"took {number((time.monotonic() - began) / 60)} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
