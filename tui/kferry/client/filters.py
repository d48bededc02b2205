"""The language of filters: terms that must all hold, each text or a comparison of a field; `!` turns a term round.

    orders            the text stands in the row          !orders           it does not
    kind:connect      the field holds the text            kind=connect      it (or one of several) is exactly that
    lag>1e6           figures, with k M G T               size>=10GiB       bytes, with B KB KiB ... TiB
    idle>7d           time, with ms s min h d w           last=unknown      nobody knows it
    "a b" or a="b c"  text with blanks or signs in it

What is unknown fulfils no comparison but `=unknown`; so `!lag>5` also keeps what is unknown.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

# What a field may hold: text, a number (bytes, seconds and plain counts alike), yes or no, several names, or unknown.
Value = str | float | bool | tuple[str, ...] | None


class FieldKind(StrEnum):
    """What a field holds, and so which units a figure may carry."""

    TEXT = "text"
    NUMBER = "number"
    BYTES = "bytes"
    SECONDS = "seconds"
    FLAG = "flag"
    FIGURE = "figure"  # a number as it is written on the screen, with whatever unit it has


@dataclass(frozen=True, slots=True)
class Field:
    """Something that can be asked for by name. Names have no blanks."""

    name: str
    kind: FieldKind = FieldKind.TEXT
    aliases: tuple[str, ...] = ()


class FilterError(ValueError):
    """Why a filter cannot be understood, as one sentence."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. `field` None: `wanted` is text that stands anywhere in the row."""

    field: str | None
    sign: str
    wanted: Value
    inverse: bool = False


Test = Callable[[Value, Value], bool]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_SIGNS = (">=", "<=", "!=", ">", "<", "=", ":")
_WORD = re.compile(r"[a-z][a-z0-9_-]*", re.IGNORECASE)
_NUMBER = re.compile(r"([0-9][0-9_,]*(?:\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]{1,3})?\s*([a-zµ]*)", re.IGNORECASE)
_COUNT_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_BYTE_UNITS = {"": 1.0, "b": 1.0}
for _at, _letter in enumerate("kmgtp", start=1):
    _BYTE_UNITS |= {f"{_letter}ib": 1024.0**_at, f"{_letter}b": 1000.0**_at, _letter: 1024.0**_at}
_SECOND_UNITS = {
    "": 1.0,
    "ms": 0.001,
    "s": 1.0,
    "sec": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "w": 604_800.0,
}
_UNITS = {
    FieldKind.NUMBER: _COUNT_UNITS,
    FieldKind.BYTES: _BYTE_UNITS,
    FieldKind.SECONDS: _SECOND_UNITS,
    FieldKind.FIGURE: _SECOND_UNITS | _BYTE_UNITS | _COUNT_UNITS,
}
_EXAMPLES = {
    FieldKind.NUMBER: "1e6 or 20k",
    FieldKind.BYTES: "10GiB",
    FieldKind.SECONDS: "7d or 30min",
    FieldKind.FIGURE: "1e6, 10GiB or 7d",
}
_YES_NO: dict[str, bool] = {"yes": True, "true": True, "no": False, "false": False}


@dataclass(frozen=True, slots=True)
class Filter:
    """Terms that must all hold. An empty one keeps everything."""

    terms: tuple[Term, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.terms)

    def keeps(self, text: Callable[[], str], value: Callable[[str], Value]) -> bool:
        """Whether a row passes. `text` gives all its text in lower case, `value` one field; both only when needed."""
        return all(_holds(term, text, value) is not term.inverse for term in self.terms)


def _holds(term: Term, text: Callable[[], str], value: Callable[[str], Value]) -> bool:
    if term.field is None:
        return str(term.wanted) in text()
    found = value(term.field)
    if term.wanted is None:
        return (found is None) is (term.sign != "!=")
    if found is None:
        return False
    if isinstance(term.wanted, str):
        names = found if isinstance(found, tuple) else (str(found),)
        if term.sign == ":":
            return any(term.wanted in name.lower() for name in names)
        return any(name.lower() == term.wanted for name in names) is (term.sign == "=")
    if isinstance(found, str | tuple) or isinstance(term.wanted, tuple):
        return False
    if term.sign in _COMPARE:
        return _COMPARE[term.sign](float(found), float(term.wanted))
    return (float(found) == float(term.wanted)) is (term.sign != "!=")


def parse(text: str, fields: Iterable[Field] = ()) -> Filter:
    """Read a filter. Raises FilterError with the sentence to show."""
    by_name = {name.lower(): field for field in fields for name in (field.name, *field.aliases)}
    return Filter(tuple(term for piece in _pieces(text) if (term := _term(piece, by_name)) is not None))


def parse_as_typed(text: str, fields: Iterable[Field] = ()) -> tuple[Filter, str]:
    """As `parse`, while the filter is being typed: the terms that are understood, and what is wrong with the others."""
    by_name = {name.lower(): field for field in fields for name in (field.name, *field.aliases)}
    terms: list[Term] = []
    problem = ""
    for piece in _pieces(text):
        try:
            term = _term(piece, by_name)
        except FilterError as error:
            problem = problem or str(error)
        else:
            terms += [term] if term is not None else []
    return Filter(tuple(terms)), problem


@dataclass(frozen=True, slots=True)
class _Piece:
    """One word of the filter: its characters, and which of them stood in quotes."""

    characters: str
    quoted: tuple[bool, ...]


def _pieces(text: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    characters: list[str] = []
    quoted: list[bool] = []
    inside = has_quotes = False
    at = 0

    def close() -> None:
        nonlocal has_quotes
        if characters or has_quotes:
            pieces.append(_Piece("".join(characters), tuple(quoted)))
        characters.clear()
        quoted.clear()
        has_quotes = False

    while at < len(text):
        character = text[at]
        if character == "\\" and inside and text[at + 1 : at + 2] in ('"', "\\"):
            at += 1
            characters.append(text[at])
            quoted.append(True)
        elif character == '"' and (inside or text.find('"', at + 1) >= 0):
            inside, has_quotes = not inside, True
        elif character.isspace() and not inside:
            close()
        else:
            characters.append(character)
            quoted.append(inside)
        at += 1
    close()
    return pieces


def _term(piece: _Piece, by_name: Mapping[str, Field]) -> Term | None:
    characters, quoted = piece.characters, piece.quoted
    inverse = characters[:1] == "!" and not quoted[0]
    if inverse:
        characters, quoted = characters[1:], quoted[1:]
    if not characters:
        return None  # an exclamation mark, or empty quotes: nothing is asked for yet
    name = _WORD.match(characters)
    end = name.end() if name is not None else 0
    sign = next((sign for sign in _SIGNS if characters.startswith(sign, end)), None)
    if name is None or sign is None or any(quoted[: end + len(sign)]):
        return Term(None, ":", characters.lower(), inverse)
    field = by_name.get(name.group().lower())
    rest = characters[end + len(sign) :]
    if field is None:
        if sign == ":" or not by_name or not _looks_like_a_value(rest):
            return Term(None, ":", characters.lower(), inverse)  # names of clusters may hold such signs
        known = ", ".join(sorted({one.name for one in by_name.values()}))
        raise FilterError(f"There is no “{name.group()}” to compare; there are: {known}.")
    return Term(field.name, *_wanted(field, sign, rest), inverse)


def _looks_like_a_value(text: str) -> bool:
    return not text or _NUMBER.fullmatch(text) is not None or text.lower() in (*_YES_NO, "unknown")


def _wanted(field: Field, sign: str, text: str) -> tuple[str, Value]:
    """The sign as it is meant for this field, and what it is compared with."""
    if not text:
        raise FilterError(f"Say what “{field.name}” is compared with, such as {field.name}{_example(field)}.")
    if text.lower() == "unknown":
        if sign in _COMPARE:
            raise FilterError(f"Write {field.name}=unknown: unknown is neither more nor less than anything.")
        return sign, None
    if field.kind is FieldKind.TEXT:
        if sign in _COMPARE:
            raise FilterError(f"“{field.name}” is text: write {field.name}:{text}.")
        return sign, text.lower()
    sign = "=" if sign == ":" else sign
    if field.kind is FieldKind.FLAG:
        if text.lower() not in _YES_NO or sign in _COMPARE:
            raise FilterError(f"“{field.name}” is yes or no: write {field.name}=yes.")
        return sign, _YES_NO[text.lower()]
    return sign, number(text, field.kind)


def _example(field: Field) -> str:
    if field.kind is FieldKind.TEXT:
        return ":word"
    return "=yes" if field.kind is FieldKind.FLAG else f">{_EXAMPLES[field.kind].split(' ')[0]}"


def number(text: str, kind: FieldKind) -> float:
    """A figure with its unit, in the unit of the field (bytes, seconds or one)."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        raise FilterError(f"“{text}” is no figure; write it as {_EXAMPLES[kind]}.")
    digits, exponent, unit = found.groups()
    units = _UNITS[kind]
    if unit.lower() not in units:
        known = ", ".join(sorted(name for name in units if name))
        raise FilterError(f"“{unit}” is no unit of {kind.value}; there are: {known}.")
    return float(digits.replace(",", "").replace("_", "") + (exponent or "")) * units[unit.lower()]


def quote(text: str) -> str:
    """`text` as one word of the language that stands for exactly itself."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
