"""Stands between a client and a real broker, in a process of its own, and counts the requests that go through.

The broker must advertise this address, or its clients go round it. A line on stdin is the broker's address, or, if it
is empty, the wish to know how many requests of each kind there were since the last time.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK_BYTES = 1 << 16


class _Relay:
    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.target = ("", 0)

    async def serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        print(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201 - read by the parent
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line.strip():
                host, _, port = line.strip().rpartition(":")
                self.target = (host, int(port))
                continue
            print(json.dumps(self.counts), flush=True)  # noqa: T201 - read by the parent
            self.counts.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            from_broker, to_broker = await asyncio.open_connection(*self.target)
            back = asyncio.create_task(_copy(from_broker, writer))
            try:
                while True:
                    length = await reader.readexactly(4)
                    request = await reader.readexactly(int.from_bytes(length, "big"))
                    self.counts[int.from_bytes(request[:2], "big")] += 1
                    to_broker.write(length + request)
                    await to_broker.drain()
            finally:
                to_broker.close()
                await back
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    writer.close()


class Counting:
    """The running process, as its user sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address = self._line()

    def passes_to(self, address: str) -> None:
        """Where connections go from now on."""
        self._say(address)

    def requests(self) -> Counter[int]:
        """How many requests of each kind (Kafka's number for it) there were since the last call."""
        self._say("")
        return Counter({int(api): count for api, count in json.loads(self._line()).items()})

    def _say(self, words: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(f"{words}\n")
            self._process.stdin.flush()

    def _line(self) -> str:
        line = self._process.stdout.readline().strip() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError("The counting process ended.")
        return line


@contextmanager
def counting() -> Iterator[Counting]:
    """Start one and end it again."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.counting"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield Counting(process)
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    asyncio.run(_Relay().serve())
