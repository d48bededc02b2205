"""A cluster of librdkafka's mock brokers in a process of its own, so that only the client's work is measured.

python -m benchmarks.mock_cluster --topics 10000 --partitions 10     prints its bootstrap servers, then obeys stdin
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

_ERROR_BYTES = 512
_AT_ONCE = 400


def _library() -> ctypes.CDLL:
    """The very librdkafka that confluent-kafka brings along."""
    import confluent_kafka

    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    found = sorted(folder.glob("librdkafka*.so*"))
    library = ctypes.CDLL(str(found[0]) if found else "librdkafka.so.1")
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    signatures = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (ctypes.c_int, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [ctypes.c_int, pointer, text, ctypes.c_size_t]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, ctypes.c_int]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_topic_create": (ctypes.c_int, [pointer, text, ctypes.c_int, ctypes.c_int]),
        "rd_kafka_mock_set_controller_id": (ctypes.c_int, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_start_request_tracking": (None, [pointer]),
        "rd_kafka_mock_clear_requests": (None, [pointer]),
        "rd_kafka_mock_get_requests": (pointer, [pointer, ctypes.POINTER(ctypes.c_size_t)]),
        "rd_kafka_mock_request_destroy_array": (None, [pointer, ctypes.c_size_t]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def serve(topics: int, partitions: int, brokers: int) -> None:
    """Run the cluster until stdin ends; each line on stdin is answered with the requests seen since the last."""
    library = _library()
    error = ctypes.create_string_buffer(_ERROR_BYTES)
    settings = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set(settings, b"log_level", b"0", error, _ERROR_BYTES)
    client = library.rd_kafka_new(0, settings, error, _ERROR_BYTES)
    if not client:
        raise SystemExit(f"No mock cluster: {error.value.decode()}")
    cluster = library.rd_kafka_mock_cluster_new(client, brokers)
    library.rd_kafka_mock_set_controller_id(cluster, 1)
    names = [f"system-{number % 40:02}.topic-{number:06}".encode() for number in range(topics)]
    # each call waits for the next turn of the cluster's thread: many of them share one
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda name: library.rd_kafka_mock_topic_create(cluster, name, partitions, 1), names))
    library.rd_kafka_mock_start_request_tracking(cluster)
    sys.stdout.write(library.rd_kafka_mock_cluster_bootstraps(cluster).decode() + "\n")
    sys.stdout.flush()
    for _line in sys.stdin:
        count = ctypes.c_size_t()
        found = library.rd_kafka_mock_get_requests(cluster, ctypes.byref(count))
        library.rd_kafka_mock_request_destroy_array(found, count)
        library.rd_kafka_mock_clear_requests(cluster)
        sys.stdout.write(f"{count.value}\n")
        sys.stdout.flush()


class MockCluster:
    """The running process, as its user sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.bootstrap_servers = self._line()

    def requests(self) -> int:
        """How many requests its brokers got since the last call."""
        if self._process.stdin is not None:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return int(self._line())

    def _line(self) -> str:
        line = self._process.stdout.readline().strip() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError("The mock cluster ended.")
        return line


@contextmanager
def running(topics: int, partitions: int, brokers: int = 3) -> Iterator[MockCluster]:
    """Start one and end it again."""
    words = [f"--topics={topics}", f"--partitions={partitions}", f"--brokers={brokers}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.mock_cluster", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield MockCluster(process)
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topics", type=int, required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--brokers", type=int, default=3)
    given = parser.parse_args()
    serve(given.topics, given.partitions, given.brokers)
