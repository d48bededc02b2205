"""The filter language: what each form means, that errors are sentences, and that no text whatever breaks it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.client.filters import Field, FieldKind, Filter, FilterError, Value, number, parse, parse_as_typed, quote

FIELDS = (
    Field("topic", FieldKind.TEXT, ("name",)),
    Field("kind"),
    Field("lag", FieldKind.NUMBER),
    Field("size", FieldKind.BYTES, ("bytes",)),
    Field("idle", FieldKind.SECONDS),
    Field("unused", FieldKind.FLAG),
    Field("figure", FieldKind.FIGURE),
)
ROW: dict[str, Value] = {
    "topic": "shop.Orders [/]",
    "kind": "connect",
    "lag": 1_500_000.0,
    "size": 12 * 1024.0**3,
    "idle": None,
    "unused": False,
    "figure": 3.0 * 1024**3,
}


def keeps(text: str, **changes: Value) -> bool:
    row = {**ROW, **changes}
    words = " ".join(str(value) for value in row.values() if value is not None).lower()
    return parse(text, FIELDS).keeps(lambda: words, row.get)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!",
        "  ",
        '""',
        "orders",
        "ORDERS",
        "shop orders",
        "!payments",
        '"Orders [/]"',
        "[/]",
        "kind:conn",
        "kind=connect",
        "KIND:Connect",
        "kind!=plain",
        "!kind:streams",
        "lag>1e6",
        "lag>1m",
        "lag>=1_500_000",
        "lag<=1,500,000",
        "lag=1500k",
        "lag:1500k",
        "lag!=7",
        "size>=10GiB",
        "bytes>12GB",
        "size<1TiB",
        "idle=unknown",
        "!lag=unknown",
        "lag!=unknown",
        "!idle>7d",
        "unused=no",
        "!unused:yes",
        "figure>2GiB",
        "figure>2000000k",
        "lag>1e6 kind:connect !payments",
        'topic="shop.Orders [/]"',
        "name:shop",
    ],
)
def test_keeps(text: str) -> None:
    assert keeps(text)


@pytest.mark.parametrize(
    "text",
    [
        "payments",
        "!orders",
        "shop payments",
        "kind:streams",
        "kind=conn",
        "lag<1e6",
        "lag!=1500k",
        "size>=13GiB",
        "idle>7d",
        "idle<7d",
        "idle!=unknown",
        "lag=unknown",
        "unused=yes",
        "lag>1e6 kind:plain",
        '"orders shop"',
    ],
)
def test_does_not_keep(text: str) -> None:
    assert not keeps(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lag>", "lag>1e6"),
        ("lag>much", "no figure"),
        ("lag>10GiB", "no unit of number"),
        ("size>7d", "no unit of bytes"),
        ("idle>10GiB", "no unit of seconds"),
        ("laag>7", "There is no “laag”"),
        ("lag>unknown", "lag=unknown"),
        ("topic>a", "is text"),
        ("unused>yes", "yes or no"),
        ("unused=maybe", "yes or no"),
        ("kind:", "kind:word"),
    ],
)
def test_what_cannot_be_understood_is_a_sentence(text: str, says: str) -> None:
    with pytest.raises(FilterError, match=says):
        parse(text, FIELDS)


@pytest.mark.parametrize("text", ["a:b", "team:billing", "a>b", "urn:x=1", "x=<y>", '"lag>1"', 'lag">1"', '"', 'a"b'])
def test_names_with_signs_in_them_are_text(text: str) -> None:
    (term,) = parse(text, FIELDS).terms
    assert term.field is None


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1.5k", FieldKind.NUMBER, 1500),
        ("2e3k", FieldKind.NUMBER, 2_000_000),
        ("1KiB", FieldKind.BYTES, 1024),
        ("1kb", FieldKind.BYTES, 1000),
        ("1M", FieldKind.BYTES, 1024**2),
        ("90min", FieldKind.SECONDS, 5400),
        ("250ms", FieldKind.SECONDS, 0.25),
        ("2w", FieldKind.SECONDS, 14 * 86400),
        ("1.5h", FieldKind.FIGURE, 5400),
    ],
)
def test_units(text: str, kind: FieldKind, value: float) -> None:
    assert math.isclose(number(text, kind), value)


def test_without_fields_signs_are_text() -> None:
    assert parse("lag>7").terms[0].field is None


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_a_sentence(text: str) -> None:
    try:
        found = parse(text, FIELDS)
    except FilterError as error:
        assert str(error).strip()
    else:
        assert found.keeps(lambda: "row", ROW.get) in (True, False)


@given(st.lists(st.sampled_from(["lag", ">", "=", ":", "!", '"', "\\", " ", "1e6", "GiB", "unknown", "kind", "x"])))
@pytest.mark.thorough
def test_any_mix_of_signs_is_a_filter_or_a_sentence(pieces: list[str]) -> None:
    try:
        found = parse("".join(pieces), FIELDS)
    except FilterError:
        return
    assert found.keeps(lambda: "row", ROW.get) in (True, False)


@given(st.text(min_size=1, max_size=249))
def test_a_quoted_name_finds_exactly_itself(name: str) -> None:
    found = parse(f"topic={quote(name)}", FIELDS)
    assert found.keeps(lambda: "", lambda field: name if field == "topic" else None)
    assert not found.keeps(lambda: "", lambda field: f"{name}x" if field == "topic" else None)


@given(st.text(min_size=1, max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_quoted_text_is_found_anywhere(text: str, before: str, after: str) -> None:
    row = f"{before}{text}{after}".lower()
    wanted = parse(quote(text), FIELDS)
    # lower case of a part may differ from that part of the lower case of the whole (Greek sigma)
    assert wanted.keeps(lambda: row, ROW.get) or text.lower() not in row
    assert parse(f"!{quote(text)}", FIELDS).keeps(lambda: row, ROW.get) is not wanted.keeps(lambda: row, ROW.get)


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([">", "<", ">=", "<="]), st.integers(0, 10**9))
def test_terms_and_their_inverse_part_all_that_is_known(lag: float, sign: str, wanted: int) -> None:
    def holds(text: str, value: float | None) -> bool:
        return parse(text, FIELDS).keeps(lambda: "", lambda _: value)

    assert holds(f"lag{sign}{wanted}", lag) is not holds(f"!lag{sign}{wanted}", lag)
    assert holds(f"lag{sign}{wanted}", None) is False  # unknown is never more or less than anything
    assert holds(f"!lag{sign}{wanted}", None) is True


def test_what_is_understood_holds_while_the_rest_is_typed() -> None:
    found, problem = parse_as_typed("orders lag> kind:connect size>much", FIELDS)
    assert [term.wanted for term in found.terms] == ["orders", "connect"]
    assert "lag>1e6" in problem


def test_an_empty_filter_is_false() -> None:
    assert not Filter()
    assert not parse("! ", FIELDS)
