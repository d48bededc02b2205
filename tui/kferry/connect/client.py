"""Reads Connect's REST interface. Connectors are changed by playbooks only, so nothing is ever written here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx2
import tenacity

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import TopicPartition

_DEADLINE_SECONDS = 20.0
_WAIT_SECONDS = 0.3
_MAX_WAIT_SECONDS = 2.0
_MAX_WORDS = 300


@dataclass(frozen=True, slots=True)
class ConnectRoot:
    """What a worker says of itself."""

    version: str | None
    kafka_cluster_id: str | None


@dataclass(frozen=True, slots=True)
class ConnectorTask:
    """One connector task as Connect reports it; `state` is Connect's claim, not proof that data moves."""

    id: int
    state: str
    worker: str
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectorStatus:
    """One connector as Connect reports it."""

    name: str
    state: str
    worker: str
    trace: str | None
    tasks: tuple[ConnectorTask, ...]


class _Again(Exception):  # noqa: N818 - not an error: the answer was "not now"
    def __init__(self, url: str, words: str) -> None:
        super().__init__(words)
        self.url = url
        self.words = words


class ConnectClient:
    """Asks any of several workers of one Connect cluster; the next one is tried where one does not answer.

    `ways` leads to workers that are not reached directly: by address, what opens the way and returns a Unix socket.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        timeout_seconds: float = 5.0,
        deadline_seconds: float = _DEADLINE_SECONDS,
        basic_auth: tuple[str, str] | None = None,
        ways: Mapping[str, Callable[[], Path]] | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        if not urls:
            raise KferryError("No Connect worker is known.", next_step="Create the migration task's workers first.")
        self._urls = [url.rstrip("/") for url in urls]
        self._timeout_seconds = timeout_seconds
        self._deadline_seconds = deadline_seconds
        self._preferred = 0
        self._lock = threading.Lock()
        self._basic_auth = basic_auth
        self._ways = {url.rstrip("/"): way for url, way in (ways or {}).items()}
        self._through: dict[Path, httpx2.Client] = {}
        self._http = self._client(transport)

    def _client(self, transport: httpx2.BaseTransport | None) -> httpx2.Client:
        """Workers are reached directly or through a tunnel, never through the proxy of the operator's shell."""
        return httpx2.Client(
            timeout=self._timeout_seconds,
            auth=self._basic_auth,
            transport=transport,
            trust_env=False,
            headers={"Accept": "application/json"},
        )

    def _to(self, url: str) -> httpx2.Client:
        """The HTTP client for one worker. Raises KferryError where its way can't be opened."""
        way = self._ways.get(url)
        if way is None:
            return self._http
        socket = way()
        with self._lock:
            if socket not in self._through:
                self._through[socket] = self._client(httpx2.HTTPTransport(uds=str(socket)))
            return self._through[socket]

    def __enter__(self) -> ConnectClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for http in (self._http, *self._through.values()):
            http.close()

    def alive(self, url: str) -> bool:
        """Whether this one worker answers now."""
        return self._root_of(url) is not None

    def root(self) -> dict[str, ConnectRoot | None]:
        """Version and cluster per worker address; None for a worker that does not answer."""
        return {url: self._root_of(url) for url in self._urls}

    def connectors(self) -> list[str]:
        """The names of all connectors, sorted."""
        answer = self._get("/connectors", "list the connectors")
        return sorted(str(name) for name in answer) if isinstance(answer, list) else []

    def status(self, name: str) -> ConnectorStatus | None:
        """State of a connector and its connector tasks; None if there is no such connector."""
        answer = self._get(f"/connectors/{_quoted(name)}/status", f"read the status of {name}")
        return None if answer is None else _status(name, answer)

    def config(self, name: str) -> dict[str, str] | None:
        """The config of a connector; None if there is no such connector."""
        answer = self._get(f"/connectors/{_quoted(name)}/config", f"read the config of {name}")
        return None if answer is None else {str(key): str(value) for key, value in _mapping(answer).items()}

    def offsets(self, name: str) -> dict[TopicPartition, int] | None:
        """Per source partition the offset of the last record copied; None if there is no such connector."""
        # Right after a change of offsets Connect can answer 500 once: that is retried like any 5xx.
        answer = self._get(f"/connectors/{_quoted(name)}/offsets", f"read the offsets of {name}")
        return None if answer is None else parse_offsets(answer)

    def _root_of(self, url: str) -> ConnectRoot | None:
        url = url.rstrip("/")
        try:
            answer = self._to(url).get(f"{url}/")
            if answer.status_code != 200:
                return None
            body = answer.json()
        except (KferryError, httpx2.HTTPError, httpx2.InvalidURL, ValueError):
            return None
        if not isinstance(body, dict) or "version" not in body:
            return None  # something else listens on this port
        return ConnectRoot(_text(body.get("version")), _text(body.get("kafka_cluster_id")))

    def _get(self, path: str, doing: str) -> Any:
        """The JSON answer; None for 404. Retries what passes by itself until the deadline."""
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_delay(self._deadline_seconds),
            wait=tenacity.wait_random_exponential(multiplier=_WAIT_SECONDS, max=_MAX_WAIT_SECONDS),
            retry=tenacity.retry_if_exception_type(_Again),
            reraise=True,
        )
        try:
            return retrying(self._get_from_any, path, doing)
        except _Again as last:
            raise KferryError(
                f"Cannot {doing} at Connect worker {last.url}.",
                cause=f"{last.words} ({len(self._urls)} workers tried for {self._deadline_seconds:.0f} s.)",
                next_step="See whether the worker runs, and its log; `kferry diagnose` collects both.",
                kind=ErrorKind.CONNECT,
            ) from None

    def _get_from_any(self, path: str, doing: str) -> Any:
        last: _Again | None = None
        for step in range(len(self._urls)):
            index = (self._preferred + step) % len(self._urls)
            try:
                answer = self._get_from(self._urls[index], path, doing)
            except _Again as again:
                last = again
            else:
                with self._lock:
                    self._preferred = index
                return answer
        assert last is not None  # noqa: S101 - there is at least one address
        raise last

    def _get_from(self, url: str, path: str, doing: str) -> Any:
        try:
            response = self._to(url).get(f"{url}{path}")
        except KferryError as error:
            raise _Again(url, str(error)) from None
        except httpx2.TimeoutException:
            raise _Again(url, f"It did not answer within {self._timeout_seconds:.0f} s.") from None
        except httpx2.TransportError as error:
            raise _Again(url, f"It cannot be reached: {error}.") from None
        if response.status_code == 404:
            return None
        if response.status_code == 409:
            raise _Again(url, "The workers are rebalancing.")
        if response.status_code >= 500:
            raise _Again(url, f"It answered {response.status_code}: {_message(response)}.")
        if response.status_code != 200:
            raise KferryError(
                f"Cannot {doing} at Connect worker {url}.",
                cause=f"It answered {response.status_code}: {_message(response)}.",
                next_step="Check user and password of Connect's REST interface."
                if response.status_code in (401, 403)
                else "See the worker's log.",
                kind=ErrorKind.CONNECT,
            )
        try:
            return response.json()
        except ValueError:
            raise _Again(url, "Its answer is not JSON: another service seems to listen there.") from None


def parse_offsets(answer: object) -> dict[TopicPartition, int]:
    """The offsets of a MirrorSource connector; entries that are no source partitions are left out."""
    found: dict[TopicPartition, int] = {}
    entries = _mapping(answer).get("offsets")
    for entry in entries if isinstance(entries, list) else []:
        where, what = _mapping(_mapping(entry).get("partition")), _mapping(_mapping(entry).get("offset"))
        topic, partition, offset = where.get("topic"), where.get("partition"), what.get("offset")
        if isinstance(topic, str) and isinstance(partition, int) and isinstance(offset, int):
            found[TopicPartition(topic, partition)] = offset
    return found


def _status(name: str, answer: object) -> ConnectorStatus:
    body = _mapping(answer)
    connector = _mapping(body.get("connector"))
    tasks = body.get("tasks")
    return ConnectorStatus(
        name=name,
        state=_text(connector.get("state")) or "UNKNOWN",
        worker=_text(connector.get("worker_id")) or "",
        trace=_text(connector.get("trace")),
        tasks=tuple(
            sorted(
                (
                    ConnectorTask(
                        id=int(task.get("id", -1)),
                        state=_text(task.get("state")) or "UNKNOWN",
                        worker=_text(task.get("worker_id")) or "",
                        trace=_text(task.get("trace")),
                    )
                    for task in map(_mapping, tasks if isinstance(tasks, list) else [])
                ),
                key=lambda task: task.id,
            )
        ),
    )


def _message(response: httpx2.Response) -> str:
    try:
        text = _text(_mapping(response.json()).get("message"))
    except ValueError:
        text = None
    return (text or response.text.strip() or response.reason_phrase)[:_MAX_WORDS].rstrip(".")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _quoted(name: str) -> str:
    return quote(name, safe="")
