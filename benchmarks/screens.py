"""P13 to P15: what 50,000 rows cost on the screen against 100, in the real app on a pseudo terminal.

PYTHONPATH=tests .venv/bin/python -m benchmarks.screens
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.figures import describe_machine, end_on_signals, median, number, ratio_line, say, summary, table
from kferry.domain import model
from kferry.store import codec
from kferry.store.journal import Journal
from support import seeded

COLUMNS, ROWS = 120, 36
FEW, MANY = 100, 50_000
KEY_GOAL, OPEN_GOAL, LIVE_GOAL = 1.3, 1.3, 1.5
_CURSOR = "▌".encode()
_QUIET_SECONDS = 0.03
_SECRETS_OF_NOBODY = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}


def make_migration(root: Path, topics: int) -> Path:
    """A migration directory whose source has so many topics of two partitions, and a tenth as many groups."""
    layout = seeded.bare(root)
    now_ms = int(time.time() * 1000)
    effective = {"retention.ms": "604800000", "cleanup.policy": "delete", "max.message.bytes": "1048588"}
    scan = model.Scan(
        scan_id="bench",
        taken_at_ms=now_ms - 60_000,
        cluster=model.ClusterFacts(model.Role.SOURCE, "bench", "3.9", 1, (model.Broker(1, "b1", 9092),)),
        topics=tuple(
            model.Topic(
                name=f"system-{at % 97:02}.topic-{at:05}",
                topic_id=f"id-{at}",
                replication_factor=3,
                partitions=tuple(model.PartitionOffsets(part, 0, at * 31 + part, at * 31 + part) for part in range(2)),
                configs={"retention.ms": "604800000"},
                effective=effective,
                last_timestamp_ms=now_ms - at * 1000,
                records_per_second=float(at % 50),
                size_bytes=at * 4096,
            )
            for at in range(topics)
        ),
        groups=tuple(
            model.Group(
                group_id=f"group-{at:05}",
                state=model.GroupState.STABLE,
                kind=model.GroupKind.PLAIN,
                members=(model.GroupMember(f"m{at}", f"client-{at}", "/10.0.0.7"),),
                committed=(model.CommittedOffset(f"system-{at % 97:02}.topic-{at:05}", 0, at),),
            )
            for at in range(topics // 10)
        ),
    )
    journal = Journal(layout.journal)
    try:
        journal.put_document("scan", "source", codec.dump(scan))
    finally:
        journal.close()
    return root


class Terminal:
    """A program on a pseudo terminal: what it paints, when, and what it costs."""

    def __init__(self, command: Sequence[str]) -> None:
        self._main, child = os.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.set_blocking(self._main, False)
        self.began = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdin=child, stdout=child, stderr=child, start_new_session=True,
            env={**os.environ, **_SECRETS_OF_NOBODY},
        )  # fmt: skip
        os.close(child)
        self._usage = psutil.Process(self._process.pid)
        self.seen = b""
        self.bytes_out = 0

    def read(self, seconds: float) -> bytes:
        """What is painted next, waiting at most so long."""
        ready, _, _ = select.select([self._main], [], [], seconds)
        if not ready:
            return b""
        with suppress(OSError):
            found = os.read(self._main, 1 << 18)
            self.bytes_out += len(found)
            self.seen = (self.seen + found)[-(1 << 20) :]
            return found
        raise RuntimeError(f"the program has ended: {self.seen[-2000:].decode(errors='replace')}")

    def until(self, holds: Callable[[bytes], bool], within_seconds: float = 60.0) -> float:
        """The time until something holds of what was painted."""
        begun, painted = time.perf_counter(), b""
        while not holds(painted):
            if time.perf_counter() - begun > within_seconds:
                raise RuntimeError(f"not painted in {within_seconds:g} s: {painted[-2000:].decode(errors='replace')}")
            painted += self.read(0.05)
        return time.perf_counter() - begun

    def quiet(self) -> None:
        while self.read(_QUIET_SECONDS):
            pass

    def press(self, key: str) -> None:
        os.write(self._main, key.encode())

    def key_to_paint(self, key: str, shows: bytes = _CURSOR) -> float:
        self.quiet()
        self.press(key)
        return self.until(lambda painted: shows in painted, 20.0)

    def cpu_seconds(self) -> float:
        times = self._usage.cpu_times()
        return float(times.user + times.system)

    def end(self) -> None:
        with suppress(OSError):
            self.press("q")
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._main)


def kferry(root: Path) -> Terminal:
    return Terminal([sys.executable, "-m", "kferry", "-C", str(root), "--read-only"])


def one_run(root: Path, topics: int, keys: int, live_seconds: float) -> dict[str, list[float]]:
    """Everything about one start of the app on one directory."""
    found: dict[str, list[float]] = defaultdict(list)
    terminal = kferry(root)
    try:
        terminal.until(lambda painted: b"no batches yet" in painted or b"There are no" in painted)
        found["start to first screen"].append(time.perf_counter() - terminal.began)
        terminal.quiet()
        terminal.press("3")
        found["key to rows of the Inventory"].append(terminal.until(lambda painted: b".topic-00000" in painted))
        # the keys of the first seconds, in which a big scan is still being read
        begun = time.perf_counter()
        at = 0
        while time.perf_counter() - begun < 1.5:
            found["key to paint while reading"].append(terminal.key_to_paint("j" if at % 40 < 20 else "k"))
            at += 1
        terminal.key_to_paint("G")
        terminal.key_to_paint("g")
        wanted = f"{topics:,} topics  {topics * 2:,} partitions".encode()
        if wanted not in terminal.seen:
            terminal.until(lambda painted: wanted in painted)
        for at in range(keys):
            found["key to paint"].append(terminal.key_to_paint("j" if at % 40 < 20 else "k"))
        terminal.key_to_paint("G")
        for at in range(20):
            found["page to paint"].append(terminal.key_to_paint("\x15" if at % 2 == 0 else "\x04"))
        terminal.key_to_paint("/", b"/")
        for letter in "topic-0004":
            found["letter of a filter to paint"].append(terminal.key_to_paint(letter, letter.encode()))
        terminal.press("\r")
        terminal.quiet()
        terminal.press("\x1b")
        time.sleep(0.5)
        terminal.quiet()
        _refresh(terminal, root, live_seconds, found)
    finally:
        terminal.end()
    return found


def _refresh(terminal: Terminal, root: Path, seconds: float, found: dict[str, list[float]]) -> None:
    """The journal is written once a second, as by an engine that measures; what does drawing it cost?"""
    stop = threading.Event()

    def write() -> None:
        journal = Journal(root / ".kferry" / "journal.db")
        try:
            at = 0
            while not stop.wait(1.0):
                at += 1
                journal.put_document("scan_progress", "source", json.dumps({"what": "x", "done": at, "total": 99}))
        finally:
            journal.close()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        _cost(terminal, seconds, "refresh of the app", found)
    finally:
        stop.set()
        writer.join(timeout=5)


def _cost(terminal: Terminal, seconds: float, what: str, found: dict[str, list[float]]) -> None:
    cpu, sent, begun = terminal.cpu_seconds(), terminal.bytes_out, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        terminal.read(0.2)
    took = time.perf_counter() - begun
    found[f"{what}: share of a core"].append((terminal.cpu_seconds() - cpu) / took)
    found[f"{what}: bytes a second"].append((terminal.bytes_out - sent) / took)


def live_table(rows: int) -> None:
    """A table whose figures all change once a second: what runs in the terminal for the last measure."""
    from textual.app import App, ComposeResult

    from kferry.client.filters import Field
    from kferry.ui.cells import Cell
    from kferry.ui.widgets.keyed_table import Column, KeyedTable, Row

    class Live:
        fields: Sequence[Field] = ()

        def __init__(self, second: int) -> None:
            self.second = second

        def __len__(self) -> int:
            return rows

        def key(self, at: int) -> str:
            return f"partition-{at}"

        def row(self, at: int) -> Row:
            figure = f"{at * 1000 + self.second:,}"
            return Row(self.key(at), (Cell(f"partition-{at}", "strong"), Cell(figure), Cell("● Running", "ok")))

        def text(self, at: int) -> str:
            return self.key(at)

        def value(self, at: int, name: str) -> str:
            return self.key(at)

        sort_value = value

    class LiveApp(App[None]):
        BINDINGS = [("q", "quit", "Quit")]  # noqa: RUF012

        def compose(self) -> ComposeResult:
            columns = (Column("name", 20, flex=1), Column("lag", 14, right=True), Column("state", 12))
            yield KeyedTable("Live", columns)

        def on_mount(self) -> None:
            self.second = 0
            self.tick()
            self.set_interval(1.0, self.tick)

        def tick(self) -> None:
            self.second += 1
            self.query_one(KeyedTable).set_source(Live(self.second))

    LiveApp().run()


def one_live(rows: int, seconds: float) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    terminal = Terminal([sys.executable, "-m", "benchmarks.screens", "--live", str(rows)])
    try:
        terminal.until(lambda painted: b"partition-0" in painted)
        terminal.quiet()
        _cost(terminal, seconds, "45 figures a second", found)
    finally:
        terminal.end()
    return found


def _percentile(values: Sequence[float], share: float) -> float | None:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def report(found: dict[int, dict[str, list[float]]], medians: dict[int, dict[str, list[float]]]) -> None:
    rows = []
    for what in found[MANY]:
        cells = [what]
        for size in (FEW, MANY):
            values = found[size][what]
            unit = 1.0 if "bytes" in what else 100.0 if "share" in what else 1000.0
            cells.append(number((median(values) or 0) * unit, 1))
            cells.append(number((_percentile(values, 0.99) or 0) * unit, 1))
        rows.append(cells)
    head = ("ms (share: % of a core; bytes: bytes/s)", f"{FEW} rows p50", "p99", f"{MANY:,} rows p50", "p99")
    say(table(head, rows))
    say()
    for what, goal in (
        ("key to paint", KEY_GOAL),
        ("start to first screen", OPEN_GOAL),
        ("key to rows of the Inventory", OPEN_GOAL),
        ("refresh of the app: share of a core", LIVE_GOAL),
        ("45 figures a second: share of a core", LIVE_GOAL),
    ):
        say(ratio_line(f"{what}, {MANY:,} / {FEW} rows", medians[MANY][what], medians[FEW][what], goal))
    keys = found[MANY]["key to paint"]
    say(f"key to paint at {MANY:,} rows: p50 {number((median(keys) or 0) * 1000)} ms (goal 15), "
        f"p99 {number((_percentile(keys, 0.99) or 0) * 1000)} ms (goal 100)")  # fmt: skip
    reading = found[MANY]["key to paint while reading"]
    say(f"longest wait for a key while {MANY:,} topics are read: {number(max(reading) * 1000)} ms")
    say("medians of each repetition, ms: " + summary([value * 1000 for value in medians[MANY]["key to paint"]]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--keys", type=int, default=150)
    parser.add_argument("--live-seconds", type=float, default=8.0)
    parser.add_argument("--live", type=int, metavar="ROWS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.live is not None:
        live_table(options.live)
        return 0
    end_on_signals()
    say(f"P13 to P15, {COLUMNS}x{ROWS}, {describe_machine()}")
    found: dict[int, dict[str, list[float]]] = {size: defaultdict(list) for size in (FEW, MANY)}
    medians: dict[int, dict[str, list[float]]] = {size: defaultdict(list) for size in (FEW, MANY)}
    with tempfile.TemporaryDirectory(prefix="kferry-bench-") as folder:
        roots = {size: make_migration(Path(folder) / str(size), size) for size in (FEW, MANY)}
        for repetition in range(options.repetitions):
            for size in (FEW, MANY) if repetition % 2 == 0 else (MANY, FEW):
                run = one_run(roots[size], size, options.keys, options.live_seconds)
                run |= one_live(size, options.live_seconds)
                for what, values in run.items():
                    found[size][what] += values
                    medians[size][what].append(median(values) or 0.0)
            say(f"repetition {repetition + 1} of {options.repetitions} is done")
    report(found, medians)
    return 0


if __name__ == "__main__":
    sys.exit(main())
