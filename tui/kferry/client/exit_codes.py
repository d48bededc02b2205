"""The exit codes of kferry, in one place; docs and `kferry --help` are held against this table by a test."""

from __future__ import annotations

from enum import IntEnum

from kferry.domain.errors import ErrorKind


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    CONNECT = 3
    TIMEOUT = 4
    NOT_READY = 5
    DRIFT = 6
    INTERRUPTED = 130


MEANING: dict[ExitCode, str] = {
    ExitCode.OK: "everything asked for is done",
    ExitCode.FAILED: "an operation was carried out and failed",
    ExitCode.USAGE: "wrong usage or a file that cannot be used; nothing was changed",
    ExitCode.CONNECT: "a cluster, worker or host cannot be reached",
    ExitCode.TIMEOUT: "something did not become true in time",
    ExitCode.NOT_READY: "a check or gate does not hold, or the operator is needed",
    ExitCode.DRIFT: "something is not as the plan says",
    ExitCode.INTERRUPTED: "interrupted; the engine goes on",
}

_BY_KIND: dict[ErrorKind, ExitCode] = {
    ErrorKind.FAILED: ExitCode.FAILED,
    ErrorKind.USAGE: ExitCode.USAGE,
    ErrorKind.CONNECT: ExitCode.CONNECT,
    ErrorKind.TIMEOUT: ExitCode.TIMEOUT,
    ErrorKind.NOT_READY: ExitCode.NOT_READY,
    ErrorKind.DRIFT: ExitCode.DRIFT,
    ErrorKind.INTERNAL: ExitCode.FAILED,
}


def of_kind(kind: ErrorKind) -> ExitCode:
    """The exit code of an error of this kind."""
    return _BY_KIND[kind]


def of_kind_name(name: str | None) -> ExitCode:
    """As `of_kind`, for a kind read from the journal; an unknown name is a plain failure."""
    try:
        return _BY_KIND[ErrorKind(name or "")]
    except ValueError:
        return ExitCode.FAILED
