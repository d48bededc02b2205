"""What the operator chose on a screen and wants to find again: columns, by table. Losing it loses nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence

from kferry.store.atomic_write import write_text
from kferry.store.paths import Layout

_FILE = "screens.json"


def _read(layout: Layout) -> dict[str, object]:
    try:
        found = json.loads((layout.private / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def columns(layout: Layout, table: str, known: Sequence[str]) -> list[str] | None:
    """The columns chosen for a table, as far as they still exist; None where none were chosen."""
    chosen = _read(layout).get("columns")
    names = chosen.get(table) if isinstance(chosen, dict) else None
    found = [name for name in names if name in known] if isinstance(names, list) else []
    return list(dict.fromkeys(found)) or None


def keep_columns(layout: Layout, table: str, names: Sequence[str] | None) -> None:
    """Remember the columns of a table; None: those that kferry shows by itself."""
    body = _read(layout)
    chosen = body.get("columns")
    chosen = dict(chosen) if isinstance(chosen, dict) else {}
    chosen.pop(table, None)
    if names:
        chosen[table] = list(names)
    body["columns"] = chosen
    write_text(layout.private / _FILE, json.dumps(body, indent=1, sort_keys=True) + "\n", mode=0o600)
