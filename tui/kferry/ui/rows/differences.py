"""What changed between the last two scans of the source, as rows."""

from __future__ import annotations

from collections.abc import Sequence

from kferry.client import formats
from kferry.domain.scan_diff import ScanDiff
from kferry.ui.cells import Cell, Line, line
from kferry.ui.widgets.table_rows import Column, Row

COLUMNS = (Column("change", 12), Column("what", 16), Column("name", 20, flex=3), Column("how", 14, flex=2))

_MARKS = {"appeared": ("+", "ok"), "vanished": ("−", "bad"), "recreated": ("↻", "bad"), "changed": ("±", "warn")}


def rows(diff: ScanDiff) -> tuple[Row, ...]:
    """One row for each change: what was made anew first, for a copy of it would mix two topics."""
    if diff.another_cluster:
        words = "the last two scans saw two different clusters; nothing else can be compared"
        return (Row("another", (Cell("↻ another", "bad"), Cell("cluster"), Cell(words, "bad"), Cell(""))),)
    found = []
    for change, kind, names in (
        ("vanished", "topic", diff.topics_vanished),
        ("appeared", "topic", diff.topics_appeared),
        ("vanished", "group", diff.groups_vanished),
        ("appeared", "group", diff.groups_appeared),
        ("vanished", "transactional id", diff.transactional_ids_vanished),
        ("appeared", "transactional id", diff.transactional_ids_appeared),
    ):
        found += [_row(change, kind, name, "") for name in names]
    changed = [
        _row("recreated" if item.recreated else "changed", "topic", item.name, "; ".join(item.words))
        for item in diff.topics_changed
    ]
    changed.sort(key=lambda row: not row.key.startswith("recreated"))
    groups = [_row("changed", "group", item.group_id, "; ".join(item.words)) for item in diff.groups_changed]
    notes = [
        Row(f"note\0{at}", (Cell("? unknown", "warn"), Cell(""), Cell("not compared", "dim"), Cell(words, "warn")))
        for at, words in enumerate(diff.not_compared)
    ]
    return (*changed, *found, *groups, *notes)


def _row(change: str, kind: str, name: str, how: str) -> Row:
    mark, tone = _MARKS[change]
    cells = (Cell(f"{mark} {change}", tone), Cell(kind, "dim"), Cell(name, "strong"), Cell(how, "dim"))
    return Row(f"{change}\0{kind}\0{name}", cells, f"{change} {kind} {name} {how}")


def summary(diff: ScanDiff) -> Line:
    """Which two scans are compared."""
    return line(Cell(f"{formats.moment(diff.before_at_ms)} against {formats.moment(diff.after_at_ms)}", "dim"))


def subject_of(key: str) -> str | None:
    """What the Inventory can be asked to go to for a row; None where there is nothing any more."""
    change, *rest = key.split("\0", 2)
    if change == "vanished" or len(rest) < 2 or rest[0] not in ("topic", "group"):
        return None
    return f"group {rest[1]}" if rest[0] == "group" else rest[1]


def lines(key: str, found: Sequence[Row]) -> list[Line]:
    """One change in full."""
    row = next((row for row in found if row.key == key), None)
    if row is None:
        return []
    change, kind, name, how = row.cells
    return [line(name), line(change, Cell(f"  {kind.text}", "dim")), *(line("  ", one) for one in how.text.split("; "))]
