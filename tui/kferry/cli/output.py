"""stdout: data as a table, JSON or YAML. Tables are cleaned of control characters; JSON and YAML escape them."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kferry.cli.state import Output, State
from kferry.client.sanitize import clean
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.words import first_of


def plain(value: Any) -> Any:
    """Dataclasses and tuples as JSON-ready data."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Aligned columns, two spaces apart; numbers as given. The last column is not padded."""
    lines = [tuple(headers)] + [tuple(clean(cell) for cell in row) for row in rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(headers))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def emit(
    state: State,
    data: Any,
    *,
    headers: Sequence[str] = (),
    rows: Iterable[Sequence[object]] = (),
    text: str | None = None,
    empty: str = "",
) -> None:
    """Write `data` as asked for. A table is made of `headers` and `rows`, or is `text`; an empty one says why."""
    _refuse_commands(state)
    if state.output is Output.json:
        write(json.dumps(plain(data), indent=2, ensure_ascii=True))
    elif state.output is Output.yaml:
        import yaml

        write(yaml.safe_dump(plain(data), sort_keys=False, allow_unicode=False).rstrip("\n"))
    elif text is not None:
        write(text)
    else:
        shown = list(rows)
        if not shown and empty:
            from kferry.client import diagnostics

            diagnostics.say(empty)
            return
        write(table(headers, shown))


def emit_line(state: State, data: Any, text: str) -> None:
    """One item of a stream: a JSON object per line, a YAML document each, or a line of text."""
    _refuse_commands(state)
    if state.output is Output.json:
        write(json.dumps(plain(data), ensure_ascii=True))
    elif state.output is Output.yaml:
        import yaml

        write("---\n" + yaml.safe_dump(plain(data), sort_keys=False, allow_unicode=False).rstrip("\n"))
    else:
        write(clean(text))


def _refuse_commands(state: State) -> None:
    if state.output is Output.commands:
        raise KferryError("-o commands goes with `kferry acls show` only.", kind=ErrorKind.USAGE)


def lines(texts: Iterable[str]) -> str:
    """Sentences as lines of their own, cleaned of control characters."""
    return "\n".join(clean(text) for text in texts)


def some(names: Sequence[str], most: int = 8) -> str:
    """Names in a cell: the first ones, and how many more."""
    return first_of(names, most)


def write(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
