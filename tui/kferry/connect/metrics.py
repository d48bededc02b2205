"""What a Connect worker says of itself through its metrics agent (roles/kafka_connect/files/jmx_exporter.yml)."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from kferry.domain.connectors import looks_like_heartbeats
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import TopicPartition, WorkerSpec

MAX_ANSWER_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 1 << 16

# Only these are asked for: a worker with thousands of partitions has many more.
WANTED = (
    "jvm_memory_used_bytes",
    "jvm_memory_max_bytes",
    "kferry_connector_tasks",
    "kferry_coordinator_last_heartbeat_seconds",
    "kferry_lag_records",
    "kferry_mirrored_bytes_per_second",
    "kferry_mirrored_records_per_second",
    "kferry_process_cpu_ratio",
    "kferry_rebalancing",
    "kferry_record_age_max_seconds",
    "kferry_worker_tasks",
)

Series = list[tuple[Mapping[str, str], float]]


@dataclass(frozen=True, slots=True)
class WorkerMetrics:
    """One worker at one moment. None = unknown; a partition that is not in `records_lag` is unknown too.

    `process_cpu_ratio` is a share of all processors of the machine. Rates are sums over the partitions that this worker
    copies, `record_age_seconds` is that of the oldest record it read lately.
    """

    taken_at_ms: int
    heap_used_bytes: int | None = None
    heap_max_bytes: int | None = None
    process_cpu_ratio: float | None = None
    connector_tasks_running: int | None = None
    connector_tasks_failed: int | None = None
    rebalancing: bool | None = None
    heartbeat_age_seconds: float | None = None
    records_per_second: float | None = None
    bytes_per_second: float | None = None
    record_age_seconds: float | None = None
    records_lag: Mapping[TopicPartition, int] = field(default_factory=dict)


def metrics_url(worker: WorkerSpec) -> str | None:
    """Where a worker's metrics are; None for a worker without an agent."""
    return f"http://{worker.rest_host}:{worker.metrics_port}/metrics" if worker.metrics_port else None


def fetch_metrics(http: httpx2.Client, url: str) -> WorkerMetrics:
    """Ask a worker's metrics agent. The client knows the way (direct, or a socket of a tunnel) and the timeouts."""
    try:
        with http.stream("GET", url, params={"name[]": list(WANTED)}) as answer:
            if answer.status_code != 200:
                raise _unreadable(url, f"It answered HTTP {answer.status_code}.")
            text = _whole(answer, url)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise KferryError(
            f"The metrics of the worker at {url} cannot be read.",
            cause=f"{type(error).__name__}: {error}".rstrip(": ") + ".",
            next_step="See whether the worker runs, and whether a firewall keeps this port closed.",
            kind=ErrorKind.CONNECT,
        ) from error
    return parse_metrics(text, taken_at_ms=int(time.time() * 1000), origin=url)


def _whole(answer: httpx2.Response, url: str) -> str:
    body = bytearray()
    for chunk in answer.iter_bytes(CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise _unreadable(url, f"It sent more than {MAX_ANSWER_BYTES >> 20} MiB.")
    return body.decode(errors="replace")


def parse_metrics(text: str, *, taken_at_ms: int, origin: str = "the worker") -> WorkerMetrics:
    """Read the agent's text. Raises KferryError where it isn't one."""
    found: dict[str, Series] = defaultdict(list)
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if not math.isnan(sample.value):  # Kafka's word for "nothing happened lately"
                    found[sample.name].append((sample.labels, sample.value))
    except (ValueError, KeyError, IndexError) as error:
        raise _unreadable(origin, f"It sent something else than metrics: {str(error)[:200]}.") from error
    if not found.keys() & set(WANTED):
        raise _unreadable(origin, "It sent none of the metrics that kferry's workers have.")
    # without any partition a worker that tells how much it has to do copies nothing; else we don't know
    nothing = 0.0 if found["kferry_worker_tasks"] else None
    return WorkerMetrics(
        taken_at_ms=taken_at_ms,
        heap_used_bytes=_whole_number(_one(found["jvm_memory_used_bytes"], area="heap")),
        heap_max_bytes=_whole_number(_one(found["jvm_memory_max_bytes"], area="heap")),
        process_cpu_ratio=_known(_one(found["kferry_process_cpu_ratio"])),
        connector_tasks_running=_tasks(found, "running"),
        connector_tasks_failed=_tasks(found, "failed"),
        rebalancing=_flag(_one(found["kferry_rebalancing"])),
        heartbeat_age_seconds=_known(_one(found["kferry_coordinator_last_heartbeat_seconds"])),
        records_per_second=_sum(found["kferry_mirrored_records_per_second"], nothing),
        bytes_per_second=_sum(found["kferry_mirrored_bytes_per_second"], nothing),
        record_age_seconds=max((value for _, value in found["kferry_record_age_max_seconds"]), default=None),
        records_lag=_lag(found["kferry_lag_records"], found["kferry_mirrored_records_per_second"]),
    )


def _lag(lags: Series, mirrored: Series) -> dict[TopicPartition, int]:
    """Lag under the topics' own names.

    Kafka's consumer writes `_` for each dot in a topic's name; MirrorMaker does not. What can't be told is left out.
    """
    names: dict[str, set[str]] = defaultdict(set)
    for topic in _topics(mirrored):
        names[topic.replace(".", "_")].add(topic)
    result: dict[TopicPartition, int] = {}
    for labels, value in lags:
        written, partition = labels.get("topic", ""), labels.get("partition", "")
        candidates = names.get(written.replace(".", "_"), set())
        if not partition.isascii() or not partition.isdigit() or not math.isfinite(value) or value < 0:
            continue
        if not candidates and "_" not in written:
            candidates = {written}
        if len(candidates) == 1:
            (topic,) = candidates
            result[TopicPartition(topic, int(partition))] = int(value)
    return result


def _topics(mirrored: Series) -> Iterable[str]:
    """Topic names as the source has them: MirrorMaker counts what looks like its heartbeats under `<alias>.<topic>`."""
    for labels, _ in mirrored:
        topic, alias = labels.get("topic", ""), labels.get("source", "")
        yield topic.removeprefix(f"{alias}.") if alias and looks_like_heartbeats(topic) else topic


def _one(series: Series, **labels: str) -> float | None:
    for found, value in series:
        if all(found.get(name) == wanted for name, wanted in labels.items()):
            return value
    return None


def _sum(series: Series, nothing: float | None) -> float | None:
    return _known(math.fsum(value for _, value in series)) if series else nothing


def _tasks(found: Mapping[str, Series], state: str) -> int | None:
    counts = [value for labels, value in found.get("kferry_connector_tasks", ()) if labels.get("state") == state]
    if not counts:
        # a worker without a connector has no counts
        return 0 if _one(found.get("kferry_worker_tasks", [])) == 0 else None
    return _whole_number(math.fsum(counts))


def _known(value: float | None) -> float | None:
    """Java says -1 for what it can't measure."""
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _whole_number(value: float | None) -> int | None:
    known = _known(value)
    return None if known is None else int(known)


def _flag(value: float | None) -> bool | None:
    known = _known(value)
    return None if known is None else known > 0


def _unreadable(origin: str, cause: str) -> KferryError:
    return KferryError(
        f"The metrics of the worker at {origin} cannot be read.",
        cause=cause,
        next_step="See whether another program listens on the worker's metrics port.",
        kind=ErrorKind.CONNECT,
    )
