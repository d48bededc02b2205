"""KeyedTable: the cursor stays on its row, only changed lines are painted, and 50,000 rows cost no more than 50."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult

from kferry.client.filters import Field, FieldKind, Filter, Value
from kferry.ui.cells import Cell
from kferry.ui.widgets.keyed_table import Column, KeyedTable, Row, sort_key
from kferry.ui.widgets.table_rows import Sorting, arranged, at_once


class TableApp(App[None]):
    def compose(self) -> ComposeResult:
        yield KeyedTable(
            "Things", (Column("name", 10, flex=1), Column("lag", 8, right=True)), empty="Nothing, because."
        )


def rows(count: int, **lags: int) -> list[Row]:
    return [Row(f"r{at}", (Cell(f"r{at}", "strong"), Cell(str(lags.get(f"r{at}", at))))) for at in range(count)]


async def test_cursor_follows_its_row() -> None:
    app = TableApp()
    async with app.run_test(size=(60, 12)):
        table = app.query_one(KeyedTable)
        table.set_rows(rows(20))
        table.move_to(5)
        table.set_rows([Row("new", (Cell("new"), Cell("0"))), *rows(20)])
        assert table.cursor_key == "r5"
        assert table.cursor == 6
        table.set_rows([row for row in rows(20) if row.key != "r5"])
        assert table.cursor_key is not None


async def test_only_changed_visible_lines_are_painted() -> None:
    app = TableApp()
    async with app.run_test(size=(60, 12)) as pilot:
        table = app.query_one(KeyedTable)
        table.set_rows(rows(1000))
        await pilot.pause()
        before = table.painted_lines
        table.set_rows(rows(1000, r3=999, r900=7))  # one in view, one far below
        await pilot.pause()
        assert table.painted_lines - before == 1
        table.set_rows(rows(1000, r3=999, r900=7))
        await pilot.pause()
        assert table.painted_lines - before == 1


@pytest.mark.thorough
async def test_many_rows_are_drawn_at_once() -> None:
    app = TableApp()
    many = rows(50_000)
    async with app.run_test(size=(60, 30)) as pilot:
        table = app.query_one(KeyedTable)
        begun = time.process_time()
        table.set_rows(many)
        table.action_jump(1)
        await pilot.pause()
        spent = time.process_time() - begun
        assert table.cursor_key == "r49999"
        assert table.painted_lines < 200
        assert spent < 4.5, spent  # the built-in table takes more than 5 s


async def test_filter_keeps_and_hides() -> None:
    app = TableApp()
    async with app.run_test(size=(60, 12)):
        table = app.query_one(KeyedTable)
        table.set_rows(rows(20))
        table.set_filter("r1")
        assert len(table.shown) == 11
        table.set_filter("!r1")
        assert len(table.shown) == 9
        table.set_filter("")
        assert len(table.shown) == 20


async def test_selects_a_row_that_comes_later() -> None:
    app = TableApp()
    async with app.run_test(size=(60, 12)):
        table = app.query_one(KeyedTable)
        table.select("r7")
        table.set_rows(rows(20))
        assert table.cursor_key == "r7"


def test_figures_sort_by_size_and_unknown_last() -> None:
    texts = ["–", "1.5 GiB", "12", "unknown", "≤2,000", "3.0 KiB", "5,120/s", "word"]
    assert sorted(texts, key=sort_key) == ["12", "≤2,000", "3.0 KiB", "5,120/s", "1.5 GiB", "word", "–", "unknown"]


class Numbers:
    """A source that counts how many rows were made."""

    fields = (Field("name"), Field("lag", FieldKind.NUMBER))

    def __init__(self, count: int) -> None:
        self.count = count
        self.made = 0

    def __len__(self) -> int:
        return self.count

    def key(self, at: int) -> str:
        return f"r{at}"

    def row(self, at: int) -> Row:
        self.made += 1
        return Row(f"r{at}", (Cell(f"r{at}", "strong"), Cell(str(self.value(at, "lag")))))

    def text(self, at: int) -> str:
        return f"r{at}"

    def value(self, at: int, name: str) -> Value:
        if name == "name":
            return f"r{at}"
        return None if at % 10 == 0 else float((at * 7919) % 50_000)

    sort_value = value


async def test_rows_are_made_when_they_are_drawn() -> None:
    app = TableApp()
    async with app.run_test(size=(60, 30)) as pilot:
        table, source = app.query_one(KeyedTable), Numbers(50_000)
        table.set_source(source)
        table.action_jump(1)
        await pilot.pause()
        assert table.cursor_key == "r49999"
        assert source.made < 300


async def test_many_rows_are_filtered_and_sorted_between_keys() -> None:
    app = TableApp()
    async with app.run_test(size=(60, 30)) as pilot:
        table = app.query_one(KeyedTable)
        table.set_source(Numbers(20_000))
        table.set_filter("lag>=49990")
        assert table.is_arranging  # the loop is not held up
        table.set_filter("lag>=40000 !r1")
        table.sort_by("lag", descending=True)
        while table.is_arranging:
            await pilot.pause(0.01)
        source = Numbers(20_000)
        lags = [source.value(at, "lag") for at in range(20_000) if "r1" not in source.text(at)]
        wanted = sorted((lag for lag in lags if lag is not None and lag >= 40_000), reverse=True)  # type: ignore[operator]
        assert [float(row.cells[1].text) for row in table.shown] == wanted
        table.set_filter("")
        while table.is_arranging:
            await pilot.pause(0.01)
        assert len(table.shown) == 20_000
        assert [row.cells[1].text for row in table.shown[-3:]] == ["None"] * 3  # unknown last, both ways


async def test_rows_that_are_added_leave_the_others_alone() -> None:
    app = TableApp()
    async with app.run_test(size=(60, 12)) as pilot:
        table = app.query_one(KeyedTable)
        table.set_source(Numbers(500), more=True)
        table.move_to(4)
        await pilot.pause()
        before = table.painted_lines
        table.set_source(Numbers(900), more=False)
        await pilot.pause()
        assert table.cursor_key == "r4"
        assert table.total == 900
        assert table.painted_lines - before <= 12


async def test_a_click_on_a_title_sorts_by_it_and_again_turns_it_round() -> None:
    app = TableApp()
    async with app.run_test(size=(60, 12)) as pilot:
        table = app.query_one(KeyedTable)
        table.set_rows(rows(5, r2=700))
        await pilot.pause()
        await pilot.click(KeyedTable, offset=(52, 1))
        assert table.sorting is not None
        assert table.sorting.name == "lag"
        assert table.shown.key(4) == "r2"
        await pilot.click(KeyedTable, offset=(52, 1))
        assert table.shown.key(0) == "r2"


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False), st.text(max_size=5)), max_size=40), st.booleans())
def test_sorting_keeps_every_row_and_puts_the_unknown_last(values: list[Value], descending: bool) -> None:
    class Given(Numbers):
        def sort_value(self, at: int, name: str) -> Value:
            return values[at]

    order = at_once(arranged(Given(len(values)), Filter(), Sorting("lag", descending)))
    assert order is not None
    assert sorted(order) == list(range(len(values)))
    found = [values[at] for at in order]
    known = [value for value in found if value is not None]
    assert found[len(known) :] == [None] * (len(found) - len(known))
    figures = [value for value in known if isinstance(value, float)]
    assert figures == sorted(figures, reverse=descending)
