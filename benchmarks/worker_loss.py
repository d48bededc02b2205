"""P7, P19: how long partitions stand still and what comes twice when workers die, leave, join and restart.

python -m benchmarks.worker_loss [--settings stock,kferry] [--events join,follower-killed,...]

Each variant of the settings has workers of its own between the same two brokers; the variants take turns.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import describe_machine, end_on_signals, median, number, ratio_line, say, table
from benchmarks.mirror import CONNECTOR_TASKS, PARTITIONS, RECORDS_PER_SECOND, Mirror, Worker
from kferry.domain.connectors import worker_properties
from kferry.domain.model import ClusterConfig, ClusterKind, Role, TaskSpec, WorkerSpec
from kferry.store.settings_file import MigrationSettings
from support.broker import running_broker

WORKERS = 3
REPEATS_GOAL = 0.25
# A pause that an application would hardly notice, and more than batches and the reader here need.
NOTICED_SECONDS = 1.0
# stock Connect leaves the partitions of a dead worker alone for five minutes
EVENT_DEADLINE_SECONDS = 400.0
_KEYS = ("session.timeout.ms", "heartbeat.interval.ms", "scheduled.rebalance.max.delay.ms", "offset.flush.interval.ms")


def _settings(session_ms: int, heartbeat_ms: int, delay_ms: int, flush_ms: int) -> dict[str, str]:
    return dict(zip(_KEYS, map(str, (session_ms, heartbeat_ms, delay_ms, flush_ms)), strict=True))


def kferry_settings() -> dict[str, str]:
    """What kferry writes for a worker now."""
    cluster = ClusterConfig(Role.TARGET, ClusterKind.AUTOMQ, "nowhere:9092")
    worker = WorkerSpec("w", "local", "127.0.0.1", 1, 1)
    flush_ms = MigrationSettings().offset_flush_interval_ms
    spec = TaskSpec("t", "bench1", "t", 1, (), (), (worker,), 1)
    written = worker_properties(spec, worker, cluster, cluster, "/nowhere", offset_flush_interval_ms=flush_ms)
    return {key: written[key] for key in _KEYS}


VARIANTS: Mapping[str, Callable[[], dict[str, str]]] = {
    "kferry": kferry_settings,
    "stock": lambda: _settings(10_000, 3_000, 300_000, 60_000),
    "patient": lambda: _settings(10_000, 1_000, 10_000, 5_000),
    "quick": lambda: _settings(6_000, 500, 3_000, 1_000),
    "instant": lambda: _settings(6_000, 500, 0, 1_000),
}
EVENTS = ("join", "follower-killed", "leader-killed", "leave", "restart")
# one loss of a follower takes stock five minutes; ask for it by --events
STOCK_EVENTS = ("join", "leader-killed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one event did. `moved_seconds` is how long it took until connector tasks ran as they should."""

    longest_seconds: float
    noticed_partitions: int
    repeats: int
    moved_seconds: float


class Bench:
    """One variant with its workers; each event ends with all workers living."""

    def __init__(self, mirror: Mirror, flush_ms: int, phase: float) -> None:
        self._mirror = mirror
        self._flush_seconds = flush_ms / 1000
        self._phase = phase
        self._settled_at = time.monotonic()

    def measure(self, event: str) -> Outcome:
        doing = {
            "join": self._join,
            "follower-killed": lambda: self._kill(self._mirror.follower()),
            "leader-killed": lambda: self._kill(self._mirror.leader()),
            "leave": self._leave,
            "restart": self._restart,
        }[event]
        outcome = doing()
        self._complete()
        return outcome

    def _outcome(self, since: float, joined_at: float | None = None) -> Outcome:
        self._mirror.settle(EVENT_DEADLINE_SECONDS)
        pauses = self._mirror.arrivals.pauses()
        return Outcome(
            max(pauses),
            sum(pause > NOTICED_SECONDS for pause in pauses),
            self._mirror.arrivals.repeats(),
            time.monotonic() - (joined_at or since),
        )

    def _complete(self) -> None:
        """Have all workers again, outside of any measurement."""
        self._mirror.start([worker for worker in self._mirror.workers if not worker.lives])
        self._mirror.settle(EVENT_DEADLINE_SECONDS)
        self._settled_at = time.monotonic()

    def _join(self) -> Outcome:
        newcomer = self._mirror.workers[-1]
        self._stop(newcomer)
        self._mirror.settle(EVENT_DEADLINE_SECONDS)
        self._mirror.arrivals.begin()
        since = time.monotonic()
        self._mirror.start([newcomer])
        return self._outcome(since, time.monotonic())

    def _kill(self, worker: Worker) -> Outcome:
        # at the same point between two saved positions for every variant: connector tasks save at a fixed rate
        wait = self._settled_at + (1 + self._phase) * self._flush_seconds - time.monotonic()
        time.sleep(max(wait, 2.0))
        self._mirror.arrivals.begin()
        since = time.monotonic()
        worker.kill()
        return self._outcome(since)

    def _leave(self) -> Outcome:
        self._mirror.arrivals.begin()
        since = time.monotonic()
        self._stop(self._mirror.follower())
        return self._outcome(since)

    def _restart(self) -> Outcome:
        worker = self._mirror.follower()
        self._mirror.arrivals.begin()
        since = time.monotonic()
        self._stop(worker)
        self._mirror.start([worker])
        return self._outcome(since)

    def _stop(self, worker: Worker) -> None:
        worker.ask_to_stop()
        worker.wait_stopped()


Outcomes = dict[tuple[str, str], list[Outcome]]


def _round(folder: Path, variants: Sequence[str], events: Sequence[str], phase: float, outcomes: Outcomes) -> int:
    """Every variant once; returns how many records were lost in all."""
    lost = 0
    with running_broker(folder / "source") as source, running_broker(folder / "target") as target:
        for variant in variants:
            settings = VARIANTS[variant]()
            mirror = Mirror(folder, variant, source, target, settings, WORKERS)
            try:
                wanted = events or (STOCK_EVENTS if variant == "stock" else EVENTS)
                # a worker that joins must be one more than there were; stock would wait for it after it had left
                joins = "join" in wanted
                mirror.begin(WORKERS - 1 if joins else WORKERS)
                bench = Bench(mirror, int(settings["offset.flush.interval.ms"]), phase)
                for event in wanted:
                    outcome = bench.measure(event)
                    outcomes[variant, event].append(outcome)
                    say(f"  {variant}, {event}: {_words(outcome)}")
                lost += (missing := mirror.lost())
                kept = ", ".join(f"{rate:.1f} {what}/s" for what, rate in mirror.bookkeeping().items())
                say(
                    f"  {variant}: {sum(mirror.traffic.confirmed)} records, {missing} lost; written beside them: {kept}"
                )
            finally:
                mirror.end()
    return lost


def _words(outcome: Outcome) -> str:
    return (
        f"longest pause {outcome.longest_seconds:.1f} s, {outcome.noticed_partitions} of {PARTITIONS} partitions "
        f"paused above {NOTICED_SECONDS:g} s, {outcome.repeats} records twice, "
        f"settled after {outcome.moved_seconds:.1f} s"
    )


def _report(outcomes: Outcomes, lost: int) -> None:
    rows = [
        [
            variant,
            event,
            _all([each.longest_seconds for each in found]),
            _all([each.noticed_partitions for each in found], 0),
            _all([each.repeats for each in found], 0),
            _all([each.moved_seconds for each in found]),
        ]
        for (variant, event), found in sorted(outcomes.items(), key=lambda item: EVENTS.index(item[0][1]))
    ]
    head = ["settings", "event", "longest pause, s", f"partitions > {NOTICED_SECONDS:g} s", "twice", "settled after, s"]
    say()
    say(table(head, rows))
    say()
    say(f"lost records: {lost}")
    stock = [each.repeats for each in outcomes.get(("stock", "leader-killed"), [])]
    for variant in sorted({variant for variant, _ in outcomes} - {"stock"}):
        found = [each.repeats for each in outcomes.get((variant, "leader-killed"), [])]
        if stock and found:
            say(ratio_line(f"twice after the leader was killed, {variant} / stock", found, stock, REPEATS_GOAL))


def _all(values: Sequence[float], digits: int = 1) -> str:
    each = ", ".join(number(value, digits) for value in values)
    return f"{number(median(values), digits)} ({each})" if len(values) > 1 else each


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns 1 where a record was lost. Figures are never a gate."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker_loss", description=__doc__)
    parser.add_argument("--settings", default="stock,kferry", help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--events", default="", help=f"of {', '.join(EVENTS)}; empty: all that do not take minutes")
    parser.add_argument(
        "--phases", default="0.5", help="when workers are killed: parts of the flush interval; one round each"
    )
    chosen = parser.parse_args(argv)
    variants = chosen.settings.split(",")
    asked = set(chosen.events.split(",")) if chosen.events else set()
    if set(variants) - set(VARIANTS) or asked - set(EVENTS):
        parser.error("no such settings or event")
    events = [event for event in EVENTS if event in asked]
    end_on_signals()
    say(describe_machine())
    say(
        f"{PARTITIONS} partitions, {RECORDS_PER_SECOND} records/s, {CONNECTOR_TASKS} connector tasks, {WORKERS} workers"
    )
    for variant in variants:
        say(f"{variant}: " + ", ".join(f"{key} {value}" for key, value in VARIANTS[variant]().items()))
    outcomes: Outcomes = defaultdict(list)
    began, lost = time.monotonic(), 0
    for turn, phase in enumerate(map(float, chosen.phases.split(","))):
        say(f"round {turn + 1}, workers are killed at {phase:.0%} of the flush interval")
        folder = Path(tempfile.mkdtemp(prefix="kfb-"))
        try:
            lost += _round(folder, variants if turn % 2 == 0 else variants[::-1], events, phase, outcomes)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    _report(outcomes, lost)
    say(f"took {number((time.monotonic() - began) / 60)} minutes")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
