"""What a cluster told when it was asked for something that it may also deny, or not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from kferry.domain.model import Capability

T = TypeVar("T")

CLUSTER_DENIED, UNSUPPORTED, SECURITY_DISABLED, NOT_CONTROLLER = 31, 35, 54, 41
# What error codes mean that these requests can be answered with; others are named by their number.
WORDS = {
    0: "done",
    -1: "an unknown error on the broker",
    7: "no answer in time among the brokers",
    14: "its coordinator is starting",
    15: "it has no coordinator yet",
    16: "another broker coordinates it",
    29: "not allowed on the topic",
    30: "not allowed on the group",
    31: "not allowed on the cluster",
    35: "this version of the request is not supported",
    39: "the number of replicas is not possible",
    40: "the config is invalid",
    41: "another broker is the controller",
    42: "the request is invalid",
    44: "a policy of the cluster forbids it",
    53: "not allowed on the transactional id",
    54: "the brokers run without an authorizer",
    91: "the resource does not exist",
    93: "the credential is not acceptable",
}
# The first release of Apache Kafka whose brokers know a request, by its number.
_SINCE = {
    35: "1.0",
    42: "1.1",
    48: "2.6",
    50: "2.7 (with KRaft: 3.5)",
    51: "2.7 (with KRaft: 3.5)",
    61: "2.8",
    66: "3.0",
}
_PLAIN_CODES = frozenset({29, 30, 31, 53, 54})


@dataclass(frozen=True, slots=True)
class Told(Generic[T]):
    """An answer. `value` is None where it is not known; `words` say why, `grant` names the right that is missing."""

    value: T | None
    capability: Capability
    words: str = ""
    grant: str = ""


def untold(error: int, message: str | None, grant: str) -> Told[T]:
    """The answer that is no answer: denied, not supported, or not known."""
    words = error_words(error, message)
    if error == CLUSTER_DENIED:
        return Told(None, Capability.DENIED, words, grant)
    if error in (UNSUPPORTED, SECURITY_DISABLED):
        return Told(None, Capability.UNSUPPORTED, words)
    return Told(None, Capability.UNKNOWN, words)


def since(api: int) -> str:
    """From which release on brokers know this request, to be put behind a sentence that says that these do not."""
    return f"; Apache Kafka does from {release(api)} on" if api in _SINCE else ""


def release(api: int) -> str:
    """The first release whose brokers know this request."""
    return _SINCE[api]


def error_words(error: int, message: str | None = None) -> str:
    """An error code in words; the broker's own where the code says little."""
    if error in _PLAIN_CODES:  # what brokers add to these is internals of theirs
        return WORDS[error]
    return (message or WORDS.get(error) or f"error {error}").rstrip(".")
