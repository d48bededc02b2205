"""One lab and one migration directory for the end-to-end tests, driven as its users do: lab command and session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from kferry.client import processes
from kferry.lab.home import LabHome
from kferry.lab.systems import SYSTEMS
from support.engine_run import EngineRun

BACKLOG_RECORDS = 30_000
RATE_BYTES_PER_SECOND = 150_000
# Everything that a run starts inherits this, so that nothing stays behind when a test fails halfway.
MARK = "KFERRY_TEST_LAB_RUN"
BATCHES = tuple(system.name for system in SYSTEMS)


class LabRun(EngineRun):
    """A running lab and the migration of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "m")
        self.home = LabHome(root / "lab")

    # ---- the lab ------------------------------------------------------------------------------------------------

    def lab(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kferry.lab", *words, "--home", str(self.home.root)]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=300)

    def data(self, *words: str) -> Any:
        """The JSON a verb of the lab prints; its exit code says only what the JSON says too."""
        done = self.lab(*words)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def tell(self, action: str, cluster: str, names: Sequence[str]) -> None:
        """Be the application owners."""
        key = "groups" if "consumers" in action else "topics"
        done = self.lab("tell", text=json.dumps({"action": action, "cluster": cluster, key: list(names)}))
        assert done.returncode == 0, done.stderr

    def next_records(self, cluster: str, groups: Sequence[str]) -> dict[str, dict[str, dict[str, str | None]]]:
        """group -> topic -> partition -> id of the record that is read next."""
        found: dict[str, dict[str, dict[str, str | None]]] = self.data(
            "next", "--cluster", cluster, "--groups", ",".join(groups)
        )
        return found

    def handover(self, groups: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What each group skipped or processed twice, over both clusters."""
        found: dict[str, dict[str, Any]] = self.data("handover", "--groups", ",".join(groups))["groups"]
        return found

    def bootstrap(self, cluster: str) -> str:
        return str(self.home.read_facts()[cluster]["bootstrap_servers"])

    def end_offsets(self, cluster: str, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """The end of every partition of these topics; a topic that is not there yet has none."""
        client = Consumer({"bootstrap.servers": self.bootstrap(cluster), "group.id": "lab-run-ends"})
        try:
            known = client.list_topics(timeout=30).topics
            places = [
                TopicPartition(topic, part) for topic in topics if topic in known for part in known[topic].partitions
            ]
            return {(place.topic, place.partition): _end(client, place) for place in places}
        finally:
            client.close()

    # ---- what can be counted --------------------------------------------------------------------------------------

    def worker_jvms(self, task: str) -> list[int]:
        """Process ids of the Connect workers of a task that live now."""
        folder = os.fsencode(self.layout.workers)
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            names_it = any(folder + b"/" + task.encode() + b"-" in argument for argument in arguments[1:])
            if arguments[0].endswith(b"java") and names_it and processes.is_alive(int(entry.name)):
                found.append(int(entry.name))
        return found


def _end(client: Consumer, place: TopicPartition) -> int:
    """One partition's end; a topic made a moment ago has no leader yet."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return int(client.get_watermark_offsets(place, 30)[1])
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@contextmanager
def running(root: Path, *, backlog_records: int = BACKLOG_RECORDS, planned: bool = True) -> Iterator[LabRun]:
    """A lab with traffic and a migration that is scanned, checked and planned; at the end nothing is left of it.

    With `planned` off nothing was done in the migration directory yet, and no engine runs.
    """
    mark = f"{MARK}={root}"
    os.environ[MARK] = str(root)
    run = LabRun(root)
    try:
        began = run.lab("start", "--rate", str(RATE_BYTES_PER_SECOND), "--backlog", str(backlog_records))
        assert began.returncode == 0, began.stderr
        assert run.lab("migration", str(run.root)).returncode == 0
        with run.layout.settings.open("a", encoding="utf-8") as settings:  # consumers here commit every second
            settings.write("settings:\n  still_seconds: 2.5\n")
        if planned:
            run.session.ensure_engine()
            for kind in ("check_clusters", "scan", "preflight", "plan"):
                run.do(kind)
            run.waive_all()
        yield run
    finally:
        try:
            run.session.stop_engine()
        finally:
            run.session.close()
            run.lab("stop")
            os.environ.pop(MARK, None)
            processes.end(processes.Belongings(frozenset({mark}), (run.root,)))
