"""Errors as sentences: what happened, to what, the likely cause, the next step, where the log is."""

from __future__ import annotations

from enum import StrEnum


class ErrorKind(StrEnum):
    """What sort of failure it was; the client maps each kind to one exit code."""

    FAILED = "failed"  # an operation was carried out and did not succeed
    USAGE = "usage"  # bad input: nothing was changed
    CONNECT = "connect"  # a cluster, worker or host cannot be reached or refuses us
    TIMEOUT = "timeout"  # something did not become true in time
    NOT_READY = "not_ready"  # a check or gate does not hold
    DRIFT = "drift"  # the world is not as the plan says
    INTERNAL = "internal"  # a defect of kferry's own


class KferryError(Exception):
    """An error made to be read by the operator.

    `title` says what happened and to what, `cause` the likely reason, `next_step` what to do now, `log` where more
    can be read. All four are plain text; text from clusters in them is data and is never interpreted.
    """

    def __init__(
        self,
        title: str,
        *,
        cause: str = "",
        next_step: str = "",
        log: str = "",
        kind: ErrorKind = ErrorKind.FAILED,
    ) -> None:
        super().__init__(title)
        self.title = title
        self.cause = cause
        self.next_step = next_step
        self.log = log
        self.kind = kind

    def __str__(self) -> str:
        parts = [self.title, self.cause, self.next_step, f"Log: {self.log}" if self.log else ""]
        return " ".join(part for part in parts if part)

    def as_dict(self) -> dict[str, str]:
        """The error as JSON-ready data, for the journal and for `-o json`."""
        return {
            "title": self.title,
            "cause": self.cause,
            "next_step": self.next_step,
            "log": self.log,
            "kind": self.kind.value,
        }

    @classmethod
    def from_dict(cls, data: dict[str, str]) -> KferryError:
        """Rebuild an error written by `as_dict`."""
        return cls(
            data.get("title", "Unknown error."),
            cause=data.get("cause", ""),
            next_step=data.get("next_step", ""),
            log=data.get("log", ""),
            kind=ErrorKind(data.get("kind", ErrorKind.FAILED.value)),
        )
