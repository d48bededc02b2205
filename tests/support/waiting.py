"""Waiting for something to become true, with a deadline, instead of sleeping for luck."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")

_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.25


def _pauses() -> Callable[[], float]:
    """Pauses that grow: quick things are seen at once, slow ones cost little."""
    pause = _FIRST_PAUSE_SECONDS

    def following() -> float:
        nonlocal pause
        now, pause = pause, min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
        return now

    return following


def wait_until(predicate: Callable[[], Answer], deadline_seconds: float = 30.0, what: str = "") -> Answer:
    """Call `predicate` until its answer is true and return it; fail with `what` and the last answer at the deadline."""
    ends, following = time.monotonic() + deadline_seconds, _pauses()
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() > ends:
            raise AssertionError(_never(predicate, answer, deadline_seconds, what))
        time.sleep(following())


async def until(predicate: Callable[[], Answer], deadline_seconds: float = 30.0, what: str = "") -> Answer:
    """As `wait_until`, for tests that run on an event loop."""
    ends, following = time.monotonic() + deadline_seconds, _pauses()
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() > ends:
            raise AssertionError(_never(predicate, answer, deadline_seconds, what))
        await asyncio.sleep(following())


def free_port() -> int:
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _never(predicate: object, answer: object, deadline_seconds: float, what: str) -> str:
    name = what or getattr(predicate, "__name__", repr(predicate))
    return f"not within {deadline_seconds:g} s: {name} (last answer: {answer!r})"
