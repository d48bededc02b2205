"""How far a cluster's clock is from this machine's, where it can be known.

Kafka has no request for the time. A KRaft controller tells when it was last in step with itself, which is now by its
own clock; older clusters, and those that do not let us describe them, leave it unknown.
"""

from __future__ import annotations

import struct
import time

from kferry.domain.errors import KferryError
from kferry.kafka.check_lines import FAILED, OK, UNKNOWN, WARN, Line, Stopwatch, sentence
from kferry.kafka.connection import Connection
from kferry.kafka.direct import DirectSession
from kferry.kafka.wire import WireError, WireReader, pack_compact_array, pack_compact_string

WHAT = "clock"
_DESCRIBE_QUORUM = 55
_WARN_SECONDS, _FAIL_SECONDS = 2.0, 60.0
_HIDDEN = "It cannot be known here: the cluster tells no time"


def check_clock(connection: Connection, *, timeout_seconds: float = 6.0) -> Line:
    """One line: ahead or behind by how much, or why that is not known."""
    watch = Stopwatch()
    try:
        with DirectSession(connection.cluster, timeout_seconds=timeout_seconds) as session:
            version = next((one for one in (2, 1) if session.speaks(_DESCRIBE_QUORUM, one)), None)
            if version is None:
                words = sentence(_HIDDEN, "Only clusters with KRaft (3.3 or newer) do.")
                return (WHAT, UNKNOWN, words, watch.seconds)
            asked_ms = time.time_ns() / 1e6
            answer = session.call(_DESCRIBE_QUORUM, version, _request(), flexible=True)
            answered_ms = time.time_ns() / 1e6
        their_ms = leader_time_ms(answer, version)
    except (OSError, WireError) as error:
        return (WHAT, UNKNOWN, sentence(f"{_HIDDEN} ({error or type(error).__name__})"), watch.seconds)
    except KferryError as error:
        return (WHAT, UNKNOWN, sentence(f"{_HIDDEN} ({(error.cause or error.title).rstrip('.')})"), watch.seconds)
    if their_ms is None:
        words = sentence(_HIDDEN, "DESCRIBE on the cluster may be missing.")
        return (WHAT, UNKNOWN, words, watch.seconds)
    state, words = judged((their_ms - (asked_ms + answered_ms) / 2) / 1000, (answered_ms - asked_ms) / 2000)
    return (WHAT, state, words, watch.seconds)


def judged(ahead_seconds: float, uncertain_seconds: float) -> tuple[str, str]:
    """A state and a sentence for a difference known to within `uncertain_seconds`."""
    size = abs(ahead_seconds)
    if size <= max(0.1, 2 * uncertain_seconds):
        return OK, f"The controller's clock and this machine's agree within {max(0.1, 2 * uncertain_seconds):.1f} s."
    way = "ahead of" if ahead_seconds > 0 else "behind"
    words = f"The controller's clock is {size:.1f} s {way} this machine's (± {uncertain_seconds:.1f} s)"
    if size < _WARN_SECONDS:
        return OK, sentence(words)
    step = "Set both by NTP: lag in seconds, retention and logins with tokens are wrong by that much."
    return (FAILED if size >= _FAIL_SECONDS else WARN), sentence(words, step)


def _request() -> bytes:
    partition = pack_compact_array([struct.pack(">i", 0) + b"\0"])
    return pack_compact_array([pack_compact_string("__cluster_metadata") + partition + b"\0"]) + b"\0"


def leader_time_ms(answer: WireReader, version: int) -> int | None:
    """When the quorum's leader was last in step with itself, in its own time; None where it does not say."""
    if answer.int16() != 0:
        return None
    if version >= 2:
        answer.compact_nullable_string()
    if answer.compact_array_length() == 0:
        return None
    answer.compact_string()
    if answer.compact_array_length() == 0:
        return None
    answer.int32()  # partition
    if answer.int16() != 0:
        return None
    if version >= 2:
        answer.compact_nullable_string()
    leader = answer.int32()
    answer.int32()  # epoch
    answer.int64()  # high watermark
    for _ in range(answer.compact_array_length()):
        replica = answer.int32()
        if version >= 2:
            answer.take(16)  # the id of its folder
        answer.int64()  # end of its log
        answer.int64()  # when it fetched last
        in_step_ms = answer.int64()
        answer.tagged_fields()
        if replica == leader:
            return in_step_ms if in_step_ms > 0 else None
    return None
