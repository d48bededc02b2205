"""What librdkafka says when a cluster cannot be reached, as sentences an operator can act on."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig
from kferry.kafka import tls

_CLUSTERS_FILE = "inventory/group_vars/all/clusters.yml"
_ADDRESS = re.compile(r"^(?:[a-z_]+://)?(?P<address>[^/\s]+)/(?P<broker>bootstrap|\d+):\s*")
_STATE = re.compile(r"\s*\(after \d+ms in state [A-Z_]+\)")
_TRANSPORT_CODES = {
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError._DESTROY,
    KafkaError._WAIT_COORD,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NETWORK_EXCEPTION,
}

_HOPELESS = {KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL}


@dataclass(frozen=True, slots=True)
class Heard:
    """One error that a client reported by itself, outside of any call."""

    at_seconds: float  # on the monotonic clock
    code: int
    name: str
    text: str


class ErrorEar:
    """Collects what a client reports through `error_cb`; safe to share between threads."""

    def __init__(self) -> None:
        self._heard: deque[Heard] = deque(maxlen=50)
        self._hopeless_at_seconds: float | None = None
        self._lock = threading.Lock()

    def __call__(self, error: KafkaError) -> None:
        now = time.monotonic()
        with self._lock:
            self._heard.append(Heard(now, error.code(), error.name(), error.str()))
            if error.code() in _HOPELESS and self._hopeless_at_seconds is None:
                self._hopeless_at_seconds = now

    def since(self, started_seconds: float) -> list[Heard]:
        with self._lock:
            return [heard for heard in self._heard if heard.at_seconds >= started_seconds]

    def clear(self) -> None:
        """Called when the cluster has answered: older complaints explain nothing any more."""
        if not self._heard and self._hopeless_at_seconds is None:
            return  # almost always, for each of some ten thousand answers
        with self._lock:
            self._heard.clear()
            self._hopeless_at_seconds = None

    def hopeless_for_seconds(self, started_seconds: float) -> float:
        """For how long, since `started_seconds`, no broker at all could be used; 0 while there is hope.

        A client says so once, when the last broker goes; it need not say it again in a later call.
        """
        with self._lock:
            if self._hopeless_at_seconds is None:
                return 0.0
            return time.monotonic() - max(started_seconds, self._hopeless_at_seconds)


def is_transport(error: KafkaError) -> bool:
    """Whether the error says "cannot talk to the cluster" rather than "the cluster says no"."""
    return error.code() in _TRANSPORT_CODES


def kafka_error(exception: BaseException) -> KafkaError | None:
    """The KafkaError that an exception is or carries, if any."""
    if isinstance(exception, KafkaError):
        return exception
    if isinstance(exception, KafkaException) and exception.args and isinstance(exception.args[0], KafkaError):
        return exception.args[0]
    return None


def error_words(error: KafkaError) -> str:
    """`CODE: message` for one partition, topic or group; starts with the broker's error code name."""
    text = error.str().removeprefix("Broker: ").removeprefix("Local: ")
    return f"{error.name()}: {text}" if text else error.name()


def unreachable(cluster: ClusterConfig, heard: list[Heard], doing: str, waited_seconds: float) -> KferryError:
    """The error for a cluster that cannot be talked to, with the most telling cause that was heard."""
    address, cause, next_step = _explain(cluster, heard, waited_seconds)
    return KferryError(
        f"Cannot {doing} the {cluster.role} cluster at {address}.",
        cause=cause,
        next_step=next_step,
        kind=ErrorKind.CONNECT,
    )


def refused(cluster: ClusterConfig, error: KafkaError, doing: str) -> KferryError:
    """The error for a cluster that answers, and says no."""
    denied = "AUTHORIZATION_FAILED" in error.name()
    return KferryError(
        f"Cannot {doing} the {cluster.role} cluster at {cluster.bootstrap_servers}.",
        cause=f"It answered {error_words(error).rstrip('.')}.",
        next_step=_step_after(error, denied),
        kind=ErrorKind.CONNECT if denied else ErrorKind.FAILED,
    )


def _step_after(error: KafkaError, denied: bool) -> str:
    if denied:
        return "Give the principal that kferry uses the missing right, then try again."
    if error.code() in (KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION):
        return "This cluster cannot do that, and trying again does not help: make the change with its own tools."
    return "See the brokers' log for the reason, then try again."


def _explain(cluster: ClusterConfig, heard: list[Heard], waited_seconds: float) -> tuple[str, str, str]:
    fix_file = f"under kferry_clusters.{cluster.role} in {_CLUSTERS_FILE}"
    told = _most_telling(heard)
    address, words = _split(told.text) if told else (None, "")
    address = address or cluster.bootstrap_servers
    low = words.lower()
    if told and told.code == KafkaError._AUTHENTICATION:
        return (
            address,
            f"Authentication failed: {words}.",
            (f"Check sasl_mechanism, sasl_username and sasl_password {fix_file}, and that the user exists."),
        )
    if told and (told.code == KafkaError._SSL or "ssl" in low or "certificate" in low):
        return (
            address,
            f"TLS failed: {tls.why_not(cluster, address) or words}.",
            (
                f"Check security_protocol, ssl_ca, ssl_certificate and ssl_key {fix_file}, and that the brokers' "
                "certificate carries the host name used here."
            ),
        )
    if told and told.code == KafkaError._RESOLVE:
        return (
            address,
            f"Name resolution failed: {words}.",
            (
                f"Check the host name in bootstrap_servers {fix_file}, and the DNS of this machine. If the name is not "
                "written there, the brokers advertise it (advertised.listeners)."
            ),
        )
    if "connection refused" in low:
        return (
            address,
            "Connection refused: no process listens there.",
            (f"Start the broker, or correct host and port of bootstrap_servers {fix_file}."),
        )
    if told and told.code != KafkaError._ALL_BROKERS_DOWN:
        return (
            address,
            f"Network error: {words}.",
            (f"Check route and firewall from this machine to {address}, and bootstrap_servers {fix_file}."),
        )
    if told:
        return (
            address,
            "The connection was opened and closed by the other side at once.",
            (f"The port probably expects another security protocol: check security_protocol {fix_file}."),
        )
    return (
        address,
        f"No answer within {waited_seconds:.0f} s, and no error was reported.",
        (
            f"Check that bootstrap_servers {fix_file} name a listener for clients (not a controller's, not another "
            "service), and that no firewall drops the packets."
        ),
    )


def _most_telling(heard: list[Heard]) -> Heard | None:
    order = [KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._TRANSPORT, KafkaError._RESOLVE]
    for code in order:
        found = [item for item in heard if item.code == code]
        if found:
            return found[-1]
    return heard[-1] if heard else None


def _split(text: str) -> tuple[str | None, str]:
    match = _ADDRESS.match(text)
    rest = text[match.end() :] if match else text
    return (match["address"] if match else None), _STATE.sub("", rest).strip().rstrip(".")
