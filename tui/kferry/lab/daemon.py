"""The lab's daemon: it starts two brokers and three traffic processes, keeps them running, and ends them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from kferry.domain.errors import KferryError
from kferry.lab.brokers import Broker
from kferry.lab.children import TrafficChild
from kferry.lab.control import ControlServer
from kferry.lab.home import CLUSTERS, LabHome
from kferry.lab.processes import end_marked
from kferry.lab.systems import GROUPS, SYSTEMS, TOPICS
from kferry.lab.tell import changed_state, check_request, first_state
from kferry.lab.topics import create_source_topics, wait_for_broker

log = logging.getLogger(__name__)

APPLY_SECONDS = 240.0
STATUS_SECONDS = 20.0
FLOW_SECONDS = 180.0
BACKLOG_SECONDS = 900.0
BROKER_SECONDS = 180.0
_POLL_SECONDS = 0.2
_RESTART_SECONDS = 2.0

Progress = Callable[..., None]


class Stopped(Exception):  # noqa: N818 - not an error: the lab was asked to end while it started
    """The lab was asked to end."""


class Daemon:
    """One running lab."""

    def __init__(self, home: LabHome, progress: Progress) -> None:
        self._home = home
        self._progress = progress
        self._facts = home.read_facts()
        self._state = home.read_state()
        if not self._state["producers"]:
            self._state = first_state()
        self._phase = "starting"
        self._stopping = threading.Event()
        self._telling = threading.Lock()
        self._brokers = {cluster: Broker(home, cluster, self._facts) for cluster in CLUSTERS}
        self._children: dict[str, TrafficChild] = {}
        self._behind: set[str] = set()  # systems that do not yet do what the state says

    def run(self) -> None:
        """Start everything, say so, supervise until told to stop, end everything."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        ended = end_marked(self._facts["id"], 20.0)
        if ended:
            log.warning("ended %d processes that an earlier lab left behind", ended)
        server = ControlServer(self._home.control, self._answer)
        server.start()
        try:
            self._start_brokers()
            self._start_traffic()
            self._phase = "running"
            self._progress(ready=True)
            while not self._stopping.wait(_POLL_SECONDS):
                self._supervise()
        except Stopped:
            log.info("asked to stop while starting")
        finally:
            self._phase = "stopping"
            self._end()
            server.stop()

    def _start_brokers(self) -> None:
        for broker in self._brokers.values():
            broker.require_ports()
        for broker in self._brokers.values():
            broker.begin_format()
        for broker in self._brokers.values():
            broker.finish_format()
            self._check_stopping()
            broker.start()
        self._write_pids()
        self._progress(words="Waiting for both brokers")
        for broker in self._brokers.values():
            wait_for_broker(broker, BROKER_SECONDS, self._check_stopping)
            self._progress(words=f"The {broker.cluster} is up at {broker.bootstrap_servers}")
        create_source_topics(self._brokers["source"].bootstrap_servers)

    def _start_traffic(self) -> None:
        for system in SYSTEMS:
            self._children[system.name] = TrafficChild(self._home, system.name, self._facts["id"])
        self._write_pids()
        self._home.write_state(self._state)
        # Producers first: the backlog is written quicker while nobody reads.
        for name in self._children:
            self._apply(name, consumers=False)
        self._wait_for_backlog()
        for name in self._children:
            self._apply(name)
        self._wait_for_flow()

    def _wait_for_backlog(self) -> None:
        deadline = time.monotonic() + BACKLOG_SECONDS
        next_words = 0.0
        while (left := self._backlog_left()) > 0:
            self._check_all()
            if time.monotonic() > deadline:
                raise KferryError("The lab's backlog was not written in time.", log=str(self._home.log))
            if time.monotonic() >= next_words:
                self._progress(words=f"Writing the backlog: {left:,} records to go")
                next_words = time.monotonic() + 2
            self._stopping.wait(_POLL_SECONDS)

    def _wait_for_flow(self) -> None:
        """Live records are delivered and every running group has read something."""
        deadline = time.monotonic() + FLOW_SECONDS
        while idle := self._idle():
            self._check_all()
            if time.monotonic() > deadline:
                raise KferryError(
                    f"The lab's traffic does not flow: nothing moved for {', '.join(idle)}.",
                    log=str(self._home.log),
                )
            self._stopping.wait(_POLL_SECONDS)

    def _idle(self) -> list[str]:
        traffic = self._traffic_status()
        idle = [
            name
            for name, cluster in self._state["producers"].items()
            if cluster and TOPICS[name].rate_share and not traffic["producers"].get(name, {}).get("records")
        ]
        return idle + [
            name
            for name, cluster in self._state["consumers"].items()
            if cluster == "source"
            and any(self._state["producers"].get(topic) == "source" for topic in GROUPS[name].topics)
            and not traffic["consumers"].get(name, {}).get("processed")
        ]

    def _backlog_left(self) -> int:
        producers = self._traffic_status()["producers"].values()
        return sum(producer["backlog_left"] for producer in producers)

    def _traffic_status(self) -> dict[str, dict[str, Any]]:
        merged: dict[str, dict[str, Any]] = {"producers": {}, "consumers": {}}
        for child in self._children.values():
            try:
                status = child.ask(STATUS_SECONDS, do="status")["status"]
            except KferryError as error:
                log.warning("%s", error)
                continue
            for kind, found in merged.items():
                found |= status[kind]
        return merged

    def _apply(self, system: str, *, consumers: bool = True) -> None:
        """Make one traffic process do what the state says."""
        spec = next(spec for spec in SYSTEMS if spec.name == system)
        self._behind.add(system)
        self._children[system].ask(
            APPLY_SECONDS,
            do="apply",
            producers={topic.name: self._state["producers"].get(topic.name) for topic in spec.topics},
            consumers={
                group.group_id: self._state["consumers"].get(group.group_id) if consumers else None
                for group in spec.groups
            },
        )
        self._behind.discard(system)

    def _tell(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._telling:
            if self._phase != "running":
                raise KferryError(f"The lab is {self._phase}.", next_step="Try again when it is running.")
            before, self._state = self._state, changed_state(self._state, request)
            failures = []
            for system in self._touched(before):
                try:
                    self._apply(system)
                except KferryError as error:
                    failures.append(error)
                    self._give_up(system)
            self._home.write_state(self._state)
            if failures:
                raise failures[0]
            return {"state": self._state}

    def _touched(self, before: Mapping[str, Mapping[str, str | None]]) -> list[str]:
        """Systems whose part of the state changed, or that do not yet do what it says."""
        touched = set(self._behind)
        for system in SYSTEMS:
            names = [("producers", topic.name) for topic in system.topics]
            names += [("consumers", group.group_id) for group in system.groups]
            if any(before[kind].get(name) != self._state[kind].get(name) for kind, name in names):
                touched.add(system.name)
        return sorted(touched)

    def _give_up(self, system: str) -> None:
        """What could not be started is not wanted any more: the owner was told so and asks again."""
        try:
            running = self._children[system].ask(STATUS_SECONDS, do="status")["status"]
        except KferryError:
            return  # the process is gone; it is started again with the whole state
        spec = next(spec for spec in SYSTEMS if spec.name == system)
        for topic in spec.topics:
            if topic.name not in running["producers"]:
                self._state["producers"][topic.name] = None
        for group in spec.groups:
            if group.group_id not in running["consumers"]:
                self._state["consumers"][group.group_id] = None
        self._behind.discard(system)

    def _supervise(self) -> None:
        for broker in self._brokers.values():
            if broker.process is not None and broker.process.poll() is not None:
                log.error(
                    "the %s broker ended with code %s; it is started again", broker.cluster, broker.process.returncode
                )
                self._stopping.wait(_RESTART_SECONDS)
                broker.start()
                self._write_pids()
        with self._telling:
            for name, child in self._children.items():
                if child.process.poll() is not None:
                    log.error(
                        "the traffic of %s ended with code %s; it is started again", name, child.process.returncode
                    )
                    self._stopping.wait(_RESTART_SECONDS)
                    self._children[name] = TrafficChild(self._home, name, self._facts["id"])
                    self._behind.add(name)
                    self._write_pids()
            for name in sorted(self._behind):
                try:
                    self._apply(name)
                except KferryError as error:
                    log.warning("%s", error)
                    self._stopping.wait(_RESTART_SECONDS)

    def _check_all(self) -> None:
        self._check_stopping()
        for broker in self._brokers.values():
            broker.check_alive()
        for name, child in self._children.items():
            if child.process.poll() is not None:
                raise KferryError(f"The traffic of {name} ended while the lab started.", log=str(self._home.log))

    def _check_stopping(self) -> None:
        if self._stopping.is_set():
            raise Stopped

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One request on the control socket."""
        match request.get("do"):
            case "stop":
                self._stopping.set()
                return {}
            case "status":
                return {"phase": self._phase, "state": self._state, **self._traffic_status()}
            case "tell":
                return self._tell(check_request(request.get("request")))
            case other:
                raise KferryError(f"The lab does not know the request {other!r}.")

    def _write_pids(self) -> None:
        pids = {"daemon": os.getpid()}
        pids |= {name: broker.process.pid for name, broker in self._brokers.items() if broker.process is not None}
        pids |= {name: child.process.pid for name, child in self._children.items()}
        self._facts["pids"] = pids
        self._home.write_facts(self._facts)

    def _end(self) -> None:
        """Traffic first, so that it can commit; then the brokers; then whatever else carries the mark."""
        for child in self._children.values():
            child.begin_stop()
        for child in self._children.values():
            child.wait_stopped()
        for broker in self._brokers.values():
            broker.ask_to_stop()
        for broker in self._brokers.values():
            broker.wait_stopped()
        end_marked(self._facts["id"], 5.0)
        self._facts["pids"] = {}
        self._home.write_facts(self._facts)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._stopping.set()


def run(home: LabHome, progress_descriptor: int | None) -> int:
    """The daemon's main: hold the lock, tell progress on the given pipe, serve."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    progress = _progress_to(progress_descriptor)
    lock = home.take_lock()
    if lock is None:
        progress(busy=True)
        return 0
    try:
        Daemon(home, progress).run()
    except KferryError as error:
        log.exception("the lab ends")
        progress(error=error.as_dict())
        return 1
    except OSError as error:
        log.exception("the lab ends")
        progress(error=KferryError("The lab failed.", cause=str(error), log=str(home.log)).as_dict())
        return 1
    finally:
        os.close(lock)
    return 0


def _progress_to(descriptor: int | None) -> Progress:
    if descriptor is None:
        return lambda **words: log.info("%s", words)
    os.set_inheritable(descriptor, False)  # its end must mean that the daemon is gone

    def tell(**body: Any) -> None:
        log.info("%s", body.get("words", body))
        with contextlib.suppress(BrokenPipeError):  # nobody waits any more
            os.write(descriptor, (json.dumps(body) + "\n").encode())

    return tell


def log_descriptor(path: Path) -> int:
    """The log, opened for appending; cut where it has grown large."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    if path.exists() and path.stat().st_size > 10_000_000:
        flags |= os.O_TRUNC
    return os.open(path, flags, 0o600)
