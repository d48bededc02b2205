"""One question asked of each broker by itself, side by side; a broker that does not answer costs its own part only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Broker, ClusterConfig
from kferry.kafka.broker_link import BrokerLink, Unsupported, error_name, words
from kferry.kafka.wire import WireError

T = TypeVar("T")

_AT_ONCE = 6
_LOOK_SECONDS = 0.1


@dataclass(slots=True)
class Answers(Generic[T]):
    """What each broker said; for those that said nothing, why, in words."""

    by_broker: dict[int, T] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    unsupported: bool = False  # at least one broker does not know the question


def each_broker(
    cluster: ClusterConfig,
    brokers: Iterable[Broker],
    ask: Callable[[BrokerLink], T],
    *,
    timeout_seconds: float,
    cancelled: Callable[[], bool] = lambda: False,
) -> Answers[T]:
    """Ask each broker over a connection of its own. Raises KferryError only where it was cancelled."""
    answers: Answers[T] = Answers()
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ask-broker")
    try:
        running = {pool.submit(_ask, cluster, broker, ask, timeout_seconds): broker for broker in brokers}
        waiting = set(running)
        while waiting:
            done, waiting = wait(waiting, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                _sort(future, running[future].broker_id, answers)
            if cancelled():
                raise _cancelled()
    finally:
        # what is under way ends by its own deadline
        pool.shutdown(wait=False, cancel_futures=True)
    return answers


def in_background(work: Callable[[], T], *, cancelled: Callable[[], bool] = lambda: False) -> T:
    """The result of a call that ends by a deadline of its own; left alone at once where it was cancelled."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="ask-any-broker")
    try:
        running = pool.submit(work)
        while not wait([running], timeout=_LOOK_SECONDS).done:
            if cancelled():
                raise _cancelled()
        return running.result()
    finally:
        pool.shutdown(wait=False)


def _cancelled() -> KferryError:
    return KferryError("The scan was cancelled.", next_step="Go on with it: kferry scan --resume.")


def _ask(cluster: ClusterConfig, broker: Broker, ask: Callable[[BrokerLink], T], timeout_seconds: float) -> T:
    with BrokerLink(cluster, broker, timeout_seconds=timeout_seconds) as link:
        return ask(link)


def _sort(future: Future[T], broker_id: int, answers: Answers[T]) -> None:
    try:
        answers.by_broker[broker_id] = future.result()
    except (Unsupported, KferryError, OSError, WireError) as error:
        answers.unsupported |= isinstance(error, Unsupported)
        answers.failed[broker_id] = words(error)


def refused(code: int, doing: str) -> KferryError:
    """The error for a broker that answers, and says no."""
    return KferryError(f"A broker would not {doing}.", cause=f"{error_name(code)}.", kind=ErrorKind.FAILED)
