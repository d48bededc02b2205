"""What is drawn: pieces of plain text with a tone. Never markup; the one place where tones become styles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from textual.content import Content

from kferry.client.sanitize import clean

# Tones say what a piece of text means; the theme says how that looks. Words or symbols carry the meaning too.
TONES: dict[str, str] = {
    "": "",
    "ok": "$text-success",
    "warn": "$text-warning",
    "bad": "bold $text-error",
    "busy": "$text-primary",
    "dim": "$text-muted",
    "strong": "bold",
    "key": "bold $text-accent",
    "title": "bold $text-primary",
}


class Cell(NamedTuple):
    """One piece of text and its tone."""

    text: str
    tone: str = ""


Line = tuple[Cell, ...]


def line(*pieces: Cell | str) -> Line:
    """A line out of pieces; plain strings have no tone."""
    return tuple(Cell(piece) if isinstance(piece, str) else piece for piece in pieces)


def content(lines: Iterable[Line]) -> Content:
    """Lines as Textual content; the text is taken literally, whatever it holds."""
    return Content("\n").join(
        Content("").join(
            Content(clean(cell.text)) if not cell.tone else Content.styled(clean(cell.text), TONES[cell.tone])
            for cell in row
        )
        for row in lines
    )


def plain(lines: Iterable[Line]) -> str:
    """The same lines without tones, for tests and for copying."""
    return "\n".join("".join(cell.text for cell in row) for row in lines)
