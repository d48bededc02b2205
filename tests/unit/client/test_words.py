"""Text and figures as shown: nothing that a cluster names can move a cursor, and unknown never reads as 0."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.client import exit_codes, formats, report
from kferry.client.sanitize import clean
from kferry.domain.errors import ErrorKind


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=())))
def test_cleaned_text_has_no_control_character_and_can_be_written(text: str) -> None:
    shown = clean(text)
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in shown)
    assert not any(
        unicodedata.bidirectional(char) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        for char in shown
    )
    shown.encode("utf-8")
    assert clean(shown) == shown


@given(st.text(alphabet=st.characters(whitelist_categories=("L", "N", "P", "S", "Zs"))))
def test_harmless_text_is_shown_as_it_is(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb", "a\\x0ab"),
        ("\u202egnp", "\\u202egnp"),
        ("\x9b31m", "\\x9b31m"),
        ("Zoë 日本", "Zoë 日本"),
    ],
)
def test_control_characters_are_drawn(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_newlines_stay_where_asked() -> None:
    assert clean("a\nb\x1b", keep_newlines=True) == "a\nb\\x1b"


@pytest.mark.parametrize(
    "shown",
    [
        formats.records(None), formats.short_count(None), formats.byte_count(None), formats.record_rate(None),
        formats.byte_rate(None), formats.duration(None), formats.age(None, 5), formats.moment(None),
        formats.clock(None), formats.percent(None), formats.yes_no(None),
    ],
)  # fmt: skip
def test_unknown_is_never_a_figure(shown: str) -> None:
    assert shown in (formats.UNKNOWN, formats.DASH)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (formats.records(1234567), "1,234,567"),
        (formats.short_count(999), "999"),
        (formats.short_count(999_960), "1.0M"),
        (formats.short_count(12_340), "12.3k"),
        (formats.byte_count(0), "0 B"),
        (formats.byte_count(1536), "1.5 KiB"),
        (formats.record_rate(0), "0/s"),
        (formats.record_rate(0.4), "0.4/s"),
        (formats.record_rate(1234.5), "1,234/s"),
        (formats.duration(0.42), "0.4 s"),
        (formats.duration(12), "12 s"),
        (formats.duration(59.7), "1 min"),
        (formats.duration(200), "3 min 20 s"),
        (formats.duration(7500), "2 h 5 min"),
        (formats.duration(356_400), "4 d 3 h"),
        (formats.age(1_000, 1_500), "now"),
        (formats.age(1_000, 4_900), "3 s ago"),
        (formats.age(0, 65_000), "1 min 5 s ago"),
        (formats.age(9_000, 1_000), "in the future (check the clocks)"),
        (formats.moment(0), "1970-01-01 00:00:00Z"),
        (formats.percent(0.99999), "99.9 %"),
        (formats.percent(1), "100 %"),
        (formats.percent(0.00001), "<0.1 %"),
        (formats.percent(0), "0 %"),
        (formats.percent(0.5), "50.0 %"),
    ],
)
def test_figures(shown: str, expected: str) -> None:
    assert shown == expected


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_something_never_reads_as_nothing(value: float) -> None:
    assert formats.percent(min(value, 1.0)) != "0 %"
    if value < 0.9999999:
        assert formats.percent(value) != "100 %"


def test_every_kind_of_error_has_an_exit_code() -> None:
    codes = {kind: exit_codes.of_kind(kind) for kind in ErrorKind}
    assert exit_codes.ExitCode.OK not in codes.values()
    assert codes[ErrorKind.USAGE] == 2
    assert exit_codes.of_kind_name("something new") is exit_codes.ExitCode.FAILED
    assert set(exit_codes.MEANING) == set(exit_codes.ExitCode)


def test_names_from_clusters_are_no_markdown() -> None:
    text = report.certificate("shop", {"topic": "a|b<script>*x*", "partitions": [{"topic": "`|`", "missing": None}]})
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert "a\\|b" in text
    assert "unknown" in text
