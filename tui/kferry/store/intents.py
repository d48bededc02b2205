"""Sending a wish to the engine: faces insert a row, the engine answers in it. Nothing else is written by a face."""

from __future__ import annotations

import getpass
import json
import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# How long a wish stays valid if the engine does not take it up, in seconds.
DEFAULT_VALIDITY_SECONDS = 30.0


def whoami() -> str:
    """Who asks: login name and host, for the journal."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def insert(
    database: Path,
    kind: str,
    args: Mapping[str, Any],
    *,
    expects: str | None = None,
    valid_seconds: float = DEFAULT_VALIDITY_SECONDS,
    who: str | None = None,
) -> str:
    """Write one intent and return its id; without `who` it is the person at this terminal who asks.

    Raises sqlite3.Error when the journal cannot be written.
    """
    intent_id = uuid.uuid4().hex[:12]
    now_ms = int(time.time() * 1000)
    connection = sqlite3.connect(database, timeout=10, isolation_level=None)
    try:
        connection.execute("begin immediate")
        connection.execute(
            "insert into intent (id, kind, args, who, created_at_ms, expires_at_ms, expects, status, reason, result)"
            " values (?,?,?,?,?,?,?,'waiting','','{}')",
            (
                intent_id,
                kind,
                json.dumps(dict(args)),
                who or whoami(),
                now_ms,
                now_ms + int(valid_seconds * 1000),
                expects,
            ),
        )
        connection.execute("commit")
    finally:
        connection.close()
    return intent_id
