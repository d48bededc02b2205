"""Saying no to a wish that what is true now does not allow."""

from __future__ import annotations

from kferry.domain.errors import ErrorKind, KferryError


def refuse(title: str, next_step: str = "", cause: str = "") -> KferryError:
    return KferryError(title, cause=cause, next_step=next_step, kind=ErrorKind.NOT_READY)
