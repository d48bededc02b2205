"""Domain dataclasses to JSON and back, validated: the only place where the domain meets pydantic."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Building an adapter takes milliseconds, so each is built once."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def dump(value: Any) -> str:
    """A domain dataclass as compact JSON text."""
    return _adapter(type(value)).dump_json(value).decode()


def load(kind: type[T], text: str | bytes) -> T:
    """Rebuild `kind` from JSON text. Raises pydantic.ValidationError when it does not fit."""
    result: T = _adapter(kind).validate_json(text)
    return result


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text (used for hashes)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(text: str) -> str:
    """SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
