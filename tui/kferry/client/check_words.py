"""A connection test as lines of text, the same on a terminal and in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kferry.client import formats
from kferry.client.sanitize import clean
from kferry.store.views import ClusterView

MARKS = {"ok": "✓", "warn": "▲", "failed": "✗", "unknown": "?", "skipped": "–"}
CAPABILITY_MARKS = {"supported": "✓", "denied": "✗", "unsupported": "–", "unknown": "?"}
_MILLISECOND, _SECOND = 0.001, 1.0


def took(seconds: float | None) -> str:
    """How long a look took: 4 ms, 1.2 s; "" where it was not measured."""
    if seconds is None:
        return ""
    if seconds < _MILLISECOND:
        return "<1 ms"
    return f"{seconds * 1000:.0f} ms" if seconds < _SECOND else f"{seconds:.1f} s"


def view_lines(view: ClusterView) -> list[str]:
    """A cluster with the last test of it."""
    reachable = {True: "reachable", False: "not reachable", None: "never tested"}[view.reachable]
    lines = [
        f"{view.role}: {view.kind or formats.UNKNOWN} at {view.bootstrap_servers or 'nowhere'}"
        f" ({view.security_protocol or formats.UNKNOWN}): {reachable}"
    ]
    lines += check_lines(view.lines)
    lines += capability_lines(view.capabilities)
    if view.error:
        lines.append(" ".join(view.error[key] for key in ("title", "cause", "next_step") if view.error.get(key)))
    return [clean(line) for line in lines]


def body_lines(body: Mapping[str, Any]) -> list[str]:
    """The document of a test."""
    rows = [(str(row[0]), str(row[1]), str(row[2]), row[3] if len(row) > 3 else None) for row in body.get("lines", ())]
    return [clean(line) for line in [*check_lines(rows), *capability_lines(body.get("capabilities") or {})]]


def check_lines(rows: Iterable[tuple[str, str, str, float | None]]) -> list[str]:
    """One line for each look: mark, time, what, words."""
    return [f"{MARKS.get(mark, '?')} {took(seconds):>6}  {what}: {words}" for what, mark, words, seconds in rows]


def capability_lines(capabilities: Mapping[str, Mapping[str, str]]) -> list[str]:
    """One line for each capability: mark, state, name, words, and the ACL that would give it."""
    lines = []
    for name, found in capabilities.items():
        grant = f" Grant {found['grant']}." if found.get("grant") and found.get("state") != "supported" else ""
        mark = CAPABILITY_MARKS.get(str(found.get("state")), "?")
        words = str(found.get("words", "")).rstrip(".")
        lines.append(f"{mark} {found.get('state', 'unknown')!s:<11}  {name.replace('_', ' ')}: {words}.{grant}")
    return lines
