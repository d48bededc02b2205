"""Every table fits into the terminals it is made for: no column is cut off at the right edge."""

from __future__ import annotations

import pytest

from kferry.ui.rows import differences, findings, fleet, inventory, plays, setup, tasks, work

TABLES = {
    name: value
    for module in (differences, findings, fleet, inventory, plays, setup, tasks, work)
    for name, value in vars(module).items()
    if name.endswith("_COLUMNS")
}


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("name", sorted(TABLES))
def test_fits(name: str, width: int) -> None:
    columns = [column for column in TABLES[name] if column.from_width <= width]
    inside = width - 2 - 1 - 2  # border, scroll bar, cursor mark
    assert sum(column.width + 1 for column in columns) <= inside
    assert any(column.flex for column in columns)
