"""The rows behind a table: made when they are drawn, filtered and sorted by typed values in slices of a millisecond."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, overload

from kferry.client.filters import Field, FieldKind, Filter, Value
from kferry.ui.cells import Cell

# How many rows are looked at before other work may go on.
SLICE_ROWS = 500


@dataclass(frozen=True, slots=True)
class Column:
    """`width` is the least width in cells; columns with `flex` share what is left over. A column is left out where
    the terminal has fewer columns than `from_width`. `name` is what filters and sorting call it."""

    title: str
    width: int
    flex: int = 0
    right: bool = False
    from_width: int = 0
    name: str = ""

    @property
    def called(self) -> str:
        return self.name or self.title.replace(" ", "-").lower()


class Row(NamedTuple):
    """`key` names the row over refreshes: the cursor follows it."""

    key: str
    cells: tuple[Cell, ...]
    search: str = ""


class Source(Protocol):
    """Where a table gets its rows from, by number. Nothing here may be slow: it is asked while the screen is drawn."""

    def __len__(self) -> int: ...

    def key(self, at: int) -> str: ...

    def row(self, at: int) -> Row: ...

    def text(self, at: int) -> str:
        """All text of a row in lower case, for filters without a field."""

    def value(self, at: int, name: str) -> Value:
        """What a field of a row holds, for filters."""

    def sort_value(self, at: int, name: str) -> Value:
        """The same for sorting, by the name of a column."""

    @property
    def fields(self) -> Sequence[Field]:
        """What can be asked for by name."""


class PlainSource:
    """Rows that were made beforehand; what a field holds is read from the text of its cell."""

    def __init__(self, rows: Sequence[Row], columns: Sequence[Column]) -> None:
        self.rows = rows if isinstance(rows, tuple) else tuple(rows)
        self._columns = columns

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, at: int) -> str:
        return self.rows[at].key

    def row(self, at: int) -> Row:
        return self.rows[at]

    def text(self, at: int) -> str:
        row = self.rows[at]
        return (row.search or " ".join(cell.text for cell in row.cells)).lower()

    def value(self, at: int, name: str) -> Value:
        text = self._cell_text(at, name)
        if text is None or not self._columns[self._number_of[name]].right:
            return text
        kind, figure, words = sort_key(text)
        return (figure, words, None)[kind]

    def sort_value(self, at: int, name: str) -> Value:
        kind, figure, words = sort_key(self._cell_text(at, name) or "")
        return (figure, words, None)[kind]

    def _cell_text(self, at: int, name: str) -> str | None:
        cells, number = self.rows[at].cells, self._number_of.get(name)
        return cells[number].text if number is not None and number < len(cells) else None

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {column.called: number for number, column in enumerate(self._columns)}

    @cached_property
    def fields(self) -> Sequence[Field]:
        return [
            Field(column.called, FieldKind.FIGURE if column.right else FieldKind.TEXT)
            for column in self._columns
            if column.title
        ]


@dataclass(frozen=True, slots=True)
class Sorting:
    """By which field rows are sorted; what is unknown comes last both ways."""

    name: str
    descending: bool = False


def arranged(source: Source, filter_: Filter, sorting: Sorting | None) -> Generator[None, None, list[int] | None]:
    """The numbers of the rows to show, in order; None: all of them as they are. Yields between two slices."""
    if not filter_ and sorting is None:
        return None
    kept: list[int] = []
    count = len(source)
    for begin in range(0, count, SLICE_ROWS):
        end = min(begin + SLICE_ROWS, count)
        kept += _kept(source, filter_, begin, end) if filter_ else range(begin, end)
        yield
    if sorting is None:
        return kept
    figures: dict[int, float] = {}
    words: dict[int, str] = {}
    unknown: list[int] = []
    for begin in range(0, len(kept), SLICE_ROWS):
        for at in kept[begin : begin + SLICE_ROWS]:
            value = source.sort_value(at, sorting.name)
            if value is None:
                unknown.append(at)
            elif isinstance(value, str):
                words[at] = value.lower()
            elif isinstance(value, tuple):
                words[at] = ", ".join(value).lower()
            else:
                figures[at] = value
        yield
    # each list holds one type only, which is compared without calling back into Python
    first = sorted(figures, key=figures.__getitem__, reverse=sorting.descending)
    second = sorted(words, key=words.__getitem__, reverse=sorting.descending)
    return first + second + unknown


def _kept(source: Source, filter_: Filter, begin: int, end: int) -> Iterator[int]:
    for at in range(begin, end):
        if filter_.keeps(lambda at=at: source.text(at), lambda name, at=at: source.value(at, name)):  # type: ignore[misc]
            yield at


def at_once(work: Generator[None, None, list[int] | None]) -> list[int] | None:
    """Do it all in one go: for tables that are small."""
    while True:
        try:
            next(work)
        except StopIteration as over:
            result: list[int] | None = over.value
            return result


class ShownRows(Sequence[Row]):
    """The rows that pass the filter, in the order of the screen; each is made when it is asked for."""

    def __init__(self, source: Source, order: list[int] | None) -> None:
        self.source = source
        self.order = order
        self._count = len(source) if order is None else len(order)

    def __len__(self) -> int:
        return self._count

    def number(self, position: int) -> int:
        """The number that the row at this position has in the source."""
        if not 0 <= position < self._count:
            raise IndexError(position)
        return position if self.order is None else self.order[position]

    def position(self, number: int) -> int | None:
        """Where the row with this number stands; None where it isn't shown."""
        if self.order is None:
            return number if 0 <= number < self._count else None
        try:
            return self.order.index(number)
        except ValueError:
            return None

    def key(self, position: int) -> str:
        return self.source.key(self.number(position))

    @overload
    def __getitem__(self, position: int) -> Row: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[Row]: ...

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return [self[at] for at in range(*position.indices(self._count))]
        return self.source.row(self.number(position + self._count if position < 0 else position))


_UNITS = {
    "k": 1e3,
    "M": 1e6,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
    "ms": 0.001,
    "min": 60,
    "h": 3600,
    "d": 86400,
}


def sort_key(text: str) -> tuple[int, float, str]:
    """Figures by size (with their units), then words; what is unknown last."""
    bare = text.strip().lstrip("≤~")
    if bare in ("", "–", "unknown"):
        return (2, 0.0, "")
    number, _, unit = bare.partition(" ")
    try:
        value = float(number.replace(",", "").removesuffix("/s"))
    except ValueError:
        return (1, 0.0, bare.lower())
    return (0, value * _UNITS.get(unit.split("/")[0].split(" ")[0], 1), "")
