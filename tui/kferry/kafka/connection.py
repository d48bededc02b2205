"""One admin client of one cluster, with waiting that fails early and says why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, DescribeClusterResult

from kferry.domain.errors import KferryError
from kferry.domain.model import ClusterConfig
from kferry.kafka import auth, causes
from kferry.kafka.coordinators import Coordinators

T = TypeVar("T")
K = TypeVar("K")

# Brokers that are restarting come back within this time; longer waiting teaches nothing new.
_GRACE_SECONDS = 2.5
_POLL_SECONDS = 0.1
_PAUSE_SECONDS = 0.3
_SLACK_SECONDS = 1.0  # librdkafka reports its own timeout, with more detail, a moment after the deadline
_ATTEMPT_SECONDS = 15.0
# A client asks the controller it was told of, and brokers go on naming a dead one for as long as its session lasts.
# While a broker is known not to answer, the first attempt is short: the next one asks a new client.
_SHORT_ATTEMPT_SECONDS = 3.0
_TROUBLE_SECONDS = 60.0
_PROBE_SECONDS = 6.0
_CLIENT_ID = "kferry"
_SILENT = {KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT}
_RETRIED = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_CONTROLLER,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError._WAIT_COORD,
    KafkaError._TIMED_OUT,
    KafkaError.REQUEST_TIMED_OUT,
}


class Connection:
    """Opens its client at first use; may be used from several threads."""

    def __init__(self, cluster: ClusterConfig) -> None:
        self.cluster = cluster
        self.ear = causes.ErrorEar()
        self.cancelled: Callable[[], bool] = lambda: False  # looked at while waiting; a scan sets it
        self.coordinators = Coordinators()
        self._trouble_until_seconds = 0.0
        self._client: AdminClient | None = None
        self._lock = threading.Lock()

    @property
    def client(self) -> AdminClient:
        with self._lock:
            if self._client is None:
                config = auth.client_config(self.cluster, client_id=_CLIENT_ID)
                self._client = AdminClient(config | {"error_cb": self.ear})
            return self._client

    def close(self) -> None:
        with self._lock:
            self._client = None

    def note_trouble(self) -> None:
        """Tell that a broker does not answer: for a while, first attempts are short."""
        self._trouble_until_seconds = time.monotonic() + _TROUBLE_SECONDS

    def wait(self, future: Future[T], *, doing: str, deadline: float) -> T:
        """The future's result; KferryError where no broker can be used at all, KafkaException otherwise."""
        started = time.monotonic()
        while True:
            try:
                result = future.result(timeout=_POLL_SECONDS)
            except TimeoutError:
                self._give_up_if_hopeless(started, deadline + _SLACK_SECONDS, doing)
            else:
                self._hear_trouble()
                self.ear.clear()
                return result

    def ask(
        self,
        start: Callable[[float], Future[T]],
        *,
        doing: str,
        timeout_seconds: float,
        repeatable: bool = True,
        small: bool = False,
    ) -> T:
        """Start one request and wait for it; every failure becomes a KferryError.

        `start` gets the time for the request. One that any broker answers at once is `small`: see `ask_many`.
        Answers that only say "not yet" are asked again: the first call to a coordinator of a fresh cluster is one of
        these.
        """

        def start_one(_keys: list[str], left_seconds: float) -> dict[str, Future[T]]:
            return {"": start(left_seconds)}

        results, errors = self.ask_many(
            start_one, [""], doing=doing, timeout_seconds=timeout_seconds, repeatable=repeatable, small=small
        )
        if errors:
            raise causes.refused(self.cluster, errors[""], doing)
        return results[""]

    def ask_many(
        self,
        start: Callable[[list[K], float], Mapping[K, Future[T]]],
        keys: Iterable[K],
        *,
        doing: str,
        timeout_seconds: float,
        wave: int = 500,
        in_flight: int = 8,
        repeatable: bool = True,
        answered: bool = False,
        small: bool = False,
    ) -> tuple[dict[K, T], dict[K, KafkaError]]:
        """Ask for many things: `wave` keys per request, up to `in_flight` requests before the first is collected.

        Answers that only say "not yet" are asked again until the deadline, unless the request is not `repeatable`. The
        first attempts are short where the request is `small` or a broker has not answered lately.
        Returns what was answered, and the error for each key that was not; raises where nothing was answered at all,
        unless the cluster has `answered` for other keys a moment ago.
        """
        started = time.monotonic()
        deadline = started + timeout_seconds
        attempts = 0
        results: dict[K, T] = {}
        errors: dict[K, KafkaError] = {}
        pending = list(dict.fromkeys(keys))
        while pending:
            self._raise_if_cancelled(doing)
            errors = {key: error for key, error in errors.items() if key not in pending}
            attempt_seconds = self._attempt_seconds(attempts, small) if repeatable else timeout_seconds
            attempts += 1
            for group in _chunks(pending, wave * in_flight):
                fired: dict[K, Future[T]] = {}
                for chunk in _chunks(group, wave):
                    fired.update(start(chunk, min(attempt_seconds, max(0.5, deadline - time.monotonic()))))
                got, failed = self._collect(fired, doing=doing, deadline=deadline)
                results.update(got)
                errors.update(failed)
            pending = [key for key, error in errors.items() if error.code() in _RETRIED]
            if not repeatable or time.monotonic() + _PAUSE_SECONDS >= deadline:
                break
            if pending:
                if any(errors[key].code() in _SILENT for key in pending):
                    # a client goes on asking the controller it knows, also when that is dead: a new one looks anew
                    self.note_trouble()
                    self.close()
                time.sleep(_PAUSE_SECONDS)
        if errors and not results and not answered and all(causes.is_transport(error) for error in errors.values()):
            self.client.poll(0)
            raise self._unreachable(started, doing)
        return results, errors

    def _attempt_seconds(self, attempts_before: int, small: bool) -> float:
        """How long an attempt waits for its answer: short at first where it may go to a broker that is dead."""
        self.client.poll(0)
        self._hear_trouble()
        if small or time.monotonic() < self._trouble_until_seconds:
            return min(_ATTEMPT_SECONDS, _SHORT_ATTEMPT_SECONDS * 2.0**attempts_before)
        return _ATTEMPT_SECONDS

    def _hear_trouble(self) -> None:
        if self.ear.since(0):
            self.note_trouble()

    def _collect(
        self, futures: Mapping[K, Future[T]], *, doing: str, deadline: float
    ) -> tuple[dict[K, T], dict[K, KafkaError]]:
        results: dict[K, T] = {}
        errors: dict[K, KafkaError] = {}
        for key, future in futures.items():
            try:
                results[key] = self.wait(future, doing=doing, deadline=deadline)
            except KafkaException as exception:
                error = causes.kafka_error(exception)
                if error is None:
                    raise
                errors[key] = error
        return results, errors

    def call(self, action: Callable[[float], T], *, doing: str, timeout_seconds: float) -> T:
        """A blocking librdkafka call (list_topics), made once the cluster is known to answer."""
        started = time.monotonic()

        def probe(left_seconds: float) -> Future[DescribeClusterResult]:
            return self.client.describe_cluster(request_timeout=left_seconds)

        unanswered: KferryError | None = None
        try:
            self.ask(probe, doing=doing, timeout_seconds=min(0.6 * timeout_seconds, _PROBE_SECONDS), small=True)
        except KferryError as failed:
            unanswered = failed
            # A broker that died a moment ago may be the one that is asked; the others can still answer the call itself.
            if self.cancelled() or self.ear.hopeless_for_seconds(started) > 0:
                raise
        try:
            return action(max(1.0, started + timeout_seconds - time.monotonic()))
        except KafkaException as exception:
            error = causes.kafka_error(exception)
            if error is None:
                raise
            # what the probe said of the cluster as a whole tells more than this one call's end
            raise unanswered or self.failure(error, started, doing) from exception

    def failure(self, error: KafkaError, started: float, doing: str) -> KferryError:
        """The KferryError for an error that stays."""
        if causes.is_transport(error):
            self.client.poll(0)
            return self._unreachable(started, doing)
        return causes.refused(self.cluster, error, doing)

    @staticmethod
    def passes(error: KafkaError) -> bool:
        """Whether the same request may succeed a moment later."""
        return error.code() in _RETRIED

    def _give_up_if_hopeless(self, started: float, deadline: float, doing: str) -> None:
        self.client.poll(0)
        self._raise_if_cancelled(doing)
        if time.monotonic() >= deadline or self.ear.hopeless_for_seconds(started) >= _GRACE_SECONDS:
            raise self._unreachable(started, doing)

    def _raise_if_cancelled(self, doing: str) -> None:
        if self.cancelled():
            raise KferryError(
                f"Asking the {self.cluster.role} cluster was cancelled.",
                cause=f"kferry was about to {doing} it.",
                next_step="Ask again when it is wanted.",
            )

    def _unreachable(self, started: float, doing: str) -> KferryError:
        # A client that has been cut off for long no longer repeats its complaint: older ones still explain it.
        heard = self.ear.since(started) or self.ear.since(0)
        return causes.unreachable(self.cluster, heard, doing, time.monotonic() - started)


def _chunks(items: list[K], size: int) -> Iterable[list[K]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
