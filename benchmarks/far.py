"""A TCP port as far away as one likes: bytes arrive after half a round trip, and as many as were sent."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future

_CHUNK_BYTES = 65536


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_seconds: float) -> None:
    """Delay each piece, not the pace: a later piece does not wait for an earlier one to arrive."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=1024)

    async def deliver() -> None:
        while True:
            due, piece = await under_way.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not piece:
                writer.write_eof()
                return
            writer.write(piece)
            await writer.drain()

    delivery = asyncio.create_task(deliver())
    with contextlib.suppress(OSError):
        piece = b"-"
        while piece:
            piece = await reader.read(_CHUNK_BYTES)
            await under_way.put((loop.time() + delay_seconds, piece))
        await delivery
    delivery.cancel()


@contextlib.contextmanager
def far_away(host: str, port: int, round_trip_seconds: float) -> Iterator[int]:
    """Yields a port of the loopback interface that leads there."""

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(host, port)
        half = round_trip_seconds / 2
        try:
            await asyncio.gather(_carry(reader, there[1], half), _carry(there[0], writer, half))
        finally:
            writer.close()
            there[1].close()

    async def serve() -> None:
        server = await asyncio.start_server(connect, "127.0.0.1", 0)
        listening.set_result((asyncio.get_running_loop(), server.sockets[0].getsockname()[1]))
        await ended.wait()
        server.close()

    listening: Future[tuple[asyncio.AbstractEventLoop, int]] = Future()
    ended = asyncio.Event()
    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="far away", daemon=True)
    thread.start()
    loop, near_port = listening.result(10)
    try:
        yield near_port
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
