"""The process of one business system: it makes its producers and consumers be as the daemon says.

Commands come as JSON lines on stdin, answers go out on stdout. The end of stdin (the daemon is gone) ends it too.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Mapping
from queue import SimpleQueue
from types import FrameType
from typing import Any

from kferry.domain.errors import KferryError
from kferry.lab.consumers import GroupConsumer
from kferry.lab.home import LabHome
from kferry.lab.producers import TopicProducer
from kferry.lab.systems import BusinessSystem, find_system
from kferry.lab.worker import Worker

READY_SECONDS = 90.0
STOP_SECONDS = 40.0

Wanted = Mapping[str, str | None]


class Traffic:
    """The running producers (by topic) and consumers (by group) of one system."""

    def __init__(self, home: LabHome, system: BusinessSystem, facts: Mapping[str, Any]) -> None:
        self._home = home
        self._system = system
        self._facts = facts
        self._workers: dict[tuple[str, str], Worker] = {}

    def apply(self, producers: Wanted, consumers: Wanted) -> None:
        """Stop what should not run, start what should; return when it is so. Raises the first failure."""
        wanted = {("producers", name): cluster for name, cluster in producers.items()}
        wanted |= {("consumers", name): cluster for name, cluster in consumers.items()}
        self._stop([slot for slot, worker in self._workers.items() if wanted.get(slot) != worker.cluster])
        started = []
        for slot, cluster in wanted.items():
            if cluster is not None and slot not in self._workers:
                self._workers[slot] = self._make(slot, cluster)
                self._workers[slot].start()
                started.append(slot)
        self._wait_ready(started)

    def stop_all(self) -> None:
        self._stop(list(self._workers))

    def status(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {"producers": {}, "consumers": {}}
        for (kind, name), worker in list(self._workers.items()):
            found[kind][name] = worker.status()
        return found

    def _make(self, slot: tuple[str, str], cluster: str) -> Worker:
        kind, name = slot
        bootstrap_servers = self._facts[cluster]["bootstrap_servers"]
        if kind == "consumers":
            group = next(group for group in self._system.groups if group.group_id == name)
            return GroupConsumer(self._home, group, cluster, bootstrap_servers)
        return TopicProducer(
            self._home,
            next(topic for topic in self._system.topics if topic.name == name),
            cluster,
            bootstrap_servers,
            bytes_per_second=self._facts["rate_bytes_per_second"],
            backlog_records=self._facts["backlog_records"],
        )

    def _wait_ready(self, slots: list[tuple[str, str]]) -> None:
        failures = []
        for slot in slots:
            try:
                self._workers[slot].wait_ready(READY_SECONDS)
            except KferryError as error:
                failures.append(error)
                self._workers.pop(slot).ask_to_stop()
        if failures:
            raise failures[0]

    def _stop(self, slots: list[tuple[str, str]]) -> None:
        workers = [self._workers.pop(slot) for slot in slots]
        for worker in workers:
            worker.ask_to_stop()
        failures = []
        for worker in workers:
            try:
                worker.wait_stopped(STOP_SECONDS)
            except KferryError as error:
                failures.append(error)
        if failures:
            raise failures[0]


def run(home: LabHome, system_name: str) -> int:
    """Serve the daemon until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    traffic = Traffic(home, find_system(system_name), home.read_facts())
    commands: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    carrier = threading.Thread(target=_carry_out, args=(traffic, commands), name="commands", daemon=True)
    carrier.start()
    try:
        for line in sys.stdin:
            command = json.loads(line)
            if command["do"] == "status":  # answered at once, also while something is being started
                _answer(command["id"], status=traffic.status())
            else:
                commands.put(command)
    finally:
        commands.put(None)
        carrier.join(2 * STOP_SECONDS)
    return 0


def _carry_out(traffic: Traffic, commands: SimpleQueue[dict[str, Any] | None]) -> None:
    while (command := commands.get()) is not None:
        try:
            traffic.apply(command["producers"], command["consumers"])
        except KferryError as error:
            _answer(command["id"], error=error.as_dict())
        else:
            _answer(command["id"])
    traffic.stop_all()


_output = threading.Lock()


def _answer(number: int, **body: Any) -> None:
    try:
        with _output:
            sys.stdout.write(json.dumps({"id": number, **body}) + "\n")
            sys.stdout.flush()
    except BrokenPipeError:
        pass  # the daemon is gone; the end of stdin ends us


def _leave(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
