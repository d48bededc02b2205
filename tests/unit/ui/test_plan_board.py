"""The model of the board: cursor, marks, filter and the one-line form, without a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kferry.client.filters import Field, FieldKind, parse
from kferry.ui.cells import Cell, line
from kferry.ui.widgets.board_model import HEAD, BoardColumn, BoardModel, Card, kept_by


def card(name: str, kind: str = "topic") -> Card:
    values = {"kind": kind, "size": 20 if name == "orders" else None}
    return Card(f"{kind}\0{name}", Cell("t "), Cell(name), search=f"{kind} {name}", values=values)


def column(name: str, *cards: str) -> BoardColumn:
    values = {"risk": 5.0 if name == "iot" else 1.0}
    return BoardColumn(name, (line(name),), (Cell(name),), tuple(card(one) for one in cards), "", name, values)


FIELDS = (Field("kind"), Field("size", FieldKind.BYTES), Field("risk", FieldKind.NUMBER))
SHOP = column("shop", "orders", "payments", "returns")
IOT = column("iot", "telemetry")
EMPTY = column("empty")


def model(*columns: BoardColumn) -> BoardModel:
    made = BoardModel()
    made.set_columns(columns)
    return made


def where(board: BoardModel) -> tuple[str | None, str | None]:
    found = board.cursor_card
    return (board.column.key if board.column else None, found.name.text if found else None)


def test_side_by_side_keys_go_across_and_along() -> None:
    board = model(SHOP, IOT, EMPTY)
    assert where(board) == ("shop", None)
    for _ in range(3):
        board.step(0, 1, side_by_side=True)
    assert where(board) == ("shop", "returns")
    board.step(1, 0, side_by_side=True)
    assert where(board) == ("iot", "telemetry")
    board.step(1, 0, side_by_side=True)
    assert where(board) == ("empty", None)
    board.step(-9, 0, side_by_side=True)
    assert board.at == 0


def test_in_lines_right_opens_a_batch_and_left_closes_it() -> None:
    board = model(SHOP, IOT)
    board.step(0, 1, side_by_side=False)
    assert where(board) == ("iot", None)
    board.step(0, -1, side_by_side=False)
    board.step(1, 0, side_by_side=False)
    assert where(board) == ("shop", "orders")
    assert board.line_count == 5
    assert [board.spot(n) for n in range(6)] == [(0, HEAD), (0, 0), (0, 1), (0, 2), (1, HEAD), None]
    for _ in range(3):
        board.step(0, 1, side_by_side=False)
    assert where(board) == ("iot", None)
    assert board.line_count == 2
    board.step(0, -1, side_by_side=False)
    board.step(1, 0, side_by_side=False)
    board.step(-1, 0, side_by_side=False)
    assert where(board) == ("shop", None)
    board.step(-1, 0, side_by_side=False)
    assert board.line_count == 2


def test_the_cursor_follows_a_card_to_another_column() -> None:
    board = model(SHOP, IOT)
    board.put("shop", "topic\0payments")
    board.set_columns((column("shop", "orders", "returns"), column("iot", "payments", "telemetry")))
    assert where(board) == ("iot", "payments")


def test_marks_stay_with_their_cards_and_go_with_them() -> None:
    board = model(SHOP, IOT)
    board.put("shop", "topic\0orders")
    board.toggle_mark()
    assert where(board) == ("shop", "payments")
    board.put("shop", None)
    board.toggle_mark()
    assert board.marked == {"topic\0orders", "topic\0payments", "topic\0returns"}
    board.set_columns((column("shop", "orders"), IOT))
    assert board.marked == {"topic\0orders"}
    board.put("shop", None)
    board.toggle_mark()
    assert board.marked == set()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", {"shop": 3, "iot": 1, "empty": 0}),
        ("pay", {"shop": 1}),
        ("SHOP", {"shop": 3}),
        ('"topic t"', {"iot": 1}),
        ("kind:topic pay", {"shop": 1}),
        ("kind:group", {}),
        ("size>10", {"shop": 1}),
        ("!size>10", {"shop": 2, "iot": 1, "empty": 0}),
        ("size=unknown", {"shop": 2, "iot": 1, "empty": 0}),
        ("risk>3", {"iot": 1}),
        ("empty", {"empty": 0}),
        ("!orders", {"shop": 2, "iot": 1, "empty": 0}),
        ("!shop", {"iot": 1, "empty": 0}),
        ("nothing such", {}),
    ],
)
def test_filter(text: str, kept: dict[str, int]) -> None:
    assert {one.key: len(one.cards) for one in kept_by((SHOP, IOT, EMPTY), parse(text, FIELDS))} == kept


def test_marking_a_filtered_batch_marks_only_what_is_shown() -> None:
    board = model(SHOP, IOT)
    board.set_filter(parse("pay"))
    board.toggle_mark()
    board.set_filter(parse(""))
    assert board.marked == {"topic\0payments"}


MOVES = st.lists(
    st.tuples(st.sampled_from(("step", "jump", "mark", "filter", "columns")), st.integers(-3, 3), st.booleans()),
    max_size=40,
)
CONTENTS = ((SHOP, IOT, EMPTY), (EMPTY,), (), (IOT, column("shop", "payments")))


@given(MOVES)
@settings(max_examples=200, deadline=None)
def test_the_cursor_is_always_on_something_that_is_there(moves: list[tuple[str, int, bool]]) -> None:
    board = model(*CONTENTS[0])
    for what, number, side_by_side in moves:
        if what == "step":
            across, down = (number, 0) if number % 2 else (0, number)
            board.step(across, down, side_by_side=side_by_side)
        elif what == "jump":
            board.jump(number > 0, side_by_side=side_by_side)
        elif what == "mark":
            board.toggle_mark()
        elif what == "filter":
            board.set_filter(parse(("", "pay", "!orders", "zzz")[number % 4]))
        else:
            board.set_columns(CONTENTS[number % 4])
        if board.shown:
            assert 0 <= board.at < len(board.shown)
            assert HEAD <= board.card < len(board.shown[board.at].cards)
            line_at = board.cursor_line
            if board.opened or board.card == HEAD:
                assert board.spot(line_at) == (board.at, board.card)
        else:
            assert board.cursor_card is None
