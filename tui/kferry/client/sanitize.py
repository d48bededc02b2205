"""Making text from clusters, plays and hosts harmless to show: control characters are drawn, never sent."""

from __future__ import annotations

import re

# C0, DEL and C1; line and paragraph separators; bidi marks, embeddings and isolates; zero-width characters that hide
# things; the invisible tag block; lone surrogates, which cannot be written as UTF-8.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_UNSAFE_BUT_NEWLINE = re.compile(f"(?!\n){_UNSAFE.pattern}")


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def clean(text: object, *, keep_newlines: bool = False) -> str:
    """`text` with every control character shown escaped (ESC becomes the four characters \\x1b).

    Newlines are escaped too, so that one row stays one row, unless `keep_newlines`.
    """
    pattern = _UNSAFE_BUT_NEWLINE if keep_newlines else _UNSAFE
    return pattern.sub(_escape, str(text))
