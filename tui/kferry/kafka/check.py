"""The connection test: references, name, port, TLS, Kafka, login, each advertised broker, rights and clock.

Line by line, each with the time it took. Whatever a cluster does, a test ends: every look has its own deadline, and a
cancelled test says what it saw so far.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from typing import Any

from kferry.domain import security
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Broker, ClusterConfig, ClusterFacts
from kferry.kafka import api_versions, cluster
from kferry.kafka.addresses import bootstrap_addresses
from kferry.kafka.capabilities import Found, Prober
from kferry.kafka.check_clock import check_clock
from kferry.kafka.check_endpoint import Endpoint, check_endpoint, reason
from kferry.kafka.check_lines import FAILED, OK, SKIPPED, UNKNOWN, WARN, Line, OnLines, Stopwatch, counted, sentence
from kferry.kafka.check_secrets import check_secrets
from kferry.kafka.connection import Connection
from kferry.kafka.direct import DirectSession
from kferry.kafka.wire import WireError

__all__ = ["ClusterCheck", "Line", "check"]

_MAX_BROKERS_TRIED = 60
_AT_ONCE = 16
_LOOK_SECONDS = 0.2
_OLDEST_RELEASE = (0, 11)
_METADATA = 3


@dataclass(frozen=True, slots=True)
class ClusterCheck:
    """The result of a connection test."""

    reachable: bool
    kafka_version: str | None
    cluster_id: str | None
    broker_count: int | None
    lines: tuple[Line, ...]
    error: KferryError | None = None
    capabilities: Mapping[str, Found] = field(default_factory=dict)

    def as_body(self) -> dict[str, Any]:
        """The document `cluster_check`."""
        return {
            "reachable": self.reachable,
            "kafka_version": self.kafka_version,
            "cluster_id": self.cluster_id,
            "broker_count": self.broker_count,
            "capabilities": {name: found.as_body() for name, found in self.capabilities.items()},
            "lines": [list(line) for line in self.lines],
            "error": self.error.as_dict() if self.error else None,
        }


class Cancelled(Exception):  # noqa: N818 - not an error: the operator has seen enough
    """The test was told to stop."""


def check(
    connection: Connection,
    *,
    timeout_seconds: float,
    on_lines: OnLines = lambda lines: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> ClusterCheck:
    """Test a connection from its references up to the rights; never raises for a cluster that is away.

    `on_lines` gets all lines so far whenever there are new ones.
    """
    return _Test(connection, timeout_seconds, on_lines, cancelled).run()


class _Test:
    def __init__(
        self, connection: Connection, timeout_seconds: float, on_lines: OnLines, cancelled: Callable[[], bool]
    ) -> None:
        self._connection = connection
        self._timeout_seconds = timeout_seconds
        self._on_lines = on_lines
        self._cancelled = cancelled
        self._lines: list[Line] = []

    def run(self) -> ClusterCheck:
        facts: ClusterFacts | None = None
        capabilities: Mapping[str, Found] = {}
        try:
            self._say(check_secrets(self._connection.cluster))
            ends = self._bootstrap()
            hopeless = self._hopeless(ends)
            if hopeless is not None:
                self._say([("login", SKIPPED, "Not tried: no bootstrap server can be used.", None)])
                return self._result(None, hopeless)
            facts = self._login(ends)
            self._brokers(facts.brokers, ends)
            self._say([self._rights()])
            self._say([check_clock(self._connection, timeout_seconds=self._timeout_seconds)])
            self._raise_if_cancelled()
            capabilities = Prober(self._connection).probe(cancelled=self._cancelled)
            self._say(capability_line(capabilities))
        except KferryError as error:
            return self._result(None, error, capabilities)
        except Cancelled:
            self._lines.append(("the rest", SKIPPED, "The test was stopped.", None))
            return self._result(facts, None if facts else _stopped(self._connection.cluster), capabilities)
        return self._result(facts, None, capabilities)

    def _result(
        self, facts: ClusterFacts | None, error: KferryError | None, capabilities: Mapping[str, Found] | None = None
    ) -> ClusterCheck:
        return ClusterCheck(
            reachable=facts is not None,
            kafka_version=facts.kafka_version if facts else None,
            cluster_id=facts.cluster_id if facts else None,
            broker_count=len(facts.brokers) if facts else None,
            lines=tuple(self._lines),
            error=error,
            capabilities=capabilities or {},
        )

    def _say(self, lines: Iterable[Line]) -> None:
        self._lines += lines
        self._on_lines(self._lines)
        self._raise_if_cancelled()

    def _raise_if_cancelled(self) -> None:
        if self._cancelled():
            raise Cancelled

    # ---- the parts ----

    def _bootstrap(self) -> list[Endpoint]:
        places = bootstrap_addresses(self._connection.cluster.bootstrap_servers)
        found = self._all(places)
        for end in found:
            self._say(end.lines)
        return found

    def _hopeless(self, ends: list[Endpoint]) -> KferryError | None:
        """The error where no bootstrap server can be used, so that nothing waits for a library to find out."""
        if any(end.failure is None for end in ends):
            return None
        role = self._connection.cluster.role.value
        missing = next((line for line in self._lines if line[1] == FAILED), None)
        what, _, words, _ = missing or ("", "", "clusters.yml names no bootstrap server.", None)
        where = ends[0].address if ends else "no address"
        for end in ends:
            if end.failure is not None:
                where = end.address
                break
        cause, _, step = words.partition(". ")
        return KferryError(
            f"Cannot reach the {role} cluster at {where}.",
            cause=f"{what}: {cause.rstrip('.')}.",
            next_step=step or f"Correct kferry_clusters.{role} in {security.CLUSTERS_FILE}.",
            kind=ErrorKind.CONNECT,
        )

    def _login(self, ends: list[Endpoint]) -> ClusterFacts:
        watch = Stopwatch()
        config = self._connection.cluster
        what = "login" if config.security_protocol.upper().startswith("SASL") else "cluster"
        try:
            told = cluster.describe(self._connection, timeout_seconds=self._timeout_seconds)
        except KferryError as error:
            brokers = () if "Authentication" in error.cause else advertised(config, self._timeout_seconds)
            if brokers:  # the library gave up where it was sent to, not where it began
                words = f"{_as_whom(config)}; {counted(len(brokers), 'broker')} advertised, and clients are sent there."
                self._say([(what, OK, words, watch.seconds)])
                self._brokers(brokers, ends)
            self._lines.append((what, FAILED, str(error), watch.seconds))
            self._on_lines(self._lines)
            raise
        spoken = next((end.versions for end in ends if end.versions), None)
        facts = ClusterFacts(
            role=config.role,
            cluster_id=told.cluster_id or None,
            kafka_version=api_versions.release(spoken) if spoken else None,
            controller_id=None,
            brokers=tuple(Broker(node.id, node.host, node.port, node.rack or None) for node in told.nodes),
        )
        words = f"{_as_whom(config)} in cluster {facts.cluster_id or 'without an id'} with {_brokers(facts)}."
        self._say([(what, OK, words, watch.seconds), _version_line(facts.kafka_version)])
        return facts

    def _rights(self) -> Line:
        watch = Stopwatch()
        allowed = cluster.rights(self._connection, timeout_seconds=self._timeout_seconds)
        what = "rights on the cluster"
        if allowed is None:
            return (
                what,
                UNKNOWN,
                "Not told: DESCRIBE on the cluster is missing, or it is older than 2.3.",
                watch.seconds,
            )
        return (what, OK, f"{', '.join(allowed) or 'None'}.", watch.seconds)

    def _brokers(self, brokers: tuple[Broker, ...], ends: list[Endpoint]) -> None:
        """Each advertised broker: data comes from all of them, so each must be reached under its own name."""
        known = {(end.host, end.port): end for end in ends}
        tried = brokers[:_MAX_BROKERS_TRIED]
        fresh = [(one.host, one.port) for one in tried if (one.host, one.port) not in known]
        known |= {(end.host, end.port): end for end in self._all(fresh)}
        tried_ends = [known[one.host, one.port] for one in tried]
        self._say(broker_line(*pair) for pair in zip(tried, tried_ends, strict=True))
        if tried and all(end.failure is not None for end in tried_ends):
            raise _none_usable(self._connection.cluster, tried_ends)
        if len(brokers) > len(tried):
            left = len(brokers) - len(tried)
            self._say([(f"{left} more brokers", SKIPPED, f"Only the first {_MAX_BROKERS_TRIED} are tried.", None)])

    def _all(self, places: list[tuple[str, int]]) -> list[Endpoint]:
        """Several addresses at once. Each ends by itself; a cancelled test does not wait for them."""
        if not places:
            return []
        config = self._connection.cluster
        pool = ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(places)), thread_name_prefix="endpoint")
        futures: list[Future[Endpoint]] = [pool.submit(check_endpoint, config, host, port) for host, port in places]
        try:
            while wait_for(futures, timeout=_LOOK_SECONDS).not_done:
                self._raise_if_cancelled()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return [_outcome(future, *place) for future, place in zip(futures, places, strict=True)]


def _outcome(future: Future[Endpoint], host: str, port: int) -> Endpoint:
    try:
        return future.result()
    except Exception as error:  # one address must not end the test of the others
        failed = Endpoint(host, port)
        failed.add("look", FAILED, f"It could not be looked at ({type(error).__name__}: {reason(error)}).", 0.0)
        return failed


def advertised(config: ClusterConfig, timeout_seconds: float) -> tuple[Broker, ...]:
    """The brokers as a bootstrap server names them, asked of that server alone; () where it does not say."""
    try:
        with DirectSession(config, timeout_seconds=timeout_seconds) as session:
            answer = session.call(_METADATA, 1, struct.pack(">i", 0))
        found = []
        for _ in range(answer.array_length()):
            number, host, port = answer.int32(), answer.string(), answer.int32()
            found.append(Broker(number, host, port, answer.nullable_string() or None))
    except (KferryError, OSError, WireError):
        return ()
    return tuple(sorted(found, key=lambda broker: broker.broker_id))


def broker_line(broker: Broker, end: Endpoint) -> Line:
    """One advertised broker in one line: reached, or the layer where it ends."""
    what = f"broker {broker.broker_id} {end.address}"
    if (failed := end.failure) is not None:
        layer = failed[0].partition(" ")[0]
        step = "The cluster advertises this address (advertised.listeners); clients and workers must reach it."
        return (what, FAILED, sentence(f"{layer}: {failed[2]}", step), end.seconds)
    warned = next((line for line in end.lines if line[1] in (WARN, UNKNOWN)), None)
    rack = f" Rack {broker.rack}." if broker.rack else ""
    if warned is not None:
        return (what, warned[1], f"{warned[0].partition(' ')[0]}: {warned[2]}{rack}", end.seconds)
    layers = ", ".join(dict.fromkeys(line[0].partition(" ")[0] for line in end.lines))
    return (what, OK, f"{layers} are well.{rack}", end.seconds)


def capability_line(capabilities: Mapping[str, Found]) -> list[Line]:
    """What was found missing, in one line; each stands in the capabilities with its reason."""
    if not capabilities:
        return []
    names: dict[str, list[str]] = {}
    for name, found in capabilities.items():
        names.setdefault(found.state.value, []).append(name.replace("_", " "))
    words = [f"{len(names.get('supported', ()))} of {len(capabilities)} work"]
    words += [f"{state}: {', '.join(names[state])}" for state in ("denied", "unsupported", "unknown") if state in names]
    return [("capabilities", WARN if "denied" in names else OK, f"{'; '.join(words)}.", None)]


def _version_line(version: str | None) -> Line:
    if version is None:
        return ("version", UNKNOWN, "The brokers do not tell it.", None)
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if numbers < _OLDEST_RELEASE:
        words = sentence(f"Kafka {version}: MirrorMaker needs 0.11 or newer", "Upgrade the source first.")
        return ("version", FAILED, words, None)
    return ("version", OK, f"Kafka {version} or newer, by the requests it knows.", None)


def _as_whom(config: ClusterConfig) -> str:
    if not config.security_protocol.upper().startswith("SASL"):
        return "Known by certificate" if config.ssl_certificate else "Without a login"
    if (config.sasl_mechanism or "").upper() == security.MSK_IAM:
        return "Logged in with AWS IAM"
    return f"Logged in with {config.sasl_mechanism}"


def _brokers(facts: ClusterFacts) -> str:
    return counted(len(facts.brokers), "broker")


def _none_usable(config: ClusterConfig, ends: list[Endpoint]) -> KferryError:
    return KferryError(
        f"The {config.role.value} cluster answers, but none of the brokers it advertises can be used.",
        cause=f"It advertises {', '.join(end.address for end in ends[:3])}{' …' if len(ends) > 3 else ''}.",
        next_step=(
            "Set advertised.listeners of the brokers to addresses that this machine and the workers reach, or open the "
            "way there."
        ),
        kind=ErrorKind.CONNECT,
    )


def _stopped(config: ClusterConfig) -> KferryError:
    return KferryError(
        f"The test of the {config.role.value} cluster was stopped.", next_step="Test again.", kind=ErrorKind.CONNECT
    )
