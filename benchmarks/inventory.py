"""P10 to P12: what it costs to know a cluster, as ratios.

python -m benchmarks.inventory                   all three
python -m benchmarks.inventory --only offsets    P11: 100,000 partitions, one naive call against kferry's
python -m benchmarks.inventory --only monitor    P12: one look at 20,000 partitions and 1,000 groups, again and again
python -m benchmarks.inventory --only cli        P10: 2,000 topics on a real broker, against Kafka's own tools
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import confluent_kafka as ck
import psutil
from confluent_kafka.admin import AdminClient, OffsetSpec

from benchmarks import counting, mock_cluster
from benchmarks.figures import describe_machine, end_on_signals, median, number, ratio_line, say, summary, table
from kferry.domain.model import ClusterConfig, ClusterKind, CommittedOffset, Role, TopicPartition
from kferry.kafka.admin import ClusterAdmin, NewTopicSpec
from kferry.kafka.groups import ask_library
from kferry.kafka.scan import ScanOptions, scan
from support.broker import java_command, kafka_class_path, running_broker

_PARTITIONS_PER_TOPIC = 10
_BROKERS = 3
_NAIVE_SECONDS = 600.0
_FASTER = 5
_FIELDS = {"wall": "wall_seconds", "CPU": "cpu_seconds"}
_MONITORED_PARTITIONS = 20_000
_GROUPS = [f"group-{number_of_group:05}" for number_of_group in range(1_000)]
_GROUPS_TOPIC, _COMMITS_PER_GROUP = "read-by-all", 20
_REAL_TOPICS, _REAL_PARTITIONS_EACH, _REAL_GROUPS = 2_000, 2, 50
_TOOL_SECONDS = 300.0
_TOPICS_PER_CALL = 200
# Time for Kafka to make thousands of log folders.
_MAKING_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took: time on the clock, and of the processors."""

    wall_seconds: float
    cpu_seconds: float


def measured(work: Callable[[], object]) -> Cost:
    """The cost of a call in this process, its threads included."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def config_of(bootstrap_servers: str) -> ClusterConfig:
    return ClusterConfig(Role.SOURCE, ClusterKind.APACHE_KAFKA, bootstrap_servers)


def partitions_of(admin: ClusterAdmin) -> list[TopicPartition]:
    return [TopicPartition(name, number) for name in admin.topic_names() for number in range(_PARTITIONS_PER_TOPIC)]


# ---- P11 -----------------------------------------------------------------------------------------------------------


def naive(bootstrap_servers: str, tps: Sequence[TopicPartition]) -> None:
    """All partitions in one call, as the client library's documentation does it."""
    client = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    asked = {ck.TopicPartition(tp.topic, tp.partition): OffsetSpec.latest() for tp in tps}
    for future in client.list_offsets(asked, request_timeout=_NAIVE_SECONDS).values():
        future.result(_NAIVE_SECONDS)


def measure_offsets(sizes: Sequence[int], repetitions: int, *, with_naive: bool) -> None:
    say("P11: end offsets of many partitions, mock brokers in another process")
    ours: dict[int, list[Cost]] = {}
    theirs: list[Cost] = []
    whole: dict[int, Cost] = {}
    for size in sizes:
        with mock_cluster.running(size // _PARTITIONS_PER_TOPIC, _PARTITIONS_PER_TOPIC, _BROKERS) as mock:
            config = config_of(mock.bootstrap_servers)
            with ClusterAdmin(config) as admin:
                tps = partitions_of(admin)
                for number_of_run in range(repetitions):
                    cost = measured(partial(admin.offsets, tps, "end", timeout_seconds=120))
                    ours.setdefault(size, []).append(cost)
                    say(f"  {size} partitions, kferry: {number(cost.wall_seconds)} s, CPU {number(cost.cpu_seconds)} s")
                    if with_naive and size == max(sizes) and number_of_run == 0:
                        cost = measured(partial(naive, mock.bootstrap_servers, tps))
                        theirs.append(cost)
                        seconds = f"{number(cost.wall_seconds)} s, CPU {number(cost.cpu_seconds)} s"
                        say(f"  {size} partitions, one call: {seconds}")
            whole[size] = measured(partial(scan, config, options=ScanOptions(sample_gap_seconds=0)))
            say(f"  {size} partitions, a whole scan: {number(whole[size].wall_seconds)} s")
    small, large = min(sizes), max(sizes)
    for what in ("wall", "CPU"):
        taken = {size: [getattr(cost, _FIELDS[what]) for cost in costs] for size, costs in ours.items()}
        if theirs:
            faster = getattr(theirs[0], _FIELDS[what]) / (median(taken[large]) or math.inf)
            verdict = "met" if faster >= _FASTER else "NOT met"
            say(f"{what}: one naive call / kferry at {large}: {faster:.1f}; goal at least {_FASTER} {verdict}")
        if small != large:
            linear = large / small
            say(ratio_line(f"{what}: growth from {small} to {large}", taken[large], taken[small], 1.2 * linear))
            grown = getattr(whole[large], _FIELDS[what]) / getattr(whole[small], _FIELDS[what])
            say(f"{what}: growth of a whole scan: {grown:.2f}; linear is {linear:g}")


# ---- P12 -----------------------------------------------------------------------------------------------------------


@contextmanager
def counted_broker(counter: counting.Counting) -> Iterator[None]:
    """A real broker behind a counter of requests. Its groups have committed in 20 partitions each."""
    properties = {"advertised.listeners": f"PLAINTEXT://{counter.address}", "num.io.threads": "2"}
    with (
        tempfile.TemporaryDirectory(prefix="kfb-") as home,
        running_broker(Path(home) / "b", properties=properties) as one,
    ):
        counter.passes_to(one.bootstrap_servers)
        commits = [CommittedOffset(_GROUPS_TOPIC, number, 0) for number in range(_COMMITS_PER_GROUP)]
        with ClusterAdmin(config_of(counter.address)) as admin:
            failed = admin.create_topics([NewTopicSpec(_GROUPS_TOPIC, _COMMITS_PER_GROUP)])[_GROUPS_TOPIC]
            if failed:
                raise RuntimeError(f"The topic was not made: {failed}")
            for name in _GROUPS:
                refused = {why for why in admin.write_committed(name, commits).values() if why}
                if refused:
                    raise RuntimeError(f"Offsets of {name} were not written: {refused}")
        yield


def measure_monitor(cycles: int) -> None:
    """End offsets come from mock brokers, which can have many partitions but do not know how to tell of many groups.

    Commits come from a real broker.
    """
    say(f"P12: {_MONITORED_PARTITIONS} partitions and {len(_GROUPS)} groups, {cycles} looks")
    memory = psutil.Process()
    topics = _MONITORED_PARTITIONS // _PARTITIONS_PER_TOPIC
    with (
        counting.counting() as counter,
        counted_broker(counter),
        mock_cluster.running(topics, _PARTITIONS_PER_TOPIC, _BROKERS) as mock,
        ClusterAdmin(config_of(mock.bootstrap_servers)) as ends,
        ClusterAdmin(config_of(counter.address)) as positions,
    ):
        tps = partitions_of(ends)

        def look() -> None:
            ends.offsets(tps, "end", timeout_seconds=60)
            commits, errors = positions.committed_many(_GROUPS)
            if errors or {len(commits[name]) for name in _GROUPS} != {_COMMITS_PER_GROUP}:
                raise SystemExit(f"Not everything was seen: {errors}")

        counter.requests()
        first = measured(look)
        of_first = counter.requests()
        mock.requests()
        costs, requests, of_groups, bytes_held = [], [], [], []
        for _ in range(cycles):
            costs.append(measured(look))
            of_groups.append(counter.requests().total())
            requests.append(of_groups[-1] + mock.requests())
            bytes_held.append(memory.memory_info().rss)
        library = partial(ask_library, positions.connection, _GROUPS, stable=False, timeout_seconds=60)
        directly = measured(partial(positions.committed_many, _GROUPS))
        library()  # with a client that has to connect first, it asks some things twice
        counter.requests()
        before = measured(library)
        of_library = counter.requests().total()
    say(
        f"  the first look: {number(first.wall_seconds)} s; for the groups {of_first.total()} requests, by kind "
        f"{dict(sorted(of_first.items()))}"
    )
    say(f"  of each look, for the groups: {median(of_groups):.0f} requests, CPU {directly.cpu_seconds:.2f} s")
    say(f"  the groups by the client library: {of_library} requests, CPU {before.cpu_seconds:.2f} s")
    cpu = median([cost.cpu_seconds for cost in costs]) or 0.0
    say(
        f"CPU per look: {summary([cost.cpu_seconds for cost in costs][:5], 2)} ..., median {cpu:.2f} s; goal 1.2 s "
        f"{'met' if cpu <= 1.2 else 'NOT met'}"
    )
    allowed = 2 * _BROKERS * math.ceil(_MONITORED_PARTITIONS / 1000) + len(_GROUPS) + 5
    asked = median(requests) or 0
    say(f"requests per look: {asked:.0f}; goal {allowed} {'met' if asked <= allowed else 'NOT met'}")
    if cycles >= 20:
        half = len(bytes_held) // 2
        settled, last = median(bytes_held[half : half + 5]) or 1, median(bytes_held[-5:]) or 1
        growth = (last / settled - 1) * 100 / max(1, cycles - half) * 100
        say(
            f"memory: {last / 1e6:.0f} MB, {growth:+.2f} % per 100 looks (second half); goal 1 % "
            f"{'met' if growth <= 1 else 'NOT met'}"
        )


# ---- P10 -----------------------------------------------------------------------------------------------------------


def tool(*arguments: str) -> list[str]:
    options = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return [java_command(), *options, "-cp", kafka_class_path(), *arguments]


def cli_sequence(server: str) -> list[list[str]]:
    """What Kafka's documentation would have one type, for the same facts."""
    at = ("--bootstrap-server", server)
    offsets = "org.apache.kafka.tools.GetOffsetShell"
    return [
        tool("org.apache.kafka.tools.TopicCommand", *at, "--describe"),
        tool(offsets, *at, "--time", "-2"),
        tool(offsets, *at, "--time", "-1"),
        tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", *at, "--describe", "--all-groups"),
        tool("kafka.admin.ConfigCommand", *at, "--describe", "--entity-type", "topics"),
    ]


def run_children(commands: Sequence[Sequence[str]]) -> Cost:
    """The cost of processes that run one after the other, with their start."""
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for command in commands:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{command[-4:]} failed: {done.stdout[-500:]}{done.stderr[-1500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.perf_counter() - wall, cpu)


def fill(server: str) -> None:
    """Make the topics, a few records and groups."""
    producer = ck.Producer({"bootstrap.servers": server, "log_level": 0})
    with ClusterAdmin(config_of(server)) as admin:
        names = [f"system-{index % 40:02}.topic-{index:05}" for index in range(_REAL_TOPICS)]
        for start in range(0, len(names), _TOPICS_PER_CALL):
            specs = [NewTopicSpec(name, _REAL_PARTITIONS_EACH) for name in names[start : start + _TOPICS_PER_CALL]]
            failed = {name: why for name, why in admin.create_topics(specs, timeout_seconds=120).items() if why}
            if failed:
                raise RuntimeError(f"Topics were not made: {failed}")
        deadline = time.monotonic() + _MAKING_SECONDS
        while len(admin.topic_names()) < len(names) and time.monotonic() < deadline:
            time.sleep(1)
        for name in names[::10]:
            producer.produce(name, b"x" * 100)
        producer.flush(60)
        for index in range(_REAL_GROUPS):
            admin.write_committed(f"group-{index:03}", [CommittedOffset(names[index], 0, 0)])


def measure_cli(repetitions: int) -> None:
    say(f"P10: {_REAL_TOPICS} topics, {_REAL_TOPICS * _REAL_PARTITIONS_EACH} partitions, {_REAL_GROUPS} groups")
    ours: list[Cost] = []
    theirs: list[Cost] = []
    properties = {"log.index.size.max.bytes": "65536", "num.io.threads": "2"}
    with (
        tempfile.TemporaryDirectory(prefix="kfb-") as home,
        running_broker(Path(home) / "b", properties=properties) as one,
    ):
        started = time.monotonic()
        fill(one.bootstrap_servers)
        say(f"  made in {number(time.monotonic() - started)} s")
        inventory = [sys.executable, "-m", "benchmarks.inventory", "--scan-only", one.bootstrap_servers]
        for _ in range(repetitions):
            ours.append(run_children([inventory]))
            say(f"  kferry: {number(ours[-1].wall_seconds)} s, CPU {number(ours[-1].cpu_seconds)} s")
            theirs.append(run_children(cli_sequence(one.bootstrap_servers)))
            say(f"  Kafka's tools: {number(theirs[-1].wall_seconds)} s, CPU {number(theirs[-1].cpu_seconds)} s")
        whole = run_children([[*inventory, "--with-records"]])
    say(
        f"  kferry with records, ages and lag in seconds: {number(whole.wall_seconds)} s, "
        f"CPU {number(whole.cpu_seconds)} s"
    )
    rows = [
        (
            "kferry",
            number(median([cost.wall_seconds for cost in ours])),
            number(median([cost.cpu_seconds for cost in ours])),
        ),
        (
            "Kafka's tools",
            number(median([cost.wall_seconds for cost in theirs])),
            number(median([cost.cpu_seconds for cost in theirs])),
        ),
    ]
    say(table(("", "wall s", "CPU s"), rows))
    say(ratio_line("wall", [cost.wall_seconds for cost in ours], [cost.wall_seconds for cost in theirs], 0.5))
    say(ratio_line("CPU", [cost.cpu_seconds for cost in ours], [cost.cpu_seconds for cost in theirs], 0.25))


def scan_only(server: str, *, with_records: bool) -> None:
    """One scan; fails where it did not see everything, so that nothing is called fast that is wrong."""
    found = scan(config_of(server), options=ScanOptions(with_records=with_records, sample_gap_seconds=0))
    topics = [topic for topic in found.topics if not topic.is_internal]
    blind = [topic.name for topic in topics if topic.record_span is None or topic.size_bytes is None]
    if blind or len(topics) != _REAL_TOPICS or len(found.groups) != _REAL_GROUPS:
        raise SystemExit(
            f"{len(topics)} topics, {len(found.groups)} groups, {len(blind)} not seen whole: {found.notes}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("offsets", "monitor", "cli"))
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=100, help="looks of the monitor")
    parser.add_argument("--large", type=int, default=100_000, help="partitions of the larger cluster")
    parser.add_argument("--no-naive", action="store_true", help="leave out the naive call, which takes a minute")
    parser.add_argument("--scan-only", metavar="SERVER", help=argparse.SUPPRESS)
    parser.add_argument("--with-records", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    end_on_signals()
    if given.scan_only:
        scan_only(given.scan_only, with_records=given.with_records)
        return 0
    say(describe_machine())
    if given.only in (None, "offsets"):
        measure_offsets((20_000, given.large), given.repetitions, with_naive=not given.no_naive)
    if given.only in (None, "monitor"):
        measure_monitor(given.cycles)
    if given.only in (None, "cli"):
        measure_cli(given.repetitions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
