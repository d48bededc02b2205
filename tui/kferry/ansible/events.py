"""Turn ansible-runner's events into the few that kferry shows: one flat row per thing that happened."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

MAX_MESSAGE_CHARS = 4000
MAX_DIFF_CHARS = 20_000
MIN_SECRET_CHARS = 4
HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class PlayEvent:
    """One event of a play, with the fields of the journal's RunStepView."""

    seq: int
    at_ms: int
    kind: str
    play: str
    role: str
    step: str
    host: str
    message: str
    diff: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PlayEvent:
        return cls(**{field.name: data[field.name] for field in fields(cls) if field.name in data})


class Redactor:
    """Replaces known secret values in text: the second line of defence behind `no_log`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        secrets = {
            part
            for name, value in environment.items()
            if name.startswith("KFERRY_SECRET_")
            for part in (value, *value.splitlines())
            if len(part) >= MIN_SECRET_CHARS
        }
        self._secrets = sorted(secrets, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


_PLAIN_KINDS = {
    "playbook_on_play_start": "play",
    "playbook_on_task_start": "step",
    "playbook_on_handler_task_start": "step",
    "playbook_on_stats": "stats",
    "runner_on_skipped": "skipped",
    "runner_on_unreachable": "unreachable",
    "runner_retry": "retry",
}


def translate(raw: Mapping[str, Any], seq: int, redact: Redactor) -> PlayEvent | None:
    """The row for a runner event, or None where it says nothing to an operator."""
    data = raw.get("event_data") or {}
    result = data.get("res") or {}
    kind = _kind(str(raw.get("event", "")), data, result)
    if kind is None:
        return None
    return PlayEvent(
        seq=seq,
        at_ms=_at_ms(str(raw.get("created", ""))),
        kind=kind,
        play=str(data.get("play") or ""),
        role=str(data.get("role") or ""),
        step=redact(str(data.get("task") or data.get("name") or "")) if kind != "play" else "",
        host=str(data.get("host") or ""),
        message=redact(_message(kind, data, result))[:MAX_MESSAGE_CHARS],
        diff=redact(_diff(result))[:MAX_DIFF_CHARS],
    )


def _kind(event: str, data: Mapping[str, Any], result: Mapping[str, Any]) -> str | None:
    if event == "runner_on_ok":
        return "changed" if result.get("changed") else "ok"
    if event == "runner_on_failed":
        return "ok" if data.get("ignore_errors") else "failed"
    return _PLAIN_KINDS.get(event)


def _at_ms(created: str) -> int:
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return 0
    return int(moment.timestamp() * 1000)


def _message(kind: str, data: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    if kind == "stats":
        return ", ".join(f"{name} {total(data, name)}" for name in ("ok", "changed", "failures", "dark"))
    if kind in ("failed", "unreachable", "retry"):
        return failure_message(result)
    words = result.get("msg")
    return words if isinstance(words, str) else ""


def failure_message(result: Mapping[str, Any]) -> str:
    """The module's own words: message, else what it wrote, else the first line of its traceback."""
    items = result.get("results")
    if isinstance(items, list):
        words = [failure_message(item) for item in items if isinstance(item, Mapping) and item.get("failed")]
        if words:
            return "\n".join(words)
    parts = []
    message = result.get("msg")
    if message and not (isinstance(message, str) and message.startswith("MODULE FAILURE")):
        parts.append(message if isinstance(message, str) else str(message))
    # ansible-core adds an exception to every failure; it says something new only where the module has no words
    for key in ("stderr", "module_stderr", *(() if parts else ("exception",))):
        text = result.get(key)
        if isinstance(text, str) and text.strip() and text.strip() not in "\n".join(parts):
            lines = text.strip().splitlines()
            # a traceback says what went wrong in its last line
            parts.append(lines[-1] if lines[0].startswith("Traceback") else "\n".join(lines[:5]))
            break
    return "\n".join(parts) or str(message or "The module failed without a message.")


def total(data: Mapping[str, Any], name: str) -> int:
    """Sum of one statistic over all hosts."""
    counts = data.get(name)
    return sum(int(count) for count in counts.values()) if isinstance(counts, Mapping) else 0


def _diff(result: Mapping[str, Any]) -> str:
    parts = [_render(entry) for entry in _entries(result.get("diff"))]
    for item in result.get("results") or ():
        if isinstance(item, Mapping):
            parts += [_render(entry) for entry in _entries(item.get("diff"))]
    return "\n".join(part for part in parts if part)


def _entries(diff: Any) -> Iterable[Mapping[str, Any]]:
    found = diff if isinstance(diff, list) else [diff]
    return [entry for entry in found if isinstance(entry, Mapping)]


def _render(entry: Mapping[str, Any]) -> str:
    if isinstance(entry.get("prepared"), str):
        return str(entry["prepared"]).strip()
    before, after = entry.get("before", ""), entry.get("after", "")
    if before == after:
        return ""
    lines = difflib.unified_diff(
        _lines(before),
        _lines(after),
        str(entry.get("before_header") or "before"),
        str(entry.get("after_header") or "after"),
        lineterm="",
    )
    return "\n".join(lines)


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{key}: {value[key]}" for key in sorted(value)]
    return str(value or "").splitlines()
