"""Kafka's own console consumer as a member of a group: where a Java application would go on reading."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

_LINE = re.compile(rb"Partition:(\d+)\tOffset:(\d+)")
_MAIN_CLASS = "org.apache.kafka.tools.consumer.ConsoleConsumer"


def first_offsets(
    facts: Mapping[str, Any],
    cluster: str,
    group_id: str,
    topic: str,
    partitions: Sequence[int],
    deadline_seconds: float,
) -> dict[int, int]:
    """The offset of the first record that a Java member of the group is given, per partition. It commits nothing."""
    command = [
        facts["java"],
        "-Xmx256m",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        f"{facts['libs']}/*",
        _MAIN_CLASS,
        *("--bootstrap-server", facts[cluster]["bootstrap_servers"]),
        *("--topic", topic, "--group", group_id, "--isolation-level", "read_committed"),
        *("--consumer-property", "enable.auto.commit=false"),
        *("--consumer-property", "auto.offset.reset=none"),  # a group without a position is an error, not a guess
        *("--property", "print.partition=true", "--property", "print.offset=true"),
        *("--property", "print.key=false", "--property", "print.value=false"),
    ]
    found: dict[int, int] = {}
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as child:
        assert child.stdout is not None
        os.set_blocking(child.stdout.fileno(), False)
        said = rest = b""
        try:
            deadline = time.monotonic() + deadline_seconds
            with selectors.DefaultSelector() as selector:
                selector.register(child.stdout, selectors.EVENT_READ)
                while not set(partitions) <= set(found):
                    left = deadline - time.monotonic()
                    message = f"{group_id} got nothing from {set(partitions) - set(found)}: {said[-1500:]!r}"
                    assert left > 0, message
                    if not selector.select(left):
                        continue
                    data = os.read(child.stdout.fileno(), 65536)
                    assert data, message
                    said = (said + data)[-4000:]
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        if match := _LINE.search(line):
                            found.setdefault(int(match[1]), int(match[2]))
        finally:
            child.send_signal(signal.SIGTERM)  # its shutdown hook leaves the group
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
    return found
