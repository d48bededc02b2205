"""Reading a big scan piece by piece: its first topics are there at once, and no step holds the interpreter for long.

Parsing 50,000 topics in one go takes a second in which no other thread runs. Here the document is read in blocks, its
lists element by element.
"""

from __future__ import annotations

import codecs
import json
import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Group, Scan, Topic

_BLOCK_BYTES = 256 * 1024
# How many elements are handed over together.
PIECE_SIZE = 100

_BLANK = " \t\r\n"


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Building one takes long enough to be seen, so each is built when it is needed."""
    return TypeAdapter(kind)


class _Text:
    """A JSON text that grows at its end while it is read from its start."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._scan = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0
        self._whole = False

    def _grow(self) -> bool:
        block = next(self._blocks, None)
        if block is None:
            self._whole = True
            return False
        self._text = self._text[self._at :] + self._decoder.decode(block)
        self._at = 0
        return True

    def peek(self) -> str:
        """The next character that is not blank; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANK:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._grow():
                return ""

    def take(self, wanted: str) -> None:
        if self.peek() != wanted:
            raise ValueError(f"{wanted!r} expected, {self.peek()!r} found")
        self._at += 1

    def value(self) -> Any:
        """The value that begins here."""
        while True:
            self.peek()
            try:
                found, end = self._scan(self._text, self._at)
                if end < len(self._text) or self._whole:  # a number at the very end might go on
                    self._at = end
                    return found
            except ValueError:
                if self._whole:
                    raise ValueError("the text ends in the middle of a value") from None
            # twice as much each time, so that one long value is not begun over and over
            for _ in range(1 + len(self._text) // _BLOCK_BYTES):
                if not self._grow():
                    break


class ScanPages:
    """One scan of the journal (`kind` scan or scan_partial), read by `pieces`. Use it in one thread; close it."""

    def __init__(self, journal: Path, kind: str, subject: str) -> None:
        # a connection of its own: a read that stays open would keep the reader of the faces from seeing changes
        self._connection = sqlite3.connect(journal, timeout=5, isolation_level=None, check_same_thread=False)
        self._connection.execute("pragma query_only=on")
        rows = self._connection.execute(
            "select rowid, at_ms from document where kind=? and subject=?", (kind, subject)
        ).fetchall()
        self._row: int | None = rows[0][0] if rows else None
        self.at_ms: int | None = rows[0][1] if rows else None
        self.head: dict[str, Any] = {}

    def close(self) -> None:
        self._connection.close()

    def _blocks(self) -> Iterator[bytes]:
        with self._connection.blobopen("document", "body", self._row or 0, readonly=True) as blob:
            while block := blob.read(_BLOCK_BYTES):
                yield block

    def pieces(self) -> Iterator[list[Topic] | list[Group]]:
        """Topics and groups as they come. Everything else is in `head` when the iterator ends.

        Raises KferryError where the document cannot be understood. A document that is null has no pieces.
        """
        if self._row is None:
            return
        try:
            yield from self._pieces(_Text(self._blocks()))
        except (ValidationError, ValueError, sqlite3.Error) as error:
            raise KferryError(
                "The scan in the journal cannot be read.",
                cause=f"{type(error).__name__}: {error}".splitlines()[0],
                next_step="Scan again; if it stays so, another version of kferry has written it.",
                kind=ErrorKind.INTERNAL,
            ) from error

    def _pieces(self, text: _Text) -> Iterator[list[Topic] | list[Group]]:
        if text.peek() != "{":
            text.value()
            return
        text.take("{")
        while text.peek() != "}":
            key = text.value()
            text.take(":")
            if key in ("topics", "groups") and text.peek() == "[":
                for elements in self._elements(text):
                    yield _adapter(list[Topic] if key == "topics" else list[Group]).validate_python(elements)
            else:
                self.head[key] = text.value()
            if text.peek() == ",":
                text.take(",")
        text.take("}")

    @staticmethod
    def _elements(text: _Text) -> Iterator[list[Any]]:
        text.take("[")
        found: list[Any] = []
        while text.peek() != "]":
            found.append(text.value())
            if len(found) == PIECE_SIZE:
                yield found
                found = []
            if text.peek() == ",":
                text.take(",")
        text.take("]")
        if found:
            yield found

    def scan(self, topics: tuple[Topic, ...], groups: tuple[Group, ...]) -> Scan | None:
        """The scan with these topics and groups, once all was read; None for a document that holds none."""
        if not self.head:
            return None
        try:
            made: Scan = _adapter(Scan).validate_python({**self.head, "topics": topics, "groups": groups})
        except ValidationError as error:
            raise KferryError(
                "The scan in the journal cannot be read.",
                cause=f"{error.error_count()} fields do not fit.",
                next_step="Scan again with this version of kferry.",
                kind=ErrorKind.INTERNAL,
            ) from error
        return made
